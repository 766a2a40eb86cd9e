//! State synchronisation as the supervisor sees it: the advertiser knows who is MASTER and is to know
//! what fails, the balancer has the daemons.

use lb_config::Model;
use lb_control::{EventKind, State};

use super::Supervisor;
use crate::balancer::Plan;

impl Supervisor {
    /// Whether connections are to be copied. As in keepalived, the half of the daemon does it whose
    /// business it is: the virtual servers', or the instances' where one of these decides who sends.
    pub(super) fn wants_state_sync(&self, model: &Model) -> bool {
        model.sync_daemon().is_some_and(|daemon| match daemon.instance {
            Some(_) => self.advertises(),
            None => self.checks(),
        })
    }

    /// What the balancer has to do with a configuration.
    pub(super) fn balancer_plan(&self, model: &Model) -> Plan {
        let plan = Plan::from(model).sending(self.sends(model));
        let plan = if self.checks() { plan } else { plan.without_servers() };
        if self.wants_state_sync(model) { plan } else { plan.without_sync() }
    }

    /// Whether the instance that decides is MASTER; of a balanced one, any vhid.
    fn sends(&self, model: &Model) -> bool {
        let Some(name) = model.sync_daemon().and_then(|daemon| daemon.instance) else {
            return false;
        };
        let is_master = |name: &str| self.states.get(name) == Some(&State::Master);
        let balanced = model.carp_instances.iter().find(|carp| carp.router.name == name);
        let mut vhids = balanced.into_iter().flat_map(|carp| &carp.nodes);
        is_master(&name) || vhids.any(|node| is_master(&format!("{name}:{}", node.vhid)))
    }

    /// Some instance has entered a state: the daemon that is to run may be the other one.
    pub(super) fn choose_sync_daemon(&self) {
        if let Some(balancer) = self.balancer.engine() {
            balancer.sends(self.sends(&self.model));
        }
    }

    /// Another configuration is in force.
    pub(super) fn renew_state_sync(&mut self) {
        // A balancer that does not start would not say so.
        if !self.wants_state_sync(&self.model) {
            self.state_sync_is(None);
        }
        self.choose_sync_daemon();
    }

    /// It works, or (with a reason) it does not.
    pub(super) fn state_sync_is(&mut self, failure: Option<String>) {
        if self.state_sync != failure {
            self.state_sync.clone_from(&failure);
            if let Some(advertiser) = self.advertiser.engine() {
                advertiser.state_sync(failure);
            }
        }
    }

    /// The balancer, which would say how it is, does not start.
    pub(super) fn state_sync_without_balancer(&self, reason: &str) {
        if self.wants_state_sync(&self.model) && self.state_sync.is_none() {
            let message = reason.to_owned();
            self.sink.emit(EventKind::StateSync { failed: true, message });
        }
    }
}
