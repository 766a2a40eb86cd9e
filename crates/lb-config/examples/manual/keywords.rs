//! Keywords as mdoc(7).

use std::fmt::Write as _;

use lb_config::{Keyword, Kind, OWN};

/// Words in capitals that stand for themselves in a synopsis; others stand for what the operator puts
/// there.
const LITERAL: [&str; 23] = [
    "A", "AAAA", "AH", "BACKUP", "CNAME", "DNSKEY", "DR", "ETHTOOL", "IOCTL", "MASTER", "MII",
    "MX", "NAT", "NS", "PASS", "RRSIG", "SCTP", "SOA", "TCP", "TUN", "TXT", "UDP", "VS",
];

/// Longest time that has a bound at all, microseconds.
const LONGEST: u64 = 4_294_967_000_000_000;

/// Whether two keywords say the same to a reader.
pub fn same(one: &Keyword, other: &Keyword) -> bool {
    one.name == other.name
        && one.deprecated == other.deprecated
        && one.arguments == other.arguments
        && one.default == other.default
        && one.meaning == other.meaning
}

/// What stands beside what nothing acts on.
pub const NOT_ACTED_ON: &str = ".Bq Em read, not acted on yet\n";

/// A list of them; nothing if there are none. What nothing acts on is marked if asked, and what is lbd's own
/// among what is not.
pub fn list(keywords: &[&Keyword], marked: bool) -> String {
    if keywords.is_empty() {
        return String::new();
    }
    let all_own = keywords.iter().all(|keyword| keyword.since == OWN);
    let items: String = keywords.iter().map(|keyword| item(keyword, marked, !all_own)).collect();
    format!(".Bl -tag -width Ds\n{items}.El\n")
}

fn item(keyword: &Keyword, marked: bool, own_marked: bool) -> String {
    let arguments = arguments(&keyword.arguments);
    let mut out = match (keyword.kind, arguments.as_str()) {
        (Kind::Positional, "") => {
            format!(".It Ic {}\n", roff(keyword.name.trim_matches(['<', '>'])))
        }
        (Kind::Positional, arguments) => format!(".It No \"{arguments}\"\n"),
        (_, "") => format!(".It Ic {}\n", roff(keyword.name)),
        (_, arguments) => format!(".It Ic {} No \"{arguments}\"\n", roff(keyword.name)),
    };
    for sentence in sentences(keyword) {
        let _ = writeln!(out, "{sentence}");
    }
    if own_marked && keyword.since == OWN {
        out.push_str("An extension of lbd.\n");
    }
    if marked && !keyword.acted_on {
        out.push_str(NOT_ACTED_ON);
    }
    out
}

/// Everything that is said of it, a line of mdoc for each sentence.
fn sentences(keyword: &Keyword) -> Vec<String> {
    let mut said: Vec<_> =
        keyword.meaning.split_inclusive(". ").map(|text| prose(text.trim())).collect();
    if let Some(range) = range(keyword) {
        said.push(range);
    }
    if !keyword.default.is_empty() {
        said.push(format!("Default: {}.", prose(keyword.default)));
    }
    if !keyword.aliases.is_empty() {
        said.push(format!("Also spelt {}.", names(keyword.aliases)));
    }
    if !keyword.deprecated.is_empty() {
        said.push(format!("Deprecated: {}.", names(keyword.deprecated)));
    }
    if keyword.since > "2" && keyword.since != OWN {
        said.push(format!("Since keepalived {}.", keyword.since));
    }
    said
}

/// The bounds of a number, where its synopsis does not say them.
fn range(keyword: &Keyword) -> Option<String> {
    if keyword.arguments.contains("..") || keyword.arguments.contains('|') {
        return None;
    }
    let seconds = |micros: u64| micros as f64 / 1e6;
    match keyword.kind {
        Kind::Integer { min, max } if max < i64::from(i32::MAX) => {
            Some(format!("From {} to {max}.", roff(&min.to_string())))
        }
        Kind::Integer { min, .. } if min > 0 => Some(format!("At least {min}.")),
        Kind::Seconds { min, max } if max < LONGEST => {
            Some(format!("From {} to {} seconds.", seconds(min), seconds(max)))
        }
        Kind::Seconds { min: 1, .. } => Some("More than 0, with up to six decimals.".to_owned()),
        Kind::Seconds { min, .. } if min > 0 => Some(format!("At least {} seconds.", seconds(min))),
        _ => None,
    }
}

fn names(names: &[&str]) -> String {
    let bold: Vec<_> = names.iter().map(|name| format!("\\fB{}\\fR", roff(name))).collect();
    bold.join(", ")
}

/// A synopsis, with what stands for something else in italics and words in bold.
fn arguments(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let in_word = |c: char| c.is_ascii_alphabetic() || c == '_';
        let end = if in_word(first) {
            rest.find(|c| !in_word(c)).unwrap_or(rest.len())
        } else {
            rest.find(in_word).unwrap_or(rest.len())
        };
        let (piece, after) = rest.split_at(end);
        rest = after;
        if !in_word(first) {
            out.push_str(&roff(piece));
        } else if piece.chars().all(|c| c.is_ascii_uppercase()) && !LITERAL.contains(&piece) {
            let _ = write!(out, "\\fI{}\\fR", piece.to_lowercase());
        } else {
            let _ = write!(out, "\\fB{}\\fR", roff(piece));
        }
    }
    out
}

/// Text whose words between backticks are bold.
fn prose(text: &str) -> String {
    let pieces = text.split('`').enumerate();
    let marked = pieces.map(|(at, piece)| match at % 2 {
        0 => roff(piece),
        _ => format!("\\fB{}\\fR", roff(piece)),
    });
    marked.collect()
}

/// Text that roff(7) shows as it is, anywhere in a line but at its start if that is a full stop.
fn roff(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('"', "\\(dq").replace('^', "\\(ha")
}
