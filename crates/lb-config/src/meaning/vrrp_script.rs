//! `vrrp_script`.

use std::time::Duration;

use super::script::{Command, NamedOwner};
use super::table::{Keyword, Table, Takes};
use super::{Context, Draft, lint, track};
use crate::diagnostic::{Class, Place};
use crate::model::{self, VrrpScript};
use crate::syntax::Line;

/// A script as far as it is read.
pub(crate) struct Script {
    name: String,
    place: Place,
    command: Option<Box<Command>>,
    owner: Option<NamedOwner>,
    interval: Duration,
    timeout: Option<Duration>,
    weight: i16,
    reverse: bool,
    rise: u32,
    fall: u32,
    init_fail: bool,
    duplicate: bool,
}

/// 0 is 1, as in keepalived.
fn not_zero(time: Duration) -> Duration {
    if time.is_zero() { Duration::from_secs(1) } else { time }
}

pub(super) static TABLE: Table<Script> = Table {
    block: "vrrp_script",
    keywords: &[
        Keyword::new("script", Takes::Program(|s, command| s.command = Some(command))),
        Keyword::or(
            "interval",
            "1 second",
            Takes::Seconds {
                min: 0,
                max: LONGEST,
                places: 3,
                set: |s, time| s.interval = not_zero(time),
            },
        ),
        Keyword::or(
            "timeout",
            "the interval",
            Takes::Seconds {
                min: 0,
                max: LONGEST,
                places: 3,
                set: |s, time| s.timeout = Some(not_zero(time)),
            },
        ),
        Keyword::or("weight", "0", Takes::Words { words: 1, read: weight }),
        Keyword::or(
            "rise",
            "1",
            Takes::Integer { min: 1, max: i32::MAX as i64, set: |s, n| s.rise = n as u32 },
        ),
        Keyword::or(
            "fall",
            "1",
            Takes::Integer { min: 1, max: i32::MAX as i64, set: |s, n| s.fall = n as u32 },
        ),
        Keyword::new("user", Takes::Words { words: 1, read: user }),
        Keyword::new("init_fail", Takes::Flag(|s| s.init_fail = true)),
    ],
    also: &[],
};

/// Longest time, microseconds.
const LONGEST: u64 = 4_294_967_000_000;

fn weight(script: &mut Script, context: &mut Context<'_>, line: &Line) {
    if let Some((weight, reverse)) = track::weight(context, line, 253, "0") {
        (script.weight, script.reverse) = (weight, reverse);
    }
}

fn user(script: &mut Script, context: &mut Context<'_>, line: &Line) {
    script.owner = Some(context.owner_of(line));
}

/// Reads a block.
pub(crate) fn read(draft: &mut Draft, context: &mut Context<'_>, line: &Line) {
    let mut script = Script {
        name: line.str(1).to_owned(),
        place: line.place(),
        command: None,
        owner: None,
        interval: Duration::from_secs(1),
        timeout: None,
        weight: 0,
        reverse: false,
        rise: 1,
        fall: 1,
        init_fail: false,
        duplicate: context.scripts.contains_key(line.str(1)),
    };
    context.block(&TABLE, &mut script, line);
    if script.command.is_none() {
        let message =
            format!("`vrrp_script {}` has no script, and fails where it is tracked", script.name);
        context.diags.warn("script-empty", script.place, message);
    }
    if script.duplicate {
        let message = format!("`vrrp_script {}` is defined before; the first counts", script.name);
        context.diags.note("duplicate-script", script.place, message);
        return;
    }
    context.scripts.insert(script.name.clone(), (script.weight, script.reverse));
    draft.scripts.push(script);
}

/// Finds the programs; a script that cannot run stays, and fails.
pub(crate) fn finish(context: &mut Context<'_>, scripts: Vec<Script>) -> Vec<VrrpScript> {
    let mut done = Vec::with_capacity(scripts.len());
    for script in scripts {
        let command = script.command.map(|command| command.owned_by(script.owner));
        let checked = context.check_tracked(command, Class::General).unwrap_or_else(|| {
            let reason = format!("vrrp_script {} has no script", script.name);
            model::Script { unusable: Some(reason), ..model::Script::new([""]) }
        });
        let finished = VrrpScript {
            name: script.name,
            script: checked,
            interval: script.interval,
            timeout: script.timeout.unwrap_or(script.interval),
            rise: script.rise,
            fall: script.fall,
            init_fail: script.init_fail,
        };
        lint::script(context, &finished, script.place);
        done.push(finished);
    }
    done
}
