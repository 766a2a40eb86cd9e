//! The whole daemon: start, status, reload, failure and stop, as its operator sees them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lb_control::status::Status;
use lb_control::{Request, RequestBody, Response, ResponseBody, State};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// For what has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `value` gives something.
fn eventually<T>(what: &str, mut value: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = value() {
            return value;
        }
        assert!(begin.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A directory with a configuration, and what a daemon there leaves.
struct House {
    dir: TempDir,
    config: &'static str,
}

impl House {
    fn new(config: &str) -> Self {
        Self::named("lbd.conf", config)
    }

    fn named(name: &'static str, config: &str) -> Self {
        let house = Self { dir: tempfile::tempdir().unwrap(), config: name };
        house.write(name, config);
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// `lbd` with everything of its own inside this directory.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lbd"));
        command.args(["-G", "-f"]).arg(self.path(self.config)).arg("-p").arg(self.path("pid"));
        command.arg("--socket").arg(self.path("sock")).args(args).env("TMPDIR", self.dir.path());
        command
    }

    fn start(self, args: &[&str]) -> Daemon {
        let child = self.command(args).args(["-n", "-l"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut daemon = Daemon { house: self, child };
        eventually("the control socket", || {
            if let Some(status) = daemon.child.try_wait().unwrap() {
                panic!("{status}: {}", daemon.log());
            }
            daemon.house.path("sock").exists().then_some(())
        });
        daemon
    }

    fn ask(&self, body: RequestBody) -> ResponseBody {
        let mut stream = UnixStream::connect(self.path("sock")).unwrap();
        let request = serde_json::to_string(&Request { v: 1, body }).unwrap();
        writeln!(stream, "{request}").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        serde_json::from_str::<Response>(&line).unwrap().body
    }

    fn status(&self) -> Status {
        match self.ask(RequestBody::Status) {
            ResponseBody::Status { status } => *status,
            other => panic!("{other:?}"),
        }
    }
}

/// A daemon in the foreground; killed when the test ends.
struct Daemon {
    house: House,
    child: Child,
}

impl Daemon {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    fn signal_number(&self, number: i32) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill").args([&format!("-{number}"), &pid]).status().unwrap().success()
        );
    }

    fn wait(&mut self) -> ExitStatus {
        eventually("its end", || self.child.try_wait().unwrap())
    }

    /// What it has logged; after its end.
    fn log(&mut self) -> String {
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        log
    }

    fn stop(mut self) -> String {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.wait().code(), Some(0));
        self.log()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A virtual server whose one real server listens.
fn balanced(server: &TcpListener, more: &str) -> String {
    let port = server.local_addr().unwrap().port();
    format!(
        "virtual_server 192.0.2.1 80 {{\n delay_loop 1\n lb_algo rr\n lb_kind NAT\n protocol TCP\n {more}\n \
         real_server 127.0.0.1 {port} {{\n  TCP_CHECK {{\n   connect_timeout 1\n  }}\n }}\n}}\n"
    )
}

fn server() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

const NO_DATAPLANE: &[&str] = &["--dataplane", "none"];

#[test]
fn a_daemon_serves_its_status_and_leaves_nothing_behind() {
    let server = server();
    let daemon = House::new(&balanced(&server, "")).start(NO_DATAPLANE);
    let pid = fs::read_to_string(daemon.house.path("pid")).unwrap();
    assert_eq!(pid.trim(), daemon.child.id().to_string());
    let status = daemon.house.status();
    assert_eq!(status.daemon.pid, daemon.child.id());
    assert_eq!(status.daemon.dataplane, "none");
    assert!(status.virtual_servers[0].real_servers[0].alive);
    let (sock, pid) = (daemon.house.path("sock"), daemon.house.path("pid"));
    let log = daemon.stop();
    assert!(!sock.exists() && !pid.exists());
    assert!(log.contains("Startup complete") && log.ends_with("Stopped\n"), "{log}");
}

#[test]
fn a_reload_that_is_refused_changes_nothing_and_says_why() {
    let server = server();
    let good = balanced(&server, "");
    let daemon = House::new(&good).start(NO_DATAPLANE);
    daemon
        .house
        .write("lbd.conf", &format!("{good}\nvrrp_instance VI_1 {{\n interface eth9\n}}\n"));
    daemon.signal(Signal::SIGHUP);
    let reload = eventually("the verdict", || daemon.house.status().daemon.last_reload);
    assert!(!reload.accepted && reload.verdict.contains("lbd.conf:"), "{}", reload.verdict);
    assert_eq!(daemon.house.status().virtual_servers.len(), 1);
    // The same by the control socket, with the verdict as its answer.
    let answer = daemon.house.ask(RequestBody::Reload);
    assert_eq!(answer, ResponseBody::Error { message: reload.verdict });
    daemon
        .house
        .write("lbd.conf", &balanced(&server, "quorum 1").replace("192.0.2.1", "192.0.2.2"));
    assert!(matches!(daemon.house.ask(RequestBody::Reload), ResponseBody::Done { .. }));
    let status = daemon.house.status();
    assert_eq!(status.virtual_servers[0].address.as_deref(), Some("192.0.2.2:80"));
    assert!(status.daemon.last_reload.unwrap().accepted);
    let log = daemon.stop();
    assert!(log.contains("the old configuration runs on"), "{log}");
}

#[test]
fn what_places_or_guards_and_is_not_built_neither_starts_nor_reloads_unless_allowed() {
    let server = server();
    let good = balanced(&server, "");
    let house = House::new(&format!("{good}net_namespace_ipvs blue\n"));
    let start = house.command(NO_DATAPLANE).arg("-n").output().unwrap();
    let said = String::from_utf8(start.stderr).unwrap();
    assert_eq!(start.status.code(), Some(2), "{said}");
    let line = good.lines().count() + 1;
    assert!(said.contains("`net_namespace_ipvs` is not built yet"), "{said}");
    assert!(said.contains(&format!("lbd.conf:{line}:")), "{said}");
    assert!(said.contains("lbd --allow net-namespace-ipvs"), "{said}");
    // keepalived finds nothing wrong, so neither does the status; what is said is the same.
    let check = house.command(&["-t"]).output().unwrap();
    assert_eq!(check.status.code(), Some(0));
    assert!(String::from_utf8(check.stderr).unwrap().contains("is not built yet"));
    house.write("lbd.conf", &good);
    let daemon = house.start(NO_DATAPLANE);
    daemon.house.write("lbd.conf", &format!("{good}net_namespace_ipvs blue\n"));
    let answer = daemon.house.ask(RequestBody::Reload);
    let ResponseBody::Error { message } = answer else { panic!("{answer:?}") };
    assert!(message.contains(&format!("lbd.conf:{line}:")), "{message}");
    assert_eq!(daemon.house.status().virtual_servers.len(), 1);
    daemon.stop();
    let house = House::new(&format!("{good}net_namespace_ipvs blue\n"));
    let allow = ["--dataplane", "none", "--allow", "vrf", "--allow", "net-namespace-ipvs"];
    let log = house.start(&allow).stop();
    assert!(log.contains("`net_namespace_ipvs` is not built yet"), "{log}");
}

#[test]
fn toml_is_read_and_the_configuration_in_force_is_told() {
    let server = server();
    let toml = |vip: &str| {
        format!(
            "[[virtual_server]]\naddress = \"{vip}:80\"\nprotocol = \"TCP\"\ndelay_loop = 1\n\
             [[virtual_server.real_server]]\naddress = \"{}\"\ntcp_check = {{}}\n",
            server.local_addr().unwrap()
        )
    };
    let daemon = House::named("lbd.toml", &toml("192.0.2.1")).start(NO_DATAPLANE);
    let in_force = || match daemon.house.ask(RequestBody::Config) {
        ResponseBody::Config { config, model } => {
            assert!(config.ends_with("/lbd.toml"), "{config}");
            model["virtual_servers"][0]["key"]["Address"].clone()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(in_force(), "192.0.2.1:80");
    daemon.house.write("lbd.toml", "virtual_server = 3\n");
    let answer = daemon.house.ask(RequestBody::Reload);
    let ResponseBody::Error { message } = answer else { panic!("{answer:?}") };
    assert!(message.contains("lbd.toml:1:18"), "{message}");
    // What is in the file now is not in force.
    assert_eq!(in_force(), "192.0.2.1:80");
    daemon.house.write("lbd.toml", &toml("192.0.2.2"));
    assert!(matches!(daemon.house.ask(RequestBody::Reload), ResponseBody::Done { .. }));
    assert_eq!(in_force(), "192.0.2.2:80");
}

#[test]
fn an_engine_that_panics_is_started_again() {
    let server = server();
    let daemon = House::new(&balanced(&server, "")).start(&[
        "--dataplane",
        "none",
        "--test-fault",
        "balancer",
    ]);
    daemon.signal_number(64);
    let status = eventually("the restart", || {
        let status = daemon.house.status();
        (status.daemon.engines[0].failures == 1 && status.daemon.engines[0].running)
            .then_some(status)
    });
    assert!(status.virtual_servers[0].real_servers[0].alive);
    let log = daemon.stop();
    assert!(
        log.contains("the balancer failed and was started again: told to by --test-fault"),
        "{log}"
    );
}

#[test]
fn dont_respawn_stops_instead() {
    let args = ["--dataplane", "none", "--test-fault", "balancer", "-R"];
    let server = server();
    let mut daemon = House::new(&balanced(&server, "")).start(&args);
    daemon.signal_number(64);
    assert_eq!(daemon.wait().code(), Some(1));
}

#[test]
fn a_second_daemon_is_told_of_the_first() {
    let server = server();
    let daemon = House::new(&balanced(&server, "")).start(NO_DATAPLANE);
    let second = daemon.house.command(NO_DATAPLANE).arg("-n").output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    let pid = daemon.child.id();
    assert!(said.contains(&format!("lbd runs already as process {pid}")), "{said}");
    daemon.stop();
}

#[test]
fn without_n_it_returns_when_it_is_ready() {
    let server = server();
    let house = House::new(&balanced(&server, ""));
    assert!(house.command(NO_DATAPLANE).status().unwrap().success());
    let pid: i32 = fs::read_to_string(house.path("pid")).unwrap().trim().parse().unwrap();
    assert_eq!(house.status().daemon.pid, pid as u32);
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(name, "lbd\n", "what pgrep, pidof and killall look for");
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    eventually("its end", || (!house.path("pid").exists()).then_some(()));
}

#[test]
fn a_pid_file_that_cannot_be_written_is_a_warning() {
    let server = server();
    let house = House::new(&balanced(&server, ""));
    house.write("file", "");
    let pid = house.path("file/pid").display().to_string();
    let log = house.start(&["--dataplane", "none", "-p", &pid]).stop();
    assert!(log.contains(&format!("cannot write the PID file {pid}")), "{log}");
}

#[test]
fn a_signal_that_was_blocked_at_the_start_stops_it() {
    let server = server();
    let house = House::new(&balanced(&server, ""));
    let mut command = Command::new("env");
    command.args(["--block-signal=TERM", "--ignore-signal=CHLD"]).arg(env!("CARGO_BIN_EXE_lbd"));
    command.args(house.command(NO_DATAPLANE).get_args()).args(["-n", "-l"]);
    let child = command.env("TMPDIR", house.dir.path()).stderr(Stdio::piped()).spawn().unwrap();
    let daemon = Daemon { house, child };
    eventually("the control socket", || daemon.house.path("sock").exists().then_some(()));
    daemon.stop();
}

#[test]
fn a_stop_does_not_wait_for_the_startup_script() {
    let server = server();
    let global =
        "global_defs {\n startup_script \"/bin/sleep 600\"\n startup_script_timeout 600\n}\n";
    let house = House::new(&(global.to_owned() + &balanced(&server, "")));
    let child =
        house.command(NO_DATAPLANE).args(["-n", "-l"]).stderr(Stdio::piped()).spawn().unwrap();
    let daemon = Daemon { house, child };
    let of = daemon.child.id();
    eventually("the script", || {
        let children = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).ok()?;
        (!children.trim().is_empty()).then_some(())
    });
    let begin = Instant::now();
    let log = daemon.stop();
    assert!(begin.elapsed() < Duration::from_secs(30));
    assert!(log.contains("startup_script is ended"), "{log}");
}

/// In a process namespace of its own it is process 1, as in a container.
#[test]
fn as_process_1_it_collects_orphans_and_passes_signals_on() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can make a process namespace");
        return;
    }
    let server = server();
    let orphans = "/bin/sh -c '(sleep 0.1 &); (sleep 0.1 &); exit 0'";
    let global = format!("global_defs {{\n startup_script \"{orphans}\"\n}}\n");
    let house = House::new(&(global + &balanced(&server, "")));
    let mut command = Command::new("unshare");
    command.args(["-p", "-f", "--mount-proc", "--kill-child"]).arg(env!("CARGO_BIN_EXE_lbd"));
    command.args(house.command(NO_DATAPLANE).get_args()).args(["-n", "-l"]);
    let child = command.env("TMPDIR", house.dir.path()).stderr(Stdio::piped()).spawn().unwrap();
    let mut daemon = Daemon { house, child };
    eventually("the control socket", || daemon.house.path("sock").exists().then_some(()));
    let pid = fs::read_to_string(daemon.house.path("pid")).unwrap();
    assert_eq!((pid.as_str(), daemon.house.status().daemon.pid), ("1\n", 1));
    let children = |of: &str| -> Vec<String> {
        let list = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap();
        list.split_whitespace().map(str::to_owned).collect()
    };
    let first = children(&daemon.child.id().to_string()).remove(0);
    eventually("only the daemon", || (children(&first).len() == 1).then_some(()));
    kill(Pid::from_raw(first.parse().unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn without_n_its_failure_is_the_callers() {
    let house = House::new("vrrp_instance VI_1 {\n interface lo\n}\n");
    let output = house.command(NO_DATAPLANE).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("lbd.conf:1"), "{said}");
}

#[test]
fn a_missing_file_and_a_refused_one_have_keepaliveds_statuses() {
    let house = House::new("vrrp_instance VI_1 {\n interface lo\n}\n");
    assert_eq!(house.command(&["-n"]).output().unwrap().status.code(), Some(2));
    fs::remove_file(house.path("lbd.conf")).unwrap();
    assert_eq!(house.command(&["-n"]).output().unwrap().status.code(), Some(6));
}

#[test]
fn strict_refuses_what_is_complained_of() {
    let house = House::new("global_defs {\n nonsense\n}\n");
    assert_eq!(house.command(&["-n", "--strict"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn a_check_appends_its_diagnostics_to_a_file() {
    let house = House::new("global_defs {\n nonsense\n}\n");
    let out = house.path("out");
    fs::write(&out, "before\n").unwrap();
    let output = house.command(&[&format!("-t{}", out.display())]).output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(output.stderr.is_empty());
    let text = fs::read_to_string(&out).unwrap();
    assert!(text.starts_with("before\n") && text.contains("nonsense"), "{text}");
    house.write("lbd.conf", "");
    assert_eq!(house.command(&["-t"]).output().unwrap().status.code(), Some(0));
}

#[test]
fn a_control_socket_out_of_reach_does_not_stop_the_daemon() {
    let server = server();
    let house = House::new(&balanced(&server, ""));
    house.write("file", "");
    let socket = house.path("file/sock").display().to_string();
    let mut child = house
        .command(&["--dataplane", "none", "-n", "-l", "--socket", &socket])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let complaint = log.find(|line| line.contains("control socket")).unwrap();
    assert!(complaint.contains(&socket) && complaint.contains("--socket PATH"), "{complaint}");
    log.find(|line| line.contains("Startup complete")).unwrap();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn quorum_and_server_scripts_run() {
    let listener = server();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let script = dir.path().join("script");
    fs::write(&script, format!("#!/bin/sh\necho \"$@\" >> {}\n", out.display())).unwrap();
    assert!(Command::new("chmod").arg("755").arg(&script).status().unwrap().success());
    let quorum =
        format!("quorum_down \"{} quorum_down\"\n quorum_up \"{0} quorum_up\"", script.display());
    let daemon = House::new(&balanced(&listener, &quorum)).start(NO_DATAPLANE);
    drop(listener);
    let told = || fs::read_to_string(&out).ok();
    eventually("quorum_down", || (told()? == "quorum_up\nquorum_down\n").then_some(()));
    daemon.stop();
}

/// Runs the rest of a test in a network namespace with a cable between `v0` (10.0.0.1) and `v1`, by
/// starting this test again there. Returns false in the outer one.
fn in_namespace(test: &str) -> bool {
    if std::env::var_os("LBD_TEST_INSIDE").is_some() {
        return true;
    }
    if !nix::unistd::geteuid().is_root() {
        lb_skip::skip("only root can make a network namespace");
        return false;
    }
    let wire = "ip link set lo up && ip link add v0 type veth peer name v1 && ip link set v0 up && \
                ip link set v1 up && ip addr add 10.0.0.1/24 dev v0 && exec \"$0\" --exact \"$1\" --nocapture";
    let status = Command::new("unshare")
        .args(["-n", "sh", "-c", wire])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env("LBD_TEST_INSIDE", "1")
        .status()
        .unwrap();
    assert!(status.success());
    false
}

fn instance(more: &str) -> String {
    format!(
        "vrrp_instance VI_1 {{\n interface v0\n virtual_router_id 51\n priority 200\n version 3\n advert_int 0.1\n \
         virtual_ipaddress {{\n  10.0.0.50/24\n }}\n {more}\n}}\n"
    )
}

fn holds_vip() -> bool {
    let output = Command::new("ip").args(["-o", "addr", "show", "dev", "v0"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().contains("10.0.0.50/24")
}

fn master(daemon: &Daemon) -> Option<Status> {
    Some(daemon.house.status()).filter(|status| status.vrrp[0].state == State::Master)
}

#[test]
fn an_advertiser_that_panics_comes_back_as_master_with_its_vip() {
    if !in_namespace("an_advertiser_that_panics_comes_back_as_master_with_its_vip") {
        return;
    }
    let script = "vrrp_script chk {\n script \"/bin/true\"\n interval 1\n}\n";
    let config = format!("{script}{}", instance("track_script {\n  chk\n }"));
    let daemon = House::new(&config).start(&["--test-fault", "advertiser"]);
    eventually("MASTER", || master(&daemon));
    daemon.signal_number(64);
    let status = eventually("the restart", || {
        assert!(holds_vip(), "the VIP must not go away meanwhile");
        Some(daemon.house.status())
            .filter(|s| s.daemon.engines[0].failures == 1 && s.daemon.engines[0].running)
    });
    assert_eq!(status.vrrp[0].state, State::Master);
    assert!(holds_vip());
    let log = daemon.stop();
    assert!(!holds_vip());
    let states: Vec<_> = log
        .lines()
        .filter_map(|line| line.split_once("Entering ")?.1.split(" STATE").next())
        .collect();
    assert_eq!(states, ["BACKUP", "MASTER", "MASTER"], "{log}");
}

#[test]
fn connections_that_cannot_be_copied_demote_carp_until_they_are_asked_for_no_more() {
    if !in_namespace(
        "connections_that_cannot_be_copied_demote_carp_until_they_are_asked_for_no_more",
    ) {
        return;
    }
    let config = |line: &str| {
        format!(
            "global_defs {{\n carp_log 3\n {line}\n}}\n\
             carp_instance C {{\n interface v0\n vhid 7\n advbase 1\n pass secret\n \
             virtual_ipaddress {{\n  10.0.0.60/24\n }}\n}}\n"
        )
    };
    // Whether the kernel has IPVS or not, this cannot be.
    let sync = config("dynamic_interfaces\n lvs_sync_daemon absent0 inst C");
    let daemon = House::new(&sync).start(&["--test-fault", "advertiser"]);
    let group = || daemon.house.status().carp.unwrap().groups.remove(0);
    let demoted = |what: &str, by: i32| {
        eventually(what, || {
            let group = group();
            assert_eq!(group.by_operator, 0);
            ((group.demotion, group.by_state_sync) == (by, by)).then_some(())
        });
    };
    demoted("the failure", 1);
    let sync_status = daemon.house.status().state_sync.unwrap();
    assert_eq!((sync_status.id, sync_status.running.len()), (7, 0));
    let failure = sync_status.failure.unwrap();
    // It is no reason not to serve where nobody else does.
    eventually("MASTER", || {
        (daemon.house.status().carp.unwrap().instances[0].state == State::Master).then_some(())
    });
    // Who is started again knows it from the first advertisement.
    daemon.signal_number(64);
    eventually("the restart", || {
        let engines = daemon.house.status().daemon.engines;
        (engines[0].failures == 1 && engines[0].running).then_some(())
    });
    assert_eq!(group().by_state_sync, 1);
    daemon.house.write("lbd.conf", &config(""));
    assert!(matches!(daemon.house.ask(RequestBody::Reload), ResponseBody::Done { .. }));
    demoted("the reload", 0);
    assert_eq!(daemon.house.status().state_sync, None);
    let log = daemon.stop();
    for line in [
        format!("state synchronisation has failed: {failure}"),
        format!("demoted group carp by 1 to 1 (state synchronisation has failed: {failure})"),
        "promoted group carp by 1 to 0 (state synchronisation works again)".to_owned(),
    ] {
        assert!(log.contains(&line), "{line}\n{log}");
    }
}

#[test]
fn files_and_processes_change_priorities_of_both_protocols() {
    if !in_namespace("files_and_processes_change_priorities_of_both_protocols") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (file, program) = (dir.path().join("f"), dir.path().join("lbd-test-nap"));
    fs::copy("/bin/sleep", &program).unwrap();
    let nap = || Command::new(&program).arg("1000").spawn().unwrap();
    let mut running = nap();
    let config = |weight: i8| {
        let tracked = format!(
            "track_file f {{\n file {}\n init_file 5\n}}\n\
             vrrp_track_process p {{\n process {} 1000\n weight {weight}\n}}\n",
            file.display(),
            program.display()
        );
        let vrrp = instance("track_file {\n  f\n }\n track_process {\n  p\n }");
        let carp = "carp_instance C {\n interface v0\n vhid 7\n advbase 1\n pass secret\n \
                    virtual_ipaddress {\n  10.0.0.60/24\n }\n track_file {\n  f weight -10\n }\n}\n";
        format!("{tracked}{vrrp}{carp}")
    };
    let daemon = House::new(&config(-30)).start(&["--test-fault", "advertiser"]);
    let standing = || {
        let status = daemon.house.status();
        (status.vrrp[0].effective_priority, status.carp.unwrap().instances[0].demotion)
    };
    let reach = |what: &str, expected: (u8, u8)| {
        eventually(what, || (standing() == expected).then_some(()));
    };
    // Known before anything is advertised.
    assert_eq!(standing(), (205, 50));
    eventually("MASTER", || master(&daemon));
    fs::write(&file, "-20\n").unwrap();
    reach("another number", (180, 0));
    running.kill().unwrap();
    running.wait().unwrap();
    reach("the end of the process", (150, 0));
    // An advertiser that is started again knows it all.
    daemon.signal_number(64);
    eventually("the restart", || {
        let engines = daemon.house.status().daemon.engines;
        (engines[0].failures == 1 && engines[0].running).then_some(())
    });
    assert_eq!(standing(), (150, 0));
    daemon.house.write("lbd.conf", &config(-40));
    assert!(matches!(daemon.house.ask(RequestBody::Reload), ResponseBody::Done { .. }));
    reach("the reload", (140, 0));
    let mut running = nap();
    reach("a new process", (180, 0));
    fs::remove_file(&file).unwrap();
    reach("no file", (200, 0));
    fs::write(&file, "-300\n").unwrap();
    eventually("FAULT", || (daemon.house.status().vrrp[0].state == State::Fault).then_some(()));
    assert_eq!(daemon.house.status().vrrp[0].faults, ["file f says -300"]);
    running.kill().unwrap();
    running.wait().unwrap();
    let log = daemon.stop();
    assert!(log.contains("(VI_1): tracked file f now FAULT state"), "{log}");
    assert!(log.contains("Quorum lost for tracked process p"), "{log}");
    assert!(log.contains("Quorum gained for tracked process p"), "{log}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "-300\n");
}

#[test]
fn checks_of_ha_suspend_run_only_while_the_vip_is_here() {
    if !in_namespace("checks_of_ha_suspend_run_only_while_the_vip_is_here") {
        return;
    }
    let listener = server();
    let config = balanced(&listener, "ha_suspend").replace("192.0.2.1", "10.0.0.77");
    let daemon = House::new(&config).start(NO_DATAPLANE);
    let suspended = || daemon.house.status().virtual_servers[0].suspended;
    assert!(suspended());
    let ip = |what: &str| {
        let args = ["addr", what, "10.0.0.77/32", "dev", "v0"];
        assert!(Command::new("ip").args(args).status().unwrap().success());
    };
    ip("add");
    eventually("a check", || {
        let server = daemon.house.status().virtual_servers.remove(0);
        (!server.suspended && server.real_servers[0].checks[0].last.is_some()).then_some(())
    });
    ip("del");
    eventually("the suspension", || suspended().then_some(()));
    let log = daemon.stop();
    assert!(log.contains("are suspended: 10.0.0.77 is not on this host"), "{log}");
}

#[test]
fn notify_scripts_hear_of_everything_in_order() {
    if !in_namespace("notify_scripts_hear_of_everything_in_order") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (script, out) = (dir.path().join("script"), dir.path().join("out"));
    fs::write(&script, format!("#!/bin/sh\necho \"$@\" >> {}\n", out.display())).unwrap();
    assert!(Command::new("chmod").arg("755").arg(&script).status().unwrap().success());
    let daemon = House::new(&instance(&format!("notify {}", script.display()))).start(&[]);
    // The state is known before the VIP is there and the script has been called.
    let told = || fs::read_to_string(&out).is_ok_and(|heard| heard.contains("MASTER"));
    eventually("the script of MASTER", || told().then_some(()));
    daemon.stop();
    let heard = fs::read_to_string(&out).unwrap();
    let expected =
        ["BACKUP", "MASTER", "STOP"].map(|state| format!("INSTANCE VI_1 {state} 200\n")).concat();
    assert_eq!(heard, expected);
}

#[test]
fn a_missing_capability_is_named_with_its_remedy() {
    if !in_namespace("a_missing_capability_is_named_with_its_remedy") {
        return;
    }
    let house = House::new(&instance(""));
    let output = Command::new("setpriv")
        .args(["--bounding-set=-net_raw", "--inh-caps=-net_raw", env!("CARGO_BIN_EXE_lbd")])
        .args(["-n", "-G", "-f"])
        .arg(house.path("lbd.conf"))
        .arg("-p")
        .arg(house.path("pid"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("CAP_NET_RAW") && said.contains("setcap"), "{said}");
    assert_eq!(output.status.code(), Some(4));
    assert!(!house.path("pid").exists());
}

#[test]
fn dumps_are_written_where_tmpdir_says() {
    if !in_namespace("dumps_are_written_where_tmpdir_says") {
        return;
    }
    let daemon = House::new(&instance("")).start(&[]);
    eventually("MASTER", || master(&daemon));
    let dump = |number: i32, name: &str| {
        daemon.signal_number(number);
        eventually(name, || fs::read_to_string(daemon.house.path(name)).ok())
    };
    let data = dump(10, "keepalived.data");
    assert!(data.contains("------< VRRP Topology >------\n VRRP Instance = VI_1\n"), "{data}");
    assert!(data.contains("     10.0.0.50/24 dev v0 scope global set\n"), "{data}");
    assert!(data.contains("------< Interfaces >------\n Name = lo\n   index = 1\n"), "{data}");
    assert!(data.contains("   IPv4 address = 10.0.0.1/24\n"), "{data}");
    assert!(daemon.house.path("keepalived_parent.data").exists());
    assert!(!daemon.house.path("keepalived_check.data").exists());
    assert!(dump(12, "keepalived.stats").contains("  Became master: 1\n"));
    let json: serde_json::Value = serde_json::from_str(&dump(36, "keepalived.json")).unwrap();
    assert_eq!(json[0]["data"]["state"], 2);
    assert_eq!(json[0]["stats"]["become_master"], 1);
    // STATS_CLEAR: shown once more, then counted from 0.
    fs::remove_file(daemon.house.path("keepalived.stats")).unwrap();
    assert!(dump(63, "keepalived.stats").contains("  Became master: 1\n"));
    eventually("the clearing", || {
        (daemon.house.status().vrrp[0].counters.become_master == 0).then_some(())
    });
    daemon.stop();
}

#[test]
fn every_part_of_the_daemon_dumps_its_own_data() {
    let server = server();
    let port = server.local_addr().unwrap().port();
    let group = "virtual_server_group G {\n 192.0.2.9 80\n fwmark 7\n}\n";
    let daemon = House::new(&format!("{group}{}", balanced(&server, ""))).start(NO_DATAPLANE);
    eventually("a check", || {
        let status = daemon.house.status();
        status.virtual_servers[0].real_servers[0].checks[0].last.as_ref().map(drop)
    });
    daemon.signal(Signal::SIGUSR1);
    let check = eventually("keepalived_check.data", || {
        fs::read_to_string(daemon.house.path("keepalived_check.data")).ok()
    });
    for part in [
        "------< Global definitions >------\n Router ID = ",
        "------< LVS Topology >------\n Dataplane = none\n Virtual Server Group = G\n   VIP = 192.0.2.9:80\n",
        " Virtual server = [192.0.2.1]:tcp:80\n   Protocol = TCP\n   Address family = inet\n   lvs_sched = rr\n",
        &format!(
            "   Real server = [127.0.0.1]:tcp:{port}\n     Alive = true\n     Health = up\n     Weight = 1\n"
        ),
        "------< Health checkers >------\n Checker = TCP_CHECK\n",
        "   State = UP\n   Last result = ok (",
    ] {
        assert!(check.contains(part), "{part}\nis not in\n{check}");
    }
    let parent = fs::read_to_string(daemon.house.path("keepalived_parent.data")).unwrap();
    assert!(
        parent.contains(" Engine = balancer\n   Running = true\n   Failures = 0\n"),
        "{parent}"
    );
    assert!(!daemon.house.path("keepalived.data").exists(), "there is no VRRP here");
    daemon.stop();
}

#[test]
fn the_service_manager_hears_of_readiness_reload_watchdog_and_stop() {
    let listener = server();
    let house = House::new(&balanced(&listener, ""));
    let manager = UnixDatagram::bind(house.path("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = || {
        let mut buffer = [0; 4096];
        let len = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    };
    let mut command = house.command(NO_DATAPLANE);
    command.args(["-n", "-l"]).stderr(Stdio::null());
    command.env("NOTIFY_SOCKET", house.path("notify")).env("WATCHDOG_USEC", "400000");
    let child = command.spawn().unwrap();
    let mut daemon = Daemon { house, child };
    assert_eq!(heard(), "READY=1\n");
    for _ in 0..3 {
        assert_eq!(heard(), "WATCHDOG=1\n");
    }
    let next = || std::iter::repeat_with(&heard).find(|said| said != "WATCHDOG=1\n").unwrap();
    for verdict in ["accepted", "refused"] {
        daemon.signal(Signal::SIGHUP);
        let reloading = next();
        let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").map(str::trim);
        assert!(since.is_some_and(|usec| usec.parse::<u64>().is_ok()), "{verdict}: {reloading}");
        assert_eq!(next(), "READY=1\n", "{verdict}");
        daemon.house.write("lbd.conf", "vrrp_instance VI_1 {\n interface lo\n}\n");
    }
    daemon.signal(Signal::SIGTERM);
    assert_eq!(next(), "STOPPING=1\n");
    assert_eq!(daemon.wait().code(), Some(0));
}

/// A named network namespace with a cable; gone when the test ends.
struct NamedNamespace(String);

impl NamedNamespace {
    fn new() -> Self {
        let namespace = Self(format!("lbd-test-{}", std::process::id()));
        let wire = "ip netns add $0 && ip -n $0 link add v0 type veth peer name v1 && \
                    ip -n $0 link set v0 up && ip -n $0 link set v1 up && \
                    ip -n $0 addr add 10.0.0.1/24 dev v0";
        let made = Command::new("sh").args(["-c", wire, &namespace.0]).status().unwrap();
        assert!(made.success());
        namespace
    }
}

impl Drop for NamedNamespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

#[test]
fn with_s_everything_happens_in_that_namespace() {
    if !nix::unistd::geteuid().is_root() {
        lb_skip::skip("only root can make a network namespace");
        return;
    }
    let namespace = NamedNamespace::new();
    let daemon = House::new(&instance("")).start(&["-s", &namespace.0]);
    eventually("MASTER", || master(&daemon));
    let output =
        Command::new("ip").args(["-n", &namespace.0, "-o", "addr", "show", "v0"]).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("10.0.0.50/24"));
    daemon.stop();
    let missing = House::new(&instance("")).command(&["-s", "no-such", "-n"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(1));
    let said = String::from_utf8(missing.stderr).unwrap();
    assert!(said.contains("no-such") && said.contains("ip netns list"), "{said}");
}
