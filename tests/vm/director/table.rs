//! What the configuration says is what `ipvsadm` shows, and goes away again.

use anyhow::Result;
use lb_lab::{HostSpec, Topology};

use crate::site::{Director, run, start};

fn alone() -> Topology {
    Topology::new(["lan"]).host(HostSpec::new("d").interface("eth0", "lan", ["192.0.2.1/24"]))
}

/// No checks: the servers are there without being there.
const EVERY_KIND: &str = "
global_defs {
  lvs_timeouts tcp 77 tcpfin 33 udp 44
}
virtual_server 192.0.2.100 80 {
  protocol TCP
  lvs_sched wrr
  lvs_method NAT
  real_server 10.0.0.11 8080 { weight 3 }
  real_server 10.0.0.12 8080 {
    weight 2
    uthreshold 100
    lthreshold 50
  }
}
virtual_server 192.0.2.100 443 {
  protocol TCP
  lvs_sched sh
  sh-port
  sh-fallback
  lvs_method DR
  persistence_timeout 50
  persistence_granularity 255.255.255.0
  real_server 10.0.0.11 443 { weight 1 }
}
virtual_server 192.0.2.100 8443 {
  protocol TCP
  lvs_sched mh
  mh-port
  lvs_method TUN
  real_server 10.0.0.11 8443 { weight 1 }
}
virtual_server 192.0.2.100 53 {
  protocol UDP
  lvs_sched rr
  ops
  lvs_method NAT
  real_server 10.0.0.11 53 { weight 1 }
}
virtual_server 192.0.2.100 5060 {
  protocol UDP
  lvs_sched rr
  lvs_method NAT
  persistence_timeout 60
  persistence_engine sip
  real_server 10.0.0.11 5060 { weight 1 }
}
virtual_server 2001:db8::100 80 {
  protocol TCP
  lvs_sched wlc
  lvs_method DR
  persistence_timeout 60
  persistence_granularity 64
  real_server fd00::11 80 { weight 4 }
}
virtual_server fwmark 9 {
  ip_family inet6
  lvs_sched lc
  lvs_method DR
  real_server fd00::11 0 { weight 1 }
}
virtual_server_group WEB {
  192.0.2.101 80
  192.0.2.102-103 80
  fwmark 7
}
virtual_server group WEB {
  protocol TCP
  lvs_sched dh
  lvs_method DR
  real_server 10.0.0.11 80 { weight 1 }
}
";

#[test]
fn every_kind_of_virtual_server_is_what_ipvsadm_shows() -> Result<()> {
    let Some(lab) = start(alone())? else { return Ok(()) };
    let d = lab.host("d")?;
    let director = Director::start(d, EVERY_KIND)?;
    assert_eq!(
        director.table()?,
        [
            "-A -f 7 -s dh",
            "-A -f 9 -6 -s lc",
            "-A -t 192.0.2.100:443 -s sh -p 50 -M 255.255.255.0 -b sh-fallback,sh-port",
            "-A -t 192.0.2.100:80 -s wrr",
            "-A -t 192.0.2.100:8443 -s mh -b mh-port",
            "-A -t 192.0.2.101:80 -s dh",
            "-A -t 192.0.2.102:80 -s dh",
            "-A -t 192.0.2.103:80 -s dh",
            "-A -t [2001:db8::100]:80 -s wlc -p 60 -M 64",
            "-A -u 192.0.2.100:5060 -s rr -p 60 --pe sip",
            "-A -u 192.0.2.100:53 -s rr -o",
            "-a -f 7 -r 10.0.0.11:0 -g -w 1",
            "-a -f 9 -6 -r [fd00::11]:0 -g -w 1",
            "-a -t 192.0.2.100:443 -r 10.0.0.11:443 -g -w 1",
            "-a -t 192.0.2.100:80 -r 10.0.0.11:8080 -m -w 3",
            "-a -t 192.0.2.100:80 -r 10.0.0.12:8080 -m -w 2",
            "-a -t 192.0.2.100:8443 -r 10.0.0.11:8443 -i -w 1 --tun-type ipip",
            "-a -t 192.0.2.101:80 -r 10.0.0.11:80 -g -w 1",
            "-a -t 192.0.2.102:80 -r 10.0.0.11:80 -g -w 1",
            "-a -t 192.0.2.103:80 -r 10.0.0.11:80 -g -w 1",
            "-a -t [2001:db8::100]:80 -r [fd00::11]:80 -g -w 4",
            "-a -u 192.0.2.100:5060 -r 10.0.0.11:5060 -m -w 1",
            "-a -u 192.0.2.100:53 -r 10.0.0.11:53 -m -w 1",
        ]
    );
    // What a restore would not bring back: thresholds, and the timeouts.
    let thresholds = run(d, "ipvsadm --list --numeric --thresholds")?;
    let of_w2 = thresholds.lines().find(|line| line.contains("10.0.0.12:8080")).unwrap_or_default();
    assert_eq!(of_w2.split_whitespace().collect::<Vec<_>>()[1..4], ["10.0.0.12:8080", "100", "50"]);
    assert_eq!(run(d, "ipvsadm --list --timeout")?.trim(), "Timeout (tcp tcpfin udp): 77 33 44");
    Ok(())
}

#[test]
fn a_stop_leaves_the_table_and_the_timeouts_as_they_were_found() -> Result<()> {
    let Some(lab) = start(alone())? else { return Ok(()) };
    let d = lab.host("d")?;
    run(d, "ipvsadm -A -t 192.0.2.200:22 -s rr")?;
    run(d, "ipvsadm -a -t 192.0.2.200:22 -r 10.0.0.99:22 -m")?;
    run(d, "ipvsadm --set 111 22 33")?;
    let before = crate::site::table(d)?;

    let director = Director::start(d, EVERY_KIND)?;
    assert_eq!(director.table()?.len(), before.len() + 23);
    director.stop()?;
    assert_eq!(director.table()?, before);
    assert_eq!(run(d, "ipvsadm --list --timeout")?.trim(), "Timeout (tcp tcpfin udp): 111 22 33");
    Ok(())
}

#[test]
fn the_timeouts_that_were_found_outlive_a_crash() -> Result<()> {
    let Some(lab) = start(alone())? else { return Ok(()) };
    let d = lab.host("d")?;
    let timeouts = || Ok::<_, anyhow::Error>(run(d, "ipvsadm --list --timeout")?.trim().to_owned());
    run(d, "ipvsadm --set 111 22 33")?;
    let director = Director::start(d, EVERY_KIND)?;
    director.lbd.kill();
    assert_eq!(timeouts()?, "Timeout (tcp tcpfin udp): 77 33 44");

    Director::start(d, EVERY_KIND)?.stop()?;
    assert_eq!(timeouts()?, "Timeout (tcp tcpfin udp): 111 22 33");

    // What the first has left is spent.
    run(d, "ipvsadm --set 222 44 66")?;
    Director::start(d, EVERY_KIND)?.stop()?;
    assert_eq!(timeouts()?, "Timeout (tcp tcpfin udp): 222 44 66");
    Ok(())
}

#[test]
fn what_a_reload_no_longer_names_goes_away() -> Result<()> {
    let Some(lab) = start(alone())? else { return Ok(()) };
    let d = lab.host("d")?;
    let director = Director::start(d, EVERY_KIND)?;
    director.reload("virtual_server 192.0.2.100 80 {\n  protocol TCP\n  lvs_sched rr\n  lvs_method NAT\n  real_server 10.0.0.12 8080 { weight 5 }\n}\n")?;
    assert_eq!(
        director.table()?,
        ["-A -t 192.0.2.100:80 -s rr", "-a -t 192.0.2.100:80 -r 10.0.0.12:8080 -m -w 5"]
    );
    assert_eq!(run(d, "ipvsadm --list --timeout")?.trim(), "Timeout (tcp tcpfin udp): 900 120 300");
    Ok(())
}
