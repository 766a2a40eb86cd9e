//! A lab that is held, and how another terminal reaches it.
//!
//! The holder listens on an abstract Unix socket, whose name carries the user's id, so nothing is on disk and nothing
//! is left. A client sends one line, `cut d1 eth0`; the answer is `ok` or `error` and text. `exec HOST` is answered
//! with descriptors of the host's namespaces, which the client enters by itself, so that terminals work.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use lb_lab::{FaultKind, Lab};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, getsockopt, recvmsg, sendmsg,
    sockopt::PeerCredentials,
};
use nix::unistd::geteuid;

use super::show;

/// A client that says nothing for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(2);

fn address(name: &str, uid: u32) -> Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("lbctl-lab/{uid}/{name}"))
        .with_context(|| format!("`{name}` cannot name a lab; use a shorter name"))
}

/// Where clients of a held lab come in.
pub struct Door {
    listener: UnixListener,
}

impl Door {
    /// Takes the name.
    pub fn open(name: &str) -> Result<Self> {
        let listener = UnixListener::bind_addr(&address(name, geteuid().as_raw())?);
        let listener = listener.map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => anyhow!(
                "a lab called `{name}` is held already; end that one, or call this one otherwise with --name"
            ),
            _ => anyhow::Error::new(error).context("cannot hold a lab"),
        })?;
        Ok(Self { listener })
    }

    /// Serves one client after the other, until the process is killed.
    pub fn serve(&self, lab: &Lab) -> Result<()> {
        for client in self.listener.incoming() {
            let client = client.context("cannot accept clients")?;
            if let Err(error) = answer(lab, &client) {
                let _ = (&client).write_all(format!("error {error:#}\n").as_bytes());
            }
        }
        Ok(())
    }
}

fn answer(lab: &Lab, mut client: &UnixStream) -> Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let peer = getsockopt(&client, PeerCredentials)?.uid();
    if peer != geteuid().as_raw() {
        bail!("this lab belongs to another user");
    }
    let mut line = String::new();
    BufReader::new(client.take(4096)).read_line(&mut line)?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let text = match words.as_slice() {
        ["exec", host] => return hand_over(lab, client, host),
        ["cut", host, interface] => {
            lab.cut(host, interface)?;
            format!("{host}: the cable of {interface} is pulled")
        }
        ["cut", host] => {
            lb_lab::inflict(lab, FaultKind::Cut, host)?;
            format!("{host}: all cables are pulled")
        }
        ["mend", host, interface] => {
            lab.mend(host, interface)?;
            format!("{host}: the cable of {interface} is plugged in")
        }
        ["mend" | "start", host] => {
            lb_lab::inflict(lab, FaultKind::Mend, host)?;
            format!("{host} is up, with all its cables")
        }
        ["mend"] => {
            for host in lab.hosts() {
                lb_lab::inflict(lab, FaultKind::Mend, host.name())?;
            }
            "every host is up, with all its cables".to_owned()
        }
        ["kill", host] => {
            lab.crash(host)?;
            format!("{host} is dead; `lbctl lab start {host}` revives it")
        }
        ["list"] => show::hosts(lab),
        _ => bail!("`{}` is nothing this lab knows; is it of another version?", line.trim()),
    };
    client.write_all(format!("ok {text}\n").as_bytes())?;
    Ok(())
}

/// Sends the user namespace and those of the host.
fn hand_over(lab: &Lab, client: &UnixStream, host: &str) -> Result<()> {
    let user = File::open("/proc/self/ns/user").context("cannot open the user namespace")?;
    lab.host(host)?.with_namespaces(|host| {
        let all: Vec<RawFd> =
            std::iter::once(user.as_raw_fd()).chain(host.iter().map(AsRawFd::as_raw_fd)).collect();
        let text = [IoSlice::new(b"ok\n")];
        sendmsg::<UnixAddr>(
            client.as_raw_fd(),
            &text,
            &[ControlMessage::ScmRights(&all)],
            MsgFlags::empty(),
            None,
        )
    })??;
    Ok(())
}

fn connect(name: &str) -> Result<UnixStream> {
    let mine = geteuid().as_raw();
    let stream = UnixStream::connect_addr(&address(name, mine)?).map_err(|_| {
        let named = show::named(name);
        anyhow!("no lab called `{name}` is held; start one with `lbctl lab --hold{named}`")
    })?;
    // Anybody can take an abstract name.
    if getsockopt(&stream, PeerCredentials)?.uid() != mine {
        bail!("the name of lab `{name}` is taken by another user; use another one with --name");
    }
    Ok(stream)
}

/// Sends a command to the lab that is held and prints the answer.
pub fn ask(name: &str, verb: &str, words: [Option<String>; 2]) -> Result<ExitCode> {
    let mut stream = connect(name)?;
    let line = std::iter::once(verb.to_owned())
        .chain(words.into_iter().flatten())
        .collect::<Vec<_>>()
        .join(" ");
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let text = verdict(&answer)?;
    anstream::println!("{}", text.trim_end());
    Ok(ExitCode::SUCCESS)
}

fn verdict(answer: &str) -> Result<&str> {
    match answer.split_once(char::is_whitespace) {
        Some(("ok", text)) => Ok(text),
        Some(("error", text)) => Err(anyhow!("{}", text.trim_end())),
        _ => Err(anyhow!("the lab went away")),
    }
}

/// Runs a command in a host of the lab that is held, on this terminal.
pub fn exec(name: &str, host: &str, command: &[String]) -> Result<ExitCode> {
    let path = search_path();
    let mut stream = connect(name)?;
    stream.write_all(format!("exec {host}\n").as_bytes())?;
    let [user, rest @ ..] = receive(&stream)?;
    // An ordinary user's lab is in a user namespace; a member of it enters it a second time only by an error.
    let inode = |file: &File| file.metadata().map(|data| data.ino());
    if inode(&user)? != inode(&File::open("/proc/self/ns/user")?)? {
        setns(user.as_fd(), CloneFlags::CLONE_NEWUSER)
            .context("cannot enter the lab's user namespace")?;
    }
    unshare(CloneFlags::CLONE_FS)?;
    let kinds = [
        CloneFlags::CLONE_NEWNET,
        CloneFlags::CLONE_NEWNS,
        CloneFlags::CLONE_NEWUTS,
        CloneFlags::CLONE_NEWPID,
    ];
    for (file, kind) in rest.iter().zip(kinds) {
        setns(file.as_fd(), kind).with_context(|| format!("cannot enter host `{host}`"))?;
    }
    let Some((program, arguments)) = command.split_first() else { bail!("no command") };
    // Ctrl-C is for the command; a handler, unlike ignoring, is not inherited.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _entered = runtime.enter();
    let _ctrl_c = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let status = Command::new(program)
        .args(arguments)
        .env("PATH", path)
        .current_dir("/")
        .status()
        .with_context(|| format!("cannot run `{program}` in `{host}`"))?;
    // As a shell says it.
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Where a command of a host is looked for, and what it runs in turn: as the lab looks for its programs, beside
/// `lbctl` first, and in the directories of daemons too.
fn search_path() -> OsString {
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let all = beside.into_iter().chain(std::env::split_paths(&path)).chain(sbin);
    // Only a directory whose name has a colon cannot be in a path.
    std::env::join_paths(all).unwrap_or(path)
}

fn receive(stream: &UnixStream) -> Result<[File; 5]> {
    let mut text = [0u8; 4096];
    let mut control = nix::cmsg_space!([RawFd; 5]);
    let mut buffers = [IoSliceMut::new(&mut text)];
    let message = recvmsg::<UnixAddr>(
        stream.as_raw_fd(),
        &mut buffers,
        Some(&mut control),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let length = message.bytes;
    let descriptors = message.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    verdict(&String::from_utf8_lossy(text.get(..length).unwrap_or_default()))?;
    let files: Vec<File> = descriptors
        .unwrap_or_default()
        .into_iter()
        .map(|descriptor| File::open(format!("/proc/self/fd/{descriptor}")))
        .collect::<Result<_, _>>()
        .context("cannot open the host's namespaces")?;
    files
        .try_into()
        .map_err(|_| anyhow!("the lab did not hand its host over; is it of another version?"))
}
