//! `lbctl config check --report`: what becomes of each keyword of a file.

mod show;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use lb_config::{Class, Diagnostic, Loaded, OWN, Severity, Span};
use serde_json::{Value, json};

pub use show::text;

/// What a file uses, sorted by what becomes of it.
#[derive(Debug)]
pub struct Report {
    /// As it was asked for.
    file: String,
    /// The same, as places name it.
    main: PathBuf,
    /// Taken as they are written.
    honoured: Vec<Keyword>,
    /// Read and kept.
    not_acted_on: Vec<Keyword>,
    /// Lines that are skipped or adjusted, as under keepalived.
    changed: Vec<Remark>,
    /// Lines that are taken as written, but may not be meant so.
    doubtful: Vec<Remark>,
    /// One of those makes keepalived 2.2.7 refuse the file.
    refused_there: bool,
    /// Words that mean nothing where they are.
    unknown: Vec<Remark>,
    /// Why the file cannot be used.
    errors: Vec<Remark>,
    /// Complaints that were counted only.
    left_out: usize,
}

/// A keyword, and every place of it.
#[derive(Debug)]
struct Keyword {
    block: &'static str,
    name: &'static str,
    meaning: &'static str,
    /// Whether its whole block has no effect, so that there is no need to speak of the keyword.
    within_idle: bool,
    /// Whether keepalived does not know it.
    is_own: bool,
    places: Places,
}

/// A complaint, and every place of it.
#[derive(Debug)]
struct Remark {
    id: &'static str,
    message: String,
    hint: Option<String>,
    places: Places,
}

/// Files and lines, in order.
type Places = BTreeSet<Place>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Place {
    file: String,
    line: usize,
}

impl Report {
    /// Sorts what was read with [`lb_config::Options::record_uses`].
    pub fn new(file: &Path, loaded: &Loaded) -> Report {
        let mut report = Report {
            file: file.display().to_string(),
            main: std::path::absolute(file).unwrap_or_else(|_| file.to_owned()),
            honoured: Vec::new(),
            not_acted_on: Vec::new(),
            changed: Vec::new(),
            doubtful: Vec::new(),
            refused_there: false,
            unknown: Vec::new(),
            errors: Vec::new(),
            left_out: loaded.diagnostics.left_out(),
        };
        for diagnostic in loaded.diagnostics.iter() {
            if let Some(section) = report.section(diagnostic) {
                let place = diagnostic.span.map(|span| place(loaded, span));
                remark(section, diagnostic, place);
            }
        }
        let main = report.main.clone();
        let sections =
            [&mut report.changed, &mut report.doubtful, &mut report.unknown, &mut report.errors];
        for section in sections {
            section.sort_by_cached_key(|remark| {
                let first = remark.places.first().cloned();
                (first.as_ref().is_some_and(|place| Path::new(&place.file) != main), first)
            });
        }
        report.sort_uses(loaded);
        report
    }

    fn section(&mut self, diagnostic: &Diagnostic) -> Option<&mut Vec<Remark>> {
        match (diagnostic.severity, diagnostic.class) {
            (Severity::Note, _) => None,
            (Severity::Error, _) => Some(&mut self.errors),
            (Severity::Warning, Class::UnknownKeyword) => Some(&mut self.unknown),
            (Severity::Warning, Class::RefusedThere) => {
                self.refused_there = true;
                Some(&mut self.doubtful)
            }
            (Severity::Warning, Class::Note) => Some(&mut self.doubtful),
            (Severity::Warning, _) => Some(&mut self.changed),
        }
    }

    fn sort_uses(&mut self, loaded: &Loaded) {
        let tables = lb_config::tables();
        let blocks: HashMap<_, _> = tables.iter().map(|block| (block.name, block)).collect();
        let complained: HashSet<Place> =
            self.changed.iter().flat_map(|remark| &remark.places).cloned().collect();
        let mut known: HashMap<(&str, &str, bool), usize> = HashMap::new();
        for used in &loaded.uses {
            let place = used.span.map(|span| place(loaded, span));
            if used.acted_on && place.as_ref().is_some_and(|place| complained.contains(place)) {
                continue;
            }
            let section = if used.acted_on { &mut self.honoured } else { &mut self.not_acted_on };
            let next = section.len();
            let key = (used.block, used.keyword, used.acted_on);
            let index = *known.entry(key).or_insert(next);
            if index == next {
                let block = blocks.get(used.block);
                let keywords = || block.iter().flat_map(|block| &block.keywords);
                let keyword = keywords().find(|keyword| keyword.name == used.keyword);
                section.push(Keyword {
                    block: used.block,
                    name: used.keyword,
                    meaning: keyword.map_or("", |keyword| keyword.meaning),
                    // Of a block of our own, the block's name says it.
                    is_own: keyword.is_some_and(|keyword| keyword.since == OWN)
                        && used.block != "carp_instance",
                    within_idle: !keywords().any(|keyword| keyword.acted_on),
                    places: Places::new(),
                });
            }
            section[index].places.extend(place);
        }
    }

    /// Whether lbd would run with the file.
    fn is_good(&self) -> bool {
        self.errors.is_empty()
    }

    /// What an operator must know, in one sentence.
    fn verdict(&self) -> String {
        let of_this_host = |error: &Remark| error.id == "missing-interface";
        if let Some(first) = self.errors.iter().find(|error| !of_this_host(error)) {
            let count = super::count(self.errors.len(), "error");
            return format!("lbd would refuse it: {count}, the first: {}", first.message);
        }
        let verdict = self.difference();
        if self.errors.is_empty() {
            return format!("It would run {verdict}");
        }
        let count = super::count(self.errors.len(), "interface");
        format!(
            "lbd would refuse it on this host, which lacks {count}; elsewhere it would run {verdict}"
        )
    }

    /// How a file without errors runs.
    fn difference(&self) -> String {
        let missing = names(self.not_acted_on.iter().filter(|keyword| !keyword.within_idle));
        let all = self.honoured.iter().chain(&self.not_acted_on);
        let own = names(all.filter(|keyword| keyword.is_own));
        let mut verdict = "as under keepalived".to_owned();
        if !own.is_empty() {
            verdict += &format!(", which does not know {}", enumerate(&own, 6));
        }
        if !missing.is_empty() {
            verdict += &format!(", except that {}", enumerate(&missing, 6));
            verdict += if missing.len() == 1 { " has" } else { " have" };
            verdict += " no effect yet";
        }
        let lines = |remarks: &[Remark]| {
            remarks.iter().map(|remark| remark.places.len().max(1)).sum::<usize>()
        };
        let skipped = match (lines(&self.changed), lines(&self.unknown)) {
            (0, 0) => String::new(),
            (changed, 0) => super::count(changed, "complaint"),
            (0, unknown) => super::count(unknown, "unknown word"),
            (changed, unknown) => {
                format!(
                    "{} and {}",
                    super::count(changed, "complaint"),
                    super::count(unknown, "unknown word")
                )
            }
        };
        if !skipped.is_empty() {
            verdict += &format!("; it draws {skipped} there as here");
        }
        if self.refused_there {
            verdict += "; keepalived 2.2.7 would refuse it";
        }
        let unchecked = |remark: &&Remark| remark.id == "check-not-built";
        match self.doubtful.iter().filter(unchecked).count() {
            0 => {}
            1 => verdict += "; a check is not made, and no server is up by it",
            some => {
                verdict += &format!("; {some} checks are not made, and no server is up by them");
            }
        }
        verdict + "."
    }

    /// The report for programs.
    pub fn json(&self) -> Value {
        let keywords = |keywords: &[Keyword]| -> Vec<Value> {
            let one = |keyword: &Keyword| {
                json!({
                    "block": keyword.block,
                    "keyword": keyword.name,
                    "meaning": keyword.meaning,
                    "places": places(&keyword.places),
                })
            };
            keywords.iter().map(one).collect()
        };
        let remarks = |remarks: &[Remark]| -> Vec<Value> {
            let one = |remark: &Remark| {
                json!({
                    "id": remark.id,
                    "message": remark.message,
                    "hint": remark.hint,
                    "places": places(&remark.places),
                })
            };
            remarks.iter().map(one).collect()
        };
        json!({
            "version": 1,
            "file": self.file,
            "runs": self.is_good(),
            "verdict": self.verdict(),
            "honoured": keywords(&self.honoured),
            "not_acted_on": keywords(&self.not_acted_on),
            "changed": remarks(&self.changed),
            "doubtful": remarks(&self.doubtful),
            "unknown": remarks(&self.unknown),
            "errors": remarks(&self.errors),
            "left_out": self.left_out,
        })
    }
}

fn place(loaded: &Loaded, span: Span) -> Place {
    Place {
        file: loaded.sources.file(span.file).name().to_owned(),
        line: loaded.sources.position(span).line,
    }
}

fn places(places: &Places) -> Vec<Value> {
    places.iter().map(|place| json!({ "file": place.file, "line": place.line })).collect()
}

/// Adds a complaint, to the one that says the same if there is one.
fn remark(section: &mut Vec<Remark>, diagnostic: &Diagnostic, place: Option<Place>) {
    let same =
        |remark: &&mut Remark| remark.id == diagnostic.id && remark.message == diagnostic.message;
    match section.iter_mut().find(same) {
        Some(remark) => remark.places.extend(place),
        None => section.push(Remark {
            id: diagnostic.id,
            message: diagnostic.message.clone(),
            hint: diagnostic.hint.clone(),
            places: place.into_iter().collect(),
        }),
    }
}

/// Their names, each once.
fn names<'k>(keywords: impl Iterator<Item = &'k Keyword>) -> Vec<&'static str> {
    let mut seen = HashSet::new();
    keywords.map(|keyword| keyword.name).filter(|name| seen.insert(*name)).collect()
}

/// `a, b and c`, or `a, b and 5 more`.
fn enumerate(names: &[&str], most: usize) -> String {
    let (shown, more) = names.split_at(names.len().min(most));
    let mut parts: Vec<_> = shown.iter().map(|name| format!("`{name}`")).collect();
    let last = if more.is_empty() { parts.pop() } else { Some(format!("{} more", more.len())) };
    match (parts.join(", "), last.unwrap_or_default()) {
        (first, last) if first.is_empty() => last,
        (first, last) => format!("{first} and {last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_enumerated_as_in_a_sentence() {
        assert_eq!(enumerate(&["a"], 2), "`a`");
        assert_eq!(enumerate(&["a", "b"], 2), "`a` and `b`");
        assert_eq!(enumerate(&["a", "b", "c", "d"], 2), "`a`, `b` and 2 more");
    }
}
