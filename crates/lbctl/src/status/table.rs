//! The status as tables of a terminal.

use std::fmt::Write as _;
use std::net::IpAddr;

use anstyle::{AnsiColor, Style};
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Row, Table, presets};
use jiff::Timestamp;
use lb_control::status::{
    CarpInstance, Check, Daemon, RealServer, Relay, StateSync, VirtualServer, Vrrp,
};
use lb_control::{State, Status};

use super::trouble;
use crate::text::{ago, wrapped};

/// VIPs shown of one instance.
const VIPS: usize = 8;

/// As it should be.
const GOOD: Style = AnsiColor::Green.on_default();
/// Not as it should be.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Worth a look.
pub const ODD: Style = AnsiColor::Yellow.on_default();

/// The whole status at `now`, at most `width` columns wide, in colour.
pub fn render(status: &Status, now: Timestamp, width: u16) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = daemon(&status.daemon, now, width, &mut out);
    if let Some(sync) = &status.state_sync {
        let _ = writeln!(out, "{}", wrapped(&state_sync(sync), width));
    }
    let carp = status.carp.as_ref().map(|carp| carp.instances.as_slice()).unwrap_or_default();
    if !status.vrrp.is_empty() {
        let _ = writeln!(out, "\n{}", trimmed(&instances(&status.vrrp, now, width)));
    }
    if !carp.is_empty() {
        let _ = writeln!(out, "\n{}", trimmed(&vhids(carp, now, width)));
    }
    let troubles = trouble::sentences(status, now, width);
    if !troubles.is_empty() && !status.vrrp.is_empty() && !carp.is_empty() {
        out.push('\n');
    }
    out += &troubles;
    if !status.virtual_servers.is_empty() {
        let _ = writeln!(out, "\n{}", trimmed(&servers(&status.virtual_servers, now, width)));
    }
    if status.vrrp.is_empty() && carp.is_empty() && status.virtual_servers.is_empty() {
        let _ = writeln!(
            out,
            "\nno vrrp_instance, no carp_instance and no virtual_server in the configuration"
        );
    }
    out
}

/// The table without the blanks that fill its lines.
fn trimmed(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn daemon(daemon: &Daemon, now: Timestamp, width: u16, out: &mut String) -> std::fmt::Result {
    let mut say = |sentence: String| writeln!(out, "{}", wrapped(&sentence, width));
    let up = ago(daemon.started, now);
    say(format!(
        "lbd {}, process {}, up {up}, dataplane {}",
        daemon.version, daemon.pid, daemon.dataplane
    ))?;
    if let Some(Relay { clients, most, displaced, refused }) = daemon.relay {
        let style = if refused > 0 { BAD } else { GOOD };
        say(format!(
            "relay: {clients} clients of {most}, {displaced} idle ones gave their place to others, \
             {style}{refused} turned away{style:#}"
        ))?;
    }
    say(format!("configuration {}", daemon.config))?;
    if let Some(reload) = &daemon.last_reload {
        let (style, word, rest) = if reload.accepted {
            (GOOD, "accepted", "")
        } else {
            (BAD, "refused", ", the old configuration runs on")
        };
        let (when, verdict) = (ago(reload.at, now), &reload.verdict);
        say(format!("last reload {when} ago {style}{word}{style:#}{rest}: {verdict}"))?;
    }
    for engine in daemon.engines.iter().filter(|engine| !engine.running || engine.failures > 0) {
        let times =
            if engine.failures == 1 { "once" } else { &format!("{} times", engine.failures) };
        if engine.running {
            say(format!(
                "{BAD}the {} failed {times} and was started again{BAD:#}; see the log",
                engine.name
            ))?;
        } else {
            let reason = engine.reason.as_deref().unwrap_or("see the log");
            say(format!("{BAD}the {} does not run{BAD:#}, failed {times}: {reason}", engine.name))?;
        }
    }
    Ok(())
}

fn state_sync(sync: &StateSync) -> String {
    let StateSync { interface, id, instance, running, .. } = sync;
    let runs = if running.is_empty() { "nothing".to_owned() } else { running.join(" and ") };
    let by = match instance {
        Some(instance) => format!(", as {instance} has it"),
        None => String::new(),
    };
    format!("state synchronisation on {interface}, id {id}: {runs} runs{by}")
}

fn table(width: u16, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).enforce_styling();
    table.style_text_only();
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    let dim = |text: &&str| Cell::new(text).add_attribute(Attribute::Dim);
    table.set_header(header.iter().map(dim));
    table
}

/// Columns stand apart by two blanks; the first begins at the edge.
fn pad(table: &mut Table) {
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((if index == 0 { 0 } else { 2 }, 0));
    }
}

fn instances(instances: &[Vrrp], now: Timestamp, width: u16) -> Table {
    let mut table = table(
        width,
        &["INSTANCE", "STATE", "SINCE", "PRIORITY", "INTERFACE", "VRID", "ADDRESSES", "MASTER"],
    );
    for instance in instances {
        table.add_row([
            Cell::new(&instance.name),
            state(instance.state),
            Cell::new(ago(instance.since, now)),
            priority(instance),
            Cell::new(&instance.interface),
            Cell::new(instance.vrid),
            Cell::new(addresses(&instance.vips)),
            Cell::new(master(instance)),
        ]);
    }
    pad(&mut table);
    table
}

fn vhids(instances: &[CarpInstance], now: Timestamp, width: u16) -> Table {
    let mut table = table(
        width,
        &["CARP", "STATE", "SINCE", "BASE:SKEW", "INTERFACE", "VHID", "ADDRESSES", "MASTER"],
    );
    for instance in instances {
        table.add_row([
            Cell::new(&instance.name),
            state(instance.state),
            Cell::new(ago(instance.since, now)),
            pace(instance),
            Cell::new(&instance.interface),
            Cell::new(instance.vhid),
            Cell::new(addresses(&instance.vips)),
            Cell::new(carp_master(instance)),
        ]);
    }
    pad(&mut table);
    table
}

/// advbase and advskew, and how far it is demoted.
fn pace(instance: &CarpInstance) -> Cell {
    let CarpInstance { advbase, advskew, demotion, .. } = instance;
    match demotion {
        0 => Cell::new(format!("{advbase}:{advskew}")),
        demotion => Cell::new(format!("{advbase}:{advskew} +{demotion}")).fg(Color::Yellow),
    }
}

fn carp_master(instance: &CarpInstance) -> String {
    match (&instance.master, instance.state) {
        (_, State::Master) => "this host".to_owned(),
        (Some(master), _) => {
            let (address, base, skew) = (&master.address, master.advbase, master.advskew);
            match master.demotion {
                0 => format!("{address}, {base}:{skew}"),
                demotion => format!("{address}, {base}:{skew} +{demotion}"),
            }
        }
        (None, _) => "unknown".to_owned(),
    }
}

fn state(state: State) -> Cell {
    let cell = Cell::new(state);
    match state {
        State::Master => cell.fg(Color::Green).add_attribute(Attribute::Bold),
        State::Fault => cell.fg(Color::Red).add_attribute(Attribute::Bold),
        State::Init | State::Backup | State::Stop | State::Deleted => cell,
    }
}

/// The priority in force, and the configured one where that differs.
fn priority(instance: &Vrrp) -> Cell {
    if instance.effective_priority == instance.priority {
        Cell::new(instance.priority)
    } else {
        Cell::new(format!("{} of {}", instance.effective_priority, instance.priority))
            .fg(Color::Yellow)
    }
}

fn addresses(vips: &[String]) -> String {
    let mut lines: Vec<&str> = vips.iter().take(VIPS).map(String::as_str).collect();
    let more = format!("and {} more", vips.len().saturating_sub(VIPS));
    if vips.len() > VIPS {
        lines.push(&more);
    }
    lines.join("\n")
}

fn master(instance: &Vrrp) -> String {
    match (&instance.master, instance.state) {
        (_, State::Master) => "this host".to_owned(),
        (Some(master), _) => format!("{}, {}", master.address, master.priority),
        (None, _) => "unknown".to_owned(),
    }
}

fn servers(servers: &[VirtualServer], now: Timestamp, width: u16) -> Table {
    let mut table =
        table(width, &["SERVER", "WEIGHT", "HEALTH", "LAST CHECK", "LATENCY", "ACTIVE"]);
    for server in servers {
        table.add_row(virtual_server(server, servers));
        for real in &server.real_servers {
            table.add_row(real_server(real, now));
        }
        if let Some(sorry) = &server.sorry_server {
            let (weight, health) = if server.sorry_active {
                ("1", Cell::new("serves").fg(Color::Yellow))
            } else {
                ("0", Cell::new("waits"))
            };
            table.add_row([
                Cell::new(format!("  {sorry}")),
                Cell::new(weight),
                health,
                Cell::new("sorry server"),
            ]);
        }
    }
    pad(&mut table);
    for right in [1, 4, 5] {
        if let Some(column) = table.column_mut(right) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Row of a virtual server, one of `all`.
fn virtual_server(server: &VirtualServer, all: &[VirtualServer]) -> Row {
    let in_both_families =
        |mark| all.iter().any(|other| other.fwmark == Some(mark) && other.family != server.family);
    let name = match (&server.address, server.fwmark, &server.group) {
        (Some(address), ..) => address.clone(),
        (None, Some(mark), _) if in_both_families(mark) => {
            format!("fwmark {mark} {}", server.family)
        }
        (None, Some(mark), _) => format!("fwmark {mark}"),
        (None, None, group) => format!("group {}", group.as_deref().unwrap_or_default()),
    };
    let name = match &server.protocol {
        Some(protocol) => format!("{name} {protocol}"),
        None => name,
    };
    let weight: i64 = server.real_servers.iter().map(|real| real.effective_weight).sum();
    let health = match (server.quorum_met, server.sorry_active) {
        (true, _) => Cell::new("up").fg(Color::Green),
        (false, true) => Cell::new("sorry").fg(Color::Yellow),
        (false, false) => Cell::new("down").fg(Color::Red),
    };
    let active: u64 = server.real_servers.iter().map(|real| real.connections.active).sum();
    Row::from([
        Cell::new(name).add_attribute(Attribute::Bold),
        Cell::new(weight),
        health.add_attribute(Attribute::Bold),
        Cell::new(format!(
            "{} {}, quorum {}{}",
            server.scheduler,
            server.forwarding,
            server.quorum,
            if server.suspended { ", checks suspended" } else { "" }
        )),
        Cell::new(""),
        Cell::new(active),
    ])
}

fn real_server(real: &RealServer, now: Timestamp) -> Row {
    // Behind a firewall mark every server serves the port that was asked for.
    let port = if real.port == 0 { String::new() } else { format!(":{}", real.port) };
    let address = match real.address.parse() {
        Ok(IpAddr::V6(address)) => format!("  [{address}]{port}"),
        _ => format!("  {}{port}", real.address),
    };
    let weight = if real.effective_weight == real.weight {
        Cell::new(real.weight)
    } else {
        Cell::new(format!("{} of {}", real.effective_weight, real.weight)).fg(Color::Yellow)
    };
    let health = match (real.alive, real.health.as_str()) {
        (true, _) => Cell::new("up").fg(Color::Green),
        (false, "unknown") => Cell::new("unknown").fg(Color::Red),
        (false, _) => Cell::new("down").fg(Color::Red),
    };
    let lines = |text: &dyn Fn(&Check) -> String| {
        real.checks.iter().map(text).collect::<Vec<_>>().join("\n")
    };
    let checks = if real.health == "unknown" {
        "cannot be checked".to_owned()
    } else if real.checks.is_empty() {
        "not checked".to_owned()
    } else {
        lines(&|check| last(check, now))
    };
    let latency =
        lines(&|check| check.latency_ms.map_or_else(String::new, |ms| format!("{ms:.1} ms")));
    Row::from([
        Cell::new(address),
        weight,
        health,
        Cell::new(checks),
        Cell::new(latency),
        Cell::new(real.connections.active),
    ])
}

/// `TCP_CHECK ok, 2s ago`
fn last(check: &Check, now: Timestamp) -> String {
    match &check.last {
        Some(last) => format!("{} {}, {} ago", check.kind, last.message, ago(last.at, now)),
        None => format!("{} pending", check.kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + seconds).unwrap()
    }

    fn example() -> Status {
        serde_json::from_str(include_str!("example.json")).unwrap()
    }

    fn plain(status: &Status, width: u16) -> String {
        anstream::adapter::strip_str(&render(status, at(0), width)).to_string()
    }

    #[test]
    fn everything_fits_eighty_columns() {
        let text = plain(&example(), 80);
        text.lines().for_each(|line| assert!(line.chars().count() <= 80, "{line}"));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_wide_terminal_needs_no_second_line() {
        insta::assert_snapshot!(plain(&example(), 140));
    }

    #[test]
    fn carp_and_maintenance_fit_as_well() {
        let status = serde_json::from_str(include_str!("carp.json")).unwrap();
        let text = plain(&status, 80);
        text.lines().for_each(|line| assert!(line.chars().count() <= 80, "{line}"));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_hand_over_is_said_with_what_ends_it() {
        let mut status = example();
        status.vrrp.truncate(1);
        assert!(!plain(&status, 80).contains("handed over"));
        status.vrrp[0].handed_over = true;
        let text = plain(&status, 80);
        let name = &status.vrrp[0].name;
        let expected = format!(
            "{name} was handed over: whatever its priority, it takes the role from no other\n  \
             router until the others are silent, or until `lbctl maintenance off {name}`"
        );
        assert!(text.contains(&expected), "{text}");
    }

    #[test]
    fn a_relay_tells_how_full_it_is() {
        let mut status = example();
        assert!(!plain(&status, 80).contains("relay:"));
        status.daemon.relay = Some(Relay { clients: 12, most: 400, displaced: 3, refused: 5 });
        let said =
            "relay: 12 clients of 400, 3 idle ones gave their place to others, 5 turned away";
        assert!(plain(&status, 100).contains(said));
    }

    #[test]
    fn a_mark_of_two_families_is_told_apart() {
        let mut status = example();
        let mark = |server: &&VirtualServer| server.fwmark == Some(7);
        let inet6 = VirtualServer {
            family: "inet6".into(),
            ..status.virtual_servers.iter().find(mark).unwrap().clone()
        };
        status.virtual_servers.iter_mut().for_each(|server| server.family = "inet".into());
        assert!(!plain(&status, 80).contains("fwmark 7 inet"));
        status.virtual_servers.push(inet6);
        let text = plain(&status, 80);
        assert!(text.contains("fwmark 7 inet ") && text.contains("fwmark 7 inet6 "), "{text}");
    }

    #[test]
    fn nothing_to_do_is_said() {
        let status = Status { vrrp: Vec::new(), virtual_servers: Vec::new(), ..example() };
        assert!(plain(&status, 80).contains("no vrrp_instance"));
    }

    #[test]
    fn what_cannot_be_used_is_counted_by_its_reason() {
        let mut status = example();
        status.vrrp.truncate(1);
        status.vrrp[0].counters = lb_control::status::VrrpCounters {
            auth_failure: 2,
            advert_interval_err: 3,
            ..Default::default()
        };
        let text = plain(&status, 80);
        let name = &status.vrrp[0].name;
        let expected = format!(
            "{name} heard what it cannot use: 3 with another advert_int, 2 with another\n  password; the log"
        );
        assert!(text.contains(&expected), "{text}");
    }
}
