//! Routers on two switches, what befalls them, and the story of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut, Range};
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use lb_lab::{Frame, HostSpec, Process, Topology};
use lb_tests::play::Play;
pub use lb_tests::play::side_by_side;
use lb_tests::pulse::undisturbed;
use lb_tests::{CONFIG, SOON, Test};
use nix::sys::signal::Signal;

use crate::config::{Daemon, Router, Vrrp};
use crate::times::{is_after, is_regular, lateness};
use lb_tests::vrrp::{Advert, Spoken};

/// Routers with a card on each of two switches: `eth0` on `lan`, 192.0.2.0/24, and `eth1` on `wan`,
/// 198.51.100.0/24; `d1` has address 1, `d2` address 2.
pub struct Stage {
    play: Play,
    routers: Vec<Router>,
    /// Those started last.
    daemons: BTreeMap<&'static str, Process>,
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

/// Runs `play` before routers that have not started yet; a failure tells the story. Where the machine has no labs or
/// no keepalived, it says so and passes.
pub fn stage(routers: &[Router], mut play: impl FnMut(&mut Stage) -> Test) -> Test {
    let keepalived = routers.iter().any(|router| router.daemon == Daemon::Keepalived);
    if keepalived && !lb_tests::installed("keepalived", "keepalived") {
        return Ok(());
    }
    undisturbed(|| {
        let Some(mut stage) = Stage::new(routers)? else { return Ok(()) };
        play(&mut stage).map_err(|error| error.context(stage.story()))
    })
}

/// Runs a play of a router of higher priority and one of lower priority, with `lbd` as the one and as the other.
pub fn both_ways(run: impl Fn(Daemon, Daemon) -> Test + Sync) -> Test {
    use Daemon::{Keepalived, Lbd};
    let pairs = [(Lbd, Keepalived), (Keepalived, Lbd)];
    let named = pairs.map(|(high, low)| (format!("{high:?} before {low:?}"), (high, low)));
    side_by_side(named, |(high, low)| run(high, low))
}

impl Stage {
    fn new(routers: &[Router]) -> anyhow::Result<Option<Self>> {
        let mut topology = Topology::new(["lan", "wan"]);
        for router in routers {
            let number = router.host.trim_start_matches('d');
            topology = topology.host(
                HostSpec::new(router.host)
                    .interface("eth0", "lan", [format!("192.0.2.{number}/24").as_str()])
                    .interface("eth1", "wan", [format!("198.51.100.{number}/24").as_str()])
                    .private("/etc/keepalived"),
            );
        }
        let Some(lab) = lb_tests::start(topology)? else { return Ok(None) };
        let play = Play::new(lab, routers.iter().map(|router| router.host))?;
        Ok(Some(Self { play, routers: routers.to_vec(), daemons: BTreeMap::new() }))
    }

    /// The daemon that was started last.
    pub fn daemon(&self, host: &str) -> anyhow::Result<&Process> {
        self.daemons.get(host).with_context(|| format!("nothing was started on {host}"))
    }

    /// Starts the daemon of a router; returns when, and when it was ready: its timers started in between.
    pub fn start(&mut self, host: &'static str) -> anyhow::Result<Range<SystemTime>> {
        let router = self.routers.iter().find(|router| router.host == host);
        let Router { daemon, config, .. } = router.context("no such router")?.clone();
        self.host(host)?.write_file(CONFIG, config)?;
        let at = self.step(format!("start {daemon:?} on {host}"));
        let (command, ready) = match daemon {
            Daemon::Lbd => (["lbd", "-n", "-l", "-G", "-D"], "Startup complete"),
            Daemon::Keepalived => (["keepalived", "-n", "-l", "-G", "-D"], " STATE"),
        };
        let process = self.host(host)?.spawn(command)?;
        self.daemons.insert(host, process.clone());
        process.wait_for_line(ready, SOON)?;
        Ok(at..SystemTime::now())
    }

    /// Sends SIGTERM to the daemon.
    pub fn stop(&mut self, host: &'static str) -> anyhow::Result<SystemTime> {
        let at = self.step(format!("stop {host}"));
        self.daemon(host)?.signal(Signal::SIGTERM)?;
        Ok(at)
    }

    /// Puts another configuration in force. Returns when it was asked to.
    pub fn reload(&mut self, host: &'static str, config: &str) -> anyhow::Result<SystemTime> {
        self.host(host)?.write_file(CONFIG, config)?;
        let at = self.step(format!("reload {host}"));
        self.daemon(host)?.signal(Signal::SIGHUP)?;
        Ok(at)
    }

    /// What a host has said so far, on both interfaces, in order.
    pub fn said(&self, host: &str) -> Vec<Spoken> {
        self.sent(host).iter().filter_map(Spoken::read).collect()
    }

    /// The advertisements a host has sent since `since`, in order.
    pub fn adverts(&self, host: &str, since: SystemTime) -> Vec<Advert> {
        let adverts = self.said(host).into_iter().filter_map(|said| match said {
            Spoken::Advert(advert) if advert.at >= since => Some(advert),
            _ => None,
        });
        adverts.collect()
    }

    /// Waits until a host has sent `count` advertisements since `since`, and returns these.
    pub fn wait_for_adverts(
        &self,
        host: &str,
        since: SystemTime,
        count: usize,
    ) -> anyhow::Result<Vec<Advert>> {
        self.wait_for_adverts_like(host, since, count, |_| true)
    }

    /// The same of those that `wanted` likes.
    pub fn wait_for_adverts_like(
        &self,
        host: &str,
        since: SystemTime,
        count: usize,
        wanted: impl Fn(&Advert) -> bool,
    ) -> anyhow::Result<Vec<Advert>> {
        let read = |frame: &Frame| Advert::read(frame).filter(&wanted);
        let adverts = self.wait_to_read(host, since, count, SOON, read);
        adverts.with_context(|| format!("advertisement {count} of {host}"))
    }

    /// Waits until a host has announced `vip` `count` times since `since`, and returns when.
    pub fn announces(
        &self,
        host: &str,
        vip: IpAddr,
        since: SystemTime,
        count: usize,
    ) -> anyhow::Result<Vec<SystemTime>> {
        let read = |frame: &Frame| match Spoken::read(frame) {
            Some(Spoken::Announcement { vip: of, .. }) if of == vip => Some(frame.at),
            _ => None,
        };
        let announced = self.wait_to_read(host, since, count, SOON, read);
        announced.with_context(|| format!("announcement {count} of {vip}"))
    }

    /// The last advertisement a host had sent by `until`.
    pub fn last_advert(&self, host: &str, until: SystemTime) -> anyhow::Result<Advert> {
        let mut adverts = self.adverts(host, self.began()).into_iter();
        let last = adverts.rfind(|advert| advert.at <= until);
        last.with_context(|| format!("{host} had not said anything"))
    }

    /// `host` becomes MASTER because it has heard no better one since a moment between `earliest` and `latest`.
    pub fn takes(&self, host: &str, vrrp: &Vrrp, earliest: SystemTime, latest: SystemTime) -> Test {
        // keepalived's kernel may have kept its "I stop" to a peer until the cable was mended.
        let lives = |advert: &Advert| advert.priority != 0;
        let first = self.wait_for_adverts_like(host, earliest, 1, lives)?.remove(0);
        ensure!(first.priority == vrrp.priority, "{host} advertises priority {}", first.priority);
        let span = latest.duration_since(earliest).unwrap_or_default();
        let what = format!("{host} becomes MASTER");
        is_after(&what, earliest, first.at, vrrp.master_down(), span + lateness(vrrp))?;
        self.serves(host, vrrp, first.at)
    }

    /// `leaver` is told to stop, and says so; `heir` takes over.
    pub fn stops(&mut self, leaver: &'static str, heir: &str, vrrp: &Vrrp) -> Test {
        let at = self.stop(leaver)?;
        let says = |advert: &Advert| advert.priority == 0;
        let stop = self.wait_for_adverts_like(leaver, at, 1, says)?.remove(0);
        let first = self.wait_for_adverts(heir, at, 1)?.remove(0);
        is_after("MASTER after priority 0", stop.at, first.at, vrrp.skew(), lateness(vrrp))?;
        ensure!(self.adverts(leaver, stop.at).len() == 1, "{leaver} goes on after priority 0");
        self.daemon(leaver)?.wait(SOON)?;
        self.serves(heir, vrrp, first.at)
    }

    /// Soon after its first advertisement `host` is the only one with the VIP, and stays so.
    pub fn serves(&self, host: &str, vrrp: &Vrrp, first: SystemTime) -> Test {
        let alone = self.alone(vrrp.vip(), host, first)?;
        is_after(
            "alone after the first advertisement",
            first,
            alone,
            Duration::ZERO,
            lateness(vrrp),
        )?;
        self.reigns(host, vrrp, if vrrp.version == 2 { 2 } else { 5 })
    }

    /// Sees `host` through `count` more advertisements: in time, alone with the VIP, with nobody else advertising.
    pub fn reigns(&self, host: &str, vrrp: &Vrrp, count: usize) -> Test {
        let since = self.alone(vrrp.vip(), host, self.began())?;
        let adverts = self.wait_for_adverts(host, SystemTime::now(), count)?;
        is_regular(&adverts, vrrp)?;
        self.keeps(vrrp.vip(), host, since)?;
        for other in self.routers.iter().filter(|other| other.host != host) {
            let said = self.adverts(other.host, since);
            ensure!(said.is_empty(), "{} advertises too, {} times", other.host, said.len());
        }
        Ok(())
    }

    /// Everything that happened, in order.
    fn story(&self) -> String {
        let said = self.routers.iter().flat_map(|router| {
            let said = self.said(router.host).into_iter();
            said.map(|said| (said.at(), format!("{} {said}", router.host)))
        });
        let vips = ["192.0.2.100", "192.0.2.101", "198.51.100.100", "2001:db8::100", "192.0.2.1"];
        let mut story = self.play.story(said, vips.iter().filter_map(|vip| vip.parse().ok()));
        for (host, daemon) in &self.daemons {
            // Writing to a string does not fail.
            let _ = writeln!(story, "{host} wrote:\n{}", daemon.tail(40));
        }
        story
    }
}
