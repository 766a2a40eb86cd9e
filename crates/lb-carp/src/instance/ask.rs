//! What is asked and told without a transition.

use super::*;

impl Instance {
    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The same without deadlines.
    #[must_use]
    pub fn role(&self) -> Role {
        self.state.role()
    }

    /// Why it stands there.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// What it was configured with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether it was handed over, and takes the role from no other node that is no more demoted than
    /// those it has heard since.
    #[must_use]
    pub fn handed_over(&self) -> bool {
        self.content.is_some()
    }

    /// The demotion it says, 0 for none.
    #[must_use]
    pub fn demotion(&self) -> u8 {
        self.standing().demotion
    }

    /// advbase and advskew as it says them, with what demotion and maintenance make of them.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.standing().pace
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
    pub fn last_word(&mut self) -> Advert {
        self.counters.bow_out_sent += 1;
        self.next_advert(Standing { pace: Pace::BOW_OUT, demotion: LAST_DEMOTION })
    }

    /// What it counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Our own source addresses: they tell in which families we can send, decide between equals,
    /// and give away what is looped. While none is known, every family that has addresses counts.
    pub fn set_sources(&mut self, v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>) {
        let sources = [v4.map(IpAddr::from), v6.map(IpAddr::from)];
        if sources != self.sources {
            sources.into_iter().flatten().for_each(|source| self.sequence.mix(source));
            self.sources = sources;
            self.families = counting(&self.config, sources);
        }
    }

    /// Where our advertisements come from.
    #[must_use]
    pub fn source(&self, family: Family) -> Option<IpAddr> {
        self.sources[family as usize]
    }

    /// Hears nothing and starts no timer before `until`. To be called before [`Input::Startup`].
    pub fn ignore_until(&mut self, until: Instant) {
        self.deaf_until = Some(until);
    }

    /// Reports again what was reported once: the case it was reported for is closed.
    pub fn report_again(&mut self) {
        self.reported = 0;
    }

    /// Takes a new configuration for the same vhid, after a reload. State, counters and the known
    /// master stay: a MASTER stays MASTER even if it is slower now, and advertises within the new
    /// interval; in BACKUP the running timers are moved by what the new configuration makes them
    /// longer or shorter. With another passphrase or other addresses the digest is another one.
    pub fn reconfigure(&mut self, now: Instant, config: Config) {
        let before = self.master_down();
        self.digest = Digest::new(&config);
        self.families = counting(&config, self.sources);
        self.config = config;
        self.shift(now, before);
        self.follow_families(now);
        let latest = now + self.interval();
        if let State::Master { next_at, .. } = &mut self.state {
            *next_at = latest.min(*next_at);
        }
    }

    /// Appends an advertisement: what follows the IP header, the same octets to everyone and in
    /// both families.
    pub fn emit(&self, advert: &Advert, out: &mut Vec<u8>) {
        advert.emit(&self.digest, out);
    }
}
