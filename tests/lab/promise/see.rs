//! Views of a record: each is one text, the same whenever the same happened.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lb_tests::wire::hex;
use serde_json::Value;

use crate::record::Record;

/// From where on an announcement belongs to a second block.
const LATER: Duration = Duration::from_millis(600);
/// The moment itself.
const NOW: Duration = Duration::ZERO;

/// The last advertisement that does not say stop, all of it that does not change from one to the next.
pub fn advert(record: &Record) -> String {
    let last = record.adverts().filter(|(_, advert)| advert.priority != 0).last();
    let Some((by, a)) = last else { return "no advertisement".to_owned() };
    let from = hex(&a.frame[6..12]);
    format!(
        "{by} {from} {} > {} protocol {} ttl {} v{} vrid {} priority {} timing {} {:?} {:?} rest {}",
        a.ip.source,
        a.ip.destination,
        a.ip.protocol,
        a.ip.ttl,
        a.version,
        a.vrid,
        a.priority,
        hex(&a.timing),
        a.addresses,
        a.checksum,
        hex(&a.rest)
    )
}

/// Whether it advertises at all.
pub fn advertises(record: &Record) -> String {
    format!("advertises: {}", record.adverts().next().is_some())
}

/// Whether it found other addresses in an advertisement than its own.
pub fn minds_addresses(record: &Record) -> String {
    let line = record.state.counters.lines().find(|line| line.contains("Address List"));
    format!("{:?}", line.map(|line| !line.trim_end().ends_with(": 0")))
}

/// Whether it answers a forged advertisement at once.
pub fn answers(record: &Record) -> String {
    let soon = record.adverts_between(record.heard, NOW, Duration::from_millis(400));
    format!("answers: {soon}")
}

/// Whether its first advertisement comes more than two seconds after the start.
pub fn waits(record: &Record) -> String {
    let soon = record.adverts_between(record.started, NOW, Duration::from_secs(2)) > 0;
    format!("soon: {soon}, at all: {}", record.adverts().next().is_some())
}

/// How many announcements come long after it has become MASTER.
pub fn later_announcements(record: &Record) -> String {
    let Some((_, first)) = record.adverts().next() else { return "no advertisement".to_owned() };
    let later = record.announcements().filter(|(at, _)| *at > first.at + LATER).count();
    format!("{later} later")
}

/// How many announcements come long after the forged advertisement.
pub fn announcements_after_it(record: &Record) -> String {
    let Some(heard) = record.heard else { return "nothing heard".to_owned() };
    let after = record.announcements().filter(|(at, _)| *at > heard + LATER).count();
    format!("{after} after it")
}

/// How many announcements come right after the forged advertisement.
pub fn announcements_upon_it(record: &Record) -> String {
    let Some(heard) = record.heard else { return "nothing heard".to_owned() };
    let upon = record.announcements().filter(|(at, _)| (heard..heard + LATER).contains(at)).count();
    format!("{upon} upon it")
}

/// What its scripts were called with, in order.
pub fn notes(record: &Record) -> String {
    record.notes.join("; ")
}

/// Whether its address answered.
pub fn reached(record: &Record) -> String {
    format!("reached: {:?}", record.reached)
}

/// Its addresses but the host's own, with all that the kernel tells of them; its links.
pub fn addresses(record: &Record) -> String {
    /// The kernel's choice, or counting down.
    const NOT_COMPARED: [&str; 5] =
        ["valid_life_time", "protocol", "ifindex", "stats64", "link_index"];
    let Ok(Value::Array(links)) = serde_json::from_str(&record.state.addresses) else {
        return format!("no list: {}", record.state.addresses);
    };
    let mut shown = Vec::new();
    for link in &links {
        let name = link["ifname"].as_str().unwrap_or_default();
        let kind = link["linkinfo"]["info_kind"].as_str().unwrap_or_default();
        let own = |address: &str| {
            ["192.0.2.1", "192.0.2.9", "198.51.100.1", "127.0.0.1", "::1"].contains(&address)
        };
        if kind == "macvlan" {
            shown.push(format!("{name} {kind} {} on {}", link["address"], link["link"]));
        }
        for info in link["addr_info"].as_array().into_iter().flatten() {
            let address = info["local"].as_str().unwrap_or_default();
            // An interface makes its link-local addresses itself.
            if own(address) || (address.starts_with("fe80") && info["prefixlen"] == 64) {
                continue;
            }
            let mut info = info.as_object().cloned().unwrap_or_default();
            for key in NOT_COMPARED {
                info.remove(key);
            }
            // It counts down.
            let seconds = info.get("preferred_life_time").and_then(Value::as_u64);
            if let Some(seconds) = seconds.filter(|&seconds| seconds < u64::from(u32::MAX)) {
                info.insert("preferred_life_time".into(), seconds.div_ceil(60).into());
            }
            shown.push(format!("{name} {}", Value::Object(info)));
        }
    }
    shown.sort();
    shown.join("\n  ")
}

/// The list of addresses, and what is advertised.
pub fn held(record: &Record) -> String {
    let advertised = record.adverts().last().map(|(_, advert)| advert.addresses);
    format!("{} advertised {advertised:?}", addresses(record))
}

/// Whether a second address of a subnet stays when the first goes.
pub fn promoted(record: &Record) -> String {
    format!("promote_secondaries: {}", record.state.promoted)
}

/// Whether a socket has room for what was asked for.
pub fn has_large_buffer(record: &Record) -> String {
    format!("8 MB and more: {}", record.state.advert_buffer.is_some_and(|size| size >= 8_000_000))
}

/// Whether the daemon runs.
pub fn runs(record: &Record) -> String {
    format!("runs: {}", record.state.running)
}

/// The last priority of each virtual router that is not 0.
pub fn priorities(record: &Record) -> String {
    let living = record.adverts().filter(|(_, advert)| advert.priority != 0);
    let last: BTreeMap<u8, u8> = living.map(|(_, advert)| (advert.vrid, advert.priority)).collect();
    format!("{last:?}")
}

/// Whether a script was called more than once.
pub fn noted_again(record: &Record) -> String {
    format!("once: {}, again: {}", !record.notes.is_empty(), record.notes.len() > 1)
}

/// What its scripts were called with; the order of instances is open.
pub fn sorted_notes(record: &Record) -> String {
    let mut notes = record.notes.clone();
    notes.sort();
    notes.join("; ")
}

/// Whether its first advertisement comes more than four seconds after the start.
pub fn comes_late(record: &Record) -> String {
    let soon = record.adverts_between(record.started, NOW, Duration::from_secs(4)) > 0;
    format!("soon: {soon}, at all: {}", record.adverts().next().is_some())
}

/// Whether it ends more than four seconds after it was told to.
pub fn ends_late(record: &Record) -> String {
    let took = record.stopped.zip(record.ended);
    let took = took.and_then(|(stopped, ended)| ended.duration_since(stopped).ok());
    format!("late: {:?}", took.map(|took| took > Duration::from_secs(4)))
}

/// Whether one of its threads has nice value 7.
pub fn niceness(record: &Record) -> String {
    format!("nice 7: {}", record.state.threads.iter().any(|thread| thread.nice == 7))
}

/// The real-time priorities of its threads.
pub fn real_time(record: &Record) -> String {
    let all: BTreeSet<_> = record.state.threads.iter().map(|thread| thread.real_time).collect();
    format!("real time: {all:?}")
}

/// Whether memory of it is locked.
pub fn locked(record: &Record) -> String {
    format!("locked: {}", record.state.locked)
}

/// What it says it is called.
pub fn router_id(record: &Record) -> String {
    let line = record.state.dump.lines().find(|line| line.contains("Router ID"));
    line.unwrap_or("not dumped").trim().to_owned()
}

/// The mode of the file that it dumped.
pub fn mode_of_dump(record: &Record) -> String {
    format!("{:?}", record.state.dump_mode.map(|mode| format!("{:o}", mode & 0o777)))
}
