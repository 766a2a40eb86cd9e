//! The tables as data, with a line of text for each keyword.

use std::collections::HashMap;

use super::table::{Keyword, Table, Takes};
use super::{
    carp, check, check_more, daemon, global, group, hmac, lvs, lvs_method, route, router, rule,
    top, track, tracking, uses, vip, vrrp, vrrp_script,
};
use crate::reference::{self, Block, Kind};

/// `[PATH]`, then `NAME | ARGUMENTS | DEFAULT | SINCE | MEANING` for each keyword; arguments and default
/// only where the tables do not say them.
const TEXT: &str = include_str!("reference.txt");

/// Every block of the language with its keywords.
pub fn tables() -> Vec<Block> {
    let text = Text::new();
    let mut blocks = Vec::new();
    let mut add = |path: &'static str, block: Block| blocks.push(Block { path, ..block });
    add("", describe(&global::TOP, "", &text));
    add("global_defs", describe(&global::GLOBAL_DEFS, "global_defs", &text));
    add("global_defs/lvs_sync_daemon", describe(&daemon::SYNC_DAEMON, "lvs_sync_daemon", &text));
    add("global_defs/lvs_timeouts", describe(&global::LVS_TIMEOUTS, "lvs_timeouts", &text));
    add("track_group", describe(&top::TRACK_GROUP, "track_group", &text));
    add("vrrp_sync_group", describe(&group::TABLE, "vrrp_sync_group", &text));
    add("garp_group", describe(&top::GARP_GROUP, "garp_group", &text));
    add("vrrp_instance", describe(&vrrp::TABLE, "vrrp_instance", &text));
    add("vrrp_instance/authentication", describe(&vrrp::AUTHENTICATION, "authentication", &text));
    add("vrrp_instance/auth_hmac", describe(&hmac::TABLE, "auth_hmac", &text));
    add("vrrp_instance/unicast_peer", describe(&router::UNICAST_PEER, "unicast_peer", &text));
    add("vrrp_instance/virtual_ipaddress", describe(&vip::VIRTUAL, "virtual_ipaddress", &text));
    add("vrrp_instance/virtual_routes", describe(&route::VIRTUAL, "virtual_routes", &text));
    add("vrrp_instance/virtual_routes/nexthop", describe(&route::NEXT_HOP, "nexthop", &text));
    add("vrrp_instance/virtual_routes/encap", describe(&route::ENCAP_IP, "encap", &text));
    add("vrrp_instance/virtual_rules", describe(&rule::VIRTUAL, "virtual_rules", &text));
    for (path, table) in [
        ("vrrp_instance/track_interface", &tracking::INTERFACE),
        ("vrrp_instance/track_script", &tracking::SCRIPT),
        ("vrrp_instance/track_file", &tracking::FILE),
        ("vrrp_instance/track_process", &tracking::PROCESS),
        ("vrrp_instance/track_bfd", &tracking::BFD),
    ] {
        // Some of these lists are called as the blocks they refer to.
        add(path, describe_as(table, ["tracked", "tracked"], &text));
    }
    add("carp_instance", describe(&carp::TABLE, "vrrp_instance", &text));
    add("vrrp_script", describe(&vrrp_script::TABLE, "vrrp_script", &text));
    add("vrrp_track_process", describe(&track::TRACK_PROCESS, "vrrp_track_process", &text));
    add("track_file", describe(&track::TRACK_FILE, "track_file", &text));
    add("bfd_instance", describe(&track::BFD, "bfd_instance", &text));
    add("static_ipaddress", describe(&vip::STATIC, "virtual_ipaddress", &text));
    add("static_routes", describe(&route::STATIC, "virtual_routes", &text));
    add("static_rules", describe(&rule::STATIC, "virtual_rules", &text));
    add("SSL", describe(&top::SSL, "SSL", &text));
    add("virtual_server_group", positional("virtual_server_group", &text));
    add("virtual_server", describe(&lvs::SERVER, "virtual_server", &text));
    add("virtual_server/lvs_method", describe(&lvs_method::TUNNEL, "lvs_method", &text));
    add("virtual_server/real_server", describe(&lvs::REAL_SERVER, "real_server", &text));
    for (path, table) in [
        ("virtual_server/real_server/TCP_CHECK", &check::TCP),
        ("virtual_server/real_server/HTTP_GET", &check::HTTP),
        ("virtual_server/real_server/SSL_GET", &check::HTTPS),
        ("virtual_server/real_server/MISC_CHECK", &check::MISC),
        ("virtual_server/real_server/SMTP_CHECK", &check_more::SMTP),
        ("virtual_server/real_server/SMTP_CHECK/host", &check_more::HOST),
        ("virtual_server/real_server/PING_CHECK", &check_more::PING),
        ("virtual_server/real_server/UDP_CHECK", &check_more::UDP),
        ("virtual_server/real_server/DNS_CHECK", &check_more::DNS),
        ("virtual_server/real_server/FILE_CHECK", &check_more::FILE),
        ("virtual_server/real_server/BFD_CHECK", &check_more::BFD),
    ] {
        add(path, describe(table, "checker", &text));
    }
    add("virtual_server/real_server/HTTP_GET/url", describe(&check::URL, "url", &text));
    add("virtual_server/real_server/SSL_GET/url", describe(&check::TLS_URL, "url", &text));
    add("(line)", positional("(line)", &text));
    blocks
}

/// A line of the text.
#[derive(Clone, Copy)]
struct Entry {
    name: &'static str,
    arguments: &'static str,
    default: &'static str,
    since: &'static str,
    meaning: &'static str,
}

struct Text {
    sections: HashMap<&'static str, Vec<Entry>>,
}

impl Text {
    fn new() -> Text {
        let mut sections: HashMap<&'static str, Vec<Entry>> = HashMap::new();
        let mut section = "";
        for line in TEXT.lines().filter(|line| !line.is_empty() && !line.starts_with("; ")) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = name;
                continue;
            }
            let mut fields = line.splitn(5, " | ").map(str::trim);
            let mut field = || fields.next().unwrap_or_default();
            let entry = Entry {
                name: field(),
                arguments: field(),
                default: field(),
                since: field(),
                meaning: field(),
            };
            sections.entry(section).or_default().push(entry);
        }
        Text { sections }
    }

    /// What is said of a keyword: in the block's own section, else in the shared one.
    fn find(&self, sections: [&str; 2], name: &str) -> Option<Entry> {
        sections
            .iter()
            .filter_map(|section| self.sections.get(section))
            .find_map(|entries| entries.iter().find(|entry| entry.name == name).copied())
    }
}

fn describe<B>(table: &Table<B>, shared: &'static str, text: &Text) -> Block {
    describe_as(table, [table.block, shared], text)
}

fn describe_as<B>(table: &Table<B>, sections: [&'static str; 2], text: &Text) -> Block {
    let mut keywords = positional_words(table.block, sections, text);
    keywords.extend(table.all().map(|keyword| {
        let entry = text.find(sections, keyword.name);
        described(keyword, table.block, entry)
    }));
    Block { path: "", name: table.block, keywords }
}

fn described<B>(
    keyword: &Keyword<B>,
    block: &'static str,
    entry: Option<Entry>,
) -> reference::Keyword {
    let kind = kind(&keyword.takes);
    let said = entry.map_or("", |entry| entry.arguments);
    let default = match keyword.default {
        "" => entry.map_or("", |entry| entry.default),
        default => default,
    };
    reference::Keyword {
        name: keyword.name,
        aliases: keyword.aliases,
        deprecated: keyword.deprecated,
        kind,
        arguments: match (said, &keyword.takes) {
            ("", Takes::Words { words: 0, .. }) => String::new(),
            ("", _) => arguments(kind),
            _ => said.to_owned(),
        },
        default,
        acted_on: keyword.acted_on && !uses::is_idle(block),
        since: entry.map_or("", |entry| entry.since),
        meaning: entry.map_or("", |entry| entry.meaning),
    }
}

/// A block whose lines are no keywords.
fn positional(name: &'static str, text: &Text) -> Block {
    Block { path: "", name, keywords: positional_words(name, [name, name], text) }
}

fn positional_words(block: &str, sections: [&str; 2], text: &Text) -> Vec<reference::Keyword> {
    let entries = sections.iter().find_map(|section| text.sections.get(section));
    let entries = entries.into_iter().flatten();
    entries
        .filter(|entry| entry.name.starts_with('<') || sections[0].starts_with(['(', ' ']))
        .map(|entry| reference::Keyword {
            name: entry.name,
            aliases: &[],
            deprecated: &[],
            kind: Kind::Positional,
            arguments: entry.arguments.to_owned(),
            default: entry.default,
            acted_on: !uses::is_idle(block),
            since: entry.since,
            meaning: entry.meaning,
        })
        .collect()
}

pub(super) fn kind<B>(takes: &Takes<B>) -> Kind {
    match *takes {
        Takes::Flag(_) => Kind::Flag,
        Takes::Switch(_) => Kind::Switch,
        Takes::Integer { min, max, .. } => Kind::Integer { min, max },
        Takes::Seconds { min, max, .. } => Kind::Seconds { min, max },
        Takes::Milliseconds { min, max, .. } => Kind::Milliseconds { min, max },
        Takes::Text(_) | Takes::Word(_) => Kind::Text,
        Takes::Address(_) => Kind::Address,
        Takes::Command(_) | Takes::Program(_) => Kind::Command,
        Takes::Words { .. } | Takes::Part { .. } => Kind::Words,
        Takes::Block { .. } => Kind::Block,
        Takes::List { .. } => Kind::List,
    }
}

/// A synopsis for what says none.
fn arguments(kind: Kind) -> String {
    let range = |min: String, max: String, widest: bool| match widest {
        true => format!("{min}.."),
        false => format!("{min}..{max}"),
    };
    match kind {
        Kind::Flag | Kind::Positional => String::new(),
        Kind::Switch => "[BOOL]".to_owned(),
        Kind::Integer { min, max } => {
            range(min.to_string(), max.to_string(), max >= i64::from(i32::MAX))
        }
        Kind::Seconds { min, max } => {
            let seconds = |micros: u64| (micros as f64 / 1e6).to_string();
            format!("SECONDS {}", range(seconds(min), seconds(max), max >= 4_294_967_000_000))
        }
        Kind::Milliseconds { min, max } => {
            format!("MILLISECONDS {}..{}", min / 1_000, max / 1_000)
        }
        Kind::Text | Kind::Words => "WORD".to_owned(),
        Kind::Address => "ADDRESS".to_owned(),
        Kind::Command => "\"COMMAND [ARGUMENT...]\" [USER [GROUP]]".to_owned(),
        Kind::Block | Kind::List => "{ ... }".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_keyword_has_a_meaning_and_every_meaning_a_keyword() {
        let mut used = std::collections::HashSet::new();
        let blocks = tables();
        for block in &blocks {
            for keyword in &block.keywords {
                let place = format!("{}: {}", block.path, keyword.name);
                assert!(keyword.meaning.ends_with('.'), "{place}: {:?}", keyword.meaning);
                used.insert((keyword.name, keyword.meaning));
            }
        }
        for (section, entries) in Text::new().sections {
            for entry in entries {
                let known = used.contains(&(entry.name, entry.meaning));
                assert!(known, "[{section}] {} is in no table", entry.name);
            }
        }
    }

    #[test]
    fn paths_are_unique_and_no_name_stands_twice_in_a_block() {
        let mut paths = std::collections::HashSet::new();
        for block in tables() {
            assert!(paths.insert(block.path), "{} twice", block.path);
            let mut names = std::collections::HashSet::new();
            for keyword in &block.keywords {
                let others = keyword.aliases.iter().chain(keyword.deprecated).copied();
                for name in others.chain([keyword.name]) {
                    assert!(names.insert(name), "{}: {name} twice", block.path);
                }
            }
        }
    }
}
