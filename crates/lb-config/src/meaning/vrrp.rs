//! `vrrp_instance`.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use super::global::{GarpDefaults, multicast, version};
use super::script::Command;
use super::table::{Keyword, Table, Takes, block, deprecated, line};
use super::{Context, Draft, push_single, vip};
use crate::diagnostic::{Class, Place};
use crate::model::{InitialState, OldUnicastChecksum, UnicastPeer, VirtualAddress, VrrpVersion};
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

/// Lists of what is tracked, of an instance or a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tracking {
    pub(crate) interfaces: TrackedItems,
    pub(crate) scripts: TrackedItems,
}

/// One such list; no name is in it twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrackedItems {
    pub(crate) items: Vec<TrackedItem>,
    names: HashSet<String>,
}

/// An entry of such a list.
#[derive(Clone, Debug)]
pub(crate) struct TrackedItem {
    pub(crate) name: String,
    pub(crate) weight: i16,
    pub(crate) reverse: bool,
    pub(crate) place: Place,
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

static TABLE: Table<Instance> = Table {
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
        Keyword::new("native_ipv6", Takes::Flag(|i| i.native_ipv6 = true)),
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
        Keyword::new("check_unicast_src", Takes::Flag(|i| i.check_unicast_src = true)),
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
    later: &[
        line("use_vmac"),
        line("use_vmac_addr"),
        line("vmac_xmit_base"),
        line("use_ipvlan"),
        line("unicast_fault_no_peer"),
        line("vrf"),
        block("track_file"),
        block("track_process"),
        block("track_bfd"),
        line("promote_secondaries"),
        line("linkbeat_use_polling"),
        block("virtual_routes"),
        block("virtual_rules"),
        line("debug"),
        line("smtp_alert"),
        line("notify_priority_changes"),
        deprecated("lvs_sync_daemon_interface"),
        line("timer_expired_backup"),
        deprecated("thread_timer_expired"),
        line("garp_extra_if"),
        deprecated("vmac_garp_intvl"),
        line("kernel_rx_buf_size"),
        block("auth_hmac"),
    ],
};

static AUTHENTICATION: Table<Authentication> = Table {
    block: "authentication",
    keywords: &[
        Keyword::new("auth_type", Takes::Words { words: 1, read: auth_type }),
        Keyword::new("auth_pass", Takes::Words { words: 1, read: auth_pass }),
    ],
    later: &[],
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
    };
    context.block(&TABLE, &mut instance, line);
    draft.instances.push(instance);
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
    instance.group = multicast(context, line).or(instance.group);
}

fn unicast_peers(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    instance.unicast = true;
    context.list(line, 0, |context, line| {
        let Some(address) = context.address(line, 0) else { return };
        let mut ttl = (0, 255);
        let mut index = 1;
        while let Some(word) = line.word(index) {
            let limit = match word.text {
                "min_ttl" => &mut ttl.0,
                "max_ttl" => &mut ttl.1,
                other => {
                    let message = format!("`{other}` is no option of a peer and is ignored");
                    context
                        .diags
                        .warn("peer-option", word.place, message)
                        .hint("use min_ttl or max_ttl");
                    index += 1;
                    continue;
                }
            };
            if line.word(index + 1).is_none() {
                context.missing_argument(line);
                return;
            }
            if let Some(value) = context.integer_or(line, index + 1, 0, 255, "") {
                *limit = value as u8;
            }
            index += 2;
        }
        instance.peers.push((UnicastPeer { address, ttl }, line.keyword_place()));
    });
}

fn old_unicast_checksum(instance: &mut Instance, _: &mut Context<'_>, line: &Line) {
    instance.old_unicast_checksum =
        if line.str(1) == "never" { OldUnicastChecksum::Never } else { OldUnicastChecksum::Always };
}

fn notify_deleted(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    instance.notify.report_deleted = true;
    if line.len() > 1 {
        instance.notify.deleted = context.command(line);
    }
}

/// An entry of `track_interface`.
pub(crate) fn track_interface(track: &mut Tracking, context: &mut Context<'_>, line: &Line) {
    let Some(first) = line.word(0) else { return };
    let Some(name) = context.interface_name(first) else { return };
    tracked(&mut track.interfaces, context, line, name, (0, false));
}

/// An entry of `track_script`; the script must have been defined.
pub(crate) fn track_script(track: &mut Tracking, context: &mut Context<'_>, line: &Line) {
    let name = line.str(0);
    let Some(defaults) = context.scripts.get(name).copied() else {
        let names = context.scripts.keys();
        let nearest = names.map(|known| (strsim::damerau_levenshtein(known, name), known)).min();
        let hint = match nearest {
            Some((distance, known)) if distance <= known.len() / 3 => {
                format!("did you mean `{known}`?")
            }
            _ => format!("define it before this place, as in `vrrp_script {name} {{ ... }}`"),
        };
        let message = format!("script `{name}` is not known here and not tracked");
        context.diags.warn("track-script", line.keyword_place(), message).hint(hint);
        return;
    };
    let name = name.to_owned();
    tracked(&mut track.scripts, context, line, name, defaults);
}

/// `NAME [weight N [reverse|noreverse]]`
fn tracked(
    list: &mut TrackedItems,
    context: &mut Context<'_>,
    line: &Line,
    name: String,
    (mut weight, mut reverse): (i16, bool),
) {
    let mut index = 1;
    while let Some(word) = line.word(index) {
        index += 1;
        match word.text {
            "weight" if line.word(index).is_none() => {
                context.missing_argument(line);
                return;
            }
            "weight" => {
                // ±254 is accepted and means ±253.
                if let Some(value) = context.integer_or(line, index, -254, 254, "") {
                    weight = value.clamp(-253, 253) as i16;
                }
                index += 1;
            }
            "reverse" => reverse = true,
            "noreverse" => reverse = false,
            other => {
                let message = format!("`{other}` is not known here and is ignored");
                context
                    .diags
                    .warn("track-option", word.place, message)
                    .hint("as in `NAME weight -10`");
            }
        }
    }
    if !list.names.insert(name.clone()) {
        let message = format!("`{name}` is tracked already; this line is ignored");
        context.diags.warn("track-duplicate", line.keyword_place(), message).class(Class::General);
        return;
    }
    list.items.push(TrackedItem { name, weight, reverse, place: line.keyword_place() });
}
