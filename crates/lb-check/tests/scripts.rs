//! MISC_CHECK with real programs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use lb_check::schedule::Memory;
use lb_check::{Checks, Command, Failure, Outcome, Probe, Report, Script, Spec, Timing};
use lb_config::model::ScriptOwner;

fn script(command: &str) -> Script {
    Script {
        command: Command::new(["/bin/sh", "-c", command]),
        timeout: Duration::from_secs(10),
        dynamic: false,
    }
}

fn spec(script: Script) -> Spec {
    let timing = Timing {
        delay_loop: Duration::from_secs(60),
        retry: 0,
        delay_before_retry: Duration::from_secs(60),
        warmup: Duration::ZERO,
        alpha: false,
    };
    Spec { probe: Probe::from(script), timing }
}

async fn run(script: Script) -> Report {
    let mut checks = Checks::new(1).expect("cipher suites");
    checks.add(&spec(script), Memory::fresh(false));
    let mut reports = Vec::new();
    checks.next(&mut reports).await;
    reports.remove(0)
}

/// Waits until `done`; the test's own limit ends what never comes.
async fn until(what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_exit_status_is_the_result() {
    let cases = [
        ("exit 0", false, Outcome::Up { weight: None }),
        ("exit 1", false, Outcome::Down(Failure::Exit(1))),
        ("exit 7", false, Outcome::Down(Failure::Exit(7))),
        ("exit 0", true, Outcome::Up { weight: None }),
        ("exit 1", true, Outcome::Down(Failure::Exit(1))),
        ("exit 2", true, Outcome::Up { weight: Some(0) }),
        ("exit 255", true, Outcome::Up { weight: Some(253) }),
        ("kill -9 $$", true, Outcome::Down(Failure::Signal(9))),
    ];
    for (command, dynamic, outcome) in cases {
        let report = run(Script { dynamic, ..script(command) }).await;
        assert_eq!(report.outcome, outcome, "{command}");
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_a_failure() {
    let command = Command::new(["/nonexistent/check"]);
    let report = run(Script { command, ..script("") }).await;
    let Outcome::Down(failure @ Failure::Spawn(_)) = report.outcome else { panic!("{report:?}") };
    assert!(failure.to_string().starts_with("/nonexistent/check: "), "{failure}");
}

#[tokio::test]
async fn a_script_that_takes_too_long_is_asked_to_end_and_then_made_to() {
    let directory = tempfile::tempdir().expect("directory");
    let note = directory.path().join("note");
    let polite = format!("trap 'echo asked >{}; exit 0' TERM; sleep 60 & wait", note.display());
    let timeout = Duration::from_millis(300);
    let report = run(Script { timeout, ..script(&polite) }).await;
    assert_eq!(report.outcome, Outcome::Down(Failure::Timeout("running the script")));
    assert_eq!(fs::read_to_string(&note).expect("note"), "asked\n");
    assert!(report.latency < Duration::from_secs(2), "{:?}", report.latency);

    let deaf = "trap '' TERM; sleep 60";
    let report = run(Script { timeout, ..script(deaf) }).await;
    assert_eq!(report.outcome, Outcome::Down(Failure::Timeout("running the script")));
    let bounds = Duration::from_millis(2_300)..Duration::from_secs(8);
    assert!(bounds.contains(&report.latency), "{:?}", report.latency);
}

/// A script that notes its process id and then does not end by itself.
fn endless(note: &Path) -> Script {
    script(&format!("echo $$ >{0}.new; mv {0}.new {0}; exec sleep 600", note.display()))
}

fn is_gone(note: &Path) -> bool {
    let id = fs::read_to_string(note).expect("note");
    // A zombie has ended; its parent's reaper comes later.
    fs::read_to_string(format!("/proc/{}/stat", id.trim()))
        .map_or(true, |stat| stat.contains(") Z "))
}

#[tokio::test]
async fn a_removed_checker_takes_its_script_along() {
    let directory = tempfile::tempdir().expect("directory");
    let note = directory.path().join("note");
    let mut checks = Checks::new(1).expect("cipher suites");
    let id = checks.add(&spec(endless(&note)), Memory::fresh(false));
    let mut reports = Vec::new();
    tokio::select! {
        () = checks.next(&mut reports) => panic!("{reports:?}"),
        () = until("started", || note.exists()) => {}
    }
    checks.remove(id);
    tokio::select! {
        () = checks.next(&mut reports) => panic!("{reports:?}"),
        () = until("ended", || is_gone(&note)) => {}
    }
}

#[tokio::test]
async fn a_stop_ends_all_scripts() {
    let directory = tempfile::tempdir().expect("directory");
    let note = directory.path().join("note");
    let mut checks = Checks::new(1).expect("cipher suites");
    checks.add(&spec(endless(&note)), Memory::fresh(false));
    let mut reports = Vec::new();
    tokio::select! {
        () = checks.next(&mut reports) => panic!("{reports:?}"),
        () = until("started", || note.exists()) => {}
    }
    checks.stop().await;
    assert!(is_gone(&note));
}

#[tokio::test]
async fn a_script_runs_as_its_owner_with_a_clean_slate() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("left out: only root can run scripts as somebody else");
        return;
    }
    let directory = tempfile::tempdir().expect("directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).expect("mode");
    let note = directory.path().join("note");
    let command = format!(
        "{{ id -u; id -G; ps -o pgid= -p $$ | tr -d ' '; echo $$; readlink /proc/self/fd/0; }} >{}",
        note.display()
    );
    let mut script = script(&command);
    script.command.owner = Some(ScriptOwner { uid: 65_534, gid: 65_533 });
    let report = run(script).await;
    assert_eq!(report.outcome, Outcome::Up { weight: None });
    let text = fs::read_to_string(&note).expect("note");
    let [uid, groups, pgid, pid, stdin] = text.lines().collect::<Vec<_>>()[..] else {
        panic!("{text}")
    };
    assert_eq!((uid, groups, stdin), ("65534", "65533", "/dev/null"));
    assert_eq!(pgid, pid);
}
