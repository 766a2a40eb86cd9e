//! `keepalived.data`: the VRRP part of the configuration, and how it is.

use lb_config::Model;
use lb_config::model::{Peers, SyncGroup, TrackProcess, VrrpInstance, VrrpVersion};
use lb_control::status::Vrrp;
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
            if let Some(owner) = script.script.owner {
                page.line(1, "uid:gid", format_args!("{}:{}", owner.uid, owner.gid));
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
        page.line(1, "State", state.state);
        page.line(1, "Last transition", state.since);
        for fault in &state.faults {
            page.line(1, "Fault", fault);
        }
        if let Some(master) = &state.master {
            page.line(1, "Master router", &master.address);
            page.line(1, "Master priority", master.priority);
        }
    }
    if let Some(group) = state.and_then(|state| state.group.as_ref()) {
        page.line(1, "Sync group", group);
    }
    page.line(1, "Interface", config.router.interface.as_deref().unwrap_or("(none)"));
    if let Some(source) = config.router.source {
        page.line(1, "Using src_ip", source);
    }
    match &config.router.peers {
        Peers::Multicast { group } => page.text(1, format_args!("Multicast address {group}")),
        Peers::Unicast { peers, .. } => {
            page.text(1, "Unicast peers :");
            for peer in peers {
                page.text(2, peer.address);
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
    page.line(1, "Advert interval", format!("{} sec", config.advert_int.as_secs_f64()));
    page.line(1, "Accept", if config.accept { "enabled" } else { "disabled" });
    page.line(1, "Preempt", if config.nopreempt { "disabled" } else { "enabled" });
    if config.preempt_delay.as_secs_f64() > 0.0 {
        page.line(1, "Preempt delay", format!("{} sec", config.preempt_delay.as_secs_f64()));
    }
    page.line(
        1,
        "Authentication type",
        match (&config.header_key, &config.password) {
            (Some(_), _) => "IPSEC_AH",
            (None, Some(_)) => "SIMPLE_PASSWORD",
            (None, None) => "none",
        },
    );
    let set = state.is_some_and(|state| state.state == State::Master);
    for (heading, vips) in
        [("Virtual IP", &config.router.vips), ("Virtual IP Excluded", &config.router.excluded_vips)]
    {
        if !vips.is_empty() {
            page.text(1, format_args!("{heading} ({}):", vips.len()));
            for vip in vips {
                page.text(2, address(vip, config, set));
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
            page.text(1, format_args!("{heading} ({}):", tracked.len()));
            for item in tracked {
                let reverse = if item.reverse { ", reverse" } else { "" };
                page.text(2, format_args!("{} weight {}{reverse}", item.name, item.weight));
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
