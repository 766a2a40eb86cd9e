//! `virtual_server` and `real_server`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::check::{self, Check};
use super::lvs_method::{real_method, server_method};
use super::lvs_setting::{
    hashed, ip_family, persistence_granularity, persistence_timeout, protocol, scheduler,
    scheduler_flag, sorry_server, sorry_server_inhibit, sorry_server_method,
};
use super::script::Command;
use super::table::{Keyword, LONGEST, Table, Takes};
use super::{Context, Draft, check_more};
use crate::diagnostic::{Class, Place};
use crate::model::{Family, LvsMethod, LvsScheduler, Protocol, VirtualServerKey};
use crate::syntax::Line;

/// Settings that checkers inherit, as far as they are given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inherited {
    pub(crate) alpha: Option<bool>,
    pub(crate) retry: Option<u32>,
    pub(crate) delay_before_retry: Option<Duration>,
    pub(crate) warmup: Option<Duration>,
    pub(crate) delay_loop: Option<Duration>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) virtualhost: Option<String>,
}

impl Inherited {
    /// Its own settings, and those of another where it has none.
    pub(crate) fn or(self, other: &Inherited) -> Inherited {
        Inherited {
            alpha: self.alpha.or(other.alpha),
            retry: self.retry.or(other.retry),
            delay_before_retry: self.delay_before_retry.or(other.delay_before_retry),
            warmup: self.warmup.or(other.warmup),
            delay_loop: self.delay_loop.or(other.delay_loop),
            connect_timeout: self.connect_timeout.or(other.connect_timeout),
            virtualhost: self.virtualhost.or_else(|| other.virtualhost.clone()),
        }
    }
}

/// A virtual server as far as it is read. What few have is boxed: all of a file are there at once.
pub(crate) struct Server {
    pub(crate) key: VirtualServerKey,
    pub(crate) place: Place,
    pub(crate) family: Option<Family>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) scheduler: Option<LvsScheduler>,
    pub(crate) method: Option<LvsMethod>,
    pub(crate) flags: [bool; 3],
    pub(crate) one_packet: bool,
    pub(crate) persistence_timeout: Option<Duration>,
    pub(crate) persistence_engine: Option<String>,
    pub(crate) granularity: Option<Box<Granularity>>,
    pub(crate) quorum: u32,
    pub(crate) hysteresis: u32,
    pub(crate) quorum_up: Option<Box<Command>>,
    pub(crate) quorum_down: Option<Box<Command>>,
    pub(crate) omega: bool,
    pub(crate) ha_suspend: bool,
    pub(crate) inhibit_on_failure: bool,
    pub(crate) weight: u32,
    pub(crate) inherited: Inherited,
    pub(crate) sorry: Option<Box<Sorry>>,
    pub(crate) real_servers: Vec<Real>,
    pub(crate) smtp_alert: Option<bool>,
    pub(crate) snmp_name: Option<String>,
}

/// `persistence_granularity`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granularity {
    pub(crate) family: Family,
    pub(crate) prefix: u8,
    pub(crate) place: Place,
}

/// A sorry server as far as it is read.
pub(crate) struct Sorry {
    pub(crate) address: SocketAddr,
    pub(crate) method: Option<LvsMethod>,
    pub(crate) inhibit: bool,
    pub(crate) place: Place,
}

/// A real server as far as it is read.
pub(crate) struct Real {
    pub(crate) address: SocketAddr,
    pub(crate) place: Place,
    pub(crate) weight: Option<u32>,
    pub(crate) method: Option<LvsMethod>,
    pub(crate) upper_threshold: u32,
    pub(crate) lower_threshold: u32,
    pub(crate) inhibit_on_failure: Option<bool>,
    pub(crate) smtp_alert: Option<bool>,
    pub(crate) checks: Vec<Check>,
    pub(crate) more: Option<Box<More>>,
}

/// What few real servers have, of which a file may have tens of thousands.
#[derive(Default)]
pub(crate) struct More {
    pub(crate) notify_up: Option<Box<Command>>,
    pub(crate) notify_down: Option<Box<Command>>,
    pub(crate) inherited: Inherited,
    pub(crate) snmp_name: Option<String>,
}

pub(super) static SERVER: Table<Server> = Table {
    block: "virtual_server",
    keywords: &[
        Keyword::new("real_server", Takes::Block { words: 1, read: real_server }),
        Keyword::or(
            "delay_loop",
            "60 seconds",
            Takes::seconds(1, |s, time| s.inherited.delay_loop = Some(time)),
        ),
        Keyword::or("lb_algo", "wlc", Takes::Words { words: 1, read: scheduler })
            .aliases(&["lvs_sched"]),
        Keyword::or("lb_kind", "NAT", Takes::Words { words: 1, read: server_method })
            .aliases(&["lvs_method"]),
        Keyword::or("protocol", "UDP", Takes::Words { words: 1, read: protocol }),
        Keyword::new("persistence_timeout", Takes::Words { words: 0, read: persistence_timeout }),
        Keyword::new(
            "persistence_granularity",
            Takes::Words { words: 1, read: persistence_granularity },
        ),
        Keyword::new(
            "persistence_engine",
            Takes::Text(|s, text| s.persistence_engine = Some(text.to_owned())),
        ),
        Keyword::new("sorry_server", Takes::Words { words: 1, read: sorry_server }),
        Keyword::new("sorry_server_inhibit", Takes::Words { words: 0, read: sorry_server_inhibit }),
        Keyword::new(
            "sorry_server_lvs_method",
            Takes::Words { words: 1, read: sorry_server_method },
        ),
        Keyword::new("ip_family", Takes::Words { words: 1, read: ip_family }),
        Keyword::new("retry", Takes::u32(1, |s, n| s.inherited.retry = Some(n as u32))),
        Keyword::new(
            "delay_before_retry",
            Takes::seconds(0, |s, time| s.inherited.delay_before_retry = Some(time)),
        ),
        Keyword::or(
            "warmup",
            "delay_loop",
            Takes::seconds(0, |s, time| s.inherited.warmup = Some(time)),
        ),
        Keyword::or(
            "connect_timeout",
            "5 seconds",
            Takes::seconds(1, |s, time| s.inherited.connect_timeout = Some(time)),
        ),
        Keyword::new("inhibit_on_failure", Takes::Flag(|s| s.inhibit_on_failure = true)),
        Keyword::new("alpha", Takes::Flag(|s| s.inherited.alpha = Some(true))),
        Keyword::new("omega", Takes::Flag(|s| s.omega = true)),
        Keyword::new("ha_suspend", Takes::Flag(|s| s.ha_suspend = true)),
        Keyword::or("quorum", "1", Takes::u32(1, |s, n| s.quorum = n as u32)),
        Keyword::or("hysteresis", "0", Takes::u32(0, |s, n| s.hysteresis = n as u32)),
        Keyword::new("quorum_up", Takes::Command(|s| &mut s.quorum_up)),
        Keyword::new("quorum_down", Takes::Command(|s| &mut s.quorum_down)),
        Keyword::new(
            "virtualhost",
            Takes::Text(|s, text| s.inherited.virtualhost = Some(text.to_owned())),
        ),
        Keyword::or(
            "weight",
            "1",
            Takes::Integer { min: 1, max: i32::MAX as i64, set: |s, n| s.weight = n as u32 },
        ),
        Keyword::new("ops", Takes::Flag(|s| s.one_packet = true)),
        Keyword::new("hashed", Takes::Words { words: 0, read: hashed }),
        Keyword::new("flag-1", Takes::Flag(|s| s.flags[0] = true)),
        Keyword::new("flag-2", Takes::Flag(|s| s.flags[1] = true)),
        Keyword::new("flag-3", Takes::Flag(|s| s.flags[2] = true)),
        Keyword::new("sh-fallback", Takes::Words { words: 0, read: scheduler_flag }),
        Keyword::new("sh-port", Takes::Words { words: 0, read: scheduler_flag }),
        Keyword::new("mh-fallback", Takes::Words { words: 0, read: scheduler_flag }),
        Keyword::new("mh-port", Takes::Words { words: 0, read: scheduler_flag }),
    ],
    also: &[&[
        Keyword::idle("smtp_alert", Takes::Switch(|s, on| s.smtp_alert = Some(on))),
        Keyword::idle("snmp_name", Takes::Text(|s, text| s.snmp_name = Some(text.to_owned()))),
    ]],
};

pub(super) static REAL_SERVER: Table<Real> = Table {
    block: "real_server",
    keywords: &[
        Keyword::or(
            "weight",
            "that of the virtual server",
            Takes::Integer { min: 0, max: i32::MAX as i64, set: |r, n| r.weight = Some(n as u32) },
        ),
        Keyword::new("TCP_CHECK", Takes::Block { words: 0, read: check::tcp }),
        Keyword::new("HTTP_GET", Takes::Block { words: 0, read: check::http }),
        Keyword::new("SSL_GET", Takes::Block { words: 0, read: check::https }),
        Keyword::new("MISC_CHECK", Takes::Block { words: 0, read: check::misc }),
        Keyword::new("lvs_method", Takes::Words { words: 1, read: real_method }),
        Keyword::or("uthreshold", "0", Takes::u32(0, |r, n| r.upper_threshold = n as u32)),
        Keyword::or("lthreshold", "0", Takes::u32(0, |r, n| r.lower_threshold = n as u32)),
        Keyword::new("inhibit_on_failure", Takes::Switch(|r, on| r.inhibit_on_failure = Some(on))),
        Keyword::new("notify_up", Takes::Command(|r| &mut r.more().notify_up)),
        Keyword::new("notify_down", Takes::Command(|r| &mut r.more().notify_down)),
        Keyword::new("alpha", Takes::Switch(|r, on| r.more().inherited.alpha = Some(on))),
        Keyword::new("retry", Takes::u32(1, |r, n| r.more().inherited.retry = Some(n as u32))),
        Keyword::new(
            "delay_before_retry",
            Takes::seconds(0, |r, time| r.more().inherited.delay_before_retry = Some(time)),
        ),
        Keyword::new("warmup", Takes::seconds(0, |r, time| r.more().inherited.warmup = Some(time))),
        Keyword::new(
            "connect_timeout",
            Takes::Seconds {
                min: 1,
                max: LONGEST,
                places: 6,
                set: |r, time| r.more().inherited.connect_timeout = Some(time),
            },
        ),
        Keyword::new(
            "delay_loop",
            Takes::seconds(1, |r, time| r.more().inherited.delay_loop = Some(time)),
        ),
        Keyword::new(
            "virtualhost",
            Takes::Text(|r, text| r.more().inherited.virtualhost = Some(text.to_owned())),
        ),
    ],
    also: &[&[
        Keyword::idle("smtp_alert", Takes::Switch(|r, on| r.smtp_alert = Some(on))),
        Keyword::idle(
            "snmp_name",
            Takes::Text(|r, text| r.more().snmp_name = Some(text.to_owned())),
        ),
        Keyword::idle("SMTP_CHECK", Takes::Block { words: 0, read: check_more::smtp }),
        Keyword::idle("PING_CHECK", Takes::Block { words: 0, read: check_more::ping }),
        Keyword::idle("UDP_CHECK", Takes::Block { words: 0, read: check_more::udp }),
        Keyword::idle("DNS_CHECK", Takes::Block { words: 0, read: check_more::dns }),
        Keyword::idle("FILE_CHECK", Takes::Block { words: 0, read: check_more::file }),
        Keyword::idle("BFD_CHECK", Takes::Block { words: 0, read: check_more::bfd }),
    ]],
};

impl Real {
    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// One more checker; almost every server has one, and the list has room for no more.
    pub(super) fn add(&mut self, check: Check) {
        self.checks.reserve_exact(1);
        self.checks.push(check);
    }
}

/// Reads a `virtual_server`.
pub(crate) fn read(draft: &mut Draft, context: &mut Context<'_>, line: &Line) {
    let key = match line.str(1) {
        "fwmark" | "group" if line.len() < 3 => {
            context.missing_argument(line);
            return;
        }
        "fwmark" => mark(context, line, 2).map(VirtualServerKey::Fwmark),
        "group" => Some(VirtualServerKey::Group(line.str(2).to_owned())),
        _ => socket_address(context, line, 1).map(VirtualServerKey::Address),
    };
    let Some(key) = key else {
        context.skip_block();
        return;
    };
    let mut server = Box::new(Server {
        key,
        place: line.place(),
        family: None,
        protocol: None,
        scheduler: None,
        method: None,
        flags: [false; 3],
        one_packet: false,
        persistence_timeout: None,
        persistence_engine: None,
        granularity: None,
        quorum: 1,
        hysteresis: 0,
        quorum_up: None,
        quorum_down: None,
        omega: false,
        ha_suspend: false,
        inhibit_on_failure: false,
        weight: 1,
        inherited: Inherited::default(),
        sorry: None,
        // Virtual servers of a file are much alike.
        real_servers: Vec::with_capacity(draft.servers.last().map_or(1, |s| s.real_servers.len())),
        smtp_alert: None,
        snmp_name: None,
    });
    context.block(&SERVER, &mut *server, line);
    draft.servers.push(server);
}

/// `ADDRESS [PORT]`; port 0 when absent.
pub(super) fn socket_address(
    context: &mut Context<'_>,
    line: &Line,
    index: usize,
) -> Option<SocketAddr> {
    // Most are fine: places are for complaints.
    if let (Ok(address), Ok(port)) = (line.str(index).parse(), line.str(index + 1).parse()) {
        return Some(SocketAddr::new(address, port));
    }
    let word = line.word(index)?;
    let Ok(address) = word.text.parse::<IpAddr>() else {
        let message = format!("`{}` is not an address; `{}` is skipped", word.text, line.str(0));
        let diagnostic = context.diags.warn("address", word.place, message);
        if word.text.parse::<SocketAddr>().is_ok() {
            diagnostic.hint("write a blank between address and port");
        }
        return None;
    };
    let port = match line.word(index + 1) {
        None => 0,
        Some(word) => match word.text.parse() {
            Ok(port) => port,
            Err(_) => {
                let message =
                    format!("`{}` is not a port; `{}` is skipped", word.text, line.str(0));
                context
                    .diags
                    .warn("port", word.place, message)
                    .class(Class::InvalidNumber)
                    .hint("use 1 to 65535");
                return None;
            }
        },
    };
    Some(SocketAddr::new(address, port))
}

/// A firewall mark in the notation of C, not 0.
pub(super) fn mark(context: &mut Context<'_>, line: &Line, index: usize) -> Option<u32> {
    let word = line.word(index)?;
    let text = word.text;
    let mark = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None if text.len() > 1 && text.starts_with('0') => u32::from_str_radix(text, 8),
        None => text.parse(),
    };
    match mark {
        Ok(mark) if mark > 0 => Some(mark),
        _ => {
            let message = format!("`{text}` is not a firewall mark; `{}` is skipped", line.str(0));
            context
                .diags
                .warn("fwmark", word.place, message)
                .class(Class::InvalidNumber)
                .hint("use 1 to 4294967295");
            None
        }
    }
}

fn real_server(server: &mut Server, context: &mut Context<'_>, line: &Line) {
    let Some(address) = socket_address(context, line, 1) else {
        context.skip_block();
        return;
    };
    let mut real = Real {
        address,
        place: line.place(),
        weight: None,
        method: None,
        upper_threshold: 0,
        lower_threshold: 0,
        inhibit_on_failure: None,
        smtp_alert: None,
        checks: Vec::new(),
        more: None,
    };
    context.block(&REAL_SERVER, &mut real, line);
    server.real_servers.push(real);
}
