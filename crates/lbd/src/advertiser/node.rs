//! All instances of this host as one value: inputs and time in, actions out.
//!
//! The node owns every deadline of the advertiser, so one timer is armed for all of them. It joins
//! instances (`lb-vrrp`) with what they share: links and source addresses, tracked scripts, sync
//! groups, gratuitous ARP blocks, VIPs. It never touches the kernel: a simulator runs it as well.
//!
//! How to drive it:
//! 1. [`Node::new`], then [`Input::Link`] and [`Input::Address`] for everything there is, then
//!    [`Input::Start`].
//! 2. Sleep until [`Node::deadline`] or until a socket is readable. First give every packet that
//!    waits, then link and address changes, then [`Input::Timer`], all with one `now`.
//! 3. Do the actions in their order before the next input; `Send` by [`Node::emit`] into one buffer
//!    for all consecutive `Send`s, then one `sendmmsg(2)` a socket.
//! 4. After [`Input::Stop`] go on until [`Node::stopped`].

mod message;

use std::collections::BTreeSet;
use std::time::Instant;

use jiff::Timestamp;
use lb_control::status;
use lb_vrrp::Priority;

pub use message::{Action, Datagram, Input, InstanceId, LinkIndex, Socket, SocketFamily, Vip};

use crate::advertiser::plan::Plan;

/// All instances of this host. See the [module](self).
#[derive(Debug)]
pub struct Node {}

impl Node {
    /// A node that has not started. Instances whose name is in `adopt` resume as MASTER at once:
    /// the VIPs are still on this host after the engine failed and was started again.
    #[must_use]
    pub fn new(plan: Plan, adopt: &BTreeSet<String>) -> Self {
        todo!("{plan:?} {adopt:?}")
    }

    /// Takes one input at `now` and pushes what to do, in the order to do it.
    ///
    /// Never blocks, reads a clock or fails. `now` never goes backwards.
    pub fn handle(&mut self, now: Instant, input: Input<'_>, out: &mut Vec<Action>) {
        todo!("{now:?} {input:?} {out:?}")
    }

    /// When to give [`Input::Timer`]; `None` while nothing is timed. Never later than any timer,
    /// at times earlier than the first.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        todo!()
    }

    /// Appends one advertisement of an instance: its octets to `payload`, and to `datagrams` one
    /// entry a destination. Appends nothing when the instance cannot send (no link, no source).
    pub fn emit(
        &self,
        instance: InstanceId,
        priority: Priority,
        payload: &mut Vec<u8>,
        datagrams: &mut Vec<Datagram>,
    ) {
        todo!("{instance:?} {priority:?} {payload:?} {datagrams:?}")
    }

    /// The VIPs of an instance whose links exist, the advertised ones first.
    pub fn vips(
        &self,
        instance: InstanceId,
    ) -> impl Iterator<Item = (LinkIndex, &lb_config::model::VirtualAddress)> {
        let _ = instance;
        std::iter::empty()
    }

    /// The sockets to have open now.
    #[must_use]
    pub fn sockets(&self) -> BTreeSet<Socket> {
        todo!()
    }

    /// Names of the instances that are MASTER, to be given to [`Node::new`] after a failure.
    #[must_use]
    pub fn masters(&self) -> BTreeSet<String> {
        todo!()
    }

    /// State of every instance in the order of the configuration. `wall` is the wall clock at `now`.
    #[must_use]
    pub fn status(&self, now: Instant, wall: Timestamp) -> Vec<status::Vrrp> {
        todo!("{now:?} {wall:?}")
    }

    /// Whether [`Input::Stop`] was given and every instance has let go.
    #[must_use]
    pub fn stopped(&self) -> bool {
        todo!()
    }
}
