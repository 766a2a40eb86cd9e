//! Two and more nodes on a segment in simulated time, among them models of ucarp, FreeBSD and
//! OpenBSD.

use std::collections::BTreeMap;

use super::*;
use crate::foreign::{self, Foreign};

const GROUP: [u8; 4] = [224, 0, 0, 18];
/// From one node to another.
const LATENCY: Duration = Duration::from_micros(100);
const MS: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ours,
    Theirs(foreign::Kind),
}

const KINDS: [Kind; 4] = [
    Kind::Ours,
    Kind::Theirs(foreign::Kind::Ucarp),
    Kind::Theirs(foreign::Kind::FreeBsd),
    Kind::Theirs(foreign::Kind::OpenBsd),
];

enum Node {
    Ours(Box<Instance>),
    Theirs(Foreign),
}

impl Node {
    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Ours(instance) => instance.deadline(),
            Self::Theirs(foreign) => Some(foreign.deadline()),
        }
    }

    fn is_master(&self) -> bool {
        match self {
            Self::Ours(instance) => instance.role() == Role::Master,
            Self::Theirs(foreign) => foreign.is_master(),
        }
    }
}

/// A packet on its way.
struct Flight {
    to: usize,
    from: usize,
    octets: Vec<u8>,
}

struct Segment {
    epoch: Instant,
    now: Instant,
    nodes: Vec<Node>,
    flying: BTreeMap<(Instant, usize), Flight>,
    sent: usize,
    cut: bool,
    /// Every such packet is lost; 0 for none.
    lost: usize,
    /// How long nobody was MASTER after somebody once was.
    headless: Duration,
    begun: bool,
}

/// The lowest wins a tie.
fn address(index: usize) -> [u8; 4] {
    [192, 0, 2, index as u8 + 1]
}

impl Segment {
    /// Nodes that begin this long after one another.
    fn new(nodes: &[(Kind, Config)], apart: Duration) -> Self {
        let epoch = Instant::now();
        let (flying, headless) = Default::default();
        let (cut, lost, sent, begun) = (false, 0, 0, false);
        let nodes_at = |(index, (kind, config)): (usize, &(Kind, Config))| match kind {
            Kind::Ours => {
                // Nodes with one seed are not to take each other's packets for their own.
                let mut instance = Instance::new(config.clone(), 7);
                instance.set_sources(Some(address(index).into()), None);
                Node::Ours(Box::new(instance))
            }
            Kind::Theirs(kind) => {
                let (source, begins) = (address(index).into(), epoch + apart * index as u32);
                Node::Theirs(Foreign::new(*kind, config, source, 42 + index as u64, begins))
            }
        };
        let list = nodes.iter().enumerate().map(nodes_at).collect();
        let mut segment =
            Self { epoch, now: epoch, nodes: list, flying, sent, cut, lost, headless, begun };
        for (index, (kind, _)) in nodes.iter().enumerate() {
            segment.run_until(apart * index as u32);
            if *kind == Kind::Ours {
                segment.tell(index, Input::Startup);
            }
        }
        segment
    }

    fn tell(&mut self, index: usize, input: Input<'_>) {
        let Node::Ours(instance) = &mut self.nodes[index] else { panic!("not ours") };
        let mut actions = Vec::new();
        instance.handle(self.now, input, &mut actions);
        for action in actions {
            assert!(!matches!(action, Action::Report { .. }), "{action:?}");
            if let Action::Send(advert) = action {
                self.send(index, advert);
            }
        }
    }

    fn send(&mut self, from: usize, advert: Advert) {
        let mut octets = Vec::new();
        advert.emit(&Digest::new(&config(0)), &mut octets);
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            self.sent += 1;
            let lost = self.lost != 0 && self.sent.is_multiple_of(self.lost);
            if !self.cut && !lost {
                let flight = Flight { to, from, octets: octets.clone() };
                self.flying.insert((self.now + LATENCY, self.sent), flight);
            }
        }
    }

    /// Runs on to this long after the epoch.
    fn run_until(&mut self, after: Duration) {
        let end = self.epoch + after;
        loop {
            let timer = (0..self.nodes.len())
                .filter_map(|index| Some((self.nodes[index].deadline()?.max(self.now), index)))
                .min();
            let arrival = self.flying.keys().next().map(|(at, _)| *at);
            let next = timer.map(|(at, _)| at).into_iter().chain(arrival).min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.pass(next);
            if arrival == Some(next) {
                let Some((_, flight)) = self.flying.pop_first() else { break };
                self.deliver(&flight);
            } else if let Some((_, index)) = timer {
                self.expire(index);
            }
        }
        self.pass(end);
    }

    fn pass(&mut self, to: Instant) {
        let masters = self.masters().len();
        self.begun |= masters > 0;
        if self.begun && masters == 0 {
            self.headless += to - self.now;
        }
        self.now = to;
    }

    fn expire(&mut self, index: usize) {
        let said = match &mut self.nodes[index] {
            Node::Ours(_) => return self.tell(index, Input::Timer),
            Node::Theirs(foreign) => foreign.timer(self.now),
        };
        said.into_iter().for_each(|advert| self.send(index, advert));
    }

    fn deliver(&mut self, flight: &Flight) {
        let packet = IpPacket {
            source: address(flight.from).into(),
            destination: GROUP.into(),
            ttl: Some(255),
            declared_len: None,
            ah: None,
            payload: &flight.octets,
        };
        let said = match &mut self.nodes[flight.to] {
            Node::Ours(_) => return self.tell(flight.to, Input::Packet(packet)),
            Node::Theirs(foreign) => {
                let config = config(0);
                let heard = Advert::parse(&packet, &config, &Digest::new(&config)).unwrap();
                foreign.hear(self.now, &heard, packet.source)
            }
        };
        said.into_iter().for_each(|advert| self.send(flight.to, advert));
    }

    fn masters(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|index| self.nodes[*index].is_master()).collect()
    }

    /// From this long after the epoch on, for half a minute, there is one master and always the same.
    #[track_caller]
    fn settled_at(&mut self, after: Duration, what: &str) -> usize {
        self.run_until(after);
        let masters = self.masters();
        let [master] = masters[..] else { panic!("{what}: {masters:?}") };
        for second in 1..=30 {
            self.run_until(after + Duration::from_secs(second));
            assert_eq!(self.masters(), [master], "{what}: {second} s later");
        }
        master
    }
}

/// Each node alone becomes MASTER, in step or not; then the cable between them is mended.
fn mended(nodes: &[(Kind, Config)], apart: Duration) -> Segment {
    let mut segment = Segment::new(nodes, apart);
    segment.cut = true;
    segment.run_until(Duration::from_secs(6));
    assert_eq!(segment.masters().len(), nodes.len());
    segment.cut = false;
    segment
}

#[test]
fn two_equal_masters_become_one_whoever_the_other_is() {
    for kind in KINDS {
        for apart in [0, 1, 100, 500, 700, 999].map(|ms| ms * MS) {
            for (first, second) in [(Kind::Ours, kind), (kind, Kind::Ours)] {
                let nodes = [(first, config(100)), (second, config(100))];
                let mut segment = mended(&nodes, apart);
                let what = format!("{first:?} beside {second:?}, {apart:?}");
                // Both may yield; then the first takes over after its patience.
                let master = segment.settled_at(Duration::from_secs(12), &what);
                if matches!(kind, Kind::Ours | Kind::Theirs(foreign::Kind::Ucarp)) {
                    assert_eq!(master, 0, "{what}");
                    assert_eq!(segment.headless, Duration::ZERO, "{what}");
                }
            }
        }
    }
}

#[test]
fn equals_that_begin_together_elect_one() {
    for kind in KINDS {
        for apart in [0, 1, 50, 101, 1_000_000].map(Duration::from_micros) {
            let nodes = [(Kind::Ours, config(0)), (kind, config(0)), (Kind::Ours, config(0))];
            let mut segment = Segment::new(&nodes, apart);
            segment.settled_at(Duration::from_secs(12), &format!("{kind:?}, {apart:?}"));
        }
    }
}

#[test]
fn of_two_masters_the_faster_one_stays() {
    for kind in KINDS {
        for (nodes, better) in [
            ([(Kind::Ours, config(100)), (kind, config(0))], 1),
            ([(Kind::Ours, config(0)), (kind, config(100))], 0),
        ] {
            for apart in [0, 1, 500].map(|ms| ms * MS) {
                let mut segment = mended(&nodes, apart);
                let what = format!("{kind:?}, {apart:?}");
                assert_eq!(segment.settled_at(Duration::from_secs(9), &what), better, "{what}");
                assert_eq!(segment.headless, Duration::ZERO);
            }
        }
    }
}

#[test]
fn a_bow_out_brings_any_successor_and_a_hold_leaves_no_gap() {
    for kind in KINDS {
        let nodes = [(Kind::Ours, polite(config(0))), (kind, config(100))];
        let mut segment = Segment::new(&nodes, Duration::ZERO);
        segment.run_until(Duration::from_millis(5_500));
        assert_eq!(segment.masters(), [0]);
        segment.tell(0, Input::Shutdown);
        segment.run_until(Duration::from_millis(5_501));
        assert_eq!(segment.masters(), [1], "{kind:?}");
        assert_eq!(segment.headless, Duration::ZERO, "{kind:?}");
    }
}

#[test]
fn a_demoted_master_is_replaced_and_returns() {
    for kind in KINDS {
        let nodes = [(Kind::Ours, eager(0)), (kind, eager(100))];
        let mut segment = Segment::new(&nodes, Duration::ZERO);
        segment.run_until(Duration::from_millis(5_500));
        assert_eq!(segment.masters(), [0]);
        segment.tell(0, Input::Tracked(-1));
        let unfit = Duration::from_millis(5_501);
        assert_eq!(segment.settled_at(unfit, &format!("{kind:?}")), 1);
        segment.tell(0, Input::Tracked(0));
        // It preempts with the next advertisement that it hears.
        assert_eq!(segment.settled_at(Duration::from_secs(40), &format!("{kind:?}")), 0);
        assert_eq!(segment.headless, Duration::ZERO, "{kind:?}");
    }
}

#[test]
fn a_demoted_node_comes_to_rest_beside_one_that_is_configured_as_slow() {
    for kind in KINDS {
        for apart in [0, 1, 300].map(|ms| ms * MS) {
            let nodes = [(Kind::Ours, eager(0)), (kind, eager(DEMOTED_SKEW))];
            let mut segment = mended(&nodes, apart);
            segment.cut = true;
            segment.tell(0, Input::Tracked(-1));
            segment.run_until(Duration::from_secs(20));
            segment.cut = false;
            // Both may yield once.
            segment.settled_at(Duration::from_secs(30), &format!("{kind:?}, {apart:?}"));
        }
    }
}

#[test]
fn one_in_maintenance_is_the_last_of_three() {
    for kind in KINDS {
        let nodes =
            [(Kind::Ours, polite(eager(0))), (kind, eager(50)), (Kind::Ours, polite(eager(100)))];
        let mut segment = Segment::new(&nodes, Duration::ZERO);
        segment.run_until(Duration::from_millis(5_500));
        assert_eq!(segment.masters(), [0]);
        segment.tell(0, Input::Maintenance(true));
        assert_eq!(segment.settled_at(Duration::from_secs(8), &format!("{kind:?}")), 1);
        segment.tell(0, Input::Maintenance(false));
        assert_eq!(segment.settled_at(Duration::from_secs(48), &format!("{kind:?}")), 0);
        assert_eq!(segment.headless, Duration::ZERO, "{kind:?}");
    }
}

#[test]
fn loss_alone_makes_no_lasting_disorder() {
    for kind in KINDS {
        let nodes = [(Kind::Ours, eager(0)), (kind, eager(0)), (Kind::Ours, eager(100))];
        let mut segment = Segment::new(&nodes, 137 * MS);
        segment.lost = 3;
        segment.run_until(Duration::from_secs(120));
        segment.lost = 0;
        segment.settled_at(Duration::from_secs(130), &format!("{kind:?}"));
    }
}
