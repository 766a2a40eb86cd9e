//! A node and the world: what it is told, and what it does.

use std::mem;

use lb_control::EventKind;
use lb_node::{Action, Input, LinkIndex, Node};

use super::World;
use crate::judge::Cause;
use crate::outcome::{Note, Why};

/// Links from this index on are virtual MACs.
const VMAC: LinkIndex = 1 << 16;

/// The link that a virtual MAC stands on; any other is its own.
pub(super) fn base(link: LinkIndex) -> LinkIndex {
    link % VMAC
}

impl World<'_> {
    /// Gives a node an input now and does what it says.
    pub(super) fn tell(&mut self, router: usize, input: Input<'_>) {
        let host = &mut self.hosts[router];
        let Some(node) = &mut host.node else { return };
        let now = host.clock.at(self.now);
        let mut actions = mem::take(&mut self.actions);
        node.handle(now, input, &mut actions);
        let mut changed = false;
        for action in actions.drain(..) {
            changed |= matches!(action, Action::Event(_));
            self.act(router, action);
        }
        self.actions = actions;
        if changed {
            let name = self.scenario.routers[router].name.as_str();
            let host = &self.hosts[router];
            // Those that are told to stop wait each for its own successor.
            if host.stopping.is_none() {
                self.judge.groups(self.now, (router, name), &host.terms);
            }
        }
    }

    fn act(&mut self, router: usize, action: Action) {
        match action {
            Action::Send { instance, advert, to } => {
                let (mut payload, mut datagrams) =
                    (mem::take(&mut self.payload), mem::take(&mut self.datagrams));
                if let Some(node) = &self.hosts[router].node {
                    node.emit(instance, advert, to, &mut payload, &mut datagrams);
                }
                let through = datagrams.iter().any(|datagram| datagram.through.is_some());
                for datagram in datagrams.drain(..) {
                    let payload = &payload[datagram.payload.clone()];
                    self.send(router, &datagram, payload, to.is_some());
                }
                // It comes from the virtual MAC: switches follow it.
                if through {
                    self.announce(router, instance, 1);
                }
                payload.clear();
                (self.payload, self.datagrams) = (payload, datagrams);
            }
            Action::AddVips { vips, .. } => {
                for vip in vips {
                    let link = base(vip.link);
                    self.hosts[router].vips.insert((link, vip.address.address));
                    self.moved(router, link, vip.address.address);
                }
            }
            Action::Confirm { link, address } => {
                self.tell(router, Input::Address { link, address, present: true });
            }
            Action::RemoveVips { vips, .. } => {
                for vip in vips {
                    let link = base(vip.link);
                    self.hosts[router].vips.remove(&(link, vip.address.address));
                    self.moved(router, link, vip.address.address);
                }
            }
            Action::Announce { instance, rounds } => self.announce(router, instance, rounds),
            Action::AnnounceExtra { .. }
            | Action::Sockets
            | Action::Shares(_)
            | Action::Promote => {}
            Action::Vmacs => self.make_vmacs(router),
            Action::Event(event) => self.event(router, &event),
        }
    }

    /// Virtual MACs are there as soon as they are wanted. What is on one is on its base: clients here
    /// know routers, not MACs.
    pub(super) fn make_vmacs(&mut self, router: usize) {
        let vmacs = self.hosts[router].node.as_ref().map(Node::vmacs).unwrap_or_default();
        for (number, vmac) in (1..).zip(vmacs) {
            let link = vmac.base + number * VMAC;
            self.tell(router, Input::Link { link, name: &vmac.name, up: true });
        }
    }

    fn event(&mut self, router: usize, event: &EventKind) {
        if let Some((name, state, priority)) = event.instance() {
            let host = &self.hosts[router];
            let Some(terms) = host.terms.iter().find(|terms| terms.name == name) else { return };
            let vr = terms.vr;
            self.roles.push((self.now, router, vr, state));
            let cause = match self.why {
                Why::Heard { .. } => Some(Cause::Packet),
                Why::Resume => Some(Cause::Resume),
                _ => None,
            };
            let name = self.scenario.routers[router].name.as_str();
            self.judge.entered(self.now, (router, name), terms, (state, priority), cause);
            let why = self.why;
            self.note(|| Note::Enters { router, virtual_router: vr, state, priority, why });
        } else if let EventKind::VrrpPriority { name, to, .. } = event {
            let terms = &self.hosts[router].terms;
            if let Some(vr) = terms.iter().find(|terms| terms.name == *name).map(|terms| terms.vr) {
                self.judge.priority(router, vr, *to);
                let priority = *to;
                self.note(|| Note::Priority { router, virtual_router: vr, priority });
            }
        }
    }
}
