//! The settings around virtual MACs, and what they were before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::link::{LinkDetails, Setting};

/// Index of a link and what to set on it.
pub(crate) type Settings = Vec<(u32, Vec<(Setting, u32)>)>;

/// What a base is given, and its names in an alias.
const OF_BASE: [(Setting, &str, u32); 3] = [
    (Setting::ArpIgnore, "arp_ignore", 1),
    (Setting::ArpFilter, "arp_filter", 1),
    (Setting::ArpAnnounce, "arp_announce", 2),
];

/// Settings as they were without virtual MACs.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// Those in [`OF_BASE`] of bases, by index.
    bases: BTreeMap<u32, [u32; 3]>,
    rp_filter: Option<RpFilter>,
}

/// `rp_filter` as it was, where we have changed it.
#[derive(Debug, Default)]
struct RpFilter {
    all: u32,
    /// Unknown after a crash: it stays as it is, which means the same once `all` is back.
    default: Option<u32>,
    /// By index of the link.
    links: BTreeMap<u32, u32>,
}

impl Before {
    const MARK: &str = "lbd before:";

    /// What `alias` writes, for the virtual MACs of this base.
    pub(crate) fn alias(&self, base: u32) -> String {
        let mut text = Self::MARK.to_owned();
        for ((_, name, _), was) in OF_BASE.iter().zip(self.bases.get(&base).into_iter().flatten()) {
            text += &format!(" {name}={was}");
        }
        if let Some(rp_filter) = &self.rp_filter {
            text += &format!(" rp_filter={}", rp_filter.all);
        }
        text
    }

    /// Whether a link is a virtual MAC of ours, by what is written on it.
    pub(crate) fn marks(details: &LinkDetails) -> bool {
        details.alias.as_deref().is_some_and(|alias| alias.starts_with(Self::MARK))
    }

    /// Reads what a predecessor wrote, where we do not know better.
    pub(crate) fn recall<'a>(&mut self, adopted: impl Iterator<Item = &'a LinkDetails>) {
        for details in adopted {
            let Some(text) = details.alias.as_deref().and_then(|it| it.strip_prefix(Self::MARK))
            else {
                continue;
            };
            let number = |name: &str| {
                let words = text.split_ascii_whitespace();
                words
                    .filter_map(|word| word.split_once('='))
                    .find(|(key, _)| *key == name)?
                    .1
                    .parse()
                    .ok()
            };
            if let (Some(base), [Some(ignore), Some(filter), Some(announce)]) =
                (details.link.parent, OF_BASE.map(|(_, name, _)| number(name)))
            {
                self.bases.entry(base).or_insert([ignore, filter, announce]);
            }
            if let (None, Some(all)) = (&self.rp_filter, number("rp_filter")) {
                self.rp_filter = Some(RpFilter { all, ..RpFilter::default() });
            }
        }
    }

    /// What to set, given the bases that have IPv4 virtual MACs and every link that is there; those
    /// whose name is `ours` are the virtual MACs.
    pub(crate) fn settings(
        &mut self,
        in_use: &BTreeSet<u32>,
        there: &[LinkDetails],
        ours: impl Fn(&str) -> bool,
    ) -> Settings {
        let mut settings = Settings::new();
        for details in there.iter().filter(|details| in_use.contains(&details.link.index)) {
            let index = details.link.index;
            if let [Some(ignore), Some(filter), Some(announce)] =
                OF_BASE.map(|(setting, ..)| details.setting(setting))
            {
                self.bases.entry(index).or_insert([ignore, filter, announce]);
                let numbers = OF_BASE.map(|(setting, _, number)| (setting, number));
                settings.push((index, numbers.into()));
            }
        }
        self.bases.retain(|index, was| {
            let keep = in_use.contains(index);
            if !keep && there.iter().any(|details| details.link.index == *index) {
                let was = OF_BASE.iter().zip(was).map(|((setting, ..), was)| (*setting, *was));
                settings.push((*index, was.collect()));
            }
            keep
        });
        if in_use.is_empty() {
            self.restore_rp_filter(&mut settings);
        } else {
            self.move_rp_filter(there.iter().filter(|it| !ours(&it.link.name)), &mut settings);
        }
        settings
    }

    /// To be called when each link has its own filter, and not before.
    pub(crate) fn end_filter_of_all(&self) {
        if self.rp_filter.is_some() {
            write_rp_filter("all", 0);
        }
    }

    /// Gives each link the reverse path filter that it has by that of `all`.
    fn move_rp_filter<'a>(
        &mut self,
        links: impl Iterator<Item = &'a LinkDetails>,
        settings: &mut Settings,
    ) {
        let Some(all) = read_rp_filter("all").filter(|all| *all != 0) else { return };
        let default = read_rp_filter("default").filter(|default| *default < all);
        let before = self.rp_filter.get_or_insert_default();
        before.all = all;
        if let Some(default) = default {
            before.default = Some(default);
            write_rp_filter("default", all);
        }
        for details in links {
            let own = details.setting(Setting::RpFilter).filter(|own| *own < all);
            if let Some(own) = own {
                before.links.entry(details.link.index).or_insert(own);
                settings.push((details.link.index, vec![(Setting::RpFilter, all)]));
            }
        }
    }

    fn restore_rp_filter(&mut self, settings: &mut Settings) {
        let Some(before) = self.rp_filter.take() else { return };
        write_rp_filter("all", before.all);
        if let Some(default) = before.default {
            write_rp_filter("default", default);
        }
        let links = before.links.into_iter();
        settings.extend(links.map(|(index, own)| (index, vec![(Setting::RpFilter, own)])));
    }
}

fn rp_filter_path(of: &str) -> String {
    format!("/proc/sys/net/ipv4/conf/{of}/rp_filter")
}

fn read_rp_filter(of: &str) -> Option<u32> {
    fs::read_to_string(rp_filter_path(of)).ok()?.trim().parse().ok()
}

fn write_rp_filter(of: &str, number: u32) {
    if let Err(error) = fs::write(rp_filter_path(of), number.to_string()) {
        tracing::warn!(
            "rp_filter of {of} cannot be set to {number} ({error}): packets to virtual MACs may be \
             dropped; set net.ipv4.conf.all.rp_filter to 0 by sysctl"
        );
    }
}
