//! keepalived.conf to one typed [`Model`], with diagnostics.
//!
//! Two stages: *syntax* makes a stream of lines and words with spans of bytes and knows no keyword,
//! *meaning* makes the model of it by tables that say what each keyword takes. The machine is asked
//! through the trait [`System`], so that the whole crate works on texts in memory as well.
//!
//! [`load`] never fails half-way: it gives a [`Model`] in which nothing need be checked again, or none,
//! and every complaint in either case.

mod diagnostic;
mod meaning;
pub mod model;
mod reference;
mod render;
mod source;
mod syntax;
mod system;

use std::path::Path;

pub use diagnostic::{Class, Diagnostic, Diagnostics, Label, Place, Severity};
pub use meaning::Use;
pub use model::Model;
pub use reference::{Block, Keyword, Kind, tables};
pub use source::{FileId, Position, Source, Sources, Span};
pub use system::{FileStatus, Interface, MemoryFile, MemorySystem, RealSystem, System};

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
    reader.open_text(name, text);
    finish(reader, Diagnostics::default(), options, system)
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
    let meaning::Finished { model, diagnostics, sources, uses } = read;
    let model = (diagnostics.errors() == 0).then_some(model);
    Loaded { model, diagnostics, sources, uses }
}

impl Loaded {
    /// Whether the configuration must not be used.
    pub fn is_refused(&self) -> bool {
        self.model.is_none()
    }
}
