//! Complaints about a configuration.

use crate::source::Span;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is wrong, but something is good to know.
    Note,
    /// The configuration can be used; something in it is skipped or adjusted, as keepalived does.
    Warning,
    /// The configuration is refused.
    Error,
}

/// What keepalived would call it, for the exit status of `-t`. Ordered as there: the largest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// keepalived has it, and it is not built here: refused unless it is allowed.
    Unbuilt,
    /// keepalived says nothing, or only logs it.
    Note,
    /// A file is missing.
    FileNotFound,
    /// An interface cannot be used.
    BadInterface,
    /// Nothing can go on.
    Fatal,
    /// A word that is no keyword here.
    UnknownKeyword,
    /// `{` after a word that takes no block.
    UnexpectedOpen,
    /// No `{` where a block must start.
    MissingOpen,
    /// One `}` too many.
    UnexpectedClose,
    /// The file ends inside a block.
    MissingClose,
    /// An odd number of quotes in a line.
    UnmatchedQuote,
    /// A number that is none or out of range.
    InvalidNumber,
    /// keepalived 2.2.7 refuses the file for it; newer ones do not, nor is it refused here.
    RefusedThere,
    /// Any other complaint.
    General,
    /// An old word.
    Deprecated,
    /// A script that anyone could replace.
    Security,
    /// An `include` whose failure the file forbids.
    IncludeCheck,
    /// A keyword without its argument: keepalived exits at once.
    MissingArgument,
}

impl Class {
    /// Exit status of `-t` when this is the largest class (`keepalived(8)`; 4, 5 and 6 as built, not as
    /// documented).
    pub fn exit_code(self) -> u8 {
        match self {
            Class::Unbuilt | Class::Note => 0,
            Class::FileNotFound | Class::BadInterface | Class::Fatal => 4,
            Class::Security | Class::IncludeCheck => 6,
            Class::MissingArgument => 2,
            _ => 5,
        }
    }
}

/// A second place that explains the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What is there.
    pub text: String,
}

/// One complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable name in kebab-case.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// keepalived's class.
    pub class: Class,
    /// One sentence without a full stop.
    pub message: String,
    /// Where; `None` when it is about no place in a file.
    pub span: Option<Span>,
    /// Other places.
    pub labels: Vec<Label>,
    /// What to do.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Says what to do about it.
    pub(crate) fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts it into another of keepalived's classes.
    pub(crate) fn class(&mut self, class: Class) -> &mut Self {
        self.class = class;
        self
    }

    /// Points at a second place.
    pub(crate) fn label(&mut self, place: impl Into<Place>, text: impl Into<String>) -> &mut Self {
        if let Some(span) = place.into().span {
            self.labels.push(Label { span, text: text.into() });
        }
        self
    }
}

/// Where something is said, and the definition it comes from if it is the value of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The words in the file: the use, where a definition was expanded.
    pub span: Option<Span>,
    /// The definition.
    pub definition: Option<Span>,
}

impl Place {
    /// About no place in a file.
    pub const NOWHERE: Place = Place { span: None, definition: None };
}

impl From<Span> for Place {
    fn from(span: Span) -> Place {
        Place { span: Some(span), definition: None }
    }
}

/// Complaints kept one by one; any more are counted only.
const MOST_KEPT: usize = 2_000;

/// Every complaint about one configuration, in the order they were found.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    kept: Vec<Diagnostic>,
    spare: Option<Box<Diagnostic>>,
    errors: usize,
    warnings: usize,
    notes: usize,
    worst: Option<Class>,
}

impl Diagnostics {
    /// Refuses the configuration.
    pub(crate) fn error(
        &mut self,
        id: &'static str,
        place: impl Into<Place>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.push(Severity::Error, Class::General, id, place.into(), message.into())
    }

    /// Complains of what keepalived complains of too and then goes on.
    pub(crate) fn warn(
        &mut self,
        id: &'static str,
        place: impl Into<Place>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.push(Severity::Warning, Class::General, id, place.into(), message.into())
    }

    /// Says what keepalived does not say.
    pub(crate) fn note(
        &mut self,
        id: &'static str,
        place: impl Into<Place>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.push(Severity::Warning, Class::Note, id, place.into(), message.into())
    }

    /// Where the next complaint will be, and the worst class before it.
    pub(crate) fn mark(&mut self) -> (usize, Option<Class>) {
        self.settle();
        (self.kept.len(), self.worst)
    }

    /// Takes complaints of a class, after a mark, for what keepalived does not get to.
    pub(crate) fn forgive(&mut self, class: Class, (from, worst): (usize, Option<Class>)) {
        self.settle();
        let mut later = worst;
        for found in self.kept.iter_mut().skip(from) {
            if found.class == class {
                found.class = Class::Note;
            }
            later = later.max(Some(found.class));
        }
        // Those that were counted only are of unknown classes.
        if !self.is_full() {
            self.worst = later;
        }
    }

    /// Says what is good to know.
    pub(crate) fn remark(
        &mut self,
        id: &'static str,
        place: impl Into<Place>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.push(Severity::Note, Class::Note, id, place.into(), message.into())
    }

    fn push(
        &mut self,
        severity: Severity,
        class: Class,
        id: &'static str,
        place: Place,
        message: String,
    ) -> &mut Diagnostic {
        match severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
            Severity::Note => self.notes += 1,
        }
        self.settle();
        let mut diagnostic = Diagnostic {
            id,
            severity,
            class,
            message,
            span: place.span,
            labels: Vec::new(),
            hint: None,
        };
        if let Some(span) = place.definition {
            diagnostic.label(span, "defined here");
        }
        if self.is_full() && severity == Severity::Warning {
            return self.spare.insert(Box::new(diagnostic));
        }
        self.kept.push(diagnostic);
        let last = self.kept.len() - 1;
        &mut self.kept[last]
    }

    /// Takes the class of the last complaint into account: it may be changed until the next comes.
    fn settle(&mut self) {
        let spare = self.spare.take().map(|diagnostic| diagnostic.class);
        let last = self.kept.last().map(|diagnostic| diagnostic.class);
        self.worst = self.worst.max(spare).max(last);
    }

    /// Whether further warnings are only counted, so that nothing expensive need be found out for them.
    pub(crate) fn is_full(&self) -> bool {
        self.kept.len() >= MOST_KEPT
    }

    /// Drops warnings and notes that are not wanted, and makes notes of errors about what is not built.
    /// What `-t` exits with stays.
    pub(crate) fn silence(&mut self, mut unwanted: impl FnMut(&Diagnostic) -> bool) {
        self.settle();
        let Diagnostics { kept, errors, warnings, notes, .. } = self;
        kept.retain_mut(|diagnostic| {
            if !unwanted(diagnostic) {
                return true;
            }
            match (diagnostic.severity, diagnostic.class) {
                (Severity::Error, Class::Unbuilt) => {
                    diagnostic.severity = Severity::Note;
                    diagnostic.hint = None;
                    *errors -= 1;
                    *notes += 1;
                    true
                }
                (Severity::Error, _) => true,
                (Severity::Warning, _) => {
                    *warnings -= 1;
                    false
                }
                (Severity::Note, _) => {
                    *notes -= 1;
                    false
                }
            }
        });
    }

    /// Those kept: every error and the first 2,000 warnings.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.kept.iter()
    }

    /// Number of errors.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// Number of warnings, those no longer kept included.
    pub fn warnings(&self) -> usize {
        self.warnings
    }

    /// Number of notes, which are no complaints.
    pub fn notes(&self) -> usize {
        self.notes
    }

    /// Number of complaints that [`Diagnostics::iter`] leaves out.
    pub fn left_out(&self) -> usize {
        self.errors + self.warnings + self.notes - self.kept.len()
    }

    /// Whether there is nothing to complain of; notes do not count.
    pub fn is_empty(&self) -> bool {
        self.errors + self.warnings == 0
    }

    /// Exit status that `keepalived -t` has for this: 0 clean, 2 missing argument, 4 fatal, 5 complaints,
    /// 6 script security or include checks.
    pub fn exit_code_of_check(&self) -> u8 {
        let last = self.kept.last().map(|diagnostic| diagnostic.class);
        let spare = self.spare.as_ref().map(|diagnostic| diagnostic.class);
        self.worst.max(last).max(spare).map_or(0, Class::exit_code)
    }

    /// Exit status of a daemon that does not start for this: 6 when no usable file was found or an include
    /// failed that must not, 2 for anything else.
    pub fn exit_code_of_refusal(&self) -> u8 {
        let of_files = |diagnostic: &Diagnostic| {
            diagnostic.severity == Severity::Error
                && (diagnostic.class == Class::IncludeCheck
                    || diagnostic.id == "configuration-file")
        };
        if self.kept.iter().any(of_files) { 6 } else { 2 }
    }
}
