//! `lbctl lab` with the real daemons: the demonstration from end to end, and a lab held for playing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use lb_control::{State, Status};
use lb_lab::{FaultKind, Report, wait_for, wait_until};
use lb_tests::pulse::undisturbed;
use lb_tests::{SOON, Test, programs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const TOPOLOGY: &str = include_str!("../../etc/lab/failover.toml");
const D1: &str = include_str!("../../etc/lab/d1.conf");
const D2: &str = include_str!("../../etc/lab/d2.conf");

/// What a busy machine adds to the bound of a protocol.
const MACHINE: Duration = Duration::from_millis(400);

/// The first value of a keyword in a configuration, in seconds or a plain number.
fn value(config: &str, keyword: &str) -> anyhow::Result<f64> {
    let mut words = config.split_whitespace();
    words.find(|word| *word == keyword).with_context(|| format!("no {keyword}"))?;
    Ok(words.next().context("no value")?.parse()?)
}

/// `lbctl lab`, and a mark by which everything that it starts is known.
fn lbctl(mark: &str, arguments: &[&str]) -> anyhow::Result<Command> {
    let programs = programs()?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(programs.join("lbctl"));
    command.arg("lab").args(arguments).env("LB_TEST_MARK", mark);
    command.env("PATH", format!("{}:{path}", programs.display()));
    Ok(command)
}

/// Runs a command as the arguments of a shell's script.
fn shell(script: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    shell
}

/// A mark of its own for each test of each run.
fn mark(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

/// Processes with the mark in their environment.
fn marked(mark: &str) -> Vec<String> {
    let wanted = format!("LB_TEST_MARK={mark}");
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let marked = processes.filter(|process| {
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        environment.split(|octet| *octet == 0).any(|pair| pair == wanted.as_bytes())
    });
    marked
        .map(|process| {
            let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&words).replace('\0', " ")
        })
        .collect()
}

/// Names of what a lab could leave on the machine: links and named network namespaces.
fn names() -> BTreeSet<String> {
    let read = ["/sys/class/net", "/run/netns"].map(|dir| fs::read_dir(dir).into_iter().flatten());
    let names = read.into_iter().flatten().flatten();
    names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Nothing of the lab is left: no process, no link, no mount.
fn assert_nothing_left(mark: &str) -> Test {
    wait_until("the processes of the lab are gone", SOON, || marked(mark).is_empty())
        .with_context(|| format!("still there: {:?}", marked(mark)))?;
    let hosts = ["client", "d1", "d2", "web1", "web2", "web3"];
    let left: Vec<_> = names()
        .into_iter()
        .filter(|name| hosts.iter().any(|host| name.starts_with(host)))
        .collect();
    assert_eq!(left, [""; 0]);
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    assert!(!mounts.contains("keepalived.conf") && !mounts.contains("lb-lab"), "{mounts}");
    Ok(())
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// Whether the machine allows no labs, with a message.
fn refused(said: &str) -> bool {
    let refused = said.contains("cannot make network namespaces");
    if refused {
        lb_skip::skip(said.trim());
    }
    refused
}

#[test]
fn the_demonstration_reports_outages_within_the_bounds_of_the_protocols() -> Test {
    undisturbed(|| {
        let mark = mark("report");
        let output: Output = lbctl(&mark, &["--json"])?.output()?;
        if refused(&text(&output.stderr)) {
            return Ok(());
        }
        assert!(output.status.success(), "{}", text(&output.stderr));
        let report: Report = serde_json::from_slice(&output.stdout)?;
        let [server, director] = report.faults.as_slice() else {
            panic!("two faults, not {:#?}", report.faults)
        };
        assert_eq!((report.client.as_str(), report.master.as_deref()), ("client", Some("d1")));
        assert_eq!(
            (server.kind, server.target.as_str(), server.was_master),
            (FaultKind::Kill, "web2", false)
        );
        assert_eq!(
            (director.kind, director.target.as_str(), director.was_master),
            (FaultKind::Kill, "d1", true)
        );
        assert!(server.recovered && director.recovered, "{report:#?}");
        assert_eq!(
            (director.master_before.as_deref(), director.master_after.as_deref()),
            (Some("d1"), Some("d2"))
        );

        // The checker's bound: a loop, the first try, its retry after a pause. A request fails for as long as the relay
        // tries the dead server, and others go on meanwhile, so the hole is shorter.
        let timeout = value(D1, "connect_timeout")?;
        let bound = value(D1, "delay_loop")? + timeout + value(D1, "delay_before_retry")? + timeout;
        assert!(server.recovered_ms <= bound * 1e3 + ms(MACHINE), "{server:#?}");
        assert!(server.outage_ms <= server.recovered_ms + ms(MACHINE), "{server:#?}");

        // RFC 9568 §6.1: three intervals of the master and the skew of the backup.
        let interval = value(D1, "advert_int")?;
        let bound = 3.0 * interval + (256.0 - value(D2, "priority")?) * interval / 256.0;
        let step = report.interval_ms as f64;
        assert!(director.outage_ms <= bound * 1e3 + step + ms(MACHINE), "{director:#?}");
        // Nobody can know earlier than two intervals after it that a master is gone.
        assert!(director.outage_ms >= 2.0 * interval * 1e3, "{director:#?}");

        // What is counted agrees with itself.
        assert_eq!(report.sent, report.answered + report.lost);
        assert_eq!(report.answered, report.answered_by.values().sum::<usize>());
        assert!(server.lost + director.lost <= report.lost);
        assert!(server.lost <= server.sent && director.lost <= director.sent);
        // Each request of the hole was lost, and those that were under way.
        let hole = director.outage_ms / step + 1.0;
        assert!(director.lost > 0 && director.lost as f64 <= hole, "{director:#?}");
        let servers = |served: &BTreeMap<String, usize>| served.keys().cloned().collect::<Vec<_>>();
        assert_eq!(servers(&server.served_before), ["web1", "web2", "web3"]);
        assert_eq!(servers(&server.served_after), ["web1", "web3"]);
        assert_eq!(servers(&director.served_after), ["web1", "web3"]);
        assert_nothing_left(&mark)
    })
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A lab that is held in a process of its own.
struct Held {
    process: Child,
    name: String,
}

impl Held {
    /// Starts the shipped topology without its demonstration; `None` where the machine allows no labs.
    fn start(name: &str) -> anyhow::Result<Option<Self>> {
        let name = mark(name);
        let directory = tempfile::tempdir()?;
        let (hosts, _) = TOPOLOGY.split_once("[play]").context("no [play]")?;
        for (file, content) in [("lab.toml", hosts), ("d1.conf", D1), ("d2.conf", D2)] {
            fs::write(directory.path().join(file), content)?;
        }
        let file = directory.path().join("lab.toml").display().to_string();
        // As a shell without job control runs what is in the background.
        let mut process =
            shell("trap '' INT; exec \"$@\"", &lbctl(&name, &[&file, "--hold", "--name", &name])?)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .process_group(0)
                .spawn()?;
        let errors = process.stderr.take().context("no stderr")?;
        // Dropped where it fails, which ends the process.
        let held = Self { process, name };
        let mut said = String::new();
        for line in BufReader::new(errors).lines() {
            said += &(line? + "\n");
            if said.contains(" start d1") {
                return Ok(Some(held));
            }
        }
        ensure!(refused(&said), "it is not held: {said}");
        Ok(None)
    }

    /// Runs `lbctl lab --name NAME WORDS` to its end.
    fn ask(&self, words: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
        let output = lbctl(&self.name, &[&["--name", &self.name], words].concat())?.output()?;
        Ok((output.status.code(), text(&output.stdout) + &text(&output.stderr)))
    }

    fn done(&self, words: &[&str]) -> Test {
        let (code, said) = self.ask(words)?;
        ensure!(code == Some(0), "{words:?}: {said}");
        Ok(())
    }

    /// Waits until the director of a host is in a state.
    fn wait_state(&self, host: &str, state: State) -> Test {
        let words = ["exec", host, "lbctl", "status", "--json"];
        let status = || serde_json::from_str::<Status>(&self.ask(&words).ok()?.1).ok();
        wait_for(&format!("{host} is {state}"), SOON, || {
            status().filter(|status| status.vrrp.first().is_some_and(|vrrp| vrrp.state == state))
        })
        .with_context(|| format!("it is {:#?}", status()))?;
        Ok(())
    }

    fn signal(&mut self, signal: Signal) -> Test {
        kill(Pid::from_raw(i32::try_from(self.process.id())?), signal)?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have ended
        let _ = self.process.wait();
    }
}

#[test]
fn a_held_lab_fails_over_as_its_user_pleases_and_ends_with_ctrl_c() -> Test {
    let Some(mut lab) = Held::start("play")? else { return Ok(()) };
    lab.wait_state("d1", State::Master)?;
    lab.wait_state("d2", State::Backup)?;
    let (_, listed) = lab.ask(&["list"])?;
    assert!(listed.contains("192.0.2.100") && listed.contains("lbd"), "{listed}");

    lab.done(&["cut", "d1", "eth0"])?;
    lab.wait_state("d1", State::Fault)?;
    lab.wait_state("d2", State::Master)?;
    lab.done(&["mend"])?;
    lab.wait_state("d1", State::Master)?;
    lab.wait_state("d2", State::Backup)?;

    lab.done(&["kill", "d1"])?;
    lab.wait_state("d2", State::Master)?;
    let (code, said) = lab.ask(&["exec", "d1", "true"])?;
    assert_eq!((code, said.trim()), (Some(1), "lbctl: host `d1` is down; start it first"));
    lab.done(&["start", "d1"])?;
    lab.wait_state("d1", State::Master)?;
    assert_eq!(lab.ask(&["exec", "web1", "sh", "-c", "exit 7"])?.0, Some(7));

    let name = lab.name.clone();
    assert!(marked(&name).len() >= 5, "{:?}", marked(&name));
    lab.signal(Signal::SIGINT)?;
    assert_nothing_left(&name)
}

#[test]
fn a_killed_lbctl_leaves_nothing_behind() -> Test {
    let Some(mut lab) = Held::start("kill")? else { return Ok(()) };
    lab.wait_state("d1", State::Master)?;
    let name = lab.name.clone();
    let alive = marked(&name);
    assert!(alive.iter().filter(|command| command.contains("lbd -n")).count() == 2, "{alive:?}");
    lab.signal(Signal::SIGKILL)?;
    assert_nothing_left(&name)
}
