//! `auth_hmac` of an instance.

use std::time::Duration;

use super::Context;
use super::table::{Keyword, Table, Takes};
use super::vrrp::Instance;
use crate::model::{AntiReplay, Hmac, HmacKey, HmacMode, Secret};
use crate::syntax::Line;

/// The block as far as it is read.
#[derive(Default)]
pub(super) struct Draft {
    keys: Vec<HmacKey>,
    active: Option<u8>,
    window: Option<Duration>,
    replay: AntiReplay,
    mode: HmacMode,
}

pub(super) static TABLE: Table<Draft> = Table {
    block: "auth_hmac",
    keywords: &[
        Keyword::new("key", Takes::Words { words: 2, read: key }),
        Keyword::new(
            "active_key",
            Takes::Integer { min: 1, max: 255, set: |h: &mut Draft, n| h.active = Some(n as u8) },
        ),
        Keyword::or(
            "time_window",
            "three intervals, 5 to 300 seconds",
            Takes::Integer {
                min: 1,
                max: 300,
                set: |h, n| h.window = Some(Duration::from_secs(n as u64)),
            },
        ),
        Keyword::or("anti_replay", "time", Takes::Words { words: 1, read: anti_replay }),
        Keyword::or("mode", "enforce", Takes::Words { words: 1, read: mode }),
    ],
    also: &[],
};

/// Bytes of a key.
const KEY: std::ops::RangeInclusive<usize> = 32..=64;

/// `N TEXT`, `N hex:DIGITS` or `N file:PATH`
fn key(draft: &mut Draft, context: &mut Context<'_>, line: &Line) {
    let Some(id) = context.integer_or(line, 1, 1, 255, "") else { return };
    let text = line.str(2);
    let secret = if let Some(path) = text.strip_prefix("file:") {
        Some(Secret::File(path.to_owned()))
    } else {
        let bytes = match text.strip_prefix("hex:") {
            Some(digits) => hex(digits),
            None => Some(text.as_bytes().to_vec()),
        };
        bytes.filter(|bytes| KEY.contains(&bytes.len())).map(Secret::Bytes)
    };
    let id = id as u8;
    let Some(secret) = secret else {
        context
            .diags
            .warn("hmac-key", line.place_from(2), format!("key {id} is ignored"))
            .hint("a key has 32 to 64 bytes: text, `hex:` and digits, or `file:` and a path");
        return;
    };
    if draft.keys.iter().any(|key| key.id == id) {
        let message = format!("key {id} is given before; the first counts");
        context.diags.warn("hmac-key", line.place(), message);
        return;
    }
    draft.keys.push(HmacKey { id, secret });
}

/// Pairs of hexadecimal digits.
pub(super) fn hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

fn anti_replay(draft: &mut Draft, context: &mut Context<'_>, line: &Line) {
    draft.replay = match line.str(1) {
        "time" => AntiReplay::Time,
        "monotonic" => AntiReplay::Monotonic,
        other => {
            let message = format!("`{other}` is no protection and is ignored");
            context
                .diags
                .warn("hmac-replay", line.place_from(1), message)
                .hint("use time or monotonic");
            draft.replay
        }
    };
}

fn mode(draft: &mut Draft, context: &mut Context<'_>, line: &Line) {
    draft.mode = match line.str(1) {
        "enforce" => HmacMode::Enforce,
        "permissive" => HmacMode::Permissive,
        "receive-only" => HmacMode::ReceiveOnly,
        other => {
            let message = format!("`{other}` is no mode and is ignored");
            context
                .diags
                .warn("hmac-mode", line.place_from(1), message)
                .hint("use enforce, permissive or receive-only");
            draft.mode
        }
    };
}

/// Reads a block.
pub(super) fn read(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    let mut draft = Draft::default();
    context.block(&TABLE, &mut draft, line);
    let Draft { keys, active, window, replay, mode } = draft;
    let active = active.filter(|active| keys.iter().any(|key| key.id == *active));
    match active {
        Some(active) => {
            instance.hmac = Some(Box::new(Hmac { keys, active, window, replay, mode }));
        }
        None => {
            context
                .diags
                .warn("hmac-active-key", line.place(), "auth_hmac has no active key and is ignored")
                .hint("add `key 1 ...` and `active_key 1`");
        }
    }
}
