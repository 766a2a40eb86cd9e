//! What the daemon was started with and changes for itself, so that scripts get it back.
//!
//! Unsafe for calls that nix does not wrap; plain integers.
#![allow(unsafe_code)]

use std::fs;
use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit};

static STARTED: OnceLock<Started> = OnceLock::new();

/// Limits and scheduling of the daemon at its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Started {
    /// Nice value, −20 to 19.
    pub(crate) nice: i32,
    /// Limits that the daemon raises for itself, soft and hard.
    pub(crate) limits: [(libc::__rlimit_resource_t, libc::rlimit); 2],
    /// The out-of-memory killer spares the daemon, by `OOMScoreAdjust` of its unit for example.
    pub(crate) spared: bool,
}

/// Takes note of limits and scheduling. To be called before the daemon changes them; only the first
/// call counts.
pub fn remember_limits() {
    STARTED.get_or_init(Started::now);
}

/// What was noted, or what is in force now.
pub(crate) fn started() -> &'static Started {
    STARTED.get_or_init(Started::now)
}

impl Started {
    fn now() -> Self {
        let limit = |resource: Resource| {
            let (soft, hard) =
                getrlimit(resource).unwrap_or((libc::RLIM_INFINITY, libc::RLIM_INFINITY));
            libc::rlimit { rlim_cur: soft, rlim_max: hard }
        };
        // SAFETY: plain integers; 0 is the calling thread. An error is −1, which is a nice value too
        // and harmless here.
        let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        let score = fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
        Self {
            nice,
            limits: [
                (libc::RLIMIT_NOFILE, limit(Resource::RLIMIT_NOFILE)),
                (libc::RLIMIT_CORE, limit(Resource::RLIMIT_CORE)),
            ],
            spared: score.trim().starts_with('-'),
        }
    }
}
