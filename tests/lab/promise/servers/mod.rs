//! The keywords of virtual servers, which need IPVS: `tests/vm/check` plays them in its machine.
//!
//! The blocks of all rows of a [`Set`] stand side by side in one configuration without the keywords and one with them,
//! so that a daemon runs twice for all of them. In a row, these words stand for what is its own:
//!
//! | | |
//! |---|---|
//! | `VS` | `192.0.2.100 PORT` |
//! | `PORT`, `MARK` | the row's number |
//! | `RS1` to `RS9` | addresses of real servers, as [`web`] tells |
//! | `GONE` | an address from which nothing comes back |
//! | `NOTE`, `WHO` | scripts that keep their arguments, and who runs them |

mod checkers;
mod global;
mod play;
mod see;
mod server;
mod web;

use std::collections::HashMap;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, ensure};
use lb_tests::Test;

use self::play::Scene;
use self::see::View;
use crate::row::{Kind, lock};
use crate::scene::Daemon::{self, Keepalived, Lbd};

/// How many scenes are played at the same time.
const AT_ONCE: usize = 8;

/// What is seen of a row, as one text that does not depend on chance.
pub type See = fn(&View<'_>) -> String;

/// A keyword and what shows its effect.
#[derive(Clone)]
pub struct Row {
    /// As [`lb_config::Block::path`].
    pub path: &'static str,
    /// As [`lb_config::Keyword::name`].
    pub keyword: &'static str,
    without: String,
    with: String,
    see: See,
    kind: Kind,
}

/// Rows that are played at once.
pub struct Set {
    pub rows: Vec<Row>,
    /// What else stands in the configuration, without the keywords and with them.
    globals: [&'static str; 2],
    /// What stands there after a reload, with them.
    then: Option<&'static str>,
    /// Whether there is a service in the kernel before.
    found: bool,
}

impl Row {
    pub fn new(
        (path, keyword): (&'static str, &'static str),
        [without, with]: [String; 2],
        see: See,
    ) -> Self {
        Self { path, keyword, without, with, see, kind: Kind::Same }
    }

    /// Of a keyword that keepalived 2.2.7 does not know.
    pub fn alone(self) -> Self {
        Self { kind: Kind::Alone, ..self }
    }

    /// Of a keyword that keepalived reads and does nothing with.
    pub fn without_effect(self) -> Self {
        Self { kind: Kind::Nothing, ..self }
    }
}

pub fn sets() -> Vec<Set> {
    let mut sets = global::sets();
    // The longest begins.
    sets.push(Set {
        rows: [server::rows(), checkers::rows()].concat(),
        globals: ["", ""],
        then: None,
        found: false,
    });
    sets
}

impl Set {
    fn scene(&self, daemon: Daemon, with: bool) -> Scene {
        let text = |globals| self.config(globals, daemon, with);
        Scene {
            config: text(self.globals[usize::from(with)]),
            reload: self.then.filter(|_| with).map(text),
            found: self.found,
        }
    }

    /// The server whose checks are the clock of [`play`], and the rows' blocks, each with its number.
    fn config(&self, globals: &str, daemon: Daemon, with: bool) -> String {
        let mut config = format!(
            "global_defs {{\nscript_user root\n{globals}\n}}\n\
             virtual_server 192.0.2.100 999 {{\ndelay_loop 1\nlvs_sched rr\nlvs_method NAT\nprotocol TCP\n\
             real_server 10.1.0.1 80 {{\nTCP_CHECK {{\nwarmup 0\n}}\n}}\n}}\n"
        );
        for (n, row) in self.rows.iter().enumerate() {
            // What keepalived does not know is played under lbd alone.
            let known = daemon == Lbd || row.kind != Kind::Alone;
            config += &see::numbered(if with && known { &row.with } else { &row.without }, n + 1);
        }
        config
    }
}

/// Plays all sets and sees that every row holds.
pub fn compare() -> Test {
    if !lb_tests::installed("keepalived", "keepalived") {
        return Ok(());
    }
    if let Err(error) = lb_ipvs::Client::open() {
        ensure!(std::env::var_os("LB_IPVS_REQUIRED").is_none(), "{error}");
        lb_skip::skip(error);
        return Ok(());
    }
    let sets = sets();
    let mut queue = Vec::new();
    for (s, set) in sets.iter().enumerate() {
        for (daemon, with) in [(Keepalived, false), (Keepalived, true), (Lbd, false), (Lbd, true)] {
            queue.push(((s, daemon, with), set.scene(daemon, with)));
        }
    }
    let (queue, played) = (Mutex::new(queue), Mutex::new(HashMap::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = lock(&queue).pop();
                    let Some((name, scene)) = next else { return };
                    let record = scene.play(name.1).with_context(|| format!("{name:?}"));
                    lock(&played).insert(name, record);
                }
            });
        }
    });
    let mut records = HashMap::new();
    for (name, record) in std::mem::take(&mut *lock(&played)) {
        let Some(record) = record? else { return Ok(()) };
        records.insert(name, record);
    }
    let mut problems = Vec::new();
    for (s, set) in sets.iter().enumerate() {
        for (n, row) in set.rows.iter().enumerate() {
            let view = |daemon, with| View { record: &records[&(s, daemon, with)], n: n + 1 };
            problems.extend(row.problem(view));
        }
    }
    ensure!(problems.is_empty(), "{} keywords:\n\n{}", problems.len(), problems.join("\n"));
    Ok(())
}

impl Row {
    /// What is wrong with it, by what was played.
    fn problem<'a>(&self, view: impl Fn(Daemon, bool) -> View<'a>) -> Option<String> {
        let of = |daemon| [false, true].map(|with| (self.see)(&view(daemon, with)));
        let ours = of(Lbd);
        let theirs = if self.kind == Kind::Alone { ours.clone() } else { of(Keepalived) };
        if ours == theirs && (ours[0] != ours[1]) == (self.kind != Kind::Nothing) {
            return None;
        }
        let mut problem = format!("{} {}\n", self.path, self.keyword);
        problem +=
            &format!("keepalived without: {}\nkeepalived with:    {}\n", theirs[0], theirs[1]);
        problem += &format!("lbd without:        {}\nlbd with:           {}\n", ours[0], ours[1]);
        problem += &format!("{}\n", self.with);
        for daemon in [Keepalived, Lbd] {
            problem += &format!("--- {daemon:?}\n{}\n", view(daemon, true).said());
        }
        Some(problem)
    }
}
