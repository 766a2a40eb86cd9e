//! Runs the scripts that a configuration names.
//!
//! Unsafe for one call, `pre_exec`: a script that a dying daemon leaves behind must get SIGTERM, and
//! descriptors that the daemon itself was started with are not for scripts. Both can only be done in
//! the child between fork and exec, by system calls that touch no memory of ours (`prctl(2)`,
//! `close_range(2)`).
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use lb_config::model::Script;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// A running script in a process group of its own. The whole group gets SIGTERM if this is dropped
/// before the end.
#[derive(Debug)]
pub struct Running {
    child: Child,
    group: Option<Pid>,
}

/// How a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// By itself.
    Exited(ExitStatus),
    /// It ran out of time and was killed.
    TimedOut,
}

impl Outcome {
    /// Exit status 0, in time.
    #[must_use]
    pub fn success(self) -> bool {
        matches!(self, Self::Exited(status) if status.success())
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(status) => match (status.code(), status.signal()) {
                (Some(code), _) => write!(f, "status {code}"),
                (None, Some(signal)) => write!(f, "signal {signal}"),
                (None, None) => write!(f, "{status}"),
            },
            Self::TimedOut => f.write_str("timed out"),
        }
    }
}

/// Starts a script with `extra` arguments after its own.
///
/// It gets `/dev/null` as its standard files, the environment without the loader's variables and
/// those of our service manager, no other descriptor, default signals, and, when it has an owner,
/// that user and group and no supplementary ones.
///
/// # Errors
/// As `fork(2)` and `execve(2)`.
pub fn start(script: &Script, extra: &[String]) -> io::Result<Running> {
    let (program, arguments) = script.argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments).args(extra);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    for name in
        ["IFS", "LD_PRELOAD", "LD_LIBRARY_PATH", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]
    {
        command.env_remove(name);
    }
    if let Some(owner) = script.owner {
        // With a user set, the standard library clears the supplementary groups too.
        command.gid(owner.gid).uid(owner.uid);
    }
    // SAFETY: the closure makes two system calls and allocates nothing; `close_range` marks
    // descriptors for the exec that follows and closes none.
    unsafe {
        command.pre_exec(|| {
            // Linux before 5.11 has it not, and then only ours, all marked, are to be closed.
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
            prctl::set_pdeathsig(Signal::SIGTERM).map_err(io::Error::from)
        });
    }
    let child = command.spawn()?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    Ok(Running { child, group })
}

impl Running {
    /// Waits for the end.
    ///
    /// # Errors
    /// As `waitpid(2)`.
    pub async fn wait(mut self) -> io::Result<Outcome> {
        self.ended().await
    }

    /// Waits for the end, which comes by SIGTERM after `limit` and by SIGKILL 2 s later.
    ///
    /// # Errors
    /// As `waitpid(2)`.
    pub async fn wait_at_most(mut self, limit: Duration) -> io::Result<Outcome> {
        if let Ok(outcome) = timeout(limit, self.ended()).await {
            return outcome;
        }
        self.signal(Signal::SIGTERM);
        if timeout(GRACE, self.ended()).await.is_err() {
            self.signal(Signal::SIGKILL);
            self.ended().await?;
        }
        Ok(Outcome::TimedOut)
    }

    async fn ended(&mut self) -> io::Result<Outcome> {
        let status = self.child.wait().await?;
        self.group = None;
        Ok(Outcome::Exited(status))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            match killpg(group, signal) {
                // It ended in this moment.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => {
                    tracing::warn!("cannot send {signal} to process group {group}: {error}");
                }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::SIGTERM);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use lb_config::model::ScriptOwner;

    use super::*;

    fn sh(text: &str) -> Script {
        Script { argv: ["/bin/sh", "-c", text].map(String::from).to_vec(), owner: None }
    }

    #[tokio::test]
    async fn a_script_gets_its_arguments_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let mut script =
            sh(&format!("{{ echo \"$@\"; ls /proc/self/fd | wc -l; }} > {}", out.display()));
        script.argv.push("name".into());
        let extra = ["INSTANCE", "VI_1", "MASTER", "100"].map(String::from);
        let outcome = start(&script, &extra).unwrap().wait().await.unwrap();
        assert!(outcome.success());
        // 0, 1, 2 and the one `ls` reads the directory with.
        assert_eq!(fs::read_to_string(out).unwrap(), "INSTANCE VI_1 MASTER 100\n4\n");
    }

    #[tokio::test]
    async fn a_script_that_overruns_is_stopped_with_its_children() {
        let begin = Instant::now();
        let outcome = start(&sh("sleep 100 & wait"), &[]).unwrap();
        let outcome = outcome.wait_at_most(Duration::from_millis(50)).await.unwrap();
        assert_eq!(outcome, Outcome::TimedOut);
        assert!(begin.elapsed() < GRACE);
    }

    #[tokio::test]
    async fn a_script_that_ignores_sigterm_is_killed() {
        let script = sh("trap '' TERM; while :; do sleep 1; done");
        let outcome =
            start(&script, &[]).unwrap().wait_at_most(Duration::from_millis(50)).await.unwrap();
        assert_eq!(outcome, Outcome::TimedOut);
    }

    #[tokio::test]
    async fn a_script_runs_as_its_owner_without_supplementary_groups() {
        if !nix::unistd::geteuid().is_root() {
            return; // only root can become somebody else
        }
        let mut script = sh("test \"$(id -u) $(id -g) $(id -G)\" = '65534 65534 65534'");
        script.owner = Some(ScriptOwner { uid: 65534, gid: 65534 });
        assert!(start(&script, &[]).unwrap().wait().await.unwrap().success());
    }

    #[tokio::test]
    async fn a_missing_program_is_an_error() {
        let script = Script { argv: vec!["/nonexistent/program".into()], owner: None };
        assert_eq!(start(&script, &[]).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
