//! A story as text.

use std::fmt::{self, Write as _};

use jiff::tz::TimeZone;

use super::Story;
use super::player::{Adverts, Happening, Run, What};
use crate::text::{indented, moment, wrapped};
use crate::why;

/// Columns of the time before each line.
const TIME: usize = 12;

/// All runs, each with what the node did and what it sent.
pub fn render(story: &Story, zone: &TimeZone, width: u16) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    for (index, run) in story.runs.iter().enumerate() {
        let last = index + 1 == story.runs.len();
        let _ = show(run, last, story, zone, width, &mut out);
    }
    out
}

fn show(
    run: &Run,
    last: bool,
    story: &Story,
    zone: &TimeZone,
    width: u16,
    out: &mut String,
) -> fmt::Result {
    writeln!(out, "{}, started {}", run.program, moment(run.started, zone))?;
    if !run.adopted.is_empty() {
        let sentence = format!("resumes as MASTER: {}", run.adopted.join(", "));
        writeln!(out, "{}", wrapped(&sentence, width))?;
    }
    for happening in &run.story {
        line(happening, width, out)?;
    }
    for adverts in &run.adverts {
        let Adverts { name, say, count, first, last } = adverts;
        let what = if *count == 1 { "advertisement" } else { "advertisements" };
        let when = if count == &1 {
            format!("at {first:.3} s")
        } else {
            format!("from {first:.3} s to {last:.3} s")
        };
        writeln!(
            out,
            "{}",
            wrapped(&format!("{name} sent {count} {what} of {say}, {when}"), width)
        )?;
    }
    let end = match (run.ended, last, &story.cut) {
        (Some(at), ..) => format!("the record ends in order, at {at:.3} s"),
        (None, true, Some(cut)) => format!("the record is cut short: {cut}"),
        (None, true, None) => {
            "the record is cut short: lbd was killed, failed, or still writes it".to_owned()
        }
        (None, false, _) => "here the advertiser failed, and was started again".to_owned(),
    };
    writeln!(out, "{}", wrapped(&end, width))
}

fn line(happening: &Happening, width: u16, out: &mut String) -> fmt::Result {
    let said = match &happening.what {
        What::Role { name, from, to, .. } => {
            format!("{name}: {} -> {}", why::coloured(*from), why::coloured(*to))
        }
        What::Event { event } => event.to_string(),
        What::Vips { name, added, vips } => {
            format!("{name} {} {}", if *added { "adds" } else { "removes" }, vips.join(", "))
        }
        What::Reload => "another configuration is put in force".to_owned(),
        What::Gap { lost } => format!(
            "{lost} inputs are missing here: the disk was too slow; what follows may not be what \
             happened"
        ),
    };
    let said = indented(&said, TIME, width);
    writeln!(out, "{:>10.3}  {}", happening.at, said.trim_start())?;
    if let What::Role { why: Some(why), .. } = &happening.what {
        out.write_str(&why::reasons(why, TIME + 2, width))?;
    }
    Ok(())
}
