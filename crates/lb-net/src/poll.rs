//! Waiting: which descriptors are ready, and how another thread ends the wait.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Descriptors that become ready at once are reported together, up to this many: both sockets of
/// two thousand interfaces. More than that are reported in turn.
const BATCH: usize = 4096;

const ONCE: EpollFlags = EpollFlags::EPOLLIN.union(EpollFlags::EPOLLONESHOT);

/// Waits until a descriptor is readable. `epoll(7)`.
#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
    ready: Vec<EpollEvent>,
}

impl Poller {
    /// A poller that watches nothing yet.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, ready: vec![EpollEvent::empty(); BATCH] })
    }

    /// Reports `token` for as long as there is something to read.
    ///
    /// # Errors
    /// When it is watched already, or the kernel is out of memory.
    pub fn add(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token))?)
    }

    /// Reports `token` once each time something new can be read: right for a [`Timer`](crate::Timer),
    /// which then need not be read at all.
    ///
    /// # Errors
    /// As [`Poller::add`].
    pub fn add_edge(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        Ok(self.epoll.add(fd, EpollEvent::new(flags, token))?)
    }

    /// Reports `token` once, when there is something to read; [`Poller::again`] has it reported again.
    ///
    /// # Errors
    /// As [`Poller::add`].
    pub fn add_once(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(ONCE, token))?)
    }

    /// Reports once more what was added to be reported once.
    ///
    /// # Errors
    /// When it is not watched.
    pub fn again(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        Ok(self.epoll.modify(fd, &mut EpollEvent::new(ONCE, token))?)
    }

    /// Watches it no longer.
    ///
    /// # Errors
    /// When it was not watched.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.epoll.delete(fd)?)
    }

    /// Sleeps until something is ready or the time is over, then yields the tokens. A signal, or
    /// that the process was stopped and goes on, ends the sleep early with what is ready by then,
    /// perhaps nothing. Without a timeout it may sleep for ever.
    ///
    /// # Errors
    /// Never in practice: the descriptor is ours and the buffer is valid.
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
    ) -> io::Result<impl Iterator<Item = u64> + use<'_>> {
        let timeout = timeout.map_or(EpollTimeout::NONE, |timeout| {
            EpollTimeout::try_from(timeout).unwrap_or(EpollTimeout::MAX)
        });
        let ready = match self.epoll.wait(&mut self.ready, timeout) {
            // Of what is ready the kernel says nothing in that case: packets that came while the
            // process was stopped have to be asked for.
            Err(Errno::EINTR) => match self.epoll.wait(&mut self.ready, EpollTimeout::ZERO) {
                Err(Errno::EINTR) => 0,
                other => other?,
            },
            other => other?,
        };
        Ok(self.ready[..ready].iter().map(EpollEvent::data))
    }
}

/// Ends another thread's [`Poller::wait`]. `eventfd(2)`.
#[derive(Debug)]
pub struct Waker(EventFd);

impl Waker {
    /// A waker that has not been used.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(EventFd::from_value_and_flags(0, flags)?))
    }

    /// Makes the descriptor readable. Never blocks.
    pub fn wake(&self) {
        // Fails only when 2^64 - 2 wakes are pending: then the other side wakes anyway.
        let _ = self.0.write(1);
    }

    /// Makes the descriptor unreadable until the next [`Waker::wake`].
    pub fn clear(&self) {
        // Fails only when nothing is pending.
        let _ = self.0.read();
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::Timer;

    #[test]
    fn a_wake_is_reported_until_it_is_cleared() {
        let mut poller = Poller::new().unwrap();
        let waker = Waker::new().unwrap();
        poller.add(&waker, 7).unwrap();
        assert_eq!(poller.wait(Some(Duration::ZERO)).unwrap().count(), 0);
        waker.wake();
        assert_eq!(poller.wait(None).unwrap().collect::<Vec<_>>(), [7]);
        assert_eq!(poller.wait(None).unwrap().collect::<Vec<_>>(), [7]);
        waker.clear();
        assert_eq!(poller.wait(Some(Duration::ZERO)).unwrap().count(), 0);
    }

    #[test]
    fn a_timer_is_never_early_and_is_reported_once_for_each_arming() {
        let mut poller = Poller::new().unwrap();
        let mut timer = Timer::new().unwrap();
        poller.add_edge(&timer, 1).unwrap();
        for wait in [Duration::ZERO, Duration::from_micros(300), Duration::from_millis(3)] {
            let deadline = Instant::now() + wait;
            timer.arm(Some(deadline)).unwrap();
            assert_eq!(poller.wait(None).unwrap().collect::<Vec<_>>(), [1]);
            assert!(Instant::now() >= deadline);
            assert_eq!(poller.wait(Some(Duration::ZERO)).unwrap().count(), 0);
        }
    }

    #[test]
    fn what_is_reported_once_is_silent_until_it_is_asked_for_again() {
        let mut poller = Poller::new().unwrap();
        let waker = Waker::new().unwrap();
        poller.add_once(&waker, 7).unwrap();
        waker.wake();
        assert_eq!(poller.wait(None).unwrap().collect::<Vec<_>>(), [7]);
        waker.wake();
        assert_eq!(poller.wait(Some(Duration::ZERO)).unwrap().count(), 0);
        poller.again(&waker, 8).unwrap();
        assert_eq!(poller.wait(None).unwrap().collect::<Vec<_>>(), [8]);
    }

    #[test]
    fn a_disarmed_timer_is_silent() {
        let mut poller = Poller::new().unwrap();
        let mut timer = Timer::new().unwrap();
        poller.add_edge(&timer, 1).unwrap();
        timer.arm(Some(Instant::now() + Duration::from_millis(2))).unwrap();
        timer.arm(None).unwrap();
        assert_eq!(poller.wait(Some(Duration::from_millis(10))).unwrap().count(), 0);
    }
}
