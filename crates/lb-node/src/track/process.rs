//! Processes that must run: which are meant, how many there have to be, and for how long.
//! `keepalived.conf(5)`, "VRRP track processes".

use std::time::Instant;

use lb_config::model::{ArgumentMatch, TrackProcess};

/// Bytes that the kernel keeps of a process's name.
const NAME: usize = 15;

/// Whether the command line has to be read to know if a process is meant: it costs more than the
/// name.
#[must_use]
pub fn wants_command(definition: &TrackProcess) -> bool {
    definition.full_command
        || definition.arguments != ArgumentMatch::None
        || definition.process.len() > 1
        || definition.process.first().is_some_and(|name| name.contains('/'))
}

/// Whether a process is meant, by the name that the kernel has for it or, where
/// [`wants_command`] says so, by its command line: its words, the program first.
#[must_use]
pub fn is_meant(definition: &TrackProcess, name: &[u8], command: &[&[u8]]) -> bool {
    let mut wanted = definition.process.iter().map(String::as_bytes);
    let Some(program) = wanted.next() else { return false };
    if !wants_command(definition) {
        return name == &program[..program.len().min(NAME)];
    }
    let Some((first, found)) = command.split_first() else { return false };
    let wanted: Vec<&[u8]> = wanted.collect();
    *first == program
        && match definition.arguments {
            ArgumentMatch::None => true,
            ArgumentMatch::Exact => *found == wanted,
            ArgumentMatch::Partial => found.starts_with(&wanted),
            ArgumentMatch::Initial => match wanted.split_last() {
                None => true,
                Some((last, others)) => {
                    found.starts_with(others)
                        && found.get(others.len()).is_some_and(|word| word.starts_with(last))
                }
            },
        }
}

/// Whether as many processes run as must, out of their number and the time.
///
/// The first number decides alone. Later on, a number that falls out of the bounds or into them by
/// an end counts after `terminate_delay`, one that does by a fork after `fork_delay`: the child may
/// be about to become another program. Other beginnings count at once, and what is undone before
/// its time never does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    definition: TrackProcess,
    /// `None` before the first number.
    running: Option<u32>,
    up: bool,
    /// When the other verdict begins.
    turns_at: Option<Instant>,
}

impl Quorum {
    /// Without a number yet.
    #[must_use]
    pub fn new(definition: TrackProcess) -> Self {
        Self { definition, running: None, up: false, turns_at: None }
    }

    /// With what is known already, if another definition means the same processes.
    #[must_use]
    pub fn redefined(&self, definition: TrackProcess) -> Self {
        let meant = |d: &TrackProcess| (d.process.clone(), d.arguments, d.full_command);
        let same = meant(&self.definition) == meant(&definition);
        let mut new = Self::new(definition);
        if let Some(running) = self.running.filter(|_| same) {
            (new.running, new.up) = (Some(running), new.suffices(running));
        }
        new
    }

    /// The verdict; `None` before the first number.
    #[must_use]
    pub fn up(&self) -> Option<bool> {
        self.running.map(|_| self.up)
    }

    /// How many run; `None` before that is known.
    #[must_use]
    pub fn running(&self) -> Option<u32> {
        self.running
    }

    /// Takes the number of processes that run now, the last of them perhaps by a fork alone. `Some`
    /// when the verdict is another one now.
    pub fn handle(&mut self, now: Instant, running: u32, forked: bool) -> Option<bool> {
        let suffices = self.suffices(running);
        let Some(before) = self.running.replace(running) else {
            self.up = suffices;
            return Some(suffices);
        };
        if suffices == self.up {
            self.turns_at = None;
            return None;
        }
        let at = match (running < before, forked) {
            (true, _) => now + self.definition.terminate_delay,
            (false, true) => now + self.definition.fork_delay,
            (false, false) => now,
        };
        self.turns_at = Some(self.turns_at.map_or(at, |turns_at| turns_at.min(at)));
        self.expire(now)
    }

    /// Ends a delay that is over. `Some` when the verdict is another one now.
    pub fn expire(&mut self, now: Instant) -> Option<bool> {
        self.turns_at.take_if(|at| *at <= now)?;
        self.up = !self.up;
        Some(self.up)
    }

    /// When to call [`Quorum::expire`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.turns_at
    }

    fn suffices(&self, running: u32) -> bool {
        match self.definition.quorum_max {
            // It must not run.
            Some(0) => running == 0,
            most => {
                running >= self.definition.quorum.into()
                    && most.is_none_or(|most| running <= most.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn definition(words: &str, arguments: ArgumentMatch) -> TrackProcess {
        TrackProcess {
            name: "p".into(),
            process: words.split(' ').map(String::from).collect(),
            arguments,
            weight: 0,
            reverse: false,
            quorum: 1,
            quorum_max: None,
            terminate_delay: Duration::from_secs(3),
            fork_delay: Duration::from_secs(2),
            full_command: false,
        }
    }

    fn meant(definition: &TrackProcess, command: &str) -> bool {
        let command: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        is_meant(definition, b"sleep", &command)
    }

    #[test]
    fn a_bare_name_is_compared_with_what_the_kernel_keeps_of_it() {
        let name = |words| definition(words, ArgumentMatch::None);
        assert!(is_meant(&name("sleep"), b"sleep", &[]));
        assert!(!is_meant(&name("slee"), b"sleep", &[]));
        assert!(is_meant(&name("a-rather-long-name"), b"a-rather-long-n", &[]));
        assert!(!is_meant(&name("/bin/sleep"), b"sleep", &[]));
        assert!(meant(&name("/bin/sleep"), "/bin/sleep 5"));
        assert!(!is_meant(&name("sleep"), b"sh", &[b"sleep"]));
        let full = TrackProcess { full_command: true, ..name("sleep") };
        assert!(is_meant(&full, b"sh", &[b"sleep", b"5"]));
        // Threads of the kernel have no command line.
        assert!(!is_meant(&full, b"sleep", &[]));
    }

    #[test]
    fn arguments_are_compared_as_keepalived_does() {
        // Each against `sleep 1000 2000`, as keepalived 2.2.7 decided.
        use ArgumentMatch::{Exact, Initial, Partial};
        let cases = [
            (Exact, "sleep 1000 2000", true),
            (Exact, "sleep 1000", false),
            (Exact, "sleep", false),
            (Initial, "sleep 1000", true),
            (Partial, "sleep 1000", true),
            (Initial, "sleep 100", true),
            (Partial, "sleep 100", false),
            (Initial, "sleep 1000 200", true),
            (Partial, "sleep 1000 200", false),
            (Initial, "sleep 1000 2000", true),
            (Partial, "sleep 1000 2000", true),
            (Initial, "sleep 1000 2000 3", false),
            (Partial, "sleep 1000 2000 3", false),
        ];
        for (how, words, expected) in cases {
            let definition = definition(words, how);
            assert_eq!(meant(&definition, "sleep 1000 2000"), expected, "{how:?} {words}");
        }
    }

    /// Milliseconds, number, whether forked, and the verdict that begins; `None` for a number lets
    /// time pass.
    fn timeline(mut quorum: Quorum, steps: &[(u64, Option<u32>, bool, Option<bool>)]) {
        let epoch = Instant::now();
        for (index, (millis, running, forked, expected)) in steps.iter().enumerate() {
            let now = epoch + Duration::from_millis(*millis);
            let turned = match running {
                Some(running) => quorum.handle(now, *running, *forked),
                None => quorum.expire(now),
            };
            assert_eq!(turned, *expected, "step {index}");
        }
    }

    #[test]
    fn the_first_number_decides_at_once_and_delays_hold_afterwards() {
        timeline(
            Quorum::new(definition("p", ArgumentMatch::None)),
            &[
                (0, Some(1), false, Some(true)),
                (1_000, Some(0), false, None),
                (3_999, None, false, None),
                (4_000, None, false, Some(false)),
                // A program that is started counts at once, one that forks later.
                (5_000, Some(1), false, Some(true)),
                (6_000, Some(0), false, None),
                (8_000, Some(1), false, None),
                (20_000, None, false, None),
            ],
        );
    }

    #[test]
    fn quorum_max_counts_forks_after_their_delay_and_ends_after_theirs() {
        // Timed as keepalived 2.2.7 was seen to.
        let one = TrackProcess { quorum_max: Some(1), ..definition("p", ArgumentMatch::None) };
        timeline(
            Quorum::new(one),
            &[
                (0, Some(1), false, Some(true)),
                (1_000, Some(2), false, Some(false)),
                (2_000, Some(1), false, None),
                (5_000, None, false, Some(true)),
                (6_000, Some(2), true, None),
                (7_000, Some(3), true, None),
                (8_000, None, false, Some(false)),
                (8_500, Some(1), false, None),
                (9_000, Some(2), true, None),
                (20_000, None, false, None),
            ],
        );
    }

    #[test]
    fn a_process_that_must_not_run() {
        let none = TrackProcess { quorum_max: Some(0), ..definition("p", ArgumentMatch::None) };
        timeline(
            Quorum::new(none),
            &[(0, Some(0), false, Some(true)), (1_000, Some(1), false, Some(false))],
        );
    }

    #[test]
    fn another_definition_keeps_the_number_of_the_same_processes() {
        let one = definition("p", ArgumentMatch::None);
        let mut quorum = Quorum::new(one.clone());
        quorum.handle(Instant::now(), 1, false);
        let two = TrackProcess { quorum: 2, ..one.clone() };
        assert_eq!(quorum.redefined(two).up(), Some(false));
        assert_eq!(quorum.redefined(one).up(), Some(true));
        assert_eq!(quorum.redefined(definition("q", ArgumentMatch::None)).up(), None);
    }
}
