//! One host of a lab.

use std::fs::{self, File};
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::signal::Signal;

use crate::capture::Capture;
use crate::error::{Context, Error, Result, list};
use crate::lab::Options;
use crate::namespace::Namespaces;
use crate::process::{Process, Program, find};
use crate::topology::{HostSpec, Prefix, ProgramSpec};
use crate::web::{self, Answer, Server};
use crate::wire;

/// A computer of its own as far as programs can tell: network, processes, host name, `/run`, `/etc`, `/tmp` and `/var`.
///
/// What is called here happens in the host, on a thread of its own that enters the host's namespaces and ends.
pub struct Host {
    spec: HostSpec,
    options: Arc<Options>,
    life: Mutex<Option<Life>>,
}

/// What a host loses when its power fails.
struct Life {
    namespaces: Arc<Namespaces>,
    programs: Vec<Process>,
    servers: Vec<Server>,
}

impl Host {
    pub(crate) fn new(spec: HostSpec, options: Arc<Options>) -> Self {
        Self { spec, options, life: Mutex::new(None) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// What it was made from.
    pub fn spec(&self) -> &HostSpec {
        &self.spec
    }

    /// Whether it has power.
    pub fn is_up(&self) -> bool {
        self.life().is_some()
    }

    fn life(&self) -> MutexGuard<'_, Option<Life>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn namespaces(&self) -> Result<Arc<Namespaces>> {
        let life = self.life();
        life.as_ref()
            .map(|life| Arc::clone(&life.namespaces))
            .ok_or_else(|| Error::HostDown(self.name().to_owned()))
    }

    /// Gives it power: fresh namespaces, whose network is handed to `plug`, then addresses, routes and files.
    pub(crate) fn power_on(&self, plug: impl FnOnce(&File) -> Result<()>) -> Result<()> {
        let namespaces = Arc::new(Namespaces::new(self.name(), &self.spec.private)?);
        plug(&namespaces.net)?;
        *self.life() = Some(Life { namespaces, programs: Vec::new(), servers: Vec::new() });
        self.run(|| {
            // IPv6 addresses are for use at once, not after a second of duplicate detection.
            for name in ["all", "default"] {
                let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/accept_dad"), "0");
            }
            for interface in &self.spec.interfaces {
                let _ = fs::write(
                    format!("/proc/sys/net/ipv6/conf/{}/accept_dad", interface.name),
                    "0",
                );
            }
            wire::configure(&self.spec)?;
            for (name, value) in &self.spec.sysctl {
                set_sysctl(name, value)?;
            }
            for file in &self.spec.files {
                write(&file.path, file.text.as_deref().unwrap_or_default().as_bytes())?;
            }
            Ok(())
        })?
    }

    /// Starts the programs it was made with, as at every start of the host.
    ///
    /// # Errors
    /// [`Error::NoProgram`], [`Error::HostDown`], [`Error::System`].
    pub fn start_programs(&self) -> Result<()> {
        for program in &self.spec.programs {
            self.start_program(program)?;
        }
        Ok(())
    }

    fn start_program(&self, program: &ProgramSpec) -> Result<()> {
        match (program.serve, &self.options.server) {
            (None, _) => {
                let command = program
                    .env
                    .iter()
                    .fold(Program::new(&program.run), |command, (name, value)| {
                        command.env(name, value)
                    });
                self.spawn(command).map(drop)
            }
            (Some(address), Some(server)) => {
                let words =
                    server.iter().cloned().chain([address.to_string().into(), self.name().into()]);
                self.spawn(Program::new(words)).map(drop)
            }
            (Some(address), None) => {
                let server = self.serve(address)?;
                if let Some(life) = self.life().as_mut() {
                    life.servers.push(server);
                }
                Ok(())
            }
        }
    }

    /// Takes its power away: every process is killed and gone when this returns; so is its network.
    pub(crate) fn power_off(&self) {
        let Some(Life { namespaces, programs, servers }) = self.life().take() else { return };
        drop(servers);
        namespaces.kill();
        // Their threads have reaped them by now; without that the kernel would keep the PID namespace waiting.
        drop(programs);
    }

    /// Runs `f` in the host, on a thread of its own, and returns what it returns.
    ///
    /// Sockets that `f` opens belong to the host for good, wherever they are used later; files are the host's;
    /// the working directory is `/`. Processes that `f` starts are not the host's: use [`Host::spawn`].
    ///
    /// # Errors
    /// [`Error::HostDown`], [`Error::System`].
    ///
    /// # Panics
    /// When `f` does.
    pub fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> Result<R> {
        self.on_thread(false, f)
    }

    fn on_thread<R: Send>(&self, processes: bool, f: impl FnOnce() -> R + Send) -> Result<R> {
        let namespaces = self.namespaces()?;
        thread::scope(|scope| {
            let run = || {
                namespaces.enter(processes)?;
                // What runs on must not keep a host alive that loses its power.
                drop(namespaces);
                Ok(f())
            };
            let thread = thread::Builder::new()
                .name(self.name().to_owned())
                .spawn_scoped(scope, run)
                .context(|| "start a thread".into())?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts a thread of its own in the host, which lasts until `f` returns.
    ///
    /// # Errors
    /// As [`Host::run`].
    pub fn thread<R: Send + 'static>(
        &self,
        f: impl FnOnce() -> R + Send + 'static,
    ) -> Result<thread::JoinHandle<R>> {
        self.run(|| thread::Builder::new().name(self.name().to_owned()).spawn(f))?
            .context(|| "start a thread".into())
    }

    /// Starts a program in the host: `host.spawn(["lbd", "-n"])`.
    ///
    /// # Errors
    /// [`Error::NoProgram`], [`Error::HostDown`], [`Error::System`].
    pub fn spawn(&self, program: impl Into<Program>) -> Result<Process> {
        let program = program.into();
        let file = find(program.argv.first(), &self.options.path)?;
        let command = program.command(&file);
        let started = self
            .on_thread(true, || Process::start(command))?
            .context(|| format!("run `{}` in `{}`", program.line(), self.name()))?;
        let process = Process::watch(program.line(), started)?;
        if let Some(life) = self.life().as_mut() {
            life.programs.push(process.clone());
        }
        Ok(process)
    }

    /// Runs a program in the host to its end and collects what it writes.
    ///
    /// # Errors
    /// As [`Host::spawn`]; a program that fails is not an error here.
    pub fn exec(&self, program: impl Into<Program>) -> Result<Output> {
        let program = program.into();
        let file = find(program.argv.first(), &self.options.path)?;
        let mut command = program.command(&file);
        self.on_thread(true, move || command.output())?
            .context(|| format!("run `{}` in `{}`", program.line(), self.name()))
    }

    /// The programs started in it since it got power, in order, those that have ended too.
    pub fn programs(&self) -> Vec<Process> {
        self.life().as_ref().map(|life| life.programs.clone()).unwrap_or_default()
    }

    /// Sends SIGTERM to every program that runs in it, and waits until they have ended; so do built-in servers.
    ///
    /// # Errors
    /// [`Error::Timeout`] when one still runs.
    pub fn stop_programs(&self, timeout: Duration) -> Result<()> {
        let servers = self.life().as_mut().map(|life| std::mem::take(&mut life.servers));
        drop(servers);
        let programs = self.programs();
        for program in programs.iter().filter(|program| program.is_running()) {
            // It may end by itself in between.
            let _ = program.signal(Signal::SIGTERM);
        }
        programs.iter().try_for_each(|program| program.wait(timeout).map(drop))
    }

    /// Writes a file as the host sees it, with the directories above it.
    ///
    /// # Errors
    /// [`Error::System`]. A directory of the machine that the process may not write needs
    /// [`HostSpec::private`](crate::HostSpec::private).
    pub fn write_file(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<()> {
        let (path, content) = (path.as_ref(), content.as_ref());
        self.run(|| write(path, content))?
    }

    /// The same for a script: with the permission to execute it.
    ///
    /// # Errors
    /// As [`Host::write_file`].
    pub fn write_script(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let (path, content) = (path.as_ref(), content.as_ref());
        self.run(|| {
            write(path, content)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))
                .context(|| format!("change {}", path.display()))
        })?
    }

    /// Reads a file as the host sees it; `/sys` and `/proc/sys/net` are its own.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn read_file(&self, path: impl AsRef<Path>) -> Result<String> {
        let path = path.as_ref();
        self.run(|| {
            let mut text = String::new();
            let read = File::open(path).and_then(|mut file| file.read_to_string(&mut text));
            read.context(|| format!("read {} of `{}`", path.display(), self.name()))?;
            Ok(text)
        })?
    }

    /// Sets a value such as `net.ipv4.ip_forward`.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn set_sysctl(&self, name: &str, value: &str) -> Result<()> {
        self.run(|| set_sysctl(name, value))?
    }

    /// The addresses its kernel has, with the interfaces.
    ///
    /// # Errors
    /// [`Error::HostDown`], [`Error::System`].
    pub fn addresses(&self) -> Result<Vec<(String, IpAddr)>> {
        self.run(|| {
            let all =
                getifaddrs().context(|| format!("list the addresses of `{}`", self.name()))?;
            Ok(all
                .filter_map(|entry| {
                    let address = entry.address?;
                    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
                    let ip =
                        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))?;
                    Some((entry.interface_name, ip))
                })
                .collect())
        })?
    }

    /// Whether its kernel has this address; a host without power has none.
    pub fn has_address(&self, address: impl Into<IpAddr>) -> bool {
        let address = address.into();
        self.addresses().is_ok_and(|all| all.iter().any(|(_, ip)| *ip == address))
    }

    /// Whether an interface is up and has carrier.
    ///
    /// # Errors
    /// [`Error::NoInterface`], [`Error::HostDown`], [`Error::System`].
    pub fn is_running(&self, interface: &str) -> Result<bool> {
        let flags = self.run(|| {
            let mut all =
                getifaddrs().context(|| format!("list the links of `{}`", self.name()))?;
            Ok::<_, Error>(
                all.find(|entry| entry.interface_name == interface).map(|entry| entry.flags),
            )
        })??;
        let flags = flags.ok_or_else(|| self.no_interface(interface))?;
        Ok(flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING))
    }

    /// Adds an address, as an operator would.
    ///
    /// # Errors
    /// [`Error::Netlink`].
    pub fn add_address(&self, interface: &str, prefix: Prefix) -> Result<()> {
        self.run(|| {
            wire::netlink(async |handle| wire::add_address(&handle, interface, prefix).await)
        })?
    }

    /// Removes an address; none there is fine.
    ///
    /// # Errors
    /// [`Error::Netlink`].
    pub fn remove_address(&self, interface: &str, address: impl Into<IpAddr>) -> Result<()> {
        let address = address.into();
        self.run(|| {
            wire::netlink(async |handle| wire::remove_address(&handle, interface, address).await)
        })?
    }

    /// Sets an interface administratively up or down, from within; to pull a cable see [`Lab::cut`](crate::Lab::cut).
    ///
    /// # Errors
    /// [`Error::Netlink`].
    pub fn set_link(&self, interface: &str, up: bool) -> Result<()> {
        self.run(|| wire::netlink(async |handle| wire::set_link(&handle, interface, up).await))?
    }

    /// Starts the built-in server on a thread of this process, until the value returned is dropped.
    ///
    /// # Errors
    /// [`Error::System`] when the address is in use or not the host's.
    pub fn serve(&self, address: SocketAddr) -> Result<Server> {
        self.run(|| Server::start(address, self.name()))?
    }

    /// One HTTP `GET` from here over a connection of its own.
    ///
    /// # Errors
    /// [`Error::Http`] with the reason, [`Error::HostDown`].
    pub fn http_get(&self, address: SocketAddr, path: &str, timeout: Duration) -> Result<Answer> {
        self.run(|| web::get(address, path, timeout))?
    }

    /// Collects every frame that passes an interface from now on, both ways.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn capture(&self, interface: &str) -> Result<Capture> {
        self.run(|| Capture::start(interface))?
    }

    /// Gives the namespaces of the host to `f`: network, mounts, host name and processes, in this order, for setns(2).
    ///
    /// # Errors
    /// [`Error::HostDown`].
    pub fn with_namespaces<R>(&self, f: impl FnOnce([BorrowedFd<'_>; 4]) -> R) -> Result<R> {
        let all = self.namespaces()?;
        Ok(f([all.net.as_fd(), all.mnt.as_fd(), all.uts.as_fd(), all.pid.as_fd()]))
    }

    pub(crate) fn no_interface(&self, interface: &str) -> Error {
        Error::NoInterface {
            host: self.name().to_owned(),
            interface: interface.to_owned(),
            known: list(self.spec.interfaces.iter().map(|interface| &interface.name)),
        }
    }
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).context(|| format!("make {}", dir.display()))?;
    }
    fs::write(path, content).context(|| format!("write {}", path.display()))
}

fn set_sysctl(name: &str, value: &str) -> Result<()> {
    let path: PathBuf = std::iter::once("/proc/sys").chain(name.split('.')).collect();
    fs::write(&path, value).context(|| format!("set {name} to `{value}`"))
}
