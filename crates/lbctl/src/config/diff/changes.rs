//! The difference of two models, as their JSON shows them.

use serde_json::{Map, Value, json};

use super::words::{self, Word};

/// Everything that changes of one thing that has a name.
#[derive(Debug, PartialEq)]
pub struct Section {
    /// `vrrp_instance`, `virtual_server`, ...
    pub kind: String,
    /// Its name; empty for what is there once.
    pub name: String,
    /// What becomes of it.
    pub fate: Fate,
    /// What changes in it.
    pub changes: Vec<Change>,
}

/// What becomes of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is new.
    Added,
    /// It goes away.
    Removed,
    /// It stays, with other values.
    Changed,
}

impl Fate {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Fate::Added => "added",
            Fate::Removed => "removed",
            Fate::Changed => "changed",
        }
    }
}

/// One value that changes, comes or goes.
#[derive(Debug, PartialEq)]
pub struct Change {
    /// Where: the names of keywords and things from the outside in.
    pub path: Vec<String>,
    /// The field of the model.
    pub field: String,
    /// Before.
    pub old: Option<Value>,
    /// After.
    pub new: Option<Value>,
}

/// The order of sections; others come after.
const ORDER: [&str; 8] = [
    "global",
    "vrrp_instances",
    "carp_instances",
    "sync_groups",
    "vrrp_scripts",
    "virtual_server_groups",
    "virtual_servers",
    "track_files",
];

/// Where a field of the model is shown.
fn rank(field: &str) -> usize {
    ORDER.iter().position(|name| *name == field).unwrap_or(ORDER.len())
}

/// Every section that differs: settings, instances, groups and scripts, servers, the rest.
pub fn between(old: &Value, new: &Value) -> Vec<Section> {
    let mut sections = Vec::new();
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return sections };
    let mut all = fields(old, new);
    all.sort_by_key(|field| rank(field));
    for field in all {
        let (before, after) = (old.get(field), new.get(field));
        if before == after {
            continue;
        }
        let (before, after) = (before.unwrap_or(&Value::Null), after.unwrap_or(&Value::Null));
        match (before.as_array(), after.as_array()) {
            (Some(before), Some(after)) => lists(field, before, after, &mut sections),
            _ => {
                let mut changes = Vec::new();
                values(&mut At::top(field), before, after, &mut changes);
                let (kind, name) = (words::top(field).to_owned(), String::new());
                sections.push(Section { kind, name, fate: Fate::Changed, changes });
            }
        }
    }
    sections
}

/// As an array for programs.
pub fn to_json(sections: &[Section]) -> Value {
    let change =
        |change: &Change| json!({ "path": change.path, "old": change.old, "new": change.new });
    let section = |section: &Section| {
        json!({
            "kind": section.kind,
            "name": section.name,
            "change": section.fate.word(),
            "changes": section.changes.iter().map(change).collect::<Vec<_>>(),
        })
    };
    sections.iter().map(section).collect()
}

fn lists(field: &str, old: &[Value], new: &[Value], sections: &mut Vec<Section>) {
    let kind = words::top(field);
    let known = sections.len();
    let mut push = |name: &str, fate, changes| {
        sections.push(Section { kind: kind.to_owned(), name: name.to_owned(), fate, changes });
    };
    let (before, after) = (named(field, old), named(field, new));
    for (name, value) in &before {
        match after.iter().find(|(other, _)| other == name) {
            None => push(name, Fate::Removed, Vec::new()),
            Some((_, other)) if other == value => {}
            Some((_, other)) => {
                let mut changes = Vec::new();
                values(&mut At::top(field), value, other, &mut changes);
                push(name, Fate::Changed, changes);
            }
        }
    }
    for (name, _) in after.iter().filter(|(name, _)| !before.iter().any(|(old, _)| old == name)) {
        push(name, Fate::Added, Vec::new());
    }
    if sections.len() == known {
        let order = |values: &[(String, &Value)]| {
            values.iter().map(|(name, _)| Value::from(&**name)).collect()
        };
        let (path, field) = (vec!["order".to_owned()], String::new());
        let change = Change { path, field, old: Some(order(&before)), new: Some(order(&after)) };
        let (kind, name) = (kind.to_owned(), String::new());
        sections.push(Section { kind, name, fate: Fate::Changed, changes: vec![change] });
    }
}

/// Things with what they are known by; the second of the same name is `NAME (2)`.
fn named<'v>(field: &str, values: &'v [Value]) -> Vec<(String, &'v Value)> {
    let mut counts = std::collections::HashMap::new();
    let count = |value| {
        let name = name(value).unwrap_or_else(|| super::text::value(field, value));
        let count: &mut usize = counts.entry(name.clone()).or_default();
        *count += 1;
        let name = if *count == 1 { name } else { format!("{name} ({count})") };
        (name, value)
    };
    values.iter().map(count).collect()
}

/// What something is known by.
pub fn name(value: &Value) -> Option<String> {
    let object = value.as_object()?;
    if let Some(Value::Object(key)) = object.get("key") {
        let (kind, key) = key.iter().next()?;
        let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
        let kind = kind.to_ascii_lowercase();
        let name = if kind == "address" { key } else { format!("{kind} {key}") };
        return Some(match object.get("protocol").and_then(Value::as_str) {
            Some(protocol) if kind == "address" => {
                format!("{name} {}", protocol.to_ascii_lowercase())
            }
            _ => name,
        });
    }
    if let (Some(Value::Object(kind)), Some(_)) = (object.get("kind"), object.get("delay_loop")) {
        let (variant, inner) = kind.iter().next()?;
        let is_tls = inner.get("tls").is_some_and(|tls| !tls.is_null());
        return Some(words::checker(variant, is_tls).to_owned());
    }
    if let (Some(vhid), None) = (object.get("vhid"), object.get("name")) {
        return Some(vhid.to_string());
    }
    if object.contains_key("next_hops") {
        let destination = object.get("destination").filter(|destination| !destination.is_null());
        return Some(destination.map_or("default".to_owned(), |d| super::text::value("", d)));
    }
    // A line of static_ipaddress has its address in it.
    let address = object.get("address").map(|address| address.get("address").unwrap_or(address));
    let known = ["path", "interface", "interfaces"].iter().find_map(|field| object.get(*field));
    let name = object.get("name").or(address).or(known)?;
    Some(super::text::value("", name))
}

fn fields<'v>(old: &'v Map<String, Value>, new: &'v Map<String, Value>) -> Vec<&'v str> {
    let added = new.keys().filter(|field| !old.contains_key(*field));
    old.keys().chain(added).map(String::as_str).collect()
}

/// A place in both models.
struct At<'m> {
    /// As it is shown.
    path: Vec<String>,
    /// The part that is looked into: its field, list or variant.
    part: &'m str,
    /// The field itself, of which `part` may be a variant.
    field: &'m str,
    /// What is shown of a part that is not part of the path.
    through: Option<&'m str>,
}

impl<'m> At<'m> {
    fn top(field: &'m str) -> Self {
        At { path: Vec::new(), part: field, field, through: None }
    }

    /// Looks into a field.
    fn of_field<'f>(&self, field: &'f str) -> At<'f> {
        let mut path = self.path.clone();
        let through = match words::word(self.part, field) {
            Word::Shown(word) => {
                path.push(word.to_owned());
                None
            }
            Word::Through(word) => Some(word),
        };
        At { path, part: field, field, through }
    }

    /// Looks into a part of a list.
    fn of_thing(&self, name: &str) -> At<'m> {
        let mut path = self.path.clone();
        path.push(name.to_owned());
        At { path, through: None, ..*self }
    }

    /// The path of all that is here.
    fn whole(&self) -> Vec<String> {
        let through = self.through.map(str::to_owned);
        self.path.iter().cloned().chain(through).collect()
    }

    fn change(&self, old: Option<&Value>, new: Option<&Value>) -> Change {
        Change {
            path: self.whole(),
            field: self.field.to_owned(),
            old: old.cloned(),
            new: new.cloned(),
        }
    }
}

/// The one variant that both values are.
fn variant<'v>(old: &'v Map<String, Value>, new: &Map<String, Value>) -> Option<&'v str> {
    let (name, _) = old.iter().next().filter(|_| old.len() == 1 && new.len() == 1)?;
    let is_variant = name.starts_with(|c: char| c.is_ascii_uppercase());
    (is_variant && new.contains_key(name)).then_some(name)
}

/// Values that are said in one: times, scripts, prefixes.
fn is_one(value: &Map<String, Value>) -> bool {
    value.keys().all(|field| field.starts_with(|c: char| c.is_ascii_uppercase()))
        || ["secs", "argv", "length", "locked"].iter().any(|field| value.contains_key(*field))
}

fn values(at: &mut At<'_>, old: &Value, new: &Value, changes: &mut Vec<Change>) {
    match (old, new) {
        _ if old == new => {}
        (Value::Object(before), Value::Object(after)) => {
            if let Some(variant) = variant(before, after) {
                let mut inner = At { part: variant, path: at.path.clone(), ..*at };
                return values(&mut inner, &before[variant], &after[variant], changes);
            }
            if is_one(before) || is_one(after) {
                changes.push(at.change(Some(old), Some(new)));
                return;
            }
            for field in fields(before, after) {
                let (before, after) = (before.get(field), after.get(field));
                let (before, after) =
                    (before.unwrap_or(&Value::Null), after.unwrap_or(&Value::Null));
                values(&mut at.of_field(field), before, after, changes);
            }
        }
        (Value::Array(before), Value::Array(after)) if !is_bytes(old) && !is_bytes(new) => {
            list(at, before, after, changes);
            if changes.last().is_none_or(|last| !last.path.starts_with(&at.path)) {
                changes.push(at.change(Some(old), Some(new)));
            }
        }
        _ => changes.push(at.change(Some(old), Some(new))),
    }
}

/// Whether a list is a number of bytes, or a pair, rather than one of things.
fn is_bytes(value: &Value) -> bool {
    let mut values = value.as_array().into_iter().flatten().peekable();
    values.peek().is_some() && values.all(Value::is_number)
}

/// Things that come, go or change in a list.
fn list(at: &At<'_>, before: &[Value], after: &[Value], changes: &mut Vec<Change>) {
    let (was, is) = (named(at.field, before), named(at.field, after));
    let things = before.iter().chain(after).all(|value| name(value).is_some());
    let part = |name: &str, old, new| match things {
        true => at.of_thing(name).change(old, new),
        false => at.change(old, new),
    };
    for (name, value) in &was {
        match is.iter().find(|(other, _)| other == name) {
            None => changes.push(part(name, Some(value), None)),
            Some((_, other)) => values(&mut at.of_thing(name), value, other, changes),
        }
    }
    for (name, value) in is.iter().filter(|(name, _)| !was.iter().any(|(old, _)| old == name)) {
        changes.push(part(name, None, Some(value)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_models_have_no_difference() {
        let model = json!({ "vrrp_instances": [{ "name": "A", "priority": 1 }] });
        assert_eq!(between(&model, &model), []);
    }

    #[test]
    fn things_are_compared_by_name_wherever_they_stand() {
        let old = json!({ "vrrp_instances": [
            { "name": "A", "priority": 1, "vrid": 7 }, { "name": "B", "priority": 1, "vrid": 8 },
        ]});
        let new = json!({ "vrrp_instances": [
            { "name": "C", "priority": 1, "vrid": 9 }, { "name": "A", "priority": 2, "vrid": 7 },
        ]});
        let said: Vec<_> = between(&old, &new)
            .iter()
            .map(|section| format!("{} {}", section.name, section.fate.word()))
            .collect();
        assert_eq!(said, ["A changed", "B removed", "C added"]);
    }

    #[test]
    fn another_order_is_a_difference() {
        let old = json!({ "vrrp_instances": [{ "name": "A" }, { "name": "B" }] });
        let new = json!({ "vrrp_instances": [{ "name": "B" }, { "name": "A" }] });
        assert_eq!(between(&old, &new)[0].changes[0].path, ["order"]);
    }
}
