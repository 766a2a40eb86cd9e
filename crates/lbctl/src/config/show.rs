//! `lbctl config show`: the configuration as it is understood.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lb_config::Format;
use serde_json::Value;

use super::{load, print};

/// Prints a configuration as it is understood, by default the one in force
///
/// Included files are part of it; definitions, loops and conditions are evaluated.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration; that of the running daemon when absent
    file: Option<PathBuf>,
    /// Add every default that holds, marked by a comment
    #[arg(long, conflicts_with = "json")]
    defaults: bool,
    /// Print every value as one JSON object for programs
    #[arg(long)]
    json: bool,
    /// What `@ID` lines are for; the node name up to the first dot when absent
    #[arg(short = 'i', long, value_name = "ID")]
    config_id: Option<String>,
}

/// Shows a file, or what is in force.
///
/// # Errors
/// The file is refused, the daemon not reached, or the output not written.
pub fn run(socket: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let (file, in_force) = match &args.file {
        Some(file) => (file.clone(), None),
        None => {
            let (file, model) = load::in_force(socket)?;
            (PathBuf::from(file), Some(model))
        }
    };
    if let (true, Some(model)) = (args.json, &in_force) {
        return print_json(model);
    }
    let (loaded, model) = load::read(&file, args.config_id.as_deref(), in_force.is_none())?;
    let model = serde_json::to_value(&model)?;
    if args.json {
        return print_json(&model);
    }
    if in_force.is_some_and(|in_force| in_force != model) {
        anstream::eprintln!(
            "lbctl: warning: {} has changed since it was put in force; `lbctl config diff` says \
             how, --json shows what is in force",
            file.display()
        );
    }
    let text = if args.defaults {
        loaded.with_defaults()
    } else {
        loaded.convert(Format::Keepalived).text
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn print_json(model: &Value) -> anyhow::Result<ExitCode> {
    print(&(serde_json::to_string_pretty(model)? + "\n"))?;
    Ok(ExitCode::SUCCESS)
}
