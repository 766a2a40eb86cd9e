//! The namespaces of one host, and the process that keeps its programs together.
//!
//! Unsafe is `fork(2)` without `exec`: the first process of a PID namespace has to be born inside it, and nothing
//! that is surely installed could be executed there. The child calls async-signal-safe functions only.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::fcntl::{OFlag, openat};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, sethostname};

use crate::error::{Context, Error, Result};
use crate::privilege;

/// Directories whose content is seen, but where every change stays in the host.
const OVERLAID: [&str; 3] = ["/etc", "/tmp", "/var"];

/// How long the programs of a killed host may take to be gone.
const DEATH: Duration = Duration::from_secs(10);

/// A network namespace with nothing in it but `lo`, for switches.
pub(crate) fn network() -> Result<File> {
    on_new_thread("switches", || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(refused)?;
        // Bridges have nothing to say of their own.
        for name in ["all", "default"] {
            let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
        }
        open("/proc/thread-self/ns/net")
    })
}

/// Runs `f` on a thread of its own in the network namespace `net`.
pub(crate) fn in_network<R: Send>(net: &File, f: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    on_new_thread("switches", || {
        setns(net.as_fd(), CloneFlags::CLONE_NEWNET)
            .context(|| "enter a network namespace".into())?;
        f()
    })
}

fn on_new_thread<R: Send>(name: &str, f: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn_scoped(scope, f)
            .context(|| "start a thread".into())?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn open(path: &str) -> Result<File> {
    File::open(path).context(|| format!("open {path}"))
}

fn refused(errno: nix::Error) -> Error {
    Error::Unprivileged(privilege::why_not(errno))
}

/// The namespaces of one running host: network, mounts, host name and processes.
///
/// They last until this is dropped: then, or when the process that holds it dies in whatever way, the host's first
/// process sees the end of its lifeline and ends, and the kernel kills every other process of the PID namespace.
pub(crate) struct Namespaces {
    pub(crate) net: File,
    pub(crate) mnt: File,
    pub(crate) uts: File,
    pub(crate) pid: File,
    init: Pid,
    dead: Mutex<Receiver<()>>,
    _lifeline: PipeWriter,
}

impl Namespaces {
    /// Makes them. `private` are directories that are the host's own and empty, besides `/run`.
    pub(crate) fn new(host: &str, private: &[PathBuf]) -> Result<Self> {
        let host_name = host.to_owned();
        let (lifeline_read, lifeline) = io::pipe().context(|| "make a pipe".into())?;
        let (net, mnt, uts, pid, init) = on_new_thread(host, move || {
            // Stays open, since the host's own is mounted over it below.
            let proc = open("/proc")?;
            unshare(
                CloneFlags::CLONE_NEWNS
                    | CloneFlags::CLONE_NEWNET
                    | CloneFlags::CLONE_NEWUTS
                    | CloneFlags::CLONE_NEWPID,
            )
            .map_err(refused)?;
            sethostname(&host_name).context(|| "set the host name".into())?;
            mounts(private)?;
            let net = open("/proc/thread-self/ns/net")?;
            let mnt = open("/proc/thread-self/ns/mnt")?;
            let uts = open("/proc/thread-self/ns/uts")?;
            let init = start_init(lifeline_read)?;
            let pid = openat(
                &proc,
                format!("{init}/ns/pid").as_str(),
                OFlag::O_RDONLY | OFlag::O_CLOEXEC,
                Mode::empty(),
            )
            .context(|| "open the PID namespace".into())?;
            Ok((net, mnt, uts, File::from(pid), init))
        })?;
        let (say, dead) = sync_channel(1);
        thread::Builder::new()
            .name(format!("{host} life"))
            .stack_size(64 << 10)
            .spawn(move || {
                let _ = waitpid(init, None);
                let _ = say.send(());
            })
            .context(|| "start a thread".into())?;
        Ok(Self { net, mnt, uts, pid, init, dead: Mutex::new(dead), _lifeline: lifeline })
    }

    /// Puts the calling thread into the host for good; `processes` says whether its children live there too.
    ///
    /// A thread with `processes` cannot start threads (clone(2), EINVAL), one without can.
    pub(crate) fn enter(&self, processes: bool) -> Result<()> {
        unshare(CloneFlags::CLONE_FS).context(|| "have a working directory of its own".into())?;
        let mut all = vec![
            (&self.net, CloneFlags::CLONE_NEWNET),
            (&self.uts, CloneFlags::CLONE_NEWUTS),
            (&self.mnt, CloneFlags::CLONE_NEWNS),
        ];
        if processes {
            all.push((&self.pid, CloneFlags::CLONE_NEWPID));
        }
        for (file, kind) in all {
            setns(file.as_fd(), kind).context(|| "enter the namespaces of a host".into())?;
        }
        Ok(())
    }

    /// Kills every process of the host and waits until they are gone. To be called once.
    pub(crate) fn kill(&self) {
        let _ = kill(self.init, Signal::SIGKILL);
        let _ = self.dead.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(DEATH);
    }
}

/// Lays the host's own directories over those of the machine.
fn mounts(private: &[PathBuf]) -> Result<()> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context(|| "make mounts private".into())?;
    tmpfs(Path::new("/run"))?;
    for (n, path) in OVERLAID.into_iter().enumerate() {
        let (upper, work) = (format!("/run/{n}/upper"), format!("/run/{n}/work"));
        for dir in [&upper, &work] {
            fs::create_dir_all(dir).context(|| format!("make {dir}"))?;
        }
        let options = format!("lowerdir={path},upperdir={upper},workdir={work}");
        let overlay = Some("overlay");
        let mounted = mount(Some("lab"), path, overlay, MsFlags::empty(), Some(options.as_str()));
        // A kernel without overlays: what programs leave behind must not be shared; /etc is only read.
        match (mounted, path) {
            (Err(_), "/tmp") => tmpfs(Path::new("/tmp"))?,
            (Err(_), "/var") => tmpfs(Path::new("/var/lib"))?,
            _ => {}
        }
    }
    tmpfs(Path::new("/run"))?; // what is under the overlays is hidden from here on
    for dir in private {
        fs::create_dir_all(dir)
            .context(|| format!("make the private directory {}", dir.display()))?;
        tmpfs(dir)?;
    }
    // /sys shows the network of whoever mounts it. Some containers forbid it; then it shows the outer one.
    let _ = mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none);
    Ok(())
}

fn tmpfs(path: &Path) -> Result<()> {
    mount(
        Some("lab"),
        path,
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some("mode=755"),
    )
    .context(|| format!("mount {}", path.display()))
}

/// Starts the first process of the PID namespace and waits until it has done its mounts.
fn start_init(lifeline: PipeReader) -> Result<Pid> {
    let (mut ready_read, ready) = io::pipe().context(|| "make a pipe".into())?;
    let (lifeline, ready) = (OwnedFd::from(lifeline), OwnedFd::from(ready));
    // SAFETY: the child calls nothing but async-signal-safe functions and never returns.
    match unsafe { fork() }.context(|| "start the first process of a host".into())? {
        ForkResult::Child => init(lifeline.as_raw_fd(), ready.as_raw_fd()),
        ForkResult::Parent { child } => {
            drop(ready);
            // One octet, or the end when it died.
            let _ = ready_read
                .read(&mut [0])
                .context(|| "hear from the first process of a host".into())?;
            Ok(child)
        }
    }
}

/// The first process: mounts `/proc`, reaps orphans, and ends when the lifeline does.
fn init(lifeline: libc::c_int, ready: libc::c_int) -> ! {
    const PROC: &CStr = c"proc";
    // SAFETY: system calls on constants and on descriptors that were open before fork(2); no allocation, no lock.
    unsafe {
        libc::setsid();
        libc::signal(libc::SIGCHLD, libc::SIG_IGN); // the kernel reaps for us
        libc::prctl(libc::PR_SET_NAME, c"lab-init".as_ptr());
        // In a container with a masked /proc this is forbidden; then programs see the outer one.
        libc::mount(PROC.as_ptr(), c"/proc".as_ptr(), PROC.as_ptr(), 0, std::ptr::null());
        libc::write(ready, [0u8].as_ptr().cast(), 1);
        // Nothing of the owner's may stay open here, above all not the other end of somebody's lifeline.
        libc::dup2(lifeline, 0);
        libc::syscall(libc::SYS_close_range, 1, libc::c_uint::MAX, 0);
        let mut octet = [0u8];
        while libc::read(0, octet.as_mut_ptr().cast(), 1) != 0 {
            if *libc::__errno_location() != libc::EINTR {
                break;
            }
        }
        libc::_exit(0)
    }
}
