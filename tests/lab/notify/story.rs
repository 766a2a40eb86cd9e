//! A random configuration and what happens to the router that has it, and the playing of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use lb_lab::{HostSpec, Topology, wait_for};
use lb_tests::forged::{Forged, Speaker};
use lb_tests::{CONFIG, SOON, run, write_note};
use nix::sys::signal::Signal;

use crate::config::{Config, INTERFACES, LOADS, RENAMES, WELLS, vip_octet};
use crate::random::Random;

/// How long what follows from an event may take: a script is run once a second and has to fail twice.
const AT_LEAST: Duration = Duration::from_millis(3_200);
/// Nothing follows any more when nothing was said for this long.
const QUIET: Duration = Duration::from_millis(1_700);

/// What is played.
pub struct Story {
    config: String,
    /// Before the start.
    wells: Vec<&'static str>,
    loads: Vec<(&'static str, i32)>,
    events: Vec<(String, Event)>,
}

enum Event {
    Start,
    Link(&'static str, bool),
    Load(&'static str, i32),
    Well(&'static str, bool),
    Reload(String),
    /// Who is heard from now on: VRIDs and priorities.
    Peers(Vec<(u8, u8)>),
    Stop,
}

/// Whose program it is.
#[derive(Clone, Copy, Debug)]
pub enum Daemon {
    Keepalived,
    Lbd,
}

/// What the scripts of each subject were called with after each event.
pub type Calls = Vec<BTreeMap<String, Vec<String>>>;

impl Story {
    pub fn random(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let mut config = Config::random(random);
        let first = config.text();
        let mut well = BTreeSet::new();
        well.extend(WELLS.into_iter().filter(|_| !random.one_in(3)));
        let wells = well.iter().copied().collect();
        let mut loads: Vec<(&str, i32)> = LOADS.map(|load| (load, 0)).into();
        if random.one_in(4) {
            loads[0].1 = 1;
        }
        let (mut down, mut peers) = (BTreeSet::new(), BTreeMap::new());
        let mut events = Vec::new();
        if random.one_in(5) {
            let link = random.pick(&INTERFACES);
            down.insert(link);
            events.push((format!("{link} goes down"), Event::Link(link, false)));
        }
        events.push(("start".to_owned(), Event::Start));
        for _ in 0..4 + random.below(3) {
            events.push(match random.below(10) {
                0 | 1 => {
                    let link = random.pick(&INTERFACES);
                    let up = down.remove(link) || !down.insert(link);
                    let direction = if up { "up" } else { "down" };
                    (format!("{link} goes {direction}"), Event::Link(link, up))
                }
                2 => {
                    let load = random.pick(&LOADS);
                    let value = random.pick(&[0, 0, 1, -1, 20, -20, -254]);
                    (format!("{load} holds {value}"), Event::Load(load, value))
                }
                3 | 4 => {
                    let file = random.pick(&WELLS);
                    let there = !well.remove(file) && well.insert(file);
                    let what = if there { "is there" } else { "is gone" };
                    (format!("{file} {what}"), Event::Well(file, there))
                }
                5 | 6 => {
                    let vrid = config.instances[random.below(config.instances.len())].vrid;
                    if peers.remove(&vrid).is_none() {
                        peers.insert(vrid, random.pick(&[40, 120, 240]));
                    }
                    let heard: Vec<(u8, u8)> = peers.clone().into_iter().collect();
                    (format!("these are heard: {heard:?}"), Event::Peers(heard))
                }
                _ => {
                    let mut what = config.edit(random, false);
                    if random.one_in(3) {
                        what += ", ";
                        what += &config.edit(random, true);
                    }
                    (format!("reload: {what}"), Event::Reload(config.text()))
                }
            });
        }
        events.push(("stop".to_owned(), Event::Stop));
        Self { config: first, wells, loads, events }
    }

    /// Plays it; `None`, and a message, where the machine allows no labs. With what the daemon wrote.
    pub fn play(&self, daemon: Daemon) -> anyhow::Result<Option<(Calls, String)>> {
        let topology = Topology::new(["lan", "wan", "aux"])
            .host(
                HostSpec::new("d1")
                    .interface("eth0", "lan", ["192.0.2.1/24"])
                    .interface("eth1", "wan", ["198.51.100.1/24"])
                    .interface("eth2", "aux", ["203.0.113.1/24"])
                    .private("/etc/keepalived"),
            )
            .host(HostSpec::new("d2").interface("eth0", "lan", ["192.0.2.2/24"]));
        let Some(lab) = lb_tests::start(topology)? else { return Ok(None) };
        let host = lab.host("d1")?;
        let speaker = Speaker::new(lab.host("d2")?)?;
        write_note(host)?;
        host.write_file(CONFIG, &self.config)?;
        for well in &self.wells {
            host.write_file(well, "")?;
        }
        for (load, value) in &self.loads {
            host.write_file(load, format!("{value}\n"))?;
        }
        let (mut process, mut calls, mut known) = (None, Vec::new(), BTreeSet::new());
        for (what, event) in &self.events {
            let signal = |signal| -> anyhow::Result<()> {
                let process: &lb_lab::Process = process.as_ref().context("not started")?;
                Ok(process.signal(signal)?)
            };
            match event {
                Event::Start => {
                    let name = match daemon {
                        Daemon::Keepalived => "keepalived",
                        Daemon::Lbd => "lbd",
                    };
                    process = Some(host.spawn([name, "-n", "-l", "-G", "-D"])?);
                }
                Event::Link(name, up) => host.set_link(name, *up)?,
                Event::Load(file, value) => host.write_file(file, format!("{value}\n"))?,
                Event::Well(file, true) => host.write_file(file, "")?,
                Event::Well(file, false) => drop(run(host, &["rm", file])?),
                Event::Reload(config) => {
                    host.write_file(CONFIG, config)?;
                    signal(Signal::SIGHUP)?;
                }
                Event::Peers(peers) => {
                    let forged = peers.iter().map(|(vrid, priority)| Forged {
                        vrid: *vrid,
                        vip: Ipv4Addr::new(192, 0, 2, vip_octet(*vrid)),
                        ..Forged::new(*priority)
                    });
                    speaker.repeat(forged.collect());
                }
                Event::Stop => {
                    signal(Signal::SIGTERM)?;
                    process.as_ref().context("not started")?.wait(SOON)?;
                }
            }
            let process = process.as_ref();
            if !matches!(event, Event::Link(..)) || process.is_some() {
                let running = matches!(event, Event::Stop)
                    || process.is_some_and(lb_lab::Process::is_running);
                ensure!(running, "not running after {what}");
            }
            calls.push(settle(host, &mut known)?);
        }
        Ok(Some((calls, process.map(|process| process.output()).unwrap_or_default())))
    }

    /// The first configuration, and what happens, with what was called by both where that differs.
    pub fn compare(&self, theirs: &Calls, ours: &Calls) -> Option<String> {
        let mut states: BTreeMap<String, String> = BTreeMap::new();
        let mut text = self.config.clone();
        let _ = writeln!(text, "there are {:?} and {:?}", self.wells, self.loads);
        for (index, (what, event)) in self.events.iter().enumerate() {
            let _ = writeln!(text, "-- {what}");
            for (old, new) in what.split([':', ',']).filter_map(|part| part.split_once(RENAMES)) {
                if let Some(state) = states.remove(old.trim()) {
                    states.insert(new.to_owned(), state);
                }
            }
            if let Event::Reload(config) = event {
                text += config;
            }
            let (theirs, ours) = (&theirs[index], &ours[index]);
            let subjects: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
            let mut differs = false;
            for subject in subjects {
                let [theirs, ours] =
                    [theirs, ours].map(|calls| calls.get(subject).cloned().unwrap_or_default());
                let again = tells_fault_again(states.get(subject), &theirs) && ours.is_empty();
                if let Some(state) = theirs.iter().rev().find_map(|words| state_told(words)) {
                    states.insert(subject.clone(), state.to_owned());
                }
                if again || is_same(event, &theirs, &ours) {
                    let _ = writeln!(text, "   both       {theirs:?}");
                } else {
                    differs = true;
                    let _ = writeln!(text, "!! keepalived {theirs:?}");
                    let _ = writeln!(text, "!! lbd        {ours:?}");
                }
            }
            if differs {
                return Some(text);
            }
        }
        None
    }
}

/// The state that the generic script was called with.
fn state_told(words: &str) -> Option<&str> {
    words.split(' ').nth(3)
}

/// After a reload keepalived tells a member of a group in FAULT again that it is there, when it has a cause
/// of its own.
fn tells_fault_again(state: Option<&String>, calls: &[String]) -> bool {
    let fault = |words: &String| words.contains("notify_fault") || words.contains(" FAULT ");
    state.is_some_and(|state| state == "FAULT") && calls.iter().all(fault)
}

/// Whether both called the same. Of an instance that a reload removes and one that it adds under the same
/// name, keepalived may tell the beginning of the new one before the end of the old one.
fn is_same(event: &Event, theirs: &[String], ours: &[String]) -> bool {
    if !matches!(event, Event::Reload(_)) {
        return theirs == ours;
    }
    let sorted = |calls: &[String]| {
        let mut calls = calls.to_vec();
        calls.sort();
        calls
    };
    sorted(theirs) == sorted(ours)
}

/// Waits until nothing is called any more, and returns what was called since the last time.
fn settle(
    host: &lb_lab::Host,
    known: &mut BTreeSet<u32>,
) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let began = Instant::now();
    let mut all: BTreeMap<u32, String> = BTreeMap::new();
    let mut changed = began;
    wait_for("nothing is called any more", 3 * SOON, || {
        let text = host.read_file("/run/notes").ok()?;
        let before = all.len();
        for (pid, words) in text.lines().filter_map(|line| line.split_once(' ')) {
            let Ok(pid) = pid.parse() else { continue };
            // As often as the peer speaks.
            if !known.contains(&pid) && !words.contains("rx_lower_pri") {
                all.insert(pid, words.to_owned());
            } else if words.contains("rx_lower_pri") {
                known.insert(pid);
            }
        }
        if all.len() > before {
            changed = Instant::now();
        }
        thread::sleep(Duration::from_millis(50));
        (began.elapsed() >= AT_LEAST && changed.elapsed() >= QUIET).then_some(())
    })?;
    known.extend(all.keys().copied());
    let mut calls: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for words in all.into_values() {
        let subject = words.split('.').next().unwrap_or_default().to_owned();
        calls.entry(subject).or_default().push(words);
    }
    Ok(calls)
}
