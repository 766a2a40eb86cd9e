//! `lbctl replay`: plays what an advertiser was told again, and says what it does.

mod machine;
mod player;
mod show;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use lb_node::record::Line;
use serde::Serialize;

use crate::text;
use player::{Player, Run};

/// The longest line, in octets: a large configuration.
const LONGEST: u64 = 256 * 1024 * 1024;

/// Plays a record of `lbd --record` again, and says what lbd does and why
///
/// The same state machines as in lbd are told the same at the same times. Nothing is sent and no
/// address is touched.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The record
    file: PathBuf,
    /// Print one JSON object for programs
    #[arg(long)]
    json: bool,
}

/// What a record tells.
#[derive(Debug, Default, Serialize)]
struct Story {
    /// Lines that were played.
    lines: u64,
    /// One for each start of the advertiser.
    runs: Vec<Run>,
    /// Why the last line is not whole, if it is not.
    cut: Option<String>,
}

/// Plays a record.
///
/// # Errors
/// The file cannot be read, or is no record; what comes before the mistake is shown all the same.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = args.file.display();
    let file = File::open(&args.file).with_context(|| format!("cannot read {path}"))?;
    let mut story = Story::default();
    let told = play(BufReader::new(file), &mut story);
    let text = if args.json {
        serde_json::to_string_pretty(&story)? + "\n"
    } else {
        show::render(&story, &jiff::tz::TimeZone::system(), text::width())
    };
    text::print(&text)?;
    told.with_context(|| path.to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn play(mut file: impl BufRead, story: &mut Story) -> anyhow::Result<()> {
    let mut player = Player::default();
    let told = lines(&mut file, story, &mut player);
    story.runs = player.finish();
    told
}

fn lines(file: &mut impl BufRead, story: &mut Story, player: &mut Player) -> anyhow::Result<()> {
    let mut text = Vec::new();
    loop {
        let number = story.lines + 1;
        text.clear();
        let read = file.by_ref().take(LONGEST).read_until(b'\n', &mut text);
        let here = || format!("line {number}");
        match read.with_context(here)? {
            0 if story.lines == 0 => bail!("the file is empty"),
            0 => return Ok(()),
            _ => {}
        }
        let whole = text.ends_with(b"\n");
        if !whole && text.len() as u64 == LONGEST {
            bail!("line {number} is longer than any line of a record");
        }
        let line = match Line::parse(&text) {
            // Whoever writes dies between two octets.
            Err(_) if !whole && number > 1 => {
                story.cut = Some(format!("line {number} is not whole"));
                return Ok(());
            }
            line => line.with_context(here)?,
        };
        player.tell(line).with_context(here)?;
        story.lines = number;
    }
}

/// What a test plays, as text in UTC.
#[cfg(test)]
fn told(record: &[u8]) -> (String, anyhow::Result<()>) {
    let mut story = Story::default();
    let verdict = play(record, &mut story);
    let text = show::render(&story, &jiff::tz::TimeZone::UTC, 80);
    (anstream::adapter::strip_str(&text).to_string(), verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_node::record::{Entry, FORMAT, Header};

    fn record(config: &str, entries: &[(u64, Entry)]) -> Vec<u8> {
        let header = Header {
            format: FORMAT,
            program: "lbd 0.1.0".into(),
            wall: "2026-11-21T08:00:00Z".parse().unwrap(),
            monotonic: 5,
            seed: 1,
            adopt: Default::default(),
            number: 0,
            config: config.into(),
        };
        let mut out = Vec::new();
        Line { at: 0, entry: Entry::Node(header) }.emit(&mut out);
        for (millis, entry) in entries {
            Line { at: millis * 1_000_000, entry: entry.clone() }.emit(&mut out);
        }
        out
    }

    const CONFIG: &str = r#"
[[vrrp_instance]]
name = "VI_1"
state = "BACKUP"
interface = "eth0"
virtual_router_id = 51
priority = 150
version = 3
virtual_ipaddress = ["192.0.2.10/24"]
"#;

    /// A router that is alone, then stops.
    fn lonely() -> Vec<u8> {
        let address = [192, 0, 2, 1].into();
        record(
            CONFIG,
            &[
                (0, Entry::Link { link: 2, name: "eth0".into(), up: true }),
                (0, Entry::Address { link: 2, address, present: true }),
                (0, Entry::Start),
                (3_415, Entry::Timer),
                (4_415, Entry::Timer),
                (5_000, Entry::Link { link: 2, name: "eth0".into(), up: false }),
                (6_000, Entry::Stop),
                (6_000, Entry::End),
            ],
        )
    }

    #[test]
    fn a_router_that_is_alone_becomes_master_again() {
        let (text, verdict) = told(&lonely());
        verdict.unwrap();
        for expected in
            ["INIT -> BACKUP", "BACKUP -> MASTER", "adds 192.0.2.10/24", "MASTER -> FAULT"]
        {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        text.lines().for_each(|line| assert!(line.chars().count() <= 80, "{line}"));
        assert!(text.contains("the record ends in order"), "{text}");
    }

    #[test]
    fn every_cut_is_told_and_none_is_a_mistake() {
        let whole = lonely();
        let first = whole.iter().position(|octet| *octet == b'\n').unwrap() + 1;
        for end in first..whole.len() - 1 {
            let (text, verdict) = told(&whole[..end]);
            verdict.unwrap();
            assert!(text.contains("cut short"), "{end}: {text}");
        }
        for end in 0..first - 1 {
            assert!(told(&whole[..end]).1.is_err());
        }
    }

    #[test]
    fn a_gap_is_told() {
        let text = told(&record(CONFIG, &[(1, Entry::Gap { lost: 3 }), (2, Entry::End)])).0;
        assert!(text.contains("3 inputs are missing"), "{text}");
    }

    #[test]
    fn hostile_records_are_mistakes() {
        let bad = |record: &[u8]| format!("{:#}", told(record).1.unwrap_err());
        assert!(bad(b"{}\n").contains("line 1"));
        assert!(bad(b"\xff\xfe\n").contains("not a line"));
        assert!(bad(b"{\"t\":0,\"what\":\"start\"}\n").contains("begins with"));
        assert!(bad(&record("[nonsense", &[])).contains("configuration"));
        assert!(bad(&record(CONFIG, &[(9, Entry::Start), (3, Entry::Timer)])).contains("before"));
        let reload = Entry::Reload { config: "vrrp_instance = 3".into() };
        assert!(bad(&record(CONFIG, &[(9, Entry::Start), (10, reload)])).contains("line 3"));
        let mut garbage = record(CONFIG, &[(1, Entry::Start)]);
        garbage.extend(b"[[[[[[\n");
        assert!(bad(&garbage).contains("line 3"));
    }

    #[test]
    fn no_damage_brings_it_down() {
        let whole = include_bytes!("../tests/cmd/replay.in/incident");
        let mut random = 7_u64;
        let mut below = |limit: usize| {
            // xorshift64
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random as usize % limit
        };
        for _ in 0..200 {
            let mut record = whole.to_vec();
            // Digits and lines rather than letters, so that most of it can still be read.
            for _ in 0..20 {
                let place = below(record.len());
                if record[place].is_ascii_digit() {
                    record[place] = b'0' + below(10) as u8;
                }
            }
            let mut lines: Vec<&[u8]> = record.split_inclusive(|octet| *octet == b'\n').collect();
            let (one, other) = (1 + below(lines.len() - 1), 1 + below(lines.len() - 1));
            lines.swap(one, other);
            let _ = told(&lines.concat()); // that it returns is all there is to see
        }
    }

    #[test]
    fn the_end_of_time_is_no_trouble() {
        let mut record = lonely();
        let last = record.len() - 1;
        record.truncate(record[..last].iter().rposition(|octet| *octet == b'\n').unwrap() + 1);
        for entry in [Entry::Timer, Entry::Start, Entry::Timer, Entry::Stop, Entry::End] {
            Line { at: u64::MAX, entry }.emit(&mut record);
        }
        told(&record).1.unwrap();
        let header = r#"{"t":0,"what":"node","format":1,"program":"","wall":"9999-12-30T22:00:00Z","monotonic":18446744073709551615,"seed":0,"adopt":["VI_1"],"config":""}"#;
        let rest = "{\"t\":18446744073709551615,\"what\":\"start\"}\n";
        told(format!("{header}\n{rest}").as_bytes()).1.unwrap();
    }
}
