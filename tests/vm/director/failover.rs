//! Two directors: VRRP moves the VIPs, and the table is there before they come.

use anyhow::Result;
use lb_lab::{HostSpec, Topology, wait_until};

use crate::site::{Director, SOON, ask, client, start, virtual_server};

/// NAT needs both: the VIP of the clients and the gateway of the servers, at one director.
fn config(priority: u8) -> String {
    let instance = |name: &str, interface: &str, vrid: u8, vip: &str| {
        format!(
            "vrrp_instance {name} {{\n  state BACKUP\n  interface {interface}\n  virtual_router_id {vrid}\n  \
             priority {priority}\n  advert_int 0.5\n  virtual_ipaddress {{\n    {vip}\n  }}\n}}\n"
        )
    };
    let settings = "protocol TCP\n  lvs_sched rr\n  lvs_method NAT";
    [
        "global_defs {\n  vrrp_version 3\n}\nvrrp_sync_group BOTH {\n  group {\n    OUT\n    IN\n  }\n}\n".to_owned(),
        instance("OUT", "eth0", 51, "192.0.2.100/24"),
        instance("IN", "eth1", 52, "10.0.0.254/24"),
        virtual_server("192.0.2.100 80", settings, &["10.0.0.11 80", "10.0.0.12 80"]),
    ]
    .concat()
}

#[test]
fn the_vip_moves_and_both_directors_have_the_same_table() -> Result<()> {
    let director = |n: u8| {
        HostSpec::new(format!("d{n}"))
            .interface("eth0", "out", [format!("192.0.2.{n}/24").as_str()])
            .interface("eth1", "in", [format!("10.0.0.{n}/24").as_str()])
            .sysctl("net.ipv4.ip_forward", "1")
    };
    let server = |n: u8| {
        HostSpec::new(format!("w{n}"))
            .interface("eth0", "in", [format!("10.0.0.1{n}/24").as_str()])
            .gateway([10, 0, 0, 254])
    };
    let site = Topology::new(["out", "in"]).host(client());
    let site = site.host(director(1)).host(director(2)).host(server(1)).host(server(2));
    let Some(lab) = start(site)? else { return Ok(()) };
    let c = lab.host("c")?;
    let _servers = [
        lab.host("w1")?.serve("10.0.0.11:80".parse()?)?,
        lab.host("w2")?.serve("10.0.0.12:80".parse()?)?,
    ];
    let only_at = |name: &str| {
        wait_until(&format!("{name} alone has the VIPs"), SOON, || {
            lab.holders([192, 0, 2, 100]) == [name] && lab.holders([10, 0, 0, 254]) == [name]
        })
    };
    let d1 = Director::start(lab.host("d1")?, &config(150))?;
    let d2 = Director::start(lab.host("d2")?, &config(100))?;
    only_at("d1")?;
    let table = [
        "-A -t 192.0.2.100:80 -s rr",
        "-a -t 192.0.2.100:80 -r 10.0.0.11:80 -m -w 1",
        "-a -t 192.0.2.100:80 -r 10.0.0.12:80 -m -w 1",
    ];
    assert_eq!(d1.table()?, table);
    assert_eq!(d2.table()?, table);
    assert_eq!(ask(c, "192.0.2.100:80", 4)?, ["w1", "w1", "w2", "w2"]);

    // A crash: the other one takes over and serves at once.
    lab.crash("d1")?;
    only_at("d2")?;
    assert_eq!(ask(c, "192.0.2.100:80", 4)?, ["w1", "w1", "w2", "w2"]);

    // It comes back, and with it the VIPs.
    lab.boot("d1")?;
    let d1 = Director::start(lab.host("d1")?, &config(150))?;
    only_at("d1")?;
    assert_eq!(
        (d1.table()?, d2.table()?),
        (table.map(str::to_owned).to_vec(), table.map(str::to_owned).to_vec())
    );
    assert_eq!(ask(c, "192.0.2.100:80", 4)?, ["w1", "w1", "w2", "w2"]);

    // An orderly stop: the VIPs go over, and the table goes away where it is not needed any more.
    d1.stop()?;
    only_at("d2")?;
    assert_eq!(d1.table()?, [""; 0]);
    assert_eq!(d2.table()?, table);
    assert_eq!(ask(c, "192.0.2.100:80", 4)?, ["w1", "w1", "w2", "w2"]);
    Ok(())
}
