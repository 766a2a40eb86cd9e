//! Which keywords a configuration uses, and where.

use std::collections::HashMap;

use super::table::{Keyword, Needed};
use crate::Options;
use crate::diagnostic::{Class, Diagnostics, Place};
use crate::source::Span;

/// Blocks and lines nothing acts on, whatever they say.
const IDLE: [&str; 20] = [
    "track_bfd",
    "bfd_instance",
    "track_group",
    "garp_group",
    "static_ipaddress",
    "static_routes",
    "static_rules",
    "virtual_routes",
    "virtual_rules",
    "nexthop",
    "encap",
    "SSL",
    "auth_hmac",
    "SMTP_CHECK",
    "host",
    "PING_CHECK",
    "UDP_CHECK",
    "DNS_CHECK",
    "FILE_CHECK",
    "BFD_CHECK",
];

/// Whether nothing acts on a block, whatever it says.
pub(crate) fn is_idle(block: &str) -> bool {
    IDLE.contains(&block)
}

/// One use of a keyword or of an option of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The block, as [`crate::Block::name`].
    pub block: &'static str,
    /// The keyword, by its current name.
    pub keyword: &'static str,
    /// Whether the daemon acts on it.
    pub acted_on: bool,
    /// Where it is; `None` for what comes from no file.
    pub span: Option<Span>,
}

/// Every use if asked for, and a count of those nothing acts on.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    all: Vec<Use>,
    idle: Vec<Idle>,
    needed: Vec<(&'static str, &'static str, Needed, Place)>,
    known: HashMap<(&'static str, &'static str), usize>,
}

/// A keyword that nothing acts on yet.
#[derive(Debug)]
struct Idle {
    block: &'static str,
    keyword: &'static str,
    count: usize,
    first: Place,
}

impl Uses {
    /// Takes note of a use.
    pub(crate) fn note<B>(
        &mut self,
        block: &'static str,
        keyword: &Keyword<B>,
        place: impl FnOnce() -> Place,
        options: &Options,
    ) {
        let name = keyword.name;
        // Of a block nothing acts on, its own keyword says it once for all in it.
        let in_idle = !keyword.acted_on || options.record_uses;
        let in_idle = in_idle && is_idle(block);
        let acted_on = keyword.acted_on && !in_idle;
        let said = acted_on || in_idle;
        if said && !options.record_uses {
            return;
        }
        let place = place();
        if options.record_uses {
            self.all.push(Use { block, keyword: name, acted_on, span: place.span });
        }
        if said {
            return;
        }
        if let Some(needed) = keyword.needed {
            self.needed.push((block, name, needed, place));
            return;
        }
        let next = self.idle.len();
        let index = *self.known.entry((block, name)).or_insert(next);
        match self.idle.get_mut(index) {
            Some(idle) => idle.count += 1,
            None => self.idle.push(Idle { block, keyword: name, count: 1, first: place }),
        }
    }

    /// Says of each keyword nothing acts on, once, that it is so; refuses the configuration for each that is needed.
    pub(crate) fn report(&self, diags: &mut Diagnostics) {
        for (block, keyword, Needed { id, without }, place) in &self.needed {
            let of = if block.is_empty() { String::new() } else { format!(" of `{block}`") };
            let message = format!("`{keyword}`{of} is not built yet, and without it {without}");
            diags.error(id, *place, message).class(Class::Unbuilt).hint(format!(
                "keepalived is needed for this file; `lbd --allow {id}` runs it without `{keyword}`"
            ));
        }
        for Idle { block, keyword, count, first } in &self.idle {
            let place = if block.is_empty() { String::new() } else { format!(" of `{block}`") };
            let often = if *count == 1 { String::new() } else { format!(" ({count} times)") };
            let message = format!("`{keyword}`{place} is read, not acted on yet{often}");
            diags.remark("not-acted-on", *first, message);
        }
    }

    /// Every use, in the order of the file.
    pub(crate) fn into_all(self) -> Vec<Use> {
        self.all
    }
}
