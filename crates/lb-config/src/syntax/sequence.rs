//! `~SEQ`, `~SEQx` and `~LST`: a line for each value.

use super::definition::name_length;

/// Assignments of a loop, made one by one: a loop of two thousand million lines costs nothing until it runs.
#[derive(Debug)]
pub(crate) enum Values {
    /// `~SEQ`
    Numbers { name: String, next: i64, step: i64, end: i64, hex: bool },
    /// `~LST`
    Tuples { names: Vec<String>, tuples: std::vec::IntoIter<Vec<String>> },
}

impl Iterator for Values {
    type Item = Vec<(String, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Values::Numbers { name, next, step, end, hex } => {
                let value = *next;
                if (*step > 0 && value > *end) || (*step < 0 && value < *end) {
                    return None;
                }
                *next = value.saturating_add(*step);
                let value = if *hex { format!("{value:x}") } else { value.to_string() };
                Some(vec![(name.clone(), value)])
            }
            Values::Tuples { names, tuples } => {
                let mut values = tuples.next()?.into_iter();
                Some(
                    names
                        .iter()
                        .map(|name| (name.clone(), values.next().unwrap_or_default()))
                        .collect(),
                )
            }
        }
    }
}

/// What a line asks for: the kind, the argument text, and where the text to repeat starts.
pub(crate) struct Head<'t> {
    pub(crate) kind: Kind,
    pub(crate) arguments: &'t str,
    pub(crate) body: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Seq,
    SeqHex,
    Lst,
}

/// Recognises the start of a loop; `Err` if it starts like one and is none.
pub(crate) fn head(text: &str) -> Option<Result<Head<'_>, &'static str>> {
    let rest = text.strip_prefix('~')?;
    let kinds = [("SEQx", Kind::SeqHex), ("SEQ", Kind::Seq), ("LST", Kind::Lst)];
    let (kind, rest) =
        kinds.iter().find_map(|(name, kind)| Some((*kind, rest.strip_prefix(name)?)))?;
    let Some(inner) = rest.trim_start().strip_prefix('(') else {
        return Some(Err("`(` must follow"));
    };
    let Some(close) = inner.find(')') else { return Some(Err("the closing `)` is missing")) };
    let body = text.len() - inner.len() + close + 1;
    Some(Ok(Head { kind, arguments: &inner[..close], body }))
}

/// Makes values of the expanded arguments.
pub(crate) fn values(kind: Kind, arguments: &str) -> Result<Values, &'static str> {
    match kind {
        Kind::Seq => numbers(arguments, false),
        Kind::SeqHex => numbers(arguments, true),
        Kind::Lst => tuples(arguments),
    }
}

fn numbers(arguments: &str, hex: bool) -> Result<Values, &'static str> {
    let mut words = arguments.split(',').map(str::trim);
    let name = words.next().unwrap_or_default();
    if name.is_empty() || name_length(name) != name.len() {
        return Err("the first argument must be a name without `$`");
    }
    let numbers: Option<Vec<i64>> = words.map(c_number).collect();
    let numbers = numbers.ok_or("a bound is not a number")?;
    let (start, step, end) = match *numbers.as_slice() {
        [end] => {
            let start = if end < 0 { -1 } else { 1 };
            (start, if end < start { -1 } else { 1 }, end)
        }
        [start, end] => (start, if end < start { -1 } else { 1 }, end),
        [start, step, end] => (start, step, end),
        _ => return Err("one to three numbers are needed"),
    };
    if step == 0 || (end - start).signum() * step.signum() < 0 {
        return Err("the step does not lead to the end");
    }
    if hex && start.min(end) < 0 {
        return Err("hexadecimal numbers cannot be negative");
    }
    Ok(Values::Numbers { name: name.to_owned(), next: start, step, end, hex })
}

/// A number as C reads it with base 0: decimal, `0x` or `0` octal, within 32 bits.
fn c_number(word: &str) -> Option<i64> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let lower = digits.to_ascii_lowercase();
    let value = match lower.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None if lower.len() > 1 && lower.starts_with('0') => u32::from_str_radix(&lower, 8),
        None => lower.parse(),
    };
    value.ok().map(i64::from).map(|value| if negative { -value } else { value })
}

fn tuples(arguments: &str) -> Result<Values, &'static str> {
    let mut items = items(arguments)?.into_iter();
    let names = items.next().unwrap_or_default();
    if names.is_empty()
        || names.iter().any(|name| name.is_empty() || name_length(name) != name.len())
    {
        return Err("the first argument must be a name without `$`, or several in braces");
    }
    let tuples: Vec<Vec<String>> = items.collect();
    if tuples.iter().any(|tuple| tuple.len() > names.len()) {
        return Err("there are more values than names");
    }
    Ok(Values::Tuples { names, tuples: tuples.into_iter() })
}

/// Splits at commas outside braces; `{a, b}` is one item of several words.
fn items(arguments: &str) -> Result<Vec<Vec<String>>, &'static str> {
    let mut items = Vec::new();
    let mut rest = arguments.trim();
    while !rest.is_empty() {
        let (item, after) = if let Some(inner) = rest.strip_prefix('{') {
            let close = inner.find('}').ok_or("the closing `}` is missing")?;
            (
                inner[..close].split(',').map(|word| word.trim().to_owned()).collect(),
                inner[close + 1..].trim_start(),
            )
        } else {
            let comma = rest.find(',').unwrap_or(rest.len());
            (vec![rest[..comma].trim().to_owned()], &rest[comma..])
        };
        items.push(item);
        rest = match after.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if after.is_empty() => after,
            None => return Err("`,` must follow `}`"),
        };
    }
    Ok(items)
}
