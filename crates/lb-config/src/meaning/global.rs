//! The top level and `global_defs`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::script::Command;
use super::table::{Keyword, Table, Takes};
use super::{Context, Draft, boolean, carp, daemon, group, lvs, lvs_group, top, vrrp, vrrp_script};
use crate::diagnostic::{Class, Place};
use crate::model::{ExtraGarp, FlushOnStop, Global, LvsTimeouts, Scheduling, VrrpVersion};
use crate::syntax::{Checks, Line};

/// `global_defs`, and what it means for the blocks after it.
#[derive(Debug)]
pub(crate) struct Globals {
    pub(crate) model: Global,
    /// Where the instance of `lvs_sync_daemon` is named.
    pub(super) sync_instance: Option<Place>,
    startup_script: Option<Box<Command>>,
    shutdown_script: Option<Box<Command>>,
    startup_timeout: Duration,
    shutdown_timeout: Duration,
    pub(crate) dynamic_interfaces: bool,
    pub(crate) script_security: bool,
    /// A script was found that will run.
    pub(crate) runs_scripts: bool,
    pub(crate) version: VrrpVersion,
    pub(crate) strict: bool,
    pub(crate) group_inet: IpAddr,
    pub(crate) group_inet6: IpAddr,
    pub(crate) garp: GarpDefaults,
    pub(crate) down_timer_adverts: u32,
    pub(crate) v3_checksum_as_v2: bool,
    pub(crate) skip_check_adv_addr: bool,
    pub(crate) check_unicast_src: bool,
    pub(crate) lower_prio_no_advert: bool,
    pub(crate) higher_prio_send_advert: bool,
    pub(crate) owner_ignore_adverts: bool,
    pub(crate) log_all_failures: bool,
    pub(crate) alert: Option<bool>,
    pub(crate) alert_vrrp: Option<bool>,
    pub(crate) alert_checker: Option<bool>,
    pub(crate) notify_priority_changes: bool,
    pub(crate) handover: bool,
    pub(crate) garp_extra: Option<ExtraGarp>,
    pub(crate) snmp_real_servers: Option<Duration>,
    /// Of all notifications, of VRRP's and of LVS's.
    pub(crate) fifo_scripts: [Option<Box<Command>>; 3],
}

/// Gratuitous ARP as far as it is set; an instance copies it when its block opens.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GarpDefaults {
    pub(crate) delay: Option<Duration>,
    pub(crate) repeat: Option<u32>,
    pub(crate) refresh: Option<Duration>,
    pub(crate) refresh_repeat: Option<u32>,
    pub(crate) lower_prio_delay: Option<Duration>,
    pub(crate) lower_prio_repeat: Option<u32>,
    /// `vrrp_min_garp`: one round and no more, where nothing else is said.
    pub(crate) minimal: bool,
}

impl Default for Globals {
    fn default() -> Self {
        Globals {
            model: Global::default(),
            sync_instance: None,
            startup_script: None,
            shutdown_script: None,
            startup_timeout: Duration::from_secs(10),
            shutdown_timeout: Duration::from_secs(10),
            dynamic_interfaces: false,
            script_security: false,
            runs_scripts: false,
            version: VrrpVersion::V2,
            strict: false,
            group_inet: Ipv4Addr::new(224, 0, 0, 18).into(),
            group_inet6: Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12).into(),
            garp: GarpDefaults::default(),
            down_timer_adverts: 3,
            v3_checksum_as_v2: false,
            skip_check_adv_addr: false,
            check_unicast_src: false,
            lower_prio_no_advert: false,
            higher_prio_send_advert: false,
            owner_ignore_adverts: false,
            log_all_failures: false,
            alert: None,
            alert_vrrp: None,
            alert_checker: None,
            notify_priority_changes: false,
            handover: true,
            garp_extra: None,
            snmp_real_servers: None,
            fifo_scripts: [None, None, None],
        }
    }
}

/// The top level.
pub(crate) static TOP: Table<Draft> = Table {
    block: "",
    keywords: &[
        Keyword::new("global_defs", Takes::Block { words: 0, read: global_defs }),
        Keyword::new("vrrp_instance", Takes::Block { words: 0, read: vrrp::read }),
        Keyword::new("carp_instance", Takes::Block { words: 0, read: carp::read }),
        Keyword::new("vrrp_sync_group", Takes::Block { words: 1, read: group::read }),
        Keyword::new("vrrp_script", Takes::Block { words: 1, read: vrrp_script::read }),
        Keyword::new("virtual_server_group", Takes::Block { words: 1, read: lvs_group::read }),
        Keyword::new("virtual_server", Takes::Block { words: 1, read: lvs::read }),
        Keyword::or(
            "child_wait_time",
            "5 seconds",
            Takes::Words { words: 1, read: child_wait_time },
        ),
    ],
    also: &[top::KEYWORDS],
};

fn child_wait_time(_: &mut Draft, context: &mut Context<'_>, line: &Line) {
    if let Some(seconds) = context.integer_or(line, 1, 0, u32::MAX.into(), "5 seconds") {
        context.globals.model.child_wait_time = Some(Duration::from_secs(seconds as u64));
    }
}

fn global_defs(_: &mut Draft, context: &mut Context<'_>, line: &Line) {
    // The keywords' setters need the context too.
    let mut globals = std::mem::take(&mut context.globals);
    context.block(&GLOBAL_DEFS, &mut globals, line);
    context.globals = globals;
}

const fn secs(n: i64) -> Duration {
    Duration::from_secs(n as u64)
}

/// Repeats of 0 are 1.
const fn repeat(n: i64) -> Option<u32> {
    Some(if n == 0 { 1 } else { n as u32 })
}

pub(super) static GLOBAL_DEFS: Table<Globals> = Table {
    block: "global_defs",
    keywords: &[
        Keyword::or(
            "router_id",
            "the host name",
            Takes::Text(|g, text| g.model.router_id = Some(text.to_owned())),
        ),
        Keyword::new("enable_script_security", Takes::Flag(|g| g.script_security = true)),
        Keyword::new("script_user", Takes::Words { words: 1, read: script_user }),
        Keyword::new("dynamic_interfaces", Takes::Flag(|g| g.dynamic_interfaces = true)),
        Keyword::new("startup_script", Takes::Words { words: 0, read: startup_script }),
        Keyword::or(
            "startup_script_timeout",
            "10 seconds",
            Takes::Integer { min: 1, max: 1000, set: |g, n| g.startup_timeout = secs(n) },
        ),
        Keyword::new("shutdown_script", Takes::Words { words: 0, read: shutdown_script }),
        Keyword::or(
            "shutdown_script_timeout",
            "10 seconds",
            Takes::Integer { min: 1, max: 1000, set: |g, n| g.shutdown_timeout = secs(n) },
        ),
        Keyword::new("lvs_timeouts", Takes::Words { words: 1, read: lvs_timeouts }),
        Keyword::new("lvs_flush", Takes::Flag(|g| g.model.lvs_flush = true)),
        Keyword::new("lvs_flush_on_stop", Takes::Words { words: 0, read: lvs_flush_on_stop })
            .deprecated(&["lvs_flush_onstop"]),
        Keyword::or("vrrp_mcast_group4", "224.0.0.18", Takes::Words { words: 1, read: group4 }),
        Keyword::or("vrrp_mcast_group6", "ff02::12", Takes::Words { words: 1, read: group6 }),
        Keyword::or(
            "vrrp_garp_master_delay",
            "5",
            Takes::u32(0, |g, n| g.garp.delay = Some(secs(n))),
        ),
        Keyword::or(
            "vrrp_garp_master_repeat",
            "5",
            Takes::u32(0, |g, n| g.garp.repeat = repeat(n)),
        ),
        Keyword::or(
            "vrrp_garp_master_refresh",
            "0",
            Takes::u32(0, |g, n| g.garp.refresh = Some(secs(n))),
        ),
        Keyword::or(
            "vrrp_garp_master_refresh_repeat",
            "1",
            Takes::u32(0, |g, n| g.garp.refresh_repeat = repeat(n)),
        ),
        Keyword::or(
            "vrrp_garp_lower_prio_delay",
            "that of vrrp_garp_master_delay",
            Takes::u32(0, |g, n| g.garp.lower_prio_delay = Some(secs(n))),
        ),
        Keyword::or(
            "vrrp_garp_lower_prio_repeat",
            "that of vrrp_garp_master_repeat",
            Takes::Integer {
                min: 0,
                max: i32::MAX as i64,
                set: |g, n| g.garp.lower_prio_repeat = Some(n as u32),
            },
        ),
        Keyword::new("vrrp_min_garp", Takes::Switch(|g, on| g.garp.minimal = on)),
        Keyword::or(
            "vrrp_down_timer_adverts",
            "3",
            Takes::Integer { min: 1, max: 100, set: |g, n| g.down_timer_adverts = n as u32 },
        ),
        Keyword::or(
            "vrrp_version",
            "2",
            Takes::Integer { min: 2, max: 3, set: |g, n| g.version = version(n) },
        ),
        Keyword::new("v3_checksum_as_v2", Takes::Flag(|g| g.v3_checksum_as_v2 = true)),
        Keyword::new(
            "vrrp_skip_check_adv_addr",
            Takes::Words { words: 0, read: skip_check_adv_addr },
        ),
        Keyword::new("vrrp_check_unicast_src", Takes::Flag(|g| g.check_unicast_src = true)),
        Keyword::new(
            "vrrp_lower_prio_no_advert",
            Takes::Switch(|g, on| g.lower_prio_no_advert = on),
        ),
        Keyword::new(
            "vrrp_higher_prio_send_advert",
            Takes::Switch(|g, on| g.higher_prio_send_advert = on),
        ),
        Keyword::new(
            "vrrp_owner_ignore_adverts",
            Takes::Switch(|g, on| g.owner_ignore_adverts = on),
        ),
        Keyword::or("handover", "on", Takes::Switch(|g, on| g.handover = on)),
        Keyword::or("carp_allow", "on", Takes::Switch(|g, on| g.model.carp.allow = on)),
        Keyword::or("carp_preempt", "off", Takes::Switch(|g, on| g.model.carp.preempt = on)),
        Keyword::or(
            "carp_log",
            "2",
            Takes::Integer { min: 0, max: 7, set: |g, n| g.model.carp.log = n as u8 },
        ),
        Keyword::new("vrrp_strict", Takes::Words { words: 0, read: strict }),
        Keyword::or(
            "vrrp_startup_delay",
            "0",
            Takes::seconds(1_000, |g, time| g.model.vrrp_startup_delay = time),
        ),
        Keyword::new(
            "vrrp_priority",
            Takes::Integer {
                min: -20,
                max: 19,
                set: |g, n| g.model.advertiser_scheduling.nice = Some(n as i32),
            },
        ),
        Keyword::new(
            "vrrp_rt_priority",
            Takes::u32(0, |g, n| realtime(&mut g.model.advertiser_scheduling, n)),
        ),
        Keyword::new("vrrp_no_swap", Takes::Flag(|g| g.model.advertiser_scheduling.no_swap = true)),
        Keyword::new(
            "checker_priority",
            Takes::Integer {
                min: -20,
                max: 19,
                set: |g, n| g.model.balancer_scheduling.nice = Some(n as i32),
            },
        ),
        Keyword::new(
            "checker_rt_priority",
            Takes::u32(0, |g, n| realtime(&mut g.model.balancer_scheduling, n)),
        ),
        Keyword::new(
            "checker_no_swap",
            Takes::Flag(|g| g.model.balancer_scheduling.no_swap = true),
        ),
        Keyword::new("checker_log_all_failures", Takes::Switch(|g, on| g.log_all_failures = on)),
        Keyword::new("rs_init_notifies", Takes::Switch(|g, on| g.model.rs_init_notifies = on)),
        Keyword::or("umask", "0177", Takes::Words { words: 1, read: umask }),
        Keyword::new("random_seed", Takes::u32(0, |_, _| {})),
        Keyword::new("include_check", Takes::Words { words: 0, read: include_check }),
    ],
    also: &[
        daemon::MAIL,
        daemon::FIFOS,
        daemon::PROCESSES,
        daemon::SNMP,
        daemon::FILTERS,
        daemon::BUFFERS,
        daemon::FILES,
        daemon::NETWORK,
    ],
};

pub(crate) fn version(number: i64) -> VrrpVersion {
    if number == 3 { VrrpVersion::V3 } else { VrrpVersion::V2 }
}

/// Real-time priorities are clamped to what the kernel has.
pub(crate) fn realtime(scheduling: &mut Scheduling, priority: i64) {
    scheduling.realtime = Some(priority.clamp(1, 99) as u8);
}

/// Whether a switch is on; keepalived takes a word that is no boolean for none.
fn on_unless_off(line: &Line) -> bool {
    line.word(1).and_then(|word| boolean(word.text)).unwrap_or(true)
}

fn skip_check_adv_addr(globals: &mut Globals, _: &mut Context<'_>, line: &Line) {
    globals.skip_check_adv_addr = on_unless_off(line);
}

fn strict(globals: &mut Globals, _: &mut Context<'_>, line: &Line) {
    globals.strict = on_unless_off(line);
}

fn startup_script(globals: &mut Globals, context: &mut Context<'_>, line: &Line) {
    context.first_command(line, &mut globals.startup_script, Class::General);
}

fn shutdown_script(globals: &mut Globals, context: &mut Context<'_>, line: &Line) {
    context.first_command(line, &mut globals.shutdown_script, Class::General);
}

fn script_user(_: &mut Globals, context: &mut Context<'_>, line: &Line) {
    // No account: the scripts that rely on it do not run, least of all as root.
    context.script_user = Some(context.owner_of(line));
}

pub(super) static LVS_TIMEOUTS: Table<LvsTimeouts> = Table {
    block: "lvs_timeouts",
    keywords: &[
        Keyword::or("tcp", "the kernel's", lvs_timeout(|t, n| t.tcp = Some(secs(n)))),
        Keyword::or("tcpfin", "the kernel's", lvs_timeout(|t, n| t.tcp_fin = Some(secs(n)))),
        Keyword::or("udp", "the kernel's", lvs_timeout(|t, n| t.udp = Some(secs(n)))),
    ],
    also: &[],
};

/// At most 31 days.
const fn lvs_timeout(set: fn(&mut LvsTimeouts, i64)) -> Takes<LvsTimeouts> {
    Takes::Integer { min: 0, max: 31 * 86_400, set }
}

fn lvs_timeouts(globals: &mut Globals, context: &mut Context<'_>, line: &Line) {
    context.options(&LVS_TIMEOUTS, &mut globals.model.lvs_timeouts, line, 1);
}

fn lvs_flush_on_stop(globals: &mut Globals, context: &mut Context<'_>, line: &Line) {
    globals.model.lvs_flush_on_stop = match line.word(1) {
        None => FlushOnStop::Everything,
        Some(word) if word.text == "VS" => FlushOnStop::Services,
        Some(word) => {
            let message = format!("`{}` is not `VS` and is ignored", word.text);
            context.diags.warn("lvs-flush-on-stop", word.place, message);
            return;
        }
    };
}

fn group4(globals: &mut Globals, context: &mut Context<'_>, line: &Line) {
    if let Some(group @ IpAddr::V4(_)) = multicast(context, line, 1) {
        globals.group_inet = group;
    }
}

fn group6(globals: &mut Globals, context: &mut Context<'_>, line: &Line) {
    if let Some(group @ IpAddr::V6(_)) = multicast(context, line, 1) {
        globals.group_inet6 = group;
    }
}

/// A multicast address, or a complaint.
pub(crate) fn multicast(context: &mut Context<'_>, line: &Line, index: usize) -> Option<IpAddr> {
    let address = context.address(line, index)?;
    if address.is_multicast() {
        return Some(address);
    }
    let message = format!("`{address}` is not a multicast address and is ignored");
    context.diags.warn("not-multicast", line.place_from(index), message);
    None
}

/// A number as C writes it, or names of permission bits joined by `|`.
fn umask(globals: &mut Globals, context: &mut Context<'_>, line: &Line) {
    let text = line.str(1);
    let number = match text.strip_prefix('0') {
        Some("") => Some(0),
        Some(rest) => match rest.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => u32::from_str_radix(rest, 8).ok(),
        },
        None => text.parse().ok(),
    };
    let named = || {
        let text: String = line.words_from(1).map(|word| word.text).collect();
        text.split('|').map(permission).try_fold(0, |mask, bit| Some(mask | bit?))
    };
    match number.or_else(named).filter(|mask| *mask <= 0o777) {
        Some(mask) => globals.model.umask = Some(mask),
        None => {
            let message = format!("`{text}` is not a file mode mask and is ignored");
            context
                .diags
                .warn("umask", line.place_from(1), message)
                .hint("as in `umask 0177` or `umask IRWXG|IRWXO`");
        }
    }
}

fn permission(name: &str) -> Option<u32> {
    Some(match name.trim() {
        "IRUSR" => 0o400,
        "IWUSR" => 0o200,
        "IXUSR" => 0o100,
        "IRWXU" => 0o700,
        "IRGRP" => 0o040,
        "IWGRP" => 0o020,
        "IXGRP" => 0o010,
        "IRWXG" => 0o070,
        "IROTH" => 0o004,
        "IWOTH" => 0o002,
        "IXOTH" => 0o001,
        "IRWXO" => 0o007,
        _ => return None,
    })
}

fn include_check(_: &mut Globals, context: &mut Context<'_>, line: &Line) {
    if line.len() == 1 {
        context.reader.change_checks(|_| Checks::ALL);
        return;
    }
    let first = line.str(1);
    if !first.starts_with(['+', '-']) {
        context.reader.change_checks(|_| Checks { read: true, ..Checks::default() });
    }
    for word in line.words_from(1) {
        let (on, name) = match word.text.strip_prefix('-') {
            Some(name) => (false, name),
            None => (true, word.text.strip_prefix('+').unwrap_or(word.text)),
        };
        let set: fn(&mut Checks, bool) = match name {
            "read" => |checks, on| checks.read = on,
            "match" => |checks, on| checks.missing = on,
            "wildcard_match" => |checks, on| checks.wildcard = on,
            "brace_match" => |checks, on| checks.brace = on,
            _ => {
                let message = format!("`{name}` is no check of `include`");
                context
                    .diags
                    .warn("include-check", word.place, message)
                    .hint("use read, match, wildcard_match or brace_match");
                continue;
            }
        };
        context.reader.change_checks(|mut checks| {
            set(&mut checks, on);
            checks
        });
    }
}

/// What reaches the model; `runs` says for the scripts of each FIFO whether a process of keepalived's has it.
pub(crate) fn finish(context: &mut Context<'_>, runs: [bool; 3]) -> Global {
    let startup = context.globals.startup_script.take();
    let shutdown = context.globals.shutdown_script.take();
    let (startup, shutdown) =
        (context.check(startup, Class::Note), context.check(shutdown, Class::Note));
    let scripts = std::mem::take(&mut context.globals.fifo_scripts);
    let mut runs = runs.into_iter();
    let scripts = scripts.map(|script| {
        let others_run = context.globals.runs_scripts;
        let script = context.check(script, Class::Note);
        if runs.next() == Some(false) {
            context.globals.runs_scripts = others_run;
        }
        script
    });
    let mut globals = std::mem::take(&mut context.globals);
    let fifos = &mut globals.model.fifos;
    let pipes = [&mut fifos.all, &mut fifos.vrrp, &mut fifos.lvs];
    for (fifo, script) in pipes.into_iter().zip(scripts) {
        if let Some(fifo) = fifo {
            fifo.script = script;
        }
    }
    let snmp = &mut globals.model.snmp;
    snmp.real_servers = globals.snmp_real_servers.unwrap_or(snmp.virtual_servers);
    let global = Global {
        script_security: globals.script_security,
        dynamic_interfaces: globals.dynamic_interfaces,
        startup_script: startup.map(|script| (script, globals.startup_timeout)),
        shutdown_script: shutdown.map(|script| (script, globals.shutdown_timeout)),
        ..globals.model.clone()
    };
    context.globals = globals;
    global
}
