//! What an instance is told once.

use std::time::Duration;

use lb_election::{Peers, Selector, hold_time};

use crate::timing::master_down_interval;
use crate::types::{Family, Priority, Version, Vrid};
use crate::vips::Vips;

/// Configuration of an instance. [`Config::new`] has keepalived's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Version it speaks; the other one is refused.
    pub version: Version,
    /// Family of its advertisements and of the addresses in them.
    pub family: Family,
    /// Its identifier on the link.
    pub vrid: Vrid,
    /// Without what is tracked; [`Priority::OWNER`] for the owner, never [`Priority::STOP`].
    pub priority: Priority,
    /// Advertisement interval. v2: whole seconds, 1 to 255; v3: multiples of 10 ms up to 40.95 s.
    pub adver_int: Duration,
    /// Intervals of silence that make a master dead, 1 to 100.
    pub down_timer_adverts: u32,
    /// `state MASTER`: an owner is MASTER at once.
    pub wants_master: bool,
    /// A lower priority that is MASTER stays so.
    pub nopreempt: bool,
    /// How long a lower priority is heard before it is preempted; zero for none.
    pub preempt_delay: Duration,
    /// Simple password, zero padded. v2 over IPv4 only.
    pub password: Option<[u8; 8]>,
    /// Key of the IP authentication header (`auth_type AH`), zero padded; instead of a password. v2
    /// over IPv4 only.
    pub header_key: Option<[u8; 8]>,
    /// Where advertisements go and come from.
    pub peers: Peers,
    /// Advertised addresses.
    pub vips: Vips,
    /// In BACKUP compare the addresses of an advertisement only when its sender is another one.
    pub skip_check_adv_addr: bool,
    /// As MASTER do not answer a lower priority.
    pub lower_prio_no_advert: bool,
    /// One more advertisement before yielding to a higher priority.
    pub higher_prio_send_advert: bool,
    /// An owner hears nobody.
    pub owner_ignore_adverts: bool,
    /// v3 over IPv4: no pseudo header in the checksum, and a wrong one is no error.
    pub v3_checksum_as_v2: bool,
    /// Checksum form of unicast v3 over IPv4.
    pub old_unicast_checksum: OldUnicastChecksum,
    /// Member of a sync group: does not become MASTER but says that it would.
    pub grouped: bool,
    /// Our way of leaving: hold the addresses until the successor is heard, so long at most;
    /// [`Config::hold_time`] is a good measure. `None`: let go at once, as keepalived does.
    pub handover: Option<Duration>,
    /// A due advertisement may leave so much earlier, to share a wake-up. The grid stays.
    pub advert_slack: Duration,
}

impl Config {
    /// A multicast instance without addresses that preempts.
    #[must_use]
    pub fn new(
        version: Version,
        family: Family,
        vrid: Vrid,
        priority: Priority,
        adver_int: Duration,
    ) -> Self {
        Self {
            version,
            family,
            vrid,
            priority,
            adver_int,
            down_timer_adverts: 3,
            wants_master: priority == Priority::OWNER,
            nopreempt: false,
            preempt_delay: Duration::ZERO,
            password: None,
            header_key: None,
            peers: Peers::Multicast,
            vips: Vips::new(family, []),
            skip_check_adv_addr: false,
            lower_prio_no_advert: false,
            higher_prio_send_advert: false,
            owner_ignore_adverts: false,
            v3_checksum_as_v2: false,
            old_unicast_checksum: OldUnicastChecksum::Detect,
            grouped: false,
            handover: None,
            advert_slack: Duration::ZERO,
        }
    }

    /// Whether this router owns the addresses.
    #[must_use]
    pub fn owner(&self) -> bool {
        self.priority == Priority::OWNER
    }

    /// What every advertisement shows that [`Advert::parse`](crate::Advert::parse) accepts.
    #[must_use]
    pub fn selector(&self) -> Selector {
        let (ttl, sources) = match &self.peers {
            Peers::Multicast => (Some(255), None),
            Peers::Unicast { peers, check_source: true } => {
                (None, Some(peers.iter().map(|peer| peer.address).collect()))
            }
            Peers::Unicast { check_source: false, .. } => (None, None),
        };
        Selector { first: self.version.number() << 4 | 1, id: self.vrid.value(), ttl, sources }
    }

    /// How long to wait for a successor: not so long that it would have come without our word.
    #[must_use]
    pub fn hold_time(&self) -> Duration {
        let Self { version, priority, adver_int, down_timer_adverts, .. } = *self;
        hold_time(adver_int, master_down_interval(version, priority, adver_int, down_timer_adverts))
    }
}

/// Whether unicast v3 uses the checksum of old releases, whose pseudo header has the multicast
/// group for destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OldUnicastChecksum {
    /// From the first advertisement on that is right in no other form.
    #[default]
    Detect,
    /// Always.
    Always,
    /// Never, neither sent nor accepted.
    Never,
}
