//! Takes down what each line is understood as, while the blocks are read.

use crate::statement::{Statement, What};
use crate::syntax::Line;

/// The statements so far, of each block that is open.
#[derive(Debug)]
pub(super) struct Recorder {
    open: Vec<Open>,
}

/// A statement whose block may follow.
#[derive(Debug, Default)]
struct Open {
    has_block: bool,
    statements: Vec<Statement>,
}

impl Default for Recorder {
    fn default() -> Self {
        Recorder { open: vec![Open::default()] }
    }
}

impl Recorder {
    /// A keyword is about to be taken.
    pub(super) fn start(&mut self) {
        self.open.push(Open::default());
    }

    /// The block of the innermost keyword starts.
    pub(super) fn open(&mut self) {
        if let Some(open) = self.open.last_mut() {
            open.has_block = true;
        }
    }

    /// The innermost keyword was taken, and with it its block if it has one.
    pub(super) fn end(&mut self, what: What, line: &Line) {
        let Some(Open { has_block, statements }) = self.open.pop() else { return };
        self.push(what, line, has_block.then_some(statements));
    }

    /// A line that owns no block.
    pub(super) fn add(&mut self, what: What, line: &Line) {
        self.push(what, line, None);
    }

    fn push(&mut self, what: What, line: &Line, block: Option<Vec<Statement>>) {
        let statement = Statement {
            what,
            words: line.words_from(0).map(|word| word.text.to_owned()).collect(),
            command: line.command_words(),
            place: line.keyword_place(),
            block,
            before: Vec::new(),
            behind: None,
        };
        if let Some(open) = self.open.last_mut() {
            open.statements.push(statement);
        }
    }

    /// Everything at the top level.
    pub(super) fn finish(mut self) -> Vec<Statement> {
        self.open.drain(..).next().map(|open| open.statements).unwrap_or_default()
    }
}
