//! The checkers of a real server beyond TCP, HTTP and scripts.

use super::Context;
use super::check::{self, ALPHA, CONNECT, Check, Kind, RETRY, TIMING};
use super::hmac::hex;
use super::lvs::Real;
use super::table::{Keyword, Table, Takes};
use crate::model::{
    CheckerKind, Connection, DnsChecker, DnsType, FileChecker, Reply, SmtpChecker, UdpChecker,
};
use crate::syntax::Line;

/// What these checkers say beyond where and when.
#[derive(Default)]
pub(super) struct More {
    helo_name: Option<String>,
    hosts: Vec<Check>,
    payload: Option<Vec<u8>>,
    reply: Option<Reply>,
    min_length: u16,
    max_length: Option<u16>,
    dns_type: DnsType,
    name: Option<String>,
    weight: Option<(i32, bool)>,
}

impl More {
    /// What the checker does; `None` if what it needs is missing.
    pub(super) fn finish(self, kind: Kind, connection: Connection) -> Option<CheckerKind> {
        Some(match kind {
            Kind::Smtp => CheckerKind::Smtp(SmtpChecker { connection, helo_name: self.helo_name }),
            Kind::Udp => CheckerKind::Udp(UdpChecker {
                connection,
                payload: self.payload,
                reply: self.reply,
                min_length: self.min_length,
                max_length: self.max_length.unwrap_or(255),
            }),
            Kind::Dns => CheckerKind::Dns(DnsChecker {
                connection,
                kind: self.dns_type,
                name: self.name.unwrap_or_else(|| ".".to_owned()),
            }),
            Kind::File => {
                let (weight, reverse) = self.weight.unwrap_or_default();
                CheckerKind::File(FileChecker { file: self.name?, weight, reverse })
            }
            _ => CheckerKind::Bfd(self.name?),
        })
    }
}

pub(super) static SMTP: Table<Check> = Table {
    block: "SMTP_CHECK",
    keywords: &[
        Keyword::or(
            "helo_name",
            "smtpchecker.keepalived.org",
            Takes::Text(|c, text| c.more().helo_name = Some(text.to_owned())),
        ),
        RETRY,
        Keyword::new("host", Takes::Block { words: 0, read: host }),
    ],
    also: &[CONNECT, TIMING],
};

pub(super) static HOST: Table<Check> =
    Table { block: "host", keywords: CONNECT, also: &[TIMING, &[RETRY]] };

pub(super) static PING: Table<Check> =
    Table { block: "PING_CHECK", keywords: CONNECT, also: &[TIMING, &[RETRY]] };

pub(super) static UDP: Table<Check> = Table {
    block: "UDP_CHECK",
    keywords: &[
        RETRY,
        Keyword::new("payload", Takes::Words { words: 1, read: payload }),
        Keyword::new("require_reply", Takes::Words { words: 0, read: require_reply }),
        Keyword::or(
            "min_reply_length",
            "0",
            Takes::Integer { min: 0, max: 65_535, set: |c, n| c.more().min_length = n as u16 },
        ),
        Keyword::or(
            "max_reply_length",
            "255",
            Takes::Integer {
                min: 0,
                max: 65_535,
                set: |c, n| c.more().max_length = Some(n as u16),
            },
        ),
    ],
    also: &[CONNECT, TIMING],
};

pub(super) static DNS: Table<Check> = Table {
    block: "DNS_CHECK",
    keywords: &[
        RETRY,
        Keyword::or("type", "SOA", Takes::Words { words: 1, read: dns_type }),
        Keyword::or(
            "name",
            "the root",
            Takes::Text(|c, text| c.more().name = Some(text.to_owned())),
        ),
    ],
    also: &[CONNECT, TIMING],
};

pub(super) static FILE: Table<Check> = Table {
    block: "FILE_CHECK",
    keywords: &[
        Keyword::new("track_file", Takes::Words { words: 1, read: track_file }),
        Keyword::or("weight", "that of the file", Takes::Words { words: 1, read: weight }),
    ],
    also: &[],
};

pub(super) static BFD: Table<Check> = Table {
    block: "BFD_CHECK",
    keywords: &[Keyword::new("name", Takes::Words { words: 1, read: bfd_name }), ALPHA],
    also: &[],
};

fn read(real: &mut Real, context: &mut Context<'_>, line: &Line, kind: Kind, table: &Table<Check>) {
    let mut check = check::check(kind, line.place());
    context.block(table, &mut check, line);
    real.add(check);
}

/// Reads an `SMTP_CHECK`; each `host` in it is a checker of its own.
pub(super) fn smtp(real: &mut Real, context: &mut Context<'_>, line: &Line) {
    let mut check = check::check(Kind::Smtp, line.place());
    context.block(&SMTP, &mut check, line);
    let hosts = std::mem::take(&mut check.more().hosts);
    if hosts.is_empty() {
        real.add(check);
        return;
    }
    for mut host in hosts {
        host.more().helo_name.clone_from(&check.more().helo_name);
        host.own = host.own.or(&check.own);
        real.add(host);
    }
}

fn host(check: &mut Check, context: &mut Context<'_>, line: &Line) {
    context
        .diags
        .note("deprecated", line.keyword_place(), "`host` of `SMTP_CHECK` is an old block")
        .hint("write an `SMTP_CHECK` for each host");
    let mut host = check::check(Kind::Smtp, line.place());
    context.block(&HOST, &mut host, line);
    check.more().hosts.push(host);
}

/// Reads a `PING_CHECK`.
pub(super) fn ping(real: &mut Real, context: &mut Context<'_>, line: &Line) {
    read(real, context, line, Kind::Ping, &PING);
}

/// Reads a `UDP_CHECK`.
pub(super) fn udp(real: &mut Real, context: &mut Context<'_>, line: &Line) {
    read(real, context, line, Kind::Udp, &UDP);
}

/// Reads a `DNS_CHECK`.
pub(super) fn dns(real: &mut Real, context: &mut Context<'_>, line: &Line) {
    read(real, context, line, Kind::Dns, &DNS);
}

/// Reads a `FILE_CHECK`.
pub(super) fn file(real: &mut Real, context: &mut Context<'_>, line: &Line) {
    let mut check = check::check(Kind::File, line.place());
    context.block(&FILE, &mut check, line);
    let place = check.place;
    let Some(name) = &check.more().name else {
        let message = "`FILE_CHECK` names no file and is ignored";
        context.diags.warn("file-check", place, message).hint("add `track_file NAME`");
        return;
    };
    let Some(defaults) = context.tracked.files.get(name) else {
        let message = format!("file `{name}` is not known here; the check is ignored");
        context
            .diags
            .warn("track-unknown", place, message)
            .hint(format!("define it before this place, as in `track_file {name} {{ ... }}`"));
        return;
    };
    let defaults = (i32::from(defaults.0), defaults.1);
    check.more().weight.get_or_insert(defaults);
    real.add(check);
}

/// Reads a `BFD_CHECK`.
pub(super) fn bfd(real: &mut Real, context: &mut Context<'_>, line: &Line) {
    let mut check = check::check(Kind::Bfd, line.place());
    context.block(&BFD, &mut check, line);
    match &check.more().name {
        Some(name) if context.tracked.bfds.contains_key(name) => real.checks.push(check),
        Some(name) => {
            let message = format!("BFD instance `{name}` is not known here; the check is ignored");
            context.diags.warn("track-unknown", check.place, message);
        }
        None => {
            let message = "`BFD_CHECK` names no session and is ignored";
            context.diags.warn("bfd-check", check.place, message).hint("add `name NAME`");
        }
    }
}

/// Hexadecimal digits, with blanks between them or not.
fn payload(check: &mut Check, context: &mut Context<'_>, line: &Line) {
    let digits: String = line.words_from(1).map(|word| word.text).collect();
    match hex(&digits) {
        Some(bytes) => check.more().payload = Some(bytes),
        None => bad_octets(context, line),
    }
}

/// As the payload; `x` stands for any digit.
fn require_reply(check: &mut Check, context: &mut Context<'_>, line: &Line) {
    let digits: String = line.words_from(1).map(|word| word.text).collect();
    let digit = |byte: u8| match byte {
        b'x' | b'X' => Some((0, 0)),
        byte => char::from(byte).to_digit(16).map(|digit| (digit as u8, 0xf)),
    };
    let pairs = digits.as_bytes().chunks(2).map(|pair| {
        let (high, low) = (digit(pair[0])?, digit(*pair.get(1)?)?);
        Some((high.0 << 4 | low.0, high.1 << 4 | low.1))
    });
    let bytes: Option<Vec<(u8, u8)>> = pairs.collect();
    match bytes {
        Some(bytes) => check.more().reply = Some(Reply { bytes }),
        None => bad_octets(context, line),
    }
}

fn bad_octets(context: &mut Context<'_>, line: &Line) {
    let message = format!("`{}` takes pairs of hexadecimal digits", line.str(0));
    context.diags.warn("octets", line.place_from(1), message).hint("as in `0a ff 31`");
}

const TYPES: [(&str, DnsType); 9] = [
    ("A", DnsType::A),
    ("NS", DnsType::Ns),
    ("CNAME", DnsType::Cname),
    ("SOA", DnsType::Soa),
    ("MX", DnsType::Mx),
    ("TXT", DnsType::Txt),
    ("AAAA", DnsType::Aaaa),
    ("RRSIG", DnsType::Rrsig),
    ("DNSKEY", DnsType::Dnskey),
];

fn dns_type(check: &mut Check, context: &mut Context<'_>, line: &Line) {
    let text = line.str(1);
    match TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        Some((_, kind)) => check.more().dns_type = *kind,
        None => {
            let names: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
            let message = format!("`{text}` is no type of query and is ignored");
            let hint = format!("use one of {}", names.join(" "));
            context.diags.warn("dns-type", line.place_from(1), message).hint(hint);
        }
    }
}

fn track_file(check: &mut Check, _: &mut Context<'_>, line: &Line) {
    check.more().name = Some(line.str(1).to_owned());
}

fn bfd_name(check: &mut Check, _: &mut Context<'_>, line: &Line) {
    check.more().name = Some(line.str(1).to_owned());
}

/// `N [reverse|noreverse]`
fn weight(check: &mut Check, context: &mut Context<'_>, line: &Line) {
    let most = i64::from(i32::MAX);
    let Some(weight) = context.integer_or(line, 1, -most, most, "that of the file") else { return };
    let reverse = match line.word(2).map(|word| word.text) {
        None | Some("noreverse") => false,
        Some("reverse") => true,
        Some(other) => {
            let message = format!("`{other}` is neither reverse nor noreverse and is ignored");
            context.diags.warn("weight", line.place_from(2), message);
            false
        }
    };
    check.more().weight = Some((weight as i32, reverse));
}
