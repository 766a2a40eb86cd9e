//! One construct at a time, with the exit status that keepalived's `-t` has for it.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::constructs::cases;
use lb_config::{MemorySystem, Options, load};

/// Rows whose construct is in another test, or hangs or kills keepalived.
const ELSEWHERE: [&str; 5] =
    ["unclosed quote", "@ cond space", "$VAR undefined", "HTTP_GET no url", "self-ref var"];

#[test]
fn each_construct_has_keepalived_s_exit_status() {
    let options = Options { testing: true, only_read: true, ..Options::default() };
    let mut wrong = Vec::new();
    for (name, wanted, text) in cases() {
        let system = MemorySystem::default().with_mode("/bin/true", "", 0o755);
        let system = system.with("/k.conf", &text);
        let loaded = load(Path::new("/k.conf"), &options, &system);
        let found = loaded.diagnostics.exit_code_of_check();
        if found != wanted {
            wrong.push(format!("{name}: {found}, not {wanted}\n{text}{}", loaded.render(false)));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n---\n"));
}

#[test]
fn every_construct_that_was_tried_with_keepalived_is_here() {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpus"));
    let corpus = std::env::var_os("LB_CORPUS").map_or(beside, PathBuf::from);
    let Ok(rows) = std::fs::read_to_string(corpus.join("micro-syntax.tsv")) else {
        lb_skip::skip("the list of constructs is not here");
        return;
    };
    let cases: BTreeMap<&str, u8> =
        cases().into_iter().map(|(name, code, _)| (name, code)).collect();
    let mut wrong = Vec::new();
    for row in rows.lines().skip(1) {
        let mut fields = row.split('\t');
        let (name, status) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        match cases.get(name) {
            Some(ours) if ours.to_string() == status => {}
            None if ELSEWHERE.contains(&name) => {}
            other => wrong.push(format!("{name}: keepalived {status}, here {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}
