//! `lbctl config`: looks at configurations.

mod report;

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use lb_config::{Loaded, Options, RealSystem};
use report::Report;

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
    /// Say of each keyword that is used what becomes of it
    #[arg(long, conflicts_with = "plain")]
    report: bool,
    /// Print the report as one JSON object for programs
    #[arg(long, requires = "report")]
    json: bool,
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
        record_uses: args.report,
        ..Options::default()
    };
    let loaded = lb_config::load(&args.file, &options, &RealSystem);
    let refused = loaded.is_refused() || (args.strict && !loaded.diagnostics.is_empty());
    let text =
        if args.report { reported(args, &loaded)? } else { complaints(args, &loaded, refused) };
    match anstream::stdout().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written?,
    }
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn complaints(args: &Check, loaded: &Loaded, refused: bool) -> String {
    let colour = std::io::stdout().is_terminal() && !args.plain;
    let text = if args.plain {
        loaded.one_liners().map(|line| line + "\n").collect()
    } else {
        loaded.render(colour)
    };
    format!("{text}{}: {}\n", args.file.display(), summary(loaded, refused))
}

fn reported(args: &Check, loaded: &Loaded) -> anyhow::Result<String> {
    let report = Report::new(&args.file, loaded);
    if args.json {
        return Ok(serde_json::to_string_pretty(&report.json())? + "\n");
    }
    let width = terminal_size::terminal_size().map_or(80, |(width, _)| width.0);
    Ok(report::text(&report, width.clamp(40, 100)))
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
