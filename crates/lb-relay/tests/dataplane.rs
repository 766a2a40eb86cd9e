//! What the relay refuses, and how addresses come and go.

mod common;

use std::net::{TcpListener, UdpSocket};

use common::{free_address, named, relay, service, tcp, udp, who};
use lb_pool::table::Family;
use lb_pool::{Dataplane, Protocol, Scheduler, ServiceKey};

#[tokio::test]
async fn a_port_in_use_is_named_with_its_owner_and_opened_when_it_is_free() {
    let mut relay = relay();
    let tcp_holder = TcpListener::bind(free_address()).unwrap();
    let udp_holder = UdpSocket::bind(free_address()).unwrap();
    let keys = [tcp(tcp_holder.local_addr().unwrap()), udp(udp_holder.local_addr().unwrap())];
    let other = tcp(free_address());
    let want = service(Scheduler::Rr, &[(named(3).await, 1)]);
    let table = keys.into_iter().chain([other]).map(|key| (key, want.clone())).collect();

    let error = relay.replace(&table).unwrap_err();
    assert_eq!(error.failures.len(), 2);
    for (failure, key) in error.failures.iter().zip(keys) {
        let owner = format!("(pid {}) listens there already; stop it", std::process::id());
        assert!(failure.starts_with(&key.to_string()) && failure.contains(&owner), "{failure}");
    }
    // The rest of the table is in force.
    let ServiceKey::Address { address, .. } = other else { unreachable!() };
    assert_eq!(who(address).await, 3);

    // What did not change is not told again.
    assert_eq!(relay.audit(), Ok(0));
    drop((tcp_holder, udp_holder));
    assert_eq!(relay.audit(), Ok(2));
    let ServiceKey::Address { address, .. } = keys[0] else { unreachable!() };
    assert_eq!(who(address).await, 3);
}

#[tokio::test]
async fn what_user_space_cannot_do_is_said_with_the_way_out() {
    let mut relay = relay();
    let want = service(Scheduler::Rr, &[]);
    for (key, reason) in [
        (
            ServiceKey::Fwmark { family: Family::Inet, mark: 7 },
            "FWM 7: the relay sees no firewall marks",
        ),
        (
            ServiceKey::Address {
                protocol: Protocol::Sctp,
                address: "127.0.0.1:9".parse().unwrap(),
            },
            "SCTP 127.0.0.1:9: the relay does not speak SCTP",
        ),
        (tcp("127.0.0.1:0".parse().unwrap()), "TCP 127.0.0.1:0: the relay cannot serve every port"),
    ] {
        let error = relay.apply(&key, Some(&want)).unwrap_err();
        assert!(error.to_string().starts_with(reason), "{error}");
        assert!(error.to_string().contains("modprobe ip_vs"), "{error}");
        assert_eq!(relay.apply(&key, None), Ok(0));
    }
}

#[tokio::test]
async fn a_vip_that_is_elsewhere_is_listened_on_all_the_same() {
    let mut relay = relay();
    let want = service(Scheduler::Rr, &[]);
    // TEST-NET-1 and the documentation prefix: no host has them.
    for vip in ["192.0.2.77:8080", "[2001:db8::77]:8080"] {
        let vip = vip.parse().unwrap();
        assert_eq!(relay.apply(&tcp(vip), Some(&want)), Ok(1));
        assert_eq!(relay.apply(&udp(vip), Some(&want)), Ok(1));
    }
}

#[tokio::test]
async fn an_address_is_free_as_soon_as_its_service_or_the_relay_is_gone() {
    let want = service(Scheduler::Rr, &[(named(0).await, 1)]);
    let address = free_address();
    for _ in 0..20 {
        let mut relay = relay();
        relay.apply(&tcp(address), Some(&want)).unwrap();
        relay.apply(&udp(address), Some(&want)).unwrap();
        assert_eq!(relay.apply(&tcp(address), None), Ok(1));
        relay.apply(&tcp(address), Some(&want)).unwrap();
        drop(relay);
        drop((TcpListener::bind(address).unwrap(), UdpSocket::bind(address).unwrap()));
    }
}
