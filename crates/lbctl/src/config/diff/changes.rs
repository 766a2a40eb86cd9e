//! The difference of two models, as their JSON shows them.

use serde_json::{Map, Value, json};

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
    /// Where: the names of fields and things from the outside in.
    pub path: Vec<String>,
    /// Before.
    pub old: Option<Value>,
    /// After.
    pub new: Option<Value>,
}

/// Fields that have another name in a file, in the order of showing them.
const NAMES: [(&str, &str); 20] = [
    ("global", "global_defs"),
    ("vrrp_instances", "vrrp_instance"),
    ("carp_instances", "carp_instance"),
    ("sync_groups", "vrrp_sync_group"),
    ("vrrp_scripts", "vrrp_script"),
    ("virtual_server_groups", "virtual_server_group"),
    ("virtual_servers", "virtual_server"),
    ("real_servers", "real_server"),
    ("track_files", "track_file"),
    ("track_processes", "vrrp_track_process"),
    ("bfd_instances", "bfd_instance"),
    ("track_groups", "track_group"),
    ("garp_groups", "garp_group"),
    ("static_addresses", "static_ipaddress"),
    ("static_routes", "static_routes"),
    ("static_rules", "static_rules"),
    ("linkbeats", "linkbeat_interfaces"),
    ("link_delays", "interface_up_down_delays"),
    ("vips", "virtual_ipaddress"),
    ("excluded_vips", "virtual_ipaddress_excluded"),
];

fn in_file(field: &str) -> &str {
    NAMES.iter().find(|(name, _)| *name == field).map_or(field, |(_, name)| name)
}

/// Where a field of the model is shown.
fn rank(field: &str) -> usize {
    NAMES.iter().position(|(name, _)| *name == field).unwrap_or(NAMES.len())
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
            (Some(before), Some(after)) => lists(in_file(field), before, after, &mut sections),
            _ => {
                let mut changes = Vec::new();
                values(&mut Vec::new(), before, after, &mut changes);
                let (kind, name) = (in_file(field).to_owned(), String::new());
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

fn lists(kind: &str, old: &[Value], new: &[Value], sections: &mut Vec<Section>) {
    let known = sections.len();
    let mut push = |name: &str, fate, changes| {
        sections.push(Section { kind: kind.to_owned(), name: name.to_owned(), fate, changes });
    };
    let (before, after) = (named(old), named(new));
    for (name, value) in &before {
        match after.iter().find(|(other, _)| other == name) {
            None => push(name, Fate::Removed, Vec::new()),
            Some((_, other)) if other == value => {}
            Some((_, other)) => {
                let mut changes = Vec::new();
                values(&mut Vec::new(), value, other, &mut changes);
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
        let path = vec!["order".to_owned()];
        let change = Change { path, old: Some(order(&before)), new: Some(order(&after)) };
        let (kind, name) = (kind.to_owned(), String::new());
        sections.push(Section { kind, name, fate: Fate::Changed, changes: vec![change] });
    }
}

/// Things with what they are known by; the second of the same name is `NAME (2)`.
fn named(values: &[Value]) -> Vec<(String, &Value)> {
    let mut counts = std::collections::HashMap::new();
    let count = |value| {
        let name = name(value).unwrap_or_else(|| super::text::value(value));
        let count: &mut usize = counts.entry(name.clone()).or_default();
        *count += 1;
        let name = if *count == 1 { name } else { format!("{name} ({count})") };
        (name, value)
    };
    values.iter().map(count).collect()
}

/// What something is known by.
fn name(value: &Value) -> Option<String> {
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
    let name = object.get("name").or_else(|| object.get("address"))?;
    Some(super::text::value(name))
}

fn fields<'v>(old: &'v Map<String, Value>, new: &'v Map<String, Value>) -> Vec<&'v str> {
    let added = new.keys().filter(|field| !old.contains_key(*field));
    old.keys().chain(added).map(String::as_str).collect()
}

/// A time or a value without parts is one value.
fn is_one(value: &Map<String, Value>) -> bool {
    value.len() <= 1 || (value.len() == 2 && value.contains_key("secs"))
}

fn values(path: &mut Vec<String>, old: &Value, new: &Value, changes: &mut Vec<Change>) {
    match (old, new) {
        _ if old == new => {}
        (Value::Object(before), Value::Object(after)) if !is_one(before) && !is_one(after) => {
            for field in fields(before, after) {
                path.push(in_file(field).to_owned());
                let (before, after) = (before.get(field), after.get(field));
                let null = Value::Null;
                values(path, before.unwrap_or(&null), after.unwrap_or(&null), changes);
                path.pop();
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            let known = changes.len();
            let (was, is) = (named(before), named(after));
            let things = before.iter().chain(after).all(|value| name(value).is_some());
            for (name, value) in &was {
                match is.iter().find(|(other, _)| other == name) {
                    None => changes.push(part(path, name, things, Some(value), None)),
                    Some((_, other)) => {
                        path.push(name.clone());
                        values(path, value, other, changes);
                        path.pop();
                    }
                }
            }
            for (name, value) in is.iter().filter(|(name, _)| !was.iter().any(|(o, _)| o == name)) {
                changes.push(part(path, name, things, None, Some(value)));
            }
            if changes.len() == known {
                let (old, new) = (Some(old.clone()), Some(new.clone()));
                changes.push(Change { path: path.clone(), old, new });
            }
        }
        _ => {
            let (old, new) = (Some(old.clone()), Some(new.clone()));
            changes.push(Change { path: path.clone(), old, new });
        }
    }
}

/// A part of a list that comes or goes.
fn part(
    path: &[String],
    name: &str,
    thing: bool,
    old: Option<&Value>,
    new: Option<&Value>,
) -> Change {
    let mut path = path.to_vec();
    path.extend(thing.then(|| name.to_owned()));
    Change { path, old: old.cloned(), new: new.cloned() }
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
