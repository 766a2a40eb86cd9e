//! What goes into each request.

use std::net::IpAddr;

use lb_pool::{DestinationKey, Protocol, ServiceKey};

use crate::attributes::{Command, DaemonAttribute, DestinationAttribute, ServiceAttribute, Top};
use crate::batch::Batch;
use crate::change::Change;
use crate::entry::{Daemon, Role};
use crate::settings::{DestinationSettings, ServiceSettings, Tunnel, family_number, family_of};

/// The command that carries out `change`.
pub(crate) fn command(change: &Change) -> Command {
    match change {
        Change::AddService(..) => Command::NewService,
        Change::EditService(..) => Command::SetService,
        Change::DelService(_) => Command::DelService,
        Change::AddDestination(..) => Command::NewDestination,
        Change::EditDestination(..) => Command::SetDestination,
        Change::DelDestination(..) => Command::DelDestination,
    }
}

/// Appends what `change` is about.
pub(crate) fn change(m: &mut Batch, change: &Change) {
    match change {
        Change::AddService(key, settings) | Change::EditService(key, settings) => {
            service(m, key, settings);
        }
        Change::DelService(key) => service_key(m, key),
        Change::AddDestination(key, to, settings) | Change::EditDestination(key, to, settings) => {
            service_key(m, key);
            destination(m, key, to, Some(settings));
        }
        Change::DelDestination(key, to) => {
            service_key(m, key);
            destination(m, key, to, None);
        }
    }
}

/// Appends a sync daemon; zero and none are left out, so that the kernel's own values hold.
pub(crate) fn daemon(m: &mut Batch, daemon: &Daemon) {
    m.nest(Top::Daemon, |m| {
        m.attribute(DaemonAttribute::State, &role_number(daemon.role));
        m.string(DaemonAttribute::Interface, &daemon.interface);
        m.attribute(DaemonAttribute::SyncId, &daemon.sync_id.to_ne_bytes());
        if daemon.max_length > 0 {
            m.attribute(DaemonAttribute::MaxLength, &daemon.max_length.to_ne_bytes());
        }
        match daemon.group {
            Some(IpAddr::V4(group)) => m.attribute(DaemonAttribute::Group, &group.octets()),
            Some(IpAddr::V6(group)) => m.attribute(DaemonAttribute::Group6, &group.octets()),
            None => {}
        }
        // In the host's order, unlike every other port of the family.
        if daemon.port > 0 {
            m.attribute(DaemonAttribute::Port, &daemon.port.to_ne_bytes());
        }
        if daemon.ttl > 0 {
            m.attribute(DaemonAttribute::Ttl, &[daemon.ttl]);
        }
    });
}

/// Appends the identity of a sync daemon.
pub(crate) fn role(m: &mut Batch, role: Role) {
    m.nest(Top::Daemon, |m| m.attribute(DaemonAttribute::State, &role_number(role)));
}

/// Appends the service nest with identity alone.
pub(crate) fn service_key(m: &mut Batch, key: &ServiceKey) {
    m.name(key, |m| m.nest(Top::Service, |m| identity(m, key)));
}

/// Appends the full service nest. Without an engine the attribute is left out, which removes it.
fn service(m: &mut Batch, key: &ServiceKey, settings: &ServiceSettings) {
    m.nest(Top::Service, |m| {
        identity(m, key);
        m.string(ServiceAttribute::Scheduler, settings.scheduler.as_str());
        let [a, b, c, d] = settings.flags.bits().to_ne_bytes();
        // Flags and mask: every bit is meant.
        m.attribute(ServiceAttribute::Flags, &[a, b, c, d, 0xff, 0xff, 0xff, 0xff]);
        m.attribute(ServiceAttribute::Timeout, &settings.timeout.to_ne_bytes());
        m.attribute(ServiceAttribute::Netmask, &settings.netmask.octets());
        if !settings.engine.is_empty() {
            m.string(ServiceAttribute::Engine, settings.engine.as_str());
        }
    });
}

fn identity(m: &mut Batch, key: &ServiceKey) {
    let family = family_number(key.family());
    m.attribute(ServiceAttribute::Family, &family.to_ne_bytes());
    match key {
        ServiceKey::Address { protocol, address } => {
            let number = match protocol {
                Protocol::Tcp => libc::IPPROTO_TCP,
                Protocol::Udp => libc::IPPROTO_UDP,
                Protocol::Sctp => libc::IPPROTO_SCTP,
            } as u16;
            m.attribute(ServiceAttribute::Protocol, &number.to_ne_bytes());
            m.attribute(ServiceAttribute::Address, &union(address.ip()));
            m.attribute(ServiceAttribute::Port, &address.port().to_be_bytes());
        }
        ServiceKey::Fwmark { mark, .. } => {
            m.attribute(ServiceAttribute::Fwmark, &mark.to_ne_bytes());
        }
    }
}

/// Appends the destination nest; without settings, identity alone.
fn destination(
    m: &mut Batch,
    service: &ServiceKey,
    key: &DestinationKey,
    settings: Option<&DestinationSettings>,
) {
    m.nest(Top::Destination, |m| {
        m.attribute(DestinationAttribute::Address, &union(key.address));
        m.attribute(DestinationAttribute::Port, &key.port.to_be_bytes());
        let family = family_of(key.address);
        if family != service.family() {
            m.attribute(DestinationAttribute::Family, &family_number(family).to_ne_bytes());
        }
        let Some(settings) = settings else { return };
        for (kind, value) in [
            (DestinationAttribute::Method, settings.method.bits()),
            (DestinationAttribute::Weight, settings.weight),
            (DestinationAttribute::UpperThreshold, settings.upper_threshold),
            (DestinationAttribute::LowerThreshold, settings.lower_threshold),
        ] {
            m.attribute(kind, &value.to_ne_bytes());
        }
        // Left out, they become IPIP and 0.
        let tunnel = settings.tunnel;
        if tunnel != Tunnel::default() {
            m.attribute(DestinationAttribute::TunnelType, &[tunnel.kind.number()]);
            m.attribute(DestinationAttribute::TunnelPort, &tunnel.port.to_be_bytes());
            m.attribute(DestinationAttribute::TunnelFlags, &tunnel.flags.to_ne_bytes());
        }
    });
}

/// `union nf_inet_addr`: 16 octets, of which IPv4 uses the first four.
fn union(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&v4.octets());
            octets
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn role_number(role: Role) -> [u8; 4] {
    match role {
        Role::Master => 1_u32,
        Role::Backup => 2,
    }
    .to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lb_pool::table::{Family, TunnelChecksum};
    use lb_pool::{Destination, ForwardingMethod, Persistence, Scheduler, Service, TunnelType};
    use neli::consts::nl::NlmF;

    use super::*;
    use crate::attributes::VERSION;
    use crate::entry::{DestinationEntry, ServiceEntry};

    /// One octet string out of pieces written as `ip_vs.h` has them, on a little-endian host.
    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.chars().filter_map(|c| c.to_digit(16)).collect();
        digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
    }

    fn emit(this: &Change) -> Vec<u8> {
        let mut batch = Batch::default();
        let command = command(this).into();
        batch.message(0x1c, NlmF::REQUEST, 0x0102, (command, VERSION), |m| change(m, this));
        batch.bytes().to_vec()
    }

    const WEB: ServiceKey = ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: std::net::SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 80),
    };

    #[cfg(target_endian = "little")]
    #[test]
    fn a_tcp_service_as_written_by_hand() {
        let service = Service { scheduler: Scheduler::Wrr, ..Service::default() };
        let settings = ServiceSettings::new(&WEB, &service);
        let expected = hex("68000000 1c00 0100 02010000 00000000 01 01 0000 \
             5400 0180 \
             0600 0100 0200 0000 \
             0600 0200 0600 0000 \
             1400 0300 c0000201 00000000 00000000 00000000 \
             0600 0400 0050 0000 \
             0800 0600 77727200 \
             0c00 0700 00000000 ffffffff \
             0800 0800 00000000 \
             0800 0900 ffffffff");
        assert_eq!(emit(&Change::AddService(WEB, settings)), expected);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_persistent_ipv6_mark_with_an_engine_as_written_by_hand() {
        let key = ServiceKey::Fwmark { family: Family::Inet6, mark: 7 };
        let service = Service {
            scheduler: Scheduler::Sh,
            fallback: true,
            hash_port: true,
            flag_3: true,
            persistence: Some(Persistence {
                timeout: Duration::from_secs(360),
                engine: Some("sip".into()),
            }),
            granularity: Some(64),
            ..Service::default()
        };
        let settings = ServiceSettings::new(&key, &service);
        let expected = hex("54000000 1c00 0100 02010000 00000000 02 01 0000 \
             4000 0180 \
             0600 0100 0a00 0000 \
             0800 0500 07000000 \
             0700 0600 73680000 \
             0c00 0700 39000000 ffffffff \
             0800 0800 68010000 \
             0800 0900 40000000 \
             0800 0b00 73697000");
        assert_eq!(emit(&Change::EditService(key, settings)), expected);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_gue_destination_of_the_other_family_as_written_by_hand() {
        let to = DestinationKey { address: "2001:db8::5".parse().expect("an address"), port: 80 };
        let destination = Destination {
            method: ForwardingMethod::Tunnel(TunnelType::Gue {
                port: 6080,
                checksum: TunnelChecksum::Remote,
            }),
            weight: 3,
            upper_threshold: 100,
            lower_threshold: 50,
        };
        let expected = hex("a4000000 1c00 0100 02010000 00000000 05 01 0000 \
             3000 0180 \
             0600 0100 0200 0000 \
             0600 0200 0600 0000 \
             1400 0300 c0000201 00000000 00000000 00000000 \
             0600 0400 0050 0000 \
             6000 0280 \
             1400 0100 20010db8 00000000 00000000 00000005 \
             0600 0200 0050 0000 \
             0600 0b00 0a00 0000 \
             0800 0300 02000000 \
             0800 0400 03000000 \
             0800 0500 64000000 \
             0800 0600 32000000 \
             0500 0d00 01000000 \
             0600 0e00 17c0 0000 \
             0600 0f00 0200 0000");
        assert_eq!(emit(&Change::AddDestination(WEB, to, (&destination).into())), expected);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_destination_that_goes_is_named_and_no_more() {
        let to = DestinationKey { address: [10, 0, 0, 9].into(), port: 8080 };
        let expected = hex("64000000 1c00 0100 02010000 00000000 07 01 0000 \
             3000 0180 \
             0600 0100 0200 0000 \
             0600 0200 0600 0000 \
             1400 0300 c0000201 00000000 00000000 00000000 \
             0600 0400 0050 0000 \
             2000 0280 \
             1400 0100 0a000009 00000000 00000000 00000000 \
             0600 0200 1f90 0000");
        assert_eq!(emit(&Change::DelDestination(WEB, to)), expected);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_backup_daemon_as_written_by_hand() {
        let mut batch = Batch::default();
        let backup = Daemon {
            role: Role::Backup,
            interface: "eth0".into(),
            sync_id: 5,
            max_length: 1400,
            group: Some([224, 0, 0, 99].into()),
            port: 8849,
            ttl: 2,
        };
        batch.message(0x1c, NlmF::REQUEST, 1, (9, 1), |m| daemon(m, &backup));
        let expected = hex("54000000 1c00 0100 01000000 00000000 09 01 0000 \
             4000 0380 \
             0800 0100 02000000 \
             0900 0200 65746830 00000000 \
             0800 0300 05000000 \
             0600 0400 7805 0000 \
             0800 0500 e0000063 \
             0600 0700 9122 0000 \
             0500 0800 02000000");
        assert_eq!(batch.bytes(), expected);
        let attributes = &batch.bytes()[20..];
        assert_eq!(Daemon::parse(attributes), Some(backup));
    }

    #[test]
    fn requests_in_a_row_say_what_each_says_alone() {
        let to = DestinationKey { address: [10, 0, 0, 9].into(), port: 8080 };
        let mark = ServiceKey::Fwmark { family: Family::Inet, mark: 7 };
        let changes = [WEB, WEB, mark, WEB].map(|key| Change::DelDestination(key, to));
        let mut batch = Batch::default();
        for this in &changes {
            let command = command(this).into();
            batch.message(0x1c, NlmF::REQUEST, 0x0102, (command, VERSION), |m| change(m, this));
        }
        assert_eq!(batch.bytes(), changes.iter().flat_map(emit).collect::<Vec<_>>());
    }

    /// The kernel answers with the attributes of the request, so what is emitted must parse.
    #[test]
    fn every_scheduler_method_and_family_comes_back_as_it_went() {
        let methods = [
            ForwardingMethod::Nat,
            ForwardingMethod::Route,
            ForwardingMethod::Tunnel(TunnelType::Ipip),
            ForwardingMethod::Tunnel(TunnelType::Gre { checksum: true }),
        ];
        for (n, scheduler) in Scheduler::ALL.into_iter().enumerate() {
            let key = ServiceKey::Address {
                protocol: [Protocol::Tcp, Protocol::Udp, Protocol::Sctp][n % 3],
                address: ["192.0.2.1:0", "[2001:db8::1]:443"][n % 2].parse().expect("an address"),
            };
            let service = Service {
                scheduler,
                one_packet: n % 4 == 0,
                granularity: Some(24),
                ..Service::default()
            };
            let settings = ServiceSettings::new(&key, &service);
            let bytes = emit(&Change::AddService(key, settings));
            let entry = ServiceEntry::parse(&bytes[20..]).expect("a whole service");
            assert_eq!((entry.key, entry.settings), (key, settings));

            let to = DestinationKey {
                address: ["10.0.0.1", "2001:db8::2"][n % 2].parse().expect("an address"),
                port: 0,
            };
            let destination = Destination {
                method: methods[n % 4],
                weight: u32::MAX,
                upper_threshold: 2,
                lower_threshold: 1,
            };
            let settings = (&destination).into();
            let bytes = emit(&Change::AddDestination(key, to, settings));
            let entry = DestinationEntry::parse(&bytes[20..], key.family()).expect("a whole one");
            assert_eq!((entry.key, entry.settings), (to, settings));
        }
    }
}
