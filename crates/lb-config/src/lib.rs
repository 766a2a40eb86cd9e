//! keepalived.conf to one typed [`Model`], with diagnostics.
//!
//! Two stages: *syntax* makes a stream of lines and words with spans of bytes and knows no keyword,
//! *meaning* makes the model of it by tables that say what each keyword takes. The machine is asked
//! through the trait [`System`], so that the whole crate works on texts in memory as well.
//!
//! [`load`] never fails half-way: it gives a [`Model`] in which nothing need be checked again, or none,
//! and every complaint in either case.

mod acl;
mod convert;
mod diagnostic;
mod elsewhere;
mod import;
mod meaning;
pub mod model;
mod reference;
mod render;
pub mod security;
mod source;
mod statement;
mod syntax;
mod system;
mod toml;

use std::path::Path;

pub use convert::{Converted, Format};
pub use diagnostic::{Class, Diagnostic, Diagnostics, Label, Place, Severity};
pub use elsewhere::AnyInterface;
pub use import::{Dialect, Imported, import};
pub use meaning::Use;
pub use model::Model;
pub use reference::{Block, Keyword, Kind, OWN, tables};
pub use render::{Message, MessageLabel, MessagePlace};
pub use source::{FileId, Position, Source, Sources, Span};
pub use statement::{Statement, What};
pub use system::{FileStatus, MemoryFile, MemorySystem, RealSystem, System};

/// How a configuration is read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What `@ID` is compared with; the node name up to the first dot when absent (`-i`).
    pub config_id: Option<String>,
    /// Every failure of an `include` is an error (`-e`).
    pub all_include_checks: bool,
    /// The file is only checked (`-t`): a number with something after it is not used.
    pub testing: bool,
    /// Every use of a keyword is kept in [`Loaded::uses`].
    pub record_uses: bool,
    /// Every line is kept, with what it was understood as, in [`Loaded::statements`].
    pub record_statements: bool,
    /// Ids of warnings and notes to leave out, and of what is refused only because it is not built yet and may run all
    /// the same.
    pub allow: Vec<String>,
    /// The configuration is shown, compared or converted, not run: what is not built yet is no reason to refuse it.
    pub only_read: bool,
}

/// A configuration that was read.
#[derive(Debug)]
pub struct Loaded {
    /// What it says; `None` when it is refused.
    pub model: Option<Model>,
    /// Every complaint.
    pub diagnostics: Diagnostics,
    /// The files.
    pub sources: Sources,
    /// Every use of a keyword, if that was asked for.
    pub uses: Vec<Use>,
    /// Every line, if that was asked for.
    pub statements: Vec<Statement>,
}

/// Reads a file, or all files a pattern matches.
pub fn load(path: &Path, options: &Options, system: &dyn System) -> Loaded {
    let mut diagnostics = Diagnostics::default();
    let mut reader = reader(options, system);
    reader.open(path, &mut diagnostics);
    finish(reader, diagnostics, options, system)
}

/// Reads a text as if it were a file of that name in the current directory.
pub fn parse_str(name: &str, text: &str, options: &Options, system: &dyn System) -> Loaded {
    let mut reader = reader(options, system);
    let mut diagnostics = Diagnostics::default();
    reader.open_text(name, text, &mut diagnostics);
    finish(reader, diagnostics, options, system)
}

fn reader<'a>(options: &Options, system: &'a dyn System) -> syntax::Reader<'a> {
    let id = options.config_id.clone().unwrap_or_else(|| {
        let name = system.host_name();
        name.split('.').next().unwrap_or_default().to_owned()
    });
    syntax::Reader::new(system, id, options.all_include_checks)
}

fn finish(
    reader: syntax::Reader<'_>,
    diagnostics: Diagnostics,
    options: &Options,
    system: &dyn System,
) -> Loaded {
    let read = meaning::read(reader, diagnostics, options, system);
    let meaning::Finished { model, mut diagnostics, sources, uses, statements } = read;
    diagnostics.silence(|diagnostic| is_allowed(diagnostic, options, &sources));
    let model = (diagnostics.errors() == 0).then_some(model);
    Loaded { model, diagnostics, sources, uses, statements }
}

/// Whether the caller or a comment `allow(ID)` wants to hear nothing of it.
fn is_allowed(diagnostic: &Diagnostic, options: &Options, sources: &Sources) -> bool {
    if options.allow.iter().any(|id| id == diagnostic.id) {
        return true;
    }
    if options.only_read && diagnostic.class == Class::Unbuilt {
        return true;
    }
    let Some(span) = diagnostic.span else { return false };
    let (line, before) = sources.around(span);
    let comment_of = |line| match line {
        "" => None,
        line => Some(&line[line.find(['#', '!'])?..]),
    };
    // On the line before, the comment must stand alone.
    let before = Some(before.trim_start()).filter(|before| before.starts_with(['#', '!']));
    [comment_of(line), before].into_iter().flatten().any(|comment: &str| {
        let lists = comment.split("allow(").skip(1).filter_map(|rest| rest.split_once(')'));
        lists.flat_map(|(list, _)| list.split(',')).any(|id| id.trim() == diagnostic.id)
    })
}

impl Loaded {
    /// Whether the configuration must not be used.
    pub fn is_refused(&self) -> bool {
        self.model.is_none()
    }
}
