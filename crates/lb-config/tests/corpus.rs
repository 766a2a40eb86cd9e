//! Configurations of other people, with what keepalived says of each. They are no part of this project:
//! the test runs where they are and says so where they are not.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lb_config::{AnyInterface, Options};

/// What keepalived says under `-t` of problems that stop it at run time; there `-t` only says 5.
const STOPS: [&str; 4] = [
    "the virtual router id must be set",
    "Unknown interface!",
    "both use VRID",
    "at least one is required",
];

fn corpus() -> Option<PathBuf> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpus"));
    let found = std::env::var_os("LB_CORPUS").map_or(beside, PathBuf::from);
    found.join("manifest.tsv").is_file().then_some(found)
}

#[test]
fn files_are_refused_exactly_when_keepalived_refuses_them() {
    let Some(corpus) = corpus() else {
        lb_skip::skip("the corpus is not here");
        return;
    };
    let oracle = std::fs::read_to_string(corpus.join("oracle.tsv")).unwrap();
    let said: BTreeMap<&str, &str> = oracle
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter_map(|(id, line)| Some((id, line.strip_prefix("ifs\t")?)))
        .collect();
    let manifest = std::fs::read_to_string(corpus.join("manifest.tsv")).unwrap();
    let mut lines = manifest.lines();
    let columns: BTreeMap<&str, usize> =
        lines.next().unwrap().split('\t').enumerate().map(|(index, name)| (name, index)).collect();
    let options = Options { testing: true, only_read: true, ..Options::default() };
    let (mut files, mut same_code, mut wrong) = (0, 0, Vec::new());
    for line in lines {
        let fields: Vec<&str> = line.split('\t').collect();
        let field = |name: &str| fields[columns[name]];
        let id = field("id");
        let exit: u8 = field("exit_ifs").parse().unwrap();
        let path = corpus.join(format!("{id}.conf"));
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        let loaded = lb_config::load(&path, &options, &AnyInterface);
        files += 1;
        let ours = loaded.diagnostics.exit_code_of_check();
        same_code += usize::from(ours == exit);
        if ours != exit && std::env::var_os("LB_CORPUS_VERBOSE").is_some() {
            println!("{id}: ours {ours}, keepalived {exit}: {}", field("oracle_complaints"));
            loaded.one_liners().take(12).for_each(|line| println!("    {line}"));
        }
        let complaints = said.get(id).copied().unwrap_or_default();
        let stops = matches!(exit, 2 | 4) || STOPS.iter().any(|stop| complaints.contains(stop));
        // 124: keepalived hangs. With a namespace that is not there it stops without a word.
        if exit == 124 || text.contains("net_namespace") {
            continue;
        }
        if loaded.is_refused() != stops {
            let errors = loaded.one_liners().filter(|line| line.contains("error:"));
            wrong.push(format!(
                "{id}: refused {}, keepalived {exit}; {:?}",
                loaded.is_refused(),
                errors.collect::<Vec<_>>()
            ));
        }
    }
    println!("{files} files; the same exit status of -t for {same_code}");
    assert!(wrong.is_empty(), "{} of {files} differ:\n{}", wrong.len(), wrong.join("\n"));
}
