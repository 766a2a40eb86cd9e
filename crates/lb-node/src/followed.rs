//! Tracked files and processes and who depends on them.

use std::collections::BTreeMap;
use std::mem;
use std::time::Instant;

use lb_config::model::{TrackFile, TrackProcess, Tracked, VirtualRouter};
use lb_control::EventKind;

use crate::track::{self, file, process::Quorum};

use super::{Action, InstanceId, Node, Phase};

/// Files and processes by name.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    files: BTreeMap<String, File>,
    processes: BTreeMap<String, Process>,
}

#[derive(Debug)]
struct File {
    path: String,
    /// `None` before it has been read.
    value: Option<i32>,
    users: Vec<InstanceId>,
}

#[derive(Debug)]
struct Process {
    quorum: Quorum,
    users: Vec<InstanceId>,
}

impl Followed {
    /// Takes new definitions; what is known of the same files and processes stays.
    pub(crate) fn redefine(&mut self, files: Vec<TrackFile>, processes: Vec<TrackProcess>) {
        let old = mem::take(&mut self.files);
        for TrackFile { name, path, .. } in files {
            let value = old.get(&name).filter(|old| old.path == path).and_then(|old| old.value);
            self.files.insert(name, File { path, value, users: Vec::new() });
        }
        let old = mem::take(&mut self.processes);
        for definition in processes {
            let name = definition.name.clone();
            let quorum = match old.get(&name) {
                Some(old) => old.quorum.redefined(definition),
                None => Quorum::new(definition),
            };
            self.processes.insert(name, Process { quorum, users: Vec::new() });
        }
    }

    /// Notes that an instance depends on what it names.
    pub(crate) fn add_user(&mut self, id: InstanceId, router: &VirtualRouter) {
        for tracked in &router.track_files {
            if let Some(file) = self.files.get_mut(&tracked.name) {
                file.users.push(id);
            }
        }
        for tracked in &router.track_processes {
            if let Some(process) = self.processes.get_mut(&tracked.name) {
                process.users.push(id);
            }
        }
    }

    /// What it all adds to the strength of an instance, what makes it weaker, why it has to be in
    /// FAULT, and what it waits for.
    pub(crate) fn assess(
        &self,
        router: &VirtualRouter,
        weaknesses: &mut Vec<String>,
        faults: &mut Vec<String>,
        waits: &mut Vec<String>,
    ) -> i32 {
        let mut total = 0;
        for Tracked { name, weight, reverse } in &router.track_files {
            match self.files.get(name).and_then(|file| file.value) {
                Some(value) => match file::effect(*weight, *reverse, value) {
                    file::Effect::Adds(more) => {
                        total += more;
                        if more < 0 {
                            weaknesses.push(format!("file {name} says {value}"));
                        }
                    }
                    file::Effect::Fault => faults.push(format!("file {name} says {value}")),
                },
                None if *weight == 0 => waits.push(format!("file {name} has not been read yet")),
                None => {}
            }
        }
        for Tracked { name, weight, reverse } in &router.track_processes {
            let quorum = self.processes.get(name).map(|process| &process.quorum);
            match quorum.and_then(|quorum| Some((quorum.up()?, quorum.running()?))) {
                Some((up, running)) if *weight != 0 => {
                    let by = track::contribution(*weight, *reverse, up);
                    total += by;
                    if by < 0 {
                        let verdict = if up { "has" } else { "does not have" };
                        weaknesses
                            .push(format!("process {name} {verdict} its quorum, {running} run"));
                    }
                }
                Some((up, running)) if up == *reverse => {
                    let verdict = if up { "has" } else { "does not have" };
                    faults.push(format!("process {name} {verdict} its quorum, {running} run"));
                }
                None if *weight == 0 => {
                    waits.push(format!("process {name} has not been looked for yet"));
                }
                _ => {}
            }
        }
        total
    }

    /// When the first delay of a process ends.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.processes.values().filter_map(|process| process.quorum.deadline()).min()
    }
}

impl Node {
    /// A file says something.
    pub(crate) fn file(&mut self, now: Instant, name: &str, value: i32, out: &mut Vec<Action>) {
        let Some(file) = self.followed.files.get_mut(name) else { return };
        let before = file.value.replace(value);
        if before == Some(value) || self.phase == Phase::New {
            return;
        }
        let users = file.users.clone();
        for id in &users {
            let Some(slot) = self.slot(*id) else { continue };
            let mut weights = slot.config.router().track_files.iter();
            let Some(tracked) = weights.find(|tracked| tracked.name == name) else { continue };
            let fails =
                |value| file::effect(tracked.weight, tracked.reverse, value) == file::Effect::Fault;
            let fault = fails(value);
            if fault != before.is_some_and(fails) {
                let (name, file) = (slot.config.name().to_owned(), name.to_owned());
                out.push(Action::event(EventKind::TrackedFile { name, file, fault }));
            }
        }
        self.evaluate(now, users, out);
    }

    /// So many of the processes run.
    pub(crate) fn process(
        &mut self,
        now: Instant,
        name: &str,
        running: u32,
        forked: bool,
        out: &mut Vec<Action>,
    ) {
        let Some(process) = self.followed.processes.get_mut(name) else { return };
        let first = process.quorum.up().is_none();
        let Some(up) = process.quorum.handle(now, running, forked) else { return };
        if self.phase == Phase::New {
            return;
        }
        let users = process.users.clone();
        if !first {
            out.push(Action::event(EventKind::Process { name: name.to_owned(), up }));
        }
        self.evaluate(now, users, out);
    }

    /// Ends every delay of a process that is over.
    pub(crate) fn run_process_timers(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.followed.deadline().is_none_or(|at| at > now) {
            return;
        }
        let mut affected = Vec::new();
        for (name, process) in &mut self.followed.processes {
            if let Some(up) = process.quorum.expire(now) {
                affected.extend(process.users.iter().copied());
                out.push(Action::event(EventKind::Process { name: name.clone(), up }));
            }
        }
        affected.sort_unstable();
        affected.dedup();
        self.evaluate(now, affected, out);
    }
}
