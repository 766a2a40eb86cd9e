//! `vrrp_instance`.

use std::net::IpAddr;
use std::time::Duration;

use super::global::{GarpDefaults, multicast, version};
use super::script::Command;
use super::table::{Keyword, Table, Takes};
use super::tracking::{
    Tracking, track_bfd, track_file, track_interface, track_process, track_script,
};
use super::{Context, Draft, hmac, link, push_single, route, rule, vip};
use crate::diagnostic::{Class, Place};
use crate::model::{
    ExtraGarp, Hmac, InitialState, Ipvlan, OldUnicastChecksum, Route, Rule, UnicastPeer,
    VirtualAddress, Vmac, VrrpVersion,
};
use crate::syntax::Line;

/// An instance as far as it is read.
pub(crate) struct Instance {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) state: Option<InitialState>,
    pub(crate) state_place: Place,
    pub(crate) interface: Option<String>,
    pub(crate) interface_place: Place,
    pub(crate) vrid: Option<u8>,
    pub(crate) vrid_place: Place,
    pub(crate) version: Option<VrrpVersion>,
    pub(crate) native_ipv6: bool,
    pub(crate) priority: Option<u8>,
    pub(crate) advert_int: Duration,
    pub(crate) advert_int_place: Place,
    pub(crate) down_timer_adverts: u32,
    pub(crate) nopreempt: bool,
    pub(crate) nopreempt_place: Place,
    pub(crate) preempt_delay: Duration,
    pub(crate) authentication: Option<Authentication>,
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
    pub(crate) no_vip: bool,
    pub(crate) dont_track_primary: bool,
    pub(crate) track: Tracking,
    pub(crate) garp: GarpDefaults,
    pub(crate) accept: Option<bool>,
    pub(crate) skip_check_adv_addr: bool,
    pub(crate) lower_prio_no_advert: Option<bool>,
    pub(crate) higher_prio_send_advert: Option<bool>,
    pub(crate) owner_ignore_adverts: Option<bool>,
    pub(crate) v3_checksum_as_v2: bool,
    pub(crate) old_unicast_checksum: OldUnicastChecksum,
    pub(crate) strict: Option<bool>,
    pub(crate) notify: Notifies,
    pub(crate) hmac: Option<Hmac>,
    pub(crate) vmac: Option<Vmac>,
    pub(crate) vmac_addresses: bool,
    pub(crate) vmac_xmit_base: bool,
    pub(crate) ipvlan: Option<Ipvlan>,
    pub(crate) vrf: Option<String>,
    pub(crate) unicast_fault_no_peer: bool,
    pub(crate) routes: Vec<Route>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) promote_secondaries: bool,
    pub(crate) linkbeat_use_polling: bool,
    pub(crate) debug: u8,
    pub(crate) smtp_alert: Option<bool>,
    pub(crate) notify_priority_changes: Option<bool>,
    pub(crate) timer_expired_backup: Option<u8>,
    pub(crate) garp_extra: Option<ExtraGarp>,
    pub(crate) kernel_rx_buf_size: Option<u32>,
    pub(crate) sync_interface: Option<String>,
    pub(crate) handover: Option<bool>,
}

/// An `authentication` block.
#[derive(Clone, Debug, Default)]
pub(crate) struct Authentication {
    pub(crate) kind: Option<AuthenticationKind>,
    pub(crate) password: Option<[u8; 8]>,
    pub(crate) place: Place,
}

/// `auth_type`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthenticationKind {
    /// `PASS`
    Password,
    /// `AH`
    Header,
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

const fn secs(n: i64) -> Duration {
    Duration::from_secs(n as u64)
}

const fn repeat(n: i64) -> Option<u32> {
    Some(if n == 0 { 1 } else { n as u32 })
}

pub(super) static TABLE: Table<Instance> = Table {
    block: "vrrp_instance",
    keywords: &[
        Keyword::or(
            "state",
            "BACKUP, MASTER with priority 255",
            Takes::Words { words: 1, read: state },
        ),
        Keyword::new("interface", Takes::Words { words: 1, read: interface }),
        Keyword::new("virtual_router_id", Takes::Words { words: 1, read: vrid }),
        Keyword::or(
            "priority",
            "100, 255 with state MASTER",
            Takes::Words { words: 1, read: priority },
        ),
        Keyword::or("advert_int", "1 second", Takes::Words { words: 1, read: advert_int }),
        Keyword::new("authentication", Takes::Block { words: 0, read: authentication }),
        Keyword::new("virtual_ipaddress", Takes::List { entry: virtual_address }),
        Keyword::new("virtual_ipaddress_excluded", Takes::List { entry: excluded_address }),
        Keyword::new("no_virtual_ipaddress", Takes::Flag(|i| i.no_vip = true)),
        Keyword::or(
            "version",
            "vrrp_version, 3 for IPv6",
            Takes::Integer { min: 2, max: 3, set: |i, n| i.version = Some(version(n)) },
        ),
        Keyword::new("native_ipv6", Takes::Words { words: 0, read: native_ipv6 }),
        Keyword::new("nopreempt", Takes::Words { words: 0, read: nopreempt }),
        Keyword::new("preempt", Takes::Flag(|i| i.nopreempt = false)),
        Keyword::or(
            "preempt_delay",
            "0",
            Takes::Seconds {
                min: 0,
                max: 1_000_000_000,
                places: 6,
                set: |i, time| i.preempt_delay = time,
            },
        ),
        Keyword::or(
            "down_timer_adverts",
            "vrrp_down_timer_adverts",
            Takes::Integer { min: 1, max: 100, set: |i, n| i.down_timer_adverts = n as u32 },
        ),
        Keyword::new("mcast_src_ip", Takes::Words { words: 1, read: multicast_source }),
        Keyword::new("unicast_src_ip", Takes::Words { words: 1, read: unicast_source }),
        Keyword::new("mcast_dst_ip", Takes::Words { words: 1, read: multicast_group }),
        Keyword::new("track_src_ip", Takes::Flag(|i| i.track_source = true)),
        Keyword::new("unicast_peer", Takes::Block { words: 0, read: unicast_peers }),
        Keyword::new(
            "unicast_ttl",
            Takes::Integer { min: 0, max: 255, set: |i, n| i.unicast_ttl = Some(n as u8) },
        ),
        Keyword::new(
            "check_unicast_src",
            Takes::Flag(|i| (i.check_unicast_src, i.unicast) = (true, true)),
        ),
        Keyword::new("old_unicast_checksum", Takes::Words { words: 0, read: old_unicast_checksum }),
        Keyword::new("dont_track_primary", Takes::Flag(|i| i.dont_track_primary = true)),
        Keyword::new(
            "track_interface",
            Takes::List { entry: |i, context, line| track_interface(&mut i.track, context, line) },
        ),
        Keyword::new(
            "track_script",
            Takes::List { entry: |i, context, line| track_script(&mut i.track, context, line) },
        ),
        Keyword::or("garp_master_delay", "5", Takes::u32(0, |i, n| i.garp.delay = Some(secs(n)))),
        Keyword::or("garp_master_repeat", "5", Takes::u32(0, |i, n| i.garp.repeat = repeat(n))),
        Keyword::or(
            "garp_master_refresh",
            "0",
            Takes::u32(0, |i, n| i.garp.refresh = Some(secs(n))),
        ),
        Keyword::or(
            "garp_master_refresh_repeat",
            "1",
            Takes::u32(0, |i, n| i.garp.refresh_repeat = repeat(n)),
        ),
        Keyword::new(
            "garp_lower_prio_delay",
            Takes::u32(0, |i, n| i.garp.lower_prio_delay = Some(secs(n))),
        ),
        Keyword::new(
            "garp_lower_prio_repeat",
            Takes::Integer {
                min: 0,
                max: i32::MAX as i64,
                set: |i, n| i.garp.lower_prio_repeat = Some(n as u32),
            },
        ),
        Keyword::new("accept", Takes::Flag(|i| i.accept = Some(true))),
        Keyword::new("no_accept", Takes::Flag(|i| i.accept = Some(false))),
        // Any boolean switches it on, as in keepalived.
        Keyword::new("skip_check_adv_addr", Takes::Switch(|i, _| i.skip_check_adv_addr = true)),
        Keyword::new("strict_mode", Takes::Switch(|i, on| i.strict = Some(on))),
        Keyword::new("v3_checksum_as_v2", Takes::Switch(|i, on| i.v3_checksum_as_v2 = on)),
        Keyword::or("handover", "on", Takes::Switch(|i, on| i.handover = Some(on))),
        Keyword::new(
            "lower_prio_no_advert",
            Takes::Switch(|i, on| i.lower_prio_no_advert = Some(on)),
        ),
        Keyword::new(
            "higher_prio_send_advert",
            Takes::Switch(|i, on| i.higher_prio_send_advert = Some(on)),
        ),
        Keyword::new(
            "owner_ignore_adverts",
            Takes::Switch(|i, on| i.owner_ignore_adverts = Some(on)),
        ),
        Keyword::new("notify_master", Takes::Command(|i, command| i.notify.master = Some(command))),
        Keyword::new("notify_backup", Takes::Command(|i, command| i.notify.backup = Some(command))),
        Keyword::new("notify_fault", Takes::Command(|i, command| i.notify.fault = Some(command))),
        Keyword::new("notify_stop", Takes::Command(|i, command| i.notify.stop = Some(command))),
        Keyword::new("notify_deleted", Takes::Words { words: 0, read: notify_deleted }),
        Keyword::new(
            "notify_master_rx_lower_pri",
            Takes::Command(|i, command| i.notify.master_rx_lower_pri = Some(command)),
        ),
        Keyword::new("notify", Takes::Command(|i, command| i.notify.any = Some(command))),
    ],
    also: &[link::KEYWORDS, LATER],
};

const LATER: &[Keyword<Instance>] = &[
    Keyword::idle("unicast_fault_no_peer", Takes::Flag(|i| i.unicast_fault_no_peer = true)),
    Keyword::idle(
        "track_file",
        Takes::List { entry: |i, context, line| track_file(&mut i.track, context, line) },
    ),
    Keyword::idle(
        "track_process",
        Takes::List { entry: |i, context, line| track_process(&mut i.track, context, line) },
    ),
    Keyword::idle(
        "track_bfd",
        Takes::List { entry: |i, context, line| track_bfd(&mut i.track, context, line) },
    ),
    Keyword::idle(
        "virtual_routes",
        Takes::List {
            entry: |i, context, line| i.routes.extend(route::read(context, line, false)),
        },
    ),
    Keyword::idle(
        "virtual_rules",
        Takes::List { entry: |i, context, line| i.rules.extend(rule::read(context, line, false)) },
    ),
    Keyword::idle_or(
        "debug",
        "0",
        Takes::Integer { min: 0, max: 4, set: |i, n| i.debug = n as u8 },
    ),
    Keyword::idle("smtp_alert", Takes::Switch(|i, on| i.smtp_alert = Some(on))),
    Keyword::idle(
        "notify_priority_changes",
        Takes::Switch(|i, on| i.notify_priority_changes = Some(on)),
    ),
    Keyword::idle("lvs_sync_daemon_interface", Takes::Words { words: 1, read: sync_interface }),
    Keyword::idle("timer_expired_backup", Takes::Words { words: 0, read: timer_expired })
        .deprecated(&["thread_timer_expired"]),
    Keyword::idle("garp_extra_if", Takes::Words { words: 1, read: garp_extra_if })
        .deprecated(&["vmac_garp_intvl"]),
    Keyword::idle(
        "kernel_rx_buf_size",
        Takes::u32(0, |i, n| i.kernel_rx_buf_size = Some(n as u32)),
    ),
    Keyword::idle("auth_hmac", Takes::Block { words: 0, read: hmac::read }),
];

pub(super) static AUTHENTICATION: Table<Authentication> = Table {
    block: "authentication",
    keywords: &[
        Keyword::new("auth_type", Takes::Words { words: 1, read: auth_type }),
        Keyword::new("auth_pass", Takes::Words { words: 1, read: auth_pass }),
    ],
    also: &[],
};

/// Reads a block.
pub(crate) fn read(draft: &mut Draft, context: &mut Context<'_>, line: &Line) {
    let name = line.str(1);
    if line.len() < 2 {
        let message = "`vrrp_instance` must have a name; this block is skipped";
        context.diags.warn("instance-name", line.place(), message);
        context.skip_block();
        return;
    }
    if let Some(first) = draft.instance_places.get(name) {
        let diagnostic = context.diags.warn(
            "duplicate-instance",
            line.place_from(1),
            format!("`vrrp_instance {name}` is defined before; this block is skipped"),
        );
        if let Some(first) = first.span {
            diagnostic.label(first, "the first");
        }
        context.skip_block();
        return;
    }
    draft.instance_places.insert(name.to_owned(), line.place());
    let globals = &context.globals;
    let mut instance = Instance {
        name: name.to_owned(),
        place: line.place(),
        state: None,
        state_place: Place::NOWHERE,
        interface: None,
        interface_place: Place::NOWHERE,
        vrid: None,
        vrid_place: Place::NOWHERE,
        version: None,
        native_ipv6: false,
        priority: None,
        advert_int: Duration::from_secs(1),
        advert_int_place: Place::NOWHERE,
        // These are copied now: a `global_defs` further down comes too late.
        down_timer_adverts: globals.down_timer_adverts,
        garp: globals.garp,
        v3_checksum_as_v2: globals.v3_checksum_as_v2,
        skip_check_adv_addr: globals.skip_check_adv_addr,
        nopreempt: false,
        nopreempt_place: Place::NOWHERE,
        preempt_delay: Duration::ZERO,
        authentication: None,
        source: None,
        source_place: Place::NOWHERE,
        unicast: false,
        group: None,
        track_source: false,
        peers: Vec::new(),
        unicast_ttl: None,
        check_unicast_src: false,
        vips: Vec::new(),
        excluded: Vec::new(),
        no_vip: false,
        dont_track_primary: false,
        track: Tracking::default(),
        accept: None,
        lower_prio_no_advert: None,
        higher_prio_send_advert: None,
        owner_ignore_adverts: None,
        old_unicast_checksum: OldUnicastChecksum::Detect,
        strict: None,
        notify: Notifies::default(),
        hmac: None,
        vmac: None,
        vmac_addresses: false,
        vmac_xmit_base: false,
        ipvlan: None,
        vrf: None,
        unicast_fault_no_peer: false,
        routes: Vec::new(),
        rules: Vec::new(),
        promote_secondaries: false,
        linkbeat_use_polling: false,
        debug: 0,
        smtp_alert: None,
        notify_priority_changes: None,
        timer_expired_backup: None,
        garp_extra: None,
        kernel_rx_buf_size: None,
        sync_interface: None,
        handover: None,
    };
    context.block(&TABLE, &mut instance, line);
    draft.instances.push(Box::new(instance));
}

fn state(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    instance.state_place = line.place();
    instance.state = Some(match line.str(1) {
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
    });
}

fn interface(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    if line.str(1) == "lo" {
        let message = format!("({}) cannot use the loopback interface", instance.name);
        context.diags.warn("loopback", line.place_from(1), message).hint("name another interface");
        return;
    }
    if let Some(name) = context.interface(line, 1) {
        instance.interface = Some(name);
        instance.interface_place = line.place_from(1);
    }
}

fn vrid(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    if let Some(vrid) = context.integer_or(line, 1, 1, 255, "") {
        instance.vrid = Some(vrid as u8);
        instance.vrid_place = line.place();
    }
}

fn priority(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    let priority = context.integer_or(line, 1, 1, 255, "100");
    instance.priority = Some(priority.map_or(100, |priority| priority as u8));
}

fn advert_int(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    if let Some(time) = context.seconds_or(line, 1, 10_000, 255_000_000, 6, "1 second") {
        instance.advert_int = time;
        instance.advert_int_place = line.place_from(1);
    }
}

fn native_ipv6(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    if instance.vips.iter().any(|(vip, _)| vip.address.is_ipv4()) {
        let message = format!("({}) has IPv4 addresses; native_ipv6 is ignored", instance.name);
        context.diags.warn("native-ipv6", line.place(), message);
        return;
    }
    instance.native_ipv6 = true;
}

fn nopreempt(instance: &mut Instance, _: &mut Context<'_>, line: &Line) {
    instance.nopreempt = true;
    instance.nopreempt_place = line.place();
}

fn authentication(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    let mut authentication = Authentication { place: line.place(), ..Authentication::default() };
    context.block(&AUTHENTICATION, &mut authentication, line);
    instance.authentication = Some(authentication);
}

fn auth_type(authentication: &mut Authentication, context: &mut Context<'_>, line: &Line) {
    authentication.kind = match line.str(1) {
        "PASS" => Some(AuthenticationKind::Password),
        "AH" => Some(AuthenticationKind::Header),
        other => {
            let message = format!("`{other}` is no type of authentication");
            context
                .diags
                .warn("auth-type", line.place_from(1), message)
                .hint("use PASS, in capitals");
            None
        }
    };
}

fn auth_pass(authentication: &mut Authentication, context: &mut Context<'_>, line: &Line) {
    let bytes = line.str(1).as_bytes();
    if bytes.len() > 8 {
        context
            .diags
            .warn(
                "auth-pass-length",
                line.place_from(1),
                "this password is cut to its first 8 bytes",
            )
            .hint("VRRP has room for 8; every router must use the same");
    }
    let mut password = [0; 8];
    let length = bytes.len().min(8);
    password[..length].copy_from_slice(&bytes[..length]);
    authentication.password = Some(password);
}

fn virtual_address(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    let Some(vip) = vip::read(context, line) else { return };
    if let Some((first, _)) = instance.vips.first()
        && first.address.is_ipv4() != vip.address.is_ipv4()
    {
        let message = format!(
            "`{}` is of another family than the instance's first address; it is skipped",
            vip.address
        );
        context
            .diags
            .warn("vip-family", line.keyword_place(), message)
            .hint("put it into `virtual_ipaddress_excluded`, or into an instance of its own");
        return;
    }
    push_single(&mut instance.vips, (vip, line.keyword_place()));
}

fn excluded_address(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    if let Some(vip) = vip::read(context, line) {
        instance.excluded.push((vip, line.keyword_place()));
    }
}

fn multicast_source(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    if let Some(address) = context.address(line, 1) {
        instance.source = Some(address);
        instance.source_place = line.place_from(1);
    }
}

fn unicast_source(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    instance.unicast = true;
    multicast_source(instance, context, line);
}

fn multicast_group(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    instance.group = multicast(context, line, 1).or(instance.group);
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

fn unicast_peers(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    instance.unicast = true;
    context.list(line, 0, |context, line| {
        let Some(address) = context.address(line, 0) else { return };
        let mut peer = UnicastPeer { address, ttl: (0, 255) };
        if context.options(&UNICAST_PEER, &mut peer, line, 1) {
            instance.peers.push((peer, line.keyword_place()));
        }
    });
}

fn old_unicast_checksum(instance: &mut Instance, _: &mut Context<'_>, line: &Line) {
    instance.unicast = true;
    instance.old_unicast_checksum =
        if line.str(1) == "never" { OldUnicastChecksum::Never } else { OldUnicastChecksum::Always };
}

fn notify_deleted(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    instance.notify.report_deleted = true;
    if line.len() > 1 {
        instance.notify.deleted = context.command(line);
    }
}

fn sync_interface(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    context
        .diags
        .warn("deprecated", line.keyword_place(), "`lvs_sync_daemon_interface` is the old form")
        .class(Class::Deprecated)
        .hint("write `lvs_sync_daemon IF inst NAME` in `global_defs`");
    instance.sync_interface = context.interface(line, 1);
}

fn timer_expired(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    instance.timer_expired_backup = match line.word(1) {
        None => Some(254),
        Some(_) => context.integer_or(line, 1, 1, 254, "off").map(|priority| priority as u8),
    };
}

fn garp_extra_if(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    instance.garp_extra = extra_garp(context, line, 0).or(instance.garp_extra);
}

/// `[all] SECONDS`
pub(super) fn extra_garp(context: &mut Context<'_>, line: &Line, min: i64) -> Option<ExtraGarp> {
    let all = line.str(1) == "all";
    let index = 1 + usize::from(all);
    if line.word(index).is_none() {
        context.missing_argument(line);
        return None;
    }
    let seconds = context.integer_or(line, index, min, 86_400, "off")?;
    Some(ExtraGarp { all, interval: secs(seconds) })
}
