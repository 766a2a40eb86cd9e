//! Links that keep a second address of a subnet when the first goes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::link::{LinkChange, Setting};
use crate::{Error, RouteSocket};

/// Links with `promote_secondaries` set, and what they had before.
///
/// Without it the kernel takes away every other IPv4 address of a subnet together with the first,
/// the primary one. Dropping this leaves everything as it is.
#[derive(Debug)]
pub struct Promotions {
    route: RouteSocket,
    before: BTreeMap<u32, u32>,
}

impl Promotions {
    /// Knows of none yet, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When the process is out of descriptors or memory.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { route: RouteSocket::open()?, before: BTreeMap::new() })
    }

    /// Sets it on these links, by their index, and restores it on those of before.
    ///
    /// # Errors
    /// When the netlink socket fails, or for the first link that refuses; the others do not suffer.
    pub fn apply(&mut self, wanted: &BTreeSet<u32>) -> Result<(), Error> {
        self.try_apply(wanted)
            .map_err(Error::system("setting promote_secondaries", "CAP_NET_ADMIN"))
    }

    fn try_apply(&mut self, wanted: &BTreeSet<u32>) -> io::Result<()> {
        let mut changes = Vec::new();
        if wanted.iter().any(|index| !self.before.contains_key(index)) {
            for details in self.route.link_details()? {
                let index = details.link.index;
                let now = details.setting(Setting::PromoteSecondaries);
                if let Some(now) = now.filter(|_| wanted.contains(&index))
                    && !self.before.contains_key(&index)
                {
                    self.before.insert(index, now);
                    changes.push((index, [(Setting::PromoteSecondaries, 1)]));
                }
            }
        }
        self.before.retain(|index, before| {
            let stays = wanted.contains(index);
            if !stays {
                changes.push((*index, [(Setting::PromoteSecondaries, *before)]));
            }
            stays
        });
        let changes: Vec<_> = changes
            .iter()
            .map(|(index, settings)| LinkChange::Set { index: *index, settings })
            .collect();
        let errors = self.route.change_links(&changes)?;
        // A link that has gone needs nothing restored.
        let gone = nix::errno::Errno::ENODEV;
        match errors.into_iter().flatten().find(|errno| *errno != gone) {
            Some(errno) => Err(errno.into()),
            None => Ok(()),
        }
    }
}
