//! What an instance tells of an election besides its role: the lines that keepalived logs about it.

use std::net::IpAddr;
use std::time::Instant;

use lb_control::EventKind;
use lb_election::Role;
use lb_vrrp::{Priority, Reason};

use crate::Action;
use crate::protocol::{self, Advert, Protocol};
use crate::slot::Slot;

impl Slot {
    /// What brought a VRRP instance to a role that it is about to enter, if keepalived logs a line of
    /// its own about that.
    pub(crate) fn role_cause(&self, role: Role) -> Option<Action> {
        let Protocol::Vrrp(instance) = &self.protocol else { return None };
        let name = self.config.name().to_owned();
        let higher = |from: IpAddr, priority: Priority, ours: Priority| {
            let (from, priority, ours) = (from.to_string(), priority.0, ours.0);
            EventKind::VrrpMasterRxHigherPri { name: name.clone(), from, priority, ours }
        };
        let event = match (role, instance.reason()) {
            (
                Role::Master,
                Reason::Silence { .. }
                | Reason::Stopped { .. }
                | Reason::Lower { .. }
                | Reason::Retaken { .. },
            ) => EventKind::VrrpAdvertTimeout { name },
            (Role::Backup, Reason::Higher { from, theirs, ours }) => higher(from, theirs, ours),
            (Role::Backup, Reason::Tie { from, priority, .. }) => higher(from, priority, priority),
            _ => return None,
        };
        Some(Action::event(event))
    }

    /// As MASTER it heard a lower priority. At most once each shortest interval.
    pub(crate) fn heard_lower_as_master(
        &mut self,
        now: Instant,
        from: IpAddr,
        advert: Advert,
    ) -> Option<Action> {
        let Advert::Vrrp(content) = advert else { return None };
        self.lower.pass(now).then(|| {
            Action::event(EventKind::VrrpMasterRxLowerPri {
                name: self.config.name().to_owned(),
                from: from.to_string(),
                priority: content.priority.0,
                ours: self.protocol.priority(),
            })
        })
    }

    /// As BACKUP it heard a lower priority that it preempts. At most twice an advertisement interval.
    pub(crate) fn heard_lower_as_backup(
        &mut self,
        now: Instant,
        from: IpAddr,
        advert: Advert,
    ) -> Option<Action> {
        let Advert::Vrrp(content) = advert else { return None };
        self.discarded.pass_every(self.protocol.interval() / 2, now).then(|| {
            Action::event(EventKind::VrrpBackupRxLowerPri {
                name: self.config.name().to_owned(),
                from: from.to_string(),
                priority: content.priority.0,
            })
        })
    }

    /// As BACKUP it heard that the master stops. At most twice an advertisement interval.
    pub(crate) fn heard_stop(&mut self, now: Instant) -> Option<Action> {
        let name = self.config.name();
        let passes = self.stops.pass_every(self.protocol.interval() / 2, now);
        passes.then(|| Action::event(EventKind::VrrpBackupRxStop { name: name.to_owned() }))
    }

    /// It said that it stops, once or twice.
    pub(crate) fn said_stop(&self, actions: &[protocol::Action]) -> Option<Action> {
        let is_stop = |action: &protocol::Action| matches!(action, protocol::Action::Send(Advert::Vrrp(content)) if content.priority == Priority::STOP);
        let name = || self.config.name().to_owned();
        actions.iter().any(is_stop).then(|| Action::event(EventKind::VrrpTxStop { name: name() }))
    }
}
