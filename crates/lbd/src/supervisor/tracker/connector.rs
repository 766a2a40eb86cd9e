//! What the kernel says of processes that begin and end. `cn_proc.h`, `connector.h`.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::process;
use std::thread;

use lb_config::model::Buffer;
use netlink_sys::protocols::NETLINK_CONNECTOR;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};

/// `CN_IDX_PROC`, `CN_VAL_PROC`
const PROC: [u32; 2] = [1, 1];
/// `PROC_CN_MCAST_LISTEN`
const LISTEN: u32 = 1;
/// `PROC_CN_MCAST_IGNORE`
const IGNORE: u32 = 2;
/// `NLMSG_DONE`
const DONE: u16 = 3;
/// Of `struct nlmsghdr` and `struct cn_msg`.
const HEADERS: usize = 16 + 20;

/// A process began, ended or became another program. Threads are no processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// `child` is a copy of `parent`.
    Fork { parent: u32, child: u32 },
    /// It runs another program, or has another name.
    Exec { pid: u32 },
    /// It has ended.
    Exit { pid: u32 },
}

/// What a datagram says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// The answer to a request, with its number and an errno.
    Answer {
        request: u32,
        error: u32,
    },
    Event(Event),
    /// Nothing of interest.
    Other,
}

/// The connector, which tells of every process of the host.
#[derive(Debug)]
pub(super) struct Connector {
    socket: Socket,
}

impl Connector {
    /// Begins to listen.
    ///
    /// # Errors
    /// The kernel refuses, or does not answer: it talks to the initial namespaces only, and to who
    /// has `CAP_NET_ADMIN`.
    pub(super) fn open(buffer: Buffer) -> io::Result<Self> {
        match Self::open_here(buffer) {
            // Of network namespaces it knows the first one; a daemon in another may reach that.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                let outside = || {
                    setns(File::open("/proc/1/ns/net")?, CloneFlags::CLONE_NEWNET)?;
                    Self::open_here(buffer)
                };
                thread::scope(|scope| scope.spawn(outside).join())
                    .unwrap_or_else(|_| Err(io::Error::other("the thread that tries panicked")))
            }
            opened => opened,
        }
    }

    fn open_here(buffer: Buffer) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_CONNECTOR)?;
        if let Some(bytes) = buffer.bytes.map(|bytes| bytes as usize) {
            let set = match buffer.force {
                true => setsockopt(&socket, sockopt::RcvBufForce, &bytes),
                false => setsockopt(&socket, sockopt::RcvBuf, &bytes),
            };
            if let Err(errno) = set {
                tracing::warn!("process_monitor_rcv_bufs {bytes}: {errno}");
            }
        }
        socket.bind(&SocketAddr::new(0, PROC[0]))?;
        socket.set_non_blocking(true)?;
        let connector = Self { socket };
        connector.request(LISTEN)?;
        connector.await_answer()?;
        Ok(connector)
    }

    fn request(&self, operation: u32) -> io::Result<()> {
        let request = request(operation, process::id());
        self.socket.send_to(&request, &SocketAddr::new(0, 0), 0).map(drop)
    }

    /// The kernel answers before a request returns, so what is not here by now does not come.
    fn await_answer(&self) -> io::Result<()> {
        loop {
            match self.receive()? {
                Some(Said::Answer { request, error }) if request == process::id() => {
                    return match error {
                        0 => Ok(()),
                        error => Err(io::Error::from_raw_os_error(error as i32)),
                    };
                }
                Some(_) => {}
                None => return Err(io::Error::other("the kernel does not answer")),
            }
        }
    }

    /// The next event; `None` when there is none yet.
    ///
    /// # Errors
    /// [`ENOBUFS`](Errno::ENOBUFS) when events were lost.
    pub(super) fn next(&self) -> io::Result<Option<Event>> {
        loop {
            match self.receive()? {
                Some(Said::Event(event)) => return Ok(Some(event)),
                Some(Said::Answer { .. } | Said::Other) => {}
                None => return Ok(None),
            }
        }
    }

    fn receive(&self) -> io::Result<Option<Said>> {
        let mut datagram = [0; 256];
        match recv(self.socket.as_raw_fd(), &mut datagram, MsgFlags::empty()) {
            Ok(len) => Ok(Some(parse(&datagram[..len]).unwrap_or(Said::Other))),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Connector {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Connector {
    /// Older kernels count listeners by what these say, and go on for those who leave in silence.
    fn drop(&mut self) {
        let _ = self.request(IGNORE);
    }
}

/// A `nlmsghdr`, a `cn_msg` and an `enum proc_cn_mcast_op`.
fn request(operation: u32, number: u32) -> Vec<u8> {
    let len = HEADERS + size_of_val(&operation);
    let mut request = Vec::with_capacity(len);
    request.extend((len as u32).to_ne_bytes());
    request.extend(DONE.to_ne_bytes());
    request.extend(0_u16.to_ne_bytes());
    request.extend([0; 8]);
    request.extend(PROC.map(u32::to_ne_bytes).concat());
    request.extend(number.to_ne_bytes());
    request.extend(0_u32.to_ne_bytes());
    request.extend((size_of_val(&operation) as u16).to_ne_bytes());
    request.extend(0_u16.to_ne_bytes());
    request.extend(operation.to_ne_bytes());
    request
}

/// Reads a datagram of the kernel; `None` for one that is too short.
fn parse(datagram: &[u8]) -> Option<Said> {
    let word = |at: usize| {
        let bytes = datagram.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    if [word(16)?, word(20)?] != PROC {
        return Some(Said::Other);
    }
    // `struct proc_event`: what, CPU, a time of 8 bytes, and what depends on the kind.
    let data = |index: usize| word(HEADERS + 16 + 4 * index);
    let event = match word(HEADERS)? {
        0 => return Some(Said::Answer { request: word(24)?, error: data(0)? }),
        // Each by its number and by that of its process: threads have one of their own.
        0x0000_0001 if data(2)? == data(3)? => Event::Fork { parent: data(1)?, child: data(3)? },
        0x0000_0002 => Event::Exec { pid: data(1)? },
        0x0000_0200 if data(0)? == data(1)? => Event::Exec { pid: data(1)? },
        0x8000_0000 if data(0)? == data(1)? => Event::Exit { pid: data(1)? },
        _ => return Some(Said::Other),
    };
    Some(Said::Event(event))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(what: u32, data: &[u32]) -> Vec<u8> {
        let mut datagram = request(what, 7);
        datagram.extend([0; 12]);
        data.iter().for_each(|word| datagram.extend(word.to_ne_bytes()));
        datagram
    }

    #[test]
    fn a_request_is_laid_out_as_the_kernel_reads_it() {
        let words: Vec<u32> = request(LISTEN, 7)
            .chunks(4)
            .map(|word| u32::from_ne_bytes(word.try_into().unwrap()))
            .collect();
        let [done, four] = [u32::from_ne_bytes([3, 0, 0, 0]), u32::from_ne_bytes([4, 0, 0, 0])];
        assert_eq!(words, [40, done, 0, 0, 1, 1, 7, 0, four, 1]);
    }

    #[test]
    fn processes_count_and_threads_do_not() {
        let said = |what, data: &[u32]| parse(&datagram(what, data)).unwrap();
        let event = |event| Said::Event(event);
        assert_eq!(said(1, &[11, 10, 20, 20]), event(Event::Fork { parent: 10, child: 20 }));
        assert_eq!(said(1, &[11, 10, 21, 10]), Said::Other);
        assert_eq!(said(2, &[20, 20]), event(Event::Exec { pid: 20 }));
        assert_eq!(said(0x200, &[20, 20, 0, 0, 0, 0]), event(Event::Exec { pid: 20 }));
        assert_eq!(said(0x200, &[21, 20, 0, 0, 0, 0]), Said::Other);
        assert_eq!(said(0x8000_0000, &[20, 20, 0, 17]), event(Event::Exit { pid: 20 }));
        assert_eq!(said(0x8000_0000, &[21, 20, 0, 17]), Said::Other);
        assert_eq!(said(4, &[20, 20]), Said::Other);
        assert_eq!(said(0, &[1]), Said::Answer { request: 7, error: 1 });
    }

    #[test]
    fn nothing_short_is_believed() {
        let whole = datagram(1, &[11, 10, 20, 20]);
        for len in 0..whole.len() {
            assert_eq!(parse(&whole[..len]), None, "{len} bytes");
        }
    }
}
