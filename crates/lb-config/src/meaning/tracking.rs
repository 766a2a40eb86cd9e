//! Lists of what an instance or a group tracks.

use std::collections::{HashMap, HashSet};

use super::Context;
use super::table::{Keyword, Table, Takes};
use crate::diagnostic::Place;
use crate::syntax::Line;

/// Lists of what is tracked, of an instance or a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tracking {
    pub(crate) interfaces: TrackedItems,
    pub(crate) scripts: TrackedItems,
    pub(crate) files: TrackedItems,
    pub(crate) processes: TrackedItems,
    pub(crate) bfds: TrackedItems,
}

/// One such list; no name is in it twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrackedItems {
    pub(crate) items: Vec<TrackedItem>,
    names: HashSet<String>,
}

/// An entry of such a list.
#[derive(Clone, Debug)]
pub(crate) struct TrackedItem {
    pub(crate) name: String,
    pub(crate) weight: i16,
    pub(crate) reverse: bool,
    pub(crate) place: Place,
}

/// Weight and direction as an entry says them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effect {
    weight: i16,
    reverse: bool,
    most: i16,
}

const OPTIONS: &[Keyword<Effect>] = &[
    // ±254 is accepted and means the most there is.
    Keyword::new(
        "weight",
        Takes::Integer {
            min: -254,
            max: 254,
            set: |e, n| e.weight = (n as i16).clamp(-e.most, e.most),
        },
    ),
    Keyword::new("reverse", Takes::Flag(|e| e.reverse = true)),
];

const NO_REVERSE: &[Keyword<Effect>] =
    &[Keyword::new("noreverse", Takes::Flag(|e| e.reverse = false))];

/// What can be reversed where it is defined can be turned back.
const fn table(block: &'static str) -> Table<Effect> {
    Table { block, keywords: OPTIONS, also: &[NO_REVERSE] }
}

pub(super) static INTERFACE: Table<Effect> =
    Table { block: "track_interface", keywords: OPTIONS, also: &[] };
pub(super) static SCRIPT: Table<Effect> = table("track_script");
pub(super) static FILE: Table<Effect> = table("track_file");
pub(super) static PROCESS: Table<Effect> = table("track_process");
/// What happens as long as nothing acts on `track_bfd`.
pub(super) const WITHOUT_BFD: &str = "a session that is down would be no reason to step down";

pub(super) static BFD: Table<Effect> = table("track_bfd");

/// An entry of `track_interface`.
pub(crate) fn track_interface(track: &mut Tracking, context: &mut Context<'_>, line: &Line) {
    let Some(name) = context.interface(line, 0) else { return };
    tracked(&mut track.interfaces, context, line, name, (0, false), &INTERFACE, 253);
}

/// An entry of `track_script`; the script must have been defined.
pub(crate) fn track_script(track: &mut Tracking, context: &mut Context<'_>, line: &Line) {
    let defaults = known(&context.scripts, "script", "vrrp_script", line);
    defined(&mut track.scripts, context, line, defaults, &SCRIPT, 253);
}

/// An entry of `track_file`; the file must have been defined.
pub(crate) fn track_file(track: &mut Tracking, context: &mut Context<'_>, line: &Line) {
    let defaults = known(&context.tracked.files, "file", "track_file", line);
    defined(&mut track.files, context, line, defaults, &FILE, 254);
}

/// An entry of `track_process`; the process must have been defined.
pub(crate) fn track_process(track: &mut Tracking, context: &mut Context<'_>, line: &Line) {
    let defaults = known(&context.tracked.processes, "process", "vrrp_track_process", line);
    defined(&mut track.processes, context, line, defaults, &PROCESS, 254);
}

/// An entry of `track_bfd`; the session must have been defined.
pub(crate) fn track_bfd(track: &mut Tracking, context: &mut Context<'_>, line: &Line) {
    let defaults = known(&context.tracked.bfds, "BFD instance", "bfd_instance", line);
    defined(&mut track.bfds, context, line, defaults, &BFD, 253);
}

/// Weight and direction of a name that is defined, or message and hint about one that is not.
fn known(
    defined: &HashMap<String, (i16, bool)>,
    what: &str,
    block: &str,
    line: &Line,
) -> Result<(i16, bool), (String, String)> {
    let name = line.str(0);
    if let Some(defaults) = defined.get(name) {
        return Ok(*defaults);
    }
    let nearest =
        defined.keys().map(|known| (strsim::damerau_levenshtein(known, name), known)).min();
    let hint = match nearest {
        Some((distance, known)) if distance <= known.len() / 3 => {
            format!("did you mean `{known}`?")
        }
        _ => format!("define it before this place, as in `{block} {name} {{ ... }}`"),
    };
    Err((format!("{what} `{name}` is not known here and not tracked"), hint))
}

fn defined(
    list: &mut TrackedItems,
    context: &mut Context<'_>,
    line: &Line,
    defaults: Result<(i16, bool), (String, String)>,
    table: &Table<Effect>,
    most: i16,
) {
    match defaults {
        Ok(defaults) => {
            tracked(list, context, line, line.str(0).to_owned(), defaults, table, most);
        }
        Err((message, hint)) => {
            context.diags.warn("track-unknown", line.keyword_place(), message).hint(hint);
        }
    }
}

/// `NAME [weight N [reverse|noreverse]]`
fn tracked(
    list: &mut TrackedItems,
    context: &mut Context<'_>,
    line: &Line,
    name: String,
    (weight, reverse): (i16, bool),
    table: &Table<Effect>,
    most: i16,
) {
    let mut effect = Effect { weight, reverse, most };
    if !context.options(table, &mut effect, line, 1) {
        return;
    }
    if !list.names.insert(name.clone()) {
        let message = format!("`{name}` is tracked already; this line is ignored");
        context.diags.warn("track-duplicate", line.keyword_place(), message);
        return;
    }
    let Effect { weight, reverse, .. } = effect;
    list.items.push(TrackedItem { name, weight, reverse, place: line.keyword_place() });
}
