//! What can go wrong, told to the operator.

use std::fmt;
use std::io;

use nix::errno::Errno;

use crate::change::Change;
use crate::settings::{Name, ServiceSettings};

/// Why a client cannot work, or a request that stands alone failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel has no IPVS, and loading it did not help.
    #[error(
        "this kernel has no IPVS: load it with `modprobe ip_vs`, or use a kernel built with CONFIG_IP_VS"
    )]
    NoIpvs,
    /// The process may not speak to IPVS.
    #[error(
        "no permission to use IPVS: it takes CAP_NET_ADMIN in the first user namespace, so containers with a user namespace of their own cannot have it"
    )]
    Permission,
    /// A netlink socket does not work.
    #[error("netlink socket to IPVS")]
    Socket(#[from] io::Error),
    /// The kernel's answer never came: the receive queue overflowed.
    #[error("the kernel's answer to `{0}` was lost")]
    NoAnswer(&'static str),
    /// The kernel's answer lacks what it must have.
    #[error("the kernel's answer to `{0}` makes no sense")]
    Malformed(&'static str),
    /// A request was refused.
    #[error("cannot {request}: {}{}", errno.desc(), words(text.as_deref()))]
    Refused {
        /// What was asked for.
        request: &'static str,
        /// The kernel's reason.
        errno: Errno,
        /// The kernel's own words, if it has any.
        text: Option<String>,
    },
}

/// One change of many that the kernel refused; the others are in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was asked for.
    pub change: Change,
    /// The kernel's reason.
    pub errno: Errno,
    /// The kernel's own words, if it has any.
    pub text: Option<String>,
}

fn words(text: Option<&str>) -> String {
    text.map_or_else(String::new, |text| format!(" ({text})"))
}

/// One sentence: which entry, what was wanted, what the kernel said, what to do.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (why, what_to_do) = self.explanation();
        write!(
            f,
            "cannot {}: {why} ({:?}){}; {what_to_do}",
            self.change,
            self.errno,
            words(self.text.as_deref())
        )
    }
}

impl Failure {
    /// Whether the kernel's table was not as this process remembered it.
    pub(crate) fn is_stale(&self) -> bool {
        matches!(self.errno, Errno::EEXIST | Errno::ESRCH | Errno::ENOENT)
    }

    /// Reason and remedy. `ip_vs_ctl.c` returns few numbers; what each means depends on the
    /// request.
    fn explanation(&self) -> (String, String) {
        let other = "look for another program that changes the table (ipvsadm, keepalived)";
        let (why, what_to_do) = match (self.errno, &self.change) {
            (Errno::ENOENT, Change::AddService(_, s) | Change::EditService(_, s)) => {
                return missing_module(s);
            }
            (Errno::ENOENT, _) => ("the service has no such destination", other),
            (Errno::ESRCH, _) => ("the service does not exist", other),
            (Errno::EEXIST, _) => ("it exists already", other),
            (Errno::EINVAL, Change::AddService(..) | Change::EditService(..)) => (
                "the kernel refuses these settings",
                "check the granularity: 1 to 128 bits for IPv6",
            ),
            (Errno::EINVAL, _) => (
                "the kernel refuses this address or method",
                "use a unicast address that is not link-local, of the service's family unless \
                 tunnelled, and a port for GUE; no family mixes while a sync daemon runs, and \
                 nothing is unicast while the host has no address at all",
            ),
            (Errno::ERANGE, _) => (
                "a number is out of range",
                "use a weight up to 2147483647 and a lower threshold not above the upper one",
            ),
            (Errno::EAFNOSUPPORT, _) => (
                "the kernel does IPVS for IPv4 only",
                "use a kernel built with CONFIG_IP_VS_IPV6 and enable IPv6",
            ),
            (Errno::EPROTONOSUPPORT, _) => (
                "the kernel does not balance this protocol",
                "use a kernel built with CONFIG_IP_VS_PROTO_TCP, _UDP and _SCTP",
            ),
            (Errno::EPERM, _) => {
                ("no permission", "run with CAP_NET_ADMIN in the first user namespace")
            }
            (Errno::ENOMEM | Errno::ENOBUFS, _) => ("the kernel is out of memory", "free some"),
            (Errno::ENOPROTOOPT, _) => ("ip_vs is being unloaded", "load it again"),
            (errno, _) => (errno.desc(), "see ip_vs in the kernel log"),
        };
        (why.into(), what_to_do.into())
    }
}

fn missing_module(settings: &ServiceSettings) -> (String, String) {
    let ServiceSettings { scheduler, engine, .. } = settings;
    if *engine == Name::default() {
        (
            format!("the kernel has no scheduler `{scheduler}`"),
            format!("load ip_vs_{scheduler} or choose another"),
        )
    } else {
        (
            format!(
                "the kernel has no scheduler `{scheduler}` or no persistence engine `{engine}`"
            ),
            format!("load ip_vs_{scheduler} and ip_vs_pe_{engine}, or choose others"),
        )
    }
}

#[cfg(test)]
mod tests {
    use lb_pool::{
        Destination, DestinationKey, Persistence, Protocol, Scheduler, Service, ServiceKey,
    };

    use super::*;

    const KEY: ServiceKey = ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: std::net::SocketAddr::new(
            std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
            80,
        ),
    };

    fn failure(change: Change, errno: Errno) -> String {
        let text = None;
        Failure { change, errno, text }.to_string()
    }

    #[test]
    fn a_missing_scheduler_is_named_with_its_module() {
        let mut service = Service { scheduler: Scheduler::Mh, ..Service::default() };
        let settings = ServiceSettings::new(&KEY, &service);
        assert_eq!(
            failure(Change::AddService(KEY, settings), Errno::ENOENT),
            "cannot add TCP 192.0.2.1:80: the kernel has no scheduler `mh` (ENOENT); \
             load ip_vs_mh or choose another"
        );
        service.persistence = Some(Persistence {
            timeout: std::time::Duration::from_secs(360),
            engine: Some("sip".into()),
        });
        let settings = ServiceSettings::new(&KEY, &service);
        assert_eq!(
            failure(Change::EditService(KEY, settings), Errno::ENOENT),
            "cannot edit TCP 192.0.2.1:80: the kernel has no scheduler `mh` or no persistence \
             engine `sip` (ENOENT); load ip_vs_mh and ip_vs_pe_sip, or choose others"
        );
    }

    #[test]
    fn a_bad_destination_is_named_with_the_rules_it_may_have_broken() {
        let to = DestinationKey { address: [224, 0, 0, 1].into(), port: 80 };
        let change = Change::AddDestination(KEY, to, (&Destination::default()).into());
        assert_eq!(
            Failure { change, errno: Errno::EINVAL, text: Some("not unicast".into()) }.to_string(),
            "cannot add TCP 192.0.2.1:80 -> 224.0.0.1:80: the kernel refuses this address or \
             method (EINVAL) (not unicast); use a unicast address that is not link-local, of the \
             service's family unless tunnelled, and a port for GUE; no family mixes while a sync \
             daemon runs, and nothing is unicast while the host has no address at all"
        );
        assert_eq!(
            failure(change, Errno::ESRCH),
            "cannot add TCP 192.0.2.1:80 -> 224.0.0.1:80: the service does not exist (ESRCH); \
             look for another program that changes the table (ipvsadm, keepalived)"
        );
    }

    #[test]
    fn an_error_no_table_knows_is_told_in_the_systems_words() {
        assert_eq!(
            failure(Change::DelService(KEY), Errno::EIO),
            "cannot delete TCP 192.0.2.1:80: I/O error (EIO); see ip_vs in the kernel log"
        );
    }
}
