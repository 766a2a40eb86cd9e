//! The defaults that hold, as statements among those that are written.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::diagnostic::Place;
use crate::reference::{self, Block, Keyword, Kind};
use crate::statement::{Statement, What};

/// What a block inherits: the words of keywords set further out, and where that is.
type Outer = HashMap<&'static str, (Vec<String>, &'static str)>;

/// Adds the defaults of every block that is there, and of `global_defs` if it is not.
pub(super) fn add(statements: &mut Vec<Statement>) {
    if !statements.iter().any(|statement| statement.name() == Some("global_defs")) {
        let what = What::Keyword { name: "global_defs", kind: Kind::Block };
        let block = Some(Vec::new());
        statements.insert(0, Statement { block, ..made(what, vec!["global_defs".to_owned()]) });
    }
    // Several blocks of settings are one, or a default of one would hide what another says.
    let is_global = |statement: &Statement| statement.name() == Some("global_defs");
    let mut later = Vec::new();
    let mut seen = false;
    statements.retain_mut(|statement| {
        let again = is_global(statement) && std::mem::replace(&mut seen, true);
        if again {
            later.extend(statement.block.take().unwrap_or_default());
        }
        !again
    });
    let first = statements.iter_mut().find(|statement| is_global(statement));
    if let Some(block) = first.and_then(|statement| statement.block.as_mut()) {
        block.extend(later);
    }
    let blocks = reference::tables();
    let blocks = blocks.iter().map(|block| (block.path, block)).collect();
    // Instances take what they lack from the keyword of `global_defs` that starts with `vrrp_`, those of
    // CARP from one with `carp_` too, and some from the same keyword.
    let (mut global, mut carp) = (Outer::new(), Outer::new());
    let inner = statements.iter().filter(|statement| statement.name() == Some("global_defs"));
    for statement in inner.flat_map(|statement| statement.block.iter().flatten()) {
        let Some(name) = statement.name() else { continue };
        let set = || (statement.words[1..].to_vec(), "global_defs");
        match name.strip_prefix("carp_") {
            Some(name) => carp.insert(name, set()),
            None => global.insert(name.strip_prefix("vrrp_").unwrap_or(name), set()),
        };
    }
    carp.extend(global.clone());
    for statement in statements {
        let outer = match statement.name() {
            Some("vrrp_instance") => &global,
            Some("carp_instance") => &carp,
            _ => &Outer::new(),
        };
        complete("", statement, &blocks, outer);
    }
}

fn complete(
    path: &str,
    statement: &mut Statement,
    blocks: &HashMap<&'static str, &Block>,
    outer: &Outer,
) {
    let Some(name) = statement.name().filter(|_| !statement.is_list()) else { return };
    let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
    let (Some(table), Some(block)) = (blocks.get(&*path), &mut statement.block) else { return };
    let mut inherited = outer.clone();
    if path.starts_with("virtual_server") {
        for inner in &*block {
            if let Some(set) = inner.name() {
                inherited.insert(set, (inner.words[1..].to_vec(), name));
            }
        }
    }
    for inner in &mut *block {
        complete(&path, inner, blocks, &inherited);
    }
    let min_garp = outer.contains_key("min_garp")
        || block.iter().any(|statement| statement.name() == Some("vrrp_min_garp"));
    let mut prose = Vec::new();
    let first = block.len();
    for keyword in &table.keywords {
        let has = |name: &str| block.iter().any(|statement| statement.name() == Some(name));
        if has(keyword.name) || (keyword.name == "advskew" && has("carpnodes")) {
            continue;
        }
        let what = What::Keyword { name: keyword.name, kind: keyword.kind };
        let mut words = vec![keyword.name.to_owned()];
        let behind = match outer.get(keyword.name) {
            Some((values, block)) if is_inherited(&path, keyword.name) => {
                words.extend_from_slice(values);
                format!("as in {block}")
            }
            _ if min_garp && keyword.name.contains("garp_") => {
                prose.push(format!("{}: as vrrp_min_garp has it (default)", keyword.name));
                continue;
            }
            _ => match literal(keyword) {
                Some("") => continue,
                Some(value) => {
                    words.push(value.to_owned());
                    "default".to_owned()
                }
                None => {
                    prose.push(format!("{}: {} (default)", keyword.name, keyword.default));
                    continue;
                }
            },
        };
        block.push(Statement { behind: Some(behind), ..made(what, words) });
    }
    // Comments stand before a statement.
    let at = if first < block.len() { first } else { 0 };
    if let Some(statement) = block.get_mut(at) {
        statement.before.extend(prose);
    }
}

/// Whether a keyword of a block takes what it lacks from the same keyword further out.
fn is_inherited(path: &str, keyword: &str) -> bool {
    let of_instance = matches!(path, "vrrp_instance" | "carp_instance");
    match keyword {
        "weight" | "inhibit_on_failure" => path == "virtual_server/real_server",
        "alpha" | "retry" | "delay_before_retry" | "warmup" | "delay_loop" | "connect_timeout" => {
            path.starts_with("virtual_server")
        }
        // Said by a checker, it would be a name of TLS as well.
        "virtualhost" => path == "virtual_server/real_server",
        "version"
        | "down_timer_adverts"
        | "skip_check_adv_addr"
        | "lower_prio_no_advert"
        | "higher_prio_send_advert"
        | "owner_ignore_adverts" => path == "vrrp_instance",
        "preempt" => path == "carp_instance",
        "handover" => of_instance,
        _ => of_instance && keyword.starts_with("garp_"),
    }
}

/// Defaults that are words of the language.
const WORDS: [&str; 9] = ["carp", "wlc", "NAT", "UDP", "SOA", "ipip", "global", "time", "enforce"];

/// A default as a word of the language; empty if there is none, `None` if it takes more to say it.
fn literal(keyword: &Keyword) -> Option<&'static str> {
    let default = keyword.default;
    let seconds = default.strip_suffix(" seconds").or_else(|| default.strip_suffix(" second"));
    let word = seconds.unwrap_or(default);
    let number = word.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.'));
    // Some can be off, but not be said to be.
    let sayable = match keyword.kind {
        Kind::Seconds { min, .. } => min == 0 || word != "0",
        _ => true,
    };
    let switch = keyword.kind == Kind::Switch && matches!(word, "on" | "off");
    let address = word.parse::<IpAddr>().is_ok();
    (number && sayable || switch || address || WORDS.contains(&word)).then_some(word)
}

fn made(what: What, words: Vec<String>) -> Statement {
    Statement {
        what,
        command: words.clone(),
        words,
        place: Place::NOWHERE,
        block: None,
        before: Vec::new(),
        behind: None,
    }
}
