//! Nodes on one switch, what befalls them, and the story of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut, Range};
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use lb_lab::{Frame, HostSpec, Process, Topology};
use lb_tests::play::{Play, side_by_side};
use lb_tests::pulse::undisturbed;
use lb_tests::timing::{is_after, seconds};
use lb_tests::wire::announced;
use lb_tests::{SOON, Test};
use nix::sys::signal::Signal;

use crate::config::{Carp, Daemon, Node};
use crate::wire::Advert;

/// How late a busy machine may be; no missed interval passes for it.
pub const LATENESS: Duration = Duration::from_millis(500);
/// How late ucarp may hear a packet: libpcap gives it what came once a second.
const UCARP_DEAFNESS: Duration = Duration::from_secs(1);
/// How often ucarp looks again at an interface that is down.
const UCARP_NAP: Duration = Duration::from_secs(10);

/// Nodes with a card, `eth0`, on the switch `lan`.
pub struct Stage {
    play: Play,
    nodes: Vec<Node>,
    /// Those started last, of ucarp one a vhid.
    daemons: BTreeMap<&'static str, Vec<Process>>,
}

impl Deref for Stage {
    type Target = Play;

    fn deref(&self) -> &Play {
        &self.play
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut Play {
        &mut self.play
    }
}

/// Runs `play` before nodes that have not started yet; a failure tells the story. Where the machine has no labs or
/// no ucarp, it says so and passes.
pub fn stage(nodes: &[Node], mut play: impl FnMut(&mut Stage) -> Test) -> Test {
    let ucarp = nodes.iter().any(|node| node.daemon == Daemon::Ucarp);
    if ucarp && !lb_tests::installed("ucarp", "ucarp") {
        return Ok(());
    }
    undisturbed(|| {
        let Some(mut stage) = Stage::new(nodes)? else { return Ok(()) };
        play(&mut stage).map_err(|error| error.context(stage.story()))
    })
}

/// Runs a play of a faster node and a slower one, with `lbd` as the one and as the other.
pub fn both_ways(run: impl Fn(Daemon, Daemon) -> Test + Sync) -> Test {
    use Daemon::{Lbd, Ucarp};
    let pairs = [(Lbd, Ucarp), (Ucarp, Lbd)];
    let named = pairs.map(|(fast, slow)| (format!("{fast:?} before {slow:?}"), (fast, slow)));
    side_by_side(named, |(fast, slow)| run(fast, slow))
}

impl Stage {
    fn new(nodes: &[Node]) -> anyhow::Result<Option<Self>> {
        let mut topology = Topology::new(["lan"]);
        for node in nodes {
            // The prefix is so short that any address of a test is on the link.
            let address = format!("{}/8", node.address);
            topology = topology.host(
                HostSpec::new(node.host)
                    .interface("eth0", "lan", [address.as_str()])
                    .private("/etc/keepalived"),
            );
        }
        let Some(lab) = lb_tests::start(topology)? else { return Ok(None) };
        let play = Play::new(lab, nodes.iter().map(|node| node.host))?;
        Ok(Some(Self { play, nodes: nodes.to_vec(), daemons: BTreeMap::new() }))
    }

    fn runs_ucarp(&self, host: &str) -> bool {
        self.nodes.iter().any(|node| node.host == host && node.daemon == Daemon::Ucarp)
    }

    /// How late a node may act on what it heard, or did not hear. ucarp looks at its timer when a packet comes, and
    /// else once in an interval of its own.
    fn lateness(&self, host: &str, carp: &Carp) -> Duration {
        let ucarp = UCARP_DEAFNESS + carp.interval();
        LATENESS + if self.runs_ucarp(host) { ucarp } else { Duration::ZERO }
    }

    /// How late all nodes but one may give way to what they heard.
    pub fn lateness_of_others(&self, host: &str) -> Duration {
        let mut others = self.nodes.iter().filter(|node| node.host != host);
        let ucarp = others.any(|node| node.daemon == Daemon::Ucarp);
        LATENESS + if ucarp { UCARP_DEAFNESS } else { Duration::ZERO }
    }

    /// The daemons that were started last, in the order of the vhids; `lbd` is one for all.
    pub fn daemons(&self, host: &str) -> anyhow::Result<&[Process]> {
        let found = self.daemons.get(host).map(Vec::as_slice);
        found.with_context(|| format!("nothing was started on {host}"))
    }

    /// The first of them.
    pub fn daemon(&self, host: &str) -> anyhow::Result<&Process> {
        self.daemons(host)?.first().with_context(|| format!("{host} has no vhid"))
    }

    /// Starts the daemons of a node; returns when, and when they were ready: their timers started in between.
    pub fn start(&mut self, host: &'static str) -> anyhow::Result<Range<SystemTime>> {
        let node =
            self.nodes.iter().find(|node| node.host == host).context("no such node")?.clone();
        let at = self.step(format!("start {:?} on {host}", node.daemon));
        let on = self.host(host)?;
        let daemons = match node.daemon {
            Daemon::Lbd => vec![lb_tests::lbd(on, &node.config(), &[])?],
            Daemon::Ucarp => {
                let ip = |verb| format!("#!/bin/sh\nexec ip addr {verb} \"$2/24\" dev \"$1\"\n");
                on.write_script("/run/up", ip("add"))?;
                on.write_script("/run/down", ip("del"))?;
                let start = |carp: &Carp| on.spawn(carp.ucarp(node.address));
                let started = node.vhids.iter().map(start).collect::<lb_lab::Result<Vec<_>>>()?;
                for process in &started {
                    process.wait_for_line("Switching to state: BACKUP", SOON)?;
                }
                started
            }
        };
        self.daemons.insert(host, daemons);
        Ok(at..SystemTime::now())
    }

    /// Sends a signal to the daemons of a node.
    pub fn signal(&mut self, host: &'static str, signal: Signal) -> anyhow::Result<SystemTime> {
        let at = self.step(format!("{signal} to {host}"));
        self.daemons(host)?.iter().try_for_each(|daemon| daemon.signal(signal))?;
        Ok(at)
    }

    /// What a host has said of a vhid since `since`, in order.
    pub fn adverts(&self, host: &str, carp: &Carp, since: SystemTime) -> Vec<Advert> {
        let sent = self.sent(host);
        let adverts = sent.iter().filter(|frame| frame.at >= since).filter_map(Advert::read);
        adverts.filter(|advert| advert.vhid == carp.vhid).collect()
    }

    /// Waits until a host has advertised a vhid `count` times since `since`, and returns these. To bow out is not
    /// to advertise.
    pub fn wait_for_adverts(
        &self,
        host: &str,
        carp: &Carp,
        since: SystemTime,
        count: usize,
    ) -> anyhow::Result<Vec<Advert>> {
        self.wait_for_adverts_like(host, carp, since, count, |advert| !advert.bows_out())
    }

    /// The same of those that `wanted` likes.
    pub fn wait_for_adverts_like(
        &self,
        host: &str,
        carp: &Carp,
        since: SystemTime,
        count: usize,
        wanted: impl Fn(&Advert) -> bool,
    ) -> anyhow::Result<Vec<Advert>> {
        let read = |frame: &Frame| {
            Advert::read(frame).filter(|advert| advert.vhid == carp.vhid && wanted(advert))
        };
        // Longer than anything that is waited for, and than ucarp sleeps while its cable is cut.
        let adverts = self.wait_to_read(host, since, count, 2 * SOON, read);
        adverts.with_context(|| format!("advertisement {count} of {host}"))
    }

    /// Waits until a host has announced its VIP since `since`.
    pub fn announces(&self, host: &str, carp: &Carp, since: SystemTime) -> Test {
        let vip = IpAddr::from(carp.vip);
        let read = |frame: &Frame| (announced(frame) == Some(vip)).then_some(());
        self.wait_to_read(host, since, 1, SOON, read)
            .with_context(|| format!("announcement of {vip}"))?;
        Ok(())
    }

    /// The last advertisement a host had sent by now.
    pub fn last_advert(&self, host: &str, carp: &Carp) -> anyhow::Result<Advert> {
        let last = self.adverts(host, carp, self.began()).pop();
        last.with_context(|| format!("{host} had not said anything"))
    }

    /// `host` becomes MASTER `after` a moment between `earliest` and `latest`, and keeps it.
    pub fn takes(
        &self,
        host: &str,
        carp: &Carp,
        moments: Range<SystemTime>,
        after: Duration,
    ) -> anyhow::Result<SystemTime> {
        let first = self.wait_for_adverts(host, carp, moments.start, 1)?.remove(0);
        ensure!(
            (first.advbase, first.advskew) == (carp.advbase, carp.advskew),
            "{host} advertises {first}"
        );
        let span = moments.end.duration_since(moments.start).unwrap_or_default();
        let what = format!("{host} becomes MASTER");
        is_after(&what, moments.start, first.at, after, span + self.lateness(host, carp))?;
        let ucarp = if self.runs_ucarp(host) { ", ucarp," } else { "" };
        println!(
            "{host}{ucarp} became MASTER after {:.3} s; expected {:.3} to {:.3}",
            seconds(moments.start, first.at),
            after.as_secs_f64(),
            (after + span).as_secs_f64()
        );
        Ok(first.at)
    }

    /// `host` becomes MASTER because it has heard nothing since a moment in a range.
    pub fn takes_in_silence(&self, host: &str, carp: &Carp, since: Range<SystemTime>) -> Test {
        let first = self.takes(host, carp, since, carp.master_down())?;
        self.serves(host, carp, first)
    }

    /// `host` becomes MASTER at the first advertisement of `slower` that it hears after a moment in a range.
    pub fn preempts(
        &self,
        host: &str,
        carp: &Carp,
        slower: &Carp,
        listens: Range<SystemTime>,
    ) -> Test {
        let until = listens.end + slower.interval();
        let first = self.takes(host, carp, listens.start..until, Duration::ZERO)?;
        self.serves(host, carp, first)
    }

    /// How long after its cable is mended a daemon listens at the latest.
    pub fn nap(daemon: Daemon) -> Duration {
        match daemon {
            Daemon::Lbd => Duration::ZERO,
            Daemon::Ucarp => UCARP_NAP,
        }
    }

    /// Soon after its first advertisement `host` is the only one with the VIP, and stays so.
    pub fn serves(&self, host: &str, carp: &Carp, first: SystemTime) -> Test {
        let alone = self.alone(carp.vip.into(), host, first)?;
        let what = "alone after the first advertisement";
        is_after(what, first, alone, Duration::ZERO, self.lateness_of_others(host))?;
        self.reigns(host, carp, 2)
    }

    /// Sees `host` through `count` more advertisements: in time, alone with the VIP, with nobody else advertising.
    pub fn reigns(&self, host: &str, carp: &Carp, count: usize) -> Test {
        let since = self.alone(carp.vip.into(), host, self.began())?;
        let now = SystemTime::now();
        let adverts = self.wait_for_adverts(host, carp, now, count)?;
        for pair in adverts.windows(2) {
            // The sooner where it answers a slower one that was MASTER a moment ago.
            let bound = carp.interval() + LATENESS;
            is_after("interval", pair[0].at, pair[1].at, Duration::ZERO, bound)?;
        }
        self.keeps(carp.vip.into(), host, since)?;
        for other in self.nodes.iter().filter(|other| other.host != host) {
            let said = self.adverts(other.host, carp, now);
            // To somebody who takes over without announcing the address it says that it stopped.
            let said: Vec<_> = said.iter().filter(|advert| !advert.is_last_word()).collect();
            ensure!(said.is_empty(), "{} advertises too, {} times", other.host, said.len());
        }
        Ok(())
    }

    /// Everything that happened, in order.
    fn story(&self) -> String {
        let said = self.nodes.iter().flat_map(|node| {
            let sent = self.sent(node.host).into_iter();
            sent.filter_map(|frame| {
                let said = Advert::read(&frame).map(|advert| advert.to_string());
                let said = said.or_else(|| Some(format!("announces {}", announced(&frame)?)));
                Some((frame.at, format!("{} {}", node.host, said?)))
            })
        });
        let vips = self.nodes.iter().flat_map(|node| node.vhids.iter().map(|carp| carp.vip));
        let vips: std::collections::BTreeSet<IpAddr> = vips.map(IpAddr::from).collect();
        let mut story = self.play.story(said, vips);
        for (host, daemons) in &self.daemons {
            for daemon in daemons {
                // Writing to a string does not fail.
                let _ = writeln!(story, "{host} wrote:\n{}", daemon.tail(40));
            }
        }
        story
    }
}
