//! CARP as other systems are told of it, in the words of `carp_instance`.
//!
//! The text that comes out is an ordinary configuration, to be read, checked and changed as one. What it
//! could not keep is said at its place in what was read.

mod freebsd;
mod ifconfig;
mod openbsd;
mod output;
mod ucarp;
mod words;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::diagnostic::Diagnostics;
use crate::source::Sources;
use output::{Instance, Output};
use words::Word;

/// Whose words a file is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `hostname.carp0` and `sysctl.conf` of OpenBSD, `hostname.if(5)`.
    OpenBsd,
    /// `rc.conf` and `sysctl.conf` of FreeBSD, `rc.conf(5)`.
    FreeBsd,
    /// Command lines of ucarp.
    Ucarp,
}

impl Dialect {
    /// That of a file by its name, if that says it: `hostname.carp*` and `rc.conf*`.
    pub fn of(path: &Path) -> Option<Dialect> {
        let name = path.file_name()?.to_str()?;
        if name.starts_with("hostname.carp") {
            Some(Dialect::OpenBsd)
        } else if name == "rc.conf" || name.starts_with("rc.conf.") {
            Some(Dialect::FreeBsd)
        } else {
            None
        }
    }
}

/// A configuration made of that of another system.
#[derive(Debug)]
pub struct Imported {
    /// A keepalived.conf.
    pub text: String,
    /// What was left out, or is said otherwise.
    pub diagnostics: Diagnostics,
    /// What was read.
    pub sources: Sources,
}

/// Reads files, each a name and its text, as one system's configuration.
///
/// Interfaces get the names `interfaces` has for them, and else keep theirs. Nothing is refused: what means
/// nothing is left out with a warning.
pub fn import(
    dialect: Dialect,
    files: &[(String, String)],
    interfaces: &HashMap<String, String>,
) -> Imported {
    let mut import = Import {
        diags: Diagnostics::default(),
        sources: Sources::default(),
        out: Output::default(),
        interfaces,
        kept: HashSet::new(),
    };
    for (name, text) in files {
        let (file, source) = import.sources.add(name.clone(), text.clone());
        match dialect {
            Dialect::OpenBsd => openbsd::read(&mut import, file, &source),
            Dialect::FreeBsd => freebsd::read(&mut import, file, &source),
            Dialect::Ucarp => ucarp::read(&mut import, file, &source),
        }
    }
    let text = import.out.text(&mut import.diags);
    Imported { text, diagnostics: import.diags, sources: import.sources }
}

/// What reading needs everywhere.
struct Import<'a> {
    diags: Diagnostics,
    sources: Sources,
    out: Output,
    interfaces: &'a HashMap<String, String>,
    /// Interfaces that keep their names, of which it was said.
    kept: HashSet<String>,
}

impl Import<'_> {
    /// Says that a word, and what belongs to it, is left out.
    fn dropped(&mut self, word: &Word, why: &str) {
        let message = format!("`{}` is left out: {why}", word.text);
        self.diags.note("import-dropped", word.span, message);
    }

    /// Says that a word became something else.
    fn changed(&mut self, word: &Word, how: impl Into<String>) {
        self.diags.remark("import-changed", word.span, how);
    }

    /// A number in a range, or a complaint.
    fn number(
        &mut self,
        keyword: &Word,
        value: Option<&Word>,
        least: u32,
        most: u32,
    ) -> Option<u32> {
        let Some(value) = value else {
            let message = format!("`{}` lacks its number and is left out", keyword.text);
            self.diags.note("import-value", keyword.span, message);
            return None;
        };
        let number = value.text.parse().ok().filter(|number| (least..=most).contains(number));
        if number.is_none() {
            let message = format!("`{}` is no number for `{}`", value.text, keyword.text);
            let diagnostic = self.diags.note("import-value", value.span, message);
            diagnostic.hint(format!("use {least} to {most}; it is left out"));
        }
        number
    }

    /// The name of an interface here.
    fn interface(&mut self, word: &Word, name: &str) -> String {
        if let Some(name) = self.interfaces.get(name) {
            return name.clone();
        }
        if self.kept.insert(name.to_owned()) {
            let message = format!("interface `{name}` keeps its name");
            self.diags
                .remark("import-interface", word.span, message)
                .hint(format!("Linux may call it otherwise: `--interface {name}=eth0`"));
        }
        name.to_owned()
    }

    /// Takes an instance in if it can be one.
    fn finish(&mut self, instance: Instance) {
        if instance.get("vhid").is_none() && instance.get("carpnodes").is_none() {
            let message = format!("`{}` has no vhid and is left out", instance.name);
            self.diags.note("import-incomplete", instance.span, message);
            return;
        }
        if instance.vips.is_empty() {
            let message = format!("`{}` has no address and is left out", instance.name);
            self.diags.note("import-incomplete", instance.span, message);
            return;
        }
        for vip in instance.vips.iter().filter(|vip| vip.prefix.is_none()) {
            let host = if vip.address.is_ipv4() { 32 } else { 128 };
            let message = format!("`{}` has no prefix length; /{host} is used", vip.address);
            self.diags.remark("import-prefix", instance.span, message);
        }
        if instance.get("interface").is_none() {
            let message = format!("nothing says on which interface `{}` is", instance.name);
            self.diags
                .note("import-incomplete", instance.span, message)
                .hint("add `interface NAME` to it");
        }
        self.out.instances.push(instance);
    }

    /// A line `net.inet.carp.NAME=VALUE` of sysctl.conf; false if it is none of sysctl at all.
    fn sysctl(&mut self, words: &[Word], is_freebsd: bool) -> bool {
        let Some(first) = words.first() else { return false };
        let Some((name, value)) = first.text.split_once('=') else { return false };
        let Some(name) = name.strip_prefix("net.inet.carp.") else {
            return name.starts_with("net.") || name.starts_with("kern.");
        };
        match (name, value.parse::<u32>()) {
            ("allow", Ok(on)) => self.out.global("carp_allow", if on == 0 { "off" } else { "on" }),
            ("preempt", Ok(on)) => {
                self.out.global("carp_preempt", if on == 0 { "off" } else { "on" });
            }
            ("log", Ok(level)) => {
                let here = match (is_freebsd, level) {
                    (false, level) => level.min(7),
                    // FreeBSD counts otherwise: nothing, changes of state, everything.
                    (true, 0) => 0,
                    (true, 1) => 3,
                    (true, _) => 6,
                };
                if here != level {
                    self.changed(
                        first,
                        format!("the same messages are those of `carp_log {here}`"),
                    );
                }
                self.out.global("carp_log", &here.to_string());
            }
            (_, Err(_)) => self.dropped(first, "it has no number"),
            _ => self.dropped(first, "there is nothing like it here"),
        }
        true
    }
}
