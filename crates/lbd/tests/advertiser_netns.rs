//! The advertiser's thread against Debian's keepalived, over a cable between two namespaces.

use std::fs::{self, File};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use lb_control::State;
use lb_net::{Monitor, Poller, RouteSocket};
use lb_node::Plan;
use lbd::advertiser::{Advertiser, Options};
use lbd::engine::EventSink;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, gettid};

const VIP: [u8; 4] = [192, 0, 2, 50];
/// For what has no bound of its own, such as the start of a process on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A version of the protocol with an interval, and what follows from them.
#[derive(Clone, Copy)]
struct Protocol {
    version: u8,
    interval: &'static str,
    authentication: &'static str,
}

const V3: Protocol = Protocol { version: 3, interval: "0.1", authentication: "" };
const V2: Protocol = Protocol { version: 2, interval: "1", authentication: "" };
const V2_PASSWORD: Protocol =
    Protocol { authentication: "authentication {\n auth_type PASS\n auth_pass s3cret\n }", ..V2 };

impl Protocol {
    fn configuration(&self, interface: &str, priority: u8) -> String {
        let Self { version, interval, authentication } = self;
        format!(
            "global_defs {{\n vrrp_version {version}\n}}\n\
             vrrp_instance VI_1 {{\n state BACKUP\n interface {interface}\n virtual_router_id 51\n \
             priority {priority}\n advert_int {interval}\n {authentication}\n \
             virtual_ipaddress {{\n 192.0.2.50/24\n }}\n}}\n"
        )
    }

    fn interval(&self) -> Duration {
        Duration::from_secs_f64(self.interval.parse().unwrap())
    }

    /// (256 − priority) / 256 of the interval; v2: of a second.
    fn skew(&self, priority: u8) -> Duration {
        let unit = if self.version == 2 { Duration::from_secs(1) } else { self.interval() };
        unit * (256 - u32::from(priority)) / 256
    }

    fn master_down(&self, priority: u8) -> Duration {
        3 * self.interval() + self.skew(priority)
    }
}

/// Our namespace with interface `a`, and the peer's with `b`.
struct Site {
    ours: File,
    peers: File,
    poller: Poller,
    monitors: [Monitor; 2],
    routes: [RouteSocket; 2],
    directory: tempfile::TempDir,
}

/// Runs the test in a fresh site, or says why not.
fn with_site(test: impl FnOnce(&mut Site) + Send + 'static) {
    let body = || {
        if Command::new("keepalived").arg("-v").stderr(Stdio::null()).status().is_err() {
            lb_skip::skip("keepalived is not installed");
            return;
        }
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            lb_skip::skip(format_args!("a network namespace needs root ({error})"));
            return;
        }
        test(&mut Site::new());
    };
    thread::spawn(body).join().unwrap();
}

impl Site {
    fn new() -> Self {
        let ours = own_namespace();
        let peers = thread::scope(|scope| {
            let (tell, told) = mpsc::sync_channel(1);
            let (release, released) = mpsc::sync_channel::<()>(1);
            scope.spawn(move || {
                unshare(CloneFlags::CLONE_NEWNET).unwrap();
                tell.send((gettid(), own_namespace())).unwrap();
                let _ = released.recv();
            });
            let (peer, namespace) = told.recv().unwrap();
            ip(&format!("link add name a type veth peer name b netns {peer}"));
            drop(release);
            namespace
        });
        let open = || (Monitor::open(0).unwrap(), RouteSocket::open().unwrap());
        let (monitor_a, route_a) = open();
        ip("address add 192.0.2.1/24 dev a");
        ip("link set dev a up");
        setns(&peers, CloneFlags::CLONE_NEWNET).unwrap();
        let (monitor_b, route_b) = open();
        ip("address add 192.0.2.2/24 dev b");
        ip("link set dev b up");
        setns(&ours, CloneFlags::CLONE_NEWNET).unwrap();
        let poller = Poller::new().unwrap();
        poller.add(&monitor_a, 0).unwrap();
        poller.add(&monitor_b, 1).unwrap();
        let mut site = Self {
            ours,
            peers,
            poller,
            monitors: [monitor_a, monitor_b],
            routes: [route_a, route_b],
            directory: tempfile::tempdir().unwrap(),
        };
        site.wait(PATIENCE, "both ends of the cable up", |site| {
            site.routes
                .iter_mut()
                .all(|route| route.links().unwrap().iter().any(|link| link.name != "lo" && link.up))
        });
        site
    }

    /// Starts keepalived in the peer's namespace.
    fn keepalived(&self, configuration: &str) -> Keepalived {
        // Afresh each time: PID files of one that was killed would keep the next from starting.
        let directory = tempfile::tempdir_in(&self.directory).unwrap().keep();
        let file = directory.join("keepalived.conf");
        fs::write(&file, configuration).unwrap();
        setns(&self.peers, CloneFlags::CLONE_NEWNET).unwrap();
        let child = Command::new("keepalived")
            .args(["-n", "-l", "-D", "-P", "-G", "-f"])
            .arg(file)
            .arg("-p")
            .arg(directory.join("keepalived.pid"))
            .arg("-r")
            .arg(directory.join("vrrp.pid"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        setns(&self.ours, CloneFlags::CLONE_NEWNET).unwrap();
        Keepalived(child.unwrap())
    }

    /// Who holds the VIP: we, the peer.
    fn holders(&mut self) -> [bool; 2] {
        let vip = IpAddr::from(VIP);
        self.routes
            .each_mut()
            .map(|route| route.addresses().unwrap().iter().any(|address| address.address == vip))
    }

    /// Waits for something, looking whenever the kernel notifies and every few milliseconds.
    fn wait(&mut self, within: Duration, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + within;
        while !done(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not within {within:?}: {what}");
            let _ = self.poller.wait(Some(left.min(Duration::from_millis(10)))).unwrap().count();
            for monitor in &mut self.monitors {
                monitor.drain(|_| {}).unwrap();
            }
        }
    }

    fn we_alone(&mut self, within: Duration) {
        self.wait(within, "we alone hold the VIP", |site| site.holders() == [true, false]);
    }

    fn peer_alone(&mut self, within: Duration) {
        self.wait(within, "the peer alone holds the VIP", |site| site.holders() == [false, true]);
    }
}

fn own_namespace() -> File {
    File::open("/proc/thread-self/ns/net").unwrap()
}

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(done.success(), "ip {arguments}");
}

/// A keepalived with its children; gone at the end of the test, whatever its outcome.
struct Keepalived(Child);

impl Keepalived {
    /// Asks it to stop, or kills all of its processes at once.
    fn signal(&self, signal: Signal) {
        killpg(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        // Gone already when the test has killed it.
        let _ = killpg(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

fn plan(configuration: &str) -> Plan {
    let system = lb_config::RealSystem;
    let options = lb_config::Options::default();
    let loaded = lb_config::parse_str("test.conf", configuration, &options, &system);
    Plan::from(&loaded.model.expect("a good configuration"))
}

fn advertiser(configuration: &str) -> Advertiser {
    let (events, _) = EventSink::channel();
    Advertiser::start(plan(configuration), Options::default(), events).unwrap()
}

/// Beyond a bound of the protocol: two busy cores, and tests beside this one.
const SLACK: Duration = Duration::from_millis(500);

#[test]
fn a_stop_leaves_no_moment_without_a_holder() {
    with_site(|site| {
        let _peer = site.keepalived(&V3.configuration("b", 100));
        site.peer_alone(PATIENCE);
        let us = advertiser(&V3.configuration("a", 200));
        site.we_alone(V3.master_down(200) + SLACK);
        let mut stopped = us.stop();
        loop {
            // Ours is looked at first: what it has let go of, the peer has had by then.
            let holders = site.holders();
            assert_ne!(holders, [false, false]);
            if stopped.try_recv().is_ok() {
                break;
            }
        }
        assert_eq!(site.holders(), [false, true]);
    });
}

fn we_are_master_then_stop_then_preempt(protocol: Protocol) {
    with_site(move |site| {
        let us = advertiser(&protocol.configuration("a", 200));
        site.we_alone(protocol.master_down(200) + SLACK);
        let _peer = site.keepalived(&protocol.configuration("b", 100));
        let status = us.status().blocking_recv().unwrap();
        assert_eq!(status.vrrp[0].state, State::Master);

        // Priority 0: the peer waits for its skew only. It may still be starting.
        us.stop().blocking_recv().unwrap().unwrap();
        site.peer_alone(PATIENCE);

        let us = advertiser(&protocol.configuration("a", 200));
        site.we_alone(protocol.master_down(200) + protocol.interval() + SLACK);
        let status = us.status().blocking_recv().unwrap();
        assert_eq!((status.vrrp[0].state, status.vrrp[0].effective_priority), (State::Master, 200));

        // Now it runs for sure, so that its bound holds.
        us.stop().blocking_recv().unwrap().unwrap();
        assert!(!site.holders()[0], "stopped is released");
        site.peer_alone(protocol.skew(100) + SLACK);
    });
}

fn we_are_backup_until_the_peer_goes(protocol: Protocol, signal: Signal, bound: Duration) {
    with_site(move |site| {
        let peer = site.keepalived(&protocol.configuration("b", 200));
        site.peer_alone(PATIENCE);
        let us = advertiser(&protocol.configuration("a", 100));
        // It has had the time to take over, had it not heard the peer.
        site.wait(PATIENCE, "the peer is heard", |_| {
            let status = us.status().blocking_recv().unwrap();
            status.vrrp[0].counters.advert_rcvd >= 5
        });
        assert_eq!(site.holders(), [false, true]);
        let status = us.status().blocking_recv().unwrap();
        assert_eq!(status.vrrp[0].state, State::Backup);
        let master = status.vrrp[0].master.as_ref().unwrap();
        assert_eq!((master.address.as_str(), master.priority), ("192.0.2.2", 200));

        peer.signal(signal);
        site.wait(bound + SLACK, "we take over", |site| site.holders()[0]);
        let status = us.status().blocking_recv().unwrap();
        assert_eq!(
            (status.vrrp[0].state, status.vrrp[0].counters.become_master),
            (State::Master, 1)
        );
    });
}

#[test]
fn master_of_v3_stops_and_preempts() {
    we_are_master_then_stop_then_preempt(V3);
}

#[test]
fn master_of_v2_with_a_password_stops_and_preempts() {
    we_are_master_then_stop_then_preempt(V2_PASSWORD);
}

#[test]
fn backup_of_v3_takes_over_from_one_that_dies() {
    we_are_backup_until_the_peer_goes(V3, Signal::SIGKILL, V3.master_down(100));
}

#[test]
fn backup_of_v3_takes_over_from_one_that_stops() {
    we_are_backup_until_the_peer_goes(V3, Signal::SIGTERM, V3.skew(100));
}

#[test]
fn backup_of_v2_with_a_password_takes_over_from_one_that_dies() {
    we_are_backup_until_the_peer_goes(V2_PASSWORD, Signal::SIGKILL, V2.master_down(100));
}

/// Our daemon in a process of its own, which can be stopped; killed when the test ends.
struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts it in the namespace of the caller.
    fn start(site: &Site, configuration: &str) -> Self {
        let directory = tempfile::tempdir_in(&site.directory).unwrap().keep();
        let (file, log) = (directory.join("lbd.conf"), directory.join("log"));
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lbd"));
        command.args(["-n", "-l", "-D", "-P", "-f"]).arg(file);
        for (option, name) in [("-p", "pid"), ("-r", "vrrp.pid"), ("--socket", "sock")] {
            command.arg(option).arg(directory.join(name));
        }
        let child = command.stderr(File::create(&log).unwrap()).spawn().unwrap();
        Self { child, log }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_backup_that_was_stopped_leaves_a_healthy_master_alone() {
    with_site(|site| {
        let peer = site.keepalived(&V3.configuration("b", 200));
        site.peer_alone(PATIENCE);
        let us = Daemon::start(site, &V3.configuration("a", 100));
        site.wait(PATIENCE, "we are BACKUP", |_| us.log().contains("BACKUP STATE"));
        for round in 0..10 {
            thread::sleep(V3.interval() * 3);
            us.signal(Signal::SIGSTOP);
            // Longer than a master may be silent, ended at another moment each time.
            thread::sleep(V3.master_down(100) * 2 + Duration::from_millis(7) * round);
            us.signal(Signal::SIGCONT);
        }
        thread::sleep(V3.interval() * 3);
        assert!(!us.log().contains("MASTER STATE"), "{}", us.log());
        // It is no worse for that: the peer goes, and it takes over.
        drop(peer);
        site.wait(V3.master_down(100) + SLACK, "we take over", |site| site.holders()[0]);
    });
}

/// For the calling thread and those that it starts, `nft` hangs from now on.
fn hang_nft(site: &Site) {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    let script = site.directory.path().join("nft");
    fs::write(&script, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    mount(Some(&script), "/usr/sbin/nft", none, MsFlags::MS_BIND, none).unwrap();
}

#[test]
fn an_nft_that_hangs_holds_up_neither_other_instances_nor_status_nor_stop() {
    with_site(|site| {
        let plain = V3.configuration("a", 100);
        let with_vmac = plain.clone()
            + "vrrp_instance VI_2 {\n state BACKUP\n interface a\n virtual_router_id 52\n use_vmac\n \
               priority 100\n advert_int 0.1\n virtual_ipaddress {\n 192.0.2.60/24\n }\n}\n";
        hang_nft(site);
        let us = advertiser(&plain);
        site.we_alone(V3.master_down(100) + SLACK);
        // The virtual MAC of another instance needs nft.
        let applied = us.apply(plan(&with_vmac));
        thread::sleep(Duration::from_millis(100));
        let asked = Instant::now();
        let status = us.status().blocking_recv().unwrap();
        assert_eq!(status.vrrp[0].state, State::Master);
        applied.blocking_recv().unwrap().unwrap();
        // A better peer comes, and we let go.
        let _peer = site.keepalived(&V3.configuration("b", 200));
        site.peer_alone(PATIENCE);
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        let stop = Instant::now();
        us.stop().blocking_recv().unwrap().unwrap();
        assert!(stop.elapsed() < Duration::from_secs(15), "{:?}", stop.elapsed());
    });
}

#[test]
fn what_is_left_of_an_earlier_life_is_removed_or_adopted() {
    with_site(|site| {
        let configuration = V3.configuration("a", 200);
        let mut us = advertiser(&configuration);
        site.we_alone(V3.master_down(200) + SLACK);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        us.fail();
        assert_eq!(runtime.block_on(us.ended()), "asked to fail");
        assert_eq!(us.legacy().masters, ["VI_1".to_owned()].into());
        assert!(site.holders()[0], "a panic leaves the VIP where it is");

        // The next one knows who was MASTER.
        let adopt = us.legacy().masters;
        let (events, _) = EventSink::channel();
        let options = Options { adopt, ..Options::default() };
        let us = Advertiser::start(plan(&configuration), options, events).unwrap();
        let status = us.status().blocking_recv().unwrap();
        assert_eq!(status.vrrp[0].state, State::Master);
        assert!(site.holders()[0]);
        assert_eq!(us.legacy().masters, ["VI_1".to_owned()].into());
        us.fail();
        drop(us);

        // One that knows nothing begins as BACKUP, without the VIP.
        let us = advertiser(&configuration);
        let status = us.status().blocking_recv().unwrap();
        assert_eq!((status.vrrp[0].state, site.holders()[0]), (State::Backup, false));
    });
}

#[test]
fn a_vip_that_somebody_removes_is_back_soon() {
    with_site(|site| {
        let us = advertiser(&V3.configuration("a", 200));
        site.we_alone(V3.master_down(200) + SLACK);
        ip("address del 192.0.2.50/24 dev a");
        site.we_alone(V3.skew(200) + SLACK);
        site.wait(PATIENCE, "it is MASTER again", |_| {
            let status = us.status().blocking_recv().unwrap();
            status.vrrp[0].counters.become_master == 2
        });
    });
}

#[test]
fn a_cut_cable_is_a_fault_and_a_mended_one_is_none() {
    with_site(|site| {
        let us = advertiser(&V3.configuration("a", 200));
        site.we_alone(V3.master_down(200) + SLACK);
        let state = || us.status().blocking_recv().unwrap().vrrp[0].state;
        ip("link set dev a down");
        site.wait(PATIENCE, "FAULT", |site| state() == State::Fault && !site.holders()[0]);
        ip("link set dev a up");
        site.we_alone(PATIENCE);
        assert_eq!(state(), State::Master);
    });
}

/// Two instances whose VIPs share a subnet that the interface has no other address of: the kernel
/// makes the second VIP depend on the first.
fn dependent_instances(both: bool) -> String {
    let instance = |n: u8| {
        format!(
            "vrrp_instance VI_{n} {{\n interface a\n virtual_router_id {n}\n priority 250\n \
             advert_int 0.1\n virtual_ipaddress {{\n 198.51.100.{n}/24\n }}\n}}\n"
        )
    };
    let first = if both { instance(1) } else { String::new() };
    format!("global_defs {{\n vrrp_version 3\n}}\n{first}{}", instance(2))
}

#[test]
fn a_reload_takes_one_vip_away_and_repairs_what_the_kernel_took_with_it() {
    with_site(|site| {
        fs::write("/proc/sys/net/ipv4/conf/all/promote_secondaries", "0").unwrap();
        fs::write("/proc/sys/net/ipv4/conf/a/promote_secondaries", "0").unwrap();
        let vips = |site: &mut Site| {
            let addresses = site.routes[0].addresses().unwrap();
            let ours = addresses.iter().filter(|address| address.ours).map(|a| a.address);
            ours.collect::<Vec<_>>()
        };
        let (first, second) = (IpAddr::from([198, 51, 100, 1]), IpAddr::from([198, 51, 100, 2]));
        let us = advertiser(&dependent_instances(true));
        site.wait(PATIENCE, "both VIPs", |site| vips(site) == [first, second]);
        us.apply(plan(&dependent_instances(false))).blocking_recv().unwrap().unwrap();
        site.wait(PATIENCE, "the second one is back", |site| {
            let status = us.status().blocking_recv().unwrap();
            vips(site) == [second] && status.vrrp[0].counters.become_master == 2
        });
        let status = us.status().blocking_recv().unwrap();
        assert_eq!((status.vrrp.len(), status.vrrp[0].name.as_str()), (1, "VI_2"));
    });
}

#[test]
fn an_interface_that_appears_is_used_and_one_that_vanishes_is_a_fault() {
    with_site(|site| {
        let configuration = V3.configuration("late", 200);
        let configuration = format!("global_defs {{\n dynamic_interfaces\n}}\n{configuration}");
        let us = advertiser(&configuration);
        let status = || us.status().blocking_recv().unwrap().vrrp.remove(0);
        assert_eq!(status().state, State::Fault);
        assert_eq!(status().faults, ["interface late does not exist"]);
        for _ in 0..2 {
            ip("link add name late type veth peer name other");
            ip("link set dev other up");
            ip("address add 192.0.2.1/24 dev late");
            ip("link set dev late up");
            site.wait(PATIENCE, "MASTER", |site| {
                status().state == State::Master && site.holders()[0]
            });
            ip("link del dev late");
            site.wait(PATIENCE, "FAULT", |_| status().state == State::Fault);
        }
    });
}

#[test]
fn vips_stay_at_the_end_when_that_is_asked_for() {
    with_site(|site| {
        let (events, _) = EventSink::channel();
        let options = Options { keep_vips: true, ..Options::default() };
        let plan = plan(&V3.configuration("a", 200));
        let us = Advertiser::start(plan, options, events).unwrap();
        site.we_alone(V3.master_down(200) + SLACK);
        us.stop().blocking_recv().unwrap().unwrap();
        assert!(site.holders()[0]);
    });
}

/// One instance of each further kind: IPv6, and unicast over both families.
fn other_kinds(interface: &str, priority: u8, hosts: [u8; 2]) -> String {
    let [own, peer] = hosts;
    let instance = |n: u8, options: &str, vip: &str| {
        format!(
            "vrrp_instance VI_{n} {{\n interface {interface}\n virtual_router_id {n}\n \
             priority {priority}\n advert_int 0.1\n {options}\n \
             virtual_ipaddress {{\n {vip}\n }}\n}}\n"
        )
    };
    let unicast = |network: &str| {
        format!("unicast_src_ip {network}{own}\n unicast_peer {{\n {network}{peer}\n }}")
    };
    [
        "global_defs {\n vrrp_version 3\n}\n".to_owned(),
        instance(1, "", "2001:db8::51/64"),
        instance(2, &unicast("192.0.2."), "192.0.2.52/24"),
        instance(3, &unicast("2001:db8::"), "2001:db8::53/64"),
    ]
    .concat()
}

#[test]
fn ipv6_and_unicast_are_understood_by_both_sides() {
    with_site(|site| {
        let vips: [IpAddr; 3] =
            ["2001:db8::51", "192.0.2.52", "2001:db8::53"].map(|vip| vip.parse().unwrap());
        let holds = |route: &mut RouteSocket| {
            let addresses = route.addresses().unwrap();
            vips.map(|vip| addresses.iter().any(|address| address.address == vip))
        };
        // Link-local sources exist when duplicate address detection has ended.
        ip("address add 2001:db8::1/64 dev a nodad");
        setns(&site.peers, CloneFlags::CLONE_NEWNET).unwrap();
        ip("address add 2001:db8::2/64 dev b nodad");
        setns(&site.ours, CloneFlags::CLONE_NEWNET).unwrap();
        site.wait(PATIENCE, "link-local addresses", |site| {
            site.routes.iter_mut().all(|route| {
                let addresses = route.addresses().unwrap();
                addresses.iter().all(|address| !address.tentative)
            })
        });
        let peer = site.keepalived(&other_kinds("b", 200, [2, 1]));
        site.wait(PATIENCE, "the peer is MASTER", |site| holds(&mut site.routes[1]) == [true; 3]);
        let us = advertiser(&other_kinds("a", 100, [1, 2]));
        let status = || us.status().blocking_recv().unwrap();
        site.wait(PATIENCE, "the peer is heard", |_| {
            status().vrrp.iter().all(|instance| instance.counters.advert_rcvd >= 5)
        });
        assert!(status().vrrp.iter().all(|instance| instance.state == State::Backup));
        assert_eq!(holds(&mut site.routes[0]), [false; 3]);

        // The peer comes back as BACKUP, lets us be, and takes over when we stop.
        drop(peer);
        site.wait(V3.master_down(100) + SLACK, "we take over", |site| {
            holds(&mut site.routes[0]) == [true; 3]
        });
        let _peer = site.keepalived(&other_kinds("b", 50, [2, 1]));
        site.wait(PATIENCE, "what it left behind is gone", |site| {
            holds(&mut site.routes[1]) == [false; 3]
        });
        let listening = Instant::now() + V3.master_down(50) * 2;
        site.wait(PATIENCE, "it hears us", |site| {
            assert_eq!(holds(&mut site.routes[1]), [false; 3]);
            Instant::now() > listening
        });
        us.stop().blocking_recv().unwrap().unwrap();
        site.wait(PATIENCE, "the peer takes over", |site| holds(&mut site.routes[1]) == [true; 3]);
        assert_eq!(holds(&mut site.routes[0]), [false; 3]);
    });
}
