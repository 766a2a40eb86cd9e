//! Requests that go the way of each forwarding method, and come back.

use anyhow::Result;
use lb_lab::{HostSpec, Topology};

use crate::site::{
    Director, SOON, ask, ask_udp, behind_a_gateway, client, run, start, virtual_server,
};

/// IP in IP.
const IPIP: u8 = 4;
const TCP: u8 = 6;

#[test]
fn nat_carries_tcp_udp_and_ipv6_both_ways_through_the_director() -> Result<()> {
    let Some(lab) = start(behind_a_gateway(2))? else { return Ok(()) };
    let (c, d) = (lab.host("c")?, lab.host("d")?);
    let _servers = [
        ("w1", "10.0.0.11:80"),
        ("w2", "10.0.0.12:80"),
        ("w1", "[fd00::11]:80"),
        ("w2", "[fd00::12]:80"),
    ]
    .map(|(name, address)| Ok::<_, anyhow::Error>(lab.host(name)?.serve(address.parse()?)?));
    let settings = |protocol| format!("protocol {protocol}\n  lvs_sched rr\n  lvs_method NAT");
    let config = [
        virtual_server("192.0.2.100 80", &settings("TCP"), &["10.0.0.11 80", "10.0.0.12 80"]),
        virtual_server("192.0.2.100 53", &settings("UDP"), &["10.0.0.11 80", "10.0.0.12 80"]),
        virtual_server("2001:db8::100 80", &settings("TCP"), &["fd00::11 80", "fd00::12 80"]),
    ];
    let director = Director::start(d, &config.concat())?;
    assert_eq!(
        director.table()?,
        [
            "-A -t 192.0.2.100:80 -s rr",
            "-A -t [2001:db8::100]:80 -s rr",
            "-A -u 192.0.2.100:53 -s rr",
            "-a -t 192.0.2.100:80 -r 10.0.0.11:80 -m -w 1",
            "-a -t 192.0.2.100:80 -r 10.0.0.12:80 -m -w 1",
            "-a -t [2001:db8::100]:80 -r [fd00::11]:80 -m -w 1",
            "-a -t [2001:db8::100]:80 -r [fd00::12]:80 -m -w 1",
            "-a -u 192.0.2.100:53 -r 10.0.0.11:80 -m -w 1",
            "-a -u 192.0.2.100:53 -r 10.0.0.12:80 -m -w 1",
        ]
    );
    let status = director.status()?;
    assert_eq!(status.daemon.dataplane, "ipvs");
    assert!(status.virtual_servers.iter().all(|server| server.dataplane == "ipvs"));

    let wire = lab.capture_port("w1", "eth0")?;
    assert_eq!(ask(c, "192.0.2.100:80", 4)?, ["w1", "w1", "w2", "w2"]);
    // The server sees the client, and itself for the VIP.
    let from_client = |to: &'static str| {
        wire.wait_for(
            move |frame| {
                frame.ip.is_some_and(|ip| {
                    ip.source.to_string() == "192.0.2.10" && ip.destination.to_string() == to
                })
            },
            SOON,
        )
    };
    from_client("10.0.0.11")?;
    assert_eq!(ask(c, "[2001:db8::100]:80", 4)?, ["w1", "w1", "w2", "w2"]);
    assert_eq!(ask_udp(c, "192.0.2.10:0", "192.0.2.100:53", 4)?, ["w1", "w1", "w2", "w2"]);
    Ok(())
}

#[test]
fn dr_leaves_packets_as_they_are_and_answers_pass_the_director_by() -> Result<()> {
    let server = |n: u8| {
        HostSpec::new(format!("w{n}"))
            .interface("eth0", "out", [format!("192.0.2.1{n}/24").as_str()])
            .sysctl("net.ipv4.conf.all.arp_ignore", "1")
            .sysctl("net.ipv4.conf.all.arp_announce", "2")
    };
    let director = HostSpec::new("d")
        .interface("eth0", "out", ["192.0.2.1/24", "192.0.2.100/24"])
        .sysctl("net.ipv4.ip_forward", "1");
    let site = Topology::new(["out"]).host(client()).host(director).host(server(1)).host(server(2));
    let Some(lab) = start(site)? else { return Ok(()) };
    let mut servers = Vec::new();
    for name in ["w1", "w2"] {
        let w = lab.host(name)?;
        run(w, "ip link add vip type dummy")?;
        run(w, "ip link set vip up")?;
        run(w, "ip address add 192.0.2.100/32 dev vip")?;
        servers.push(w.serve("0.0.0.0:80".parse()?)?);
    }
    let settings = "protocol TCP\n  lvs_sched rr\n  lvs_method DR";
    let config = virtual_server("192.0.2.100 80", settings, &["192.0.2.11 80", "192.0.2.12 80"]);
    let d = Director::start(lab.host("d")?, &config)?;
    assert_eq!(
        d.table()?,
        [
            "-A -t 192.0.2.100:80 -s rr",
            "-a -t 192.0.2.100:80 -r 192.0.2.11:80 -g -w 1",
            "-a -t 192.0.2.100:80 -r 192.0.2.12:80 -g -w 1",
        ]
    );
    let (at_director, at_server) =
        (lab.capture_port("d", "eth0")?, lab.capture_port("w1", "eth0")?);
    assert_eq!(ask(lab.host("c")?, "192.0.2.100:80", 4)?, ["w1", "w1", "w2", "w2"]);

    let vip = "192.0.2.100".parse()?;
    at_server.wait_for(|f| f.is_ip(TCP) && f.ip.is_some_and(|ip| ip.destination == vip), SOON)?;
    // The answer leaves the server's port with the VIP as source; none of the kind passes the director's.
    at_server.wait_for(|f| f.is_ip(TCP) && f.source() == Some(vip), SOON)?;
    assert_eq!(at_director.matching(|f| f.is_ip(TCP) && f.source() == Some(vip)), []);
    Ok(())
}

#[test]
fn tun_wraps_packets_and_answers_pass_the_director_by() -> Result<()> {
    // The servers have a network of their own with the director, and a way out of theirs.
    let server = |n: u8| {
        HostSpec::new(format!("w{n}"))
            .interface("eth0", "in", [format!("10.0.0.1{n}/24").as_str()])
            .interface("eth1", "out", [format!("192.0.2.1{n}/24").as_str()])
            .sysctl("net.ipv4.conf.all.arp_ignore", "1")
            .sysctl("net.ipv4.conf.all.arp_announce", "2")
            .sysctl("net.ipv4.conf.all.rp_filter", "0")
            .sysctl("net.ipv4.conf.default.rp_filter", "0")
    };
    let director = HostSpec::new("d")
        .interface("eth0", "out", ["192.0.2.1/24", "192.0.2.100/24"])
        .interface("eth1", "in", ["10.0.0.1/24"])
        .sysctl("net.ipv4.ip_forward", "1");
    let site =
        Topology::new(["out", "in"]).host(client()).host(director).host(server(1)).host(server(2));
    let Some(lab) = start(site)? else { return Ok(()) };
    let mut servers = Vec::new();
    for name in ["w1", "w2"] {
        let w = lab.host(name)?;
        run(w, "modprobe ipip")?; // brings tunl0
        w.set_sysctl("net.ipv4.conf.tunl0.rp_filter", "0")?;
        run(w, "ip link set tunl0 up")?;
        run(w, "ip address add 192.0.2.100/32 dev tunl0")?;
        servers.push(w.serve("0.0.0.0:80".parse()?)?);
    }
    let settings = "protocol TCP\n  lvs_sched rr\n  lvs_method TUN";
    let config = virtual_server("192.0.2.100 80", settings, &["10.0.0.11 80", "10.0.0.12 80"]);
    let d = Director::start(lab.host("d")?, &config)?;
    assert_eq!(
        d.table()?,
        [
            "-A -t 192.0.2.100:80 -s rr",
            "-a -t 192.0.2.100:80 -r 10.0.0.11:80 -i -w 1 --tun-type ipip",
            "-a -t 192.0.2.100:80 -r 10.0.0.12:80 -i -w 1 --tun-type ipip",
        ]
    );
    let (at_director, tunnel) = (lab.capture_port("d", "eth0")?, lab.capture_port("w1", "eth0")?);
    assert_eq!(ask(lab.host("c")?, "192.0.2.100:80", 4)?, ["w1", "w1", "w2", "w2"]);

    let wrapped = tunnel.wait_for(|frame| frame.is_ip(IPIP), SOON)?;
    assert_eq!(wrapped.ip.map(|ip| ip.destination), Some("10.0.0.11".parse()?));
    let vip = "192.0.2.100".parse()?;
    assert_eq!(at_director.matching(|f| f.is_ip(TCP) && f.source() == Some(vip)), []);
    Ok(())
}

#[test]
fn a_firewall_mark_makes_one_service_of_many_ports() -> Result<()> {
    let Some(lab) = start(behind_a_gateway(2))? else { return Ok(()) };
    let (c, d) = (lab.host("c")?, lab.host("d")?);
    let mut servers = Vec::new();
    for address in ["10.0.0.11:80", "10.0.0.11:8080"] {
        servers.push(lab.host("w1")?.serve(address.parse()?)?);
    }
    for address in ["10.0.0.12:80", "10.0.0.12:8080"] {
        servers.push(lab.host("w2")?.serve(address.parse()?)?);
    }
    d.write_file(
        "/run/marks",
        "table ip marks {\n\
           chain prerouting {\n\
             type filter hook prerouting priority mangle;\n\
             ip daddr 192.0.2.100 tcp dport { 80, 8080 } meta mark set 7\n\
           }\n\
         }\n",
    )?;
    run(d, "nft -f /run/marks")?;
    let config = "virtual_server fwmark 7 {\n  lvs_sched rr\n  lvs_method NAT\n  persistence_timeout 120\n  \
                  real_server 10.0.0.11 0 { }\n  real_server 10.0.0.12 0 { }\n}\n";
    let director = Director::start(d, config)?;
    assert_eq!(
        director.table()?,
        [
            "-A -f 7 -s rr -p 120",
            "-a -f 7 -r 10.0.0.11:0 -m -w 1",
            "-a -f 7 -r 10.0.0.12:0 -m -w 1",
        ]
    );
    // Persistence keeps the client with one server, whichever of the ports it asks.
    let mut by = ask(c, "192.0.2.100:80", 2)?;
    by.extend(ask(c, "192.0.2.100:8080", 2)?);
    by.dedup();
    assert_eq!(by.len(), 1, "{by:?}");
    Ok(())
}
