//! Logical lines to the model, by tables of keywords.
//!
//! Each block gathers what it says in a draft; when everything is read the drafts refer to each other,
//! take their defaults and become the model. What keepalived complains of is complained of here, and
//! then skipped or adjusted as there.

mod carp;
mod carp_finish;
mod check;
mod check_more;
mod daemon;
mod global;
mod group;
mod habits;
mod hmac;
mod instances;
mod link;
mod lint;
mod lint_carp;
mod lvs;
mod lvs_finish;
mod lvs_group;
mod lvs_method;
mod lvs_setting;
mod reference;
mod route;
mod router;
mod router_finish;
mod rule;
mod script;
mod statements;
mod table;
mod top;
mod track;
mod tracking;
mod uses;
mod value;
mod vip;
mod vrrp;
mod vrrp_finish;
mod vrrp_script;

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

pub use reference::tables;
pub use uses::Use;
pub(crate) use value::boolean;

use crate::Options;
use crate::diagnostic::{Class, Diagnostics, Place};
use crate::model::Model;
use crate::source::Sources;
use crate::statement::{Statement, What};
use crate::syntax::{Kind, Line, Reader, Word};
use crate::system::System;
use global::Globals;
use habits::Again;
use script::NamedOwner;
use statements::Recorder;
use table::{Keyword, Table, Takes};
use uses::Uses;

/// What reading needs everywhere.
pub(crate) struct Context<'a> {
    reader: Reader<'a>,
    peeked: Option<Line>,
    pub(crate) diags: Diagnostics,
    pub(crate) system: &'a dyn System,
    pub(crate) options: &'a Options,
    pub(crate) globals: Globals,
    /// `script_user`
    pub(crate) script_user: Option<NamedOwner>,
    /// Scripts defined so far, with their default weight and direction.
    pub(crate) scripts: HashMap<String, (i16, bool)>,
    /// Interfaces named, and where first, in that order.
    interfaces: Vec<(String, Place)>,
    known_interfaces: HashSet<String>,
    /// Interfaces that are in a `garp_group`.
    garp_interfaces: HashSet<String>,
    /// The innermost block that the end of the file cuts off.
    unclosed: Option<Place>,
    /// Keywords that were used.
    pub(crate) uses: Uses,
    /// The statements so far, if they are asked for.
    recorder: Option<Recorder>,
    /// Files, processes and sessions that can be tracked.
    pub(crate) tracked: Trackable,
    /// IPv4 addresses of this host in their order, once they are asked for.
    own_addresses: Option<Vec<Ipv4Addr>>,
}

/// What is defined so far for lists to track, with default weight and direction.
#[derive(Debug, Default)]
pub(crate) struct Trackable {
    pub(crate) files: HashMap<String, (i16, bool)>,
    pub(crate) processes: HashMap<String, (i16, bool)>,
    pub(crate) bfds: HashMap<String, (i16, bool)>,
}

/// Everything the top level holds.
#[derive(Default)]
pub(crate) struct Draft {
    #[expect(clippy::vec_box, reason = "each is let go when it has become part of the model")]
    instances: Vec<Box<vrrp::Instance>>,
    #[expect(clippy::vec_box, reason = "the same")]
    carp_instances: Vec<Box<carp::Instance>>,
    /// Names of instances, and which block has them where.
    instance_places: HashMap<String, (&'static str, Place)>,
    groups: Vec<group::Group>,
    group_names: HashSet<String>,
    scripts: Vec<vrrp_script::Script>,
    server_groups: Vec<crate::model::VirtualServerGroup>,
    server_group_names: HashSet<String>,
    #[expect(clippy::vec_box, reason = "each is let go when it has become part of the model")]
    servers: Vec<Box<lvs::Server>>,
    pub(crate) top: top::Top,
}

/// What was read.
pub(crate) struct Finished {
    pub(crate) model: Model,
    pub(crate) diagnostics: Diagnostics,
    pub(crate) sources: Sources,
    pub(crate) uses: Vec<Use>,
    pub(crate) statements: Vec<Statement>,
}

/// Reads everything a reader has to give.
pub(crate) fn read<'a>(
    reader: Reader<'a>,
    diags: Diagnostics,
    options: &'a Options,
    system: &'a dyn System,
) -> Finished {
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
        garp_interfaces: HashSet::new(),
        unclosed: None,
        uses: Uses::default(),
        recorder: options.record_statements.then(Recorder::default),
        tracked: Trackable::default(),
        own_addresses: None,
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
    let Context { reader, mut diags, uses, recorder, .. } = context;
    uses.report(&mut diags);
    let statements = recorder.map(Recorder::finish).unwrap_or_default();
    let (sources, uses) = (reader.into_sources(), uses.into_all());
    Finished { model, diagnostics: diags, sources, uses, statements }
}

fn finish(context: &mut Context<'_>, draft: Draft) -> Model {
    let interfaces_exist = context.check_interfaces();
    let vrrp_runs = !draft.instances.is_empty()
        || !draft.carp_instances.is_empty()
        || draft.top.has_static_entries();
    let checker_runs = !draft.servers.is_empty() || !draft.server_groups.is_empty();
    let before_vrrp = context.diags.mark();
    let scripts = vrrp_script::finish(context, draft.scripts);
    // Everything is named; the models of many instances need the room.
    drop(draft.instance_places);
    let drafts = instances::Drafts {
        vrrp: draft.instances,
        carp: draft.carp_instances,
        groups: draft.groups,
    };
    let instances = instances::finish(context, drafts, &scripts);
    if !interfaces_exist || !vrrp_runs {
        // keepalived's VRRP process has ended before it looks at scripts, or is not there.
        context.diags.forgive(Class::Security, before_vrrp);
        context.globals.runs_scripts = false;
    }
    let top = draft.top;
    let virtual_servers = lvs_finish::finish(context, draft.servers, &draft.server_groups);
    let names = instances.vrrp.iter().map(|instance| instance.router.name.as_str());
    let names = names.chain(instances.carp.iter().map(|instance| instance.router.name.as_str()));
    let names = names.collect();
    daemon::check_sync_daemon(context, &names);
    let track_groups = group::finish_track_groups(context, top.track_groups, &names);
    group::check_track_groups(context, &track_groups, &top.group_uses);
    let global = global::finish(context, [true, vrrp_runs, checker_runs]);
    context.complain_of_security();
    Model {
        global,
        vrrp_instances: instances.vrrp,
        carp_instances: instances.carp,
        sync_groups: instances.groups,
        vrrp_scripts: scripts,
        virtual_server_groups: draft.server_groups,
        virtual_servers,
        track_files: top.tracked.files,
        track_processes: top.tracked.processes,
        bfd_instances: top.tracked.bfds,
        track_groups,
        garp_groups: top.garp_groups,
        static_addresses: top.addresses,
        static_routes: top.routes,
        static_rules: top.rules,
        linkbeats: top.linkbeats,
        link_delays: top.delays,
        tls: top.tls,
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
    /// Reads the next line into the place of one that is done with; false at the end.
    fn next(&mut self, line: &mut Line) -> bool {
        match self.peeked.take() {
            Some(peeked) => {
                *line = peeked;
                true
            }
            None => self.reader.next(line, &mut self.diags),
        }
    }

    /// Reads `{`, if that is what comes next.
    fn take_open(&mut self) -> bool {
        if self.peeked.is_none() && self.reader.take_open() {
            return true;
        }
        let mut line = Line::empty();
        let there = self.next(&mut line);
        if there && line.kind == Kind::Open {
            return true;
        }
        self.peeked = there.then_some(line);
        false
    }

    /// Reads `{`, or takes it as read.
    fn open_brace(&mut self, head: &Line) {
        if let Some(recorder) = &mut self.recorder {
            recorder.open();
        }
        if self.take_open() {
            return;
        }
        let message = format!("`{{` is missing after `{}`", head.str(0));
        self.diags
            .warn("missing-open", head.place(), message)
            .class(Class::MissingOpen)
            .hint("the block is read as if it were there");
        self.reader.assume_open();
    }

    /// Reads a block with the keywords of a table.
    pub(crate) fn block<B>(&mut self, table: &Table<B>, draft: &mut B, head: &Line) {
        self.open_brace(head);
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
        if let Some(recorder) = &mut self.recorder {
            recorder.open();
        }
        if !self.take_open() {
            // keepalived takes the next `}` for the list's end and says nothing.
            let message = format!("`{{` is missing after `{}`", head.str(0));
            self.diags.note("missing-open", head.place(), message).hint(
                "the list goes on to the next `}`, and what was to be closed by that stays open",
            );
        }
        let mut line = Line::empty();
        while self.next(&mut line) {
            match line.kind {
                Kind::Words => {
                    if let Some(recorder) = &mut self.recorder {
                        recorder.add(What::Entry, &line);
                    }
                    entry(self, &line);
                }
                Kind::Close => return,
                Kind::Open => self.unexpected_open(&line),
            }
        }
        self.unclosed.get_or_insert(head.place());
    }

    /// Reads over a block, if one follows.
    pub(crate) fn skip_block(&mut self) {
        if !self.take_open() {
            return;
        }
        let mut depth = 1;
        let mut line = Line::empty();
        while self.next(&mut line) {
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
        let mut line = Line::empty();
        let mut given = Vec::new();
        while self.next(&mut line) {
            match line.kind {
                Kind::Words if self.keyword(table, draft, &line, &mut given) => {}
                Kind::Words => return true,
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

    /// Takes a line of a block; `given` are the keywords so far that do not count again. False if the block
    /// ends with it.
    fn keyword<B>(
        &mut self,
        table: &Table<B>,
        draft: &mut B,
        line: &Line,
        given: &mut Vec<&'static str>,
    ) -> bool {
        let Some(keyword) = self.find(table, line, 0) else {
            self.unknown(table, line);
            if let Some(recorder) = &mut self.recorder {
                recorder.add(What::Unknown, line);
            }
            return true;
        };
        self.uses.note(table.block, keyword, || line.keyword_place(), self.options);
        if line.len() <= keyword.takes.needed() {
            self.without_words(table.block, keyword.name, line);
            return true;
        }
        if let Some(again) = habits::again(table.block, keyword.name) {
            if !given.contains(&keyword.name) {
                given.push(keyword.name);
            } else if again == Again::Replaces {
                let message = format!("`{}` is given before; this one replaces it", line.str(0));
                self.diags.warn("given-before", line.place(), message);
            } else {
                self.given_before(line);
                self.skip_block();
                return again != Again::Ends;
            }
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.start();
        }
        self.take(keyword, draft, line, 0);
        if let Some(recorder) = &mut self.recorder {
            let kind = reference::kind(&keyword.takes);
            recorder.end(What::Keyword { name: keyword.name, kind }, line);
        }
        true
    }

    /// Takes the options of a line from a word on; false if one lacks its value: the line is then of no use.
    pub(crate) fn options<B>(
        &mut self,
        table: &Table<B>,
        draft: &mut B,
        line: &Line,
        mut index: usize,
    ) -> bool {
        while let Some(word) = line.word(index) {
            let taken = self.option(table, draft, line, index);
            if self.reader.is_stopped() || taken.is_some_and(|taken| line.len() <= index + taken) {
                return false;
            }
            if taken.is_none() {
                self.unknown_option(table, word);
            }
            index += 1 + taken.unwrap_or(0);
        }
        true
    }

    /// Takes the option at a word, and how many more words it has; `None` if it is none of the table's.
    pub(crate) fn option<B>(
        &mut self,
        table: &Table<B>,
        draft: &mut B,
        line: &Line,
        index: usize,
    ) -> Option<usize> {
        let keyword = self.find(table, line, index)?;
        self.uses.note(table.block, keyword, || line.place_of(index), self.options);
        let needed = keyword.takes.needed();
        if line.len() <= index + needed {
            self.without_words(table.block, keyword.name, line);
            return Some(needed);
        }
        Some(self.take(keyword, draft, line, index))
    }

    fn unknown_option<B>(&mut self, table: &Table<B>, word: Word<'_>) {
        let message = format!("`{}` is no option of {} and is ignored", word.text, table.block);
        let diagnostic = self.diags.warn("unknown-option", word.place, message);
        let address =
            word.text.split('/').next().is_some_and(|text| text.parse::<IpAddr>().is_ok());
        if let Some(similar) = similar(table, word.text) {
            diagnostic.hint(format!("did you mean `{similar}`?"));
        } else if address {
            diagnostic.hint("each address needs a line of its own");
        }
    }

    /// The keyword of a table that a word of a line is.
    fn find<B>(
        &mut self,
        table: &Table<B>,
        line: &Line,
        index: usize,
    ) -> Option<&'static Keyword<B>> {
        let name = line.str(index);
        if let Some(keyword) = table.find(name) {
            return Some(keyword);
        }
        let keyword = table.all().find(|keyword| keyword.deprecated.contains(&name))?;
        self.diags
            .warn("deprecated", line.place_of(index), format!("`{name}` is an old name"))
            .class(Class::Deprecated)
            .hint(format!("write `{}`", keyword.name));
        Some(keyword)
    }

    /// Takes a keyword at a word of a line; how many words after it belong to it.
    fn take<B>(&mut self, keyword: &Keyword<B>, draft: &mut B, line: &Line, at: usize) -> usize {
        match &keyword.takes {
            Takes::Flag(set) => {
                set(draft);
                return 0;
            }
            Takes::Switch(set) => {
                if let Some(on) = self.switch(line) {
                    set(draft, on);
                }
            }
            Takes::Integer { min, max, set } => {
                if let Some(number) = self.integer_or(line, at + 1, *min, *max, keyword.default) {
                    set(draft, number);
                }
            }
            Takes::Seconds { min, max, places, set } => {
                let time = self.seconds_or(line, at + 1, *min, *max, *places, keyword.default);
                if let Some(time) = time {
                    set(draft, time);
                }
            }
            Takes::Milliseconds { min, max, set } => {
                let time = self.milliseconds_or(line, at + 1, *min, *max, keyword.default);
                if let Some(time) = time {
                    set(draft, time);
                }
            }
            Takes::Text(set) => set(draft, line.str(at + 1)),
            Takes::Address(set) => {
                if let Some(address) = self.address(line, at + 1) {
                    set(draft, address);
                }
            }
            Takes::Command(slot) => self.first_command(line, slot(draft), Class::Note),
            Takes::Program(set) => {
                if let Some(command) = self.command_alone(line) {
                    set(draft, command);
                }
            }
            Takes::Part { read, .. } => return read(draft, self, line, at),
            Takes::Word(read) | Takes::Words { read, .. } | Takes::Block { read, .. } => {
                read(draft, self, line);
            }
            Takes::List { entry } => {
                self.list(line, 0, |context, line| entry(draft, context, line));
            }
        }
        1
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

    /// Most keywords that lack their argument end everything, others are ignored.
    fn without_words(&mut self, block: &str, keyword: &str, line: &Line) {
        let Some(class) = habits::without_words(block, keyword) else {
            self.missing_argument(line);
            return;
        };
        let message = format!("`{keyword}` is missing its argument and is ignored");
        self.diags.warn("missing-argument", line.place(), message).class(class);
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

    /// IPv4 addresses of this host, in their order.
    pub(crate) fn own_addresses(&mut self) -> &[Ipv4Addr] {
        let system = self.system;
        self.own_addresses.get_or_insert_with(|| {
            let addresses = system.addresses().into_iter();
            let mut own: Vec<_> = addresses
                .filter_map(|(_, (address, _))| match address {
                    IpAddr::V4(address) => Some(address),
                    IpAddr::V6(_) => None,
                })
                .collect();
            own.sort_unstable();
            own
        })
    }

    /// Notes that an interface is used.
    pub(crate) fn uses_interface(&mut self, name: &str, place: Place) {
        if !self.known_interfaces.contains(name) {
            self.known_interfaces.insert(name.to_owned());
            self.interfaces.push((name.to_owned(), place));
        }
    }

    /// keepalived does not start when an interface is missing, unless told that they come and go;
    /// whether none is missing.
    fn check_interfaces(&mut self) -> bool {
        let mut complete = true;
        for (name, place) in std::mem::take(&mut self.interfaces) {
            if self.system.has_interface(&name) {
                continue;
            }
            let message = format!("interface `{name}` does not exist");
            if self.globals.dynamic_interfaces {
                self.diags.note("missing-interface", place, message).hint("it is waited for");
            } else {
                complete = false;
                self.diags
                    .error("missing-interface", place, message)
                    .hint("create it first, or allow it to come later with `dynamic_interfaces` in `global_defs`");
            }
        }
        complete
    }
}

/// The keyword of a table that looks most like a word, if any does: by a few letters, or with its argument
/// glued on.
fn similar<B>(table: &Table<B>, word: &str) -> Option<&'static str> {
    if word.len() > 64 {
        return None;
    }
    let names = || {
        table.all().flat_map(|keyword| {
            std::iter::once(keyword.name).chain(keyword.aliases.iter().copied())
        })
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
