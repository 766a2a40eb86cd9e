//! One direction of a TCP connection: what one socket gives, the other takes.
//!
//! Small pieces are copied through a buffer that all connections of a thread share, so an idle
//! connection holds none. Once a piece fills it, more is likely to come, and the kernel moves it
//! from socket to socket through a pipe (`splice(2)`), without a copy, until it runs dry.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Poll, ready};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::guard;

/// No UDP datagram is longer.
pub const SCRATCH: usize = 65_536;

/// A TCP read that gets this much is followed by splicing.
const PIECE: usize = 16_384;

/// What a pipe is asked to hold; the kernel may refuse and leave 64 KiB.
const PIPE: i32 = 262_144;

/// Empty pipes kept for the next burst.
const SPARE_PIPES: usize = 32;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// Lends the thread's buffer of [`SCRATCH`] octets.
pub fn with_scratch<T>(use_it: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with_borrow_mut(|buffer| use_it(buffer))
}

/// Empty pipes, shared by all connections.
#[derive(Debug, Default)]
pub struct Pipes(Mutex<Vec<Pipe>>);

#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipes {
    /// `None` if there are too many open files: then copying goes on.
    fn take(&self) -> Option<Pipe> {
        if let Some(pipe) = guard(&self.0).pop() {
            return Some(pipe);
        }
        let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).ok()?;
        // A refusal costs speed only.
        let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(PIPE));
        Some(Pipe { read, write })
    }

    /// Takes an empty pipe back.
    fn give(&self, pipe: Pipe) {
        let mut spare = guard(&self.0);
        if spare.len() < SPARE_PIPES {
            spare.push(pipe);
        }
    }
}

/// When something last moved.
#[derive(Debug)]
pub struct Activity {
    started: Instant,
    last_ms: AtomicU64,
    /// One side has said its last.
    half_closed: Notify,
}

impl Activity {
    /// Something moves now.
    pub fn new() -> Self {
        Self { started: Instant::now(), last_ms: AtomicU64::new(0), half_closed: Notify::new() }
    }

    /// Something moves again.
    pub fn touch(&self) {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(ms, Relaxed);
    }

    /// Milliseconds from the beginning to when something moved last.
    pub fn last_ms(&self) -> u64 {
        self.last_ms.load(Relaxed)
    }

    /// How long nothing has moved.
    pub fn idle_for(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.last_ms()))
    }

    /// Returns once one side has said its last, and then nothing has moved for `timeout`.
    pub async fn half_closed_idle(&self, timeout: Duration) {
        self.half_closed.notified().await;
        self.idle(timeout).await;
    }

    /// Returns once nothing has moved for `timeout`.
    pub async fn idle(&self, timeout: Duration) {
        loop {
            let deadline =
                self.started + Duration::from_millis(self.last_ms.load(Relaxed)) + timeout;
            if deadline <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }
}

/// Moves everything from one socket to the other until the end of the stream, and passes the end
/// on as a half-close.
///
/// # Errors
/// What either socket said.
pub async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    activity: &Activity,
    pipes: &Pipes,
) -> io::Result<()> {
    loop {
        let (read, rest) = copy(&mut from, &mut to).await?;
        activity.touch();
        if !rest.is_empty() {
            to.write_all(&rest).await?;
        }
        let ended = match read {
            0 => true,
            PIECE => through_pipe(from.as_ref(), to.as_ref(), activity, pipes).await?,
            _ => false,
        };
        if ended {
            activity.half_closed.notify_one();
            return to.shutdown().await;
        }
    }
}

/// Waits for a piece and writes as much of it as the other side takes. Returns how much came, 0
/// at the end of the stream, and what is left to write.
async fn copy(from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>) -> io::Result<(usize, Vec<u8>)> {
    poll_fn(|cx| {
        with_scratch(|buffer| {
            let mut piece = ReadBuf::new(&mut buffer[..PIECE]);
            ready!(Pin::new(&mut *from).poll_read(cx, &mut piece))?;
            let piece = piece.filled();
            if piece.is_empty() {
                return Poll::Ready(Ok((0, Vec::new())));
            }
            let written = match Pin::new(&mut *to).poll_write(cx, piece) {
                Poll::Ready(written) => written?,
                Poll::Pending => 0,
            };
            Poll::Ready(Ok((piece.len(), piece[written..].to_vec())))
        })
    })
    .await
}

/// Splices until nothing more is there to be read; true at the end of the stream.
async fn through_pipe(
    from: &TcpStream,
    to: &TcpStream,
    activity: &Activity,
    pipes: &Pipes,
) -> io::Result<bool> {
    let Some(pipe) = pipes.take() else { return Ok(false) };
    // An error drops the pipe together with what is still in it.
    loop {
        let mut held =
            match from.try_io(Interest::READABLE, || transfer(from, &pipe.write, PIPE as usize)) {
                Ok(0) => {
                    pipes.give(pipe);
                    return Ok(true);
                }
                Ok(held) => held,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    pipes.give(pipe);
                    return Ok(false);
                }
                Err(error) => return Err(error),
            };
        while held > 0 {
            match to.try_io(Interest::WRITABLE, || transfer(&pipe.read, to, held)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(moved) => held -= moved,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
                Err(error) => return Err(error),
            }
        }
        activity.touch();
        // `try_io` does not count towards the task's turn.
        tokio::task::coop::consume_budget().await;
    }
}

fn transfer(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    Ok(splice(from, None, to, None, most, flags)?)
}
