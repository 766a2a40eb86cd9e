//! Watches the connections of all probes: one epoll instance, which the runtime watches in turn.
#![allow(unsafe_code)] // AsyncFd: that its descriptor stays open is for us to promise

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::task::{Context, Poll};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::Id;
use crate::flight::Wait;

/// Connections that one look finds ready.
const BATCH: usize = 128;

/// Nothing will come after what is there.
const HANGUP: EpollFlags = EpollFlags::EPOLLRDHUP.union(EpollFlags::EPOLLHUP);

/// The connections that are watched. One that is closed is watched no more.
///
/// What is ready is told again until it is taken (epoll's default): nothing has to be read until
/// there is nothing, and nobody has to remember who was not served.
pub(crate) struct Poller {
    epoll: AsyncFd<Instance>,
    events: Vec<EpollEvent>,
}

struct Instance(Epoll);

impl AsRawFd for Instance {
    fn as_raw_fd(&self) -> RawFd {
        self.0.0.as_raw_fd()
    }
}

/// A connection that is ready.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    /// Whose.
    pub id: Id,
    /// Nothing will come after what is there.
    pub hangup: bool,
}

impl Poller {
    /// To be called in a tokio runtime.
    ///
    /// # Errors
    /// When there is no descriptor.
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        // SAFETY: it owns its descriptor, nobody else has it, and it is never exchanged: the `AsyncFd`
        // closes it after it has taken it out of the runtime's own instance.
        let epoll =
            unsafe { AsyncFd::register_with_interest(Instance(epoll), Interest::READABLE) }?;
        Ok(Self { epoll, events: vec![EpollEvent::empty(); BATCH] })
    }

    /// Watches a connection.
    ///
    /// # Errors
    /// When the kernel has no room for it.
    pub(crate) fn watch(&self, fd: &impl AsFd, id: Id, wait: Wait) -> io::Result<()> {
        Ok(self.epoll.get_ref().0.add(fd, event(id, wait))?)
    }

    /// Watches a connection for something else.
    ///
    /// # Errors
    /// When it is not watched.
    pub(crate) fn change(&self, fd: &impl AsFd, id: Id, wait: Wait) -> io::Result<()> {
        Ok(self.epoll.get_ref().0.modify(fd, &mut event(id, wait))?)
    }

    /// Finds connections that are ready, some of them. The task is woken when it finds none and
    /// there is one.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, found: &mut Vec<Ready>) {
        while let Poll::Ready(Ok(mut guard)) = self.epoll.poll_read_ready(cx) {
            match guard.get_inner().0.wait(&mut self.events, EpollTimeout::ZERO) {
                Err(Errno::EINTR) => {}
                Ok(count @ 1..) => {
                    found.extend(self.events[..count].iter().map(|event| Ready {
                        id: Id(event.data()),
                        hangup: event.events().intersects(HANGUP),
                    }));
                    return;
                }
                Ok(0) | Err(_) => guard.clear_ready(),
            }
        }
    }
}

fn event(id: Id, wait: Wait) -> EpollEvent {
    let flags = match wait {
        Wait::Readable => EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP,
        Wait::Writable => EpollFlags::EPOLLOUT,
    };
    EpollEvent::new(flags, id.0)
}
