//! What `vrrp_instance` and `carp_instance` have in common.

use std::marker::PhantomData;
use std::net::IpAddr;
use std::time::Duration;

use super::global::{GarpDefaults, multicast};
use super::script::Command;
use super::table::{Keyword, Read, Table, Takes};
use super::tracking::{
    Tracking, track_bfd, track_file, track_interface, track_process, track_script,
};
use super::{Context, Draft, route, rule, vip};
use crate::diagnostic::{Class, Place};
use crate::model::{
    ExtraGarp, InitialState, Ipvlan, Route, Rule, UnicastPeer, VirtualAddress, Vmac,
};
use crate::syntax::Line;

/// The common part of an instance as far as it is read.
#[derive(Default)]
pub(crate) struct Router {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) state: Option<InitialState>,
    pub(crate) state_place: Place,
    pub(crate) interface: Option<String>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) source_place: Place,
    /// `unicast_src_ip` or `unicast_peer` is given.
    pub(crate) unicast: bool,
    pub(crate) group: Option<IpAddr>,
    pub(crate) track_source: bool,
    pub(crate) peers: Vec<(UnicastPeer, Place)>,
    pub(crate) unicast_ttl: Option<u8>,
    pub(crate) check_unicast_src: bool,
    pub(crate) vips: Vec<(VirtualAddress, Place)>,
    pub(crate) excluded: Vec<(VirtualAddress, Place)>,
    pub(crate) dont_track_primary: bool,
    pub(crate) track: Tracking,
    pub(crate) garp: GarpDefaults,
    pub(crate) notify: Notifies,
    pub(crate) vmac: Option<Vmac>,
    pub(crate) vmac_addresses: bool,
    pub(crate) vmac_xmit_base: bool,
    pub(crate) ipvlan: Option<Box<Ipvlan>>,
    pub(crate) vrf: Option<String>,
    pub(crate) unicast_fault_no_peer: bool,
    pub(crate) routes: Vec<Route>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) promote_secondaries: bool,
    pub(crate) linkbeat_use_polling: bool,
    pub(crate) debug: u8,
    pub(crate) smtp_alert: Option<bool>,
    pub(crate) notify_priority_changes: Option<bool>,
    pub(crate) garp_extra: Option<ExtraGarp>,
    pub(crate) kernel_rx_buf_size: Option<u32>,
    pub(crate) sync_interface: Option<String>,
    pub(crate) handover: Option<bool>,
}

/// Commands of `notify*`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notifies {
    pub(crate) master: Option<Box<Command>>,
    pub(crate) backup: Option<Box<Command>>,
    pub(crate) fault: Option<Box<Command>>,
    pub(crate) stop: Option<Box<Command>>,
    pub(crate) deleted: Option<Box<Command>>,
    pub(crate) master_rx_lower_pri: Option<Box<Command>>,
    pub(crate) any: Option<Box<Command>>,
    pub(crate) report_deleted: bool,
}

impl Router {
    /// Starts a block of this kind; `None`, and the block is read over, if its name cannot be.
    ///
    /// Names of both protocols are one space: groups, notifications and commands know nothing else.
    pub(crate) fn open(
        block: &'static str,
        draft: &mut Draft,
        context: &mut Context<'_>,
        line: &Line,
    ) -> Option<Router> {
        let name = line.str(1);
        if line.len() < 2 {
            let message = format!("`{block}` must have a name; this block is skipped");
            context.diags.warn("instance-name", line.place(), message);
            context.skip_block();
            return None;
        }
        if let Some((first_block, first)) = draft.instance_places.get(name) {
            let place = line.place_from(1);
            let diagnostic = if *first_block == block {
                let message = format!("`{block} {name}` is defined before; this block is skipped");
                context.diags.warn("duplicate-instance", place, message)
            } else {
                let message = format!("`{name}` is the name of a `{first_block}` before");
                let diagnostic = context.diags.error("duplicate-instance", place, message);
                diagnostic.hint("VRRP and CARP instances share their names; choose another")
            };
            diagnostic.label(*first, "the first");
            context.skip_block();
            return None;
        }
        draft.instance_places.insert(name.to_owned(), (block, line.place()));
        Some(Router {
            name: name.to_owned(),
            place: line.place(),
            // Copied now: a `global_defs` further down comes too late.
            garp: context.globals.garp,
            ..Router::default()
        })
    }
}

/// Keywords of every block `B` that has a [`Router`] in it.
pub(super) struct Shared<B>(PhantomData<B>);

const fn words<B>(name: &'static str, words: usize, read: Read<B>) -> Keyword<B> {
    Keyword::new(name, Takes::Words { words, read })
}

const fn seconds(n: i64) -> Duration {
    Duration::from_secs(n as u64)
}

const fn repeat(n: i64) -> Option<u32> {
    Some(if n == 0 { 1 } else { n as u32 })
}

impl<B: AsMut<Router> + 'static> Shared<B> {
    /// What is in nearly every file.
    pub(super) const MAIN: &'static [Keyword<B>] = &[
        words("mcast_src_ip", 1, |b, context, line| multicast_source(b.as_mut(), context, line)),
        words("unicast_src_ip", 1, |b, context, line| unicast_source(b.as_mut(), context, line)),
        words("mcast_dst_ip", 1, |b, context, line| {
            let router = b.as_mut();
            router.group = multicast(context, line, 1).or(router.group);
        }),
        Keyword::new("track_src_ip", Takes::Flag(|b| b.as_mut().track_source = true)),
        Keyword::new(
            "unicast_peer",
            Takes::Block {
                words: 0,
                read: |b, context, line| unicast_peers(b.as_mut(), context, line),
            },
        ),
        Keyword::new(
            "unicast_ttl",
            Takes::Integer { min: 0, max: 255, set: |b, n| b.as_mut().unicast_ttl = Some(n as u8) },
        ),
        Keyword::new(
            "check_unicast_src",
            Takes::Flag(|b| {
                let router = b.as_mut();
                (router.check_unicast_src, router.unicast) = (true, true);
            }),
        ),
        Keyword::new(
            "unicast_fault_no_peer",
            Takes::Flag(|b| b.as_mut().unicast_fault_no_peer = true),
        ),
        Keyword::new(
            "kernel_rx_buf_size",
            Takes::Words {
                words: 1,
                read: |b: &mut B, context, line| kernel_rx_buf_size(b.as_mut(), context, line),
            },
        ),
        Keyword::new(
            "virtual_ipaddress_excluded",
            Takes::List { entry: |b, context, line| excluded(b.as_mut(), context, line) },
        ),
        Keyword::new("dont_track_primary", Takes::Flag(|b| b.as_mut().dont_track_primary = true)),
        Keyword::new(
            "track_interface",
            Takes::List {
                entry: |b, context, line| track_interface(&mut b.as_mut().track, context, line),
            },
        ),
        Keyword::new(
            "track_script",
            Takes::List {
                entry: |b, context, line| track_script(&mut b.as_mut().track, context, line),
            },
        ),
        Keyword::new(
            "track_file",
            Takes::List {
                entry: |b, context, line| track_file(&mut b.as_mut().track, context, line),
            },
        ),
        Keyword::new(
            "track_process",
            Takes::List {
                entry: |b, context, line| track_process(&mut b.as_mut().track, context, line),
            },
        ),
        Keyword::or(
            "handover",
            "that of global_defs",
            Takes::Switch(|b, on| b.as_mut().handover = Some(on)),
        ),
    ];

    /// Gratuitous ARP.
    pub(super) const GARP: &'static [Keyword<B>] = &[
        Keyword::or(
            "garp_master_delay",
            "5",
            Takes::u32(0, |b, n| b.as_mut().garp.delay = Some(seconds(n))),
        ),
        Keyword::or(
            "garp_master_repeat",
            "5",
            Takes::u32(0, |b, n| b.as_mut().garp.repeat = repeat(n)),
        ),
        Keyword::or(
            "garp_master_refresh",
            "0",
            Takes::u32(0, |b, n| b.as_mut().garp.refresh = Some(seconds(n))),
        ),
        Keyword::or(
            "garp_master_refresh_repeat",
            "1",
            Takes::u32(0, |b, n| b.as_mut().garp.refresh_repeat = repeat(n)),
        ),
        Keyword::new(
            "garp_lower_prio_delay",
            Takes::u32(0, |b, n| b.as_mut().garp.lower_prio_delay = Some(seconds(n))),
        ),
        Keyword::new(
            "garp_lower_prio_repeat",
            Takes::Integer {
                min: 0,
                max: i32::MAX as i64,
                set: |b, n| b.as_mut().garp.lower_prio_repeat = Some(n as u32),
            },
        ),
        words("garp_extra_if", 1, |b: &mut B, context, line| {
            let router = b.as_mut();
            router.garp_extra = extra_garp(context, line, 0).or(router.garp_extra);
        })
        .deprecated(&["vmac_garp_intvl"]),
    ];

    /// Scripts.
    pub(super) const NOTIFY: &'static [Keyword<B>] = &[
        Keyword::new("notify_master", Takes::Command(|b| &mut b.as_mut().notify.master)),
        Keyword::new("notify_backup", Takes::Command(|b| &mut b.as_mut().notify.backup)),
        Keyword::new("notify_fault", Takes::Command(|b| &mut b.as_mut().notify.fault)),
        Keyword::new("notify_stop", Takes::Command(|b| &mut b.as_mut().notify.stop)),
        words("notify_deleted", 0, |b, context, line| {
            let notify = &mut b.as_mut().notify;
            if std::mem::replace(&mut notify.report_deleted, true) {
                context.given_before(line);
            } else if line.len() > 1 {
                notify.deleted = context.command(line, Class::Note);
            }
        }),
        Keyword::new(
            "notify_master_rx_lower_pri",
            Takes::Command(|b| &mut b.as_mut().notify.master_rx_lower_pri),
        ),
        Keyword::new("notify", Takes::Command(|b| &mut b.as_mut().notify.any)),
    ];

    /// What nothing acts on yet.
    pub(super) const LATER: &'static [Keyword<B>] = &[
        Keyword::idle(
            "track_bfd",
            Takes::List {
                entry: |b: &mut B, context, line| track_bfd(&mut b.as_mut().track, context, line),
            },
        )
        .needed("track-bfd", super::tracking::WITHOUT_BFD),
        Keyword::idle(
            "virtual_routes",
            Takes::List {
                entry: |b, context, line| {
                    b.as_mut().routes.extend(route::read(context, line, false));
                },
            },
        ),
        Keyword::idle(
            "virtual_rules",
            Takes::List {
                entry: |b, context, line| b.as_mut().rules.extend(rule::read(context, line, false)),
            },
        ),
        Keyword::idle_or(
            "debug",
            "0",
            Takes::Integer { min: 0, max: 4, set: |b, n| b.as_mut().debug = n as u8 },
        ),
        Keyword::idle("smtp_alert", Takes::Switch(|b, on| b.as_mut().smtp_alert = Some(on))),
        Keyword::idle(
            "notify_priority_changes",
            Takes::Switch(|b, on| b.as_mut().notify_priority_changes = Some(on)),
        ),
        Keyword::new(
            "lvs_sync_daemon_interface",
            Takes::Words {
                words: 1,
                read: |b, context, line| sync_interface(b.as_mut(), context, line),
            },
        ),
    ];
}

/// Reads `interface`.
pub(super) fn interface(router: &mut Router, context: &mut Context<'_>, line: &Line) {
    if line.str(1) == "lo" {
        let message = format!("({}) cannot use the loopback interface", router.name);
        context.diags.warn("loopback", line.place_from(1), message).hint("name another interface");
        return;
    }
    if let Some(name) = context.interface(line, 1) {
        router.interface = Some(name);
    }
}

/// Reads `state`.
pub(super) fn state(router: &mut Router, context: &mut Context<'_>, line: &Line) {
    let state = match line.str(1) {
        "MASTER" => InitialState::Master,
        "BACKUP" => InitialState::Backup,
        other => {
            let message = format!("`{other}` is no state; BACKUP is used");
            context
                .diags
                .warn("state", line.place_from(1), message)
                .hint("use MASTER or BACKUP, in capitals");
            InitialState::Backup
        }
    };
    // BACKUP is what keepalived takes for nothing.
    if router.state == Some(InitialState::Master) && state == InitialState::Backup {
        context.given_before(line).label(router.state_place, "the first");
        return;
    }
    (router.state, router.state_place) = (Some(state), line.place_from(1));
}

fn excluded(router: &mut Router, context: &mut Context<'_>, line: &Line) {
    if let Some(vip) = vip::read(context, line) {
        router.excluded.push((vip, line.keyword_place()));
    }
}

fn multicast_source(router: &mut Router, context: &mut Context<'_>, line: &Line) {
    if let Some(address) = context.address(line, 1) {
        router.source = Some(address);
        router.source_place = line.place_from(1);
    }
}

fn unicast_source(router: &mut Router, context: &mut Context<'_>, line: &Line) {
    router.unicast = true;
    multicast_source(router, context, line);
}

pub(super) static UNICAST_PEER: Table<UnicastPeer> = Table {
    block: "unicast_peer",
    keywords: &[
        Keyword::or(
            "min_ttl",
            "0",
            Takes::Integer { min: 0, max: 255, set: |p: &mut UnicastPeer, n| p.ttl.0 = n as u8 },
        ),
        Keyword::or(
            "max_ttl",
            "255",
            Takes::Integer { min: 0, max: 255, set: |p, n| p.ttl.1 = n as u8 },
        ),
    ],
    also: &[],
};

fn unicast_peers(router: &mut Router, context: &mut Context<'_>, line: &Line) {
    router.unicast = true;
    context.list(line, 0, |context, line| {
        let Some(address) = context.address(line, 0) else { return };
        let mut peer = UnicastPeer { address, ttl: (0, 255) };
        // Bounds on what peers send mean nothing without a look at who sends it.
        router.check_unicast_src |= line.len() > 1;
        if context.options(&UNICAST_PEER, &mut peer, line, 1) {
            router.peers.push((peer, line.keyword_place()));
        }
    });
}

fn sync_interface(router: &mut Router, context: &mut Context<'_>, line: &Line) {
    context
        .diags
        .warn("deprecated", line.keyword_place(), "`lvs_sync_daemon_interface` is the old form")
        .class(Class::Deprecated)
        .hint("write `lvs_sync_daemon IF inst NAME` in `global_defs`");
    router.sync_interface = context.interface(line, 1);
}

fn kernel_rx_buf_size(router: &mut Router, context: &mut Context<'_>, line: &Line) {
    if line.len() > 2 {
        let message = "`kernel_rx_buf_size` takes one number and is ignored";
        context.diags.warn("extra-words", line.place_from(2), message);
    } else if let Some(size) = context.integer_or(line, 1, 0, u32::MAX.into(), "") {
        router.kernel_rx_buf_size = Some(size as u32);
    }
}

/// `[all] SECONDS`
pub(super) fn extra_garp(context: &mut Context<'_>, line: &Line, min: i64) -> Option<ExtraGarp> {
    let all = line.str(1) == "all";
    let index = 1 + usize::from(all);
    if line.word(index).is_none() {
        let message = format!("`{}` has no time and is ignored", line.str(0));
        context.diags.warn("missing-argument", line.place(), message);
        return None;
    }
    let interval = context.integer_or(line, index, min, 86_400, "off")?;
    Some(ExtraGarp { all, interval: seconds(interval) })
}
