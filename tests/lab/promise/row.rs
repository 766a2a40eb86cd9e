//! Keywords, each with two configurations, and the comparison of both daemons.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, ensure};
use lb_tests::Test;
use lb_tests::pulse::undisturbed;

use crate::record::Record;
use crate::scene::Daemon::{self, Keepalived, Lbd};
use crate::scene::{Scene, Step};

/// How many scenes are played at the same time; most of each is waiting.
const AT_ONCE: usize = 12;

/// What is seen of a life, as one text that does not depend on chance.
pub type See = fn(&Record) -> String;

/// A keyword and what shows its effect.
#[derive(Clone)]
pub struct Row {
    /// As [`lb_config::Block::path`].
    pub path: &'static str,
    /// As [`lb_config::Keyword::name`].
    pub keyword: &'static str,
    without: Scene,
    with: Scene,
    see: See,
    kind: Kind,
}

/// What is promised.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It changes the same under both daemons.
    Same,
    /// It changes something under lbd, which is played alone.
    Alone,
    /// It has no effect under either.
    Nothing,
}

impl Row {
    /// A row whose scenes differ in their configurations.
    pub fn new(
        (path, keyword): (&'static str, &'static str),
        [without, with]: [String; 2],
        steps: &[Step],
        see: See,
    ) -> Self {
        let scene = |config| Scene { config, steps: steps.to_vec() };
        Self { path, keyword, without: scene(without), with: scene(with), see, kind: Kind::Same }
    }

    /// Of a keyword that keepalived 2.2.7 does not know, or does nothing with in a lab.
    pub fn alone(self) -> Self {
        Self { kind: Kind::Alone, ..self }
    }

    /// Of a keyword that keepalived reads and does nothing with.
    pub fn without_effect(self) -> Self {
        Self { kind: Kind::Nothing, ..self }
    }

    /// What is played for it.
    fn scenes(&self) -> impl Iterator<Item = (Daemon, &Scene)> {
        let daemons: &[Daemon] = if self.kind == Kind::Alone { &[Lbd] } else { &[Keepalived, Lbd] };
        let both = move |&daemon: &Daemon| [(daemon, &self.without), (daemon, &self.with)];
        daemons.iter().flat_map(both)
    }

    /// What is wrong with it, by what was played.
    fn problem(&self, played: &Played) -> anyhow::Result<Option<String>> {
        let seen = |daemon, scene| -> anyhow::Result<String> {
            let record = played.get(&(daemon, scene)).context("not played")?;
            record.as_ref().map(self.see).map_err(|error| anyhow::anyhow!("{error:#}"))
        };
        let ours = [seen(Lbd, &self.without)?, seen(Lbd, &self.with)?];
        let theirs = if self.kind == Kind::Alone {
            ours.clone()
        } else {
            [seen(Keepalived, &self.without)?, seen(Keepalived, &self.with)?]
        };
        let changes = ours[0] != ours[1];
        if ours == theirs && changes == (self.kind != Kind::Nothing) {
            return Ok(None);
        }
        let log = |daemon, scene| match played.get(&(daemon, scene)) {
            Some(Ok(record)) => record.log.clone(),
            _ => String::new(),
        };
        let mut problem = format!(
            "keepalived without: {}\nkeepalived with:    {}\nlbd without:        {}\nlbd with:           {}\n",
            theirs[0], theirs[1], ours[0], ours[1]
        );
        problem += &format!("{}\n", self.with.config);
        for (daemon, scene) in self.scenes() {
            problem += &format!("--- {daemon:?}\n{}\n", log(daemon, scene));
        }
        Ok(Some(problem))
    }
}

type Played<'s> = HashMap<(Daemon, &'s Scene), anyhow::Result<Record>>;

/// Plays the scenes of all rows, each once, and sees that every row holds.
pub fn compare(mut rows: Vec<Row>) -> Test {
    if !lb_tests::installed("keepalived", "keepalived") {
        return Ok(());
    }
    // Where the machine stood still, only what went wrong is played again.
    undisturbed(|| {
        let Some(problems) = problems(&rows)? else { return Ok(()) };
        rows.retain(|row| {
            problems.iter().any(|(bad, _)| (bad.path, bad.keyword) == (row.path, row.keyword))
        });
        let said: Vec<_> = problems
            .iter()
            .map(|(row, problem)| format!("{} {}\n{problem}", row.path, row.keyword))
            .collect();
        ensure!(said.is_empty(), "{} keywords:\n\n{}", said.len(), said.join("\n"));
        Ok(())
    })
}

/// The rows that do not hold, and why; `None` where there are no labs.
fn problems(rows: &[Row]) -> anyhow::Result<Option<Vec<(Row, String)>>> {
    let mut scenes: Vec<(Daemon, &Scene)> = Vec::new();
    for (daemon, scene) in rows.iter().flat_map(Row::scenes) {
        if !scenes.contains(&(daemon, scene)) {
            scenes.push((daemon, scene));
        }
    }
    let Some(played) = play(scenes)? else { return Ok(None) };
    let mut problems = Vec::new();
    for row in rows {
        let problem = match row.problem(&played) {
            Ok(problem) => problem,
            Err(error) => Some(format!("{error:#}\n")),
        };
        problems.extend(problem.map(|problem| (row.clone(), problem)));
    }
    Ok(Some(problems))
}

fn play(scenes: Vec<(Daemon, &Scene)>) -> anyhow::Result<Option<Played<'_>>> {
    let (queue, played) = (Mutex::new(scenes), Mutex::new(HashMap::new()));
    let no_labs = Mutex::new(false);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = lock(&queue).pop();
                    let Some((daemon, scene)) = next else { return };
                    let record = match scene.play(daemon) {
                        Ok(Some(record)) => Ok(record),
                        Ok(None) => return *lock(&no_labs) = true,
                        Err(error) => Err(error),
                    };
                    lock(&played).insert((daemon, scene), record);
                }
            });
        }
    });
    let none = *lock(&no_labs);
    Ok((!none).then(|| played.into_inner().unwrap_or_else(PoisonError::into_inner)))
}

/// Whatever happened to others.
pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
