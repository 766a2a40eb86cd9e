//! What clients see: who answers for each virtual address.
//!
//! A client of a segment has a neighbour cache; so has the switch. Both follow gratuitous ARP and
//! neighbour advertisements, so one pointer per address stands for them: the router that traffic
//! goes to. It gets there while that router has power, its cable and the address. A pointer to a
//! router that does not answer is given up after [`Scenario::patience`](crate::Scenario), and then
//! whoever has the address answers; so does one for an address that nobody ever announced.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::Time;

/// All virtual addresses of a scenario, by segment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clients {
    pub(crate) views: BTreeMap<(usize, IpAddr), View>,
}

/// One virtual address as clients see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Where traffic goes.
    pub(crate) pointer: Option<usize>,
    /// Who forwards it, from when on. Changes only.
    pub(crate) served: Vec<(Time, Option<usize>)>,
}

impl View {
    /// Who forwards it now.
    pub(crate) fn server(&self) -> Option<usize> {
        self.served.last().and_then(|(_, server)| *server)
    }

    /// Somebody forwards it now, or nobody does. Whether that is news.
    pub(crate) fn set(&mut self, now: Time, server: Option<usize>) -> bool {
        let news = match self.served.last() {
            Some((_, before)) => *before != server,
            None => server.is_some(),
        };
        if news {
            // What lasted no time was not seen.
            self.served.pop_if(|(since, _)| *since == now);
            if self.served.last().is_none_or(|(_, before)| *before != server) {
                self.served.push((now, server));
            }
        }
        news
    }
}
