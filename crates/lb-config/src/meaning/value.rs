//! Words to values: numbers, times, booleans, addresses and names.

use std::net::IpAddr;
use std::time::Duration;

use super::Context;
use crate::diagnostic::{Class, Diagnostic};
use crate::syntax::{Line, Word};

impl Context<'_> {
    /// Nothing, or `true on yes false off no`. `None` if it is something else.
    pub(crate) fn switch(&mut self, line: &Line) -> Option<bool> {
        let Some(word) = line.word(1) else { return Some(true) };
        let on = boolean(word.text);
        if on.is_none() {
            let message = format!("`{}` is no boolean; `{}` is ignored", word.text, line.str(0));
            self.diags
                .warn("boolean", word.place, message)
                .hint("use on, yes, true, off, no or false");
        }
        on
    }

    /// The whole number a word is, or a complaint that names the default, and `None`.
    pub(crate) fn integer_or(
        &mut self,
        line: &Line,
        index: usize,
        min: i64,
        max: i64,
        default: &str,
    ) -> Option<i64> {
        // The place is for complaints, and nearly all numbers are fine.
        if let Ok(number) = line.str(index).parse()
            && (min..=max).contains(&number)
        {
            return Some(number);
        }
        let word = line.word(index)?;
        self.number(word, min, max, default)
    }

    /// At run time a number with something behind it counts, with a warning; `-t` refuses it.
    fn number(&mut self, word: Word<'_>, min: i64, max: i64, default: &str) -> Option<i64> {
        let (digits, rest) = split_number(word.text);
        let Ok(number) = digits.parse::<i64>() else {
            let message = format!("`{}` is not a number", word.text);
            let diagnostic = self.diags.warn("number", word.place, message);
            diagnostic.class(Class::InvalidNumber).hint(range_hint(min, max, default));
            return None;
        };
        if !rest.is_empty() {
            let message = format!("`{rest}` follows the number {number}");
            let hint = if self.options.testing { "the value is not used" } else { "it is ignored" };
            self.diags
                .warn("number-with-rest", word.place, message)
                .class(Class::InvalidNumber)
                .hint(hint);
            if self.options.testing {
                return None;
            }
        }
        if number < min || number > max {
            let message = format!("{number} is out of range");
            let diagnostic = self.diags.warn("number-range", word.place, message);
            diagnostic.class(Class::InvalidNumber).hint(range_hint(min, max, default));
            return None;
        }
        Some(number)
    }

    pub(crate) fn seconds_or(
        &mut self,
        line: &Line,
        index: usize,
        min: u64,
        max: u64,
        places: u32,
        default: &str,
    ) -> Option<Duration> {
        let word = line.word(index)?;
        let Some((micros, exact)) = decimal(word.text, places) else {
            let message = format!("`{}` is not a time in seconds", word.text);
            let diagnostic = self.diags.warn("number", word.place, message);
            diagnostic.class(Class::InvalidNumber).hint(time_hint(min, max, default));
            return None;
        };
        if !exact {
            let message = format!("`{}` has more than {places} decimals and is rounded", word.text);
            self.diags.warn("decimals", word.place, message).class(Class::InvalidNumber);
        }
        if micros < min || micros > max {
            let message = format!("{} s is out of range", word.text);
            let diagnostic = self.diags.warn("number-range", word.place, message);
            diagnostic.class(Class::InvalidNumber).hint(time_hint(min, max, default));
            return None;
        }
        Some(Duration::from_micros(micros))
    }

    /// Milliseconds with up to three decimals, or a complaint that names the default, and `None`.
    pub(crate) fn milliseconds_or(
        &mut self,
        line: &Line,
        index: usize,
        min: u64,
        max: u64,
        default: &str,
    ) -> Option<Duration> {
        let word = line.word(index)?;
        let Some((thousandths, exact)) = decimal(word.text, 3) else {
            let message = format!("`{}` is not a time in milliseconds", word.text);
            let diagnostic = self.diags.warn("number", word.place, message);
            diagnostic.class(Class::InvalidNumber);
            return None;
        };
        if !exact {
            let message = format!("`{}` has more than 3 decimals and is rounded", word.text);
            self.diags.warn("decimals", word.place, message).class(Class::InvalidNumber);
        }
        let micros = thousandths / 1_000;
        if micros < min || micros > max {
            let message = format!("{} ms is out of range", word.text);
            let hint = format!(
                "use a number from {} to {}; without it the default holds: {default}",
                min / 1_000,
                max / 1_000
            );
            self.diags
                .warn("number-range", word.place, message)
                .class(Class::InvalidNumber)
                .hint(hint);
            return None;
        }
        Some(Duration::from_micros(micros))
    }

    /// Complains of a line whose keyword counts once, and has been given before.
    pub(crate) fn given_before(&mut self, line: &Line) -> &mut Diagnostic {
        let message = format!("`{}` is given before; this one is ignored", line.str(0));
        self.diags.warn("given-before", line.place(), message)
    }

    /// An address, or a complaint and `None`.
    pub(crate) fn address(&mut self, line: &Line, index: usize) -> Option<IpAddr> {
        let word = line.word(index)?;
        let address = word.text.parse().ok();
        if address.is_none() {
            let message =
                format!("`{}` is not an address; `{}` is ignored", word.text, line.str(0));
            self.diags.warn("address", word.place, message);
        }
        address
    }

    /// The name of an interface, or a complaint and `None`.
    pub(crate) fn interface(&mut self, line: &Line, index: usize) -> Option<String> {
        let word = line.word(index)?;
        self.interface_name(word)
    }

    pub(crate) fn interface_name(&mut self, word: Word<'_>) -> Option<String> {
        if word.text.is_empty() || word.text.len() > 15 {
            let message =
                format!("`{}` cannot be the name of an interface and is ignored", word.text);
            self.diags.warn("interface-name", word.place, message).hint("names have 1 to 15 bytes");
            return None;
        }
        self.uses_interface(word.text, word.place);
        Some(word.text.to_owned())
    }
}

/// `true on yes`, `false off no`, exactly.
pub(crate) fn boolean(word: &str) -> Option<bool> {
    match word {
        "true" | "on" | "yes" => Some(true),
        "false" | "off" | "no" => Some(false),
        _ => None,
    }
}

/// A decimal number at the start of a word, and what follows it.
fn split_number(word: &str) -> (&str, &str) {
    let sign = usize::from(word.starts_with(['-', '+']));
    let digits = word[sign..].bytes().take_while(u8::is_ascii_digit).count();
    word.split_at(sign + digits)
}

fn range_hint(min: i64, max: i64, default: &str) -> String {
    let range = match max {
        // The two widest ranges are limits of the machine, not of the thing.
        0x7fff_ffff | 0xffff_ffff => format!("use a whole number from {min}"),
        _ => format!("use a whole number from {min} to {max}"),
    };
    if default.is_empty() {
        range
    } else {
        format!("{range}; without it the default holds: {default}")
    }
}

fn time_hint(min: u64, max: u64, default: &str) -> String {
    let seconds = |micros: u64| micros as f64 / 1e6;
    let range = match max {
        super::table::LONGEST => format!("use a number from {}", seconds(min)),
        _ => format!("use a number from {} to {}", seconds(min), seconds(max)),
    };
    if default.is_empty() {
        range
    } else {
        format!("{range}; without it the default holds: {default}")
    }
}

/// Seconds with decimals to microseconds, rounded half up after `places`; false if that changed it.
pub(crate) fn decimal(word: &str, places: u32) -> Option<(u64, bool)> {
    // Most have no fraction.
    if let Ok(seconds) = word.parse::<u64>() {
        return Some((seconds.checked_mul(1_000_000)?, true));
    }
    let word = word.strip_prefix('+').unwrap_or(word);
    let (whole, fraction) = word.split_once('.').unwrap_or((word, ""));
    if whole.len() + fraction.len() == 0
        || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let kept = fraction.len().min(places as usize);
    let mut value: u64 = if kept == 0 { 0 } else { fraction[..kept].parse().ok()? };
    value *= 10_u64.pow(places - kept as u32);
    let rest = &fraction[kept..];
    let exact = rest.bytes().all(|byte| byte == b'0');
    value += u64::from(rest.bytes().next().is_some_and(|byte| byte >= b'5'));
    let micros = whole.checked_mul(1_000_000)?.checked_add(value * 10_u64.pow(6 - places))?;
    Some((micros, exact))
}
