//! `lbctl config`: looks at configurations.

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use lb_config::{Loaded, Options, RealSystem};

/// Looks at configurations.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks a configuration as lbd would read it, and says what is wrong with it
    ///
    /// Exits with 0 when lbd would run with it, 1 when it would refuse it.
    Check(Check),
}

#[derive(Debug, clap::Args)]
struct Check {
    /// The configuration, or a pattern of several
    file: PathBuf,
    /// Refuse the file for warnings too
    #[arg(long)]
    strict: bool,
    /// One line for each complaint, without colour
    #[arg(long)]
    plain: bool,
    /// What `@ID` lines are for; the node name up to the first dot when absent
    #[arg(short = 'i', long, value_name = "ID")]
    config_id: Option<String>,
    /// Take every failure of an include for an error
    #[arg(short = 'e', long)]
    all_config: bool,
}

/// Runs one of the subcommands.
///
/// # Errors
/// The output cannot be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Command::Check(check) = args.command;
    run_check(&check)
}

fn run_check(args: &Check) -> anyhow::Result<ExitCode> {
    let options = Options {
        config_id: args.config_id.clone(),
        all_include_checks: args.all_config,
        ..Options::default()
    };
    let loaded = lb_config::load(&args.file, &options, &RealSystem);
    let colour = std::io::stdout().is_terminal() && !args.plain;
    let mut text = if args.plain {
        loaded.one_liners().map(|line| line + "\n").collect()
    } else {
        loaded.render(colour)
    };
    let refused = loaded.is_refused() || (args.strict && !loaded.diagnostics.is_empty());
    text += &format!("{}: {}\n", args.file.display(), summary(&loaded, refused));
    match anstream::stdout().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written?,
    }
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What the file holds and whether it can be used, in one line.
fn summary(loaded: &Loaded, refused: bool) -> String {
    let complaints = [
        count(loaded.diagnostics.errors(), "error"),
        count(loaded.diagnostics.warnings(), "warning"),
    ];
    let complaints = complaints.join(", ");
    let verdict = if refused { "refused" } else { "good" };
    match &loaded.model {
        Some(model) => format!(
            "{verdict}: {}, {}, {complaints}",
            count(model.vrrp_instances.len(), "VRRP instance"),
            count(model.virtual_servers.len(), "virtual server"),
        ),
        None => format!("{verdict}: {complaints}"),
    }
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
