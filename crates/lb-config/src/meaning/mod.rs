//! Logical lines to the model, by tables of keywords.
//!
//! Each block gathers what it says in a draft; when everything is read the drafts refer to each other,
//! take their defaults and become the model. What keepalived complains of is complained of here, and
//! then skipped or adjusted as there.

mod check;
mod global;
mod group;
mod lvs;
mod lvs_finish;
mod script;
mod table;
mod value;
mod vip;
mod vrrp;
mod vrrp_finish;
mod vrrp_script;

use std::collections::{HashMap, HashSet};

use crate::Options;
use crate::diagnostic::{Class, Diagnostics, Place};
use crate::model::Model;
use crate::source::Sources;
use crate::syntax::{Kind, Line, Reader};
use crate::system::System;
use global::Globals;
use script::Owner;
use table::{Keyword, Later, Table, Takes};

/// What reading needs everywhere.
pub(crate) struct Context<'a> {
    reader: Reader<'a>,
    peeked: Option<Line>,
    pub(crate) diags: Diagnostics,
    pub(crate) system: &'a dyn System,
    pub(crate) options: &'a Options,
    pub(crate) globals: Globals,
    /// `script_user`
    pub(crate) script_user: Option<Owner>,
    /// Scripts defined so far, with their default weight and direction.
    pub(crate) scripts: HashMap<String, (i16, bool)>,
    /// Interfaces named, and where first, in that order.
    interfaces: Vec<(String, Place)>,
    known_interfaces: HashSet<String>,
    /// The innermost block that the end of the file cuts off.
    unclosed: Option<Place>,
}

/// Everything the top level holds.
#[derive(Default)]
pub(crate) struct Draft {
    instances: Vec<vrrp::Instance>,
    instance_places: HashMap<String, Place>,
    groups: Vec<group::Group>,
    group_names: HashSet<String>,
    scripts: Vec<vrrp_script::Script>,
    server_groups: Vec<crate::model::VirtualServerGroup>,
    server_group_names: HashSet<String>,
    servers: Vec<lvs::Server>,
}

/// Reads everything a reader has to give.
pub(crate) fn read<'a>(
    reader: Reader<'a>,
    diags: Diagnostics,
    options: &'a Options,
    system: &'a dyn System,
) -> (Model, Diagnostics, Sources) {
    let mut context = Context {
        reader,
        peeked: None,
        diags,
        system,
        options,
        globals: Globals::default(),
        script_user: None,
        scripts: HashMap::new(),
        interfaces: Vec::new(),
        known_interfaces: HashSet::new(),
        unclosed: None,
    };
    let mut draft = Draft::default();
    context.body(&global::TOP, &mut draft, true);
    // What was read of a file that was not read to its end says nothing.
    let model = if context.reader.is_stopped() {
        Model::default()
    } else {
        context.check_braces();
        finish(&mut context, draft)
    };
    (model, context.diags, context.reader.into_sources())
}

fn finish(context: &mut Context<'_>, draft: Draft) -> Model {
    context.check_interfaces();
    let scripts = vrrp_script::finish(context, draft.scripts);
    let (vrrp_instances, sync_groups) =
        vrrp_finish::finish(context, draft.instances, draft.groups, &scripts);
    let virtual_servers = lvs_finish::finish(context, draft.servers, &draft.server_groups);
    let global = global::finish(context);
    context.complain_of_security();
    Model {
        global,
        vrrp_instances,
        sync_groups,
        vrrp_scripts: scripts,
        virtual_server_groups: draft.server_groups,
        virtual_servers,
    }
}

/// Adds to a list that nearly always has one item, and takes room for four only from the second on.
fn push_single<T>(list: &mut Vec<T>, item: T) {
    if list.is_empty() {
        list.reserve_exact(1);
    }
    list.push(item);
}

/// Collects what the model keeps into as much memory as it needs. A plain `collect` of what was a
/// vector of drafts would keep theirs, which is several times that.
fn exact<T>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut list = Vec::with_capacity(items.size_hint().1.unwrap_or_default());
    list.extend(items);
    list
}

impl Context<'_> {
    fn next(&mut self) -> Option<Line> {
        self.peeked.take().or_else(|| self.reader.next(&mut self.diags))
    }

    /// Reads `{`, or takes it as read.
    fn open_brace(&mut self, block: &str, place: Place) {
        match self.next() {
            Some(line) if line.kind == Kind::Open => {}
            other => {
                let message = format!("`{{` is missing after `{block}`");
                self.diags
                    .warn("missing-open", place, message)
                    .class(Class::MissingOpen)
                    .hint("the block is read as if it were there");
                self.reader.assume_open();
                self.peeked = other;
            }
        }
    }

    /// Reads a block with the keywords of a table.
    pub(crate) fn block<B>(&mut self, table: &Table<B>, draft: &mut B, head: &Line) {
        self.open_brace(head.str(0), head.place());
        if !self.body(table, draft, false) {
            self.unclosed.get_or_insert(head.place());
        }
    }

    /// Reads a block whose lines are no keywords; `head` holds `words` and the keyword.
    pub(crate) fn list(
        &mut self,
        head: &Line,
        words: usize,
        mut entry: impl FnMut(&mut Self, &Line),
    ) {
        if head.len() > words + 1 {
            let message = format!("`{}` takes nothing before `{{`", head.str(0));
            self.diags.warn("extra-words", head.place_from(words + 1), message);
        }
        self.open_brace(head.str(0), head.place());
        while let Some(line) = self.next() {
            match line.kind {
                Kind::Words => entry(self, &line),
                Kind::Close => return,
                Kind::Open => self.unexpected_open(&line),
            }
        }
        self.unclosed.get_or_insert(head.place());
    }

    /// Reads over a block, if one follows.
    pub(crate) fn skip_block(&mut self) {
        match self.next() {
            Some(line) if line.kind == Kind::Open => {}
            other => {
                self.peeked = other;
                return;
            }
        }
        let mut depth = 1;
        while let Some(line) = self.next() {
            match line.kind {
                Kind::Words => {}
                Kind::Open => depth += 1,
                Kind::Close => depth -= 1,
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// Whether the block was closed.
    fn body<B>(&mut self, table: &Table<B>, draft: &mut B, top: bool) -> bool {
        while let Some(line) = self.next() {
            match line.kind {
                Kind::Words => self.keyword(table, draft, &line),
                Kind::Open => self.unexpected_open(&line),
                Kind::Close if !top => return true,
                Kind::Close => {
                    self.diags
                        .warn("unknown-keyword", line.place(), "this `}` is in no block")
                        .class(Class::UnknownKeyword)
                        .hint("a block before it was closed early, or its keyword is not known");
                }
            }
        }
        false
    }

    fn unexpected_open(&mut self, line: &Line) {
        self.diags
            .warn(
                "unexpected-open",
                line.place(),
                "this `{` follows no keyword that takes a block, and is ignored",
            )
            .class(Class::UnexpectedOpen);
    }

    fn keyword<B>(&mut self, table: &Table<B>, draft: &mut B, line: &Line) {
        let name = line.str(0);
        let Some(keyword) = self.find(table, name, line) else {
            match table.later.iter().find(|later| later.name == name) {
                Some(later) => self.not_yet(later, line),
                None => self.unknown(table, line),
            }
            return;
        };
        if line.len() <= keyword.takes.needed() {
            self.missing_argument(line);
            return;
        }
        self.take(keyword, draft, line);
    }

    fn find<'t, B>(
        &mut self,
        table: &'t Table<B>,
        name: &str,
        line: &Line,
    ) -> Option<&'t Keyword<B>> {
        let current =
            |keyword: &&Keyword<B>| keyword.name == name || keyword.aliases.contains(&name);
        if let Some(keyword) = table.keywords.iter().find(current) {
            return Some(keyword);
        }
        let keyword = table.keywords.iter().find(|keyword| keyword.deprecated.contains(&name))?;
        self.diags
            .warn("deprecated", line.keyword_place(), format!("`{name}` is an old name"))
            .class(Class::Deprecated)
            .hint(format!("write `{}`", keyword.name));
        Some(keyword)
    }

    fn take<B>(&mut self, keyword: &Keyword<B>, draft: &mut B, line: &Line) {
        match &keyword.takes {
            Takes::Flag(set) => set(draft),
            Takes::Switch(set) => {
                if let Some(on) = self.switch(line) {
                    set(draft, on);
                }
            }
            Takes::Integer { min, max, set } => {
                if let Some(number) = self.integer_or(line, 1, *min, *max, keyword.default) {
                    set(draft, number);
                }
            }
            Takes::Seconds { min, max, places, set } => {
                if let Some(time) = self.seconds_or(line, 1, *min, *max, *places, keyword.default) {
                    set(draft, time);
                }
            }
            Takes::Text(set) => set(draft, line.str(1)),
            Takes::Address(set) => {
                if let Some(address) = self.address(line, 1) {
                    set(draft, address);
                }
            }
            Takes::Command(set) => {
                if let Some(command) = self.command(line) {
                    set(draft, command);
                }
            }
            Takes::Words { read, .. } | Takes::Block { read, .. } => read(draft, self, line),
            Takes::List { entry } => {
                self.list(line, 0, |context, line| entry(draft, context, line));
            }
        }
    }

    fn not_yet(&mut self, later: &Later, line: &Line) {
        let class = if later.deprecated { Class::Deprecated } else { Class::Note };
        if class != Class::Note || !self.diags.is_full() {
            let name = line.str(0);
            let message = format!("`{name}` is not supported yet");
            let hint = if later.block { "its whole block is skipped" } else { "it has no effect" };
            self.diags
                .note("not-supported-yet", line.keyword_place(), message)
                .class(class)
                .hint(hint);
        }
        if later.block {
            self.skip_block();
        }
    }

    fn unknown<B>(&mut self, table: &Table<B>, line: &Line) {
        let name = line.str(0);
        let similar = if self.diags.is_full() { None } else { similar(table, name) };
        let message = if table.block.is_empty() {
            format!("unknown keyword `{name}`")
        } else {
            format!("unknown keyword `{name}` in `{}`", table.block)
        };
        let diagnostic = self.diags.warn("unknown-keyword", line.keyword_place(), message);
        diagnostic.class(Class::UnknownKeyword);
        match similar {
            Some(similar) if name.len() > similar.len() && name.starts_with(similar) => {
                diagnostic.hint(format!("write a blank after `{similar}`"));
            }
            Some(similar) => {
                diagnostic.hint(format!("did you mean `{similar}`?"));
            }
            None if name.starts_with('$') && line.str(1).starts_with('=') => {
                diagnostic.hint(format!("write `{name}=` without a blank to define it"));
            }
            None => {}
        }
    }

    /// keepalived exits at once where a keyword lacks its argument.
    pub(crate) fn missing_argument(&mut self, line: &Line) {
        let message =
            format!("`{}` is missing its argument", line.str(line.len().saturating_sub(1)));
        self.diags.error("missing-argument", line.place(), message).class(Class::MissingArgument);
        self.reader.stop();
        self.peeked = None;
    }

    fn check_braces(&mut self) {
        let open = self.reader.open_braces();
        if open > 0 {
            let plural = if open == 1 { "block is" } else { "blocks are" };
            let message = format!("the file ends, but {open} {plural} not closed");
            self.diags
                .warn("missing-close", self.unclosed.unwrap_or_default(), message)
                .class(Class::MissingClose)
                .hint("look for a `}` that is missing, or a `{` too many");
        }
    }

    /// Notes that an interface is used.
    pub(crate) fn uses_interface(&mut self, name: &str, place: Place) {
        if !self.known_interfaces.contains(name) {
            self.known_interfaces.insert(name.to_owned());
            self.interfaces.push((name.to_owned(), place));
        }
    }

    /// keepalived does not start when an interface is missing, unless told that they come and go.
    fn check_interfaces(&mut self) {
        for (name, place) in std::mem::take(&mut self.interfaces) {
            if self.system.interface(&name).is_some() {
                continue;
            }
            let message = format!("interface `{name}` does not exist");
            if self.globals.dynamic_interfaces {
                self.diags.note("missing-interface", place, message).hint("it is waited for");
            } else {
                self.diags
                    .error("missing-interface", place, message)
                    .hint("create it first, or allow it to come later with `dynamic_interfaces` in `global_defs`");
            }
        }
    }
}

/// The keyword of a table that looks most like a word, if any does: by a few letters, or with its argument
/// glued on.
fn similar<B>(table: &Table<B>, word: &str) -> Option<&'static str> {
    if word.len() > 64 {
        return None;
    }
    let names = || {
        let current = table.keywords.iter().flat_map(|keyword| {
            std::iter::once(keyword.name).chain(keyword.aliases.iter().copied())
        });
        current.chain(table.later.iter().map(|later| later.name))
    };
    let lower = word.to_ascii_lowercase();
    let near = names()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_ascii_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).clamp(1, 4))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name);
    let glued = || {
        let starts = |name: &&str| {
            word.strip_prefix(name).is_some_and(|rest| {
                rest.starts_with(|c: char| c.is_ascii_digit() || "[\"'/".contains(c))
            })
        };
        names().filter(starts).max_by_key(|name| name.len())
    };
    near.or_else(glued)
}
