//! keepalived's `-t` beside ours, in a network namespace with every interface a file names.
//!
//! Runs as root where keepalived, unshare(1) and ip(8) are installed, and says so where they are not.

mod common;
#[path = "common/keepalived.rs"]
mod keepalived;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use lb_config::{FileStatus, Options, RealSystem, Severity, System};

/// This machine, with every interface there is a name for; it remembers the names.
#[derive(Default)]
struct EveryInterface {
    asked: Mutex<BTreeSet<String>>,
}

impl System for EveryInterface {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        RealSystem.read(path)
    }
    fn status(&self, path: &Path) -> std::io::Result<FileStatus> {
        RealSystem.status(path)
    }
    fn resolve(&self, path: &Path) -> std::io::Result<PathBuf> {
        RealSystem.resolve(path)
    }
    fn link_status(&self, path: &Path) -> std::io::Result<FileStatus> {
        RealSystem.link_status(path)
    }
    fn read_link(&self, path: &Path) -> std::io::Result<PathBuf> {
        RealSystem.read_link(path)
    }
    fn beginning(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        RealSystem.beginning(path)
    }
    fn glob(&self, pattern: &str) -> Vec<PathBuf> {
        RealSystem.glob(pattern)
    }
    fn current_dir(&self) -> PathBuf {
        RealSystem.current_dir()
    }
    fn has_interface(&self, name: &str) -> bool {
        self.asked.lock().unwrap().insert(name.to_owned());
        true
    }
    fn user(&self, name: &str) -> Option<lb_config::model::ScriptOwner> {
        RealSystem.user(name)
    }
    fn group(&self, name: &str) -> Option<u32> {
        RealSystem.group(name)
    }
    fn own(&self) -> lb_config::model::ScriptOwner {
        RealSystem.own()
    }
    fn host_name(&self) -> String {
        RealSystem.host_name()
    }
    fn variable(&self, name: &str) -> Option<String> {
        RealSystem.variable(name)
    }
    fn seed(&self) -> u64 {
        1
    }
}

/// Runs in namespaces of its own; reads `FILE` lines, prints `FILE STATUS` lines.
const SCRIPT: &str = r#"
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/keepalived
links() { for name in $LINKS; do
  echo "link add $name type dummy"; echo "link set $name up"
  echo "link add $name type bridge"; echo "link set $name up"
done | ip -force -batch - >/dev/null 2>&1 || true; }
ip link set lo up
links
for space in $SPACES; do
  ip netns add "$space"
  ip netns exec "$space" ip link set lo up
  for name in $LINKS; do
    echo "link add $name type bridge"; echo "link set $name up"
  done | ip -force -batch - -n "$space" >/dev/null 2>&1 || true
done
xargs -d '\n' -P 4 -I{} sh -c '
  said=$(timeout 10 keepalived -t -f "$1" 2>&1); status=$?
  printf "%s\t%s\t%s\n" "$status" "$1" "$(echo "$said" | sort -u | head -c 900 | tr "\n\t" "; ")"' sh {}
"#;

/// The exit status of keepalived's `-t` for each file, and what it says.
fn theirs(files: &[PathBuf], links: &BTreeSet<String>) -> BTreeMap<PathBuf, (i32, String)> {
    let usable = |name: &&String| {
        name.len() < 16 && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
    };
    let links: Vec<&str> = links.iter().filter(usable).map(String::as_str).collect();
    let mut child = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-c", SCRIPT])
        .env("LINKS", links.join(" "))
        .env("SPACES", "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut names = String::new();
    for file in files {
        let _ = writeln!(names, "{}", file.display());
    }
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(names.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split('\t');
            let (status, file) = (fields.next()?.parse().ok()?, fields.next()?);
            Some((PathBuf::from(file), (status, fields.collect())))
        })
        .collect()
}

/// An exit status and the first complaints.
type Verdict = (i32, Vec<String>);

/// Status of ours for each file, and the interfaces they name.
fn ours(files: &[PathBuf]) -> (BTreeMap<PathBuf, Verdict>, BTreeSet<String>) {
    let system = EveryInterface::default();
    let options = Options { testing: true, only_read: true, ..Options::default() };
    let read = |file: &PathBuf| {
        let loaded = lb_config::load(file, &options, &system);
        let status = i32::from(loaded.diagnostics.exit_code_of_check());
        let said = loaded.diagnostics.iter().filter(|found| found.severity > Severity::Note);
        let said = said.map(|found| format!("{}: {}", found.id, found.message));
        (file.clone(), (status, said.take(3).collect()))
    };
    let found = files.iter().map(read).collect();
    (found, system.asked.into_inner().unwrap())
}

/// Statuses that say something went wrong with keepalived itself: a hang, a signal.
fn is_accident(status: i32) -> bool {
    status >= 124
}

/// Compares all, but what is explained.
fn compare(files: &[PathBuf], explained: impl Fn(&Path) -> bool) {
    let (ours, links) = ours(files);
    let theirs = theirs(files, &links);
    assert_eq!(theirs.len(), files.len(), "keepalived did not run for each file");
    let (mut same, mut accidents, mut wrong) = (0, 0, Vec::new());
    for (file, (ours, said)) in &ours {
        let (theirs, complaints) = &theirs[file];
        if ours == theirs {
            same += 1;
        } else if is_accident(*theirs) || explained(file) {
            accidents += 1;
            if std::env::var_os("LB_ACCIDENTS").is_some() {
                println!("{}: {theirs} {complaints}", file.display());
                println!("{}", std::fs::read_to_string(file).unwrap_or_default());
            }
        } else {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if std::env::var_os("LB_SHOW").is_some() {
                println!("ours {ours} {said:#?}, keepalived {theirs} {complaints}");
                println!("{}", std::fs::read_to_string(file).unwrap_or_default());
            }
            wrong.push(format!("{name}: ours {ours} {said:?}, keepalived {theirs} {complaints}"));
        }
    }
    println!("{same} the same, {accidents} accidents of keepalived, {} different", wrong.len());
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn other_peoples_files_have_the_same_status() {
    if let Some(missing) = keepalived::missing() {
        lb_skip::skip(format_args!("{missing} is not here"));
        return;
    }
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpus"));
    let corpus = std::env::var_os("LB_CORPUS").map_or(beside, PathBuf::from);
    let Ok(entries) = corpus.read_dir() else {
        lb_skip::skip("the corpus is not here");
        return;
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    files.sort();
    // keepalived leaves, content and without reading on, when a network namespace is not there.
    let in_namespace = |file: &Path| {
        std::fs::read(file).is_ok_and(|text| text.windows(13).any(|part| part == b"net_namespace"))
    };
    compare(&files, in_namespace);
}

/// Whether a release of keepalived is at most Debian's, 2.2.7.
fn is_old(since: &str) -> bool {
    let number = |part: &str| part.parse().unwrap_or(0_u32);
    since != lb_config::OWN && since.split('.').map(number).collect::<Vec<_>>() <= vec![2, 2, 7]
}

/// Compares each keyword, its example made into others; `None` for nothing to compare.
fn compare_keywords(
    variant: impl Fn(&str, &str) -> Option<String>,
    explained: impl Fn(&str) -> bool,
) {
    if let Some(missing) = keepalived::missing() {
        lb_skip::skip(format_args!("{missing} is not here"));
        return;
    }
    let examples = common::examples();
    let dir = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for block in lb_config::tables() {
        for keyword in block.keywords.iter().filter(|keyword| is_old(keyword.since)) {
            // None of its keywords is keepalived's where it is.
            if block.path == "carp_instance" {
                continue;
            }
            let found = common::sections(block.path)
                .into_iter()
                .find_map(|section| examples.get(&(section, keyword.name)));
            let Some(text) = found.and_then(|example| variant(keyword.name, example.text)) else {
                continue;
            };
            let name = format!("{} {}.conf", block.path, keyword.name);
            let name = name.replace('/', "+").replace(['$', '{', '}', '*', '['], "");
            let file = dir.path().join(name);
            std::fs::write(&file, common::filled(block.path, keyword.name, &text)).unwrap();
            files.push(file);
        }
    }
    files.sort();
    compare(&files, |file| {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        NEWER.iter().any(|newer| name.ends_with(newer)) || explained(&name)
    });
}

#[test]
fn the_example_of_each_keyword_has_the_same_status() {
    compare_keywords(|_, text| Some(text.to_owned()), |_| false);
}

#[test]
fn each_keyword_twice_has_the_same_status() {
    let twice =
        |name: &str, text: &str| (!name.starts_with('<')).then(|| format!("{text}\\n{text}"));
    // The same interface or session twice is another matter than the keyword twice.
    let explained =
        |name: &str| name.starts_with("garp_group interface") || name.ends_with("BFD_CHECK");
    compare_keywords(twice, explained);
}

#[test]
fn each_keyword_without_its_words_has_the_same_status() {
    let bare = |name: &str, text: &str| {
        (!name.starts_with('<') && text.starts_with(name) && !text.contains('{'))
            .then(|| name.to_owned())
    };
    // Without an address of its own an ipvlan is refused here, and a fault there.
    compare_keywords(bare, |name| name.ends_with("use_ipvlan"));
}

#[test]
fn each_construct_has_the_same_status() {
    if let Some(missing) = keepalived::missing() {
        lb_skip::skip(format_args!("{missing} is not here"));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let write = |(number, (_, _, text)): (usize, (&str, u8, String))| {
        let file = dir.path().join(format!("{number}.conf"));
        std::fs::write(&file, text).unwrap();
        file
    };
    let files: Vec<PathBuf> =
        common::constructs::cases().into_iter().enumerate().map(write).collect();
    compare(&files, |_| false);
}

/// Random files of one run, and the seed of the first, by environment: more by hand than every day.
fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn random_files_have_the_same_status() {
    if let Some(missing) = keepalived::missing() {
        eprintln!("skipped: {missing} is not here");
        return;
    }
    let (seed, count) = (from_environment("LB_SEED", 1), from_environment("LB_FILES", 300));
    println!("seed {seed}, {count} files (LB_SEED and LB_FILES change them)");
    let tables = lb_config::tables();
    let skip = |path: &str, name: &str| {
        let of = |block: &&lb_config::Block| block.path == path;
        let keyword = tables
            .iter()
            .find(of)
            .and_then(|block| block.keywords.iter().find(|keyword| keyword.name == name));
        let newer = NEWER.iter().any(|newer| format!("{path} {name}").ends_with(newer));
        newer || RANDOM_SKIPS.contains(&name) || keyword.is_none_or(|k| !is_old(k.since))
    };
    let mut generator = common::random::Generator::new(seed, &skip);
    let dir = tempfile::tempdir().unwrap();
    let write = |number| {
        let file = dir.path().join(format!("{number:05}.conf"));
        std::fs::write(&file, generator.file()).unwrap();
        file
    };
    let files: Vec<PathBuf> = (0..count).map(write).collect();
    compare(&files, |_| false);
}

/// Keywords that random files leave out: what they name is of the host.
const RANDOM_SKIPS: [&str; 4] =
    ["net_namespace", "net_namespace_ipvs", "include", "tmp_config_directory"];

/// What keepalived 2.2.7 does not know yet, or has not mended yet.
const NEWER: [&str; 23] = [
    // It knows no name of a bit.
    "global_defs umask",
    "global_defs set_supplementary_groups",
    // It may be built without.
    "global_defs vrrp_ipsets",
    "(line) _BANG",
    "(line) _ENV",
    "(line) _HASH",
    "static_ipaddress use_vmac",
    // It takes `default` only at the start of a line.
    "_routes expires",
    "_routes from",
    "_routes inet",
    "_routes inet6",
    "_routes pref",
    // It looks whether the interface is one.
    "_routes vrf",
    "HTTP_GET sni_name",
    "SSL_GET sni_name",
    "SSL_GET tls_compliant",
    "url tls_compliant",
    "UDP_CHECK payload",
    "vrrp_instance v3_checksum_as_v2",
    "global_defs v3_checksum_as_v2",
    "auth_hmac key",
    "vrrp_instance auth_hmac",
    "vrrp_instance vrf",
];
