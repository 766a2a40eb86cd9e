//! `vrrp_instance`.

use std::time::Duration;

use super::global::version;
use super::router::{self, Router, Shared};
use super::table::{Keyword, Table, Takes};
use super::{Context, Draft, hmac, link, push_single, vip};
use crate::diagnostic::Place;
use crate::model::{Hmac, OldUnicastChecksum, VrrpVersion};
use crate::syntax::Line;

/// An instance as far as it is read.
#[derive(Default)]
pub(crate) struct Instance {
    pub(crate) router: Router,
    pub(crate) vrid: Option<u8>,
    pub(crate) vrid_place: Place,
    pub(crate) version: Option<VrrpVersion>,
    pub(crate) native_ipv6: bool,
    pub(crate) no_vip: bool,
    pub(crate) priority: Option<u8>,
    pub(crate) advert_int: Duration,
    pub(crate) advert_int_place: Place,
    pub(crate) down_timer_adverts: u32,
    pub(crate) nopreempt: bool,
    pub(crate) nopreempt_place: Place,
    pub(crate) preempt_delay: Duration,
    pub(crate) authentication: Option<Authentication>,
    pub(crate) accept: Option<bool>,
    pub(crate) skip_check_adv_addr: bool,
    pub(crate) lower_prio_no_advert: Option<bool>,
    pub(crate) higher_prio_send_advert: Option<bool>,
    pub(crate) owner_ignore_adverts: Option<bool>,
    pub(crate) v3_checksum_as_v2: bool,
    pub(crate) old_unicast_checksum: OldUnicastChecksum,
    pub(crate) strict: Option<bool>,
    pub(crate) hmac: Option<Box<Hmac>>,
    pub(crate) timer_expired_backup: Option<u8>,
}

impl AsMut<Router> for Instance {
    fn as_mut(&mut self) -> &mut Router {
        &mut self.router
    }
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

pub(super) static TABLE: Table<Instance> = Table {
    block: "vrrp_instance",
    keywords: &[
        Keyword::or(
            "state",
            "BACKUP, MASTER with priority 255",
            Takes::Words {
                words: 1,
                read: |i: &mut Instance, context, line| router::state(&mut i.router, context, line),
            },
        ),
        Keyword::new(
            "interface",
            Takes::Words {
                words: 1,
                read: |i, context, line| router::interface(&mut i.router, context, line),
            },
        ),
        Keyword::new("virtual_router_id", Takes::Words { words: 1, read: vrid }),
        Keyword::or(
            "priority",
            "100, 255 with state MASTER",
            Takes::Words { words: 1, read: priority },
        ),
        Keyword::or("advert_int", "1 second", Takes::Words { words: 1, read: advert_int }),
        Keyword::new("authentication", Takes::Block { words: 0, read: authentication }),
        Keyword::new("virtual_ipaddress", Takes::List { entry: virtual_address }),
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
        Keyword::new("old_unicast_checksum", Takes::Words { words: 0, read: old_unicast_checksum }),
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
    ],
    also: &[
        Shared::<Instance>::MAIN,
        Shared::<Instance>::GARP,
        Shared::<Instance>::NOTIFY,
        link::Shared::<Instance>::KEYWORDS,
        LATER,
        Shared::<Instance>::LATER,
    ],
};

const LATER: &[Keyword<Instance>] = &[
    Keyword::idle("timer_expired_backup", Takes::Words { words: 0, read: timer_expired })
        .deprecated(&["thread_timer_expired"]),
    Keyword::idle("auth_hmac", Takes::Block { words: 0, read: hmac::read })
        .needed("auth-hmac", "advertisements would be neither signed nor checked"),
];

pub(super) static AUTHENTICATION: Table<Authentication> = Table {
    block: "authentication",
    keywords: &[
        Keyword::new("auth_type", Takes::Words { words: 1, read: auth_type }),
        Keyword::new("auth_pass", Takes::Word(auth_pass)),
    ],
    also: &[],
};

/// Reads a block.
pub(crate) fn read(draft: &mut Draft, context: &mut Context<'_>, line: &Line) {
    let Some(router) = Router::open(TABLE.block, draft, context, line) else { return };
    let globals = &context.globals;
    let mut instance = Instance {
        router,
        advert_int: Duration::from_secs(1),
        // These are copied now: a `global_defs` further down comes too late.
        down_timer_adverts: globals.down_timer_adverts,
        v3_checksum_as_v2: globals.v3_checksum_as_v2,
        skip_check_adv_addr: globals.skip_check_adv_addr,
        ..Instance::default()
    };
    context.block(&TABLE, &mut instance, line);
    draft.instances.push(Box::new(instance));
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
    if instance.router.vips.iter().any(|(vip, _)| vip.address.is_ipv4()) {
        let message =
            format!("({}) has IPv4 addresses; native_ipv6 is ignored", instance.router.name);
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
    let first = instance.router.vips.first().map(|(first, _)| first.address.is_ipv4());
    let is_ipv4 = first.or(instance.native_ipv6.then_some(false));
    if is_ipv4.is_some_and(|is_ipv4| is_ipv4 != vip.address.is_ipv4()) {
        let message =
            format!("`{}` is of another family than the instance; it is skipped", vip.address);
        context
            .diags
            .warn("vip-family", line.keyword_place(), message)
            .hint("put it into `virtual_ipaddress_excluded`, or into an instance of its own");
        return;
    }
    push_single(&mut instance.router.vips, (vip, line.keyword_place()));
}

fn old_unicast_checksum(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    instance.router.unicast = true;
    match line.word(1).map(|word| word.text) {
        None => instance.old_unicast_checksum = OldUnicastChecksum::Always,
        Some("never") => instance.old_unicast_checksum = OldUnicastChecksum::Never,
        Some(other) => {
            let message = format!("`{other}` is no form of old_unicast_checksum and is ignored");
            context
                .diags
                .warn("old-unicast-checksum", line.place_from(1), message)
                .hint("use never, or nothing for always");
        }
    }
}

fn timer_expired(instance: &mut Instance, context: &mut Context<'_>, line: &Line) {
    instance.timer_expired_backup = match line.word(1) {
        None => Some(254),
        Some(_) => context.integer_or(line, 1, 1, 254, "off").map(|priority| priority as u8),
    };
}
