//! What an operator asks of the election: hand over, or stay out of it.

use std::time::Instant;

use lb_control::status::Maintenance;
use lb_election::Input;

use super::{Action, InstanceId, Node, Phase};

impl Node {
    /// Lets another router take over from an instance, and from its whole group.
    pub(crate) fn hand_over(&mut self, now: Instant, name: &str, out: &mut Vec<Action>) {
        self.tell_together(now, &self.together(name), Input::Handover, out);
    }

    /// Begins or ends the maintenance of an instance and its group, or of all, those to come
    /// included.
    pub(crate) fn maintain(
        &mut self,
        now: Instant,
        name: Option<&str>,
        state: Option<&Maintenance>,
        out: &mut Vec<Action>,
    ) {
        let ids = match name {
            Some(name) => self.together(name),
            None => {
                self.maintenance = state.cloned();
                self.order.clone()
            }
        };
        for id in &ids {
            if let Some(slot) = self.slot_mut(*id) {
                slot.maintenance = state.cloned().map(Box::new);
            }
        }
        self.tell_together(now, &ids, Input::Maintenance(state.is_some()), out);
    }

    /// An instance of this name with its group; nothing when there is none.
    fn together(&self, name: &str) -> Vec<InstanceId> {
        let named =
            |id: &&InstanceId| self.slot(**id).is_some_and(|slot| slot.config.name() == name);
        let Some(id) = self.order.iter().find(named) else { return Vec::new() };
        match self.slot(*id).and_then(|slot| slot.group) {
            Some(group) => self.groups[group].members.clone(),
            None => vec![*id],
        }
    }

    /// Tells each the same before any group moves by it.
    fn tell_together(
        &mut self,
        now: Instant,
        ids: &[InstanceId],
        input: Input<'_>,
        out: &mut Vec<Action>,
    ) {
        for id in ids {
            self.weighing(now, *id, input, out);
        }
        if self.phase != Phase::Running {
            return;
        }
        for id in ids {
            if let Some(group) = self.slot(*id).and_then(|slot| slot.group) {
                self.settle_group(now, group, *id, out);
            }
        }
    }
}
