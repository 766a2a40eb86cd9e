//! A demonstration: requests through a VIP while hosts fail, and what the client saw of it.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::lab::Lab;
use crate::probe::{Probe, Prober, Trace};
use crate::topology::{FaultKind, MASTER, Play};
use crate::wait::wait_for;

/// How long the service may take to come up.
const START: Duration = Duration::from_secs(20);
/// How long it may take to recover from a fault.
const RECOVERY: Duration = Duration::from_secs(20);
/// The window of `served_before` and `served_after`, and how long the service must be calm before the first fault.
const QUIET: Duration = Duration::from_secs(1);

/// A loss is noted this much after its limit at the latest.
const NOTED: Duration = Duration::from_millis(100);

/// What a client saw of a lab: the object that `lbctl lab --json` prints.
///
/// Times are milliseconds. A request is counted where it was sent, not where it was answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this shape, 1; grows when a field changes its meaning or goes away.
    pub version: u32,
    /// The host that sent the requests.
    pub client: String,
    /// Where they went.
    pub url: String,
    /// A request was sent each so many milliseconds.
    pub interval_ms: u64,
    /// A request counted as lost after so many milliseconds.
    pub timeout_ms: u64,
    /// From the start of the programs to the first answer through the VIP.
    pub ready_ms: f64,
    /// The holder of the VIP before the first fault; `null` when nobody held it.
    pub master: Option<String>,
    /// Requests sent.
    pub sent: usize,
    /// Those answered in time.
    pub answered: usize,
    /// The others.
    pub lost: usize,
    /// How many each server answered, by name.
    pub answered_by: BTreeMap<String, usize>,
    /// How long the answers took.
    pub latency_ms: Latency,
    /// What befell the hosts, in order.
    pub faults: Vec<Fault>,
}

/// How long answers took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half took no longer.
    pub median: f64,
    /// 99 in 100 took no longer.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

/// One fault, and what the client saw of it until some time had passed without a loss, a second
/// unless the topology says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// `kill`, `stop`, `cut` or `mend`.
    pub kind: FaultKind,
    /// The host.
    pub target: String,
    /// Whether that host held the VIP.
    pub was_master: bool,
    /// When, since the first request.
    pub at_ms: f64,
    /// The longest time without an answer: from the last request answered before the hole to the first answered
    /// after it; 0 when nothing was lost.
    pub outage_ms: f64,
    /// From the fault to the last lost request; 0 when nothing was lost.
    pub recovered_ms: f64,
    /// Whether the time without a loss began within 20 seconds.
    pub recovered: bool,
    /// Requests sent from the fault on, and those that waited for an answer when it happened.
    pub sent: usize,
    /// Those of them that were lost.
    pub lost: usize,
    /// Answers by server in the last second before.
    pub served_before: BTreeMap<String, usize>,
    /// Answers by server in the last second of the time without a loss after it.
    pub served_after: BTreeMap<String, usize>,
    /// Holder of the VIP before.
    pub master_before: Option<String>,
    /// Holder of the VIP after.
    pub master_after: Option<String>,
}

/// What a demonstration tells while it runs.
#[derive(Debug)]
pub enum Progress<'a> {
    /// The service answers.
    Ready {
        /// Holder of the VIP.
        master: Option<&'a str>,
        /// How long it took.
        took: Duration,
        /// Answers by server in one second.
        served: &'a BTreeMap<String, usize>,
    },
    /// A fault is about to happen.
    Fault {
        /// Which.
        kind: FaultKind,
        /// The host.
        target: &'a str,
        /// Whether it holds the VIP.
        is_master: bool,
    },
    /// It is over.
    Over(&'a Fault),
}

/// Sends requests through the VIP and lets the faults of `play` happen, one after another.
///
/// # Errors
/// [`Error::Timeout`] when the service does not come up, [`Error::Failed`] when a program ends before it does, or the fault's own error.
pub fn play(lab: &Lab, play: &Play, mut tell: impl FnMut(&Progress<'_>)) -> Result<Report> {
    let start = Instant::now();
    let client = lab.host(&play.client)?;
    let url = format!("http://{}{}", play.vip, play.path);
    let limit = Duration::from_millis(play.timeout_ms);
    let answers = || {
        client
            .http_get(play.vip, &play.path, limit)
            .is_ok_and(|answer| !answer.status.is_server_error())
    };
    wait_for(&format!("an answer from {url}"), START, || match failed(lab) {
        Some(failed) => Some(Err(failed)),
        None => answers().then_some(Ok(())),
    })??;
    let ready = start.elapsed();

    let step = Duration::from_millis(play.interval_ms);
    let prober = Prober::start(client, play.vip, Probe::Http(play.path.clone()), step, limit)?;
    let first = Instant::now();
    let steady = settle(&prober, first, limit, QUIET);
    let Some(served) = steady.calm else {
        let what = format!("a second of service without a loss (the last: {})", why(&steady.trace));
        return Err(Error::Timeout { what, timeout: RECOVERY });
    };
    let master = master(lab, play);
    tell(&Progress::Ready { master: master.as_deref(), took: ready, served: &served.by() });

    let mut faults = Vec::new();
    for fault in &play.faults {
        let master_before = self::master(lab, play);
        let target = match (fault.target.as_str(), &master_before) {
            (MASTER, Some(master)) => master.clone(),
            (MASTER, None) => {
                return Err(Error::NoHost {
                    name: MASTER.to_owned(),
                    known: "hosts without the VIP only".to_owned(),
                });
            }
            (name, _) => name.to_owned(),
        };
        let was_master = master_before.as_ref() == Some(&target);
        tell(&Progress::Fault { kind: fault.kind, target: &target, is_master: was_master });
        let at = Instant::now();
        inflict(lab, fault.kind, &target)?;
        let after = settle(&prober, at, limit, Duration::from_millis(fault.calm_ms));
        let seen = after.trace.open_between(at, after.end, limit);
        let served_before = after.trace.between(at.checked_sub(QUIET).unwrap_or(first), at).by();
        faults.push(Fault {
            kind: fault.kind,
            was_master,
            at_ms: ms(at.saturating_duration_since(first)),
            // The hole begins with the last request answered before the fault.
            outage_ms: ms(after
                .trace
                .between(at.checked_sub(limit).unwrap_or(first), after.end)
                .outage()),
            recovered_ms: seen
                .last_lost()
                .map_or(0.0, |lost| ms(lost.saturating_duration_since(at))),
            recovered: after.calm.is_some(),
            sent: seen.sent().len(),
            lost: seen.lost(),
            served_before,
            served_after: after.calm.map(|calm| calm.by()).unwrap_or_default(),
            master_before,
            master_after: self::master(lab, play),
            target,
        });
        if let Some(fault) = faults.last() {
            tell(&Progress::Over(fault));
        }
    }

    let trace = prober.finish();
    Ok(Report {
        version: 1,
        client: play.client.clone(),
        url,
        interval_ms: play.interval_ms,
        timeout_ms: play.timeout_ms,
        ready_ms: ms(ready),
        master,
        sent: trace.sent().len(),
        answered: trace.answered(),
        lost: trace.lost(),
        answered_by: trace.by(),
        latency_ms: latency(&trace),
        faults,
    })
}

/// Lets one fault happen.
///
/// # Errors
/// As [`Lab::crash`], [`Lab::cut`], [`Lab::boot`] and [`Host::stop_programs`](crate::Host::stop_programs).
pub fn inflict(lab: &Lab, kind: FaultKind, target: &str) -> Result<()> {
    let host = lab.host(target)?;
    let cables = || host.spec().interfaces.iter().map(|interface| interface.name.as_str());
    match kind {
        FaultKind::Kill => lab.crash(target),
        FaultKind::Stop => host.stop_programs(RECOVERY),
        FaultKind::Cut => cables().try_for_each(|cable| lab.cut(target, cable)),
        FaultKind::Mend if !host.is_up() => lab.boot(target),
        FaultKind::Mend => {
            cables().try_for_each(|cable| lab.mend(target, cable))?;
            if host.programs().iter().all(|program| !program.is_running()) {
                host.start_programs()
            } else {
                Ok(())
            }
        }
    }
}

/// A program that has ended with a failure, where nothing should have ended yet.
fn failed(lab: &Lab) -> Option<Error> {
    lab.hosts().iter().find_map(|host| {
        host.programs().iter().find_map(|program| {
            let status = program.status().filter(|status| !status.success())?;
            Some(Error::Failed {
                host: host.name().to_owned(),
                program: program.command().to_owned(),
                status,
            })
        })
    })
}

fn master(lab: &Lab, play: &Play) -> Option<String> {
    lab.holders(play.vip.ip()).first().map(|name| (*name).to_owned())
}

struct Settled {
    trace: Trace,
    /// The last second of the time without a loss; `None` when there was none so long.
    calm: Option<Trace>,
    /// Before this every request is answered or lost.
    end: Instant,
}

/// Waits for a time of `calm` without a loss, of requests sent at `from` or later.
fn settle(prober: &Prober, from: Instant, limit: Duration, calm: Duration) -> Settled {
    let give_up = from + RECOVERY + calm;
    loop {
        let now = Instant::now();
        // What was sent later may still be answered, or its loss not be noted yet.
        let end = now.checked_sub(limit + NOTED).unwrap_or(from);
        let trace = prober.trace();
        let since = trace
            .between(from, end)
            .last_lost()
            .map_or(from, |lost| lost + Duration::from_nanos(1));
        if end.saturating_duration_since(since) >= calm {
            let end = since + calm;
            let last = trace.between(end.checked_sub(QUIET).unwrap_or(since).max(since), end);
            return Settled { trace, calm: Some(last), end };
        }
        if now >= give_up {
            return Settled { trace, calm: None, end };
        }
        sleep(Duration::from_millis(20));
    }
}

fn why(trace: &Trace) -> String {
    format!("{} of {} requests lost", trace.lost(), trace.sent().len())
}

fn latency(trace: &Trace) -> Latency {
    let mut took: Vec<f64> = trace
        .sent()
        .iter()
        .filter_map(|sent| sent.answer.as_ref())
        .map(|answer| ms(answer.took))
        .collect();
    took.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        took.get((took.len().saturating_sub(1)) * percent / 100).copied().unwrap_or_default()
    };
    Latency { median: at(50), p99: at(99), max: at(100) }
}

/// Milliseconds with three digits.
fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
