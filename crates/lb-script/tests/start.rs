//! What a script is started with, and what it may not be.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use lb_config::model::{Script, ScriptOwner};
use lb_script::{CannotRun, GRACE, Outcome, start};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::geteuid;

fn sh(text: &str) -> Script {
    Script::new(["/bin/sh", "-c", text])
}

/// Runs a script that writes to a file and returns what it wrote.
async fn said(script: impl FnOnce(&Path) -> Script, extra: &[String]) -> String {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let out = dir.path().join("out");
    let script = script(&out);
    assert!(start(&script, extra).unwrap().wait().await.unwrap().success());
    fs::read_to_string(out).unwrap()
}

#[tokio::test]
async fn a_script_gets_its_arguments_and_nothing_else() {
    let extra = ["INSTANCE", "VI_1", "MASTER", "100"].map(String::from);
    let script = |out: &Path| {
        let text = format!("{{ echo \"$@\"; ls /proc/self/fd | wc -l; }} > {}", out.display());
        let mut script = sh(&text);
        script.argv.push("name".into());
        script
    };
    // 0, 1, 2 and the one `ls` reads the directory with.
    assert_eq!(said(script, &extra).await, "INSTANCE VI_1 MASTER 100\n4\n");
}

#[tokio::test]
async fn a_script_has_default_signals_whatever_the_daemon_blocks_or_ignores() {
    let mut all = SigSet::empty();
    all.add(Signal::SIGTERM);
    all.add(Signal::SIGUSR1);
    all.thread_block().unwrap();
    let script =
        |out: &Path| sh(&format!("grep -E 'SigBlk|SigIgn' /proc/self/status > {}", out.display()));
    let said = said(script, &[]).await;
    all.thread_unblock().unwrap();
    assert_eq!(said, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

#[tokio::test]
async fn a_script_is_not_spared_when_memory_runs_out_and_has_the_old_limits() {
    let spare = |score: &str| fs::write("/proc/self/oom_score_adj", score);
    if spare("-1").is_err() {
        lb_skip::skip("only root can ask to be spared");
        return;
    }
    lb_script::remember_limits();
    let (soft, hard) =
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, soft - 1, hard)
        .unwrap();
    let script = |out: &Path| {
        let mut script =
            sh(&format!("{{ cat /proc/self/oom_score_adj; ulimit -n; }} > {}", out.display()));
        script.owner = Some(ScriptOwner { uid: 65534, gid: 65534 });
        script
    };
    assert_eq!(said(script, &[]).await, format!("0\n{soft}\n"));
    spare("0").unwrap();
}

#[tokio::test]
async fn a_script_runs_as_its_owner_without_supplementary_groups() {
    if !geteuid().is_root() {
        lb_skip::skip("only root can become somebody else");
        return;
    }
    let mut script = sh("test \"$(id -u) $(id -g) $(id -G)\" = '65534 65534 65534'");
    script.owner = Some(ScriptOwner { uid: 65534, gid: 65534 });
    assert!(start(&script, &[]).unwrap().wait().await.unwrap().success());
}

#[tokio::test]
async fn a_program_that_is_missing_or_none_cannot_be_run() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text");
    fs::write(&text, "").unwrap();
    for (program, kind) in [
        ("/nonexistent/program".to_owned(), io::ErrorKind::NotFound),
        (text.display().to_string(), io::ErrorKind::PermissionDenied),
    ] {
        let error = start(&Script::new([program.clone()]), &[]).unwrap_err();
        assert!(error.to_string().starts_with(&program) && !error.is_local(), "{error}");
        let CannotRun::Program { source, .. } = error else { panic!("{error}") };
        assert_eq!(source.kind(), kind);
    }
    let script = Script { unusable: Some("there is no user `x`".into()), ..sh("true") };
    assert_eq!(start(&script, &[]).unwrap_err().to_string(), "there is no user `x`");
}

/// The attack: root runs `/…/home/link`, which is a link of root's to a script of root's in a directory
/// of somebody else, who puts a file of his own in its place between two runs.
#[tokio::test]
async fn who_may_swap_a_link_does_not_become_root() {
    if !geteuid().is_root() {
        lb_skip::skip("only root has something to lose");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (home, good) = (dir.path().join("home"), dir.path().join("good"));
    let (link, witness) = (home.join("link"), dir.path().join("witness"));
    let executable = |path: &Path, text: &str| {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    fs::create_dir(&home).unwrap();
    executable(&good, "#!/bin/sh\nexit 0\n");
    symlink("../good", &link).unwrap();
    let secure = Script { secure: true, ..Script::new([link.display().to_string()]) };
    // As long as everything is root's, it runs; and again after it was looked at once.
    assert!(start(&secure, &[]).unwrap().wait().await.unwrap().success());
    let alice = Some(65534);
    chown(&home, alice, alice).unwrap();
    let refused = |what: &str| {
        let error = start(&secure, &[]).unwrap_err();
        assert!(matches!(error, CannotRun::Insecure { .. }), "{what}: {error}");
        assert!(error.to_string().contains("belongs to user 65534"), "{error}");
    };
    refused("a link in a directory of somebody else");
    let evil = home.join("evil");
    executable(&evil, &format!("#!/bin/sh\nid -u > {}\n", witness.display()));
    chown(&evil, alice, alice).unwrap();
    fs::remove_file(&link).unwrap();
    symlink("evil", &link).unwrap();
    refused("the link swapped");
    fs::remove_file(&link).unwrap();
    fs::rename(&evil, &link).unwrap();
    refused("the file swapped");
    assert!(!witness.exists());
    // Run as himself it is his business.
    let own = Script { owner: Some(ScriptOwner { uid: 65534, gid: 65534 }), ..secure.clone() };
    start(&own, &[]).unwrap().wait().await.unwrap();
}

/// A script that no signal of ours reaches, as one that hangs in the kernel: it is somebody else's, and
/// this thread may not signal him.
#[tokio::test]
async fn a_script_that_sigkill_does_not_end_is_not_waited_for() {
    if !geteuid().is_root() {
        lb_skip::skip("only root can start what it may not signal");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let release = dir.path().join("release");
    let mut script = sh(&format!("while ! test -e {}; do sleep 0.05; done", release.display()));
    script.owner = Some(ScriptOwner { uid: 65534, gid: 65534 });
    let mut running = start(&script, &[]).unwrap();
    drop_kill();
    let begin = Instant::now();
    let limit = Duration::from_millis(50);
    assert_eq!(running.wait_at_most(limit).await.unwrap(), Outcome::TimedOut);
    let took = begin.elapsed();
    assert!(took >= limit + GRACE && took < limit + GRACE * 2, "{took:?}");
    assert!(!running.has_ended());
    fs::write(&release, "").unwrap();
    let begin = Instant::now();
    while !running.has_ended() {
        assert!(begin.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Takes CAP_KILL from this thread. `capabilities(7)`.
#[allow(unsafe_code)] // neither nix nor libc has the structures
fn drop_kill() {
    const VERSION: u32 = 0x2008_0522;
    const CAP_KILL: u32 = 5;
    let header = [VERSION, 0];
    // Effective, permitted and inheritable, of the lower 32 and of the upper.
    let mut sets = [0_u32; 6];
    // SAFETY: the kernel reads the header and reads or writes the sets, which are as long as it wants.
    unsafe {
        let done = libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr());
        assert_eq!(done, 0);
        sets[0] &= !(1 << CAP_KILL);
        let done = libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr());
        assert_eq!(done, 0);
    }
}

/// What this process is short of says nothing about a script, also where it shows when the script is
/// looked at.
#[test]
fn a_want_of_descriptors_is_no_verdict_on_a_script_that_must_be_secure() {
    if !geteuid().is_root() {
        lb_skip::skip("only what runs as root is looked at");
        return;
    }
    let secure = Script { secure: true, ..Script::new(["/bin/true"]) };
    let without_descriptors = std::thread::spawn(move || {
        // From here on this thread has a table of its own, and fills it.
        unshare(CloneFlags::CLONE_FILES).unwrap();
        let mut all = Vec::new();
        while let Ok(file) = fs::File::open("/dev/null") {
            all.push(file);
        }
        start(&secure, &[]).map(drop).unwrap_err()
    });
    let error = without_descriptors.join().unwrap();
    assert!(error.is_local(), "{error}");
    assert!(error.to_string().contains("Too many open files"), "{error}");
}
