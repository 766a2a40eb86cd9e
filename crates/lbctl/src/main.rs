//! `lbctl`: see lbctl(1).

mod carp;
mod client;
mod config;
mod lab;
mod order;
mod replay;
mod simulate;
mod status;
mod text;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use lb_control::RequestBody;

/// Asks and steers lbd, which keeps virtual IPs alive and spreads their load
#[derive(Parser)]
#[command(name = "lbctl", version, max_term_width = 80, after_help = EXAMPLES)]
struct Cli {
    /// Control socket of lbd
    #[arg(
        short = 'S',
        long,
        value_name = "PATH",
        global = true,
        env = "LBD_SOCKET",
        hide_env_values = true,
        default_value = lb_control::DEFAULT_SOCKET
    )]
    socket: PathBuf,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  lbctl status --watch          who is MASTER, which servers are in service
  lbctl status --json | jq '.vrrp[] | {name, state}'
  lbctl config check FILE       would lbd run with this file?
  lbctl config diff             what would a reload change?
  lbctl why VI_1                what made it MASTER, or no longer?
  lbctl maintenance on          let the other routers do the work
  lbctl reload                  put the changed configuration in force
  lbctl lab                     see a failover in network namespaces
  lbctl simulate gw1.conf gw2.conf
                                what happens when each of them fails?";

#[derive(Subcommand)]
enum Command {
    Status(status::Args),
    /// Makes lbd read its configuration again, and says whether it is in force
    ///
    /// A configuration that is refused changes nothing. For root.
    Reload,
    Handover(order::Handover),
    Maintenance(order::Maintenance),
    Why(why::Args),
    Carp(carp::Args),
    Replay(replay::Args),
    Config(config::Args),
    Lab(lab::Args),
    Simulate(simulate::Args),
}

impl Command {
    /// Whether it asks the lbd that runs here.
    fn asks_lbd(&self) -> bool {
        match self {
            Command::Replay(_) | Command::Lab(_) | Command::Simulate(_) => false,
            Command::Config(args) => args.asks_lbd(),
            _ => true,
        }
    }
}

// No runtime here: `lab` may have to enter a user namespace, which needs a process with a single thread.
fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == lab::SERVER) {
        return end(lab::serve(&lab::ServerArgs::parse_from(std::env::args_os().skip(1))));
    }
    let matches = Cli::command().get_matches();
    let Cli { socket, command } =
        Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let is_chosen = matches.value_source("socket") == Some(ValueSource::CommandLine);
    if is_chosen && !command.asks_lbd() {
        anstream::eprintln!("lbctl: -S is ignored: this command asks no lbd that runs");
    }
    end(match command {
        Command::Status(args) => status::run(&socket, &args).map(|()| ExitCode::SUCCESS),
        Command::Reload => {
            order::give(&socket, RequestBody::Reload, false).map(|()| ExitCode::SUCCESS)
        }
        Command::Handover(args) => order::handover(&socket, args).map(|()| ExitCode::SUCCESS),
        Command::Maintenance(args) => order::maintenance(&socket, args).map(|()| ExitCode::SUCCESS),
        Command::Why(args) => why::run(&socket, args).map(|()| ExitCode::SUCCESS),
        Command::Carp(args) => carp::run(&socket, args).map(|()| ExitCode::SUCCESS),
        Command::Replay(args) => replay::run(&args),
        Command::Config(args) => config::run(&socket, args),
        Command::Lab(args) => lab::run(args),
        Command::Simulate(args) => simulate::run(&args),
    })
}

/// The exit status; says what went wrong.
fn end(done: anyhow::Result<ExitCode>) -> ExitCode {
    done.unwrap_or_else(|error| {
        anstream::eprintln!("lbctl: {error:#}");
        ExitCode::FAILURE
    })
}
