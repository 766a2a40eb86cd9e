//! `lbctl carp`: CARP as `ifconfig` of the BSDs shows it, and its demotion counters.

use std::fmt::Write as _;
use std::path::Path;

use clap::Subcommand;
use lb_control::RequestBody;
use lb_control::event::State;
use lb_control::status::{Carp, CarpInstance};

use crate::{order, status, text};

/// Shows CARP as BSD's ifconfig does, or changes a demotion counter
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// Print one JSON object for programs
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Raises a group's demotion counter, as `ifconfig -g GROUP carpdemote`
    ///
    /// The instances of the group give way to routers with a lower counter. For root.
    Demote(Change),
    /// Lowers it again, as `ifconfig -g GROUP -carpdemote`
    ///
    /// What the operator has added falls to zero at least. For root.
    Promote(Change),
}

#[derive(Debug, clap::Args)]
struct Change {
    /// Name of a group; every carp_instance is in `carp` unless it says otherwise
    group: String,
    /// By so much
    #[arg(value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=255))]
    by: i32,
    /// Print one JSON object for programs
    #[arg(long)]
    json: bool,
}

/// Shows CARP or changes a counter.
///
/// # Errors
/// The daemon cannot be reached, says no, or the output cannot be written.
pub fn run(socket: &Path, args: Args) -> anyhow::Result<()> {
    let change = |Change { group, by, json }: Change, sign: i32| {
        order::give(socket, RequestBody::Demote { group, by: by * sign }, json)
    };
    match args.command {
        Some(Command::Demote(args)) => change(args, 1),
        Some(Command::Promote(args)) => change(args, -1),
        None => {
            let carp = status::ask(socket)?.carp;
            text::print(&match (&carp, args.json) {
                (carp, true) => serde_json::to_string_pretty(carp)? + "\n",
                (Some(carp), false) => render(carp),
                (None, false) => "no carp_instance in the configuration\n".to_owned(),
            })
        }
    }
}

/// As `ifconfig(8)` of FreeBSD; instances of several vhids as that of OpenBSD.
fn render(carp: &Carp) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = interfaces(carp, &mut out).and_then(|()| settings(carp, &mut out));
    out
}

fn interfaces(carp: &Carp, out: &mut String) -> std::fmt::Result {
    let mut names: Vec<&str> = Vec::new();
    for instance in &carp.instances {
        if !names.contains(&instance.interface.as_str()) {
            names.push(&instance.interface);
        }
    }
    for name in names {
        writeln!(out, "{}:", if name.is_empty() { "(no interface)" } else { name })?;
        let here: Vec<&CarpInstance> =
            carp.instances.iter().filter(|instance| instance.interface == name).collect();
        for instance in &here {
            addresses(instance, &here, out)?;
        }
        for (index, instance) in here.iter().enumerate() {
            vhid(instance, index.checked_sub(1).map(|before| here[before]), out)?;
        }
    }
    Ok(())
}

/// The name of the instance that a vhid is one of.
fn whole(instance: &CarpInstance) -> &str {
    match (&instance.balancing, instance.name.rsplit_once(':')) {
        (Some(_), Some((name, _))) => name,
        _ => &instance.name,
    }
}

/// Those of a balanced instance are shown once, with all of its vhids.
fn addresses(
    instance: &CarpInstance,
    here: &[&CarpInstance],
    out: &mut String,
) -> std::fmt::Result {
    let family = here.iter().filter(|other| whole(other) == whole(instance));
    let mut vhids: Vec<String> = family.map(|other| other.vhid.to_string()).collect();
    if vhids.first() != Some(&instance.vhid.to_string()) {
        return Ok(());
    }
    vhids.dedup();
    for vip in &instance.vips {
        let kind = if vip.contains(':') { "inet6" } else { "inet" };
        writeln!(out, "\t{kind} {vip} vhid {}", vhids.join(","))?;
    }
    Ok(())
}

/// A state in ifconfig's words: the BSDs have no FAULT, an instance that cannot take part is in INIT.
fn ifconfig_state(state: State) -> State {
    if state == State::Fault { State::Init } else { state }
}

fn vhid(
    instance: &CarpInstance,
    before: Option<&CarpInstance>,
    out: &mut String,
) -> std::fmt::Result {
    let CarpInstance { vhid, advbase, advskew, .. } = instance;
    let state = ifconfig_state(instance.state);
    match &instance.balancing {
        None => {
            writeln!(out, "\tcarp: {state} vhid {vhid} advbase {advbase} advskew {advskew}")
        }
        Some(balancing) => {
            if before.is_none_or(|before| whole(before) != whole(instance)) {
                writeln!(out, "\tcarp: advbase {advbase} balancing {balancing}")?;
            }
            writeln!(out, "\t\tstate {state} vhid {vhid} advskew {advskew}")
        }
    }
}

fn settings(carp: &Carp, out: &mut String) -> std::fmt::Result {
    let (allow, preempt) = (u8::from(carp.allow), u8::from(carp.preempt));
    writeln!(out, "allow {allow} preempt {preempt} log {}", carp.log)?;
    for group in &carp.groups {
        write!(out, "group {} demotion {}", group.name, group.demotion)?;
        match text::demoted_by(group) {
            by if by.is_empty() => writeln!(out)?,
            by => writeln!(out, " ({by})")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_control::Status;

    fn example() -> Carp {
        let status: Status = serde_json::from_str(include_str!("status/carp.json")).unwrap();
        status.carp.unwrap()
    }

    #[test]
    fn vhids_look_as_on_the_bsds() {
        let expected = "\
eth0:
	inet 192.0.2.1/24 vhid 1
	inet6 2001:db8::1/64 vhid 1
	carp: MASTER vhid 1 advbase 1 advskew 0
eth1:
	inet 10.0.0.1/24 vhid 2
	inet 10.0.0.5/24 vhid 5,6
	carp: BACKUP vhid 2 advbase 1 advskew 100
	carp: advbase 1 balancing ip
		state MASTER vhid 5 advskew 0
		state BACKUP vhid 6 advskew 100
allow 1 preempt 1 log 2
group carp demotion 4 (2 by the operator, 1 by failed state synchronisation)
group lan demotion 0
";
        assert_eq!(render(&example()), expected);
    }
    #[test]
    fn an_instance_that_cannot_take_part_is_in_init_as_on_the_bsds() {
        let mut carp = example();
        for instance in &mut carp.instances {
            instance.state = State::Fault;
        }
        let text = render(&carp);
        assert!(text.contains("carp: INIT vhid 1"), "{text}");
        assert!(text.contains("state INIT vhid 5"), "{text}");
        assert!(!text.contains("FAULT"), "{text}");
    }
}
