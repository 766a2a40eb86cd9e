//! State synchronisation: the daemons of the kernel that copy connections to the other director
//! (`lvs_sync_daemon`).
//!
//! What is to run is compared with what runs: at the start, after each change, and once a second. So
//! what a crash has left is gone on with, and what another program has stopped is started again.

mod host;

use lb_config::Model;
use lb_config::model::SyncDaemon;
use lb_control::EventKind;
use lb_control::status::StateSync;
use lb_ipvs::{Daemon, Role};
use tracing::warn;

use super::{DataplaneChoice, Plan};
use crate::engine::EventSink;
use host::Host;

pub(super) use host::Kernel;

/// Audits between two tries of what the kernel has refused: each of them is a line in its log.
const PAUSE: u32 = 30;

/// What a configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    settings: SyncDaemon,
    /// The instance is MASTER, where one decides who sends.
    sends: bool,
}

impl Wanted {
    pub fn of(model: &Model) -> Option<Self> {
        Some(Self { settings: model.sync_daemon()?, sends: false })
    }

    fn id(&self) -> u8 {
        self.settings.id.unwrap_or_default()
    }

    fn roles(&self) -> &'static [Role] {
        match (&self.settings.instance, self.sends) {
            (None, _) => &[Role::Master, Role::Backup],
            (Some(_), true) => &[Role::Master],
            (Some(_), false) => &[Role::Backup],
        }
    }

    fn daemon(&self, role: Role) -> Daemon {
        let SyncDaemon { interface, max_length, port, ttl, group, .. } = &self.settings;
        Daemon {
            role,
            interface: interface.clone(),
            sync_id: self.id().into(),
            max_length: max_length.unwrap_or_default(),
            group: *group,
            port: port.unwrap_or_default(),
            ttl: ttl.unwrap_or_default(),
        }
    }

    /// `the master daemon runs on eth1, id 51`
    fn runs(&self) -> String {
        let who = match self.roles() {
            [role] => format!("the {role} daemon runs"),
            _ => "the master and the backup daemon run".to_owned(),
        };
        format!("{who} on {}, id {}", self.settings.interface, self.id())
    }
}

impl Plan {
    /// Which of the daemons is to run, where an instance decides that.
    #[must_use]
    pub fn sending(mut self, sends: bool) -> Self {
        if let Some(wanted) = &mut self.sync {
            wanted.sends = sends;
        }
        self
    }

    /// Without virtual servers: connections are copied, and nothing else.
    #[must_use]
    pub fn without_servers(mut self) -> Self {
        self.servers.clear();
        self
    }

    /// Connections are not copied.
    #[must_use]
    pub fn without_sync(mut self) -> Self {
        self.sync = None;
        self
    }
}

/// Why the daemons are not as they are wanted.
#[derive(Clone, Debug)]
enum Trouble {
    /// The interface cannot be used as it is. That costs nothing to ask.
    Interface(String),
    /// The kernel refuses.
    Kernel(String),
}

impl From<String> for Trouble {
    fn from(refusal: String) -> Self {
        Self::Kernel(refusal)
    }
}

/// Keeps the daemons as they are wanted.
pub(super) struct Synchroniser<H> {
    open: Box<dyn FnMut() -> Result<H, String>>,
    /// Open once something was wanted.
    host: Option<H>,
    wanted: Option<Wanted>,
    /// What runs as far as we know, each with the index of its interface if we have seen it start.
    known: Vec<(Daemon, Option<u32>)>,
    /// Why not all is as wanted.
    failure: Option<String>,
    /// What was told last.
    told: Option<String>,
    /// So many audits do nothing.
    pause: u32,
    events: EventSink,
}

impl Synchroniser<Kernel> {
    /// Wants nothing yet. Where the relay forwards, its connections are none of the kernel's.
    pub fn new(dataplane: DataplaneChoice, events: EventSink) -> Self {
        let open = move || match dataplane {
            DataplaneChoice::Relay => {
                Err("the connections of dataplane relay cannot be copied; use ipvs".to_owned())
            }
            DataplaneChoice::Auto | DataplaneChoice::Ipvs | DataplaneChoice::None => Kernel::open(),
        };
        Self::with(open, events)
    }
}

impl<H: Host> Synchroniser<H> {
    fn with(open: impl FnMut() -> Result<H, String> + 'static, events: EventSink) -> Self {
        Self {
            open: Box::new(open),
            host: None,
            wanted: None,
            known: Vec::new(),
            failure: None,
            told: None,
            pause: 0,
            events,
        }
    }

    /// Puts what is wanted in force; nothing stops what runs of ours.
    pub fn apply(&mut self, wanted: Option<Wanted>) {
        self.wanted = wanted;
        self.renew();
    }

    /// The instance that decides has become MASTER, or is so no longer.
    pub fn send(&mut self, sends: bool) {
        if let Some(wanted) = self.wanted.as_mut().filter(|wanted| wanted.sends != sends) {
            wanted.sends = sends;
            self.renew();
        }
    }

    /// Repairs what others did and tries again what failed.
    pub fn audit(&mut self) {
        match self.pause.checked_sub(1) {
            Some(rest) => self.pause = rest,
            None => self.renew(),
        }
    }

    /// Stops what runs, without a word.
    pub fn stop(mut self) {
        self.told = None;
        self.apply(None);
    }

    /// Whether there is something to look after.
    pub fn wants_audits(&self) -> bool {
        self.wanted.is_some()
    }

    /// For `lbctl status`.
    pub fn status(&self) -> Option<StateSync> {
        let wanted = self.wanted.as_ref()?;
        Some(StateSync {
            interface: wanted.settings.interface.clone(),
            id: wanted.id(),
            instance: wanted.settings.instance.clone(),
            running: self.known.iter().map(|(daemon, _)| daemon.role.to_string()).collect(),
            failure: self.failure.clone(),
        })
    }

    /// Compares, acts and tells what has become of it.
    fn renew(&mut self) {
        let mut repairs = Vec::new();
        (self.failure, self.pause) = match self.settle(&mut repairs) {
            Ok(()) => (None, 0),
            Err(Trouble::Interface(why)) => (Some(why), 0),
            Err(Trouble::Kernel(why)) => {
                self.host = None; // perhaps it is the socket
                (Some(why), PAUSE)
            }
        };
        let now = match (&self.failure, &self.wanted) {
            (Some(failure), _) => Some(failure.clone()),
            (None, Some(wanted)) => Some(wanted.runs()),
            (None, None) => None,
        };
        let before = std::mem::replace(&mut self.told, now.clone());
        let message = match (before, now) {
            (before, Some(now)) if before.as_ref() != Some(&now) => now,
            (Some(_), None) => "no longer asked for".to_owned(),
            _ if repairs.is_empty() || self.failure.is_some() => return,
            _ => repairs.join("; "),
        };
        self.events.emit(EventKind::StateSync { failed: self.failure.is_some(), message });
    }

    /// Makes what runs what is wanted, and says of what others had changed.
    fn settle(&mut self, repairs: &mut Vec<String>) -> Result<(), Trouble> {
        let Self { open, host, wanted, known, .. } = self;
        let Some(wanted) = wanted else {
            // Those of others, which we never wanted, are none of our business.
            for (daemon, _) in known.drain(..) {
                let opened = match host {
                    Some(host) => Ok(host),
                    None => open().map(|new| host.insert(new)),
                };
                if let Err(error) = opened.and_then(|host| host.stop(daemon.role)) {
                    warn!("state synchronisation: {error}");
                }
            }
            return Ok(());
        };
        let host = match host {
            Some(host) => host,
            None => host.insert(open()?),
        };
        let running = host.daemons()?;
        for daemon in running.iter().filter(|daemon| !wanted.roles().contains(&daemon.role)) {
            host.stop(daemon.role)?;
        }
        known.retain(|(daemon, _)| wanted.roles().contains(&daemon.role));
        let inet6 = wanted.settings.group.is_some_and(|group| group.is_ipv6());
        let interface =
            host.interface(&wanted.settings.interface, inet6).map_err(Trouble::Interface);
        for role in wanted.roles() {
            let want = wanted.daemon(*role);
            let found = running.iter().find(|daemon| daemon.role == *role);
            let before = known.iter().position(|(daemon, _)| daemon.role == *role);
            let before = before.map(|at| known.remove(at));
            let here = interface.as_ref().ok().copied();
            // An interface that was deleted and made again has left its daemon behind, deaf.
            let elsewhere = match (&before, here) {
                (Some((_, Some(then))), Some(now)) => *then != now,
                _ => false,
            };
            let meant = before.as_ref().is_none_or(|(daemon, _)| *daemon == want);
            if meant && !elsewhere && found.is_some_and(|found| found.is_as(&want)) {
                known.push((want, before.and_then(|(_, index)| index).or(here)));
                continue;
            }
            if found.is_some() {
                host.stop(*role)?;
            }
            let index = *interface.as_ref().map_err(Trouble::clone)?;
            host.start(&want)?;
            if meant && before.is_some() && !elsewhere {
                let what = if found.is_some() { "changed" } else { "stopped" };
                repairs.push(format!("the {role} daemon was {what} by another program; repaired"));
            }
            known.push((want, Some(index)));
        }
        interface.map(drop)
    }
}

#[cfg(test)]
mod tests;
