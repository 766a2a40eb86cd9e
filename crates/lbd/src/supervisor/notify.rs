//! Notify scripts: which of them an event runs, in which order, with which arguments.

use std::collections::HashMap;
use std::sync::Arc;

use lb_config::Model;
use lb_config::model::{Notify, Script, VirtualServer};
use lb_control::{EventKind, State};

use crate::names;

/// The scripts of a configuration by what they are about. Who has none is not in it.
#[derive(Debug, Default)]
pub struct Notifications {
    instances: HashMap<String, Notify>,
    /// Those of the configuration before, which the end of an instance runs: another one may have its
    /// name by then.
    before: HashMap<String, Notify>,
    groups: HashMap<String, Notify>,
    /// By name and place: see [`EventKind::RealServer`].
    virtual_servers: HashMap<(String, usize), VirtualScripts>,
}

#[derive(Debug, Default, PartialEq)]
struct VirtualScripts {
    quorum: UpDown,
    real_servers: HashMap<String, UpDown>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct UpDown {
    up: Option<Arc<Script>>,
    down: Option<Arc<Script>>,
}

impl UpDown {
    fn new(up: &Option<Arc<Script>>, down: &Option<Arc<Script>>) -> Self {
        Self { up: up.clone(), down: down.clone() }
    }

    fn script(&self, up: bool) -> Option<&Arc<Script>> {
        if up { self.up.as_ref() } else { self.down.as_ref() }
    }
}

/// A script to run and the arguments to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The script.
    pub script: Arc<Script>,
    /// The arguments.
    pub extra: Vec<String>,
}

impl Run {
    /// The command line, as the log shows it.
    #[must_use]
    pub fn words(&self) -> String {
        [&self.script.argv[..], &self.extra[..]].concat().join(" ")
    }
}

/// What an event is about, for scripts that must hear of one thing after the other. `None` for an event
/// that runs no script.
#[must_use]
pub fn subject(event: &EventKind) -> Option<String> {
    if let Some((name, ..)) = event.instance() {
        return Some(format!("instance {name}"));
    }
    match event {
        EventKind::VrrpGroup { name, .. } => Some(format!("group {name}")),
        // Each advertisement of a lower priority is one: they must not hold up the states.
        EventKind::VrrpMasterRxLowerPri { name, .. } => {
            Some(format!("advertisements that instance {name} hears"))
        }
        EventKind::RealServer { virtual_server, real_server, .. } => {
            Some(format!("real server {real_server} of {virtual_server}"))
        }
        EventKind::Quorum { virtual_server, .. } => {
            Some(format!("virtual server {virtual_server}"))
        }
        _ => None,
    }
}

impl Notifications {
    /// The scripts of a configuration.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        let mut all = Self::default();
        all.update(model);
        all
    }

    /// Takes over a new configuration. What is no longer in it stays known: its engine has yet to
    /// say that it is gone.
    pub fn update(&mut self, model: &Model) {
        self.before.clone_from(&self.instances);
        for instance in &model.vrrp_instances {
            replace(&mut self.instances, &instance.router.name, &instance.router.notify);
        }
        for vhid in model.carp_instances.iter().flat_map(lb_node::Carp::all_of) {
            replace(&mut self.instances, &vhid.name, &vhid.instance.router.notify);
        }
        for group in &model.sync_groups {
            replace(&mut self.groups, &group.name, &group.notify);
        }
        for (name, place, server) in names::virtual_servers(model) {
            // Few have scripts; the others need no name.
            if self.virtual_servers.is_empty() && !has_scripts(server) {
                continue;
            }
            let name = (name.to_string(), place);
            let of_old = self.virtual_servers.remove(&name).unwrap_or_default();
            let mut scripts = VirtualScripts {
                quorum: UpDown::new(&server.quorum_up, &server.quorum_down),
                ..of_old
            };
            for real in &server.real_servers {
                let up_down = UpDown::new(&real.notify_up, &real.notify_down);
                if up_down != UpDown::default() || !scripts.real_servers.is_empty() {
                    let name = names::real_server(server, real.address.ip(), real.address.port());
                    replace(&mut scripts.real_servers, &name, &up_down);
                }
            }
            if scripts != VirtualScripts::default() {
                self.virtual_servers.insert(name, scripts);
            }
        }
    }

    /// What an event runs, in order: the specific script, then the generic one.
    #[must_use]
    pub fn runs(&self, event: &EventKind) -> Vec<Run> {
        if let Some((name, state, priority)) = event.instance() {
            let ends = state == State::Deleted;
            let scripts = if ends { &self.before } else { &self.instances };
            let Some(notify) = scripts.get(name) else { return Vec::new() };
            // As keepalived: who did not ask for DELETED is told of a FAULT, unless it is in FAULT or has
            // not begun, and by the generic script alone.
            if ends && !notify.report_deleted {
                let before = event.state_before();
                let ran = matches!(before, Some(State::Master | State::Backup));
                let told = notify.any.as_ref().filter(|_| ran);
                let run = |script| generic(script, "INSTANCE", name, State::Fault, priority);
                return told.map(run).into_iter().collect();
            }
            return vrrp_runs(notify, "INSTANCE", name, state, priority);
        }
        match event {
            EventKind::VrrpGroup { name, state } => {
                let scripts = self.groups.get(name);
                scripts.map_or_else(Vec::new, |notify| vrrp_runs(notify, "GROUP", name, *state, 0))
            }
            EventKind::VrrpMasterRxLowerPri { name, .. } => {
                let script =
                    self.instances.get(name).and_then(|notify| notify.master_rx_lower_pri.as_ref());
                plain(script)
            }
            EventKind::RealServer { virtual_server, place, real_server, up, .. } => {
                let scripts = self.virtual_servers.get(&(virtual_server.clone(), *place));
                let scripts = scripts.and_then(|scripts| scripts.real_servers.get(real_server));
                plain(scripts.and_then(|scripts| scripts.script(*up)))
            }
            EventKind::Quorum { virtual_server, place, up, .. } => plain(
                self.virtual_servers
                    .get(&(virtual_server.clone(), *place))
                    .and_then(|scripts| scripts.quorum.script(*up)),
            ),
            _ => Vec::new(),
        }
    }
}

fn has_scripts(server: &VirtualServer) -> bool {
    let real_servers = &server.real_servers;
    server.quorum_up.is_some()
        || server.quorum_down.is_some()
        || real_servers.iter().any(|real| real.notify_up.is_some() || real.notify_down.is_some())
}

/// Puts the scripts of `name` in the place of those it had.
fn replace<T: Clone + Default + PartialEq>(all: &mut HashMap<String, T>, name: &str, scripts: &T) {
    if *scripts == T::default() {
        all.remove(name);
    } else {
        all.insert(name.to_owned(), scripts.clone());
    }
}

fn plain(script: Option<&Arc<Script>>) -> Vec<Run> {
    script.map(|script| Run { script: Arc::clone(script), extra: Vec::new() }).into_iter().collect()
}

fn vrrp_runs(notify: &Notify, kind: &str, name: &str, state: State, priority: u8) -> Vec<Run> {
    let specific = match state {
        State::Init => return Vec::new(),
        State::Backup => &notify.backup,
        State::Master => &notify.master,
        State::Fault => &notify.fault,
        State::Stop => &notify.stop,
        State::Deleted => &notify.deleted,
    };
    let any = notify.any.as_ref().map(|script| generic(script, kind, name, state, priority));
    plain(specific.as_ref()).into_iter().chain(any).collect()
}

fn generic(script: &Arc<Script>, kind: &str, name: &str, state: State, priority: u8) -> Run {
    let extra = vec![kind.to_owned(), name.to_owned(), state.to_string(), priority.to_string()];
    Run { script: Arc::clone(script), extra }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(name: &str) -> Option<Arc<Script>> {
        Some(Arc::new(Script::new([name])))
    }

    fn instance(state: State) -> EventKind {
        left(State::Init, state)
    }

    fn left(from: State, state: State) -> EventKind {
        EventKind::VrrpInstance {
            name: "VI_1".into(),
            from,
            state,
            priority: 150,
            reason: String::new(),
        }
    }

    fn notifications(notify: Notify) -> Notifications {
        Notifications {
            instances: HashMap::from([("VI_1".to_owned(), notify.clone())]),
            before: HashMap::from([("VI_1".to_owned(), notify.clone())]),
            groups: HashMap::from([("G".to_owned(), notify)]),
            ..Notifications::default()
        }
    }

    fn words(runs: &[Run]) -> Vec<String> {
        runs.iter().map(Run::words).collect()
    }

    #[test]
    fn the_specific_script_comes_before_the_generic_one() {
        let all =
            notifications(Notify { master: script("m"), any: script("any"), ..Notify::default() });
        assert_eq!(
            words(&all.runs(&instance(State::Master))),
            ["m", "any INSTANCE VI_1 MASTER 150"]
        );
        assert_eq!(words(&all.runs(&instance(State::Backup))), ["any INSTANCE VI_1 BACKUP 150"]);
        assert_eq!(words(&all.runs(&instance(State::Stop))), ["any INSTANCE VI_1 STOP 150"]);
        let group = EventKind::VrrpGroup { name: "G".into(), state: State::Master };
        assert_eq!(words(&all.runs(&group)), ["m", "any GROUP G MASTER 0"]);
    }

    #[test]
    fn the_end_is_told_to_the_generic_script_alone_unless_deleted_is_asked_for() {
        let notify = Notify {
            fault: script("f"),
            deleted: script("d"),
            any: script("any"),
            ..Notify::default()
        };
        let all = notifications(notify.clone());
        let end = |from| words(&all.runs(&left(from, State::Deleted)));
        assert_eq!(end(State::Master), ["any INSTANCE VI_1 FAULT 150"]);
        assert_eq!(end(State::Backup), ["any INSTANCE VI_1 FAULT 150"]);
        assert!(end(State::Fault).is_empty() && end(State::Init).is_empty());
        let all = notifications(Notify { report_deleted: true, ..notify });
        let end = |from| words(&all.runs(&left(from, State::Deleted)));
        for from in [State::Master, State::Fault] {
            assert_eq!(end(from), ["d", "any INSTANCE VI_1 DELETED 150"]);
        }
    }

    #[test]
    fn the_end_runs_the_scripts_that_the_instance_had() {
        use lb_config::model::{VirtualRouter, VrrpInstance};
        let model = |script_name: &str| {
            let notify = Notify { any: script(script_name), ..Notify::default() };
            let router = VirtualRouter { name: "VI_1".into(), notify, ..VirtualRouter::default() };
            Model {
                vrrp_instances: vec![Arc::new(VrrpInstance { router, ..VrrpInstance::default() })],
                ..Model::default()
            }
        };
        let mut all = Notifications::new(&model("old"));
        all.update(&model("new"));
        let told = |state| words(&all.runs(&left(State::Master, state)));
        assert_eq!(told(State::Deleted), ["old INSTANCE VI_1 FAULT 150"]);
        assert_eq!(told(State::Backup), ["new INSTANCE VI_1 BACKUP 150"]);
        // Its name is in no configuration any more, and it has yet to end.
        all.update(&Model::default());
        assert_eq!(
            words(&all.runs(&left(State::Backup, State::Deleted))),
            ["new INSTANCE VI_1 FAULT 150"]
        );
    }

    #[test]
    fn each_vhid_of_a_carp_instance_runs_its_scripts() {
        use lb_config::model::{CarpInstance, CarpNode, VirtualRouter};
        let router = |name: &str| VirtualRouter {
            name: name.into(),
            notify: Notify { any: script("any"), ..Notify::default() },
            ..VirtualRouter::default()
        };
        let node = |vhid| CarpNode { vhid, advskew: 0 };
        let plain = CarpInstance { router: router("C_1"), ..CarpInstance::default() };
        let balanced = CarpInstance {
            router: router("C_2"),
            nodes: vec![node(5), node(6)],
            ..CarpInstance::default()
        };
        let all = Notifications::new(&Model {
            carp_instances: vec![Arc::new(plain), Arc::new(balanced)],
            ..Model::default()
        });
        let enters = |name: &str| EventKind::CarpInstance {
            name: name.into(),
            interface: "eth0".into(),
            vhid: 5,
            from: State::Backup,
            state: State::Master,
            priority: 254,
            reason: "master timed out".into(),
        };
        assert_eq!(words(&all.runs(&enters("C_1"))), ["any INSTANCE C_1 MASTER 254"]);
        assert_eq!(words(&all.runs(&enters("C_2:6"))), ["any INSTANCE C_2:6 MASTER 254"]);
        assert!(all.runs(&enters("C_2")).is_empty());
    }

    #[test]
    fn nothing_is_said_of_init_or_of_strangers() {
        let all = notifications(Notify { any: script("any"), ..Notify::default() });
        assert!(all.runs(&instance(State::Init)).is_empty());
        assert!(Notifications::default().runs(&instance(State::Master)).is_empty());
    }
}
