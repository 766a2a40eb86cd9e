//! A script that runs, to its end.
//!
//! The process is watched by a descriptor (`pidfd_open(2)`) and stays a zombie until this module
//! collects it, so that its number, and that of its process group, cannot come to mean another one
//! while signals are sent.
//!
//! Unsafe for `pidfd_open`, which nix does not wrap.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::Outcome;

/// From SIGTERM to SIGKILL.
pub const GRACE: Duration = Duration::from_secs(2);

/// From SIGKILL until nobody waits any longer. What SIGKILL ends has ended long before.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// Between two looks at whether a group is empty.
const LOOK: Duration = Duration::from_millis(20);

static LIVING: AtomicUsize = AtomicUsize::new(0);

/// How many scripts of this process have not been collected yet, those that are being ended included.
#[must_use]
pub fn living() -> usize {
    LIVING.load(Ordering::Relaxed)
}

/// A running script in a process group of its own.
///
/// If this is dropped before the end, the whole group gets SIGTERM and, after [`GRACE`] or with the
/// end of the runtime, SIGKILL.
#[derive(Debug)]
pub struct Running(Option<Group>);

/// A leader and its group. Once it was asked to end, it gets SIGKILL when this is dropped.
#[derive(Debug)]
struct Group {
    leader: Child,
    id: Pid,
    /// Becomes readable when the leader ends.
    exit: AsyncFd<OwnedFd>,
    /// Time of SIGTERM.
    asked: Option<Instant>,
    /// The leader is no zombie any more.
    collected: bool,
    /// Nobody is left in it.
    empty: bool,
}

impl Running {
    pub(crate) fn new(mut leader: Child) -> io::Result<Self> {
        let id = Pid::from_raw(leader.id().cast_signed());
        match watch(id) {
            Ok(exit) => {
                LIVING.fetch_add(1, Ordering::Relaxed);
                Ok(Self(Some(Group {
                    leader,
                    id,
                    exit,
                    asked: None,
                    collected: false,
                    empty: false,
                })))
            }
            Err(error) => {
                // Its number is its own until it is collected.
                let _ = killpg(id, Signal::SIGKILL);
                let _ = leader.wait();
                Err(error)
            }
        }
    }

    /// Waits for the end. Cancel safe.
    ///
    /// # Errors
    /// As `waitpid(2)`; `ECHILD` when it has been waited for already.
    pub async fn wait(&mut self) -> io::Result<Outcome> {
        let Some(group) = &mut self.0 else { return Err(Errno::ECHILD.into()) };
        group.exited().await;
        let status = group.collect();
        // What it has left behind is meant to stay.
        self.0 = None;
        status.map(Outcome::Exited)
    }

    /// Waits for the end, which comes by SIGTERM after `limit` and by SIGKILL [`GRACE`] later. Cancel
    /// safe.
    ///
    /// A script that hangs in the kernel outlives that, and has timed out all the same:
    /// [`has_ended`](Self::has_ended) tells.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub async fn wait_at_most(&mut self, limit: Duration) -> io::Result<Outcome> {
        match timeout(limit, self.wait()).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.end(GRACE).await;
                Ok(Outcome::TimedOut)
            }
        }
    }

    /// Asks the group to end and waits until its leader has ended, after `grace` by SIGKILL, but not for
    /// one that survives that. What outlives the leader is ended when this is dropped. Cancel safe.
    pub async fn end(&mut self, grace: Duration) {
        let Some(group) = &mut self.0 else { return };
        group.ask();
        if timeout(grace, group.exited()).await.is_err() {
            group.signal(Signal::SIGKILL);
            let _ = timeout(LAST_WAIT, group.exited()).await;
        }
    }

    /// Whether its leader has ended. One that was asked to end and has not is not to be started again.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.0.as_ref().is_none_or(Group::has_exited)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut group) = self.0.take() else { return };
        group.ask();
        // Without a runtime it is killed at once, when it is dropped.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { group.end().await });
        }
    }
}

impl Group {
    /// Waits until the leader has ended; it stays a zombie. Cancel safe.
    async fn exited(&self) {
        // An error of the descriptor is as good as an end: collecting tells.
        let _ = self.exit.readable().await;
    }

    /// The same without waiting.
    fn has_exited(&self) -> bool {
        let mut exit = [PollFd::new(self.exit.get_ref().as_fd(), PollFlags::POLLIN)];
        poll(&mut exit, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Collects the leader, which has ended; does not wait for it if it has not.
    fn collect(&mut self) -> io::Result<ExitStatus> {
        let status = self.leader.try_wait()?.ok_or(io::ErrorKind::WouldBlock)?;
        self.collected = true;
        Ok(status)
    }

    /// Asks the whole group to end, once.
    fn ask(&mut self) {
        if self.asked.is_none() {
            self.asked = Some(Instant::now());
            self.signal(Signal::SIGTERM);
        }
    }

    /// Sends a signal to everyone in the group, and tells whether there is anyone: the leader counts
    /// as long as it has not been collected. A script that became somebody whom we may not signal
    /// counts too.
    fn signal(&self, signal: impl Into<Option<Signal>>) -> bool {
        killpg(self.id, signal) != Err(Errno::ESRCH)
    }

    /// Waits until the group, which has been asked, has ended; from the end of the grace on with
    /// SIGKILL.
    async fn end(mut self) {
        let deadline = self.asked.unwrap_or_else(Instant::now) + GRACE;
        if timeout_at(deadline, self.exited()).await.is_err() {
            self.signal(Signal::SIGKILL);
            self.exited().await;
        }
        let _ = self.collect(); // how it ended does not matter any more
        // What the leader has started may still be tidying up. As long as there is one of them, the
        // number of the group is not given to another.
        while self.signal(None) {
            if Instant::now() >= deadline {
                self.signal(Signal::SIGKILL);
                break;
            }
            sleep(LOOK).await;
        }
        self.empty = true;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.asked.is_some() && !self.empty {
            self.signal(Signal::SIGKILL);
        }
        if !self.collected {
            // One that hangs in the kernel is left to whoever collects orphans.
            let _ = self.leader.try_wait();
        }
        LIVING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A descriptor that becomes readable when the process ends.
fn watch(id: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: plain integers; the descriptor that comes back is nobody else's, and close-on-exec. It
    // stays open as long as the `OwnedFd`, which nobody replaces, and so as long as it is registered.
    unsafe {
        let descriptor = Errno::result(libc::syscall(libc::SYS_pidfd_open, id.as_raw(), 0))?;
        let descriptor = OwnedFd::from_raw_fd(descriptor as i32);
        Ok(AsyncFd::register_with_interest(descriptor, Interest::READABLE)?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Instant;

    use lb_config::model::Script;

    use super::*;
    use crate::start;

    fn sh(text: &str) -> Script {
        Script::new(["/bin/sh", "-c", text])
    }

    /// The process whose number a script has written, alive and no zombie.
    fn lives(note: &Path) -> bool {
        let id = fs::read_to_string(note).unwrap();
        let stat = fs::read_to_string(format!("/proc/{}/stat", id.trim()));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }

    async fn until(what: &str, done: impl Fn() -> bool) {
        let limit = Instant::now() + Duration::from_secs(20);
        while !done() {
            assert!(Instant::now() < limit, "{what}");
            sleep(LOOK).await;
        }
    }

    #[tokio::test]
    async fn a_script_that_overruns_is_stopped_with_its_children() {
        let begin = Instant::now();
        let mut running = start(&sh("sleep 100 & wait"), &[]).unwrap();
        let outcome = running.wait_at_most(Duration::from_millis(50)).await.unwrap();
        assert_eq!(outcome, Outcome::TimedOut);
        assert!(begin.elapsed() < GRACE);
    }

    #[tokio::test]
    async fn a_script_that_ignores_sigterm_is_killed() {
        let script = sh("trap '' TERM; while :; do sleep 1; done");
        let mut running = start(&script, &[]).unwrap();
        let outcome = running.wait_at_most(Duration::from_millis(50)).await.unwrap();
        assert_eq!(outcome, Outcome::TimedOut);
    }

    #[tokio::test]
    async fn a_child_that_outlives_its_script_by_ignoring_sigterm_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let note = dir.path().join("note");
        let child =
            format!("trap '' TERM; echo $$ > {0}.new; mv {0}.new {0}; sleep 600", note.display());
        let running =
            start(&sh(&format!("sh -c \"{}\" & wait", child.replace('$', "\\$"))), &[]).unwrap();
        until("started", || note.exists()).await;
        assert!(lives(&note));
        drop(running);
        until("killed", || !lives(&note)).await;
    }

    #[tokio::test]
    async fn what_a_script_leaves_behind_on_purpose_stays() {
        let dir = tempfile::tempdir().unwrap();
        let note = dir.path().join("note");
        let text = format!("sleep 600 & echo $! > {}", note.display());
        assert!(start(&sh(&text), &[]).unwrap().wait().await.unwrap().success());
        assert!(lives(&note));
        let id = fs::read_to_string(&note).unwrap().trim().parse().unwrap();
        nix::sys::signal::kill(Pid::from_raw(id), Signal::SIGKILL).unwrap();
    }

    #[test]
    fn nothing_survives_the_runtime() {
        let dir = tempfile::tempdir().unwrap();
        let note = dir.path().join("note");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let text = format!(
                "trap '' TERM; echo $$ > {0}.new; mv {0}.new {0}; sleep 600",
                note.display()
            );
            let running = start(&sh(&text), &[]).unwrap();
            until("started", || note.exists()).await;
            drop(running);
        });
        drop(runtime);
        let limit = Instant::now() + Duration::from_secs(20);
        while lives(&note) {
            assert!(Instant::now() < limit);
            std::thread::sleep(LOOK);
        }
    }
}
