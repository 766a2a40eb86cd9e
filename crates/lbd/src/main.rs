//! `lbd`: see lbd(8).

use std::error::Error as _;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::panic::{self, PanicHookInfo};
use std::path::{Path, PathBuf, absolute};
use std::process::ExitCode;
use std::thread;

use clap::error::ErrorKind;
use lbd::cli::Args;
use lbd::log::{self, Log};
use lbd::supervisor::pidfile::{PidFile, PidFileError};
use lbd::supervisor::{self, FATAL, Fatal, OK, config, signals};
use lbd::{detach, inherited, init};
use nix::sched::{CloneFlags, setns};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};

/// Mode of the files that keepalived writes is 0600.
const UMASK: u32 = 0o177;

fn main() -> ExitCode {
    if is_genhash() {
        eprintln!(
            "lbd: genhash mode is not supported yet; `curl -s URL | md5sum` prints the same digest"
        );
        return ExitCode::from(FATAL);
    }
    ExitCode::from(match Args::parse_from_os(std::env::args_os()) {
        Ok(args) => run(args),
        Err(error) => {
            // As keepalived, on stderr in any case; there is nowhere to complain if that fails.
            let _ = write!(io::stderr(), "{error}");
            if error.kind() == ErrorKind::DisplayHelp { OK } else { FATAL }
        }
    })
}

/// genhash has options of its own, so it is recognised before any is read: by the name of the program
/// or by the first argument.
fn is_genhash() -> bool {
    let mut args = std::env::args_os();
    let name =
        args.next().is_some_and(|name| Path::new(&name).file_name() == Some("genhash".as_ref()));
    name || args.next().is_some_and(|first| first == "-T" || first == "--genhash")
}

fn run(args: Args) -> u8 {
    if args.version {
        eprintln!("lbd {} (speaks the language of keepalived 2.4)", env!("CARGO_PKG_VERSION"));
        return OK;
    }
    if let Some(name) = &args.signum {
        return match signals::number(name) {
            Some(number) => {
                println!("{number}");
                OK
            }
            None => {
                eprintln!(
                    "lbd: unknown signal `{name}`; there are STOP, RELOAD, DATA, STATS, STATS_CLEAR, JSON and TDUMP"
                );
                FATAL
            }
        };
    }
    if !args.stray.is_empty() && !args.detached {
        let stray: Vec<_> = args.stray.iter().map(|word| word.to_string_lossy()).collect();
        eprintln!("lbd: ignored arguments that are no options: {}", stray.join(" "));
        eprintln!(
            "lbd: the FILE of -g, -t and -M follows without a blank: -gFILE, --log-file=FILE"
        );
    }
    if let Some(target) = &args.config_test {
        return check(&args, target.as_deref());
    }
    if args.cleanup {
        return clean_up(&args);
    }
    if !args.dont_fork && !args.detached {
        return detach::into_background().unwrap_or_else(|error| {
            eprintln!("lbd: cannot start in the background: {error}; -n stays in the foreground");
            FATAL
        });
    }
    if init::is_first_process() {
        return init::run().unwrap_or_else(|error| {
            eprintln!("lbd: cannot start as process 1: {error}; /proc has to be mounted");
            FATAL
        });
    }
    daemon(args).unwrap_or_else(|status| status)
}

/// `-t`
fn check(args: &Args, target: Option<&Path>) -> u8 {
    let colour = target.is_none() && io::stderr().is_terminal();
    let (text, status) = config::check(args, colour);
    let written = match target {
        None => io::stderr().write_all(text.as_bytes()),
        Some(path) => OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes())),
    };
    match (written, target) {
        (Err(error), Some(path)) => {
            eprintln!("lbd: cannot write {}: {error}", path.display());
            FATAL
        }
        _ => status,
    }
}

/// `--cleanup`: virtual addresses stay where the daemon was told to leave them.
fn clean_up(args: &Args) -> u8 {
    let complain = |message: String| {
        eprintln!("lbd: {message}");
        FATAL
    };
    if let Some(name) = &args.namespace
        && let Err(error) = enter_namespace(name)
    {
        return complain(format!("cannot enter network namespace {name}: {error}"));
    }
    let syslog = (!args.no_syslog).then_some(args.log_facility);
    let file = args.log_file.clone();
    let log = log::Config { console: true, syslog, file, detail: args.log_detail };
    let _log = match Log::start(&log) {
        Ok(log) => log,
        Err(error) => return complain(format!("cannot start the log: {error}")),
    };
    match lb_net::clean(!args.dont_release_vrrp) {
        Ok(None) => 0,
        Ok(Some(pid)) => {
            tracing::info!("lbd runs (pid {pid}): nothing is cleaned up");
            0
        }
        Err(error) => {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            tracing::error!("cannot clean up: {error}{cause}");
            FATAL
        }
    }
}

/// Runs in this process, in the foreground or detached by [`detach`]. `Err` is the exit status of
/// a daemon that did not start and has said why.
fn daemon(mut args: Args) -> Result<u8, u8> {
    inherited::clean();
    inherited::take_name(std::env::args_os().next().as_deref());
    lb_script::remember_limits();
    raise_descriptors();
    // Before the log runs, stderr is the place to complain.
    let early = |message: String| {
        eprintln!("lbd: {message}");
        FATAL
    };
    make_absolute(&mut args)
        .map_err(|error| early(format!("cannot find the current directory: {error}")))?;
    let console = args.log_console && !args.detached;
    if args.detached {
        detach::leave_terminal()
            .map_err(|error| early(format!("cannot leave the terminal: {error}")))?;
    }
    if let Some(name) = &args.namespace {
        enter_namespace(name).map_err(|error| {
            early(format!("cannot enter network namespace {name}: {error}; `ip netns list` shows those there are"))
        })?;
    }
    umask(Mode::from_bits_truncate(args.umask.unwrap_or(UMASK)));
    let log = Log::start(&log::Config {
        console,
        syslog: (!args.no_syslog).then_some(args.log_facility),
        file: args.log_file.clone(),
        detail: args.log_detail,
    });
    let _log = log.map_err(|error| {
        let file = args.log_file.as_deref().unwrap_or(Path::new("")).display();
        early(format!("cannot start the log {file}: {error}; -g FILE picks another"))
    })?;
    panic::set_hook(Box::new(log_panic));
    let failed = |fatal: Fatal| {
        tracing::error!("{}", fatal.message);
        if !console {
            eprintln!("lbd: {}", fatal.message);
        }
        fatal.status
    };
    tracing::info!("Starting lbd {}", env!("CARGO_PKG_VERSION"));
    args.later().iter().for_each(|line| tracing::warn!("{line}"));
    if args.core_dump || args.core_dump_pattern.is_some() {
        let _ = setrlimit(Resource::RLIMIT_CORE, RLIM_INFINITY, RLIM_INFINITY)
            .inspect_err(|error| tracing::warn!("cannot allow core dumps: {error}"));
    }
    tracing::info!("Configuration file {}", args.config.display());
    let configuration = config::load(&args).map_err(|refused| {
        config::log(&refused.lines);
        if !console {
            eprint!("{}", refused.rendered);
        }
        refused.status
    })?;
    if let (None, Some(mask)) = (args.umask, configuration.model.global.umask) {
        umask(Mode::from_bits_truncate(mask));
    }
    let _pid_files = pid_files(&args).map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        failed(Fatal { message: format!("cannot start: {error}"), status: FATAL })
    })?;
    let socket = args.socket.clone().unwrap_or_else(|| default_socket(args.namespace.as_deref()));
    let detached = args.detached;
    let ready = || {
        if detached && let Err(error) = detach::ready() {
            tracing::warn!("cannot let go of the terminal: {error}");
        }
    };
    let ended = runtime.block_on(supervisor::run(args, configuration, socket, ready));
    // Scripts that are left are killed; a thread that hangs in the kernel does not hold up the end.
    runtime.shutdown_background();
    ended.map_err(failed)
}

/// A panic is a line of the log. Without a backtrace, whatever `RUST_BACKTRACE` says: to read the symbols takes longer
/// than an advertiser may be silent.
fn log_panic(info: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let what = info.to_string().replace('\n', " ");
    tracing::error!("thread {} {what}", thread.name().unwrap_or("without a name"));
}

/// The daemon leaves the directory it was started in.
fn make_absolute(args: &mut Args) -> io::Result<()> {
    let paths = [
        Some(&mut args.config),
        args.log_file.as_mut(),
        args.socket.as_mut(),
        args.pid.as_mut(),
        args.vrrp_pid.as_mut(),
        args.checkers_pid.as_mut(),
        args.state_dir.as_mut(),
        args.record.as_mut(),
    ];
    for path in paths.into_iter().flatten() {
        *path = absolute(&*path)?;
    }
    Ok(())
}

fn enter_namespace(name: &str) -> io::Result<()> {
    let file = File::open(Path::new("/run/netns").join(name))?;
    Ok(setns(file, CloneFlags::CLONE_NEWNET)?)
}

/// Takes as many descriptors as are allowed: scripts, checks and clients each hold some.
fn raise_descriptors() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard); // whoever runs short of them says so
    }
}

/// keepalived's names, so that what watches it finds us: all of them hold our number.
///
/// One that cannot be written, on a full disk for example, is a warning: VIPs matter more. Without the
/// first one nothing tells a second daemon that this one runs, but its control socket.
fn pid_files(args: &Args) -> Result<Vec<PidFile>, Fatal> {
    let directory = match &args.namespace {
        Some(name) => Path::new("/run/keepalived").join(name),
        None => PathBuf::from("/run"),
    };
    // Who moved the first file away from its place did not mean to leave the others there.
    let default = |name: &str| args.pid.is_none().then(|| directory.join(name));
    let mut wanted =
        vec![(args.pid.clone().unwrap_or_else(|| directory.join("keepalived.pid")), "-p")];
    if !args.check || args.vrrp {
        wanted.extend(args.vrrp_pid.clone().or(default("vrrp.pid")).map(|path| (path, "-r")));
    }
    if !args.vrrp || args.check {
        wanted
            .extend(args.checkers_pid.clone().or(default("checkers.pid")).map(|path| (path, "-c")));
    }
    let mut files = Vec::new();
    for (path, option) in wanted {
        match PidFile::create(&path, option) {
            Ok(file) => files.push(file),
            Err(error @ PidFileError::Running { .. }) if option == "-p" => {
                return Err(Fatal { status: FATAL, message: error.to_string() });
            }
            Err(error) => tracing::warn!("{error}; it runs without"),
        }
    }
    Ok(files)
}

fn default_socket(namespace: Option<&str>) -> PathBuf {
    match namespace {
        Some(name) => Path::new("/run/lbd").join(format!("{name}.sock")),
        None => PathBuf::from(lb_control::DEFAULT_SOCKET),
    }
}
