//! Reads the configuration and says what is wrong with it.

use std::path::Path;
use std::sync::Arc;

use lb_config::{Class, Format, Loaded, Model, Options, RealSystem, Severity};

use crate::cli::Args;

/// A configuration that may be used.
#[derive(Debug)]
pub struct Configuration {
    /// What it says.
    pub model: Model,
    /// What is wrong with it all the same.
    pub complaints: Complaints,
    /// The same as TOML, if there is a record to keep (`--record`); else empty.
    pub written: Arc<str>,
}

/// Complaints of a configuration that may be used. There can be thousands, so they become lines when
/// nobody waits any more.
#[derive(Debug)]
pub struct Complaints(Loaded);

impl Complaints {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.diagnostics.iter().count()
    }

    /// The first complaints, each on a line of its own, for who asked for the reload.
    #[must_use]
    pub fn first_lines(&self) -> String {
        const MOST: usize = 5;
        let lines = self.0.one_liners().take(MOST);
        let said = lines.fold(String::new(), |said, line| said + "\n  " + &line);
        if self.count() > MOST { said + "\n  …" } else { said }
    }

    /// Logs each, under its severity.
    pub fn log(self) {
        self.0.one_liners().for_each(|line| log_line(&line));
    }
}

/// A configuration that must not be used.
#[derive(Debug)]
pub struct Refused {
    /// Every complaint as it is shown to a person.
    pub rendered: String,
    /// Every complaint as a line.
    pub lines: Vec<String>,
    /// The first that matters, with file, line and column.
    pub first: String,
    /// Exit status of a daemon that was to start with it: 6 for a file that cannot be used, else 2.
    pub status: u8,
}

/// Reads the configuration that the command line names.
///
/// # Errors
/// It is refused: for what keepalived refuses, or, if `--strict`, for what it complains of.
pub fn load(args: &Args) -> Result<Configuration, Refused> {
    let mut loaded = read(args, false);
    let complaints = loaded.diagnostics.exit_code_of_check() != 0;
    match loaded.model.take() {
        Some(model) if !(args.strict && complaints) => {
            let written = match args.record {
                Some(_) => loaded.convert(Format::Toml).text.into(),
                None => Arc::default(),
            };
            Ok(Configuration { model, complaints: Complaints(loaded), written })
        }
        _ => Err(refusal(&loaded)),
    }
}

fn refusal(loaded: &Loaded) -> Refused {
    let mut lines: Vec<String> = loaded.one_liners().collect();
    let errors = || loaded.diagnostics.iter().filter(|d| d.severity == Severity::Error);
    let unusable = errors().any(|d| d.class == Class::IncludeCheck || d.id == "configuration-file");
    let position = loaded.diagnostics.iter().position(|d| d.severity == Severity::Error);
    let mut rendered = loaded.render(false);
    if position.is_none() {
        lines.iter_mut().for_each(|line| line.push_str("; --strict makes it an error"));
        rendered += "--strict makes these warnings errors\n";
    }
    let first = lines.get(position.unwrap_or(0)).cloned().unwrap_or_default();
    Refused { rendered, lines, first, status: if unusable { 6 } else { 2 } }
}

/// Logs complaints, each under its severity.
pub fn log(lines: &[String]) {
    lines.iter().for_each(|line| log_line(line));
}

fn log_line(line: &str) {
    if line.starts_with("error: ") || line.contains(": error: ") {
        tracing::error!("{line}");
    } else {
        tracing::warn!("{line}");
    }
}

/// What `-t` found: the text to show and the exit status.
#[must_use]
pub fn check(args: &Args, colour: bool) -> (String, u8) {
    let loaded = read(args, true);
    (loaded.render(colour), loaded.diagnostics.exit_code_of_check())
}

fn read(args: &Args, testing: bool) -> Loaded {
    let mut allow = args.allow.clone();
    if args.namespace.is_some() {
        // `-s` overrules it, as under keepalived.
        allow.push("net-namespace".to_owned());
    }
    let options = Options {
        allow,
        config_id: args.config_id.clone(),
        all_include_checks: args.all_config,
        testing,
        record_statements: args.record.is_some() && !testing,
        ..Options::default()
    };
    lb_config::load(Path::new(&args.config), &options, &RealSystem)
}
