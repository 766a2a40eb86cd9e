//! `lbctl config diff`: what a reload would change.

mod changes;
mod text;
mod words;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use super::{load, print};

/// Shows what a reload would change, by instance and virtual server
///
/// Compares what the daemon runs with its file, or with FILE; or two files with each other.
/// Exits with 0 when there is no difference, 1 when there is one, 2 on an error.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to compare with; the file of the running daemon when absent
    file: Option<PathBuf>,
    /// A file to compare FILE with, instead of what the daemon runs
    new: Option<PathBuf>,
    /// Print one JSON array for programs
    #[arg(long)]
    json: bool,
    /// What `@ID` lines are for; the node name up to the first dot when absent
    #[arg(short = 'i', long, value_name = "ID")]
    config_id: Option<String>,
}

/// Compares, and says so.
pub fn run(socket: &Path, args: &Args) -> ExitCode {
    match compare(socket, args) {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::FAILURE,
        Err(error) => {
            anstream::eprintln!("lbctl: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether there is a difference; it is printed.
fn compare(socket: &Path, args: &Args) -> anyhow::Result<bool> {
    let read = |file: &Path, elsewhere| -> anyhow::Result<Value> {
        let (_, model) = load::read(file, args.config_id.as_deref(), elsewhere)?;
        Ok(serde_json::to_value(&model)?)
    };
    let (old, new) = match (&args.file, &args.new) {
        (Some(old), Some(new)) => (read(old, true)?, read(new, true)?),
        (file, _) => {
            let (config, model) = load::in_force(socket)?;
            (model, read(file.as_deref().unwrap_or(Path::new(&config)), false)?)
        }
    };
    let sections = changes::between(&old, &new);
    if args.json {
        print(&(serde_json::to_string_pretty(&changes::to_json(&sections))? + "\n"))?;
    } else {
        print(&text::sections(&sections))?;
    }
    Ok(!sections.is_empty())
}
