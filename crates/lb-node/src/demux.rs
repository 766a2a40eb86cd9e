//! From a packet to the instance it is for.

use std::net::IpAddr;

use lb_config::model::Peers;
use lb_election::IpPacket;

use super::slot::Slot;
use super::{InstanceId, LinkIndex, ProtocolKind, SocketFamily, protocol};

/// Instances by link, family, protocol and number, sorted.
#[derive(Debug, Default)]
pub(crate) struct Demux(Vec<(Key, InstanceId)>);

/// Link 0 stands for unicast instances without an interface.
type Key = (LinkIndex, SocketFamily, ProtocolKind, u8);

impl Demux {
    /// Knows these instances; those whose link does not exist cannot be heard.
    pub(crate) fn new<'a>(slots: impl Iterator<Item = (InstanceId, &'a Slot)>) -> Self {
        let mut known = Vec::new();
        for (id, slot) in slots {
            let link = match (&slot.config.router().interface, slot.link) {
                (Some(_), Some(link)) => link,
                (Some(_), None) => continue,
                (None, _) => 0,
            };
            for family in slot.config.families() {
                let key = (link, family.into(), slot.config.kind(), slot.config.id());
                known.push((key, id));
            }
        }
        // Those of one key stay in their order.
        known.sort_by_key(|(key, _)| *key);
        known.shrink_to_fit();
        Self(known)
    }

    /// The instances of one key.
    fn of(&self, key: Key) -> &[(Key, InstanceId)] {
        let first = self.0.partition_point(|(known, _)| *known < key);
        let rest = &self.0[first..];
        &rest[..rest.iter().take_while(|(known, _)| *known == key).count()]
    }

    /// The instance a packet is for. Several unicast instances may share a VRID: then the
    /// addresses decide.
    pub(crate) fn find<'s>(
        &self,
        link: LinkIndex,
        packet: &IpPacket<'_>,
        slot: impl Fn(InstanceId) -> Option<&'s Slot>,
    ) -> Option<InstanceId> {
        let family = match packet.source {
            IpAddr::V4(_) => SocketFamily::Inet,
            IpAddr::V6(_) => SocketFamily::Inet6,
        };
        let (kind, number) = protocol::number(packet.payload)?;
        let other = match kind {
            ProtocolKind::Vrrp => ProtocolKind::Carp,
            ProtocolKind::Carp => ProtocolKind::Vrrp,
        };
        // The other protocol comes last: it has to know that somebody uses its number.
        let ids = [(link, kind), (link, other)]
            .into_iter()
            .map(|(link, kind)| self.of((link, family, kind, number)))
            .find(|ids| !ids.is_empty())?;
        match ids {
            [(_, only)] => Some(*only),
            several => several
                .iter()
                .map(|(_, id)| *id)
                .find(|id| slot(*id).is_some_and(|slot| is_for(slot, packet)))
                .or(several.first().map(|(_, id)| *id)),
        }
    }
}

fn is_for(slot: &Slot, packet: &IpPacket<'_>) -> bool {
    match &slot.config.router().peers {
        Peers::Multicast { group } => *group == packet.destination,
        Peers::Unicast { peers, .. } => {
            slot.sources.to(packet.destination).is_none_or(|source| source == packet.destination)
                && peers.iter().any(|peer| peer.address == packet.source)
        }
    }
}
