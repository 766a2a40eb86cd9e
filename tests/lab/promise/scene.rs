//! What happens in the life of a router, and the playing of it.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use lb_lab::{HostSpec, Process, Topology, wait_for};
use lb_tests::forged::{Forged, Speaker};
use lb_tests::play::Play;
use lb_tests::{CONFIG, SOON, VRRP, notes, run, write_note};
use nix::sys::signal::Signal;

use crate::process::{locked, receive_buffer, threads};
use crate::record::{Record, State};

/// A configuration and what happens under it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scene {
    pub config: String,
    pub steps: Vec<Step>,
}

/// One thing that happens. The router is host `d1`; the forged advertisements come from `d2`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Starts the daemon and waits until it is ready, or has ended.
    Start,
    /// Lets so many milliseconds pass.
    Wait(u64),
    /// An advertisement is heard once.
    Hear(Forged),
    /// An advertisement is heard ten times a second from now on.
    HearOn(Forged),
    /// Puts another configuration in force.
    Reload(String),
    /// Tells the daemon to stop, and waits until it has ended.
    Stop,
    /// Asks the daemon to dump what it knows, `SIGUSR1`, and what it has counted, `SIGUSR2`.
    Dump,
    /// Writes a file.
    Write(&'static str, &'static str),
    /// Sets an interface up or down.
    Link(&'static str, bool),
    /// Runs a command to its end.
    Run(&'static [&'static str]),
    /// Starts a program that runs on.
    Spawn(&'static [&'static str]),
    /// The peer tries to reach an address.
    Reach(&'static str),
}

/// Whose program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Daemon {
    Keepalived,
    Lbd,
}

impl Scene {
    /// Plays it; `None`, and a message, where the machine allows no labs.
    pub fn play(&self, daemon: Daemon) -> anyhow::Result<Option<Record>> {
        let topology = Topology::new(["lan", "wan"])
            .host(
                HostSpec::new("d1")
                    .interface("eth0", "lan", ["192.0.2.1/24", "192.0.2.9/24"])
                    .interface("eth1", "wan", ["198.51.100.1/24"])
                    .private("/etc/keepalived"),
            )
            .host(HostSpec::new("d2").interface("eth0", "lan", ["192.0.2.2/24", "192.0.2.3/24"]));
        let Some(lab) = lb_tests::start(topology)? else { return Ok(None) };
        let play = Play::new(lab, ["d1"])?;
        write_note(play.host("d1")?)?;
        let mut stage = Stage {
            daemon,
            speaker: Speaker::new(play.host("d2")?)?,
            play,
            process: None,
            record: Record::default(),
        };
        for step in &self.steps {
            stage.take(step, &self.config).with_context(|| format!("at {step:?}"))?;
        }
        stage.finish().map(Some)
    }
}

/// A scene that is being played.
struct Stage {
    daemon: Daemon,
    play: Play,
    speaker: Speaker,
    process: Option<Process>,
    record: Record,
}

impl Stage {
    fn take(&mut self, step: &Step, config: &str) -> anyhow::Result<()> {
        let host = self.play.host("d1")?;
        match step {
            Step::Start => {
                host.write_file(CONFIG, config)?;
                self.record.started = Some(SystemTime::now());
                let name = match self.daemon {
                    Daemon::Keepalived => "keepalived",
                    Daemon::Lbd => "lbd",
                };
                let process = host.spawn([name, "-n", "-l", "-G", "-D"])?;
                let ready = || {
                    let output = process.output();
                    let ready = output.contains("Startup complete") || output.contains(" STATE");
                    (ready || !process.is_running()).then_some(())
                };
                wait_for("the daemon is ready", SOON, ready).with_context(|| process.tail(20))?;
                self.process = Some(process);
            }
            Step::Wait(ms) => thread::sleep(Duration::from_millis(*ms)),
            Step::Hear(forged) => {
                self.record.heard = Some(SystemTime::now());
                self.speaker.say(forged)?;
            }
            Step::HearOn(forged) => {
                self.record.heard = Some(SystemTime::now());
                self.speaker.repeat(vec![forged.clone()]);
            }
            Step::Reload(config) => {
                host.write_file(CONFIG, config)?;
                self.process()?.signal(Signal::SIGHUP)?;
            }
            Step::Stop => {
                self.record.state = self.look()?;
                self.record.stopped = Some(SystemTime::now());
                let process = self.process()?;
                process.signal(Signal::SIGTERM)?;
                process.wait(SOON)?;
                self.record.ended = Some(SystemTime::now());
            }
            Step::Dump => {
                self.process()?.signal(Signal::SIGUSR1)?;
                self.process()?.signal(Signal::SIGUSR2)?;
            }
            Step::Write(path, text) => host.write_file(path, text)?,
            Step::Link(interface, up) => host.set_link(interface, *up)?,
            Step::Run(command) => {
                let (status, output) = run(host, command)?;
                ensure!(status == Some(0), "{output}");
            }
            Step::Spawn(command) => drop(host.spawn(*command)?),
            Step::Reach(address) => {
                // Nobody listens there: the answer is a refusal.
                let to = SocketAddr::new(address.parse()?, 9);
                let patience = Duration::from_millis(700);
                let reached = self.play.host("d2")?.run(|| {
                    let refused = TcpStream::connect_timeout(&to, patience).map(drop);
                    refused
                        .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
                })?;
                self.record.reached.push(reached);
            }
        }
        Ok(())
    }

    fn process(&self) -> anyhow::Result<&Process> {
        self.process.as_ref().context("no daemon was started")
    }

    /// What there is to see while the daemon runs.
    fn look(&self) -> anyhow::Result<State> {
        let host = self.play.host("d1")?;
        let setting = |name: &str| host.read_file(format!("/proc/sys/net/ipv4/conf/{name}"));
        let mut state = State {
            addresses: run(host, &["ip", "-d", "-j", "address"])?.1,
            promoted: setting("eth0/promote_secondaries")?.trim() == "1",
            ..State::default()
        };
        if let Some(process) = self.process.as_ref().filter(|process| process.is_running()) {
            let pid = process.pid().as_raw();
            state.running = true;
            state.advert_buffer = receive_buffer(pid, VRRP);
            state.threads = threads(pid);
            state.locked = locked(pid);
        }
        // There where it was asked for.
        state.dump = host.read_file("/tmp/keepalived.data").unwrap_or_default();
        state.counters = host.read_file("/tmp/keepalived.stats").unwrap_or_default();
        state.dump_mode = host
            .run(|| {
                std::fs::metadata("/tmp/keepalived.data").map(|file| file.permissions().mode())
            })?
            .ok();
        Ok(state)
    }

    fn finish(mut self) -> anyhow::Result<Record> {
        if self.record.stopped.is_none() {
            self.record.state = self.look()?;
        }
        let host = self.play.host("d1")?;
        self.record.notes = notes(host)?;
        for interface in ["eth0", "eth1"] {
            let frames = self.play.capture("d1", interface)?.matching(|frame| !frame.outgoing);
            self.record.frames.extend(frames.into_iter().map(|frame| (interface, frame)));
        }
        self.record.frames.sort_by_key(|(_, frame)| frame.at);
        if let Some(process) = &self.process {
            self.record.log = process.output();
        }
        Ok(self.record)
    }
}
