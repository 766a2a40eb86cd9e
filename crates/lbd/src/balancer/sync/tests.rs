//! The daemons in a kernel made of plain values.

use std::cell::RefCell;
use std::rc::Rc;

use lb_config::{MemorySystem, Options, parse_str};
use lb_control::Event;

use super::*;

/// What the kernel has, and what was asked of it.
#[derive(Debug)]
struct World {
    running: Vec<Daemon>,
    interface: Result<u32, String>,
    refuses: bool,
    /// `+master eth1 5`, `-backup`
    log: Vec<String>,
}

#[derive(Clone)]
struct Fake(Rc<RefCell<World>>);

impl Host for Fake {
    fn daemons(&mut self) -> Result<Vec<Daemon>, String> {
        Ok(self.0.borrow().running.clone())
    }

    fn start(&mut self, daemon: &Daemon) -> Result<(), String> {
        let mut world = self.0.borrow_mut();
        world.log.push(format!("+{} {} {}", daemon.role, daemon.interface, daemon.sync_id));
        assert!(world.running.iter().all(|other| other.role != daemon.role), "EEXIST");
        if world.refuses {
            return Err("refused".to_owned());
        }
        // As the kernel: what is left to it, it fills in.
        let mut daemon = daemon.clone();
        daemon.group.get_or_insert([224, 0, 0, 81].into());
        daemon.max_length = if daemon.max_length == 0 { 1472 } else { daemon.max_length };
        daemon.port = if daemon.port == 0 { 8848 } else { daemon.port };
        daemon.ttl = daemon.ttl.max(1);
        world.running.push(daemon);
        Ok(())
    }

    fn stop(&mut self, role: Role) -> Result<(), String> {
        let mut world = self.0.borrow_mut();
        world.log.push(format!("-{role}"));
        world.running.retain(|daemon| daemon.role != role);
        Ok(())
    }

    fn interface(&mut self, _: &str, _: bool) -> Result<u32, String> {
        self.0.borrow().interface.clone()
    }
}

struct Scene {
    world: Rc<RefCell<World>>,
    synchroniser: Synchroniser<Fake>,
    events: crate::mailbox::Inbox<Event>,
}

impl Scene {
    fn new() -> Self {
        let world =
            World { running: Vec::new(), interface: Ok(7), refuses: false, log: Vec::new() };
        Self::over(Rc::new(RefCell::new(world)))
    }

    /// A new engine over the same kernel.
    fn over(world: Rc<RefCell<World>>) -> Self {
        let (sink, events) = EventSink::channel();
        let fake = Fake(Rc::clone(&world));
        let synchroniser = Synchroniser::with(move || Ok(fake.clone()), sink);
        Self { world, synchroniser, events }
    }

    fn apply(&mut self, line: &str) {
        self.synchroniser.apply(wanted(line));
    }

    /// What was asked of the kernel, and what was told, since the last time.
    fn story(&mut self) -> (Vec<String>, Vec<String>) {
        let told = std::iter::from_fn(|| Some(self.events.try_recv().ok()?.kind.to_string()));
        (std::mem::take(&mut self.world.borrow_mut().log), told.collect())
    }

    fn asked(&mut self) -> Vec<String> {
        self.story().0
    }
}

/// Of a line of `global_defs`, with an instance of VRID 51.
fn wanted(line: &str) -> Option<Wanted> {
    let text = format!(
        "global_defs {{\n{line}\n}}\nvrrp_instance VI {{\ninterface eth0\nvirtual_router_id 51\npriority 100\n\
         virtual_ipaddress {{\n192.0.2.1\n}}\n}}\n"
    );
    let loaded = parse_str("test.conf", &text, &Options::default(), &MemorySystem::default());
    Wanted::of(&loaded.model.expect("a model"))
}

const BOTH: &str = "lvs_sync_daemon eth1";
const BY_INSTANCE: &str = "lvs_sync_daemon eth1 inst VI";

#[test]
fn without_an_instance_both_run_and_a_stop_ends_both() {
    let mut scene = Scene::new();
    scene.apply(BOTH);
    let (asked, told) = scene.story();
    assert_eq!(asked, ["+master eth1 0", "+backup eth1 0"]);
    let runs = "state synchronisation: the master and the backup daemon run on eth1, id 0";
    assert_eq!(told, [runs]);
    scene.synchroniser.audit();
    scene.synchroniser.send(true);
    assert_eq!(scene.story(), (Vec::new(), Vec::new()));
    let Scene { world, synchroniser, .. } = scene;
    synchroniser.stop();
    assert_eq!(world.borrow().log, ["-master", "-backup"]);
}

#[test]
fn an_instance_decides_which_one_runs_and_gives_its_number() {
    let mut scene = Scene::new();
    scene.apply(BY_INSTANCE);
    assert_eq!(scene.asked(), ["+backup eth1 51"]);
    scene.synchroniser.send(true);
    let (asked, told) = scene.story();
    assert_eq!(asked, ["-backup", "+master eth1 51"]);
    assert_eq!(told, ["state synchronisation: the master daemon runs on eth1, id 51"]);
    scene.synchroniser.send(true);
    assert_eq!(scene.asked(), [""; 0]);
    scene.synchroniser.send(false);
    assert_eq!(scene.asked(), ["-master", "+backup eth1 51"]);
    let status = scene.synchroniser.status().unwrap();
    assert_eq!((status.running, status.id, status.failure), (vec!["backup".to_owned()], 51, None));
}

#[test]
fn a_reload_restarts_what_it_changes_and_no_more() {
    let mut scene = Scene::new();
    scene.apply(BOTH);
    scene.asked();
    for (line, asked) in [
        (BOTH, &[][..]),
        // The same, said in full; the kernel need not hear of it, but it costs nothing either.
        ("lvs_sync_daemon eth1 id 0", &[]),
        ("lvs_sync_daemon eth1 id 3", &["-master", "+master eth1 3", "-backup", "+backup eth1 3"]),
        ("lvs_sync_daemon eth1 inst VI id 3", &["-master"]),
        ("lvs_sync_daemon eth1 inst VI id 3 maxlen 900", &["-backup", "+backup eth1 3"]),
        ("lvs_sync_daemon eth1 inst VI id 3", &["-backup", "+backup eth1 3"]),
        ("lvs_sync_daemon eth2 inst VI id 3", &["-backup", "+backup eth2 3"]),
        ("", &["-backup"]),
        ("", &[]),
    ] {
        scene.apply(line);
        assert_eq!(scene.asked(), asked, "{line}");
    }
}

#[test]
fn what_a_crash_has_left_is_taken_over_if_it_is_as_wanted() {
    let mut scene = Scene::new();
    scene.apply(BY_INSTANCE);
    scene.synchroniser.send(true);
    let world = Rc::clone(&scene.world);
    drop(scene);
    world.borrow_mut().log.clear();
    let mut scene = Scene::over(Rc::clone(&world));
    let mut master = wanted(BY_INSTANCE).unwrap();
    master.sends = true;
    scene.synchroniser.apply(Some(master));
    assert_eq!(scene.asked(), [""; 0]);
    // The settings have changed meanwhile, or it is BACKUP after its start.
    let mut scene = Scene::over(Rc::clone(&world));
    scene.apply("lvs_sync_daemon eth1 inst VI id 9");
    assert_eq!(scene.asked(), ["-master", "+backup eth1 9"]);
    let mut scene = Scene::over(world);
    scene.apply("lvs_sync_daemon eth1 inst VI id 9 ttl 3");
    assert_eq!(scene.asked(), ["-backup", "+backup eth1 9"]);
}

#[test]
fn those_of_others_are_left_alone_where_none_is_configured() {
    let mut scene = Scene::new();
    let other = Daemon { role: Role::Master, ..wanted(BOTH).unwrap().daemon(Role::Master) };
    scene.world.borrow_mut().running.push(other);
    scene.apply("");
    scene.synchroniser.audit();
    assert_eq!(scene.story(), (Vec::new(), Vec::new()));
    assert!(!scene.synchroniser.wants_audits() && scene.synchroniser.status().is_none());
}

#[test]
fn what_others_do_is_repaired_and_told() {
    let mut scene = Scene::new();
    scene.apply(BY_INSTANCE);
    scene.story();
    scene.world.borrow_mut().running.clear();
    scene.synchroniser.audit();
    let (asked, told) = scene.story();
    assert_eq!(asked, ["+backup eth1 51"]);
    let repaired =
        "state synchronisation: the backup daemon was stopped by another program; repaired";
    assert_eq!(told, [repaired]);
    scene.world.borrow_mut().running[0].sync_id = 8;
    scene.synchroniser.audit();
    let (asked, told) = scene.story();
    assert_eq!(asked, ["-backup", "+backup eth1 51"]);
    assert!(told[0].contains("changed by another program"), "{told:?}");
}

#[test]
fn without_its_interface_it_has_failed_until_that_is_there() {
    let mut scene = Scene::new();
    scene.world.borrow_mut().interface = Err("there is no interface eth1".to_owned());
    scene.apply(BOTH);
    scene.synchroniser.audit();
    let (asked, told) = scene.story();
    assert_eq!(asked, [""; 0], "the kernel would complain in its log");
    assert_eq!(told, ["state synchronisation has failed: there is no interface eth1"]);
    scene.world.borrow_mut().interface = Ok(3);
    scene.synchroniser.audit();
    assert_eq!(scene.asked(), ["+master eth1 0", "+backup eth1 0"]);
    // While it is down the daemons stay, and are of no use.
    scene.world.borrow_mut().interface = Err("interface eth1 is down".to_owned());
    scene.synchroniser.audit();
    let (asked, told) = scene.story();
    assert_eq!((asked, told.len()), (Vec::new(), 1));
    let status = scene.synchroniser.status().unwrap();
    assert_eq!(status.running, ["master", "backup"]);
    assert_eq!(status.failure.as_deref(), Some("interface eth1 is down"));
    // Another interface of the same name: the old daemons hear nothing.
    scene.world.borrow_mut().interface = Ok(4);
    scene.synchroniser.audit();
    let (asked, told) = scene.story();
    assert_eq!(asked, ["-master", "+master eth1 0", "-backup", "+backup eth1 0"]);
    assert_eq!(told.len(), 1);
}

#[test]
fn what_is_refused_is_not_tried_every_second_but_at_every_change() {
    let mut scene = Scene::new();
    scene.world.borrow_mut().refuses = true;
    scene.apply(BY_INSTANCE);
    assert_eq!(scene.story().1, ["state synchronisation has failed: refused"]);
    for _ in 0..PAUSE {
        scene.synchroniser.audit();
    }
    assert_eq!(scene.story(), (Vec::new(), Vec::new()));
    scene.synchroniser.audit();
    assert_eq!(scene.asked(), ["+backup eth1 51"]);
    scene.synchroniser.send(true);
    assert_eq!(scene.asked(), ["+master eth1 51"]);
    scene.world.borrow_mut().refuses = false;
    scene.apply(BY_INSTANCE);
    assert_eq!(scene.story().1, ["state synchronisation: the backup daemon runs on eth1, id 51"]);
}

#[test]
fn the_old_form_in_an_instance_is_the_same_with_id_0() {
    let text = "vrrp_instance VI {\ninterface eth0\nlvs_sync_daemon_interface eth5\nvirtual_router_id 51\n\
                priority 100\nvirtual_ipaddress {\n192.0.2.1\n}\n}\n";
    let loaded = parse_str("test.conf", text, &Options::default(), &MemorySystem::default());
    let wanted = Wanted::of(&loaded.model.expect("a model")).expect("one");
    assert_eq!(wanted.runs(), "the backup daemon runs on eth5, id 0");
}
