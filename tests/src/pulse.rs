//! The pulse of the machine: whether it ran whoever wanted to run.
//!
//! A virtual machine may be stopped for a second by its host; a router on it then is late, and no router is to blame.
//! On each processor a thread asks to be woken every few milliseconds. When all that it is granted is a pause, times
//! measured meanwhile say nothing about what was measured.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::anyhow;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::Test;

/// How often a thread asks to be woken.
const BEAT: Duration = Duration::from_millis(5);
/// The shortest pause that is kept: no bound of a test is closer.
const NOTED: Duration = Duration::from_millis(50);

static PAUSES: Mutex<Vec<Pause>> = Mutex::new(Vec::new());

/// A time in which a processor did not run who should have run.
#[derive(Clone, Debug)]
pub struct Pause {
    /// When it began.
    pub from: SystemTime,
    /// How long it lasted.
    pub length: Duration,
    /// The number of the processor.
    pub processor: usize,
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { length, processor, .. } = self;
        write!(f, "processor {processor} stood still for {} ms", length.as_millis())
    }
}

/// Plays a scene; another time, up to three times in all, when it fails and the machine [stood still](self) meanwhile.
///
/// # Errors
/// Those of the last time.
pub fn undisturbed(mut scene: impl FnMut() -> Test) -> Test {
    outrank_the_machine();
    feel();
    for _ in 0..2 {
        let began = SystemTime::now();
        let Err(error) = caught(&mut scene) else { return Ok(()) };
        let Some(pause) = pauses(began).into_iter().max_by_key(|pause| pause.length) else {
            return Err(error);
        };
        eprintln!("played again, because {pause}: {error:#}");
    }
    scene()
}

/// Prefers this thread and all that it starts: what else the machine does must not look like the lateness of a router.
///
/// By their nice value, and not in real time: who writes a setting below `/proc/sys/net` goes round and round until the
/// kernel's network lock is free, and in real time would keep its holder from ever running. Nor by the best value there
/// is: the threads of the kernel, which changes of rules and links wait for, have the common one.
fn outrank_the_machine() {
    if lb_net::set_nice(-10).is_err() {
        eprintln!("without a better nice value: times may be off on a busy machine");
    }
}

/// A panic as an error; its message has been printed.
fn caught(scene: impl FnMut() -> Test) -> Test {
    catch_unwind(AssertUnwindSafe(scene))
        .unwrap_or_else(|_| Err(anyhow!("panicked, as said above")))
}

/// Begins to feel the pulse, once a process. The threads have the scheduling of who calls first.
fn feel() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let Ok(allowed) = sched_getaffinity(Pid::this()) else { return };
        for processor in 0..CpuSet::count() {
            if allowed.is_set(processor).is_ok_and(|set| set) {
                thread::spawn(move || beat(processor));
            }
        }
    });
}

fn beat(processor: usize) {
    let mut only = CpuSet::new();
    if only.set(processor).and_then(|()| sched_setaffinity(Pid::from_raw(0), &only)).is_err() {
        eprintln!("processor {processor} cannot be watched for pauses");
        return;
    }
    loop {
        let from = SystemTime::now();
        thread::sleep(BEAT);
        let length = from.elapsed().unwrap_or_default();
        if length > BEAT + NOTED {
            let mut pauses = PAUSES.lock().unwrap_or_else(PoisonError::into_inner);
            pauses.push(Pause { from, length, processor });
        }
    }
}

/// The pauses that ended after `since`, in the order in which they ended.
#[must_use]
pub fn pauses(since: SystemTime) -> Vec<Pause> {
    let pauses = PAUSES.lock().unwrap_or_else(PoisonError::into_inner);
    pauses.iter().filter(|pause| pause.from + pause.length >= since).cloned().collect()
}
