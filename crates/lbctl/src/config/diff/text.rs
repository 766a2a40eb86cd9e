//! A difference as people read it.

use anstyle::{AnsiColor, Style};
use serde_json::Value;

use super::changes::{Change, Fate, Section};

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
    let known = |side: &Value| {
        // A thing whose name is in the path is not said again.
        let named = ["name", "address"].iter().any(|field| side.get(field).is_some());
        if named { String::new() } else { format!(" {}", value(side)) }
    };
    match (&change.old, &change.new) {
        (Some(old), Some(new)) => {
            format!("  {CHANGED}~{CHANGED:#} {path}: {} -> {}\n", value(old), value(new))
        }
        (Some(old), None) => format!("  {REMOVED}- {path}{}{REMOVED:#}\n", known(old)),
        (None, Some(new)) => format!("  {ADDED}+ {path}{}{ADDED:#}\n", known(new)),
        (None, None) => String::new(),
    }
}

/// A value in a few words.
pub fn value(value: &Value) -> String {
    let several = |values: Vec<String>| values.join(", ");
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(values) => format!("[{}]", several(values.iter().map(self::value).collect())),
        Value::Object(fields) => match (fields.get("secs"), fields.get("nanos")) {
            (Some(secs), Some(nanos)) if fields.len() == 2 => {
                let nanos = nanos.as_f64().unwrap_or_default() / 1e9;
                format!("{} s", secs.as_f64().unwrap_or_default() + nanos)
            }
            _ => {
                let said = fields.iter().filter(|(_, value)| !value.is_null());
                let said = said.map(|(name, value)| format!("{name} {}", self::value(value)));
                format!("{{{}}}", several(said.collect()))
            }
        },
    }
}
