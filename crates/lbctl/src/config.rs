//! `lbctl config`: looks at configurations.

mod check;
mod convert;
mod diff;
pub mod load;
mod report;
mod show;

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;

use crate::text::print;

/// Looks at configurations.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
    Convert(convert::Args),
    Show(show::Args),
    Diff(diff::Args),
}

impl Args {
    /// Whether it asks the lbd that runs here.
    pub fn asks_lbd(&self) -> bool {
        matches!(self.command, Command::Show(_) | Command::Diff(_))
    }
}

/// Runs one of the subcommands.
///
/// # Errors
/// The output cannot be written, a file not be read, or the daemon not be reached.
pub fn run(socket: &Path, args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Check(args) => check::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Show(args) => show::run(socket, &args),
        Command::Diff(args) => Ok(diff::run(socket, &args)),
    }
}

/// So many of something.
fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
