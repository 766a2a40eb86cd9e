//! Does what the node says, many instances at a time.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::mem;
use std::net::IpAddr;

use crate::advertiser::kernel::Kernel;
use crate::advertiser::queue::{Owner, Place, VipChange};
use crate::advertiser::sockets::Sockets;
use lb_node::{Action, Datagram, InstanceId, LinkIndex, Node, Vip};

/// Addresses that are changed at a time: enough for one system call, and few enough that the kernel
/// is busy with them while the next advertisements leave.
const CHANGES: usize = 256;

/// Collects actions so that those of one kind leave in one system call.
///
/// Between instances the order of a batch is advertisements, then addresses; announcements follow
/// when there is nothing else to do. Within an instance it is the node's, for which a batch is ended
/// early when it must be.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    changes: Vec<VipChange>,
    /// Instances with something in `changes`.
    changed: HashSet<InstanceId>,
    /// Addresses in `changes` that are to be told of when they are there.
    confirmations: Vec<Place>,
    /// Whose VIPs to announce, and how often; `None`: once, those of `garp_extra_if` alone.
    announcements: Vec<(InstanceId, Option<u32>)>,
    /// The instances in `announcements`.
    announced: HashSet<InstanceId>,
    /// Whether a link's host is a router, asked once a batch.
    routers: BTreeMap<LinkIndex, bool>,
    payload: Vec<u8>,
    datagrams: Vec<Datagram>,
}

impl Outgoing {
    /// Takes one action other than [`Action::Sockets`] and [`Action::Event`], which are the caller's.
    pub(super) fn take(
        &mut self,
        action: Action,
        node: &Node,
        sockets: &mut Sockets,
        kernel: &mut Kernel,
    ) -> io::Result<()> {
        match action {
            Action::Send { instance, advert, to } => {
                if self.changed.contains(&instance) || self.announced.contains(&instance) {
                    self.flush(node, sockets, kernel)?;
                }
                self.payload.clear();
                self.datagrams.clear();
                node.emit(instance, advert, to, &mut self.payload, &mut self.datagrams);
                for datagram in &self.datagrams {
                    if let Some(payload) = self.payload.get(datagram.payload.clone()) {
                        sockets.queue(instance, datagram, payload);
                    }
                }
            }
            Action::AddVips { instance, vips } => {
                tracing::debug!("({}) setting VIPs.", node.name(instance).unwrap_or_default());
                self.end_announcement(instance, node, sockets, kernel)?;
                self.change(instance, vips, true);
                self.end_changes(node, sockets, kernel)?;
            }
            Action::Confirm { link, address } => self.confirmations.push((link, address)),
            Action::RemoveVips { instance, vips } => {
                tracing::debug!("({}) removing VIPs.", node.name(instance).unwrap_or_default());
                self.end_announcement(instance, node, sockets, kernel)?;
                self.change(instance, vips, false);
                self.end_changes(node, sockets, kernel)?;
            }
            Action::Announce { instance, rounds } => {
                self.announced.insert(instance);
                self.announcements.push((instance, Some(rounds)));
            }
            Action::AnnounceExtra { instance } => {
                self.announced.insert(instance);
                self.announcements.push((instance, None));
            }
            Action::Shares(shares) => {
                self.flush(node, sockets, kernel)?;
                kernel.share(shares)?;
            }
            Action::Vmacs => {
                self.flush(node, sockets, kernel)?;
                let vmacs = node.vmacs();
                sockets.speak_through(&vmacs);
                kernel.vmacs(vmacs)?;
            }
            Action::Promote => {
                self.flush(node, sockets, kernel)?;
                kernel.promote(node.promoted())?;
            }
            Action::Sockets | Action::Event(_) => {}
        }
        Ok(())
    }

    fn change(&mut self, instance: InstanceId, vips: Vec<Vip>, present: bool) {
        self.changed.insert(instance);
        self.changes.extend(vips.into_iter().map(|vip| VipChange { vip, present }));
    }

    /// Many changes need not wait for one another.
    fn end_changes(
        &mut self,
        node: &Node,
        sockets: &mut Sockets,
        kernel: &mut Kernel,
    ) -> io::Result<()> {
        if self.changes.len() >= CHANGES { self.flush(node, sockets, kernel) } else { Ok(()) }
    }

    /// What is announced is what the node has before the change, and less what the change removes.
    fn end_announcement(
        &mut self,
        instance: InstanceId,
        node: &Node,
        sockets: &mut Sockets,
        kernel: &mut Kernel,
    ) -> io::Result<()> {
        if self.announced.contains(&instance) {
            self.flush(node, sockets, kernel)?;
        }
        Ok(())
    }

    fn is_router(&mut self, link: LinkIndex, vip: IpAddr, kernel: &Kernel) -> bool {
        if vip.is_ipv4() {
            return false;
        }
        *self
            .routers
            .entry(link)
            .or_insert_with(|| kernel.name(link).is_some_and(lb_net::is_ipv6_router))
    }

    /// Ends the batch: everything is sent and changed.
    pub(super) fn flush(
        &mut self,
        node: &Node,
        sockets: &mut Sockets,
        kernel: &mut Kernel,
    ) -> io::Result<()> {
        sockets.flush(|id| node.name(id));
        if !self.changes.is_empty() {
            kernel.change(mem::take(&mut self.changes))?;
            self.changed.clear();
        }
        if !self.confirmations.is_empty() {
            kernel.confirm(mem::take(&mut self.confirmations))?;
        }
        if !self.announcements.is_empty() {
            self.announce(node, kernel)?;
            self.announced.clear();
        }
        Ok(())
    }

    fn announce(&mut self, node: &Node, kernel: &Kernel) -> io::Result<()> {
        self.routers.clear();
        let logged = tracing::enabled!(tracing::Level::DEBUG);
        for (instance, rounds) in mem::take(&mut self.announcements) {
            let vips = rounds.is_some().then(|| node.vips(instance));
            let extra = rounds.is_none().then(|| node.extra_vips(instance));
            let mut all = Vec::new();
            for (link, vip) in vips.into_iter().flatten().chain(extra.into_iter().flatten()) {
                if logged {
                    let name = node.name(instance).unwrap_or_default();
                    let link = kernel.name(link).unwrap_or_default();
                    let what = match vip.address {
                        IpAddr::V4(_) => "gratuitous ARPs",
                        IpAddr::V6(_) => "Unsolicited Neighbour Adverts",
                    };
                    tracing::debug!(
                        "({name}) Sending/queueing {what} on {link} for {}",
                        vip.address
                    );
                }
                let router = self.is_router(link, vip.address, kernel);
                all.extend(kernel.announcement(link, vip.address, router));
            }
            let owner = Owner { instance, extra: rounds.is_none() };
            kernel.announce(owner, all, rounds.unwrap_or(1))?;
        }
        Ok(())
    }
}
