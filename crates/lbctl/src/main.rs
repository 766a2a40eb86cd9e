//! Asks and steers `lbd`, and shows it at work in a lab.

mod lab;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Asks and steers lbd, the load balancer with a virtual address that does not go away.
#[derive(Parser)]
#[command(name = "lbctl", version, max_term_width = 80)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Lab(lab::Args),
    #[command(hide = true)]
    LabServer(lab::ServerArgs),
}

// No runtime here: `lab` may have to enter a user namespace, which needs a process with a single thread.
fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Lab(args) => lab::run(args),
        Command::LabServer(args) => lab::serve(&args),
    };
    done.unwrap_or_else(|error| {
        anstream::eprintln!("lbctl: {error:#}");
        ExitCode::FAILURE
    })
}
