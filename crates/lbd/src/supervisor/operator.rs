//! What an operator asks of instances: hand over, maintenance, demotion, and why.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lb_config::Model;
use lb_control::State;
use lb_control::status::{Maintenance, Transition};
use lb_node::{InstanceConfig, Plan};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::control::{Answer, Order};
use super::{Inbox, Supervisor};

/// Names that a message lists at most.
const NAMES: usize = 12;
/// What a hand-over may take besides the time that the instance waits for a successor.
const SLACK: Duration = Duration::from_secs(1);
/// How long the advertiser may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// Who waits for an instance to cease to be MASTER.
#[derive(Debug)]
pub(super) struct Waiting {
    name: String,
    left: oneshot::Sender<State>,
}

impl Supervisor {
    /// Has another router take over, and answers when it has or when none did.
    pub(super) fn handover(&mut self, name: &str, answer: Answer) {
        match self.try_handover(name) {
            Err(refusal) => drop(answer.send(Err(refusal))), // the client may have gone
            Ok((limit, left)) => {
                let name = name.to_owned();
                tokio::spawn(async move {
                    let verdict = match timeout(limit, left).await {
                        Ok(Ok(state)) => Ok(format!(
                            "{name} has handed over and is {state} now; it does not take the role \
                             from another router until it has been MASTER again, or until \
                             `lbctl maintenance off {name}`"
                        )),
                        Ok(Err(_)) => Err("the daemon is about to stop".to_owned()),
                        Err(_) => Err(format!(
                            "{name} is MASTER still: no other router took over; `lbctl why {name}` \
                             and the log of the others say more"
                        )),
                    };
                    let _ = answer.send(verdict); // the client may have gone
                });
            }
        }
    }

    fn try_handover(&mut self, name: &str) -> Result<(Duration, oneshot::Receiver<State>), String> {
        let instance = self.instance(name)?;
        let Some(advertiser) = self.advertiser.engine() else { return Err(asleep()) };
        match self.states.get(name) {
            Some(State::Master) => {}
            other => {
                let state = other.copied().unwrap_or_default();
                return Err(format!(
                    "{name} is {state}: only a MASTER can hand over; `lbctl status` shows who is it"
                ));
            }
        }
        if !instance.router().handover {
            tracing::info!("{name} hands over once, in spite of `handover off`");
        }
        let (left, waiting) = oneshot::channel();
        self.waiting.retain(|waiting| !waiting.left.is_closed());
        self.waiting.push(Waiting { name: name.to_owned(), left });
        advertiser.handover(name);
        let hold = lb_election::hold_time(interval(&instance), Duration::MAX);
        Ok((hold + SLACK, waiting))
    }

    /// Tells those who wait for it that an instance entered a state.
    pub(super) fn entered(&mut self, name: &str, state: State) {
        if state != State::Master {
            for waiting in self.waiting.extract_if(.., |waiting| waiting.name == name) {
                let _ = waiting.left.send(state); // the client may have gone
            }
        }
    }

    /// Begins or ends maintenance.
    pub(super) fn maintenance(&mut self, order: Order) -> Result<String, String> {
        let Order { name, on, persist, by } = order;
        let whose = name.clone().unwrap_or_else(|| "every instance".to_owned());
        let key = name.map(|name| self.registered(&name)).transpose()?;
        let (before, all) = (self.maintenance.of(key.as_deref()), self.maintenance.of(None));
        let after = on.then(|| match before {
            // Who asks for it again changes how long it holds, not whose it is.
            Some(before) => Maintenance { persistent: persist, ..before.clone() },
            None => Maintenance { by: by.clone(), since: Timestamp::now(), persistent: persist },
        });
        match (before, &after, all) {
            (Some(before), Some(after), _) if before == after => {
                return Ok(format!("{whose} is in maintenance already"));
            }
            (None, None, Some(all)) => {
                return Err(format!(
                    "{whose} is in maintenance because every instance is, by {} since {}; \
                     `lbctl maintenance off` ends it for all",
                    all.by,
                    all.since.strftime("%Y-%m-%d %H:%M UTC")
                ));
            }
            (None, None, None) if key.is_some() || self.maintenance.entries().is_empty() => {
                // It ends what a hand-over has left as well: the instance preempts again.
                if let Some(advertiser) = self.advertiser.engine() {
                    advertiser.maintenance(key.as_deref(), None);
                }
                let state = match key {
                    Some(_) => format!("{whose} is not in maintenance"),
                    None => "no instance is in maintenance".to_owned(),
                };
                tracing::info!("{by} says: maintenance off of {whose}, which ends hand-overs too");
                return Ok(format!("{state}; after a hand-over it may take its place again now"));
            }
            _ => {}
        }
        // What holds for all holds for one of them that is taken off the list.
        let rest = all.filter(|_| key.is_some()).cloned();
        self.maintenance.set(key.as_deref(), after.clone()).map_err(|error| {
            format!(
                "cannot write to the state directory {}: {error}; nothing has changed. Without \
                 --persist no file is needed",
                self.args.state_dir().display()
            )
        })?;
        let stays = after.is_none() && rest.is_some();
        if let Some(advertiser) = self.advertiser.engine() {
            advertiser.maintenance(key.as_deref(), after.or(rest));
        }
        let message = match (on, persist) {
            (true, true) => format!("{whose} is in maintenance now, over restarts too"),
            (true, false) => format!("{whose} is in maintenance now, until lbd is restarted"),
            (false, _) if stays => format!("{whose} stays in maintenance, as every instance is"),
            (false, _) if key.is_none() => "no instance is in maintenance any longer".to_owned(),
            (false, _) => format!("{whose} is no longer in maintenance"),
        };
        tracing::info!("{by} says: {message}");
        Ok(message)
    }

    /// The name under which an instance is in maintenance, or would be: that of any member of its
    /// sync group.
    fn registered(&self, name: &str) -> Result<String, String> {
        let in_register = |name: &str| self.maintenance.of(Some(name)).is_some();
        // What has left the configuration can still be taken off the list.
        if in_register(name) {
            return Ok(name.to_owned());
        }
        let instance = self.instance(name)?;
        let of_group = |other: &InstanceConfig| {
            let members = self.model.sync_groups.iter().map(|group| &group.members);
            let mut members = members.filter(|members| members.contains(&instance.router().name));
            members.any(|members| members.contains(&other.router().name))
        };
        let together = instances(&self.model).into_iter().filter(of_group);
        let mut names = together.map(|other| other.name().to_owned());
        Ok(names.find(|name| in_register(name)).unwrap_or_else(|| name.to_owned()))
    }

    /// Complains of names in maintenance that the configuration does not have.
    pub(super) fn check_maintenance(&self) {
        let names = self.instance_names();
        for (name, _) in self.maintenance.entries() {
            if let Some(name) = name.filter(|name| !names.contains(name)) {
                tracing::warn!(
                    "{name} is in maintenance, and there is no instance of that name; \
                     `lbctl maintenance off {name}` forgets it"
                );
            }
        }
    }

    /// Tells an advertiser that has got a new configuration which of its new instances are in
    /// maintenance.
    pub(super) async fn renew_maintenance(&mut self, inbox: &mut Inbox) {
        if self.maintenance.entries().iter().all(|(name, _)| name.is_none()) {
            return;
        }
        let status = self.advertiser.status();
        let lb_node::Status { vrrp, carp } = self.meanwhile(inbox, status).await;
        let vrrp = vrrp.iter().map(|instance| (&instance.name, &instance.maintenance));
        let vhids = carp.iter().flat_map(|carp| &carp.instances);
        let vhids = vhids.map(|instance| (&instance.name, &instance.maintenance));
        for (name, _) in vrrp.chain(vhids).filter(|(_, maintenance)| maintenance.is_none()) {
            let order = self.maintenance.of(Some(name));
            if let (Some(order), Some(advertiser)) = (order, self.advertiser.engine()) {
                advertiser.maintenance(Some(name), Some(order.clone()));
            }
        }
    }

    /// Changes a demotion counter and answers with what it is then.
    pub(super) fn demote(&self, group: &str, by: i32, answer: Answer) {
        let groups = || self.model.carp_instances.iter().flat_map(|instance| &instance.groups);
        let refused = match self.advertiser.engine() {
            None => Some(asleep()),
            Some(_) if !groups().any(|known| known == group) => {
                let mut known: Vec<String> = groups().cloned().collect();
                known.sort();
                known.dedup();
                Some(unknown("group of CARP instances", group, &known))
            }
            Some(advertiser) => {
                advertiser.demote(group, by);
                None
            }
        };
        if let Some(refusal) = refused {
            return drop(answer.send(Err(refusal))); // the client may have gone
        }
        let (status, group) = (self.advertiser.status(), group.to_owned());
        tokio::spawn(async move {
            let carp = status.await.carp;
            let groups = carp.iter().flat_map(|carp| &carp.groups);
            let now = groups.into_iter().find(|known| known.name == group);
            let verdict = match now {
                Some(now) if now.demotion == 0 => Ok(format!("group {group} is not demoted")),
                Some(now) => Ok(format!(
                    "group {group} is demoted by {}, {} of it by the operator",
                    now.demotion, now.by_operator
                )),
                None => Err("the advertiser does not answer; see the log".to_owned()),
            };
            let _ = answer.send(verdict); // the client may have gone
        });
    }

    /// Answers with the last changes of role of an instance.
    pub(super) fn why(&self, name: &str, answer: oneshot::Sender<Result<Vec<Transition>, String>>) {
        let found = self.instance(name).and_then(|_| self.advertiser.engine().ok_or_else(asleep));
        let asked = match found {
            Ok(advertiser) => advertiser.why(name),
            Err(refusal) => return drop(answer.send(Err(refusal))), // the client may have gone
        };
        tokio::spawn(async move {
            let verdict = match timeout(ANSWER, asked).await {
                Ok(Ok(Some(mut transitions))) => {
                    transitions.reverse(); // the oldest first
                    Ok(transitions)
                }
                _ => Err("the advertiser does not answer; see the log".to_owned()),
            };
            let _ = answer.send(verdict); // the client may have gone
        });
    }

    fn instance(&self, name: &str) -> Result<InstanceConfig, String> {
        let found = instances(&self.model).into_iter().find(|instance| instance.name() == name);
        found.ok_or_else(|| unknown("instance", name, &self.instance_names()))
    }

    fn instance_names(&self) -> Vec<String> {
        instances(&self.model).iter().map(|instance| instance.name().to_owned()).collect()
    }

    /// What the advertiser is started with besides its plan.
    pub(super) fn recording(&self) -> Option<crate::advertiser::Recording> {
        let recorder = self.recorder.clone()?;
        Some(crate::advertiser::Recording { recorder, config: Arc::clone(&self.written) })
    }
}

fn instances(model: &Model) -> Vec<InstanceConfig> {
    Plan::from(model).instances
}

fn interval(instance: &InstanceConfig) -> Duration {
    match instance {
        InstanceConfig::Vrrp(instance) => instance.advert_int,
        InstanceConfig::Carp(carp) => {
            let skew = Duration::from_secs(1) * u32::from(carp.node.advskew) / 256;
            Duration::from_secs(carp.instance.advbase.into()) + skew
        }
    }
}

fn asleep() -> String {
    "the advertiser does not run; `lbctl status` says why".to_owned()
}

/// That there is none of that name, and which there are.
fn unknown(what: &str, name: &str, known: &[String]) -> String {
    let mut message = format!("there is no {what} `{name}`");
    let similar = |known: &&String| strsim::damerau_levenshtein(known, name);
    let close = known.iter().min_by_key(similar).filter(|known| {
        known.eq_ignore_ascii_case(name) || similar(known) <= (known.len() / 3).clamp(1, 4)
    });
    if let Some(close) = close {
        let _ = write!(message, "; did you mean `{close}`?"); // a string takes everything
    }
    if known.is_empty() {
        message += ": the configuration has none";
    } else if close.is_none() || known.len() > 1 {
        let there = if close.is_some() { " There" } else { "; there" };
        let verb = if known.len() == 1 { "is" } else { "are" };
        let shown = known[..known.len().min(NAMES)].join(", ");
        let _ = write!(message, "{there} {verb} {shown}");
        if known.len() > NAMES {
            let _ = write!(message, " and {} more", known.len() - NAMES);
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str, known: &[&str]) -> String {
        let known: Vec<String> = known.iter().map(|name| (*name).to_owned()).collect();
        unknown("instance", name, &known)
    }

    #[test]
    fn who_errs_is_told_what_there_is() {
        assert_eq!(said("VI_1", &[]), "there is no instance `VI_1`: the configuration has none");
        assert_eq!(said("vi_1", &["VI_1"]), "there is no instance `vi_1`; did you mean `VI_1`?");
        assert_eq!(
            said("VI_3", &["VI_1", "LAN"]),
            "there is no instance `VI_3`; did you mean `VI_1`? There are VI_1, LAN"
        );
        assert_eq!(
            said("web", &["VI_1", "LAN"]),
            "there is no instance `web`; there are VI_1, LAN"
        );
        assert_eq!(said("web", &["VI_1"]), "there is no instance `web`; there is VI_1");
        let many: Vec<String> = (0..20).map(|n| format!("instance_{n}")).collect();
        assert!(unknown("instance", "x", &many).ends_with("instance_11 and 8 more"));
    }
}
