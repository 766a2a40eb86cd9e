//! The checkers of a real server.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::check_more::More;
use super::lvs::{Inherited, Real};
use super::script::{Command, NamedOwner};
use super::table::{Keyword, Table, Takes};
use super::{Context, exact, push_single};
use crate::diagnostic::{Class, Place};
use crate::model::{self, CheckerKind, Connection, HttpChecker, HttpVersion, Regex, TlsOptions};
use crate::syntax::Line;

/// A checker as far as it is read.
pub(crate) struct Check {
    pub(super) kind: Kind,
    pub(super) place: Place,
    pub(super) own: Inherited,
    log_all_failures: Option<bool>,
    pub(super) to: (Option<IpAddr>, Option<u16>),
    pub(super) bind: (Option<IpAddr>, Option<u16>),
    pub(super) interface: Option<String>,
    pub(super) fwmark: u32,
    web: Option<Box<Web>>,
    script: Option<Box<Program>>,
    pub(super) more: Option<Box<More>>,
}

/// What checkers over HTTP have beyond.
#[derive(Default)]
struct Web {
    version: HttpVersion,
    sni: bool,
    sni_name: Option<String>,
    compliant: bool,
    fast_recovery: bool,
    urls: Vec<Url>,
}

/// What `MISC_CHECK` has beyond.
#[derive(Default)]
struct Program {
    command: Option<Box<Command>>,
    owner: Option<NamedOwner>,
    timeout: Duration,
    dynamic: bool,
}

// Large files have many checkers that need none of these.
impl Check {
    fn web(&mut self) -> &mut Web {
        self.web.get_or_insert_default()
    }

    fn script(&mut self) -> &mut Program {
        self.script.get_or_insert_default()
    }

    pub(super) fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tcp,
    Http,
    Https,
    Misc,
    Smtp,
    Ping,
    Udp,
    Dns,
    File,
    Bfd,
}

/// A `url` block as far as it is read.
#[derive(Default)]
pub(super) struct Url {
    place: Place,
    path: Option<String>,
    virtualhost: Option<String>,
    codes: Vec<(u16, u16)>,
    digest: Option<[u8; 16]>,
    compliant: bool,
    has_regex: bool,
    regex: Regex,
}

pub(super) const RETRY: Keyword<Check> =
    Keyword::new("retry", Takes::u32(0, |c, n| c.own.retry = Some(n as u32)));
const HTTP_RETRY: Keyword<Check> = RETRY.deprecated(&["nb_get_retry"]);
const DELAY_BEFORE_RETRY: Keyword<Check> = Keyword::new(
    "delay_before_retry",
    Takes::seconds(0, |c, time| c.own.delay_before_retry = Some(time)),
);
const WARMUP: Keyword<Check> =
    Keyword::new("warmup", Takes::seconds(0, |c, time| c.own.warmup = Some(time)));
const DELAY_LOOP: Keyword<Check> =
    Keyword::new("delay_loop", Takes::seconds(1, |c, time| c.own.delay_loop = Some(time)));
pub(super) const ALPHA: Keyword<Check> =
    Keyword::new("alpha", Takes::Switch(|c, on| c.own.alpha = Some(on)));
const LOG_ALL_FAILURES: Keyword<Check> =
    Keyword::new("log_all_failures", Takes::Switch(|c, on| c.log_all_failures = Some(on)));
const CONNECT_IP: Keyword<Check> = Keyword::or(
    "connect_ip",
    "the real server's",
    Takes::Address(|c, address| c.to.0 = Some(address)),
);
const CONNECT_PORT: Keyword<Check> = Keyword::or(
    "connect_port",
    "the real server's",
    Takes::Integer { min: 1, max: 65_535, set: |c, n| c.to.1 = Some(n as u16) },
);
const BINDTO: Keyword<Check> =
    Keyword::new("bindto", Takes::Address(|c, address| c.bind.0 = Some(address)));
const BIND_PORT: Keyword<Check> = Keyword::new(
    "bind_port",
    Takes::Integer { min: 1, max: 65_535, set: |c, n| c.bind.1 = Some(n as u16) },
);
const BIND_IF: Keyword<Check> =
    Keyword::new("bind_if", Takes::Text(|c, name| c.interface = Some(name.to_owned())));
const CONNECT_TIMEOUT: Keyword<Check> = Keyword::or(
    "connect_timeout",
    "5 seconds",
    Takes::seconds(1, |c, time| c.own.connect_timeout = Some(time)),
);
const FWMARK: Keyword<Check> =
    Keyword::or("fwmark", "0", Takes::u32(0, |c, n| c.fwmark = n as u32));

/// Where a checker connects to.
pub(super) const CONNECT: &[Keyword<Check>] =
    &[CONNECT_TIMEOUT, CONNECT_PORT, CONNECT_IP, BINDTO, BIND_PORT, BIND_IF, FWMARK];

/// When a checker runs.
pub(super) const TIMING: &[Keyword<Check>] =
    &[DELAY_BEFORE_RETRY, WARMUP, DELAY_LOOP, ALPHA, LOG_ALL_FAILURES];

pub(super) static TCP: Table<Check> =
    Table { block: "TCP_CHECK", keywords: CONNECT, also: &[TIMING, &[RETRY]] };

const WEB: &[Keyword<Check>] = &[
    HTTP_RETRY,
    Keyword::new("virtualhost", Takes::Text(|c, text| c.own.virtualhost = Some(text.to_owned()))),
    Keyword::or("http_protocol", "1.0", Takes::Words { words: 1, read: http_protocol }),
    Keyword::new("enable_sni", Takes::Switch(|c, on| c.web().sni = on)),
    Keyword::new("sni_name", Takes::Words { words: 0, read: sni_name }),
    Keyword::new("fast_recovery", Takes::Switch(|c, on| c.web().fast_recovery = on)),
];

pub(super) static HTTP: Table<Check> = Table {
    block: "HTTP_GET",
    keywords: &[Keyword::new("url", Takes::Block { words: 0, read: url })],
    also: &[CONNECT, TIMING, WEB],
};

pub(super) static HTTPS: Table<Check> = Table {
    block: "SSL_GET",
    keywords: &[
        Keyword::new("url", Takes::Block { words: 0, read: tls_url }),
        Keyword::new("tls_compliant", Takes::Switch(|c, on| c.web().compliant = on)),
    ],
    also: &[CONNECT, TIMING, WEB],
};

pub(super) static MISC: Table<Check> = Table {
    block: "MISC_CHECK",
    keywords: &[
        Keyword::new("misc_path", Takes::Program(|c, command| c.script().command = Some(command))),
        Keyword::or(
            "misc_timeout",
            "delay_loop of the virtual server",
            Takes::u32(0, |c, n| c.script().timeout = Duration::from_secs(n as u64)),
        ),
        Keyword::new("misc_dynamic", Takes::Flag(|c| c.script().dynamic = true)),
        Keyword::new("user", Takes::Words { words: 1, read: user }),
        RETRY,
    ],
    also: &[TIMING],
};

const URL_KEYWORDS: &[Keyword<Url>] = &[
    Keyword::new("path", Takes::Text(|u, text| u.path = Some(text.to_owned()))),
    Keyword::or("status_code", "200-299", Takes::Words { words: 1, read: status_code }),
    Keyword::new("digest", Takes::Words { words: 1, read: digest }),
    Keyword::new("virtualhost", Takes::Text(|u, text| u.virtualhost = Some(text.to_owned()))),
    Keyword::idle("regex", Takes::Words { words: 1, read: regex }),
    Keyword::idle("regex_no_match", Takes::Flag(|u| u.regex.invert = true)),
    Keyword::idle("regex_options", Takes::Words { words: 1, read: regex_options }),
    Keyword::idle_or(
        "regex_min_offset",
        "0",
        Takes::u32(0, |u, n| u.regex.min_offset = n as usize),
    ),
    Keyword::idle("regex_max_offset", Takes::u32(0, |u, n| u.regex.max_offset = Some(n as usize))),
    Keyword::idle("regex_stack", Takes::Words { words: 2, read: regex_stack }),
];

pub(super) static URL: Table<Url> = Table { block: "url", keywords: URL_KEYWORDS, also: &[] };

pub(super) static TLS_URL: Table<Url> = Table {
    block: "url",
    keywords: &[Keyword::new("tls_compliant", Takes::Switch(|u, on| u.compliant = on))],
    also: &[URL_KEYWORDS],
};

fn regex(url: &mut Url, context: &mut Context<'_>, line: &Line) {
    let words = line.command(&mut context.diags);
    url.has_regex = true;
    url.regex.pattern = words.get(1).cloned().unwrap_or_default();
}

/// Options of PCRE2; keepalived says nothing of a word it does not know.
const REGEX_OPTIONS: [&str; 24] = [
    "allow_empty_class",
    "alt_bsux",
    "auto_callout",
    "caseless",
    "dollar_endonly",
    "dotall",
    "dupnames",
    "extended",
    "firstline",
    "match_unset_backref",
    "multiline",
    "never_ucp",
    "never_utf",
    "no_auto_capture",
    "no_auto_possess",
    "no_dotstar_anchor",
    "no_start_optimize",
    "ucp",
    "ungreedy",
    "utf",
    "never_backslash_c",
    "alt_circumflex",
    "alt_verbnames",
    "use_offset_limit",
];

fn regex_options(url: &mut Url, context: &mut Context<'_>, line: &Line) {
    for word in line.words_from(1) {
        if REGEX_OPTIONS.contains(&word.text) {
            url.regex.options.push(word.text.to_owned());
        } else {
            let message = format!("`{}` is no option of a pattern and is ignored", word.text);
            context.diags.note("regex-options", word.place, message);
        }
    }
}

fn regex_stack(url: &mut Url, context: &mut Context<'_>, line: &Line) {
    let size = |context: &mut Context<'_>, index| {
        context.integer_or(line, index, 1, u32::MAX.into(), "PCRE2's").map(|size| size as u32)
    };
    let first = size(context, 1);
    url.regex.stack = first.zip(size(context, 2));
}

pub(super) fn check(kind: Kind, place: Place) -> Check {
    Check {
        kind,
        place,
        own: Inherited::default(),
        log_all_failures: None,
        to: (None, None),
        bind: (None, None),
        interface: None,
        fwmark: 0,
        web: None,
        script: None,
        more: None,
    }
}

/// Reads a `TCP_CHECK`.
pub(crate) fn tcp(real: &mut Real, context: &mut Context<'_>, line: &Line) {
    let mut check = check(Kind::Tcp, line.place());
    context.block(&TCP, &mut check, line);
    real.add(check);
}

/// Reads an `HTTP_GET`.
pub(crate) fn http(real: &mut Real, context: &mut Context<'_>, line: &Line) {
    web(real, context, line, Kind::Http, &HTTP);
}

/// Reads an `SSL_GET`.
pub(crate) fn https(real: &mut Real, context: &mut Context<'_>, line: &Line) {
    web(real, context, line, Kind::Https, &HTTPS);
}

fn web(real: &mut Real, context: &mut Context<'_>, line: &Line, kind: Kind, table: &Table<Check>) {
    let mut check = check(kind, line.place());
    context.block(table, &mut check, line);
    if check.web().urls.is_empty() {
        let message = format!("`{}` has no url and cannot be made", line.str(0));
        context.diags.warn("no-url", check.place, message).hint("add `url { path / }`");
    }
    real.add(check);
}

/// Reads a `MISC_CHECK`.
pub(crate) fn misc(real: &mut Real, context: &mut Context<'_>, line: &Line) {
    let mut check = check(Kind::Misc, line.place());
    context.block(&MISC, &mut check, line);
    if check.script().command.is_none() {
        let message = "`MISC_CHECK` has no misc_path and cannot be made";
        context
            .diags
            .warn("script-empty", check.place, message)
            .hint("add `misc_path \"COMMAND\"`");
    }
    real.add(check);
}

fn user(check: &mut Check, context: &mut Context<'_>, line: &Line) {
    check.script().owner = Some(context.owner_of(line));
}

fn http_protocol(check: &mut Check, context: &mut Context<'_>, line: &Line) {
    check.web().version = match line.str(1) {
        "1.0" => HttpVersion::Http10,
        "1.0c" | "1.0C" => HttpVersion::Http10Close,
        "1.1" => HttpVersion::Http11,
        other => {
            let message = format!("`{other}` is no version of HTTP and is ignored");
            context
                .diags
                .warn("http-protocol", line.place_from(1), message)
                .hint("use 1.0, 1.0c or 1.1");
            check.web().version
        }
    };
}

fn sni_name(check: &mut Check, _: &mut Context<'_>, line: &Line) {
    check.web().sni = true;
    check.web().sni_name = line.word(1).map(|word| word.text.to_owned());
}

fn url(check: &mut Check, context: &mut Context<'_>, line: &Line) {
    url_of(check, context, line, &URL);
}

fn tls_url(check: &mut Check, context: &mut Context<'_>, line: &Line) {
    url_of(check, context, line, &TLS_URL);
}

fn url_of(check: &mut Check, context: &mut Context<'_>, line: &Line, table: &Table<Url>) {
    let mut url = Url { place: line.place(), ..Url::default() };
    context.block(table, &mut url, line);
    if url.path.is_none() {
        context
            .diags
            .warn("no-path", url.place, "this url has no path and is ignored")
            .hint("add `path /`");
        return;
    }
    let web = check.web();
    web.compliant |= url.compliant;
    push_single(&mut web.urls, url);
}

fn status_code(url: &mut Url, context: &mut Context<'_>, line: &Line) {
    for word in line.words_from(1) {
        let (first, last) = word.text.split_once('-').unwrap_or((word.text, word.text));
        let code = |text: &str| text.parse().ok().filter(|code| (100..=599).contains(code));
        match (code(first), code(last)) {
            (Some(first), Some(last)) if first <= last => url.codes.push((first, last)),
            _ => {
                let message = format!("`{}` is no status code and is ignored", word.text);
                context
                    .diags
                    .warn("status-code", word.place, message)
                    .hint("use 100 to 599, or a range as 200-299");
            }
        }
    }
}

fn digest(url: &mut Url, context: &mut Context<'_>, line: &Line) {
    let text = line.str(1);
    let mut digest = [0; 16];
    let pairs = text.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair)
            .ok()
            .filter(|pair| pair.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        u8::from_str_radix(pair, 16).ok()
    });
    let valid = text.len() == 32
        && digest.iter_mut().zip(pairs).all(|(to, byte)| byte.map(|byte| *to = byte).is_some());
    if url.digest.is_some() {
        context.given_before(line);
    } else if valid {
        url.digest = Some(digest);
    } else {
        let message = "this digest is not 32 hexadecimal digits and is ignored";
        context.diags.warn("digest", line.place_from(1), message).hint("as `md5sum` prints it");
    }
}

/// Where a checker's settings come from, next to last.
pub(crate) struct Above<'s> {
    pub(crate) real: Option<&'s Inherited>,
    pub(crate) server: &'s Inherited,
    pub(crate) address: SocketAddr,
}

/// Takes defaults and what is inherited; `None` if what the check needs is missing.
pub(crate) fn finish(
    context: &mut Context<'_>,
    check: Check,
    above: &Above<'_>,
) -> Option<model::Checker> {
    let own = &check.own;
    let none = Inherited::default();
    let (real, server) = (above.real.unwrap_or(&none), above.server);
    let check_kind = check.kind;
    let delay_loop =
        own.delay_loop.or(real.delay_loop).or(server.delay_loop).unwrap_or(Duration::from_secs(60));
    let usual_retry = match check.kind {
        Kind::Misc => 0,
        Kind::Dns => 3,
        _ => 1,
    };
    let retry = own.retry.or(real.retry).or(server.retry).unwrap_or(usual_retry);
    let delay_before_retry =
        own.delay_before_retry.or(real.delay_before_retry).or(server.delay_before_retry);
    let connection = Connection {
        to: SocketAddr::new(
            check.to.0.unwrap_or(above.address.ip()),
            check.to.1.unwrap_or(above.address.port()),
        ),
        bind: bind(context, &check),
        interface: check.interface.clone(),
        fwmark: check.fwmark,
        timeout: own
            .connect_timeout
            .or(real.connect_timeout)
            .or(server.connect_timeout)
            .unwrap_or(Duration::from_secs(5)),
    };
    let kind = match check.kind {
        Kind::Tcp => CheckerKind::Tcp { connection },
        Kind::Http | Kind::Https => {
            let tls_host = own.virtualhost.as_ref().or(server.virtualhost.as_ref());
            let host = own
                .virtualhost
                .as_ref()
                .or(real.virtualhost.as_ref())
                .or(server.virtualhost.as_ref());
            let hosts = [host, tls_host];
            let web = check.web.map(|web| *web).unwrap_or_default();
            if web.urls.is_empty() {
                let keyword = if check.kind == Kind::Https { "SSL_GET" } else { "HTTP_GET" };
                return Some(model::Checker::impossible(keyword, delay_loop));
            }
            let tls = TlsOptions { sni: web.sni, sni_name: web.sni_name, compliant: web.compliant };
            CheckerKind::Http(Box::new(HttpChecker {
                connection,
                tls: (check.kind == Kind::Https).then_some(tls),
                version: web.version,
                urls: exact(web.urls.into_iter().map(|url| finish_url(url, hosts))),
                fast_recovery: web.fast_recovery,
            }))
        }
        Kind::Misc => {
            let program = check.script.map(|program| *program).unwrap_or_default();
            let command = program.command.map(|command| command.owned_by(program.owner));
            let Some(script) = context.check_tracked(command, Class::Note) else {
                return Some(model::Checker::impossible("MISC_CHECK", delay_loop));
            };
            // The virtual server's period bounds it, whatever the checker's own is.
            let timeout = match program.timeout {
                Duration::ZERO => server.delay_loop.unwrap_or(Duration::from_secs(60)),
                timeout => timeout,
            };
            CheckerKind::Misc { script, timeout, dynamic: program.dynamic }
        }
        Kind::Ping => CheckerKind::Ping { connection },
        Kind::Smtp | Kind::Udp | Kind::Dns | Kind::File | Kind::Bfd => {
            check.more.map(|more| *more).unwrap_or_default().finish(check_kind, connection)?
        }
    };
    Some(model::Checker {
        kind,
        delay_loop,
        retry,
        delay_before_retry: delay_before_retry.unwrap_or(match check_kind {
            Kind::Http | Kind::Https => Duration::from_secs(3),
            Kind::Dns => delay_loop,
            _ => Duration::from_secs(1),
        }),
        warmup: own.warmup.or(real.warmup).or(server.warmup).unwrap_or(delay_loop),
        alpha: own.alpha.or(real.alpha).or(server.alpha).unwrap_or(false),
        log_all_failures: check.log_all_failures.unwrap_or(context.globals.log_all_failures),
    })
}

fn bind(context: &mut Context<'_>, check: &Check) -> Option<SocketAddr> {
    match check.bind {
        (Some(address), port) => Some(SocketAddr::new(address, port.unwrap_or(0))),
        (None, Some(_)) => {
            context
                .diags
                .note("bind-port", check.place, "bind_port has no effect without bindto")
                .hint("add `bindto ADDRESS`");
            None
        }
        (None, None) => None,
    }
}

/// A page; `hosts` are those to ask for over HTTP and over TLS where it names none.
fn finish_url(url: Url, hosts: [Option<&String>; 2]) -> model::Url {
    model::Url {
        path: url.path.unwrap_or_default(),
        tls_host: url.virtualhost.clone().or_else(|| hosts[1].cloned()),
        virtualhost: url.virtualhost.or_else(|| hosts[0].cloned()),
        status_codes: if url.codes.is_empty() { vec![(200, 299)] } else { url.codes },
        digest: url.digest,
        regex: url.has_regex.then_some(url.regex),
    }
}
