//! The lab itself with real peers in it: Debian's keepalived fails over as its documentation says.

use std::net::IpAddr;
use std::time::Duration;

use lb_lab::{HostSpec, Lab, Topology};
use lb_tests::pulse::undisturbed;
use lb_tests::{SOON, VRRP, installed, intervals, is_advert, start, wait_for_holder};

const VIP: [u8; 4] = [192, 0, 2, 100];

fn director(name: &str, address: &str, priority: u8) -> HostSpec {
    let conf = format!(
        "vrrp_instance VI_1 {{\n state BACKUP\n interface eth0\n virtual_router_id 51\n priority {priority}\n \
         version 3\n advert_int 0.1\n virtual_ipaddress {{\n 192.0.2.100/24\n }}\n}}\n"
    );
    HostSpec::new(name)
        .interface("eth0", "lan", [address])
        .private("/etc/keepalived")
        .file("/etc/keepalived/keepalived.conf", conf)
        .run(["keepalived", "-n", "-l", "-D"])
}

fn pair() -> anyhow::Result<Option<Lab>> {
    if !installed("keepalived", "keepalived") {
        return Ok(None);
    }
    start(Topology::new(["lan"]).host(director("d1", "192.0.2.1/24", 150)).host(director(
        "d2",
        "192.0.2.2/24",
        100,
    )))
}

#[test]
fn keepalived_fails_over_in_the_lab() -> anyhow::Result<()> {
    undisturbed(|| {
        let Some(lab) = pair()? else { return Ok(()) };
        wait_for_holder(&lab, "d1", VIP, SOON)?;
        let wire = lab.capture_port("d2", "eth0")?;
        let d1: IpAddr = [192, 0, 2, 1].into();
        let adverts = wire.wait_for_count(5, |frame| is_advert(frame, d1), SOON)?;
        for advert in &adverts {
            assert_eq!(
                (advert.ip.map(|ip| ip.ttl), advert.to),
                (Some(255), [1, 0, 0x5e, 0, 0, 0x12])
            );
        }
        // One every 100 ms; a busy machine delays single ones.
        let mean = intervals(&adverts).iter().sum::<Duration>() / 4;
        assert!(mean > Duration::from_millis(80) && mean < Duration::from_millis(300), "{mean:?}");

        lab.crash("d1")?;
        wait_for_holder(&lab, "d2", VIP, SOON)?;
        lab.boot("d1")?;
        wait_for_holder(&lab, "d1", VIP, SOON)?;

        // Neither hears the other: both serve, until the cable is mended.
        lab.cut_silently("d1", "eth0")?;
        lb_lab::wait_until("two holders", SOON, || lab.holders(VIP).len() == 2)?;
        wire.clear();
        lab.mend("d1", "eth0")?;
        wait_for_holder(&lab, "d1", VIP, SOON)?;
        assert!(wire.frames().iter().any(|frame| frame.is_ip(VRRP)));

        lab.cut("d1", "eth0")?;
        wait_for_holder(&lab, "d2", VIP, SOON)?;
        Ok(())
    })
}
