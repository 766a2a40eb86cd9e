//! Runs the scripts that a configuration names: notify scripts, tracked scripts, checks, hooks.
//!
//! One home for what all of them need: who runs them, what they inherit, what becomes of one that
//! cannot run, and that nothing of one that has to end survives it.

mod child;
mod running;
mod signals;
mod started;

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use lb_config::model::{Script, ScriptOwner};
use lb_config::{RealSystem, System, security};
use nix::errno::Errno;
use thiserror::Error;

pub use running::{GRACE, Running, living};
pub use signals::default_signals;
pub use started::remember_limits;

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

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

/// Why a script did not run.
#[derive(Debug, Error)]
pub enum CannotRun {
    /// The configuration says so: there is no such user, for example.
    #[error("{0}")]
    Unusable(String),
    /// Somebody else than root decides what would run as root (`enable_script_security`), or who does
    /// cannot be found out.
    #[error("{program} is not secure: {problem}")]
    Insecure {
        /// Its path.
        program: String,
        /// Who could change what.
        problem: security::Problem,
    },
    /// The program is missing, no program, or not for this user.
    #[error("{program}: {source}")]
    Program {
        /// Its path.
        program: String,
        /// As `execve(2)`.
        source: io::Error,
    },
    /// The kernel lets nobody watch it (`pidfd_open(2)`), so it was ended at once.
    #[error("it cannot be watched: {0}")]
    Watch(io::Error),
    /// This host is short of processes, descriptors or memory, which says nothing about the script.
    #[error("this host is short of something: {0}")]
    Local(io::Error),
}

impl CannotRun {
    /// Whether it is for want of a resource of this host, and no verdict about the script.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }
}

/// Starts a script with `extra` arguments after its own.
///
/// It gets `/dev/null` as its standard files, the environment without the loader's variables and
/// those of our service manager, no other descriptor, default signals, the limits and the scheduling
/// that the daemon was started with, no protection from the out-of-memory killer, and, when it has an
/// owner, that user and group and no supplementary ones.
///
/// A script that must be secure is looked at first ([`security::check`]). Where that finds nothing,
/// only root can change any part of its path, so what is executed is what has been looked at.
///
/// Must be called inside a runtime of tokio with its I/O driver.
///
/// # Errors
/// It does not run; nothing is left of it.
pub fn start(script: &Script, extra: &[String]) -> Result<Running, CannotRun> {
    if let Some(reason) = &script.unusable {
        return Err(CannotRun::Unusable(reason.clone()));
    }
    let Some(program) = script.argv.first() else {
        return Err(CannotRun::Unusable("there is no program".to_owned()));
    };
    if script.secure {
        let runs_as = script.owner.unwrap_or_else(own);
        security::check(&RealSystem, Path::new(program), runs_as).map_err(
            |problem| match problem {
                security::Problem::Unknown { source, .. } if is_shortage(&source) => {
                    CannotRun::Local(source)
                }
                problem => CannotRun::Insecure { program: program.clone(), problem },
            },
        )?;
    }
    let child = child::spawn(script, extra).map_err(|source| {
        classify(source, |source| CannotRun::Program { program: program.clone(), source })
    })?;
    Running::new(child).map_err(|error| classify(error, CannotRun::Watch))
}

fn own() -> ScriptOwner {
    RealSystem.own()
}

/// An error as what this host is short of, else as something else.
fn classify(error: io::Error, other: impl FnOnce(io::Error) -> CannotRun) -> CannotRun {
    if is_shortage(&error) { CannotRun::Local(error) } else { other(error) }
}

/// Whether an error of a system call says that this host is short of processes, descriptors, memory or
/// time just now, and nothing about what was to be done.
#[must_use]
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(
            Errno::EAGAIN
                | Errno::ENOMEM
                | Errno::ENOBUFS
                | Errno::EMFILE
                | Errno::ENFILE
                | Errno::ENOSPC
                | Errno::EINTR
        )
    )
}
