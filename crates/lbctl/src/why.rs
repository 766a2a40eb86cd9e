//! `lbctl why`: what made an instance change its role.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::bail;
use jiff::tz::TimeZone;
use lb_control::status::Transition;
use lb_control::{RequestBody, ResponseBody, State};

use crate::{client, text};

/// Says why an instance changed its role, the last times
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of a vrrp_instance or carp_instance
    name: String,
    /// Print one JSON object for programs
    #[arg(long)]
    json: bool,
}

/// Prints the last changes of role, the newest last.
///
/// # Errors
/// There is no such instance, the daemon cannot be reached, or the output not be written.
pub fn run(socket: &Path, args: Args) -> anyhow::Result<()> {
    let answer = client::ask(socket, RequestBody::Why { name: args.name })?;
    let ResponseBody::Why { name, transitions } = answer else {
        bail!("lbd answered something else; use the lbctl that came with it");
    };
    if args.json {
        let whole = serde_json::json!({ "name": name, "transitions": transitions });
        return text::print(&(serde_json::to_string_pretty(&whole)? + "\n"));
    }
    text::print(&render(&name, &transitions, &TimeZone::system(), text::width()))
}

fn render(name: &str, transitions: &[Transition], zone: &TimeZone, width: u16) -> String {
    if transitions.is_empty() {
        return format!("{name} has not entered a state yet\n");
    }
    let mut out = String::new();
    for transition in transitions {
        let seconds = transition.ago.clamp(0.0, 1e12) as i64; // within any clock
        let when = text::moment(transition.at, zone);
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "{when}  {} -> {}  {} ago",
            coloured(transition.from),
            coloured(transition.to),
            text::span(seconds)
        );
        out += &reasons(transition, 2, width);
    }
    out
}

/// What arrived, and what followed from it: each a sentence of its own lines, said once where the
/// two are the same.
pub fn reasons(transition: &Transition, indent: usize, width: u16) -> String {
    let mut said = vec![&transition.input, &transition.reason];
    said.dedup();
    let said = said.into_iter().filter(|sentence| !sentence.is_empty());
    said.map(|sentence| text::indented(sentence, indent, width) + "\n").collect()
}

/// A state as `lbctl status` colours it.
pub fn coloured(state: State) -> String {
    use anstyle::{AnsiColor, Style};
    let style = match state {
        State::Master => AnsiColor::Green.on_default().bold(),
        State::Fault => AnsiColor::Red.on_default().bold(),
        State::Init | State::Backup | State::Stop | State::Deleted => Style::new(),
    };
    format!("{style}{state}{style:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Vec<Transition> {
        let transition = |at: &str, ago, from, to, input: &str, reason: &str| Transition {
            at: at.parse().unwrap(),
            ago,
            from,
            to,
            input: input.to_owned(),
            reason: reason.to_owned(),
        };
        vec![
            transition(
                "2026-11-21T08:00:00.000Z",
                195.2,
                State::Init,
                State::Backup,
                "the start",
                "priority 150 is not that of the owner of the addresses, so it listens first",
            ),
            transition(
                "2026-11-21T08:00:03.414Z",
                191.786,
                State::Backup,
                State::Master,
                "a timer",
                "nothing was heard for 3.414 s: 3 × 1 s and a skew of (256 − 150) × 1 s / 256 = 0.414 s",
            ),
        ]
    }

    #[test]
    fn each_change_says_when_and_why_within_eighty_columns() {
        let text = render("VI_1", &example(), &TimeZone::UTC, 80);
        let text = anstream::adapter::strip_str(&text).to_string();
        text.lines().for_each(|line| assert!(line.chars().count() <= 80, "{line}"));
        let expected = "\
2026-11-21 08:00:00.000  INIT -> BACKUP  3m 15s ago
  the start
  priority 150 is not that of the owner of the addresses, so it listens first
2026-11-21 08:00:03.414  BACKUP -> MASTER  3m 11s ago
  a timer
  nothing was heard for 3.414 s: 3 × 1 s and a skew of (256 − 150) × 1 s / 256 =
    0.414 s
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_cause_that_says_it_all_is_said_once() {
        let mut past = example();
        past.truncate(1);
        past[0].input = "interface eth0 is down".to_owned();
        past[0].reason = past[0].input.clone();
        assert_eq!(reasons(&past[0], 2, 80), "  interface eth0 is down\n");
    }

    #[test]
    fn who_has_no_past_says_so() {
        assert_eq!(render("VI_1", &[], &TimeZone::UTC, 80), "VI_1 has not entered a state yet\n");
    }
}
