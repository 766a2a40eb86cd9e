//! How long a stop may take, in all.

use std::time::Duration;

use lb_config::model::Global;
use tokio::time::Instant;

/// The engines have so long if the configuration does not say otherwise (`child_wait_time`).
const ENGINES: Duration = Duration::from_secs(5);
/// What a stop needs beside the engines and `shutdown_script`.
const REST: Duration = Duration::from_secs(3);
/// `TimeoutStopSec` of our unit, in which the process itself has to end too.
const UNIT: Duration = Duration::from_secs(20);
/// Time for that.
const EXIT: Duration = Duration::from_secs(2);

/// The time that a stop has: each part of it gets what it wants, or what is left.
#[derive(Clone, Copy, Debug)]
pub struct StopBudget {
    /// When the engines have to have ended.
    pub engines: Instant,
    /// When everything has to have ended.
    end: Instant,
    all: Duration,
}

impl StopBudget {
    /// Of a stop that begins now.
    pub fn new(global: &Global) -> Self {
        let now = Instant::now();
        let engines = global.child_wait_time.unwrap_or(ENGINES);
        let hook = global.shutdown_script.as_ref().map_or(Duration::ZERO, |(_, limit)| *limit);
        let all = engines + hook + REST;
        Self { engines: now + engines, end: now + all, all }
    }

    /// As much of `wanted` as is left.
    pub fn at_most(&self, wanted: Duration) -> Duration {
        wanted.min(self.end.saturating_duration_since(Instant::now()))
    }

    /// What to ask the service manager for, where the configuration gives a stop more time than our unit
    /// does.
    pub fn beyond_the_unit(&self) -> Option<Duration> {
        let wanted = self.all + EXIT;
        (wanted > UNIT).then_some(wanted)
    }
}

#[cfg(test)]
mod tests {
    use lb_config::model::Script;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_parts_together_have_what_the_unit_gives_unless_the_configuration_gives_more() {
        let hook = |limit| Some((Script::new(["/bin/true"]), Duration::from_secs(limit)));
        // keepalived's default of `shutdown_script` is 10 s.
        let mut global = Global { shutdown_script: hook(10), ..Global::default() };
        let begin = Instant::now();
        let budget = StopBudget::new(&global);
        assert_eq!((budget.engines - begin, budget.beyond_the_unit()), (ENGINES, None));
        assert!(budget.end - begin + EXIT <= UNIT);
        let minute = Duration::from_secs(60);
        assert_eq!(budget.at_most(minute), UNIT - EXIT);
        advance(Duration::from_secs(17)).await;
        assert_eq!(budget.at_most(minute), Duration::from_secs(1));
        advance(minute).await;
        assert_eq!(budget.at_most(minute), Duration::ZERO);

        global.child_wait_time = Some(minute);
        assert_eq!(StopBudget::new(&global).beyond_the_unit(), Some(Duration::from_secs(75)));
    }
}
