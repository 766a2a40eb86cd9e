//! CARP in the dumps, in the manner of their VRRP parts.

use std::fmt::Write as _;

use lb_control::status::{Carp, CarpInstance};

use super::page::Page;

/// The section of `keepalived.data`.
pub(super) fn carp(carp: &Carp, page: &mut Page) {
    page.section("CARP Topology");
    page.line(0, "CARP allow", carp.allow);
    page.line(0, "CARP preempt", carp.preempt);
    page.line(0, "CARP log", carp.log);
    for group in &carp.groups {
        page.line(0, "CARP Group", &group.name);
        page.line(1, "Demotion", group.demotion);
        page.line(1, "By the operator", group.by_operator);
        page.line(1, "By state synchronisation", group.by_state_sync);
    }
    for found in &carp.instances {
        instance(found, page);
    }
}

fn instance(found: &CarpInstance, page: &mut Page) {
    page.line(0, "CARP Instance", &found.name);
    page.line(1, "State", found.state);
    page.line(1, "Last transition", found.since);
    for fault in &found.faults {
        page.line(1, "Fault", fault);
    }
    if let Some(master) = &found.master {
        page.line(1, "Master router", &master.address);
        page.line(1, "Master advbase", master.advbase);
        page.line(1, "Master advskew", master.advskew);
        page.line(1, "Master demotion", master.demotion);
    }
    if let Some(group) = &found.group {
        page.line(1, "Sync group", group);
    }
    page.line(1, "Interface", &found.interface);
    page.line(1, "Virtual Host ID", found.vhid);
    page.line(1, "Advbase", found.advbase);
    page.line(1, "Advskew", found.advskew);
    page.line(1, "Demotion", found.demotion);
    page.line(1, "Preempt", if found.preempt { "enabled" } else { "disabled" });
    page.line(1, "Groups", found.groups.join(" "));
    if let Some(balancing) = &found.balancing {
        page.line(1, "Balancing", balancing);
    }
    if !found.vips.is_empty() {
        page.text(1, format_args!("Virtual IP ({}):", found.vips.len()));
        for vip in &found.vips {
            page.text(2, vip);
        }
    }
}

/// The part of `keepalived.stats`.
pub(super) fn stats(carp: &Carp) -> String {
    let mut out = String::new();
    for instance in &carp.instances {
        let c = &instance.counters;
        // Writing to a string does not fail.
        let _ = write!(
            out,
            "CARP Instance: {}
  Advertisements:
    Received: {}
    Sent: {}
  Became master: {}
  Packet Errors:
    TTL: {}
    Length: {}
    Checksum: {}
    Version: {}
    Digest: {}
    Peer: {}
    Looped: {}
    VRRP: {}
",
            instance.name,
            c.received,
            c.sent,
            c.become_master,
            c.bad_ttl,
            c.bad_length,
            c.bad_checksum,
            c.bad_version,
            c.bad_digest,
            c.bad_peer,
            c.looped,
            c.vrrp,
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use lb_control::State;
    use lb_control::status::{CarpCounters, CarpGroup};

    use super::*;

    fn example() -> Carp {
        let instance = CarpInstance {
            name: "LAN".into(),
            interface: "eth0".into(),
            vhid: 7,
            state: State::Master,
            since: jiff::Timestamp::UNIX_EPOCH,
            advbase: 1,
            advskew: 100,
            demotion: 1,
            preempt: true,
            groups: vec!["carp".into()],
            group: None,
            balancing: None,
            vips: vec!["192.0.2.1/24".into()],
            master: None,
            faults: Vec::new(),
            maintenance: None,
            handed_over: false,
            conflicts: Vec::new(),
            counters: CarpCounters { received: 1, sent: 2, vrrp: 3, ..CarpCounters::default() },
        };
        let group = CarpGroup {
            name: "carp".into(),
            demotion: 1,
            by_operator: 0,
            by_state_sync: 1,
            causes: Vec::new(),
        };
        let (groups, instances) = (vec![group], vec![instance]);
        Carp { allow: true, preempt: false, log: 2, groups, instances }
    }

    #[test]
    fn an_instance_stands_under_its_group() {
        let mut page = Page::default();
        carp(&example(), &mut page);
        let lines: Vec<&str> = page.0.lines().collect();
        assert_eq!(lines[0], "------< CARP Topology >------");
        for line in [
            " CARP Group = carp",
            "   By state synchronisation = 1",
            " CARP Instance = LAN",
            "   State = MASTER",
            "   Virtual Host ID = 7",
            "     192.0.2.1/24",
        ] {
            assert!(lines.contains(&line), "{line}\n{}", page.0);
        }
    }

    #[test]
    fn counters_stand_under_their_headings() {
        let text = stats(&example());
        assert!(
            text.starts_with(
                "CARP Instance: LAN\n  Advertisements:\n    Received: 1\n    Sent: 2\n"
            )
        );
        assert!(text.ends_with("    Looped: 0\n    VRRP: 3\n"), "{text}");
    }
}
