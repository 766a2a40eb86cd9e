//! `lbctl`: see lbctl(1).

mod client;
mod config;
mod lab;
mod simulate;
mod status;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lb_control::{RequestBody, ResponseBody};

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
    Config(config::Args),
    Lab(lab::Args),
    Simulate(simulate::Args),
    #[command(hide = true)]
    LabServer(lab::ServerArgs),
}

// No runtime here: `lab` may have to enter a user namespace, which needs a process with a single thread.
fn main() -> ExitCode {
    let Cli { socket, command } = Cli::parse();
    let done = match command {
        Command::Status(args) => status::run(&socket, &args).map(|()| ExitCode::SUCCESS),
        Command::Reload => reload(&socket),
        Command::Config(args) => config::run(&socket, args),
        Command::Lab(args) => lab::run(args),
        Command::Simulate(args) => simulate::run(&args),
        Command::LabServer(args) => lab::serve(&args),
    };
    done.unwrap_or_else(|error| {
        anstream::eprintln!("lbctl: {error:#}");
        ExitCode::FAILURE
    })
}

fn reload(socket: &Path) -> anyhow::Result<ExitCode> {
    if let ResponseBody::Done { message } = client::ask(socket, RequestBody::Reload)? {
        anstream::println!("{message}");
    }
    Ok(ExitCode::SUCCESS)
}
