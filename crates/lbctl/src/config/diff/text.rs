//! A difference as people read it.

use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value};

use super::changes::{self, Change, Fate, Section};
use super::words::{self, Word};

const HEAD: Style = Style::new().bold();
const ADDED: Style = AnsiColor::Green.on_default();
const REMOVED: Style = AnsiColor::Red.on_default();
const CHANGED: Style = AnsiColor::Yellow.on_default();

/// All sections; what is not to be coloured loses it where it is printed.
pub fn sections(sections: &[Section]) -> String {
    sections.iter().map(section).collect()
}

fn section(section: &Section) -> String {
    let (mark, style) = match section.fate {
        Fate::Added => ("+ ", ADDED),
        Fate::Removed => ("- ", REMOVED),
        Fate::Changed => ("", HEAD),
    };
    let space = if section.name.is_empty() { "" } else { " " };
    let mut text = format!("{style}{mark}{}{space}{}{style:#}\n", section.kind, section.name);
    section.changes.iter().for_each(|one| text += &change(one));
    text
}

fn change(change: &Change) -> String {
    let path = change.path.join(" ");
    let said = |side: &Value| value(&change.field, side);
    let known = |side: &Value| {
        // A thing whose name is in the path is not said again.
        if changes::name(side).is_some() { String::new() } else { format!(" {}", said(side)) }
    };
    match (&change.old, &change.new) {
        (Some(old), Some(new)) => {
            let (old, new) = (said(old), said(new));
            let said = if old == new { "another".to_owned() } else { format!("{old} -> {new}") };
            let colon = if path.is_empty() { "" } else { ": " };
            format!("  {CHANGED}~{CHANGED:#} {path}{colon}{said}\n")
        }
        (Some(old), None) => format!("  {REMOVED}- {path}{}{REMOVED:#}\n", known(old)),
        (None, Some(new)) => format!("  {ADDED}+ {path}{}{ADDED:#}\n", known(new)),
        (None, None) => String::new(),
    }
}

/// Fields that are not for everybody's eyes.
const SECRETS: [&str; 5] = ["password", "header_key", "key", "secret", "keys"];

/// The value of a field, in the words of a file.
pub fn value(field: &str, value: &Value) -> String {
    let several = |values: Vec<String>| values.join(", ");
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => choice(field, text),
        Value::Bool(on) => if *on { "on" } else { "off" }.to_owned(),
        Value::Number(_) => value.to_string(),
        Value::Array(_) if SECRETS.contains(&field) => "(secret)".to_owned(),
        Value::Array(values) => {
            format!("[{}]", several(values.iter().map(|one| self::value(field, one)).collect()))
        }
        Value::Object(fields) => match (fields.get("secs"), fields.get("nanos")) {
            (Some(secs), Some(nanos)) if fields.len() == 2 => {
                let nanos = nanos.as_f64().unwrap_or_default() / 1e9;
                format!("{} s", secs.as_f64().unwrap_or_default() + nanos)
            }
            _ => one(fields).unwrap_or_else(|| options(field, fields)),
        },
    }
}

/// The parts of a value, each behind its word, less what is not there or off.
fn options(field: &str, fields: &Map<String, Value>) -> String {
    let said = |name: &String, side: &Value| {
        if side.is_null() || side == &Value::Bool(false) {
            return None;
        }
        let (Word::Shown(word) | Word::Through(word)) = words::word(field, name);
        Some(if side == &Value::Bool(true) {
            word.to_owned()
        } else {
            format!("{word} {}", value(name, side))
        })
    };
    let said: Vec<String> = fields.iter().filter_map(|(name, side)| said(name, side)).collect();
    if said.is_empty() { "on".to_owned() } else { said.join(" ") }
}

/// A variant, a command, a prefix, or the peers of an instance.
fn one(fields: &Map<String, Value>) -> Option<String> {
    if let Some(Value::Array(argv)) = fields.get("argv") {
        let words: Vec<String> = argv.iter().map(|word| value("", word)).collect();
        return Some(words.join(" "));
    }
    if let (Some(address), Some(length)) = (fields.get("address"), fields.get("length")) {
        return Some(format!("{}/{length}", value("", address)));
    }
    let group = fields.get("Multicast").and_then(|multicast| multicast.get("group"));
    if let Some(group) = group {
        return Some(format!("multicast to {}", value("", group)));
    }
    if let Some(peers) = fields.get("Unicast").and_then(|unicast| unicast.get("peers")?.as_array())
    {
        let address = |peer: &Value| Some(value("", peer.get("address")?));
        return Some(peers.iter().filter_map(address).collect::<Vec<_>>().join(" "));
    }
    let (variant, inner) = fields.iter().next().filter(|_| fields.len() == 1)?;
    match variant.as_str() {
        "Bytes" | "Address" | "Seconds" => Some(value("", inner)),
        name if name.starts_with(|c: char| c.is_ascii_uppercase()) => {
            Some(format!("{} {}", name.to_ascii_lowercase(), value(name, inner)))
        }
        _ => None,
    }
}

/// One of several words, as a file has it; or a text, as it is.
fn choice(field: &str, text: &str) -> String {
    match (field, text) {
        ("method", "Ipip") => "TUN".to_owned(),
        ("version", "V2") => "2".to_owned(),
        ("version", "V3") => "3".to_owned(),
        ("state" | "method" | "protocol", _) => text.to_ascii_uppercase(),
        ("scheduler" | "family" | "mode" | "arguments" | "old_unicast_checksum" | "replay", _) => {
            text.to_ascii_lowercase()
        }
        _ => text.to_owned(),
    }
}
