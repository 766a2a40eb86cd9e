//! Everything that happens: one name, one JSON shape and one log line each.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::status::Conflict;

/// Something that happened, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Wall clock.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// State of a VRRP or CARP instance or of a sync group, in the field's words.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// Not started.
    #[default]
    Init,
    /// Listens.
    Backup,
    /// Holds the VIPs.
    Master,
    /// Cannot take part.
    Fault,
    /// Ended by an orderly stop; seen in notifications only.
    Stop,
    /// Removed by a reload; seen in notifications only.
    Deleted,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Init => "INIT",
            Self::Backup => "BACKUP",
            Self::Master => "MASTER",
            Self::Fault => "FAULT",
            Self::Stop => "STOP",
            Self::Deleted => "DELETED",
        })
    }
}

/// What happened. `Display` gives the log line, in keepalived's wording where it has one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A VRRP instance entered a state.
    VrrpInstance {
        /// Name in the configuration.
        name: String,
        /// The state before.
        #[serde(default)]
        from: State,
        /// The state entered.
        state: State,
        /// Effective priority at that moment.
        priority: u8,
        /// Why, in words; empty when nothing is known.
        #[serde(default)]
        reason: String,
    },
    /// A CARP instance entered a state.
    CarpInstance {
        /// Name in the configuration.
        name: String,
        /// Its interface.
        interface: String,
        /// Its vhid.
        vhid: u8,
        /// The state left.
        from: State,
        /// The state entered.
        state: State,
        /// What scripts are told for a priority: 254 less the advskew it advertises.
        priority: u8,
        /// Why, in words.
        reason: String,
    },
    /// The demotion counter of a group of CARP instances changed.
    CarpDemotion {
        /// Name of the group.
        group: String,
        /// By how much.
        by: i32,
        /// The counter now.
        demotion: i32,
        /// Why, in words.
        reason: String,
    },
    /// Something on the wire is not as it should be, or is again.
    Conflict {
        /// Name of the instance.
        name: String,
        /// It began, or it is over.
        began: bool,
        /// What, and what to do.
        conflict: Conflict,
    },
    /// A sync group entered a state.
    VrrpGroup {
        /// Name in the configuration.
        name: String,
        /// The state entered.
        state: State,
    },
    /// The effective priority of an instance changed.
    VrrpPriority {
        /// Name in the configuration.
        name: String,
        /// Before.
        from: u8,
        /// Now.
        to: u8,
    },
    /// A backup heard no advertisement that it respects for its Master_Down_Interval.
    VrrpAdvertTimeout {
        /// Name in the configuration.
        name: String,
    },
    /// A master heard a better one: of a higher priority, or of its own priority with a higher
    /// address.
    VrrpMasterRxHigherPri {
        /// Name in the configuration.
        name: String,
        /// Address of the sender.
        from: String,
        /// Its priority.
        priority: u8,
        /// The priority of this instance.
        ours: u8,
    },
    /// A master heard an advertisement of a lower priority.
    VrrpMasterRxLowerPri {
        /// Name in the configuration.
        name: String,
        /// Address of the sender.
        from: String,
        /// Its priority.
        priority: u8,
        /// The priority of this instance.
        #[serde(default)]
        ours: u8,
    },
    /// A backup that preempts heard an advertisement of a lower priority. Told at most twice an
    /// advertisement interval.
    VrrpBackupRxLowerPri {
        /// Name in the configuration.
        name: String,
        /// Address of the sender.
        from: String,
        /// Its priority.
        priority: u8,
    },
    /// A backup heard that the master stops (priority 0).
    VrrpBackupRxStop {
        /// Name in the configuration.
        name: String,
    },
    /// An instance said that it stops (priority 0).
    VrrpTxStop {
        /// Name in the configuration.
        name: String,
    },
    /// A master advertised late by an interval or more: the machine did not run it in time. Said
    /// once a second at most, of one instance.
    VrrpLate {
        /// Name in the configuration.
        name: String,
        /// How late, in milliseconds.
        late_ms: u64,
        /// How often it advertises, in milliseconds.
        interval_ms: u64,
    },
    /// The timer that would have made a backup MASTER came late by an interval or more: this host
    /// stood still, and the backup listens again before it takes over. Said once a second at most,
    /// of one instance.
    VrrpListensAgain {
        /// Name in the configuration.
        name: String,
        /// How late, in milliseconds.
        late_ms: u64,
        /// How long it listens, in milliseconds.
        listens_ms: u64,
    },
    /// Packets of one kind of error began to arrive; said once until the state changes.
    VrrpPacketError {
        /// Name in the configuration.
        name: String,
        /// Address of the sender.
        from: String,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// The same of a CARP instance.
    CarpPacketError {
        /// Name in the configuration.
        name: String,
        /// Address of the sender.
        from: String,
        /// How much it matters: 4 to 7, as in `syslog(3)` and `carp_log`.
        severity: u8,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// A tracked script changed its verdict.
    Script {
        /// Name in the configuration.
        name: String,
        /// Whether it succeeds now.
        up: bool,
    },
    /// A tracked file puts an instance into FAULT, or does so no longer.
    TrackedFile {
        /// Name of the instance.
        name: String,
        /// Name of the file in the configuration.
        file: String,
        /// Whether it is a fault now.
        fault: bool,
    },
    /// Tracked processes gained or lost their quorum.
    Process {
        /// Name in the configuration.
        name: String,
        /// Gained.
        up: bool,
    },
    /// A link or an address that instances depend on came or went.
    Interface {
        /// Name of the interface.
        name: String,
        /// Whether it is usable now.
        up: bool,
    },
    /// A checker changed its verdict.
    Checker {
        /// As in [`EventKind::RealServer`].
        virtual_server: String,
        /// As in [`EventKind::RealServer`].
        real_server: String,
        /// `TCP_CHECK`, `HTTP_GET`, ...
        kind: String,
        /// The script of a `MISC_CHECK`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        script: Option<String>,
        /// The new verdict.
        up: bool,
        /// How often it was tried again before it counted as failed.
        #[serde(default)]
        attempts: u32,
        /// How often it would be tried again at most.
        #[serde(default)]
        retry: u32,
        /// What it saw, such as `connection refused`.
        reason: String,
    },
    /// A real server came into or went out of service.
    RealServer {
        /// `[192.0.2.1]:tcp:80`, `[GROUP]:N` or `FWM n`.
        virtual_server: String,
        /// Number of virtual servers of this name before it in the file: a mark may be served in both
        /// families, and a block may be repeated.
        #[serde(default, skip_serializing_if = "is_first")]
        place: usize,
        /// `[10.0.0.1]:tcp:80`.
        real_server: String,
        /// In service.
        up: bool,
        /// `inhibit_on_failure`: it stays in the table with weight 0 instead.
        #[serde(default)]
        inhibit: bool,
        /// It was not up yet: its first check has failed, and it stays down.
        #[serde(default)]
        first: bool,
    },
    /// A virtual server gained or lost its quorum.
    Quorum {
        /// As in [`EventKind::RealServer`].
        virtual_server: String,
        /// As in [`EventKind::RealServer`].
        #[serde(default, skip_serializing_if = "is_first")]
        place: usize,
        /// Gained.
        up: bool,
        /// Sum of the weights of the real servers in service.
        weight: u64,
        /// What it is compared with.
        quorum: u64,
        /// And how far the weight must be above it to gain it, below it to lose it.
        #[serde(default)]
        hysteresis: u64,
        /// It is so from the start.
        #[serde(default)]
        start: bool,
    },
    /// The sorry server began or ceased to serve.
    SorryServer {
        /// As in [`EventKind::RealServer`].
        virtual_server: String,
        /// `[10.0.0.9]:tcp:80`.
        #[serde(default)]
        sorry_server: String,
        /// It serves.
        active: bool,
        /// `sorry_server_inhibit`: it has weight 0 while it does not.
        #[serde(default)]
        inhibit: bool,
    },
    /// The forwarding table of the kernel was changed behind our back and repaired.
    TableRepaired {
        /// How many entries.
        changes: usize,
    },
    /// Connections are copied to the other director in another way than before, or no longer.
    StateSync {
        /// Not as the configuration asks for.
        failed: bool,
        /// What runs, or what is wrong, in words.
        message: String,
    },
    /// The dataplane refused an entry.
    DataplaneError {
        /// Which, what, why and what to do.
        message: String,
    },
    /// An engine panicked and was started again.
    EngineRestarted {
        /// `advertiser` or `balancer`.
        engine: String,
        /// The panic's message.
        reason: String,
    },
    /// A reload is in force.
    Reloaded {
        /// The file.
        config: String,
    },
    /// A reload was refused; the old configuration runs on.
    ReloadRefused {
        /// The file.
        config: String,
        /// The first error, with file, line and column.
        reason: String,
    },
}

impl EventKind {
    /// Of a VRRP or CARP instance that entered a state: the state that it was in before.
    #[must_use]
    pub fn state_before(&self) -> Option<State> {
        match self {
            Self::VrrpInstance { from, .. } | Self::CarpInstance { from, .. } => Some(*from),
            _ => None,
        }
    }

    /// Of a VRRP or CARP instance that entered a state: its name, the state and its priority.
    #[must_use]
    pub fn instance(&self) -> Option<(&str, State, u8)> {
        match self {
            Self::VrrpInstance { name, state, priority, .. }
            | Self::CarpInstance { name, state, priority, .. } => Some((name, *state, *priority)),
            _ => None,
        }
    }
}

impl EventKind {
    /// Of an event about CARP: the smallest `carp_log` with which it is logged, as
    /// `net.inet.carp.log` of OpenBSD has it (`carp(4)`).
    #[must_use]
    pub fn carp_severity(&self) -> Option<u8> {
        match self {
            Self::CarpInstance { from, state, .. } => {
                Some(if [*from, *state].contains(&State::Init) { 4 } else { 2 })
            }
            Self::CarpDemotion { .. } => Some(3),
            Self::CarpPacketError { severity, .. } => Some(*severity),
            _ => None,
        }
    }
}

impl EventKind {
    /// The second line of an event that has two in the log: with a sorry server, the real servers
    /// that are alive leave the pool or come back.
    #[must_use]
    pub fn second_line(&self) -> Option<String> {
        let Self::SorryServer { virtual_server, active, .. } = self else { return None };
        let what = if *active { "Removing alive servers from" } else { "Adding alive servers to" };
        Some(format!("{what} the pool for VS {virtual_server}"))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_first(place: &usize) -> bool {
    *place == 0
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VrrpInstance { name, state, reason, .. } => {
                match state {
                    State::Stop => write!(f, "({name}) Stopped"),
                    State::Deleted => write!(f, "({name}) Deleted"),
                    state => write!(f, "({name}) Entering {state} STATE"),
                }?;
                if reason.is_empty() { Ok(()) } else { write!(f, " ({reason})") }
            }
            Self::CarpInstance { interface, vhid, from, state, reason, .. } => {
                write!(f, "carp: {vhid}@{interface}: {from} -> {state} ({reason})")
            }
            Self::CarpDemotion { group, by, demotion, reason } => {
                let (what, by) = if *by < 0 { ("promoted", -by) } else { ("demoted", *by) };
                write!(f, "carp: {what} group {group} by {by} to {demotion} ({reason})")
            }
            Self::Conflict { name, began: true, conflict } => {
                write!(f, "({name}) {}: {}", conflict.verdict, conflict.remedy)
            }
            Self::Conflict { name, began: false, conflict } => {
                write!(f, "({name}) no more: {}", conflict.verdict)
            }
            Self::VrrpGroup { name, state } => match state {
                State::Stop => write!(f, "VRRP_Group({name}) Stopped"),
                state => write!(f, "VRRP_Group({name}) Syncing instances to {state} state"),
            },
            Self::VrrpPriority { name, from, to } => {
                write!(f, "({name}) Changing effective priority from {from} to {to}")
            }
            Self::VrrpAdvertTimeout { name } => {
                write!(f, "({name}) Receive advertisement timeout")
            }
            Self::VrrpMasterRxHigherPri { name, from, priority, ours } if priority == ours => {
                write!(
                    f,
                    "({name}) Master received advert from {from} with same priority {priority} but \
                 higher IP address than ours"
                )
            }
            Self::VrrpMasterRxHigherPri { name, from, priority, ours } => write!(
                f,
                "({name}) Master received advert from {from} with higher priority {priority}, \
                 ours {ours}"
            ),
            Self::VrrpMasterRxLowerPri { name, from, priority, ours } => write!(
                f,
                "({name}) Received advert from {from} with lower priority {priority}, ours {ours}"
            ),
            Self::VrrpBackupRxLowerPri { name, from, priority } => write!(
                f,
                "({name}) received lower priority ({priority}) advert from {from} - discarding"
            ),
            Self::VrrpBackupRxStop { name } => {
                write!(f, "({name}) Backup received priority 0 advertisement")
            }
            Self::VrrpTxStop { name } => write!(f, "({name}) sent 0 priority"),
            Self::VrrpLate { name, late_ms, interval_ms } => write!(
                f,
                "({name}) advertises {late_ms} ms late, with an interval of {interval_ms} ms: the machine did \
                 not run lbd in time, and a peer may have taken over; give the machine more CPU, or lbd a \
                 priority with vrrp_rt_priority"
            ),
            Self::VrrpListensAgain { name, late_ms, listens_ms } => write!(
                f,
                "({name}) would take over {late_ms} ms late: the machine did not run lbd in time, and silence \
                 says nothing of the master; it listens for {listens_ms} ms first"
            ),
            Self::VrrpPacketError { name, from, reason }
            | Self::CarpPacketError { name, from, reason, .. } => {
                write!(f, "({name}) advertisement from {from}: {reason}")
            }
            Self::Script { name, up } => {
                write!(f, "VRRP_Script({name}) {}", if *up { "succeeded" } else { "failed" })
            }
            Self::TrackedFile { name, file, fault } => {
                let verb = if *fault { "now" } else { "leaving" };
                write!(f, "({name}): tracked file {file} {verb} FAULT state")
            }
            Self::Process { name, up } => {
                write!(
                    f,
                    "Quorum {} for tracked process {name}",
                    if *up { "gained" } else { "lost" }
                )
            }
            Self::Interface { name, up } => {
                write!(f, "Netlink reports {name} {}", if *up { "up" } else { "down" })
            }
            Self::Checker {
                virtual_server,
                real_server,
                kind,
                script,
                up,
                attempts,
                retry,
                reason,
            } => {
                let script = script.as_deref();
                let lines = CheckerLines { virtual_server, real_server, kind, script };
                if *up { lines.success(f) } else { lines.failure(f, *attempts, *retry, reason) }
            }
            Self::RealServer { virtual_server, real_server, first: true, .. } => {
                write!(
                    f,
                    "service {real_server} of VS {virtual_server} stays down: its first check failed"
                )
            }
            Self::RealServer { virtual_server, real_server, up, inhibit, .. } => {
                let (verb, preposition) = match (up, inhibit) {
                    (true, false) => ("Adding", "to"),
                    (false, false) => ("Removing", "from"),
                    (true, true) => ("Enabling", "of"),
                    (false, true) => ("Disabling", "of"),
                };
                write!(f, "{verb} service {real_server} {preposition} VS {virtual_server}")
            }
            // Weight needed on the left of the comparison, weight there is on the right.
            Self::Quorum { virtual_server, up: true, weight, quorum, hysteresis, .. } => write!(
                f,
                "Gained quorum {quorum}+{hysteresis}={} <= {weight} for VS {virtual_server}",
                quorum + hysteresis
            ),
            Self::Quorum {
                virtual_server, up: false, weight, quorum, hysteresis, start, ..
            } => {
                write!(
                    f,
                    "{} {quorum}-{hysteresis}={} > {weight} for VS {virtual_server}",
                    if *start { "Starting with quorum down" } else { "Lost quorum" },
                    quorum.saturating_sub(*hysteresis)
                )
            }
            Self::SorryServer { virtual_server, sorry_server, active, inhibit } => {
                let verb = match (active, inhibit) {
                    (true, false) => "Adding",
                    (false, false) => "Removing",
                    (true, true) => "Enabling",
                    (false, true) => "Disabling",
                };
                let preposition = if *active { "to" } else { "from" };
                write!(f, "{verb} sorry server {sorry_server} {preposition} VS {virtual_server}")
            }
            Self::TableRepaired { changes } => write!(
                f,
                "the forwarding table was changed by another program; repaired {changes} entries"
            ),
            Self::StateSync { failed: false, message } => {
                write!(f, "state synchronisation: {message}")
            }
            Self::StateSync { failed: true, message } => {
                write!(f, "state synchronisation has failed: {message}")
            }
            Self::DataplaneError { message } => f.write_str(message),
            Self::EngineRestarted { engine, reason } => {
                write!(f, "the {engine} failed and was started again: {reason}")
            }
            Self::Reloaded { config } => write!(f, "Reload complete: {config} is in force"),
            Self::ReloadRefused { config, reason } => {
                write!(f, "reload of {config} refused, the old configuration runs on: {reason}")
            }
        }
    }
}

/// The lines of checkers, in keepalived's wording with our reason behind it.
struct CheckerLines<'e> {
    virtual_server: &'e str,
    real_server: &'e str,
    kind: &'e str,
    script: Option<&'e str>,
}

impl CheckerLines<'_> {
    fn success(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { virtual_server, real_server, kind, script } = self;
        match (*kind, script) {
            ("TCP_CHECK", _) => write!(f, "TCP connection to {real_server} success."),
            ("HTTP_GET" | "SSL_GET", _) => {
                write!(f, "Remote Web server {real_server} succeed on service.")
            }
            (_, Some(script)) => write!(
                f,
                "Misc check for [{real_server} VS {virtual_server}] by [{script}] succeeded."
            ),
            (kind, None) => write!(f, "{kind} on service {real_server} success."),
        }
    }

    fn failure(
        &self,
        f: &mut fmt::Formatter<'_>,
        attempts: u32,
        retry: u32,
        reason: &str,
    ) -> fmt::Result {
        let Self { virtual_server, real_server, kind, script } = self;
        if let Some(script) = script {
            let whose = format_args!("[{real_server} VS {virtual_server}] by [{script}]");
            write!(f, "Misc check for {whose} failed")?;
            match (attempts, retry) {
                (0, 0) => write!(f, " with retry disabled")?,
                // keepalived counts retries here that were not made.
                (0, _) => {}
                (1, _) => write!(f, " after 1 retry")?,
                (more, _) => write!(f, " after {more} retries")?,
            }
            return write!(f, " ({reason}).");
        }
        let kind = match *kind {
            "HTTP_GET" => "HTTP_CHECK",
            "SSL_GET" => "SSL_CHECK",
            kind => kind,
        };
        write!(f, "{kind} on service {real_server} failed")?;
        if attempts > 0 {
            write!(f, " after {attempts} retries")?;
        }
        write!(f, ". ({reason})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_checks_are_keepaliveds() {
        let script = |attempts, retry| EventKind::Checker {
            virtual_server: "[192.0.2.1]:tcp:80".into(),
            real_server: "[127.0.0.1]:tcp:8082".into(),
            kind: "MISC_CHECK".into(),
            script: Some("/tmp/misc.sh".into()),
            up: false,
            attempts,
            retry,
            reason: "exited with status 1".into(),
        };
        let line = |attempts, retry| script(attempts, retry).to_string();
        let whose =
            "Misc check for [[127.0.0.1]:tcp:8082 VS [192.0.2.1]:tcp:80] by [/tmp/misc.sh] failed";
        let why = "(exited with status 1).";
        assert_eq!(line(0, 0), format!("{whose} with retry disabled {why}"));
        assert_eq!(line(1, 1), format!("{whose} after 1 retry {why}"));
        assert_eq!(line(2, 2), format!("{whose} after 2 retries {why}"));
        // A first check that fails is not tried again, so there is no count to tell.
        assert_eq!(line(0, 2), format!("{whose} {why}"));
        assert_eq!(script(0, 0).second_line(), None);

        let sorry = |active| EventKind::SorryServer {
            virtual_server: "FWM 9".into(),
            sorry_server: "[127.0.0.1]:none:9999".into(),
            active,
            inhibit: true,
        };
        let lines = |active| (sorry(active).to_string(), sorry(active).second_line().unwrap());
        let enabled = "Enabling sorry server [127.0.0.1]:none:9999 to VS FWM 9";
        let disabled = "Disabling sorry server [127.0.0.1]:none:9999 from VS FWM 9";
        let removing = "Removing alive servers from the pool for VS FWM 9";
        let adding = "Adding alive servers to the pool for VS FWM 9";
        assert_eq!(lines(true), (enabled.to_owned(), removing.to_owned()));
        assert_eq!(lines(false), (disabled.to_owned(), adding.to_owned()));
    }

    #[test]
    fn changes_of_role_matter_more_than_beginnings() {
        let enters = |from, state| EventKind::CarpInstance {
            name: "C_1".into(),
            interface: "eth0".into(),
            vhid: 1,
            from,
            state,
            priority: 254,
            reason: "master timed out".into(),
        };
        assert_eq!(enters(State::Backup, State::Master).carp_severity(), Some(2));
        assert_eq!(enters(State::Init, State::Backup).carp_severity(), Some(4));
        assert_eq!(enters(State::Master, State::Fault).carp_severity(), Some(2));
        let (name, state, reason) = ("V".into(), State::Master, String::new());
        let vrrp = EventKind::VrrpInstance { name, from: State::Init, state, priority: 1, reason };
        assert_eq!(vrrp.carp_severity(), None);
    }
}
