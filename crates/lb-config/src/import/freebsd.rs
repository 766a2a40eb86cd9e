//! `rc.conf(5)` of FreeBSD: vhids on the aliases of interfaces.

use super::output::Instance;
use super::words::{self, Word};
use super::{Import, ifconfig};
use crate::source::{FileId, Source};

/// Reads rc.conf or sysctl.conf.
pub(super) fn read(import: &mut Import<'_>, file: FileId, source: &Source) {
    let mut found: Vec<Instance> = Vec::new();
    for line in words::lines(file, source.text(), 0) {
        if import.sysctl(&line, true) {
            continue;
        }
        // Some write them with sysrc, or several on a line.
        for word in &line {
            let Some((name, values)) = assignment(file, source, word) else { continue };
            let Some(interface) = name.strip_prefix("ifconfig_") else { continue };
            let (interface, several) = interface_of(interface);
            for words in groups(&values, several) {
                let is_carp = words.iter().any(|word| word.text == "vhid");
                if is_carp && !is_vrrp(import, words) {
                    alias(import, &mut found, interface, word, words);
                }
            }
        }
    }
    found.into_iter().for_each(|instance| import.finish(instance));
}

/// The name of a variable, and the words of its value with their own places.
fn assignment(file: FileId, source: &Source, word: &Word) -> Option<(String, Vec<Word>)> {
    let (name, _) = word.text.split_once('=')?;
    let raw = source.text().get(word.span.start as usize..word.span.end as usize)?;
    let start = raw.find('=')? + 1;
    let quotes = ['"', '\''];
    let value = raw.get(start..)?;
    let inner = value.strip_prefix(quotes).unwrap_or(value);
    let base = word.span.start as usize + start + (value.len() - inner.len());
    let inner = inner.strip_suffix(quotes).unwrap_or(inner);
    let words = words::lines(file, inner, base).into_iter().flatten().collect();
    Some((name.to_owned(), words))
}

/// The interface of the rest of a variable's name, and whether it holds several aliases.
fn interface_of(name: &str) -> (&str, bool) {
    if let Some(interface) = name.strip_suffix("_aliases") {
        return (interface, true);
    }
    let name = name.strip_suffix("_ipv6").unwrap_or(name);
    let numbered = |(_, number): &(&str, &str)| number.bytes().all(|byte| byte.is_ascii_digit());
    match name.rsplit_once("_alias").filter(numbered) {
        Some((interface, _)) => (interface, false),
        None => (name, false),
    }
}

/// The words of each alias; in a list of them each begins with its family.
fn groups(words: &[Word], several: bool) -> Vec<&[Word]> {
    if !several {
        return vec![words];
    }
    let mut groups = Vec::new();
    let mut rest = words;
    while !rest.is_empty() {
        let next = rest.iter().skip(1).position(|word| matches!(&*word.text, "inet" | "inet6"));
        let (group, after) = rest.split_at(next.map_or(rest.len(), |at| at + 1));
        groups.push(group);
        rest = after;
    }
    groups
}

/// Whether a vhid speaks VRRP, which is then said.
fn is_vrrp(import: &mut Import<'_>, words: &[Word]) -> bool {
    let version = words.iter().position(|word| word.text == "carpver");
    let Some([keyword, version, ..]) = version.map(|at| &words[at..]) else { return false };
    if version.text == "2" {
        return false;
    }
    let message = format!("a vhid with `carpver {}` is left out: it is of VRRP", version.text);
    import
        .diags
        .note("import-dropped", keyword.span.to(version.span), message)
        .hint("write a `vrrp_instance` with `version 3` for it");
    true
}

/// Adds an alias to the instance of its vhid.
fn alias(
    import: &mut Import<'_>,
    found: &mut Vec<Instance>,
    interface: &str,
    variable: &Word,
    words: &[Word],
) {
    let mut instance = Instance::new(String::new(), variable.span);
    ifconfig::read(import, &mut instance, words, false);
    let vhid = instance.get("vhid").unwrap_or_default().to_owned();
    instance.name = format!("{interface}-vhid{vhid}");
    if let Some(known) = found.iter_mut().find(|known| known.name == instance.name) {
        for keyword in known.merge(instance) {
            let message =
                format!("another `{keyword}` of vhid {vhid} on `{interface}` before holds");
            import.diags.note("import-conflict", variable.span, message);
        }
        return;
    }
    if vhid.is_empty() {
        import.finish(instance);
        return;
    }
    let digits = interface.strip_prefix("carp").unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        import
            .changed(variable, "carp interfaces, as before FreeBSD 10, do not say where they are");
    } else {
        // rc.conf cannot have dots in names of variables.
        let name = import.interface(variable, interface);
        instance.set("interface", name);
    }
    instance.set_flag("use_vmac");
    found.push(instance);
}
