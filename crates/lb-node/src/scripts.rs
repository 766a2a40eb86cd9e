//! Tracked scripts and who depends on them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::track;
use lb_config::model::{VirtualRouter, VrrpScript};
use lb_control::EventKind;

use super::{Action, InstanceId, Node};

/// Scripts by name.
#[derive(Debug, Default)]
pub(crate) struct Scripts(BTreeMap<String, Script>);

#[derive(Debug)]
struct Script {
    definition: VrrpScript,
    verdict: track::Script,
    users: Vec<InstanceId>,
}

impl Scripts {
    /// Takes new definitions; verdicts of scripts that run the same command stay. `init_fail` is for the
    /// start: a master that is to track a script from now on goes on until that fails.
    pub(crate) fn redefine(&mut self, definitions: Vec<VrrpScript>, starts: bool) {
        let mut old = std::mem::take(&mut self.0);
        for definition in definitions {
            let (rise, fall) = (definition.rise, definition.fall);
            let verdict = match old.remove(&definition.name) {
                Some(old) if old.definition.script.is_same_command(&definition.script) => {
                    old.verdict.with(rise, fall)
                }
                _ => track::Script::new(rise, fall, definition.init_fail && starts),
            };
            let name = definition.name.clone();
            self.0.insert(name, Script { definition, verdict, users: Vec::new() });
        }
    }

    /// Notes that an instance depends on the scripts it names.
    pub(crate) fn add_user(&mut self, id: InstanceId, router: &VirtualRouter) {
        for tracked in &router.track_scripts {
            if let Some(script) = self.0.get_mut(&tracked.name) {
                script.users.push(id);
            }
        }
    }

    /// Takes these for successful until their next result: an instance that was MASTER a moment
    /// ago, before the engine failed, need not wait for them again.
    pub(crate) fn trust(&mut self, names: &BTreeSet<String>) {
        for (_, script) in self.0.iter_mut().filter(|(name, _)| names.contains(*name)) {
            let (rise, fall) = (script.definition.rise, script.definition.fall);
            script.verdict = track::Script::new(rise, fall, false);
            script.verdict.handle(true);
        }
    }

    /// Whether it counts as failed although no run has.
    pub(crate) fn is_presumed(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|script| script.verdict.is_presumed())
    }

    /// Its verdict; `None` before its first result, or when there is no such script.
    pub(crate) fn up(&self, name: &str) -> Option<bool> {
        self.0.get(name)?.verdict.up()
    }
}

impl Node {
    /// One run of a script ended.
    pub(crate) fn script(
        &mut self,
        now: Instant,
        name: &str,
        success: bool,
        out: &mut Vec<Action>,
    ) {
        let Some(script) = self.scripts.0.get_mut(name) else { return };
        let Some(up) = script.verdict.handle(success) else { return };
        let users = script.users.clone();
        out.push(Action::event(EventKind::Script { name: name.to_owned(), up }));
        self.evaluate(now, users, out);
    }
}
