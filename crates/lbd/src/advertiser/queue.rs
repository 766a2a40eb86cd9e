//! What waits for the thread that keeps addresses, bounded by what there is to keep.
//!
//! Nothing here grows with what others send: the thread may be held up for seconds, and meanwhile a
//! link can flap and a flood of advertisements can come in.
//! - Of an address wait one removal and after it one addition at most: a later change takes the place
//!   of the one that it makes void.
//! - Of an instance waits one announcement at most, the latest. Everything else overtakes them, and
//!   what is removed is announced no more.
//! - Of events wait [`EVENTS`] at most; those beyond are dropped and counted.
//! - Replies wait for as long as somebody waits for them: one of each reload and stop.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::mem;
use std::net::IpAddr;

use lb_control::EventKind;
use lb_net::Announcement;
use lb_node::{InstanceId, LinkIndex, Vip};

/// Events that wait at most: some of every instance of a large configuration.
const EVENTS: usize = 16_384;
/// Addresses that are changed at a time: others may get a word in between.
const CHANGES: usize = 256;
/// Announcements that are sent at a time: changes of addresses wait for no more than these.
const FRAMES: usize = 1024;

/// One VIP to be there or not.
#[derive(Clone, Debug)]
pub(super) struct VipChange {
    pub vip: Vip,
    pub present: bool,
}

/// Where an address is.
pub(super) type Place = (LinkIndex, IpAddr);

impl VipChange {
    pub(super) fn place(&self) -> Place {
        (self.vip.link, self.vip.address.address)
    }
}

/// Whose announcement: of all VIPs of an instance, or of those of `garp_extra_if` alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    pub instance: InstanceId,
    pub extra: bool,
}

/// Something to call when everything before it is done.
pub(super) type Then = Box<dyn FnOnce() + Send>;

/// What to do next.
pub(super) enum Step {
    /// Change these addresses, in their order.
    Change(Vec<VipChange>),
    /// Have exactly these links keep a second address of a subnet when the first goes.
    Promote(BTreeSet<u32>),
    /// Tell these events, after so many that were dropped.
    Tell(Vec<EventKind>, u64),
    Then(Then),
    /// Send one frame for each.
    Announce(Vec<Announcement>),
}

enum Waiting {
    Change(VipChange),
    Promote(BTreeSet<u32>),
    Tell(Vec<EventKind>),
    Then(Then),
}

/// See the [module](self).
#[derive(Default)]
pub(super) struct Queue {
    /// By their number.
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
    additions: HashMap<Place, u64>,
    removals: HashMap<Place, u64>,
    promotion: Option<u64>,
    announcements: VecDeque<(Owner, Vec<Announcement>, u32)>,
    /// Events in `waiting`.
    events: usize,
    /// Events that were dropped and not told of.
    dropped: u64,
}

impl Queue {
    /// Queues changes. Yields the places whose removal waits already, so that there will be one
    /// removal less than was asked for.
    pub(super) fn change(&mut self, changes: Vec<VipChange>) -> Vec<Place> {
        let mut merged = Vec::new();
        let mut removed = HashSet::new();
        for change in changes {
            let place = change.place();
            if let Some(void) = self.additions.remove(&place) {
                self.waiting.remove(&void);
            }
            if change.present {
                let number = self.push(Waiting::Change(change));
                self.additions.insert(place, number);
            } else {
                removed.insert(place);
                if self.removals.contains_key(&place) {
                    merged.push(place);
                } else {
                    let number = self.push(Waiting::Change(change));
                    self.removals.insert(place, number);
                }
            }
        }
        if !removed.is_empty() {
            for (_, frames, _) in &mut self.announcements {
                frames.retain(|frame| !removed.contains(&(frame.ifindex, frame.address)));
            }
            self.announcements.retain(|(_, frames, _)| !frames.is_empty());
        }
        merged
    }

    /// Queues the announcement of an instance, `rounds` times over; one that waits is replaced.
    pub(super) fn announce(&mut self, owner: Owner, frames: Vec<Announcement>, rounds: u32) {
        match self.announcements.iter_mut().find(|(other, ..)| *other == owner) {
            Some((_, waiting, left)) => {
                *waiting = frames;
                *left = rounds.max(*left);
            }
            None => self.announcements.push_back((owner, frames, rounds)),
        }
    }

    /// Queues the links that promote their second addresses; the last ones count.
    pub(super) fn promote(&mut self, links: BTreeSet<u32>) {
        if let Some(void) = self.promotion.take() {
            self.waiting.remove(&void);
        }
        self.promotion = Some(self.push(Waiting::Promote(links)));
    }

    /// Queues events.
    pub(super) fn tell(&mut self, mut events: Vec<EventKind>) {
        let room = EVENTS.saturating_sub(self.events);
        self.dropped += events.len().saturating_sub(room) as u64;
        events.truncate(room);
        self.events += events.len();
        match self.waiting.last_entry().map(|entry| entry.into_mut()) {
            Some(Waiting::Tell(waiting)) => waiting.extend(events),
            _ if events.is_empty() => {}
            _ => drop(self.push(Waiting::Tell(events))),
        }
    }

    /// Queues a call.
    pub(super) fn then(&mut self, f: Then) {
        self.push(Waiting::Then(f));
    }

    /// Forgets the announcements: it is the end, and they would outlive the addresses.
    pub(super) fn end(&mut self) {
        self.announcements.clear();
    }

    fn push(&mut self, waiting: Waiting) -> u64 {
        let number = self.next;
        self.next += 1;
        self.waiting.insert(number, waiting);
        number
    }

    /// Takes what to do next; announcements when there is nothing else.
    pub(super) fn pop(&mut self) -> Option<Step> {
        let mut changes = Vec::new();
        while changes.len() < CHANGES
            && let Some(first) = self.waiting.first_entry()
            && matches!(first.get(), Waiting::Change(_))
        {
            if let Waiting::Change(change) = first.remove() {
                let waits = if change.present { &mut self.additions } else { &mut self.removals };
                waits.remove(&change.place());
                changes.push(change);
            }
        }
        if !changes.is_empty() {
            return Some(Step::Change(changes));
        }
        match self.waiting.pop_first().map(|(_, waiting)| waiting) {
            Some(Waiting::Promote(links)) => {
                self.promotion = None;
                Some(Step::Promote(links))
            }
            Some(Waiting::Tell(events)) => {
                self.events -= events.len();
                Some(Step::Tell(events, mem::take(&mut self.dropped)))
            }
            Some(Waiting::Then(f)) => Some(Step::Then(f)),
            Some(Waiting::Change(change)) => Some(Step::Change(vec![change])),
            None => self.frames().map(Step::Announce),
        }
    }

    /// A round of the announcements that have waited longest. Further rounds come after the first
    /// one of all others, because repetitions are for what gets lost in a burst.
    fn frames(&mut self) -> Option<Vec<Announcement>> {
        let mut frames = Vec::new();
        for _ in 0..self.announcements.len() {
            let Some((owner, all, rounds)) = self.announcements.pop_front() else { break };
            if !frames.is_empty() && frames.len() + all.len() > FRAMES {
                self.announcements.push_front((owner, all, rounds));
                break;
            }
            frames.extend_from_slice(&all);
            if rounds > 1 {
                self.announcements.push_back((owner, all, rounds - 1));
            }
        }
        (!frames.is_empty()).then_some(frames)
    }
}

#[cfg(test)]
mod tests {
    use lb_config::model::{AddressFlags, VirtualAddress};
    use lb_control::State;
    use lb_net::ArpForm;

    use super::*;

    fn change(last: u8, present: bool) -> VipChange {
        let address = VirtualAddress {
            address: [192, 0, 2, last].into(),
            prefix: 24,
            interface: None,
            broadcast: None,
            scope: 0,
            label: None,
            no_track: false,
            flags: AddressFlags::default(),
        };
        VipChange { vip: Vip { link: 1, address }, present }
    }

    fn frame(last: u8) -> Announcement {
        let (hardware, form) = ([2, 0, 0, 0, 0, 1], ArpForm::Request);
        Announcement {
            ifindex: 1,
            hardware,
            address: [192, 0, 2, last].into(),
            form,
            router: false,
        }
    }

    fn owner(number: u32) -> Owner {
        Owner { instance: InstanceId::new(number), extra: false }
    }

    fn place(last: u8) -> Place {
        (1, [192, 0, 2, last].into())
    }

    /// Everything that waits, in words.
    fn rest(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.pop()).map(|step| words(&step)).collect()
    }

    fn words(step: &Step) -> String {
        let last = |address: IpAddr| address.to_string().rsplit('.').next().map(str::to_owned);
        match step {
            Step::Change(changes) => changes
                .iter()
                .map(|change| {
                    let sign = if change.present { '+' } else { '-' };
                    format!("{sign}{}", last(change.vip.address.address).unwrap_or_default())
                })
                .collect::<Vec<_>>()
                .join(" "),
            Step::Promote(links) => format!("promote {links:?}"),
            Step::Tell(events, dropped) => format!("tell {} dropped {dropped}", events.len()),
            Step::Then(_) => "then".to_owned(),
            Step::Announce(frames) => frames
                .iter()
                .map(|frame| format!("@{}", last(frame.address).unwrap_or_default()))
                .collect::<Vec<_>>()
                .join(" "),
        }
    }

    #[test]
    fn an_address_that_flaps_waits_twice_at_most() {
        let mut queue = Queue::default();
        let mut merged = 0;
        for _ in 0..10_000 {
            merged += queue.change(vec![change(1, false), change(2, false)]).len();
            merged += queue.change(vec![change(1, true)]).len();
        }
        assert_eq!(queue.waiting.len(), 3);
        assert_eq!(merged, 2 * 9_999, "each removal that will not be made is told");
        assert_eq!(rest(&mut queue), ["-1 -2 +1"]);
        // What has begun is not taken back.
        assert_eq!(queue.change(vec![change(1, false)]), []);
        assert_eq!(queue.change(vec![change(1, false)]), [place(1)]);
        assert_eq!(queue.change(vec![change(1, true), change(1, false)]), [place(1)]);
        assert_eq!(rest(&mut queue), ["-1"]);
    }

    #[test]
    fn a_flood_leaves_one_announcement_of_an_instance() {
        let mut queue = Queue::default();
        for _ in 0..10_000 {
            queue.announce(owner(1), vec![frame(1), frame(2)], 2);
            queue.announce(owner(2), vec![frame(3)], 1);
        }
        assert_eq!(rest(&mut queue), ["@1 @2 @3", "@1 @2"]);
    }

    #[test]
    fn changes_overtake_announcements_and_what_is_removed_is_announced_no_more() {
        let mut queue = Queue::default();
        queue.announce(owner(1), vec![frame(1), frame(2)], 1);
        queue.announce(owner(2), vec![frame(3)], 5);
        queue.change(vec![change(2, false), change(3, false)]);
        queue.then(Box::new(|| {}));
        assert_eq!(rest(&mut queue), ["-2 -3", "then", "@1"]);
        queue.announce(owner(1), vec![frame(1)], 1);
        queue.end();
        assert_eq!(rest(&mut queue), [""; 0]);
    }

    #[test]
    fn frames_are_sent_a_thousand_at_a_time_round_by_round() {
        let mut queue = Queue::default();
        for number in 0..20 {
            queue.announce(owner(number), vec![frame(number as u8); 100], 2);
        }
        let sizes: Vec<usize> = std::iter::from_fn(|| queue.pop())
            .map(|step| match step {
                Step::Announce(frames) => frames.len(),
                _ => 0,
            })
            .collect();
        assert_eq!(sizes.iter().sum::<usize>(), 4_000);
        assert!(sizes.iter().all(|size| *size <= FRAMES), "{sizes:?}");
        // More than that of one instance go at once.
        queue.announce(owner(1), vec![frame(1); 2 * FRAMES], 1);
        assert_eq!(rest(&mut queue).len(), 1);
    }

    #[test]
    fn events_beyond_the_bound_are_counted() {
        let event = || EventKind::VrrpGroup { name: "G".to_owned(), state: State::Fault };
        let mut queue = Queue::default();
        queue.tell(vec![event(); EVENTS - 1]);
        queue.tell(vec![event(); 3]);
        queue.promote(BTreeSet::new());
        queue.promote(BTreeSet::from([1]));
        assert_eq!(
            rest(&mut queue),
            [format!("tell {EVENTS} dropped 2"), "promote {1}".to_owned()]
        );
        queue.tell(vec![event()]);
        assert_eq!(rest(&mut queue), ["tell 1 dropped 0"]);
    }
}
