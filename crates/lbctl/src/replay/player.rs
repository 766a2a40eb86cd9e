//! The node of a record, and what it does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use jiff::{SignedDuration, Timestamp};
use lb_control::status::Transition;
use lb_control::{EventKind, State};
use lb_node::record::{Entry, Header, Line};
use lb_node::{Action, Advert, Node, Vip};
use serde::Serialize;

use super::machine;

/// From one start of the advertiser to its end.
#[derive(Debug, Serialize)]
pub struct Run {
    /// Who wrote it.
    pub program: String,
    /// The wall clock at its start.
    pub started: Timestamp,
    /// Instances that resumed as MASTER.
    pub adopted: Vec<String>,
    /// What the node did, in its order.
    pub story: Vec<Happening>,
    /// Advertisements sent, by instance and by what they say.
    pub adverts: Vec<Adverts>,
    /// Seconds after the start at which it ended; `None` when it was cut short.
    pub ended: Option<f64>,
}

/// Something the node did, or that is wrong with the record.
#[derive(Debug, Serialize)]
pub struct Happening {
    /// Seconds after the start.
    pub at: f64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What the node did.
#[derive(Debug, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// An instance changed its role.
    Role {
        /// Its name.
        name: String,
        /// Before.
        from: State,
        /// After.
        to: State,
        /// Why, if the node knows.
        why: Option<Transition>,
    },
    /// Any other event.
    Event {
        /// Its shape in every other place.
        #[serde(flatten)]
        event: EventKind,
    },
    /// VIPs were added or removed.
    Vips {
        /// Name of the instance.
        name: String,
        /// Added, not removed.
        added: bool,
        /// `address/prefix`
        vips: Vec<String>,
    },
    /// Another configuration was put in force.
    Reload,
    /// Inputs are missing: from here on the node may have done something else.
    Gap {
        /// How many.
        lost: u64,
    },
}

/// Advertisements of one kind.
#[derive(Debug, Serialize)]
pub struct Adverts {
    /// Name of the instance.
    pub name: String,
    /// What they say: `priority 150`, or `advbase 1 advskew 0`.
    pub say: String,
    /// How many were sent, each to every destination.
    pub count: u64,
    /// When the first was, in seconds after the start.
    pub first: f64,
    /// The same of the last.
    pub last: f64,
}

/// Tells a node line by line what it was told.
#[derive(Default)]
pub struct Player {
    runs: Vec<Run>,
    stage: Option<Stage>,
}

/// A node and its clocks.
struct Stage {
    node: Node,
    start: Instant,
    wall: Timestamp,
    /// Nanoseconds after the start.
    at: u64,
    /// What each instance entered last.
    states: BTreeMap<String, State>,
    run: Run,
}

impl Player {
    /// Plays one line.
    ///
    /// # Errors
    /// It cannot stand where it does, or its configuration cannot be used.
    pub fn tell(&mut self, line: Line) -> anyhow::Result<()> {
        let Line { at, entry } = line;
        let stage = match (entry, &mut self.stage) {
            (Entry::Node(header), _) => {
                self.runs.extend(self.stage.take().map(|stage| stage.run));
                self.stage = Some(Stage::new(header)?);
                return Ok(());
            }
            (_, None) => bail!("a record begins with what the node was made of"),
            (_, Some(stage)) if at < stage.at => bail!("it is from before the line before it"),
            (entry, Some(stage)) => {
                stage.at = at;
                (stage, entry)
            }
        };
        let (stage, entry) = stage;
        stage.tell(&entry)
    }

    /// What was played, run by run.
    pub fn finish(mut self) -> Vec<Run> {
        self.runs.extend(self.stage.take().map(|stage| stage.run));
        self.runs
    }
}

impl Stage {
    fn new(header: Header) -> anyhow::Result<Self> {
        let Header { program, wall, seed, adopt, number, config, .. } = header;
        let mut node = Node::new(machine::plan(&config)?, &adopt, seed);
        node.number_from(number);
        Ok(Self {
            node,
            start: Instant::now(),
            wall,
            at: 0,
            states: BTreeMap::new(),
            run: Run {
                program,
                started: wall,
                adopted: adopt.into_iter().collect(),
                story: Vec::new(),
                adverts: Vec::new(),
                ended: None,
            },
        })
    }

    fn tell(&mut self, entry: &Entry) -> anyhow::Result<()> {
        let past = Duration::from_nanos(self.at);
        let now = self.start.checked_add(past).context("there is no such time")?;
        let mut actions = Vec::new();
        match entry {
            Entry::Gap { lost } => self.note(What::Gap { lost: *lost }),
            Entry::End => self.run.ended = Some(past.as_secs_f64()),
            Entry::Reload { config } => {
                let plan = machine::plan(config)?;
                self.note(What::Reload);
                self.node.handle(now, lb_node::Input::Reload(plan), &mut actions);
            }
            entry => {
                if let Some(input) = entry.input() {
                    self.node.handle(now, input, &mut actions);
                }
            }
        }
        actions.into_iter().for_each(|action| self.act(now, action));
        Ok(())
    }

    fn act(&mut self, now: Instant, action: Action) {
        match action {
            Action::Send { instance, advert, to } => {
                let (mut payload, mut datagrams) = (Vec::new(), Vec::new());
                self.node.emit(instance, advert, to, &mut payload, &mut datagrams);
                if let Some(name) = self.node.name(instance).filter(|_| !datagrams.is_empty()) {
                    let name = name.to_owned();
                    self.count(name, say(advert));
                }
            }
            Action::AddVips { instance, vips } => self.vips(instance, true, &vips),
            Action::RemoveVips { instance, vips } => self.vips(instance, false, &vips),
            Action::Event(event) => match event.instance() {
                Some((name, to, _)) => {
                    let name = name.to_owned();
                    let from = self.states.insert(name.clone(), to).unwrap_or_default();
                    let wall = SignedDuration::try_from(now.duration_since(self.start)).ok();
                    let wall = wall.and_then(|past| self.wall.checked_add(past).ok());
                    let past = self.node.why(&name, now, wall.unwrap_or(self.wall));
                    let why = past.and_then(|past| past.into_iter().find(|t| t.to == to));
                    let from = why.as_ref().map_or(from, |why| why.from);
                    self.note(What::Role { name, from, to, why });
                }
                None => self.note(What::Event { event: *event }),
            },
            _ => {}
        }
    }

    fn vips(&mut self, instance: lb_node::InstanceId, added: bool, vips: &[Vip]) {
        let Some(name) = self.node.name(instance).map(str::to_owned) else { return };
        let vips = vips.iter().map(|vip| format!("{}/{}", vip.address.address, vip.address.prefix));
        let vips = vips.collect();
        self.note(What::Vips { name, added, vips });
    }

    fn count(&mut self, name: String, say: String) {
        let at = self.seconds();
        let adverts = &mut self.run.adverts;
        match adverts.iter_mut().find(|known| known.name == name && known.say == say) {
            Some(known) => {
                known.count += 1;
                known.last = at;
            }
            None => adverts.push(Adverts { name, say, count: 1, first: at, last: at }),
        }
    }

    fn note(&mut self, what: What) {
        let at = self.seconds();
        self.run.story.push(Happening { at, what });
    }

    fn seconds(&self) -> f64 {
        Duration::from_nanos(self.at).as_secs_f64()
    }
}

fn say(advert: Advert) -> String {
    match advert {
        Advert::Vrrp(content) => format!("priority {}", content.priority),
        Advert::Carp(advert) => {
            let said = format!("advbase {} advskew {}", advert.advbase, advert.advskew);
            match advert.demotion {
                0 => said,
                demotion => format!("{said} demotion {demotion}"),
            }
        }
    }
}
