//! A timer with nanosecond deadlines.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{self, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId, clock_gettime};

/// One deadline, absolute, on the monotonic clock. `timerfd_create(2)`.
///
/// Its descriptor becomes readable when the deadline has come. Watched with
/// [`Poller::add_edge`](crate::Poller::add_edge) it needs no reading: each arming reports once.
#[derive(Debug)]
pub struct Timer {
    fd: TimerFd,
    anchor: Anchor,
    armed: Option<Instant>,
}

impl Timer {
    /// A timer that is not armed.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let fd = TimerFd::new(timerfd::ClockId::CLOCK_MONOTONIC, flags)?;
        Ok(Self { fd, anchor: Anchor::now()?, armed: None })
    }

    /// Fires at `deadline`, at once if that has passed, or with `None` never; whatever was armed
    /// before is forgotten. Costs a system call only when the deadline changes.
    ///
    /// # Errors
    /// Never in practice: the descriptor is ours and the time is valid.
    pub fn arm(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        if self.armed == deadline {
            return Ok(());
        }
        match deadline {
            Some(deadline) => {
                let expiration = Expiration::OneShot(self.anchor.timespec(deadline));
                self.fd.set(expiration, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            }
            None => self.fd.unset()?,
        }
        self.armed = deadline;
        Ok(())
    }

    /// What the timer was armed with last, whether or not that has passed.
    #[must_use]
    pub fn armed(&self) -> Option<Instant> {
        self.armed
    }

    /// Says that the timer has fired, so that the same deadline can be armed again.
    pub fn fired(&mut self) {
        self.armed = None;
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// One moment on both faces of the monotonic clock: [`Instant`] hides the number that the kernel
/// wants.
#[derive(Debug)]
struct Anchor {
    instant: Instant,
    since_boot: Duration,
}

impl Anchor {
    /// Reads both faces as close together as the machine allows, the kernel's second: a deadline is
    /// then late by the gap, tens of nanoseconds, and never early.
    fn now() -> io::Result<Self> {
        let mut best: Option<(Duration, Self)> = None;
        for _ in 0..8 {
            let instant = Instant::now();
            let since_boot = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
            let gap = instant.elapsed();
            if best.as_ref().is_none_or(|(smallest, _)| gap < *smallest) {
                best = Some((gap, Self { instant, since_boot }));
            }
        }
        best.map(|(_, anchor)| anchor).ok_or_else(|| io::Error::other("no clock"))
    }

    fn timespec(&self, deadline: Instant) -> TimeSpec {
        let since_boot = match deadline.checked_duration_since(self.instant) {
            Some(ahead) => self.since_boot.saturating_add(ahead),
            None => self.since_boot.saturating_sub(self.instant - deadline),
        };
        // Zero would disarm.
        TimeSpec::from(since_boot.max(Duration::from_nanos(1)))
    }
}
