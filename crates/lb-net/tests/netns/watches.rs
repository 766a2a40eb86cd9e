//! Who is heard to have an address.

use std::net::IpAddr;

use lb_net::{Announcement, Announcer, ArpForm, Claim, Poller, Watch};

use crate::cable::{Cable, PATIENCE, link, with_cable};
use crate::segment::output;

const B: [u8; 6] = [2, 0, 0, 0, 0, 0x0B];

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn announce(name: &str, form: ArpForm, addresses: &[&str]) {
    let link = link(name);
    let mut announcer = Announcer::open().unwrap();
    for text in addresses {
        announcer.queue(&Announcement {
            ifindex: link.index,
            hardware: link.hardware.unwrap(),
            address: address(text),
            form,
            router: false,
        });
    }
    announcer.flush(|_, error| panic!("{error}"));
}

/// Waits for so many claims.
fn claims(watch: &mut Watch, count: usize) -> Vec<Claim> {
    let mut poller = Poller::new().unwrap();
    poller.add(&*watch, 0).unwrap();
    let mut claims = Vec::new();
    while claims.len() < count {
        assert_ne!(poller.wait(Some(PATIENCE)).unwrap().count(), 0, "{claims:?}");
        watch.drain(|claim| claims.push(claim)).unwrap();
    }
    claims
}

#[test]
fn what_others_say_about_addresses_of_interest_is_heard() {
    with_cable(|cable: &Cable| {
        let ifindex = link("a").index;
        let mut watch = Watch::open().unwrap();
        watch.set([(ifindex, address("192.0.2.50")), (ifindex, address("2001:db8::50"))]).unwrap();
        announce("a", ArpForm::Request, &["192.0.2.50", "2001:db8::50"]);
        for form in [ArpForm::Request, ArpForm::Reply] {
            // Another address, one that ends alike, and at last those of interest.
            let all = ["192.0.2.51", "2001:db8:1::50", "192.0.2.50", "2001:db8::50"];
            cable.in_b(|| announce("b", form, &all));
            let mut heard = claims(&mut watch, 2);
            heard.sort_by_key(|claim| claim.address);
            let claim = |text| Claim { ifindex, address: address(text), hardware: B };
            assert_eq!(heard, [claim("192.0.2.50"), claim("2001:db8::50")]);
        }

        // Another set; the answers of the kernel count as well.
        watch.set([(ifindex, address("192.0.2.2")), (ifindex, address("2001:db8::2"))]).unwrap();
        cable.in_b(|| announce("b", ArpForm::Reply, &["192.0.2.50", "2001:db8::50"]));
        for target in ["192.0.2.2", "2001:db8::2"] {
            output("ip neighbour flush dev a");
            output(&format!("ping -n -c 1 -W 3 {target}"));
            let heard = claims(&mut watch, 1);
            assert!(heard.iter().all(|claim| claim.address == address(target)), "{heard:?}");
        }

        // Nothing is of interest: nothing is heard.
        watch.set([]).unwrap();
        cable.in_b(|| announce("b", ArpForm::Reply, &["192.0.2.2", "192.0.2.50"]));
        output("ping -n -c 1 -W 3 192.0.2.2");
        watch.drain(|claim| panic!("{claim:?}")).unwrap();
    });
}

#[test]
fn thousands_of_addresses_are_watched() {
    with_cable(|cable: &Cable| {
        let ifindex = link("a").index;
        let mut watch = Watch::open().unwrap();
        let many = |count: u32| {
            let four = (0..count).map(|n| IpAddr::from((0x0A00_0000 + n).to_be_bytes()));
            four.map(move |address| (ifindex, address))
        };
        for count in [1_000, 5_000] {
            watch.set(many(count)).unwrap();
            let last = many(count).next_back().unwrap().1;
            cable.in_b(|| announce("b", ArpForm::Reply, &["192.0.2.50", &last.to_string()]));
            let heard = claims(&mut watch, 1);
            assert_eq!(heard, [Claim { ifindex, address: last, hardware: B }]);
        }
    });
}
