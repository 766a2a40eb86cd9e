//! `global_defs` around the engines: mail, pipes, processes, SNMP, D-Bus, filters, buffers, files.

use std::collections::HashSet;
use std::time::Duration;

use super::Context;
use super::global::{Globals, multicast, realtime};
use super::table::{Keyword, Table, Takes};
use crate::diagnostic::Class;
use crate::model::{AdvertBuffer, Fifo, MailServer, SyncDaemon};
use crate::syntax::Line;

/// Longest time, microseconds.
const LONGEST: u64 = 4_294_967_295_000;

const fn text(name: &'static str, set: fn(&mut Globals, &str)) -> Keyword<Globals> {
    Keyword::idle(name, Takes::Text(set))
}

const fn flag(name: &'static str, set: fn(&mut Globals)) -> Keyword<Globals> {
    Keyword::idle(name, Takes::Flag(set))
}

const fn switch(name: &'static str, set: fn(&mut Globals, bool)) -> Keyword<Globals> {
    Keyword::idle(name, Takes::Switch(set))
}

const fn words(
    name: &'static str,
    words: usize,
    read: fn(&mut Globals, &mut Context<'_>, &Line),
) -> Keyword<Globals> {
    Keyword::idle(name, Takes::Words { words, read })
}

const fn number(name: &'static str, min: i64, set: fn(&mut Globals, i64)) -> Keyword<Globals> {
    Keyword::idle(name, Takes::u32(min, set))
}

const fn time(
    name: &'static str,
    min: u64,
    max: u64,
    set: fn(&mut Globals, Duration),
) -> Keyword<Globals> {
    Keyword::idle(name, Takes::Seconds { min, max, places: 6, set })
}

/// Names are cut to what the kernel keeps.
fn process_name(text: &str) -> Option<String> {
    Some(text.chars().take(15).collect())
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

pub(super) const MAIL: &[Keyword<Globals>] = &[
    text("notification_email_from", |g, text| g.model.mail.from = some(text)),
    words("smtp_server", 1, smtp_server),
    text("smtp_helo_name", |g, text| g.model.mail.helo_name = some(text)),
    number("smtp_connect_timeout", 0, |g, n| {
        g.model.mail.connect_timeout = Duration::from_secs(n.max(1) as u64);
    }),
    Keyword::idle("notification_email", Takes::Block { words: 0, read: notification_email }),
    switch("smtp_alert", |g, on| g.alert = Some(on)),
    switch("smtp_alert_vrrp", |g, on| g.alert_vrrp = Some(on)),
    switch("smtp_alert_checker", |g, on| g.alert_checker = Some(on)),
    flag("no_email_faults", |g| g.model.mail.no_faults = true),
    switch("no_checker_emails", |g, on| g.model.mail.no_checkers = on),
];

pub(super) const FIFOS: &[Keyword<Globals>] = &[
    words("notify_fifo", 1, |g, context, line| fifo(&mut g.model.fifos.all, context, line)),
    words("vrrp_notify_fifo", 1, |g, context, line| fifo(&mut g.model.fifos.vrrp, context, line)),
    words("lvs_notify_fifo", 1, |g, context, line| fifo(&mut g.model.fifos.lvs, context, line)),
    Keyword::idle("notify_fifo_script", Takes::Command(|g| &mut g.fifo_scripts[0])),
    Keyword::idle("vrrp_notify_fifo_script", Takes::Command(|g| &mut g.fifo_scripts[1])),
    Keyword::idle("lvs_notify_fifo_script", Takes::Command(|g| &mut g.fifo_scripts[2])),
    switch("vrrp_notify_priority_changes", |g, on| g.notify_priority_changes = on),
    flag("fifo_write_vrrp_states_on_reload", |g| g.model.fifos.states_on_reload = true),
];

pub(super) const PROCESSES: &[Keyword<Globals>] = &[
    flag("process_names", |g| g.model.process_names.enabled = true),
    text("process_name", |g, text| g.model.process_names.parent = process_name(text)),
    text("vrrp_process_name", |g, text| g.model.process_names.vrrp = process_name(text)),
    text("checker_process_name", |g, text| g.model.process_names.checker = process_name(text))
        .deprecated(&["lvs_process_name"]),
    text("bfd_process_name", |g, text| g.model.process_names.bfd = process_name(text)),
    switch("use_symlink_paths", |g, on| g.model.use_symlink_paths = on),
    switch("set_supplementary_groups", |g, on| g.model.set_supplementary_groups = on),
    words("max_auto_priority", 0, max_auto_priority),
    Keyword::idle_or(
        "min_auto_priority_delay",
        "1 second",
        Takes::Integer {
            min: 1,
            max: 10_000_000,
            set: |g, n| {
                g.model.limits.min_auto_priority_delay = Some(Duration::from_micros(n as u64));
            },
        },
    ),
    words("vrrp_cpu_affinity", 1, |g, c, line| cpus(&mut g.model.limits.vrrp_cpus, c, line)),
    words("checker_cpu_affinity", 1, |g, c, line| cpus(&mut g.model.limits.checker_cpus, c, line)),
    words("bfd_cpu_affinity", 1, |g, c, line| cpus(&mut g.model.limits.bfd_cpus, c, line)),
    number("vrrp_rlimit_rttime", 1, |g, n| g.model.limits.vrrp_rttime = micros(n))
        .deprecated(&["vrrp_rlimit_rtime"]),
    number("checker_rlimit_rttime", 1, |g, n| g.model.limits.checker_rttime = micros(n))
        .deprecated(&["checker_rlimit_rtime"]),
    number("bfd_rlimit_rttime", 1, |g, n| g.model.limits.bfd_rttime = micros(n))
        .deprecated(&["bfd_rlimit_rtime"]),
    Keyword::idle_or(
        "bfd_priority",
        "0",
        Takes::Integer {
            min: -20,
            max: 19,
            set: |g, n| g.model.bfd_scheduling.nice = Some(n as i32),
        },
    ),
    flag("bfd_no_swap", |g| g.model.bfd_scheduling.no_swap = true),
    number("bfd_rt_priority", 0, |g, n| realtime(&mut g.model.bfd_scheduling, n)),
];

const fn micros(n: i64) -> Option<Duration> {
    Some(Duration::from_micros(n as u64))
}

pub(super) const SNMP: &[Keyword<Globals>] = &[
    text("snmp_socket", |g, text| g.model.snmp.socket = some(text)),
    flag("enable_traps", |g| g.model.snmp.traps = true),
    flag("enable_snmp_vrrp", |g| g.model.snmp.vrrp = true).deprecated(&["enable_snmp_keepalived"]),
    flag("enable_snmp_rfc", |g| {
        g.model.snmp.rfcv2 = true;
        g.model.snmp.rfcv3 = true;
    }),
    flag("enable_snmp_rfcv2", |g| g.model.snmp.rfcv2 = true),
    flag("enable_snmp_rfcv3", |g| g.model.snmp.rfcv3 = true),
    flag("enable_snmp_checker", |g| g.model.snmp.checker = true),
    time("snmp_vs_stats_update_interval", 1_000, 30_000_000, |g, time| {
        g.model.snmp.virtual_servers = time;
    }),
    time("snmp_rs_stats_update_interval", 1_000, 30_000_000, |g, time| {
        g.snmp_real_servers = Some(time);
    }),
    flag("enable_dbus", |g| g.model.dbus.enabled = true),
    text("dbus_service_name", |g, text| g.model.dbus.service_name = some(text)),
    text("dbus_no_interface_name", |g, text| g.model.dbus.no_interface_name = some(text)),
];

pub(super) const FILTERS: &[Keyword<Globals>] = &[
    words("vrrp_iptables", 0, iptables),
    words("vrrp_ipsets", 0, |g, _, line| {
        g.model.filters.ipsets =
            Some(line.words_from(1).map(|word| word.text.to_owned()).collect());
    }),
    words("nftables", 0, |g, _, line| {
        g.model.filters.table = some(line.word(1).map_or("keepalived", |word| word.text));
    }),
    Keyword::idle_or(
        "nftables_priority",
        "-1",
        Takes::Integer {
            min: i32::MIN as i64,
            max: i32::MAX as i64,
            set: |g, n| g.model.filters.priority = n as i32,
        },
    ),
    flag("nftables_ifindex", |g| g.model.filters.by_index = true),
    words("nftables_ipvs", 0, |g, _, line| {
        g.model.filters.ipvs_table = some(line.word(1).map_or("keepalived_ipvs", |word| word.text));
    }),
    Keyword::idle_or(
        "nftables_ipvs_priority",
        "-1",
        Takes::Integer {
            min: i32::MIN as i64,
            max: i32::MAX as i64,
            set: |g, n| g.model.filters.ipvs_priority = n as i32,
        },
    ),
    number("nftables_ipvs_start_fwmark", 1, |g, n| g.model.filters.ipvs_first_mark = n as u32),
    flag("nftables_counters", |g| g.model.filters.counters = true),
];

pub(super) const BUFFERS: &[Keyword<Globals>] = &[
    number("vrrp_netlink_cmd_rcv_bufs", 0, |g, n| {
        g.model.buffers.vrrp_commands.bytes = Some(n as u32);
    }),
    switch("vrrp_netlink_cmd_rcv_bufs_force", |g, on| g.model.buffers.vrrp_commands.force = on),
    number("vrrp_netlink_monitor_rcv_bufs", 0, |g, n| {
        g.model.buffers.vrrp_monitor.bytes = Some(n as u32);
    }),
    switch("vrrp_netlink_monitor_rcv_bufs_force", |g, on| g.model.buffers.vrrp_monitor.force = on),
    Keyword::new(
        "process_monitor_rcv_bufs",
        Takes::u32(0, |g: &mut Globals, n| g.model.buffers.process_monitor.bytes = Some(n as u32)),
    ),
    Keyword::new(
        "process_monitor_rcv_bufs_force",
        Takes::Switch(|g, on| g.model.buffers.process_monitor.force = on),
    ),
    number("lvs_netlink_cmd_rcv_bufs", 0, |g, n| {
        g.model.buffers.lvs_commands.bytes = Some(n as u32);
    }),
    switch("lvs_netlink_cmd_rcv_bufs_force", |g, on| g.model.buffers.lvs_commands.force = on),
    number("lvs_netlink_monitor_rcv_bufs", 0, |g, n| {
        g.model.buffers.lvs_monitor.bytes = Some(n as u32);
    }),
    switch("lvs_netlink_monitor_rcv_bufs_force", |g, on| g.model.buffers.lvs_monitor.force = on),
    words("vrrp_rx_bufs_policy", 1, advert_buffer),
    number("vrrp_rx_bufs_multiplier", 1, |g, n| g.model.buffers.adverts_multiplier = n as u32),
];

pub(super) const FILES: &[Keyword<Globals>] = &[
    words("reload_check_config", 0, |g, _, line| {
        g.model.reload.check_log = some(line.word(1).map_or("/dev/null", |word| word.text));
    }),
    text("reload_time_file", |g, text| g.model.reload.time_file = some(text)),
    flag("reload_repeat", |g| g.model.reload.repeat = true),
    words("reload_file", 0, |g, _, line| g.model.reload.file = some(line.str(1))),
    text("config_save_dir", |g, text| g.model.reload.save_dir = some(text)),
    text("tmp_config_directory", |g, text| g.model.reload.temporary_dir = some(text)),
    switch("data_use_instance", |g, on| g.model.dumps.use_instance = on),
    Keyword::idle_or(
        "json_version",
        "1",
        Takes::Integer { min: 1, max: 2, set: |g, n| g.model.dumps.json_version = n as u8 },
    ),
    text("state_dump_file", |g, text| g.model.dumps.state_file = some(text)),
    text("stats_dump_file", |g, text| g.model.dumps.stats_file = some(text)),
    text("json_dump_file", |g, text| g.model.dumps.json_file = some(text)),
    text("iproute_usr_dir", |g, text| g.model.placement.iproute_usr_dir = some(text)),
    text("iproute_etc_dir", |g, text| g.model.placement.iproute_etc_dir = some(text)),
];

pub(super) const NETWORK: &[Keyword<Globals>] = &[
    words("default_interface", 1, |g, context, line| {
        if let Some(name) = context.interface(line, 1) {
            g.model.default_interface = Some(name);
        }
    }),
    flag("disable_local_igmp", |g| g.model.disable_local_igmp = true),
    flag("log_unknown_vrids", |g| g.model.log_unknown_vrids = true),
    Keyword::new("lvs_sync_daemon", Takes::Words { words: 1, read: sync_daemon }),
    time("vrrp_garp_interval", 1, LONGEST, |g, time| g.model.garp_interval = time),
    time("vrrp_gna_interval", 1, LONGEST, |g, time| g.model.gna_interval = time),
    Keyword::new(
        "vrrp_garp_extra_if",
        Takes::Words {
            words: 1,
            read: |g: &mut Globals, context, line| {
                g.garp_extra = super::router::extra_garp(context, line, 1).or(g.garp_extra);
            },
        },
    )
    .deprecated(&["vrrp_vmac_garp_intvl"]),
    time("vrrp_delay_after_boot", 1_000, LONGEST, |g, time| g.model.delay_after_boot = time),
    Keyword::new("vmac_prefix", Takes::Text(|g, text| g.model.vmac_prefix = some(text))),
    Keyword::new("vmac_addr_prefix", Takes::Text(|g, text| g.model.vmac_addr_prefix = some(text))),
];

fn smtp_server(globals: &mut Globals, context: &mut Context<'_>, line: &Line) {
    let port = match line.word(2) {
        None => Some(25),
        Some(_) => context.integer_or(line, 2, 1, 65_535, "25"),
    };
    let port = port.map_or(25, |port| port as u16);
    // A daemon must not wait for name servers; only a check asks them.
    if context.options.testing && !context.system.resolves(line.str(1)) {
        let message = format!("`{}` is no address and no host with one", line.str(1));
        context.diags.warn("smtp-server", line.place_from(1), message);
        return;
    }
    globals.model.mail.server = Some(MailServer { host: line.str(1).to_owned(), port });
}

fn notification_email(globals: &mut Globals, context: &mut Context<'_>, line: &Line) {
    let recipients = &mut globals.model.mail.recipients;
    let before = recipients.len();
    context.list(line, 0, |_, line| {
        recipients.extend(line.words_from(0).map(|word| word.text.to_owned()));
    });
    if recipients.len() == before {
        let message = "`notification_email` names nobody";
        context.diags.warn("empty-list", line.place(), message);
    }
}

fn fifo(fifo: &mut Option<Fifo>, context: &mut Context<'_>, line: &Line) {
    if fifo.is_some() {
        let message = format!("`{}` is given before; the first counts", line.str(0));
        context.diags.warn("duplicate-fifo", line.place(), message);
        return;
    }
    let owner = match line.word(2) {
        None => None,
        Some(user) => {
            let group = line.word(3).map(|word| word.text.to_owned());
            let hint = "create the account first";
            match context.owner(user.text, group.as_deref(), user.place, hint, Class::Note) {
                Ok(owner) => Some(owner.0),
                Err(_) => return,
            }
        }
    };
    *fifo = Some(Fifo { path: line.str(1).to_owned(), owner, script: None });
}

fn max_auto_priority(globals: &mut Globals, context: &mut Context<'_>, line: &Line) {
    let priority = match line.word(1) {
        None => Some(99),
        Some(_) => context.integer_or(line, 1, -1, 99, "0"),
    };
    if let Some(priority) = priority {
        globals.model.limits.max_auto_priority = Some(priority as i8);
    }
}

fn cpus(cpus: &mut Vec<u32>, context: &mut Context<'_>, line: &Line) {
    for index in 1..line.len() {
        if let Some(cpu) = context.integer_or(line, index, 0, 8_191, "all") {
            cpus.push(cpu as u32);
        }
    }
}

/// Chains are cut to what iptables takes.
fn iptables(globals: &mut Globals, context: &mut Context<'_>, line: &Line) {
    // Every build of keepalived that has nftables says this.
    let message = "`vrrp_iptables` means nftables where iptables is not built in";
    context.diags.warn("iptables", line.place(), message).hint("write `nftables`");
    let chain = |index, usual: &str| {
        line.word(index).map_or(usual, |word| word.text).chars().take(28).collect::<String>()
    };
    let chains = match line.len() {
        1 => (chain(1, "INPUT"), chain(2, "OUTPUT")),
        _ => (chain(1, ""), chain(2, "")),
    };
    globals.model.filters.iptables = Some(chains);
}

fn advert_buffer(globals: &mut Globals, context: &mut Context<'_>, line: &Line) {
    let text = line.str(1);
    if line.len() > 2 {
        let message = "`vrrp_rx_bufs_policy` takes one policy or one size; the first counts";
        context.diags.warn("extra-words", line.place_from(2), message);
    }
    globals.model.buffers.adverts = if text.eq_ignore_ascii_case("MTU") {
        Some(AdvertBuffer::Mtu)
    } else if text.eq_ignore_ascii_case("ADVERT") {
        Some(AdvertBuffer::Advert)
    } else {
        match context.integer_or(line, 1, 0, u32::MAX.into(), "the kernel's") {
            Some(bytes) => Some(AdvertBuffer::Bytes(bytes as u32)),
            None => globals.model.buffers.adverts,
        }
    };
}

pub(super) static SYNC_DAEMON: Table<SyncDaemon> = Table {
    block: "lvs_sync_daemon",
    keywords: &[
        Keyword::new("inst", Takes::Text(|d: &mut SyncDaemon, text| d.instance = some(text))),
        Keyword::new("id", Takes::Integer { min: 0, max: 255, set: |d, n| d.id = Some(n as u8) }),
        Keyword::new(
            "maxlen",
            Takes::Integer { min: 1, max: 65_507, set: |d, n| d.max_length = Some(n as u16) },
        ),
        Keyword::or(
            "port",
            "8848",
            Takes::Integer { min: 1, max: 65_535, set: |d, n| d.port = Some(n as u16) },
        ),
        Keyword::or(
            "ttl",
            "1",
            Takes::Integer { min: 1, max: 255, set: |d, n| d.ttl = Some(n as u8) },
        ),
        Keyword::or(
            "group",
            "224.0.0.81",
            Takes::Part {
                words: 1,
                read: |d, context, line, at| {
                    d.group = multicast(context, line, at + 1).or(d.group);
                    1
                },
            },
        ),
    ],
    also: &[],
};

/// `IF [inst NAME] [id N] ...`; of old, name and number followed without words.
fn sync_daemon(globals: &mut Globals, context: &mut Context<'_>, line: &Line) {
    let Some(interface) = context.interface(line, 1) else { return };
    let mut daemon = SyncDaemon {
        interface,
        instance: None,
        id: None,
        max_length: None,
        port: None,
        ttl: None,
        group: None,
    };
    let mut index = 2;
    if let Some(word) = line.word(2).filter(|word| SYNC_DAEMON.all().all(|k| k.name != word.text)) {
        context
            .diags
            .warn("deprecated", word.place, "an instance without `inst` is the old form")
            .class(Class::Deprecated)
            .hint(format!("write `inst {}`", word.text));
        daemon.instance = some(word.text);
        index = 3;
        if line.str(3).starts_with(|c: char| c.is_ascii_digit()) {
            daemon.id = context.integer_or(line, 3, 0, 255, "0").map(|id| id as u8);
            index = 4;
        }
    }
    if context.options(&SYNC_DAEMON, &mut daemon, line, index) {
        globals.sync_instance = daemon.instance.as_ref().map(|_| line.keyword_place());
        globals.model.sync_daemon = Some(daemon);
    }
}

/// As keepalived, which says so only when it runs: one whose instance there is not is ignored as a whole.
pub(super) fn check_sync_daemon(context: &mut Context<'_>, instances: &HashSet<&str>) {
    let daemon = context.globals.model.sync_daemon.as_ref();
    let Some(name) = daemon.and_then(|daemon| daemon.instance.clone()) else { return };
    if !instances.contains(name.as_str()) {
        if let Some(place) = context.globals.sync_instance {
            let message = format!("`lvs_sync_daemon` names `{name}`, which is no instance");
            context.diags.note("sync-daemon-instance", place, message).hint("the line is ignored");
        }
        context.globals.model.sync_daemon = None;
    }
}
