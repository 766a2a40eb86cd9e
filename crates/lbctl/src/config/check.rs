//! `lbctl config check`: would lbd run with it?

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use lb_config::{Loaded, Options, RealSystem};

use super::report::{self, Report};
use super::{count, print};

/// Checks a configuration as lbd would read it, and says what is wrong with it
///
/// Exits with 0 when lbd would run with it, 1 when it would refuse it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration, or a pattern of several
    file: PathBuf,
    /// Refuse the file for warnings too
    #[arg(long)]
    strict: bool,
    /// One line for each complaint, without colour
    #[arg(long, conflicts_with = "message_format")]
    plain: bool,
    /// Say of each keyword that is used what becomes of it
    #[arg(long, conflicts_with = "plain")]
    report: bool,
    /// Print the report as one JSON object for programs
    #[arg(long, requires = "report")]
    json: bool,
    /// How complaints are written
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    message_format: MessageFormat,
    /// Say nothing of warnings of this kind; `# allow(ID)` in the file does the same for a line
    #[arg(long, value_name = "ID")]
    allow: Vec<String>,
    /// What `@ID` lines are for; the node name up to the first dot when absent
    #[arg(short = 'i', long, value_name = "ID")]
    config_id: Option<String>,
    /// Take every failure of an include for an error
    #[arg(short = 'e', long)]
    all_config: bool,
}

/// How complaints are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum MessageFormat {
    /// With the lines they are about
    Human,
    /// One line each
    Short,
    /// One JSON object each, for editors and CI
    Json,
}

/// Checks a file.
///
/// # Errors
/// The output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let options = Options {
        config_id: args.config_id.clone(),
        all_include_checks: args.all_config,
        record_uses: args.report,
        allow: args.allow.clone(),
        ..Options::default()
    };
    let loaded = lb_config::load(&args.file, &options, &RealSystem);
    let refused = loaded.is_refused() || (args.strict && !loaded.diagnostics.is_empty());
    let text =
        if args.report { reported(args, &loaded) } else { complaints(args, &loaded, refused) }?;
    print(&text)?;
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn complaints(args: &Args, loaded: &Loaded, refused: bool) -> anyhow::Result<String> {
    let format = if args.plain { MessageFormat::Short } else { args.message_format };
    let mut text = match format {
        MessageFormat::Human => loaded.render(std::io::stdout().is_terminal()),
        MessageFormat::Short => loaded.one_liners().map(|line| line + "\n").collect(),
        MessageFormat::Json => {
            let lines: Result<Vec<String>, _> =
                loaded.messages().map(|message| serde_json::to_string(&message)).collect();
            lines?.into_iter().map(|line| line + "\n").collect()
        }
    };
    if format != MessageFormat::Json {
        text += &format!("{}: {}\n", args.file.display(), summary(loaded, refused));
    }
    Ok(text)
}

fn reported(args: &Args, loaded: &Loaded) -> anyhow::Result<String> {
    let report = Report::new(&args.file, loaded);
    if args.json || args.message_format == MessageFormat::Json {
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
        Some(model) => {
            let carp = match model.carp_instances.len() {
                0 => String::new(),
                some => count(some, "CARP instance") + ", ",
            };
            format!(
                "{verdict}: {}, {carp}{}, {complaints}",
                count(model.vrrp_instances.len(), "VRRP instance"),
                count(model.virtual_servers.len(), "virtual server"),
            )
        }
        None => format!("{verdict}: {complaints}"),
    }
}
