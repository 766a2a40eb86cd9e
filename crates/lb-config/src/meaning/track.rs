//! `track_file`, `vrrp_track_process` and `bfd_instance`.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use super::table::{Keyword, Table, Takes};
use super::{Context, Draft};
use crate::diagnostic::Class;
use crate::model::{ArgumentMatch, BfdInstance, InitFile, TrackFile, TrackProcess};
use crate::syntax::Line;

/// What is read here.
#[derive(Debug, Default)]
pub(crate) struct Drafts {
    pub(crate) files: Vec<TrackFile>,
    pub(crate) processes: Vec<TrackProcess>,
    pub(crate) bfds: Vec<BfdInstance>,
    names: HashSet<(&'static str, String)>,
}

impl Drafts {
    /// Whether a name is new; if not, its block is to be read and left out, a session's is read over.
    fn is_new(&mut self, what: &'static str, context: &mut Context<'_>, line: &Line) -> bool {
        let name = line.str(1).to_owned();
        let is_new = self.names.insert((what, name.clone()));
        if !is_new {
            let message = format!("`{what} {name}` is defined before; the first one counts");
            let diagnostic = context.diags.warn("duplicate-name", line.place_from(1), message);
            if what != "bfd_instance" {
                // keepalived says nothing.
                diagnostic.class(Class::Note);
            }
            // Of the lines of others it complains as ever.
            if what == "bfd_instance" {
                context.skip_block();
            }
        }
        is_new
    }
}

pub(super) static TRACK_FILE: Table<TrackFile> = Table {
    block: "track_file",
    keywords: &[
        Keyword::new("file", Takes::Text(|f: &mut TrackFile, text| f.path = text.to_owned())),
        Keyword::or("weight", "1", Takes::Words { words: 1, read: file_weight }),
        Keyword::new("init_file", Takes::Words { words: 0, read: init_file }),
    ],
    also: &[],
};

/// `N [reverse]`
pub(super) fn weight(
    context: &mut Context<'_>,
    line: &Line,
    most: i64,
    default: &str,
) -> Option<(i16, bool)> {
    let weight = context.integer_or(line, 1, -most, most, default)?;
    let reverse = match line.word(2) {
        None => false,
        Some(word) if word.text == "reverse" => true,
        Some(word) => {
            let message = format!("`{}` is not `reverse` and is ignored", word.text);
            context.diags.warn("weight", word.place, message);
            false
        }
    };
    Some((weight as i16, reverse))
}

fn file_weight(file: &mut TrackFile, context: &mut Context<'_>, line: &Line) {
    if let Some((weight, reverse)) = weight(context, line, 254, "1") {
        (file.weight, file.reverse) = (weight, reverse);
    }
}

fn init_file(file: &mut TrackFile, context: &mut Context<'_>, line: &Line) {
    let mut init = InitFile::default();
    for index in 1..line.len() {
        if line.str(index) == "overwrite" {
            init.overwrite = true;
        } else if let Some(value) = context.integer_or(line, index, i64::MIN, i64::MAX, "0") {
            init.value = value;
        }
    }
    file.init = Some(init);
}

/// Reads a `track_file`.
pub(super) fn file(draft: &mut Draft, context: &mut Context<'_>, line: &Line) {
    let is_new = draft.top.tracked.is_new("track_file", context, line);
    let mut file = TrackFile {
        name: line.str(1).to_owned(),
        path: String::new(),
        weight: 1,
        reverse: false,
        init: None,
    };
    context.block(&TRACK_FILE, &mut file, line);
    if file.path.is_empty() {
        let message = format!("`track_file {}` names no file and is removed", file.name);
        context.diags.warn("track-file", line.place(), message).hint("add `file PATH`");
        return;
    }
    if !is_new {
        return;
    }
    context.tracked.files.insert(file.name.clone(), (file.weight, file.reverse));
    draft.top.tracked.files.push(file);
}

const fn delay(name: &'static str, set: fn(&mut TrackProcess, Duration)) -> Keyword<TrackProcess> {
    Keyword::or(name, "0", Takes::Seconds { min: 1, max: 3_600_000_000, places: 6, set })
}

pub(super) static TRACK_PROCESS: Table<TrackProcess> = Table {
    block: "vrrp_track_process",
    keywords: &[
        Keyword::new("process", Takes::Words { words: 1, read: process_words }),
        Keyword::new("param_match", Takes::Words { words: 0, read: param_match }),
        Keyword::or("weight", "0", Takes::Words { words: 1, read: process_weight }),
        Keyword::or(
            "quorum",
            "1",
            Takes::Integer { min: 1, max: 65_535, set: |p, n| p.quorum = n as u16 },
        ),
        Keyword::new(
            "quorum_max",
            Takes::Integer { min: 0, max: 65_535, set: |p, n| p.quorum_max = Some(n as u16) },
        ),
        delay("delay", |p, time| (p.terminate_delay, p.fork_delay) = (time, time)),
        delay("terminate_delay", |p, time| p.terminate_delay = time),
        delay("fork_delay", |p, time| p.fork_delay = time),
        Keyword::new("full_command", Takes::Flag(|p| p.full_command = true)),
    ],
    also: &[],
};

fn process_words(process: &mut TrackProcess, _: &mut Context<'_>, line: &Line) {
    process.process = line.words_from(1).map(|word| word.text.to_owned()).collect();
    if process.process.len() > 1 && process.arguments == ArgumentMatch::None {
        process.arguments = ArgumentMatch::Exact;
    }
}

fn param_match(process: &mut TrackProcess, context: &mut Context<'_>, line: &Line) {
    process.arguments = match line.word(1).map(|word| word.text) {
        None => ArgumentMatch::Exact,
        Some("initial") => ArgumentMatch::Initial,
        Some("partial") => ArgumentMatch::Partial,
        Some(other) => {
            let message = format!("`{other}` is no way to compare arguments and is ignored");
            context
                .diags
                .warn("param-match", line.place_from(1), message)
                .hint("use initial or partial, or nothing for all of them");
            return;
        }
    };
}

fn process_weight(process: &mut TrackProcess, context: &mut Context<'_>, line: &Line) {
    if let Some((weight, reverse)) = weight(context, line, 254, "0") {
        (process.weight, process.reverse) = (weight, reverse);
    }
}

/// Reads a `vrrp_track_process`.
pub(super) fn process(draft: &mut Draft, context: &mut Context<'_>, line: &Line) {
    let is_new = draft.top.tracked.is_new("vrrp_track_process", context, line);
    let mut process = TrackProcess {
        name: line.str(1).to_owned(),
        process: Vec::new(),
        arguments: ArgumentMatch::None,
        weight: 0,
        reverse: false,
        quorum: 1,
        quorum_max: None,
        terminate_delay: Duration::ZERO,
        fork_delay: Duration::ZERO,
        full_command: false,
    };
    context.block(&TRACK_PROCESS, &mut process, line);
    let name = &process.name;
    if process.process.is_empty() {
        let message = format!("`vrrp_track_process {name}` names no process and is removed");
        context.diags.warn("track-process", line.place(), message).hint("add `process NAME`");
        return;
    }
    if process.quorum_max.is_some_and(|most| most > 0 && most < process.quorum) {
        let message = format!("`vrrp_track_process {name}` wants more than its quorum_max");
        context.diags.warn("track-process", line.place(), message).hint("it is removed");
        return;
    }
    if !is_new {
        return;
    }
    context.tracked.processes.insert(name.clone(), (process.weight, process.reverse));
    draft.top.tracked.processes.push(process);
}

/// A BFD session as far as it is read.
pub(super) struct Bfd {
    neighbor: Option<IpAddr>,
    session: BfdInstance,
}

const fn interval(
    name: &'static str,
    default: &'static str,
    min: u64,
    set: fn(&mut Bfd, Duration),
) -> Keyword<Bfd> {
    Keyword::or(name, default, Takes::Milliseconds { min, max: 4_294_967_000, set })
}

const TTL: Keyword<Bfd> = Keyword::or(
    "ttl",
    "255, 64 for IPv6",
    Takes::Integer { min: 1, max: 255, set: |b: &mut Bfd, n| b.session.ttl = Some(n as u8) },
)
.aliases(&["hoplimit"]);

pub(super) static BFD: Table<Bfd> = Table {
    block: "bfd_instance",
    keywords: &[
        Keyword::new("source_ip", Takes::Address(|b: &mut Bfd, a| b.session.source = Some(a))),
        Keyword::new("neighbor_ip", Takes::Address(|b: &mut Bfd, a| b.neighbor = Some(a)))
            .aliases(&["neighbour_ip"]),
        interval("min_rx", "10", 1_000, |b, time| b.session.min_rx = time),
        interval("min_tx", "10", 1_000, |b, time| b.session.min_tx = time),
        interval("idle_tx", "1000", 1_000_000, |b, time| b.session.idle_tx = time),
        Keyword::or(
            "multiplier",
            "5",
            Takes::Integer { min: 1, max: 255, set: |b, n| b.session.multiplier = n as u8 },
        ),
        Keyword::new("passive", Takes::Flag(|b| b.session.passive = true)),
        TTL,
        Keyword::or(
            "max_hops",
            "0",
            Takes::Integer { min: -1, max: 255, set: |b, n| b.session.max_hops = n as i16 },
        ),
        Keyword::new("multihop", Takes::Switch(|b, on| b.session.multihop = on)),
        Keyword::or("weight", "0", Takes::Words { words: 1, read: bfd_weight }),
        Keyword::new("vrrp", Takes::Flag(|b| b.session.vrrp = true)),
        Keyword::new("checker", Takes::Flag(|b| b.session.checker = true)),
    ],
    also: &[],
};

fn bfd_weight(bfd: &mut Bfd, context: &mut Context<'_>, line: &Line) {
    if let Some((weight, reverse)) = weight(context, line, 253, "0") {
        (bfd.session.weight, bfd.session.reverse) = (weight, reverse);
    }
}

/// Longest name of a session, bytes.
const LONGEST_NAME: usize = 31;

/// Reads a `bfd_instance`.
pub(super) fn bfd(draft: &mut Draft, context: &mut Context<'_>, line: &Line) {
    if line.str(1).len() > LONGEST_NAME {
        let message = format!("the name of a BFD instance has at most {LONGEST_NAME} bytes");
        context.diags.warn("bfd-name", line.place_from(1), message).hint("the block is skipped");
        context.skip_block();
        return;
    }
    if !draft.top.tracked.is_new("bfd_instance", context, line) {
        return;
    }
    let mut bfd = Bfd {
        neighbor: None,
        session: BfdInstance {
            name: line.str(1).to_owned(),
            neighbor: IpAddr::from([0, 0, 0, 0]),
            source: None,
            min_rx: Duration::from_millis(10),
            min_tx: Duration::from_millis(10),
            idle_tx: Duration::from_secs(1),
            multiplier: 5,
            passive: false,
            ttl: None,
            max_hops: 0,
            multihop: false,
            weight: 0,
            reverse: false,
            vrrp: false,
            checker: false,
        },
    };
    context.block(&BFD, &mut bfd, line);
    let Bfd { neighbor, session } = bfd;
    let Some(neighbor) = neighbor else {
        let message = format!("`bfd_instance {}` has no neighbour and is removed", session.name);
        context.diags.warn("bfd-neighbor", line.place(), message).hint("add `neighbor_ip ADDRESS`");
        return;
    };
    if draft.top.tracked.bfds.iter().any(|other| other.neighbor == neighbor) {
        let message = format!("`bfd_instance {}` has the neighbour of another", session.name);
        context.diags.warn("bfd-neighbor", line.place(), message).hint("it is removed");
        return;
    }
    if session.source.is_some_and(|source| source.is_ipv4() != neighbor.is_ipv4()) {
        let message = format!("`bfd_instance {}` mixes IPv4 and IPv6 and is removed", session.name);
        context.diags.warn("bfd-family", line.place(), message);
        return;
    }
    // Both hear of it when neither is named.
    let (vrrp, checker) = match (session.vrrp, session.checker) {
        (false, false) => (true, true),
        named => named,
    };
    context.tracked.bfds.insert(session.name.clone(), (session.weight, session.reverse));
    draft.top.tracked.bfds.push(BfdInstance { neighbor, vrrp, checker, ..session });
}
