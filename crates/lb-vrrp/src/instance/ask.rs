//! What is asked and told without a transition.

use super::*;
use crate::config::OldUnicastChecksum;
use crate::types::Family;
use crate::wire::Auth;

impl Instance {
    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// What it was configured with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Why it stands there.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether it was handed over, and takes the role from no other router since.
    #[must_use]
    pub fn handed_over(&self) -> bool {
        self.content
    }

    /// The priority it advertises: with what is tracked; 255 or for a while 254 for an owner; 1 in
    /// maintenance.
    #[must_use]
    pub fn effective_priority(&self) -> Priority {
        match (self.maintenance, self.config.owner(), self.lowered) {
            (true, ..) => Priority::LAST,
            (false, true, false) => Priority::OWNER,
            (false, true, true) => Priority(254),
            (false, false, _) => self.tracked,
        }
    }

    /// Whether it is the last choice in the election.
    #[must_use]
    pub fn in_maintenance(&self) -> bool {
        self.maintenance
    }

    /// The master it respects; `None` while it is MASTER itself, or heard none.
    #[must_use]
    pub fn master(&self) -> Option<Sender> {
        self.master
    }

    /// What it says, no longer MASTER, to the one that is: that it stopped.
    #[must_use]
    pub fn last_word(&mut self) -> Content {
        self.counters.advert_sent += 1;
        self.counters.pri_zero_sent += 1;
        self.aside(Priority::STOP)
    }

    /// One more advertisement as if it were MASTER, when the master is better: that announces its
    /// addresses again. `None` when the master would yield to it.
    #[must_use]
    pub fn reminder(&mut self) -> Option<Content> {
        let ours = self.effective_priority();
        self.master.filter(|master| master.priority > ours)?;
        self.counters.advert_sent += 1;
        Some(self.aside(ours))
    }

    /// Interval of the master it respects; ours until one was heard.
    #[must_use]
    pub fn master_adver_int(&self) -> Duration {
        self.master_adver_int
    }

    /// How long a master may be silent before this one takes over: its intervals and the skew.
    #[must_use]
    pub fn takes_over_after(&self) -> Duration {
        self.down_interval()
    }

    /// A master of lower priority that it does not respect, and has not replaced yet.
    #[must_use]
    pub fn lower_master(&self) -> Option<Sender> {
        self.lower
    }

    /// Advertisement interval of the master it knows; its own until it has heard one.
    #[must_use]
    pub fn master_interval(&self) -> Duration {
        self.master_adver_int
    }

    /// What it counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Number of the last advertisement that was heard or sent with `auth_type AH`; 0 without.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Gives the next advertisement with `auth_type AH` a number above this one: peers refuse numbers
    /// that they have heard.
    pub fn number_from(&mut self, number: u32) {
        self.number = self.number.max(number);
    }

    /// Our own source address, which decides between equals.
    pub fn set_source(&mut self, source: Option<IpAddr>) {
        self.source = source;
    }

    /// Where our advertisements come from.
    #[must_use]
    pub fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// Hears nothing and starts no timer before `until` (`vrrp_startup_delay`). To be called
    /// before [`Input::Startup`].
    pub fn ignore_until(&mut self, until: Instant) {
        self.deaf_until = Some(until);
    }

    /// Reports again what was reported once: the case it was reported for is closed.
    pub fn report_again(&mut self) {
        self.reported = 0;
    }

    /// Takes a new configuration for the same virtual router, after a reload. State, counters and
    /// the known master stay: a MASTER stays MASTER even with a lower priority, and advertises
    /// within the new interval; in BACKUP the running timer is moved by what the new configuration
    /// makes it longer or shorter. The priority with what is tracked is told by
    /// [`Input::Tracked`].
    pub fn reconfigure(&mut self, now: Instant, config: Config) {
        let before = self.down_interval();
        if self.master_adver_int == self.config.adver_int || config.version == Version::V2 {
            self.master_adver_int = config.adver_int;
        }
        self.config = config;
        let after = self.down_interval();
        match &mut self.state {
            State::Backup { down_at, .. } => *down_at = shift(now, *down_at, before, after),
            State::Master { next_at, .. } => *next_at = (*next_at).min(now + self.config.adver_int),
            State::Init | State::Leaving { .. } | State::Fault => {}
        }
    }

    /// Appends an advertisement as it goes from `source` to `destination` with this TTL: what follows
    /// the IP header. With `auth_type AH` that is of IP protocol 51, covers the header, and gives the
    /// id that this must have.
    pub fn emit(
        &self,
        content: Content,
        (source, destination): (IpAddr, IpAddr),
        ttl: u8,
        out: &mut Vec<u8>,
    ) -> Option<u16> {
        let Content { priority, number } = content;
        let config = &self.config;
        let old_unicast = match config.old_unicast_checksum {
            OldUnicastChecksum::Detect => self.old_unicast,
            OldUnicastChecksum::Always => true,
            OldUnicastChecksum::Never => false,
        };
        let checksum = match (config.version, config.family, &config.peers) {
            (_, Family::Inet6, _) => Checksum::Pseudo,
            (Version::V2, Family::Inet, _) => Checksum::Plain,
            (Version::V3, Family::Inet, _) if config.v3_checksum_as_v2 => Checksum::Plain,
            (Version::V3, Family::Inet, Peers::Unicast { .. }) if old_unicast => {
                Checksum::OldUnicast
            }
            (Version::V3, Family::Inet, _) => Checksum::Pseudo,
        };
        let advert = Advert {
            version: config.version,
            vrid: config.vrid,
            priority,
            adver_int: config.adver_int,
            addresses: config.vips.addresses(),
            auth: match (config.header_key, config.password) {
                (Some(_), _) => Auth::Header { number },
                (None, Some(password)) => Auth::Password(password),
                (None, None) => Auth::None,
            },
            checksum,
        };
        let (Some(key), IpAddr::V4(from), IpAddr::V4(to)) =
            (config.header_key, source, destination)
        else {
            advert.emit(source, destination, out);
            return None;
        };
        let start = out.len();
        out.extend([0; ah::LEN]);
        advert.emit(source, destination, out);
        ah::seal(&mut out[start..], from, to, ttl, &key, number);
        Some(ah::id(number))
    }
}
