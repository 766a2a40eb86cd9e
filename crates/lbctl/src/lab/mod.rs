//! `lbctl lab`: hosts, switches and cables on this machine, and what a client sees while some of them fail.

mod builtin;
mod hold;
mod interrupt;
mod show;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use lb_lab::{FaultKind, Lab, Options, Topology};

/// Build a lab of network namespaces and run a failover in it.
///
/// Without FILE: a client, two directors running lbd on a keepalived.conf, and three web servers. The client sends
/// requests through the virtual address while a web server and then the master director are killed; at the end
/// stands what it saw. Needs root, or user namespaces for ordinary users. Leaves nothing behind, however it ends.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Topology to use instead of the built-in one (TOML; examples in etc/lab)
    file: Option<PathBuf>,

    /// Keep the lab up afterwards, with everything mended, until Ctrl-C
    #[arg(long)]
    hold: bool,

    /// Print the report as one JSON object (described in etc/lab/README.md)
    #[arg(long)]
    json: bool,

    /// Name of the lab, to hold several at once
    #[arg(long, default_value = "lab", global = true)]
    name: String,
}

#[derive(Subcommand)]
enum Command {
    /// Run a command in a host of the lab that is held
    Exec {
        /// Name of the host
        host: String,
        /// Command and arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
    /// Pull a host's cables, or one of them
    Cut {
        /// Name of the host
        host: String,
        /// Such as eth0; without it all of them
        interface: Option<String>,
    },
    /// Plug cables in again and start what was killed; without HOST everything
    Mend {
        /// Name of the host
        host: Option<String>,
        /// Such as eth0; without it all of them
        interface: Option<String>,
    },
    /// Cut a host's power: its cables are dead, its processes are killed
    Kill {
        /// Name of the host
        host: String,
    },
    /// Start a host that was killed
    Start {
        /// Name of the host
        host: String,
    },
    /// Show the hosts, their addresses and programs
    List,
}

/// First argument of an `lbctl` that is the built-in server of a lab. It is no command of the command line's,
/// so that nothing suggests or completes it.
pub const SERVER: &str = "lab-server";

/// The built-in server, as its own process in a host.
#[derive(clap::Parser)]
pub struct ServerArgs {
    address: SocketAddr,
    name: String,
}

/// Runs `lbctl lab-server`.
pub fn serve(args: &ServerArgs) -> Result<ExitCode> {
    lb_lab::serve_forever(args.address, &args.name)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `lbctl lab`.
pub fn run(args: Args) -> Result<ExitCode> {
    if args.command.is_some() && (args.file.is_some() || args.hold || args.json) {
        bail!(
            "a FILE, --hold and --json build a lab; they do not go with a command for one that is held"
        );
    }
    match args.command {
        None => lab(&args),
        Some(Command::Exec { host, command }) => hold::exec(&args.name, &host, &command),
        Some(Command::Cut { host, interface }) => {
            hold::ask(&args.name, "cut", [Some(host), interface])
        }
        Some(Command::Mend { host, interface }) => hold::ask(&args.name, "mend", [host, interface]),
        Some(Command::Kill { host }) => hold::ask(&args.name, "kill", [Some(host), None]),
        Some(Command::Start { host }) => hold::ask(&args.name, "start", [Some(host), None]),
        Some(Command::List) => hold::ask(&args.name, "list", [None, None]),
    }
}

fn lab(args: &Args) -> Result<ExitCode> {
    let (title, topology) = match &args.file {
        Some(file) => (file.display().to_string(), Topology::load(file)?),
        None => ("the built-in topology".to_owned(), builtin::topology()?),
    };
    // Taken before the lab is built: a name in use is said at once.
    let door = args.hold.then(|| hold::Door::open(&args.name)).transpose()?;
    interrupt::ends_us()?;
    lb_lab::become_root()?;
    let lab = start(topology)?;
    let quiet = args.json;
    if !quiet {
        show::topology(&title, &lab);
    }
    let recovered = match lab.topology().play.clone() {
        None => true,
        Some(play) => {
            let tell = |progress: &lb_lab::Progress<'_>| {
                if !quiet {
                    show::progress(&lab, progress);
                }
            };
            let report = lb_lab::play(&lab, &play, tell).map_err(|error| failed(&lab, &error))?;
            if quiet {
                anstream::println!("{}", serde_json::to_string_pretty(&report)?);
            } else {
                show::report(&report);
            }
            let stuck = report.faults.iter().find(|fault| !fault.recovered);
            if let Some(fault) = stuck.filter(|_| !args.hold) {
                let what =
                    format!("the service did not recover from `{} {}`", fault.kind, fault.target);
                return Err(failed(&lab, &anyhow::Error::msg(what)));
            }
            stuck.is_none()
        }
    };
    if let Some(door) = door {
        for host in lab.hosts() {
            lb_lab::inflict(&lab, FaultKind::Mend, host.name())?;
        }
        show::how_to_play(&args.name, &lab);
        door.serve(&lab)?;
    }
    Ok(if recovered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn start(topology: Topology) -> Result<Lab> {
    let me = std::env::current_exe()
        .context("cannot find the program itself, which the lab runs as its web server")?;
    let beside = me.parent().map(PathBuf::from).into_iter().collect();
    let options = Options { path: beside, server: Some(vec![me.into(), SERVER.into()]) };
    match Lab::start_with(topology, options) {
        Err(lb_lab::Error::NoProgram { program, looked }) => {
            bail!(
                "no program `{program}`: put it beside lbctl (`cargo build --release` does) or into PATH; \
                 looked in {looked}"
            )
        }
        other => Ok(other?),
    }
}

/// Adds what the programs said last to an error.
fn failed(lab: &Lab, error: &dyn std::fmt::Display) -> anyhow::Error {
    let mut text = error.to_string();
    for host in lab.hosts() {
        for program in host.programs() {
            let tail = program.tail(12);
            let ended = program
                .status()
                .map(|status| format!(", which has ended ({status})"))
                .unwrap_or_default();
            if tail.is_empty() && ended.is_empty() {
                continue;
            }
            text += &format!(
                "\n\n{}: last lines of `{}`{ended}:\n{tail}",
                host.name(),
                program.command()
            );
        }
    }
    anyhow::Error::msg(text)
}
