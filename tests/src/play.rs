//! What befalls hosts on switches, and the story of it.
//!
//! Times are taken where they mean something: of packets by the kernel, at the switch's end of each cable; of
//! addresses when the kernel of the host reports them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow, ensure};
use lb_lab::{Capture, Frame, Host, Lab};

use crate::pulse;
use crate::timing::seconds;
use crate::watch::{Log, Watch};
use crate::{SOON, Test};

/// A lab some of whose hosts are attended: what they send and which addresses they have is kept.
pub struct Play {
    lab: Lab,
    began: SystemTime,
    log: Arc<Log>,
    lives: BTreeMap<&'static str, Life>,
    /// What hosts sent whose power is gone.
    past: Vec<(&'static str, Frame)>,
    steps: Vec<(SystemTime, String)>,
}

/// What there is of a host from power to power.
struct Life {
    /// By interface.
    captures: Vec<(String, Capture)>,
    /// Dropped, it follows no longer.
    _watch: Watch,
}

impl Play {
    /// Attends these hosts of a lab in which nothing runs yet.
    ///
    /// # Errors
    /// As [`Lab::host`], and what the kernel refuses.
    pub fn new(lab: Lab, attended: impl IntoIterator<Item = &'static str>) -> anyhow::Result<Self> {
        let mut play = Self {
            lab,
            began: SystemTime::now(),
            log: Arc::default(),
            lives: BTreeMap::new(),
            past: Vec::new(),
            steps: Vec::new(),
        };
        for host in attended {
            play.attend(host)?;
        }
        Ok(play)
    }

    /// Begins to watch a host that has just got power.
    fn attend(&mut self, name: &'static str) -> Test {
        let host = self.lab.host(name)?;
        let captures = host.spec().interfaces.iter().map(|interface| {
            Ok((interface.name.clone(), self.lab.capture_port(name, &interface.name)?))
        });
        let captures = captures.collect::<anyhow::Result<_>>()?;
        let life = Life { captures, _watch: Watch::start(host, &self.log)? };
        self.lives.insert(name, life);
        Ok(())
    }

    /// The lab.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// One of its hosts.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn host(&self, host: &str) -> anyhow::Result<&Host> {
        Ok(self.lab.host(host)?)
    }

    /// When it began.
    pub fn began(&self) -> SystemTime {
        self.began
    }

    /// Notes what is about to happen, and when.
    pub fn step(&mut self, what: String) -> SystemTime {
        let now = SystemTime::now();
        self.steps.push((now, what));
        now
    }

    /// Cuts the power of a host.
    ///
    /// # Errors
    /// As [`Lab::crash`].
    pub fn crash(&mut self, host: &'static str) -> anyhow::Result<SystemTime> {
        let at = self.step(format!("crash {host}"));
        self.lab.crash(host)?;
        let sent = self.sent(host);
        self.past.retain(|(by, _)| *by != host);
        // The watch ends first: what it saw last is not what a dead host has.
        self.lives.remove(host);
        self.past.extend(sent.into_iter().map(|frame| (host, frame)));
        self.log.push(host, Default::default());
        Ok(at)
    }

    /// Gives it power again; nothing runs there yet.
    ///
    /// # Errors
    /// As [`Lab::boot`].
    pub fn boot(&mut self, host: &'static str) -> Test {
        self.step(format!("boot {host}"));
        self.lab.boot(host)?;
        self.attend(host)
    }

    /// Pulls a cable.
    ///
    /// # Errors
    /// As [`Lab::cut`].
    pub fn cut(&mut self, host: &'static str, interface: &str) -> anyhow::Result<SystemTime> {
        let at = self.step(format!("cut {interface} of {host}"));
        self.lab.cut(host, interface)?;
        Ok(at)
    }

    /// Breaks the cable of a host where the host does not see it.
    ///
    /// # Errors
    /// As [`Lab::cut_silently`].
    pub fn part(&mut self, host: &'static str, interface: &str) -> anyhow::Result<SystemTime> {
        let at = self.step(format!("part {interface} of {host}"));
        self.lab.cut_silently(host, interface)?;
        Ok(at)
    }

    /// Plugs it in again.
    ///
    /// # Errors
    /// As [`Lab::mend`].
    pub fn mend(&mut self, host: &'static str, interface: &str) -> anyhow::Result<SystemTime> {
        let at = self.step(format!("mend {interface} of {host}"));
        self.lab.mend(host, interface)?;
        Ok(at)
    }

    /// Does something on a host that the story is to tell.
    ///
    /// # Errors
    /// Those of `f`.
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

    /// What comes out of a host's cable from power on; also what goes in.
    ///
    /// # Errors
    /// The host has no power, or is not attended.
    pub fn capture(&self, host: &str, interface: &str) -> anyhow::Result<&Capture> {
        let life = self.lives.get(host).with_context(|| format!("{host} has no power"))?;
        let found = life.captures.iter().find(|(name, _)| name == interface);
        Ok(&found.with_context(|| format!("{host} has no {interface}"))?.1)
    }

    /// All that a host has sent so far, on all interfaces, in order.
    pub fn sent(&self, host: &str) -> Vec<Frame> {
        let past = self.past.iter().filter(|(by, _)| *by == host).map(|(_, frame)| frame.clone());
        let mut all: Vec<_> = past.collect();
        if let Some(life) = self.lives.get(host) {
            // What comes out of the cable was sent by the host.
            let frames = life.captures.iter().flat_map(|(_, capture)| capture.frames());
            all.extend(frames.filter(|frame| !frame.outgoing));
        }
        all.sort_by_key(|frame| frame.at);
        all
    }

    /// Who had an address, from when on: from the first change to the last.
    pub fn holders(&self, vip: IpAddr) -> Vec<(SystemTime, std::collections::BTreeSet<String>)> {
        self.log.holders(vip)
    }

    /// Waits until `host` and nobody else has `vip`, and says since when, at the earliest `since`.
    ///
    /// # Errors
    /// It is not so within [`SOON`].
    pub fn alone(&self, vip: IpAddr, host: &str, since: SystemTime) -> anyhow::Result<SystemTime> {
        let found = self.log.wait(vip, SOON, |holders| {
            let (at, last) = holders.last()?;
            (last.len() == 1 && last.contains(host)).then(|| (*at).max(since))
        });
        found.with_context(|| format!("{host} does not hold {vip} alone within {SOON:?}"))
    }

    /// Checks that `host` has had `vip` for itself since a time.
    ///
    /// # Errors
    /// Somebody else has it, or had it meanwhile.
    pub fn keeps(&self, vip: IpAddr, host: &str, since: SystemTime) -> Test {
        let holders = self.holders(vip);
        let kept = holders.last().is_some_and(|(at, last)| *at <= since && last.contains(host));
        ensure!(kept, "{host} does not keep {vip}");
        Ok(())
    }

    /// Waits until `read` has made something of `count` frames that a host sent through `eth0` since `since`, for so
    /// long at the most, and returns that.
    ///
    /// # Errors
    /// There are fewer by then.
    pub fn wait_to_read<T>(
        &self,
        host: &str,
        since: SystemTime,
        count: usize,
        patience: Duration,
        read: impl Fn(&Frame) -> Option<T>,
    ) -> anyhow::Result<Vec<T>> {
        // What comes out of the cable was sent by the host.
        let read = |frame: &Frame| {
            let candidate = !frame.outgoing && frame.at >= since;
            candidate.then(|| read(frame)).flatten()
        };
        let capture = self.capture(host, "eth0")?;
        let frames = capture.wait_for_count(count, |frame| read(frame).is_some(), patience);
        Ok(frames?.iter().filter_map(read).collect())
    }

    /// Everything that happened, in order: the steps, what `said` was on the wire, who had the `vips`.
    pub fn story(
        &self,
        said: impl IntoIterator<Item = (SystemTime, String)>,
        vips: impl IntoIterator<Item = IpAddr>,
    ) -> String {
        let steps = self.steps.iter().map(|(at, step)| (*at, format!("--- {step}")));
        let pauses = pulse::pauses(self.began).into_iter();
        let pauses = pauses.map(|pause| (pause.from, format!("*** {pause}")));
        let mut all: Vec<_> = steps.chain(said).chain(pauses).collect();
        for vip in vips {
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
        story
    }
}

/// Runs every case at the same time as the others, each on a thread of its own.
///
/// # Errors
/// That of the first case that fails, which is named.
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
