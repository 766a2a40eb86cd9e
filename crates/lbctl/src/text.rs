//! Sentences and times on a terminal.

use std::io::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lb_control::status::CarpGroup;

/// Columns when there is no terminal to ask.
const COLUMNS: u16 = 80;

/// Columns of the terminal.
pub fn width() -> u16 {
    terminal_size::terminal_size().map_or(COLUMNS, |(width, _)| width.0)
}

/// A sentence broken between words; all lines but the first stand two blanks to the right.
pub fn wrapped(sentence: &str, width: u16) -> String {
    indented(sentence, 0, width)
}

/// The same, all of it so many blanks further to the right.
pub fn indented(sentence: &str, indent: usize, width: u16) -> String {
    let mut out = String::with_capacity(sentence.len() + 16);
    out.extend(std::iter::repeat_n(' ', indent));
    let mut column = indent;
    for word in sentence.split(' ') {
        // Colours take no room.
        let length = anstream::adapter::strip_str(word).to_string().chars().count();
        if column > indent && column + 1 + length > usize::from(width) {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent + 2));
            column = indent + 2;
        } else if column > indent {
            out.push(' ');
            column += 1;
        }
        out += word;
        column += length;
    }
    out
}

/// Which part of a group's demotion is whose: `2 by the operator, 20 because script up failed`.
pub fn demoted_by(group: &CarpGroup) -> String {
    let parts = [
        (group.by_operator, "the operator"),
        (group.by_state_sync, "failed state synchronisation"),
    ];
    let parts = parts.into_iter().filter(|(by, _)| *by != 0);
    let mut parts: Vec<_> = parts.map(|(by, whom)| format!("{by} by {whom}")).collect();
    if !group.causes.is_empty() {
        let rest = group.demotion - group.by_operator - group.by_state_sync;
        parts.push(format!("{rest} because {}", group.causes.join(", ")));
    }
    parts.join(", ")
}

/// Time between two moments; see [`span`].
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    span(now.duration_since(then).as_secs())
}

/// `45s`, `3m 12s`, `2h 5m`, `3d 4h`: two units are enough to act on.
pub fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if days > 0 => format!("{days}d {}h", hours % 24),
        () if hours > 0 => format!("{hours}h {}m", minutes % 60),
        () if minutes > 0 => format!("{minutes}m {}s", seconds % 60),
        () => format!("{seconds}s"),
    }
}

/// `2026-11-21 09:00:03.123` on the clock of a place.
pub fn moment(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// Writes a text to stdout, in colour where the terminal takes it.
///
/// # Errors
/// It cannot be written; that nobody reads it any more (`lbctl status | head`) is none.
pub fn print(text: &str) -> anyhow::Result<()> {
    write_all(&mut anstream::stdout().lock(), text)
}

/// Writes all of a text to an output that somebody may have stopped to read.
///
/// # Errors
/// As [`print`].
pub fn write_all(out: &mut impl Write, text: &str) -> anyhow::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => Ok(written?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anstyle::{AnsiColor, Style};

    const RED: Style = AnsiColor::Red.on_default();

    #[test]
    fn sentences_are_broken_between_words_whatever_their_colour() {
        assert_eq!(wrapped("one two three", 80), "one two three");
        assert_eq!(wrapped("one two three", 9), "one two\n  three");
        assert_eq!(indented("one two three", 2, 9), "  one two\n    three");
        assert_eq!(wrapped("incomprehensibilities", 9), "incomprehensibilities");
        let coloured = format!("{RED}one{RED:#} two three");
        assert_eq!(wrapped(&coloured, 9), format!("{RED}one{RED:#} two\n  three"));
    }

    #[test]
    fn times_have_two_units() {
        let at = |seconds: i64| Timestamp::from_second(1_795_000_000 + seconds).unwrap();
        let spans = [
            (0, "0s"),
            (59, "59s"),
            (192, "3m 12s"),
            (7500, "2h 5m"),
            (273_600, "3d 4h"),
            (-5, "0s"),
        ];
        for (seconds, text) in spans {
            assert_eq!(ago(at(0), at(seconds)), text);
        }
    }

    #[test]
    fn moments_are_those_of_the_clock_on_the_wall() {
        let at = "2026-11-21T08:00:03.1234Z".parse().unwrap();
        assert_eq!(moment(at, &TimeZone::UTC), "2026-11-21 08:00:03.123");
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        assert_eq!(moment(at, &zone), "2026-11-21 09:00:03.123");
    }
}
