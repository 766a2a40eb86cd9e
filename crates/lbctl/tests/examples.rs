//! Every example of README.md and the manual pages that begins with `lbctl`, as a reader would type it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// Where no daemon listens.
const SOCKET: &str = "/nonexistent/lbd.sock";

/// What can be tried of an example here.
enum Trial {
    /// All of it: it succeeds.
    Works,
    /// It is understood, and finds no daemon.
    AsksTheDaemon,
    /// Nothing, for this reason.
    Left(&'static str),
}
use Trial::{AsksTheDaemon, Left, Works};

const LAB: &str = "needs namespaces of its own: tests/lab.rs plays the lab";

/// The trial of an example, by how it begins: the longer beginnings first.
const TRIALS: &[(&str, Trial)] = &[
    ("lbctl config check", Works),
    ("lbctl config convert", Works),
    ("lbctl simulate", Works),
    ("lbctl lab", Left(LAB)),
    ("lbctl replay FILE", Left("FILE stands for a recording: tests/cmd/replay.trycmd plays one")),
    ("lbctl status --watch", Left("it watches until it is interrupted, and waits for a daemon")),
    ("lbctl status", AsksTheDaemon),
    ("lbctl why", AsksTheDaemon),
    ("lbctl handover", AsksTheDaemon),
    ("lbctl maintenance", AsksTheDaemon),
    ("lbctl reload", AsksTheDaemon),
    ("lbctl carp", AsksTheDaemon),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The examples of a page: its lines that are commands, without prompt, comment and mark-up.
fn examples(page: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(page)).expect("the page");
    let commands = text.lines().filter_map(|line| {
        if page.ends_with(".md") {
            return line.strip_prefix("    ");
        }
        let line = line.strip_prefix(".Dl ").unwrap_or(line);
        line.strip_prefix("$ ").or_else(|| line.strip_prefix("# "))
    });
    let commands = commands.map(|line| line.split("  #").next().unwrap_or(line));
    // Each command of a list by itself, and what it writes without the program that reads it.
    let commands = commands.flat_map(|line| line.split(" && "));
    let commands = commands.map(|line| line.split(" | ").next().unwrap_or(line).trim());
    commands.filter(|line| line.starts_with("lbctl ")).map(str::to_owned).collect()
}

/// A folder with the files that the examples name.
fn folder() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let put = |from: PathBuf, name: &str| {
        fs::copy(&from, folder.path().join(name)).unwrap_or_else(|e| panic!("{from:?}: {e}"));
    };
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd");
    // One that needs no interface which this host may lack.
    put(cases.join("config.in/site.conf"), "keepalived.conf");
    for name in ["hostname.carp0", "hostname.carp1"] {
        put(cases.join("import.in").join(name), name);
    }
    for name in ["gw1.conf", "gw2.conf"] {
        put(cases.join("simulate.in").join(name), name);
    }
    folder
}

fn play(example: &str, folder: &Path) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_lbctl"));
    // Brackets show what may be left out. The host's own configuration is not ours to read.
    let words = example.replace(['[', ']'], "").replace("/etc/keepalived/", "");
    let mut shell = Command::new("sh");
    shell.stdin(Stdio::null()).args(["-c", &words]).current_dir(folder).env("LBD_SOCKET", SOCKET);
    let bin = program.parent().expect("a folder").display();
    let path = std::env::var("PATH").unwrap_or_default();
    shell.env("PATH", format!("{bin}:{path}")).output().expect("a shell")
}

#[test]
fn examples_of_the_documents_work() {
    let folder = folder();
    let pages =
        ["README.md", "man/lbctl.1", "man/lbd.8", "man/lbd.toml.5", "man/lb-keepalived.conf.5"];
    let mut played = 0;
    for page in pages {
        for example in examples(page) {
            let trial = TRIALS.iter().find(|(begins, _)| example.starts_with(begins));
            let (_, trial) =
                trial.unwrap_or_else(|| panic!("{page}: no trial for `{example}`: add one here"));
            if let Left(reason) = trial {
                println!("{page}: `{example}` {reason}");
                continue;
            }
            let output = play(&example, folder.path());
            let complaint = String::from_utf8_lossy(&output.stderr);
            let good = match trial {
                Works => output.status.success(),
                AsksTheDaemon => complaint.contains(&format!("cannot reach lbd at {SOCKET}")),
                Left(_) => true,
            };
            assert!(good, "{page}: `{example}`: {}\n{complaint}", output.status);
            played += 1;
        }
    }
    assert!(played >= 10, "only {played} examples found: has the form of the pages changed?");
}
