//! One service at work: its destinations, what they carry, and which client sticks to which.
//!
//! No sockets and no clock: the time comes in, a [`Lease`] on a destination goes out.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Instant;

use lb_pool::{Connections, Destination, DestinationKey, ForwardingMethod, Service};
use tokio::sync::Notify;

use crate::scheduler::{Candidate, HashFlags, Memory};

/// Templates are searched for expired ones when there are twice as many as the last search left,
/// and never below this many.
const MIN_SWEEP: usize = 1024;

/// A service and its state.
#[derive(Debug)]
pub struct Balance {
    /// Its settings; the destinations are in `entries`.
    settings: Service,
    /// In the order of their keys.
    entries: Vec<Entry>,
    memory: Memory,
    templates: HashMap<IpAddr, Template>,
    sweep_at: usize,
    /// Destinations that left the table but may keep their connections.
    retired: Vec<Weak<Load>>,
}

#[derive(Debug)]
struct Entry {
    key: DestinationKey,
    destination: Destination,
    /// Reached its upper threshold and has not fallen below the lower one since.
    overloaded: bool,
    load: Arc<Load>,
}

/// A client's stickiness, as the templates of IPVS: it lasts for its timeout after the last
/// connection came, and as long as one of its connections lives.
#[derive(Debug)]
struct Template {
    key: DestinationKey,
    load: Arc<Load>,
    expires: Instant,
    users: Arc<()>,
}

/// What one destination carries.
#[derive(Debug, Default)]
struct Load {
    active: AtomicU64,
    inactive: AtomicU64,
    closed: AtomicBool,
    closing: Notify,
}

impl Load {
    fn close(&self) {
        self.closed.store(true, Relaxed);
        self.closing.notify_waiters();
    }

    fn total(&self) -> u64 {
        self.active.load(Relaxed) + self.inactive.load(Relaxed)
    }
}

/// One connection's place at a destination, given back when dropped.
#[derive(Debug)]
pub struct Lease {
    key: DestinationKey,
    method: ForwardingMethod,
    load: Arc<Load>,
    established: bool,
    _template: Option<Arc<()>>,
}

impl Lease {
    fn new(entry: &Entry, template: Option<&Template>) -> Self {
        entry.load.inactive.fetch_add(1, Relaxed);
        Self {
            key: entry.key,
            method: entry.destination.method,
            load: Arc::clone(&entry.load),
            established: false,
            _template: template.map(|t| Arc::clone(&t.users)),
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn key(&self) -> DestinationKey {
        self.key
    }

    /// Where to reach it: only NAT changes ports, and port 0 stands for the service's own.
    #[must_use]
    pub fn server(&self, service_port: u16) -> SocketAddr {
        let own = self.method == ForwardingMethod::Nat && self.key.port != 0;
        SocketAddr::new(self.key.address, if own { self.key.port } else { service_port })
    }

    /// From now on it counts as active.
    pub fn establish(&mut self) {
        if !self.established {
            self.established = true;
            self.load.active.fetch_add(1, Relaxed);
            self.load.inactive.fetch_sub(1, Relaxed);
        }
    }

    /// Returns when the connection has to end because its destination is gone.
    pub async fn closed(&self) {
        let closing = self.load.closing.notified();
        if !self.load.closed.load(Relaxed) {
            closing.await;
        }
    }

    /// Whether the connection has to end.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.load.closed.load(Relaxed)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let count = if self.established { &self.load.active } else { &self.load.inactive };
        count.fetch_sub(1, Relaxed);
    }
}

impl Balance {
    /// A service that carries nothing yet.
    #[must_use]
    pub fn new(service: &Service) -> Self {
        let mut balance = Self {
            settings: Service::default(),
            entries: Vec::new(),
            memory: Memory::default(),
            templates: HashMap::new(),
            sweep_at: MIN_SWEEP,
            retired: Vec::new(),
        };
        balance.update(service);
        balance
    }

    /// Makes the service so; counts the settings and destinations that changed.
    ///
    /// A destination that goes takes its connections with it, because it is dead and they would
    /// hang until their timeout. One that had weight 0 before was drained on purpose: it may keep
    /// what it still has.
    pub fn update(&mut self, want: &Service) -> usize {
        let mut changes = 0;
        let settings = Service { destinations: Default::default(), ..want.clone() };
        if settings != self.settings {
            if (&settings.persistence, settings.granularity)
                != (&self.settings.persistence, self.settings.granularity)
            {
                self.templates.clear();
            }
            self.settings = settings;
            changes += 1;
        }
        let mut old = std::mem::take(&mut self.entries).into_iter().peekable();
        for (key, destination) in &want.destinations {
            while let Some(gone) = old.next_if(|entry| entry.key < *key) {
                changes += self.retire(&gone);
            }
            let entry = match old.next_if(|entry| entry.key == *key) {
                Some(entry) if entry.destination == *destination => entry,
                Some(entry) => {
                    changes += 1;
                    self.memory.reset();
                    Entry { destination: *destination, ..entry }
                }
                None => {
                    changes += 1;
                    self.memory.reset();
                    let load = Arc::default();
                    Entry { key: *key, destination: *destination, overloaded: false, load }
                }
            };
            self.entries.push(entry);
        }
        for gone in old {
            changes += self.retire(&gone);
        }
        changes
    }

    fn retire(&mut self, gone: &Entry) -> usize {
        if gone.destination.weight > 0 {
            gone.load.close();
        } else {
            self.retired.retain(|load| load.strong_count() > 0);
            self.retired.push(Arc::downgrade(&gone.load));
        }
        self.memory.reset();
        1
    }

    /// Ends every connection, also those of drained destinations, and takes no more.
    pub fn close(&mut self) {
        self.entries.iter().for_each(|entry| entry.load.close());
        self.retired.drain(..).filter_map(|load| load.upgrade()).for_each(|load| load.close());
        self.entries.clear();
    }

    /// Whether each datagram is scheduled by itself.
    #[must_use]
    pub fn one_packet(&self) -> bool {
        self.settings.one_packet
    }

    /// Whether clients keep to the server of their first connection.
    #[must_use]
    pub fn is_sticky(&self) -> bool {
        self.settings.persistence.is_some()
    }

    /// Gives a new connection of `client` to a destination that is not among `tried`; `None` if
    /// none may take it.
    pub fn assign(
        &mut self,
        now: Instant,
        client: SocketAddr,
        tried: &[DestinationKey],
    ) -> Option<Lease> {
        for entry in &mut self.entries {
            entry.measure();
        }
        let masked = mask(client.ip(), self.settings.granularity);
        let timeout = self.settings.persistence.as_ref().map(|p| p.timeout);
        if let Some(timeout) = timeout
            && let Some(lease) = self.resume(masked, now + timeout, now, tried)
        {
            return Some(lease);
        }
        let flags = HashFlags {
            // Who refused a connection must not keep it.
            fallback: self.settings.fallback || !tried.is_empty(),
            port: self.settings.hash_port,
        };
        let entries = &self.entries;
        let candidate = |i: usize| entries[i].candidate(tried);
        let chosen =
            self.memory.pick(self.settings.scheduler, flags, client, entries.len(), candidate)?;
        let entry = &self.entries[chosen];
        let Some(timeout) = timeout else { return Some(Lease::new(entry, None)) };
        let load = Arc::clone(&entry.load);
        let template =
            Template { key: entry.key, load, expires: now + timeout, users: Arc::default() };
        let lease = Lease::new(entry, Some(&template));
        self.templates.insert(masked, template);
        self.sweep(now);
        Some(lease)
    }

    /// Sends a client where its template says. As in IPVS also to a destination that is
    /// overloaded or has weight 0, so that draining lets sessions finish.
    fn resume(
        &mut self,
        client: IpAddr,
        expires: Instant,
        now: Instant,
        tried: &[DestinationKey],
    ) -> Option<Lease> {
        let template = self.templates.get_mut(&client)?;
        let at = self.entries.binary_search_by_key(&template.key, |entry| entry.key).ok()?;
        let same = Arc::ptr_eq(&self.entries[at].load, &template.load);
        if !same || !template.lives(now) || tried.contains(&template.key) {
            return None;
        }
        template.expires = expires;
        Some(Lease::new(&self.entries[at], Some(template)))
    }

    fn sweep(&mut self, now: Instant) {
        if self.templates.len() >= self.sweep_at {
            self.templates.retain(|_, template| template.lives(now));
            self.sweep_at = MIN_SWEEP.max(2 * self.templates.len());
        }
    }

    /// Connections per destination of the table.
    pub fn connections(&self) -> impl Iterator<Item = (DestinationKey, Connections)> {
        self.entries.iter().map(|Entry { key, load, .. }| {
            let (active, inactive) = (load.active.load(Relaxed), load.inactive.load(Relaxed));
            (*key, Connections { active, inactive })
        })
    }
}

impl Entry {
    /// Applies the thresholds to what it carries now.
    fn measure(&mut self) {
        let Destination { upper_threshold, lower_threshold, .. } = self.destination;
        if upper_threshold == 0 {
            self.overloaded = false;
            return;
        }
        let (upper, lower) = (u64::from(upper_threshold), u64::from(lower_threshold));
        let total = self.load.total();
        let relieved = if lower == 0 { total * 4 < upper * 3 } else { total < lower };
        self.overloaded = total >= upper || (self.overloaded && !relieved);
    }

    fn candidate(&self, tried: &[DestinationKey]) -> Candidate {
        Candidate {
            key: self.key,
            weight: self.destination.weight,
            available: !self.overloaded && !tried.contains(&self.key),
            active: self.load.active.load(Relaxed),
            inactive: self.load.inactive.load(Relaxed),
        }
    }
}

impl Template {
    fn lives(&self, now: Instant) -> bool {
        now < self.expires || Arc::strong_count(&self.users) > 1
    }
}

/// The leading `bits` of an address; the whole of it for `None`.
fn mask(address: IpAddr, bits: Option<u8>) -> IpAddr {
    let Some(bits) = bits else { return address };
    let bits = u32::from(bits);
    match address {
        IpAddr::V4(v4) => {
            IpAddr::from((v4.to_bits() & !u32::MAX.checked_shr(bits).unwrap_or(0)).to_be_bytes())
        }
        IpAddr::V6(v6) => {
            IpAddr::from((v6.to_bits() & !u128::MAX.checked_shr(bits).unwrap_or(0)).to_be_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lb_pool::{Persistence, Scheduler};

    use super::*;

    fn key(last: u8) -> DestinationKey {
        DestinationKey { address: IpAddr::from([10, 0, 0, last]), port: 80 }
    }

    fn service(weights: &[u32]) -> Service {
        let destination = |weight| Destination { weight, ..Destination::default() };
        let destinations =
            (1..).zip(weights).map(|(last, weight)| (key(last), destination(*weight))).collect();
        Service { scheduler: Scheduler::Rr, destinations, ..Service::default() }
    }

    fn sticky(granularity: Option<u8>, weights: &[u32]) -> Service {
        let persistence = Some(Persistence { timeout: Duration::from_secs(60), engine: None });
        Service { persistence, granularity, ..service(weights) }
    }

    fn from(address: [u8; 4]) -> SocketAddr {
        SocketAddr::from((address, 5000))
    }

    const CLIENT: [u8; 4] = [192, 0, 2, 1];

    fn assign(balance: &mut Balance, now: Instant) -> Lease {
        balance.assign(now, from(CLIENT), &[]).unwrap()
    }

    fn counts(balance: &Balance) -> Vec<(u64, u64)> {
        balance.connections().map(|(_, c)| (c.active, c.inactive)).collect()
    }

    #[test]
    fn a_lease_counts_until_it_is_dropped() {
        let mut balance = Balance::new(&service(&[1, 1]));
        let mut first = assign(&mut balance, Instant::now());
        let second = assign(&mut balance, Instant::now());
        first.establish();
        first.establish();
        assert_eq!(counts(&balance), [(1, 0), (0, 1)]);
        drop((first, second));
        assert_eq!(counts(&balance), [(0, 0), (0, 0)]);
    }

    #[test]
    fn only_nat_changes_ports() {
        let at = |method, port| {
            let destination = Destination { method, weight: 1, ..Destination::default() };
            let destinations =
                [(DestinationKey { port, ..key(1) }, destination)].into_iter().collect();
            let mut balance = Balance::new(&Service { destinations, ..Service::default() });
            assign(&mut balance, Instant::now()).server(443).port()
        };
        assert_eq!(at(ForwardingMethod::Nat, 8080), 8080);
        assert_eq!(at(ForwardingMethod::Nat, 0), 443);
        assert_eq!(at(ForwardingMethod::Route, 8080), 443);
    }

    #[test]
    fn who_was_tried_is_not_tried_again() {
        for scheduler in Scheduler::ALL {
            let mut balance = Balance::new(&Service { scheduler, ..service(&[1, 1, 1]) });
            let mut tried = Vec::new();
            while let Some(lease) = balance.assign(Instant::now(), from(CLIENT), &tried) {
                assert!(!tried.contains(&lease.key()));
                tried.push(lease.key());
            }
            assert_eq!(tried.len(), 3, "{scheduler}");
        }
    }

    #[test]
    fn thresholds_close_at_the_upper_and_open_below_the_lower() {
        // (upper, lower, opens again at)
        for (upper, lower, opens) in [(4, 2, 1), (4, 0, 2), (8, 8, 7)] {
            let mut want = service(&[1]);
            let destination = Destination {
                weight: 1,
                upper_threshold: upper,
                lower_threshold: lower,
                ..Destination::default()
            };
            assert!(want.destinations.edit(&key(1), destination));
            let mut balance = Balance::new(&want);
            let mut leases: Vec<_> =
                (0..upper).map(|_| assign(&mut balance, Instant::now())).collect();
            while balance.assign(Instant::now(), from(CLIENT), &[]).is_none() {
                leases.pop();
            }
            assert_eq!(leases.len(), opens, "{upper} {lower}");
        }
    }

    #[test]
    fn a_client_stays_for_the_timeout_after_its_last_connection() {
        let mut balance = Balance::new(&sticky(None, &[1, 1]));
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(assign(&mut balance, start).key(), key(1));
        assert_eq!(assign(&mut balance, at(59)).key(), key(1));
        assert_eq!(assign(&mut balance, at(118)).key(), key(1));
        assert_eq!(assign(&mut balance, at(178)).key(), key(2), "60 s of silence end it");
        // A living connection holds it longer.
        let held = assign(&mut balance, at(179));
        assert_eq!(assign(&mut balance, at(900)).key(), held.key());
    }

    #[test]
    fn granularity_makes_one_client_of_a_network() {
        let now = Instant::now();
        let neighbour = from([192, 0, 2, 200]);
        for (granularity, same) in
            [(None, false), (Some(32), false), (Some(24), true), (Some(0), true)]
        {
            let mut balance = Balance::new(&sticky(granularity, &[1, 1]));
            let first = assign(&mut balance, now).key();
            let second = balance.assign(now, neighbour, &[]).unwrap().key();
            assert_eq!(first == second, same, "{granularity:?}");
        }
        let v6 = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(mask(v6("2001:db8:1:2::3"), Some(48)), v6("2001:db8:1::"));
        assert_eq!(mask(v6("2001:db8::3"), Some(128)), v6("2001:db8::3"));
    }

    #[test]
    fn a_template_outlives_weight_0_but_not_its_destination() {
        let now = Instant::now();
        let mut balance = Balance::new(&sticky(None, &[1, 1]));
        assert_eq!(assign(&mut balance, now).key(), key(1));
        balance.update(&sticky(None, &[0, 1]));
        assert_eq!(assign(&mut balance, now).key(), key(1));
        let refused = balance.assign(now, from(CLIENT), &[key(1)]).unwrap().key();
        assert_eq!((refused, assign(&mut balance, now).key()), (key(2), key(2)));

        let mut want = sticky(None, &[1, 1]);
        want.destinations.remove(&key(2));
        balance.update(&want);
        assert_eq!(assign(&mut balance, now).key(), key(1));
    }

    #[test]
    fn expired_templates_are_swept() {
        let mut balance = Balance::new(&sticky(None, &[1]));
        let start = Instant::now();
        for n in 0..100_000_u32 {
            let client = SocketAddr::from((n.to_be_bytes(), 1));
            balance.assign(start + Duration::from_secs(n.into()), client, &[]);
        }
        assert!(balance.templates.len() <= MIN_SWEEP);
    }

    #[test]
    fn a_removed_destination_closes_its_connections_unless_it_was_drained() {
        let now = Instant::now();
        let mut balance = Balance::new(&service(&[1, 1]));
        let (first, second) = (assign(&mut balance, now), assign(&mut balance, now));
        assert_eq!(balance.update(&service(&[1, 0])), 1);
        assert_eq!(balance.update(&Service { scheduler: Scheduler::Rr, ..Service::default() }), 2);
        assert!(first.is_closed() && !second.is_closed());
        // Back again it counts from zero; the old connection ends with the service.
        assert_eq!(balance.update(&service(&[1, 1])), 2);
        assert_eq!(counts(&balance), [(0, 0), (0, 0)]);
        balance.close();
        assert!(second.is_closed());
    }

    #[test]
    fn an_update_counts_what_differs() {
        let mut balance = Balance::new(&service(&[1, 2, 3]));
        assert_eq!(balance.update(&service(&[1, 2, 3])), 0);
        assert_eq!(balance.update(&service(&[1, 5])), 2);
        let settings = Service { scheduler: Scheduler::Lc, ..service(&[2, 5, 1]) };
        assert_eq!(balance.update(&settings), 3);
    }
}
