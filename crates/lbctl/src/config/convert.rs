//! `lbctl config convert`: the same configuration in the other syntax, or that of another system in one of
//! both.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use lb_config::{AnyInterface, Converted, Dialect, Format, Options};

use super::{load, print};

/// Writes a configuration as TOML, or as keepalived.conf
///
/// What it says stays the same, comments are kept. Included files become part of it; definitions,
/// loops and conditions are evaluated. Lines that mean nothing are left as comments, with a warning.
///
/// CARP of other systems becomes `carp_instance` blocks: hostname.carpN files of OpenBSD, rc.conf of
/// FreeBSD, with sysctl.conf beside them; and command lines of ucarp, one a line in a file, or one
/// after `--`. What they say and lbd cannot is named.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The configuration; of another system it may be several files
    #[arg(required_unless_present = "command")]
    files: Vec<PathBuf>,
    /// Whose words FILE is in, where its name does not say it
    #[arg(long, value_name = "SYSTEM")]
    from: Option<System>,
    /// The syntax to write; the other one than that of FILE when absent
    #[arg(long, value_name = "SYNTAX")]
    to: Option<Syntax>,
    /// Name an interface of another system as Linux does
    #[arg(long, value_name = "OLD=NEW", value_parser = renamed)]
    interface: Vec<(String, String)>,
    /// Write to a file instead
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// What `@ID` lines are for; the node name up to the first dot when absent
    #[arg(short = 'i', long, value_name = "ID")]
    config_id: Option<String>,
    /// A command line of ucarp
    #[arg(last = true, conflicts_with = "files")]
    command: Vec<String>,
}

const EXAMPLES: &str = "Examples:
  lbctl config convert keepalived.conf > lbd.toml
  lbctl config convert hostname.carp0 hostname.carp1 --interface em0=eth0
  lbctl config convert rc.conf sysctl.conf --to toml
  lbctl config convert -- ucarp -i eth0 -s 192.0.2.2 -v 1 -p secret -a 192.0.2.1";

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Syntax {
    Toml,
    Keepalived,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum System {
    Openbsd,
    Freebsd,
    Ucarp,
}

fn renamed(text: &str) -> Result<(String, String), String> {
    let (old, new) = text.split_once('=').ok_or("write OLD=NEW, as in em0=eth0")?;
    Ok((old.to_owned(), new.to_owned()))
}

/// Converts.
///
/// # Errors
/// A file cannot be read or is refused, or the output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let dialect = match args.from {
        Some(System::Openbsd) => Some(Dialect::OpenBsd),
        Some(System::Freebsd) => Some(Dialect::FreeBsd),
        Some(System::Ucarp) => Some(Dialect::Ucarp),
        None if !args.command.is_empty() => Some(Dialect::Ucarp),
        None => args.files.iter().find_map(|file| Dialect::of(file)),
    };
    let converted = match (dialect, &*args.files) {
        (Some(dialect), _) => import(args, dialect)?,
        (None, [file]) => {
            let is_toml = file.extension().is_some_and(|extension| extension == "toml");
            let other = if is_toml { Format::Keepalived } else { Format::Toml };
            let (loaded, _) = load::read(file, args.config_id.as_deref(), true)?;
            loaded.convert(args.to.map_or(other, Syntax::format))
        }
        (None, _) => bail!("only files of another system can be several; say which with --from"),
    };
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

impl Syntax {
    fn format(self) -> Format {
        match self {
            Syntax::Toml => Format::Toml,
            Syntax::Keepalived => Format::Keepalived,
        }
    }
}

/// Makes a configuration of that of another system; what is odd about either is shown.
fn import(args: &Args, dialect: Dialect) -> anyhow::Result<Converted> {
    let files: Vec<(String, String)> = if args.command.is_empty() {
        args.files.iter().map(|file| read(file)).collect::<anyhow::Result<_>>()?
    } else {
        let words: Vec<String> = args.command.iter().map(|word| for_shell(word)).collect();
        vec![("command line".to_owned(), words.join(" "))]
    };
    let interfaces: HashMap<String, String> = args.interface.iter().cloned().collect();
    let imported = lb_config::import(dialect, &files, &interfaces);
    let in_colour = std::io::stderr().is_terminal();
    anstream::eprint!("{}", imported.render(in_colour));
    let name = args.output.as_deref().map_or("result.conf".into(), Path::to_string_lossy);
    let options = Options { record_statements: true, only_read: true, ..Options::default() };
    let loaded = lb_config::parse_str(&name, &imported.text, &options, &AnyInterface);
    anstream::eprint!("{}", loaded.render(in_colour));
    Ok(match args.to {
        Some(Syntax::Toml) => loaded.convert(Format::Toml),
        Some(Syntax::Keepalived) | None => Converted { text: imported.text, warnings: Vec::new() },
    })
}

fn read(file: &Path) -> anyhow::Result<(String, String)> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok((file.display().to_string(), text))
}

/// A word so that a shell reads it back.
fn for_shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+%".contains(c);
    match word {
        word if !word.is_empty() && word.chars().all(plain) => word.to_owned(),
        word => format!("'{}'", word.replace('\'', "'\\''")),
    }
}
