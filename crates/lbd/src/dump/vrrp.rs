//! `keepalived.data`: the VRRP part of the configuration, and how it is.

use jiff::tz::TimeZone;
use lb_config::Model;
use lb_config::model::{Family, Peers, SyncGroup, TrackProcess, VrrpInstance, VrrpVersion};
use lb_control::status::{TrackedScript, Vrrp};
use lb_control::{State, Status};
use lb_net::{InterfaceAddress, Link};

use super::carp;
use super::json::{address, quoted};
use super::page::{Page, begin};

/// Sections in keepalived's order; one that has nothing in it is left out.
pub(super) fn vrrp(
    model: &Model,
    status: &Status,
    links: &[Link],
    addresses: &[InterfaceAddress],
) -> String {
    let mut page = begin(model);
    let state = |name: &str| status.vrrp.iter().find(|state| state.name == name);
    if !model.vrrp_instances.is_empty() {
        page.section("VRRP Topology");
        for config in &model.vrrp_instances {
            instance(config, state(&config.router.name), &mut page);
        }
    }
    if !model.sync_groups.is_empty() {
        page.section("VRRP Sync groups");
        for group in &model.sync_groups {
            let first = group.members.first().and_then(|name| state(name));
            sync_group(group, first, &mut page);
        }
    }
    if !model.vrrp_scripts.is_empty() {
        page.section("VRRP Scripts");
        for script in &model.vrrp_scripts {
            page.line(0, "VRRP Script", &script.name);
            page.line(1, "Command", quoted(&script.script));
            page.line(1, "Interval", format_args!("{} sec", script.interval.as_secs_f64()));
            page.line(1, "Timeout", format_args!("{} sec", script.timeout.as_secs_f64()));
            page.line(1, "Rise", script.rise);
            page.line(1, "Fall", script.fall);
            page.line(1, "Initially failed", script.init_fail);
            let runs = status.daemon.tracked_scripts.iter().find(|runs| runs.name == script.name);
            page.line(1, "Status", script_status(runs));
            if let Some(owner) = script.script.owner {
                page.line(1, "Script uid:gid", format_args!("{}:{}", owner.uid, owner.gid));
            }
            page.text(1, "Tracking instances :");
            for instance in &model.vrrp_instances {
                let tracked = &instance.router.track_scripts;
                for item in tracked.iter().filter(|item| item.name == script.name) {
                    let name = &instance.router.name;
                    page.text(2, format_args!("{name}, weight {}", item.weight));
                }
            }
        }
    }
    if !model.track_files.is_empty() {
        page.section("VRRP Track files");
        for file in &model.track_files {
            page.line(0, "VRRP Track file", &file.name);
            page.line(1, "File", &file.path);
            page.line(1, "Weight", file.weight);
            page.line(1, "Reverse", file.reverse);
        }
    }
    if !model.track_processes.is_empty() {
        page.section("VRRP Track processes");
        for process in &model.track_processes {
            track_process(process, &mut page);
        }
    }
    if let Some(carp) = &status.carp {
        carp::carp(carp, &mut page);
    }
    if !links.is_empty() {
        page.section("Interfaces");
        for link in links {
            interface(link, addresses, &mut page);
        }
    }
    page.0
}

/// keepalived's words.
fn script_status(runs: Option<&TrackedScript>) -> &'static str {
    match runs {
        Some(TrackedScript { last: None, .. }) => "INIT",
        Some(TrackedScript { success: true, .. }) => "GOOD",
        Some(TrackedScript { success: false, .. }) => "BAD",
        None => "DISABLED",
    }
}

fn track_process(process: &TrackProcess, page: &mut Page) {
    page.line(0, "VRRP Track process", &process.name);
    if let Some((program, parameters)) = process.process.split_first() {
        page.line(1, "Process", program);
        if !parameters.is_empty() {
            page.line(1, "Parameters", parameters.join(" "));
        }
    }
    page.line(1, "Min processes", process.quorum);
    if let Some(most) = process.quorum_max {
        page.line(1, "Max processes", most);
    }
    page.line(1, "Weight", process.weight);
    page.line(1, "Terminate delay", format_args!("{}s", process.terminate_delay.as_secs_f64()));
    page.line(1, "Fork delay", format_args!("{}s", process.fork_delay.as_secs_f64()));
    page.line(1, "Full command", process.full_command);
}

/// The members of a group are in one state, so that of the first is the group's.
fn sync_group(group: &SyncGroup, first: Option<&Vrrp>, page: &mut Page) {
    page.line(0, "VRRP Sync Group", &group.name);
    if let Some(first) = first {
        page.line(1, "State", first.state);
    }
    page.line(1, "VRRP member instances", group.members.join(" "));
    page.line(1, "Sync group tracking weight", group.tracking_weight);
    for (key, script) in [
        ("Backup state transition script", &group.notify.backup),
        ("Master state transition script", &group.notify.master),
        ("Fault state transition script", &group.notify.fault),
        ("Stop state transition script", &group.notify.stop),
        ("Generic state transition script", &group.notify.any),
    ] {
        if let Some(script) = script {
            page.line(1, key, quoted(script));
        }
    }
}

fn interface(link: &Link, addresses: &[InterfaceAddress], page: &mut Page) {
    page.line(0, "Name", &link.name);
    page.line(1, "index", link.index);
    if let Some(hardware) = link.hardware {
        page.line(1, "MAC", hardware.map(|octet| format!("{octet:02x}")).join(":"));
    }
    page.line(1, "State", if link.up { "UP, RUNNING" } else { "not UP or not RUNNING" });
    for found in addresses.iter().filter(|found| found.ifindex == link.index) {
        let family = if found.address.is_ipv4() { "IPv4 address" } else { "IPv6 address" };
        let tentative = if found.tentative { " tentative" } else { "" };
        page.line(1, family, format_args!("{}/{}{tentative}", found.address, found.prefix));
    }
}

/// How an instance is, as far as its configuration does not say.
fn running(state: &Vrrp, page: &mut Page) {
    page.line(1, "State", state.state);
    if state.state != State::Master {
        if let Some(master) = &state.master {
            page.line(1, "Master router", &master.address);
            page.line(1, "Master priority", master.priority);
        }
        page.line(1, "Master advert int", format_args!("{:.2} sec", state.master_interval));
    }
    let wanted = if state.state == State::Fault { State::Backup } else { state.state };
    page.line(1, "Wantstate", wanted);
    page.line(1, "Number of config faults", 0);
    page.line(1, "Number of interface and track script faults", state.faults.len());
    for fault in &state.faults {
        page.line(1, "Fault", fault);
    }
    let micros = state.since.as_microsecond();
    let zoned = state.since.to_zoned(TimeZone::system());
    page.line(
        1,
        "Last transition",
        format_args!(
            "{}.{:06} ({}.{:06} {})",
            micros.div_euclid(1_000_000),
            micros.rem_euclid(1_000_000),
            zoned.strftime("%a %b %e %H:%M:%S"),
            micros.rem_euclid(1_000_000),
            zoned.strftime("%Y")
        ),
    );
    let down = (state.master_down_interval * 1e6).round();
    page.line(1, "Master down timer", format_args!("{down} usecs"));
    if let Some(group) = &state.group {
        page.line(1, "Sync group", group);
    }
}

fn instance(config: &VrrpInstance, state: Option<&Vrrp>, page: &mut Page) {
    page.line(0, "VRRP Instance", &config.router.name);
    page.line(
        1,
        "VRRP Version",
        match config.version {
            VrrpVersion::V2 => 2,
            VrrpVersion::V3 => 3,
        },
    );
    if let Some(state) = state {
        running(state, page);
    }
    let vmac = state.and_then(|state| state.vmac.as_deref());
    let interface = config.router.interface.as_deref().unwrap_or("(none)");
    match vmac {
        Some(vmac) => {
            let base = config.router.vmac_xmit_base;
            page.text(
                1,
                format_args!("Use VMAC, i/f name {vmac}, is_up = true, xmit_base = {base}"),
            );
            page.line(1, "Interface", format_args!("{vmac}, vmac on {interface}"));
        }
        None => page.line(1, "Interface", interface),
    }
    match (config.router.source, state.and_then(|state| state.source.as_ref())) {
        (Some(source), _) => {
            page.line(1, "Using src_ip", format_args!("{source} (from configuration)"));
        }
        (None, Some(source)) => page.line(1, "Using src_ip", source),
        (None, None) => {}
    }
    match &config.router.peers {
        Peers::Multicast { group } => page.text(1, format_args!("Multicast address {group}")),
        Peers::Unicast { peers, .. } => {
            page.text(1, "Unicast Peer :");
            for peer in peers {
                let (least, most) = peer.ttl;
                page.text(2, format_args!("{} min_ttl {least} max_ttl {most}", peer.address));
            }
        }
    }
    page.line(1, "Gratuitous ARP delay", config.router.garp.delay.as_secs_f64());
    page.line(1, "Gratuitous ARP repeat", config.router.garp.repeat);
    page.line(1, "Gratuitous ARP refresh", config.router.garp.refresh.as_secs());
    page.line(1, "Gratuitous ARP refresh repeat", config.router.garp.refresh_repeat);
    page.line(
        1,
        "Gratuitous ARP lower priority delay",
        config.router.garp.lower_prio_delay.as_secs_f64(),
    );
    page.line(1, "Gratuitous ARP lower priority repeat", config.router.garp.lower_prio_repeat);
    page.line(1, "Down timer adverts", config.down_timer_adverts);
    page.line(1, "Virtual Router ID", config.vrid);
    page.line(1, "Priority", config.priority);
    page.line(
        1,
        "Effective priority",
        state.map_or(config.priority, |state| state.effective_priority),
    );
    page.line(1, "Total priority", state.map_or(config.priority, |state| state.effective_priority));
    let interval = config.advert_int;
    match config.version {
        VrrpVersion::V2 => page.line(1, "Advert interval", format!("{} sec", interval.as_secs())),
        VrrpVersion::V3 => {
            let millis = |seconds: f64| format!("{} milli-sec", (seconds * 1000.0).round());
            page.line(1, "Advert interval", millis(interval.as_secs_f64()));
            if let Some(state) = state.filter(|state| state.state == State::Backup) {
                page.line(1, "Master advert interval", millis(state.master_interval));
            }
        }
    }
    page.line(1, "Accept", if config.accept { "enabled" } else { "disabled" });
    page.line(1, "Preempt", if config.nopreempt { "disabled" } else { "enabled" });
    if config.preempt_delay.as_secs_f64() > 0.0 {
        page.line(1, "Preempt delay", format!("{} secs", config.preempt_delay.as_secs_f64()));
    }
    let promote = config.router.promote_secondaries && vmac.is_none();
    page.line(1, "Promote_secondaries", if promote { "enabled" } else { "disabled" });
    if config.version == VrrpVersion::V2 && config.family == Family::Inet {
        let kind = match (&config.header_key, &config.password) {
            (Some(_), _) => "IPSEC_AH",
            (None, Some(_)) => "SIMPLE_PASSWORD",
            (None, None) => "none",
        };
        page.line(1, "Authentication type", kind);
    }
    let set = state.is_some_and(|state| state.state == State::Master);
    let advertised: fn(usize) -> String = |count| format!("Virtual IP ({count}):");
    let excluded: fn(usize) -> String = |_| "Virtual IP Excluded :".to_owned();
    for (heading, vips) in
        [(advertised, &config.router.vips), (excluded, &config.router.excluded_vips)]
    {
        if !vips.is_empty() {
            page.text(1, heading(vips.len()));
            for vip in vips {
                page.text(2, address(vip, config, vmac, set));
            }
        }
    }
    for (heading, tracked) in [
        ("Tracked interfaces", &config.router.track_interfaces),
        ("Tracked scripts", &config.router.track_scripts),
        ("Tracked files", &config.router.track_files),
        ("Tracked processes", &config.router.track_processes),
    ] {
        if !tracked.is_empty() {
            page.text(1, format_args!("{heading} :"));
            for item in tracked {
                let reverse = if item.reverse { " reverse" } else { "" };
                page.text(2, format_args!("{}, weight {}{reverse}", item.name, item.weight));
            }
        }
    }
    let notify = &config.router.notify;
    for (key, script) in [
        ("Backup state transition script", &notify.backup),
        ("Master state transition script", &notify.master),
        ("Fault state transition script", &notify.fault),
        ("Stop state transition script", &notify.stop),
        ("Deleted state transition script", &notify.deleted),
        ("Master rx lower pri script", &notify.master_rx_lower_pri),
        ("Generic state transition script", &notify.any),
    ] {
        if let Some(script) = script {
            page.line(1, key, quoted(script));
        }
    }
    page.line(1, "Notify deleted", if notify.report_deleted { "Deleted" } else { "Fault" });
}
