//! What stands below the tables of instances: maintenance, hand-overs, faults, conflicts.

use std::fmt::Write as _;

use jiff::Timestamp;
use lb_control::Status;
use lb_control::status::{CarpCounters, Conflict, Maintenance, NotifyScripts, VrrpCounters};

use super::table::{BAD, ODD};
use crate::text::{ago, demoted_by, wrapped};

/// What both protocols tell of an instance.
struct Instance<'a> {
    name: &'a str,
    faults: &'a [String],
    maintenance: Option<&'a Maintenance>,
    handed_over: bool,
    conflicts: &'a [Conflict],
    unusable: Vec<String>,
}

/// What is not as it should be with notify scripts; nothing when all is well.
fn notify_scripts(scripts: &NotifyScripts) -> Option<String> {
    let NotifyScripts { running, waiting, timed_out, not_run, gave_way, left_out, .. } = *scripts;
    let parts: Vec<String> = [
        (timed_out, "took too long and were ended"),
        (gave_way, "hung and were ended for later ones"),
        (not_run, "could not be run"),
        (left_out, "events were not told because too many waited"),
    ]
    .into_iter()
    .filter(|(count, _)| *count != 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    (!parts.is_empty()).then(|| {
        format!(
            "{ODD}notify scripts{ODD:#}: {}; {running} run now, {waiting} events wait",
            parts.join(", ")
        )
    })
}

/// Sentences about what is not as it should be, each with a line end.
pub fn sentences(status: &Status, now: Timestamp, width: u16) -> String {
    let vrrp = status.vrrp.iter().map(|instance| Instance {
        name: &instance.name,
        faults: &instance.faults,
        maintenance: instance.maintenance.as_ref(),
        handed_over: instance.handed_over,
        conflicts: &instance.conflicts,
        unusable: unusable_vrrp(&instance.counters),
    });
    let carp = status.carp.iter().flat_map(|carp| &carp.instances).map(|instance| Instance {
        name: &instance.name,
        faults: &instance.faults,
        maintenance: instance.maintenance.as_ref(),
        handed_over: instance.handed_over,
        conflicts: &instance.conflicts,
        unusable: unusable_carp(&instance.counters),
    });
    let instances: Vec<Instance<'_>> = vrrp.chain(carp).collect();
    let mut out = String::new();
    let mut say = |sentence: &str| {
        let _ = writeln!(out, "{}", wrapped(sentence, width)); // a string takes everything
    };
    for (whose, maintenance) in maintained(&instances) {
        let Maintenance { by, since, persistent } = maintenance;
        let until = if *persistent { "over restarts too" } else { "until lbd is restarted" };
        let (when, since) = (ago(*since, now), since.strftime("%Y-%m-%d %H:%M UTC"));
        say(&format!(
            "{ODD}{whose} in maintenance{ODD:#} by {by} since {since}, {when} ago, {until}"
        ));
    }
    for Instance { name, faults, handed_over, conflicts, unusable, .. } in instances {
        if handed_over {
            say(&format!(
                "{ODD}{name} was handed over{ODD:#}: whatever its priority, it takes the role from no \
                 other router until the others are silent, or until `lbctl maintenance off {name}`"
            ));
        }
        for conflict in conflicts {
            say(&format!("{BAD}{name}: {}{BAD:#}: {}", conflict.verdict, conflict.remedy));
        }
        for fault in faults {
            say(&format!("{BAD}{name} is in FAULT{BAD:#}: {fault}"));
        }
        if !unusable.is_empty() {
            let unusable = unusable.join(", ");
            say(&format!(
                "{ODD}{name} heard what it cannot use{ODD:#}: {unusable}; the log says from whom"
            ));
        }
    }
    for script in &status.daemon.tracked_scripts {
        if let (false, Some(last)) = (script.success, &script.last) {
            let since =
                script.since.map_or(String::new(), |since| format!(", for {}", ago(since, now)));
            say(&format!("{BAD}script {} fails{BAD:#}: {last}{since}", script.name));
        }
        if script.not_run != 0 {
            let (name, times) = (&script.name, script.not_run);
            say(&format!(
                "{ODD}script {name} was left out{ODD:#} {times} times for want of processes, descriptors or \
                 memory; the log says which"
            ));
        }
    }
    if let Some(sentence) = notify_scripts(&status.daemon.notify_scripts) {
        say(&sentence);
    }
    if let Some(failure) = status.state_sync.as_ref().and_then(|sync| sync.failure.as_ref()) {
        say(&format!("{BAD}state synchronisation has failed{BAD:#}: {failure}"));
    }
    if let Some(carp) = status.carp.as_ref().filter(|carp| !carp.allow) {
        let count = carp.instances.len();
        say(&format!("{ODD}carp_allow is off{ODD:#}: {count} CARP instances take no part"));
    }
    for group in status.carp.iter().flat_map(|carp| &carp.groups) {
        if group.demotion != 0 {
            let by = match demoted_by(group) {
                by if by.is_empty() => by,
                by => format!(": {by}"),
            };
            say(&format!(
                "{ODD}CARP group {} is demoted{ODD:#} by {}{by}",
                group.name, group.demotion
            ));
        }
    }
    out
}

/// Who is in maintenance; those of one order together.
fn maintained<'a>(instances: &[Instance<'a>]) -> Vec<(String, &'a Maintenance)> {
    let mut orders: Vec<(Vec<&str>, &Maintenance)> = Vec::new();
    for instance in instances {
        let Some(maintenance) = instance.maintenance else { continue };
        match orders.iter_mut().find(|(_, order)| *order == maintenance) {
            Some((names, _)) => names.push(instance.name),
            None => orders.push((vec![instance.name], maintenance)),
        }
    }
    let whose = |names: Vec<&str>| match names.as_slice() {
        [name] => format!("{name} is"),
        names if names.len() == instances.len() => "every instance is".to_owned(),
        names => format!("{} are", names.join(", ")),
    };
    orders.into_iter().map(|(names, order)| (whose(names), order)).collect()
}

/// `3 with another advert_int`
fn unusable_vrrp(counters: &VrrpCounters) -> Vec<String> {
    counted([
        (counters.version_err, "of another protocol version"),
        (counters.checksum_err, "with a wrong checksum"),
        (counters.ip_ttl_err, "with a TTL that says they were forwarded"),
        (counters.packet_len_err, "of a wrong length"),
        (counters.invalid_type_rcvd, "of an unknown type"),
        (counters.advert_interval_err, "with another advert_int"),
        (counters.addr_list_err, "with other addresses"),
        (counters.invalid_authtype, "with an unknown auth_type"),
        (counters.authtype_mismatch, "with another auth_type"),
        (counters.auth_failure, "with another password"),
    ])
}

fn unusable_carp(counters: &CarpCounters) -> Vec<String> {
    counted([
        (counters.bad_version, "of another version or type"),
        (counters.bad_checksum, "with a wrong checksum"),
        (counters.bad_ttl, "with a TTL that says they were forwarded"),
        (counters.bad_length, "of a wrong length"),
        (counters.bad_digest, "with a digest of another pass or other addresses"),
        (counters.bad_peer, "from others than its peers, or by another way"),
        (counters.looped, "that were its own"),
        (counters.vrrp, "of VRRP with the same number"),
    ])
}

fn counted<const N: usize>(counts: [(u64, &str); N]) -> Vec<String> {
    let some = counts.into_iter().filter(|(count, _)| *count > 0);
    some.map(|(count, what)| format!("{count} {what}")).collect()
}
