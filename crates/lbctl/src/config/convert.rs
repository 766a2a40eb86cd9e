//! `lbctl config convert`: the same configuration in the other syntax.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use lb_config::Format;

use super::{load, print};

/// Writes a configuration as TOML, or as keepalived.conf
///
/// What it says stays the same, comments are kept. Included files become part of it; definitions,
/// loops and conditions are evaluated. Lines that mean nothing are left as comments, with a warning.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration
    file: PathBuf,
    /// The syntax to write; the other one than that of FILE when absent
    #[arg(long, value_name = "SYNTAX")]
    to: Option<Syntax>,
    /// Write to a file instead
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// What `@ID` lines are for; the node name up to the first dot when absent
    #[arg(short = 'i', long, value_name = "ID")]
    config_id: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Syntax {
    Toml,
    Keepalived,
}

/// Converts a file.
///
/// # Errors
/// The file is refused, or the output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (loaded, _) = load::read(&args.file, args.config_id.as_deref(), true)?;
    let is_toml = args.file.extension().is_some_and(|extension| extension == "toml");
    let to = match args.to {
        Some(Syntax::Toml) => Format::Toml,
        Some(Syntax::Keepalived) => Format::Keepalived,
        None if is_toml => Format::Keepalived,
        None => Format::Toml,
    };
    let converted = loaded.convert(to);
    for warning in &converted.warnings {
        anstream::eprintln!("lbctl: warning: {warning}");
    }
    match &args.output {
        Some(path) => std::fs::write(path, converted.text)
            .with_context(|| format!("cannot write {}", path.display()))?,
        None => print(&converted.text)?,
    }
    Ok(ExitCode::SUCCESS)
}
