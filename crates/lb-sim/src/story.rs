//! An outcome in words.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::time::Duration;

use lb_config::model::{Peers, VrrpInstance};
use lb_control::State;
use lb_node::{InstanceConfig, Plan};

use crate::outcome::{Entry, Note, Outcome, Said, Why};
use crate::scenario::{MAX_ROUTERS, Router, Scenario, Stranger, Weather, What};

/// What happened, line by line, for an outcome with notes.
#[must_use]
pub fn tell(scenario: &Scenario, outcome: &Outcome) -> String {
    let mut story = Story { scenario, outcome, text: String::new() };
    // Writing to a string does not fail.
    let _ = story.tell();
    story.text
}

struct Story<'a> {
    scenario: &'a Scenario,
    outcome: &'a Outcome,
    text: String,
}

impl Story<'_> {
    fn tell(&mut self) -> fmt::Result {
        let scenario = self.scenario;
        writeln!(self.text, "seed {}", scenario.seed)?;
        if let Some(violation) = &self.outcome.violation {
            let about = violation.virtual_router.map(|vr| format!("{}: ", self.vr(vr)));
            writeln!(self.text, "broken: {}", violation.promise)?;
            writeln!(
                self.text,
                "at {}: {}{}",
                seconds(violation.at),
                about.unwrap_or_default(),
                violation.how
            )?;
        }
        writeln!(self.text, "routers agree within {}", seconds(self.outcome.bound))?;
        self.cast()?;
        writeln!(self.text)?;
        self.timeline()
    }

    /// Who takes part.
    fn cast(&mut self) -> fmt::Result {
        let scenario = self.scenario;
        let on =
            |router: usize| scenario.deeds.iter().any(|deed| deed.what == What::PowerOn { router });
        for (_, router) in scenario.routers.iter().enumerate().filter(|(index, _)| on(*index)) {
            let Router { name, plan, drift_ppm, .. } = router;
            let drift = match drift_ppm {
                0 => String::new(),
                ppm => format!(", its clock {ppm:+} ppm"),
            };
            writeln!(self.text, "{name}{drift}")?;
            self.plan(plan)?;
        }
        for Stranger { name, kind, config, from, .. } in &scenario.strangers {
            let (vhid, pace) = (config.vhid, config.pace());
            let preempt = if config.preempt { ", preempts" } else { "" };
            writeln!(
                self.text,
                "{name}: {kind:?} from {} on, vhid {vhid}, every {pace}{preempt}",
                seconds(*from)
            )?;
        }
        writeln!(
            self.text,
            "calm network: {}; timers up to {} late",
            weather(&scenario.calm),
            seconds(scenario.lateness)
        )
    }

    fn plan(&mut self, plan: &Plan) -> fmt::Result {
        if !plan.startup_delay.is_zero() {
            writeln!(self.text, "  listens after {}", seconds(plan.startup_delay))?;
        }
        for config in &plan.instances {
            let group = plan
                .groups
                .iter()
                .find(|group| group.members.iter().any(|member| member == config.name()));
            let group = group.map(|group| format!(", in group {}", group.name));
            writeln!(
                self.text,
                "  {}: {}{}",
                config.name(),
                terms(config),
                group.unwrap_or_default()
            )?;
        }
        Ok(())
    }

    fn timeline(&mut self) -> fmt::Result {
        let mut lost: BTreeMap<(usize, usize, usize, bool), Vec<Duration>> = BTreeMap::new();
        for Entry { at, note } in &self.outcome.notes {
            if let Note::Lost { from, to, virtual_router, blocked } = *note {
                lost.entry((virtual_router, from, to, blocked)).or_default().push(*at);
                continue;
            }
            let Some(line) = self.line(note) else { continue };
            self.losses(&mut lost)?;
            writeln!(self.text, "{:>14}  {line}", seconds(*at))?;
        }
        self.losses(&mut lost)?;
        if let Some(violation) = &self.outcome.violation {
            writeln!(self.text, "{:>14}  {}", seconds(violation.at), violation.how)?;
        }
        Ok(())
    }

    /// What got lost since the last line.
    fn losses(
        &mut self,
        lost: &mut BTreeMap<(usize, usize, usize, bool), Vec<Duration>>,
    ) -> fmt::Result {
        let mut by_sender: BTreeMap<_, (BTreeSet<usize>, Vec<Duration>)> = BTreeMap::new();
        for ((vr, from, to, blocked), times) in std::mem::take(lost) {
            let (receivers, all) = by_sender.entry((vr, from, blocked)).or_default();
            receivers.insert(to);
            all.extend(times);
        }
        for ((vr, from, blocked), (to, mut times)) in by_sender {
            times.sort_unstable();
            times.dedup();
            let to: Vec<&str> = to.into_iter().map(|router| self.router(router)).collect();
            let verb = if blocked { "cannot reach" } else { "is not heard by" };
            let count = match times.len() {
                1 => "one advertisement".to_owned(),
                count => format!("{count} advertisements"),
            };
            let last = times.last().copied().unwrap_or_default();
            let (name, about) = (self.router(from).to_owned(), self.vr(vr).to_owned());
            writeln!(
                self.text,
                "{:>14}  {name} {verb} {} with {count} of {about}",
                seconds(last),
                to.join(", ")
            )?;
        }
        Ok(())
    }

    fn line(&self, note: &Note) -> Option<String> {
        Some(match note {
            Note::Deed(index) => self.deed(&self.scenario.deeds.get(*index)?.what),
            Note::GoesOn { router } => format!("{} goes on", self.router(*router)),
            Note::Healed => "the network heals".to_owned(),
            Note::Verdict => "all must agree by now".to_owned(),
            Note::Enters { router, virtual_router, state, priority, why } => {
                let (name, vr) = (self.router(*router), self.vr(*virtual_router));
                let why = self.why(*why);
                match state {
                    State::Master | State::Backup => {
                        format!("{name} {vr}: {state} with {priority}, {why}")
                    }
                    _ => format!("{name} {vr}: {state}, {why}"),
                }
            }
            Note::Priority { router, virtual_router, priority } => {
                let (name, vr) = (self.router(*router), self.vr(*virtual_router));
                format!("{name} {vr}: priority {priority} from now on")
            }
            Note::SaysStop { router, virtual_router } => {
                let (name, vr) = (self.router(*router), self.vr(*virtual_router));
                format!("{name} {vr}: says that it stops")
            }
            Note::Lost { .. } => return None,
            Note::Serves { address, router: Some(router), .. } => {
                format!("clients of {address} get to {}", self.router(*router))
            }
            Note::Serves { address, router: None, .. } => {
                format!("clients of {address} get nowhere")
            }
        })
    }

    fn why(&self, why: Why) -> String {
        match why {
            Why::Start => "for it starts".to_owned(),
            Why::Resume => "as before its failure".to_owned(),
            Why::Heard { from, said: Said::Stop } => {
                format!("having heard that {} stops", self.router(from))
            }
            Why::Heard { from, said } => {
                format!("having heard {said} from {}", self.router(from))
            }
            Why::Silence => "having heard nobody".to_owned(),
            Why::Carrier { up: true, .. } => "for its cable is back".to_owned(),
            Why::Carrier { up: false, .. } => "for its cable is gone".to_owned(),
            Why::Removed(address) => format!("for somebody removed {address}"),
            Why::Script { success: true } => "for its script succeeds".to_owned(),
            Why::Script { success: false } => "for its script fails".to_owned(),
            Why::Reload => "for it has another configuration".to_owned(),
            Why::Stop => "for it is told to stop".to_owned(),
            Why::Handover => "for it is told to hand over".to_owned(),
            Why::Maintenance => "for its maintenance".to_owned(),
        }
    }

    fn deed(&self, what: &What) -> String {
        let name = |router: &usize| self.router(*router);
        let wire = |router: &usize, wire: &usize| {
            let router = self.scenario.routers.get(*router);
            router.and_then(|router| router.wires.get(*wire)).map_or("?", |wire| &wire.name)
        };
        let segment =
            |index: &usize| self.scenario.segments.get(*index).map_or("?", String::as_str);
        match what {
            What::PowerOn { router } => format!("{} is turned on", name(router)),
            What::PowerOff { router } => format!("{} is turned off", name(router)),
            What::Crash { router } => format!("the process of {} is killed", name(router)),
            What::Start { router, adopt: false } => format!("{} is started", name(router)),
            What::Start { router, adopt: true } => {
                format!("{} is started and resumes what it was", name(router))
            }
            What::Stop { router } => format!("{} is told to stop", name(router)),
            What::Stall { router, time } => {
                format!("{} stalls for {}", name(router), seconds(*time))
            }
            What::Pause { router, time } => {
                format!("{} is paused with its host for {}", name(router), seconds(*time))
            }
            What::Reload { router, plan } => {
                let terms = plan
                    .instances
                    .iter()
                    .map(|config| format!("{}: {}", config.name(), terms(config)));
                let terms: Vec<String> = terms.collect();
                format!("{} reloads: {}", name(router), terms.join("; "))
            }
            What::Cut { router, wire: index, cut: true } => {
                format!("the cable of {} {} is cut", name(router), wire(router, index))
            }
            What::Cut { router, wire: index, cut: false } => {
                format!("the cable of {} {} is mended", name(router), wire(router, index))
            }
            What::Carrier { router, wire: index, up: false } => {
                format!("{} sees its cable {} gone", name(router), wire(router, index))
            }
            What::Carrier { router, wire: index, up: true } => {
                format!("{} sees its cable {} back", name(router), wire(router, index))
            }
            What::Deafen { segment: index, from, to, deaf } => {
                let verb = if *deaf { "no more hears" } else { "hears again" };
                format!("{} {verb} {} on {}", name(to), name(from), segment(index))
            }
            What::Weather { segment: index, weather: now } => {
                format!("on {} now: {}", segment(index), weather(now))
            }
            What::Script { router, name: script, success } => {
                let verb = if *success { "succeeds" } else { "fails" };
                format!("{script} {verb} on {} from now on", name(router))
            }
            What::Handover { router, name: instance } => {
                format!("{} is told to hand {instance} over", name(router))
            }
            What::Maintenance { router, on } => {
                let verb = if *on { "begins" } else { "ends" };
                format!("maintenance of {} {verb}", name(router))
            }
            What::Meddle { router, address } => {
                format!("somebody removes {address} from {}", name(router))
            }
        }
    }

    fn router(&self, index: usize) -> &str {
        let strangers = self.scenario.strangers.iter().map(|stranger| &stranger.name);
        let names = self.scenario.routers.iter().map(|router| &router.name);
        match index.checked_sub(MAX_ROUTERS) {
            None => names.into_iter().nth(index),
            Some(index) => strangers.into_iter().nth(index),
        }
        .map_or("?", String::as_str)
    }

    fn vr(&self, index: usize) -> &str {
        self.outcome.virtual_routers.get(index).map_or("?", |vr| &vr.name)
    }
}

fn terms(config: &InstanceConfig) -> String {
    let mut out = match config {
        InstanceConfig::Vrrp(vrrp) => vrrp_terms(vrrp),
        InstanceConfig::Carp(carp) => {
            let preempt = if carp.instance.preempt { ", preempts" } else { "" };
            let (advbase, advskew) = (carp.instance.advbase, carp.node.advskew);
            format!("CARP, advbase {advbase}, advskew {advskew}{preempt}")
        }
    };
    let router = config.router();
    if matches!(router.peers, Peers::Unicast { .. }) {
        out += ", unicast";
    }
    let scripts = router.track_scripts.iter().map(|tracked| ("script", tracked));
    let links = router.track_interfaces.iter().map(|tracked| ("interface", tracked));
    for (kind, tracked) in scripts.chain(links) {
        let _ = write!(out, ", {kind} {} weighs {}", tracked.name, tracked.weight);
    }
    out
}

fn vrrp_terms(vrrp: &VrrpInstance) -> String {
    let mut out = format!("priority {}, every {}", vrrp.priority, seconds(vrrp.advert_int));
    if vrrp.down_timer_adverts != 3 {
        let _ = write!(out, ", dead after {}", vrrp.down_timer_adverts);
    }
    if vrrp.nopreempt {
        out += ", nopreempt";
    }
    if !vrrp.preempt_delay.is_zero() {
        let _ = write!(out, ", preempts after {}", seconds(vrrp.preempt_delay));
    }
    out
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop => f.write_str("a stop"),
            Self::Vrrp(priority) => priority.fmt(f),
            Self::Carp(Reverse(0), Reverse(interval)) => {
                write!(f, "an interval of {}", seconds(*interval))
            }
            Self::Carp(Reverse(demotion), Reverse(interval)) => {
                write!(f, "an interval of {}, demoted by {demotion},", seconds(*interval))
            }
        }
    }
}

fn weather(weather: &Weather) -> String {
    let mut out = format!("{} to {}", seconds(weather.delay), seconds(weather.longest()));
    for (ppm, what) in [
        (weather.loss_ppm, "lost"),
        (weather.duplicate_ppm, "twice"),
        (weather.reorder_ppm, "out of order"),
    ] {
        if ppm > 0 {
            let _ = write!(out, ", {:.1} % {what}", f64::from(ppm) / 10_000.0);
        }
    }
    out
}

/// Seconds to the microsecond, without needless zeros.
pub(crate) fn seconds(time: Duration) -> String {
    let text = format!("{:.6}", time.as_secs_f64());
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} s")
}
