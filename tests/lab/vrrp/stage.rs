//! Routers on two switches, what befalls them, and the story of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::Range;
use std::process::{self, Command, Stdio};
use std::sync::{Arc, Once};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow, ensure};
use lb_lab::{Capture, Frame, Host, HostSpec, Lab, Process, Topology};
use lb_tests::{CONFIG, SOON, Test};
use nix::sys::signal::Signal;

use crate::config::{Daemon, Router, Vrrp};
use crate::times::{is_after, is_regular, lateness, seconds};
use crate::watch::{Log, Watch};
use crate::wire::{Advert, Spoken};

/// Routers with a card on each of two switches: `eth0` on `lan`, 192.0.2.0/24, and `eth1` on `wan`,
/// 198.51.100.0/24; `d1` has address 1, `d2` address 2.
pub struct Stage {
    lab: Lab,
    routers: Vec<Router>,
    began: SystemTime,
    log: Arc<Log>,
    lives: BTreeMap<&'static str, Life>,
    /// What hosts said whose power is gone.
    past: Vec<(&'static str, Spoken)>,
    steps: Vec<(SystemTime, String)>,
}

/// What there is of a host from power to power.
struct Life {
    daemon: Option<Process>,
    captures: [Capture; 2],
    /// Dropped, it follows no longer.
    _watch: Watch,
}

/// Runs `play` before routers that have not started yet; a failure tells the story. Where the machine has no labs or
/// no keepalived, it says so and passes.
pub fn stage(routers: &[Router], play: impl FnOnce(&mut Stage) -> Test) -> Test {
    let keepalived = routers.iter().any(|router| router.daemon == Daemon::Keepalived);
    if keepalived && !lb_tests::installed("keepalived", "keepalived") {
        return Ok(());
    }
    outrank_the_machine();
    let Some(mut stage) = Stage::new(routers)? else { return Ok(()) };
    play(&mut stage).map_err(|error| error.context(stage.story()))
}

/// Makes this process and all that it starts real-time, once: what else the machine does must not look like the
/// lateness of a router. Where that is not allowed the bounds are the same, and a busy machine may miss them.
fn outrank_the_machine() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let pid = process::id().to_string();
        let chrt = ["--all-tasks", "--fifo", "--pid", "10", &pid];
        let done = Command::new("chrt").args(chrt).stderr(Stdio::null()).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("without real-time scheduling: times may be off on a busy machine");
        }
    });
}

/// Runs every case at the same time as the others, each on a thread of its own. The first that fails is named.
pub fn side_by_side<C: Send>(
    cases: impl IntoIterator<Item = (impl Into<String>, C)>,
    run: impl Fn(C) -> Test + Sync,
) -> Test {
    let run = &run;
    thread::scope(|scope| {
        let start = |(name, case)| (name, scope.spawn(move || run(case)));
        let running: Vec<_> = cases.into_iter().map(start).collect();
        running.into_iter().try_for_each(|(name, case)| {
            let result = case.join().unwrap_or_else(|_| Err(anyhow!("panicked")));
            result.with_context(|| name.into())
        })
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
        let mut stage = Self {
            lab,
            routers: routers.to_vec(),
            began: SystemTime::now(),
            log: Arc::default(),
            lives: BTreeMap::new(),
            past: Vec::new(),
            steps: Vec::new(),
        };
        for router in routers {
            stage.attend(router.host)?;
        }
        Ok(Some(stage))
    }

    /// Begins to watch a host that has just got power.
    fn attend(&mut self, host: &'static str) -> Test {
        let life = Life {
            daemon: None,
            captures: [self.lab.capture_port(host, "eth0")?, self.lab.capture_port(host, "eth1")?],
            _watch: Watch::start(self.lab.host(host)?, &self.log)?,
        };
        self.lives.insert(host, life);
        Ok(())
    }

    /// The host itself.
    pub fn host(&self, host: &str) -> anyhow::Result<&Host> {
        Ok(self.lab.host(host)?)
    }

    fn life(&self, host: &str) -> anyhow::Result<&Life> {
        self.lives.get(host).with_context(|| format!("{host} has no power"))
    }

    /// The daemon that was started last.
    pub fn daemon(&self, host: &str) -> anyhow::Result<&Process> {
        self.life(host)?.daemon.as_ref().with_context(|| format!("nothing was started on {host}"))
    }

    /// Notes what is about to happen, and when.
    fn step(&mut self, what: String) -> SystemTime {
        let now = SystemTime::now();
        self.steps.push((now, what));
        now
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
        self.lives.get_mut(host).context("no power")?.daemon = Some(process.clone());
        process.wait_for_line(ready, SOON)?;
        Ok(at..SystemTime::now())
    }

    /// Cuts the power of a host.
    pub fn crash(&mut self, host: &'static str) -> anyhow::Result<SystemTime> {
        let at = self.step(format!("crash {host}"));
        self.lab.crash(host)?;
        let said = self.said(host);
        // The watch ends first: what it saw last is not what a dead host has.
        self.lives.remove(host);
        self.past.extend(said.into_iter().map(|spoken| (host, spoken)));
        self.log.push(host, Default::default());
        Ok(at)
    }

    /// Gives it power again; nothing runs there yet.
    pub fn boot(&mut self, host: &'static str) -> Test {
        self.step(format!("boot {host}"));
        self.lab.boot(host)?;
        self.attend(host)
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

    /// Pulls a cable.
    pub fn cut(&mut self, host: &'static str, interface: &str) -> anyhow::Result<SystemTime> {
        let at = self.step(format!("cut {interface} of {host}"));
        self.lab.cut(host, interface)?;
        Ok(at)
    }

    /// Breaks the cable of a host where the host does not see it.
    pub fn part(&mut self, host: &'static str, interface: &str) -> anyhow::Result<SystemTime> {
        let at = self.step(format!("part {interface} of {host}"));
        self.lab.cut_silently(host, interface)?;
        Ok(at)
    }

    /// Plugs it in again.
    pub fn mend(&mut self, host: &'static str, interface: &str) -> anyhow::Result<SystemTime> {
        let at = self.step(format!("mend {interface} of {host}"));
        self.lab.mend(host, interface)?;
        Ok(at)
    }

    /// Does something on a host that the story is to tell.
    pub fn act(
        &mut self,
        host: &'static str,
        what: &str,
        f: impl FnOnce(&Host) -> lb_lab::Result<()>,
    ) -> anyhow::Result<SystemTime> {
        let at = self.step(format!("{host}: {what}"));
        f(self.host(host)?)?;
        Ok(at)
    }

    /// What a host has said so far, on both interfaces, in order.
    pub fn said(&self, host: &str) -> Vec<Spoken> {
        let past = self.past.iter().filter(|(by, _)| *by == host).map(|(_, said)| said.clone());
        let mut all: Vec<_> = past.collect();
        if let Some(life) = self.lives.get(host) {
            // What comes out of the cable was sent by the host.
            let frames = life.captures.iter().flat_map(|capture| capture.frames());
            all.extend(frames.filter(|frame| !frame.outgoing).filter_map(|f| Spoken::read(&f)));
        }
        all.sort_by_key(Spoken::at);
        all
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
        let read = |frame: &Frame| {
            let candidate = !frame.outgoing && frame.at >= since;
            Advert::read(frame).filter(|advert| candidate && wanted(advert))
        };
        let [capture, _] = &self.life(host)?.captures;
        let frames = capture.wait_for_count(count, |frame| read(frame).is_some(), SOON);
        let frames = frames.with_context(|| format!("advertisement {count} of {host}"))?;
        Ok(frames.iter().filter_map(read).collect())
    }

    /// Waits until a host has announced `vip` `count` times since `since`, and returns when.
    pub fn announces(
        &self,
        host: &str,
        vip: IpAddr,
        since: SystemTime,
        count: usize,
    ) -> anyhow::Result<Vec<SystemTime>> {
        let announced = |frame: &Frame| {
            !frame.outgoing
                && frame.at >= since
                && matches!(Spoken::read(frame), Some(Spoken::Announcement { vip: of, .. }) if of == vip)
        };
        let [capture, _] = &self.life(host)?.captures;
        let frames = capture.wait_for_count(count, announced, SOON);
        let frames = frames.with_context(|| format!("announcement {count} of {vip}"))?;
        Ok(frames.iter().map(|frame| frame.at).collect())
    }

    /// The last advertisement a host had sent by `until`.
    pub fn last_advert(&self, host: &str, until: SystemTime) -> anyhow::Result<Advert> {
        let mut adverts = self.adverts(host, self.began).into_iter();
        let last = adverts.rfind(|advert| advert.at <= until);
        last.with_context(|| format!("{host} had not said anything"))
    }

    /// Waits until `host` and nobody else has `vip`, and says since when, at the earliest `since`.
    pub fn alone(&self, vip: IpAddr, host: &str, since: SystemTime) -> anyhow::Result<SystemTime> {
        let found = self.log.wait(vip, SOON, |holders| {
            let (at, last) = holders.last()?;
            (last.len() == 1 && last.contains(host)).then(|| (*at).max(since))
        });
        found.with_context(|| format!("{host} does not hold {vip} alone within {SOON:?}"))
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
        let since = self.alone(vrrp.vip(), host, self.began)?;
        let adverts = self.wait_for_adverts(host, SystemTime::now(), count)?;
        is_regular(&adverts, vrrp)?;
        let holders = self.log.holders(vrrp.vip());
        let kept = holders.last().is_some_and(|(at, last)| *at <= since && last.contains(host));
        ensure!(kept, "{host} does not keep {}", vrrp.vip());
        for other in self.routers.iter().filter(|other| other.host != host) {
            let said = self.adverts(other.host, since);
            ensure!(said.is_empty(), "{} advertises too, {} times", other.host, said.len());
        }
        Ok(())
    }

    /// Everything that happened, in order.
    fn story(&self) -> String {
        let steps = self.steps.iter().map(|(at, step)| (*at, format!("--- {step}")));
        let mut all: Vec<_> = steps.collect();
        for router in &self.routers {
            let said = self.said(router.host).into_iter();
            all.extend(said.map(|said| (said.at(), format!("{} {said}", router.host))));
        }
        for vip in ["192.0.2.100", "192.0.2.101", "198.51.100.100", "2001:db8::100", "192.0.2.1"] {
            let Ok(vip) = vip.parse() else { continue };
            let holders = self.log.holders(vip).into_iter();
            all.extend(holders.map(|(at, who)| (at, format!("=== {vip} is held by {who:?}"))));
        }
        all.sort();
        let mut story = "what happened (ms):\n".to_owned();
        for alike in all.chunk_by(|a, b| a.1 == b.1) {
            let at = seconds(self.began, alike[0].0) * 1e3;
            // Writing to a string does not fail.
            let _ = write!(story, "{at:10.1} {}", alike[0].1);
            let _ = match alike {
                [_] => writeln!(story),
                [.., last] => writeln!(
                    story,
                    ", {} times until {:.1}",
                    alike.len(),
                    seconds(self.began, last.0) * 1e3
                ),
                [] => Ok(()),
            };
        }
        for (host, life) in &self.lives {
            let said = life.daemon.as_ref().map(|daemon| daemon.tail(40)).unwrap_or_default();
            let _ = writeln!(story, "{host} wrote:\n{said}");
        }
        story
    }
}
