//! Statements as TOML; [`crate::toml`] says how.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::{Out, is_plain, meaningless};
use crate::reference::Kind;
use crate::statement::{Statement, What, is_command};
use crate::toml::{Head, head, snake};

/// Blocks that are there often as a rule.
const OFTEN: [&str; 2] = ["url", "host"];

/// Writes the top level.
pub(super) fn write(out: &mut Out, statements: &[Statement]) {
    table(out, statements, "", "");
}

/// Writes the keys of a table, then its tables; `header` is what their headers start with.
fn table(out: &mut Out, statements: &[Statement], path: &str, header: &str) {
    let mut values: HashMap<&str, Vec<&Statement>> = HashMap::new();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for statement in statements.iter().filter(|statement| meaningless(statement).is_none()) {
        let Some(name) = statement.name() else { continue };
        if is_table(statement) {
            *counts.entry(name).or_default() += 1;
        } else {
            values.entry(name).or_default().push(statement);
        }
    }
    for statement in statements {
        if let Some(why) = meaningless(statement) {
            out.lost("", statement, why);
        } else if let Some(all) = statement.name().and_then(|name| values.remove(name))
            && !is_table(statement)
        {
            key(out, &all);
        } else if is_table(statement)
            && let Some(name) = statement.name()
        {
            // A table is not a value: it is given back for those that follow.
            values.remove(name).map(|all| values.insert(name, all));
        }
    }
    for statement in statements.iter().filter(|statement| is_table(statement)) {
        let Some(name) = statement.name() else { continue };
        let inner = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        let header = match header {
            "" => snake(name),
            header => format!("{header}.{}", snake(name)),
        };
        let often = counts[name] > 1 || head(&inner) != Head::None || OFTEN.contains(&name);
        if !out.text.is_empty() {
            out.text += "\n";
        }
        statement.before.iter().for_each(|comment| out.comment("", comment));
        out.text += &if often { format!("[[{header}]]") } else { format!("[{header}]") };
        out.end(statement.behind.as_deref());
        write_head(out, head(&inner), statement);
        let block = statement.block.as_deref().unwrap_or_default();
        if statement.is_list() {
            list(out, "entries", &[statement]);
        } else {
            table(out, block, &inner, &header);
        }
    }
}

/// Whether a statement is written as a table.
fn is_table(statement: &Statement) -> bool {
    match statement.what {
        What::Keyword { name: "virtual_server_group", .. } => statement.block.is_some(),
        What::Keyword { kind: Kind::Block, .. } => {
            statement.block.is_some() && !statement.is_list()
        }
        _ => false,
    }
}

fn write_head(out: &mut Out, head: Head, statement: &Statement) {
    let words = statement.words.get(1..).unwrap_or_default();
    let pair = match (head, words) {
        (Head::None, _) | (_, []) => return,
        (Head::Name, [name]) => ("name", string(name)),
        (Head::Name, several) => ("name", array(several)),
        (Head::Server, [key, value]) if key == "fwmark" => ("fwmark", number_or_string(value)),
        (Head::Server, [key, value]) if key == "group" => ("group", string(value)),
        (_, [address, port]) => {
            let both = address.parse::<IpAddr>().ok().zip(port.parse::<u16>().ok());
            match both {
                Some(both) => ("address", string(&SocketAddr::from(both).to_string())),
                None => ("address", string(&words.join(" "))),
            }
        }
        (_, words) => ("address", string(&words.join(" "))),
    };
    out.text += &format!("{} = {}\n", pair.0, pair.1);
}

/// Writes a key with what all statements of one keyword say.
fn key(out: &mut Out, all: &[&Statement]) {
    let Some((first, What::Keyword { name, kind })) = all.first().map(|first| (first, first.what))
    else {
        return;
    };
    if first.block.is_some() || kind == Kind::List {
        list(out, name, all);
        return;
    }
    let values: Vec<String> = all.iter().map(|statement| value(statement, name, kind)).collect();
    for statement in all {
        statement.before.iter().for_each(|comment| out.comment("", comment));
    }
    let text = match &*values {
        [one] => one.clone(),
        [first, ..] if values.iter().all(|value| value == "true") => first.clone(),
        _ => {
            let values = all.iter().zip(values).map(|(statement, value)| match kind {
                Kind::Words | Kind::Command if value != "true" => {
                    array(words(statement, name, kind))
                }
                _ => value,
            });
            format!("[{}]", values.collect::<Vec<_>>().join(", "))
        }
    };
    let behind: Vec<&str> = all.iter().filter_map(|s| s.behind.as_deref()).collect();
    out.text += &format!("{} = {text}", snake(name));
    out.end((!behind.is_empty()).then(|| behind.join("; ")).as_deref());
}

/// The words of a statement behind its keyword.
fn words<'s>(statement: &'s Statement, name: &str, kind: Kind) -> &'s [String] {
    let words = if is_command(name, kind) { &statement.command } else { &statement.words };
    words.get(1..).unwrap_or_default()
}

fn value(statement: &Statement, name: &str, kind: Kind) -> String {
    let words = words(statement, name, kind);
    match (kind, words) {
        (Kind::Flag, _) | (_, []) => "true".to_owned(),
        (Kind::Switch, [word, ..]) => match crate::meaning::boolean(word) {
            Some(on) => on.to_string(),
            None => string(word),
        },
        (Kind::Integer { .. } | Kind::Seconds { .. } | Kind::Milliseconds { .. }, [word, ..]) => {
            number_or_string(word)
        }
        (Kind::Text | Kind::Address, [word, ..]) => string(word),
        (_, [word]) if is_command(name, kind) => string(word),
        (_, words) if is_command(name, kind) => array(words),
        (_, [word]) if is_plain(word) => number_or_string(word),
        (_, words) if words.iter().all(|word| is_plain(word)) => string(&words.join(" ")),
        (_, words) => array(words),
    }
}

/// Writes the lines of one or several blocks as one array.
fn list(out: &mut Out, name: &str, all: &[&Statement]) {
    if name != "entries" {
        for statement in all {
            let comments = statement.before.iter().chain(&statement.behind);
            comments.for_each(|comment| out.comment("", comment));
        }
    }
    let entries: Vec<&Statement> =
        all.iter().flat_map(|statement| statement.block.iter().flatten()).collect();
    let text = |entry: &Statement| match &*entry.words {
        words if words.iter().all(|word| is_plain(word)) => string(&words.join(" ")),
        words => array(words),
    };
    out.text += &format!("{} = [", snake(name));
    match &*entries {
        [] => out.text += "]\n",
        [one] if one.before.is_empty() && one.behind.is_none() => {
            out.text += &format!("{}]\n", text(one));
        }
        several => {
            out.text += "\n";
            for entry in several {
                entry.before.iter().for_each(|comment| out.comment("    ", comment));
                out.text += &format!("    {},", text(entry));
                out.end(entry.behind.as_deref());
            }
            out.text += "]\n";
        }
    }
}

fn string(text: &str) -> String {
    ::toml::Value::String(text.to_owned()).to_string()
}

fn array(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| string(word)).collect();
    format!("[{}]", words.join(", "))
}

/// A number if it is written as TOML writes it.
fn number_or_string(word: &str) -> String {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let whole = |text: &str| {
        let text = text.strip_prefix('-').unwrap_or(text);
        digits(text) && text.len() < 18 && (text == "0" || !text.starts_with('0'))
    };
    let number = match word.split_once('.') {
        Some((before, after)) => whole(before) && digits(after) && word.len() < 18,
        None => whole(word),
    };
    if number { word.to_owned() } else { string(word) }
}
