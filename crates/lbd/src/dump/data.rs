//! `keepalived.data`: what is configured and how it is, in sections.

use std::fmt::{Display, Write as _};

use lb_config::Model;
use lb_config::model::{Peers, VrrpInstance, VrrpVersion};
use lb_control::Status;
use lb_control::status::{VirtualServer, Vrrp};

use super::json::{address, quoted};

/// Lines of ` Key = value`, deeper ones indented by 2.
#[derive(Default)]
struct Page(String);

impl Page {
    // Writing to a string does not fail.
    fn section(&mut self, name: &str) {
        let _ = writeln!(self.0, "------< {name} >------");
    }

    fn line(&mut self, depth: usize, key: &str, value: impl Display) {
        let _ = writeln!(self.0, "{:1$}{key} = {value}", "", 1 + 2 * depth);
    }

    fn text(&mut self, depth: usize, text: impl Display) {
        let _ = writeln!(self.0, "{:1$}{text}", "", 1 + 2 * depth);
    }
}

/// The whole dump: VRRP's sections, then those of the virtual servers.
#[must_use]
pub fn data(model: &Model, status: &Status) -> String {
    let mut page = Page::default();
    global(model, &mut page);
    if !model.vrrp_instances.is_empty() {
        page.section("VRRP Topology");
        for config in &model.vrrp_instances {
            let state = status.vrrp.iter().find(|state| state.name == config.name);
            instance(config, state, &mut page);
        }
    }
    if !model.sync_groups.is_empty() {
        page.section("VRRP Sync groups");
        for group in &model.sync_groups {
            page.line(0, "VRRP Sync Group", &group.name);
            page.line(1, "VRRP member instances", group.members.join(" "));
            page.line(1, "Sync group tracking weight", group.tracking_weight);
        }
    }
    if !model.vrrp_scripts.is_empty() {
        page.section("VRRP Scripts");
        for script in &model.vrrp_scripts {
            page.line(0, "VRRP Script", &script.name);
            page.line(1, "Command", quoted(&script.script));
            page.line(1, "Interval", format!("{} sec", script.interval.as_secs_f64()));
            page.line(1, "Timeout", format!("{} sec", script.timeout.as_secs_f64()));
            page.line(1, "Rise", script.rise);
            page.line(1, "Fall", script.fall);
        }
    }
    if !status.virtual_servers.is_empty() {
        page.section("LVS Topology");
        page.line(0, "Dataplane", &status.daemon.dataplane);
        for server in &status.virtual_servers {
            virtual_server(server, &mut page);
        }
        page.section("Health checkers");
        for server in &status.virtual_servers {
            checkers(server, &mut page);
        }
    }
    page.0
}

fn global(model: &Model, page: &mut Page) {
    let global = &model.global;
    page.section("Global definitions");
    page.line(0, "Router ID", global.router_id.as_deref().unwrap_or("(host name)"));
    page.line(0, "Dynamic interfaces", global.dynamic_interfaces);
    page.line(0, "LVS flush", global.lvs_flush);
    page.line(0, "LVS flush on stop", format!("{:?}", global.lvs_flush_on_stop));
    page.line(0, "VRRP startup delay", global.vrrp_startup_delay.as_secs_f64());
    page.line(0, "Script security", if global.script_security { "enabled" } else { "disabled" });
    page.line(0, "rs_init_notifies", u8::from(global.rs_init_notifies));
    page.line(0, "umask", format!("0{:o}", global.umask.unwrap_or(0o177)));
}

fn instance(config: &VrrpInstance, state: Option<&Vrrp>, page: &mut Page) {
    page.line(0, "VRRP Instance", &config.name);
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
    page.line(1, "Interface", config.interface.as_deref().unwrap_or("(none)"));
    if let Some(source) = config.source {
        page.line(1, "Using src_ip", source);
    }
    match &config.peers {
        Peers::Multicast { group } => page.text(1, format_args!("Multicast address {group}")),
        Peers::Unicast { peers, .. } => {
            page.text(1, "Unicast peers :");
            for peer in peers {
                page.text(2, peer.address);
            }
        }
    }
    page.line(1, "Gratuitous ARP delay", config.garp.delay.as_secs_f64());
    page.line(1, "Gratuitous ARP repeat", config.garp.repeat);
    page.line(1, "Gratuitous ARP refresh", config.garp.refresh.as_secs());
    page.line(1, "Gratuitous ARP refresh repeat", config.garp.refresh_repeat);
    page.line(1, "Gratuitous ARP lower priority delay", config.garp.lower_prio_delay.as_secs_f64());
    page.line(1, "Gratuitous ARP lower priority repeat", config.garp.lower_prio_repeat);
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
        if config.password.is_some() { "SIMPLE_PASSWORD" } else { "none" },
    );
    let set = state.is_some_and(|state| state.state == lb_control::VrrpState::Master);
    for (heading, vips) in
        [("Virtual IP", &config.vips), ("Virtual IP Excluded", &config.excluded_vips)]
    {
        if !vips.is_empty() {
            page.text(1, format_args!("{heading} ({}):", vips.len()));
            for vip in vips {
                page.text(2, address(vip, config, set));
            }
        }
    }
    for (heading, tracked) in [
        ("Tracked interfaces", &config.track_interfaces),
        ("Tracked scripts", &config.track_scripts),
    ] {
        if !tracked.is_empty() {
            page.text(1, format_args!("{heading} ({}):", tracked.len()));
            for item in tracked {
                let reverse = if item.reverse { ", reverse" } else { "" };
                page.text(2, format_args!("{} weight {}{reverse}", item.name, item.weight));
            }
        }
    }
    let notify = &config.notify;
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

/// `10.0.0.1:80 TCP`, `FWM 1` or `[GROUP]`.
fn virtual_server_name(server: &VirtualServer) -> String {
    match (&server.address, server.fwmark, &server.group) {
        (Some(address), ..) => address.clone(),
        (None, Some(mark), _) => format!("FWM {mark}"),
        (None, None, group) => format!("[{}]", group.as_deref().unwrap_or_default()),
    }
}

fn virtual_server(server: &VirtualServer, page: &mut Page) {
    page.line(0, "Virtual server", virtual_server_name(server));
    if let Some(protocol) = &server.protocol {
        page.line(1, "Protocol", protocol.to_uppercase());
    }
    page.line(1, "lvs_sched", &server.scheduler);
    page.line(1, "lvs_method", &server.forwarding);
    page.line(1, "Quorum", server.quorum);
    page.line(1, "Quorum state", if server.quorum_met { "UP" } else { "DOWN" });
    if let Some(sorry) = &server.sorry_server {
        page.line(1, "Sorry server", sorry);
        page.line(1, "Sorry server active", server.sorry_active);
    }
    for real in &server.real_servers {
        page.line(1, "Real server", format_args!("[{}]:{}", real.address, real.port));
        page.line(2, "Alive", real.alive);
        page.line(2, "Weight", real.effective_weight);
        page.line(2, "Configured weight", real.weight);
        page.line(2, "Active connections", real.connections.active);
        page.line(2, "Inactive connections", real.connections.inactive);
    }
}

fn checkers(server: &VirtualServer, page: &mut Page) {
    for real in &server.real_servers {
        for check in &real.checks {
            page.line(0, "Checker", &check.kind);
            page.line(1, "Virtual server", virtual_server_name(server));
            page.line(1, "Real server", format_args!("[{}]:{}", real.address, real.port));
            page.line(1, "State", if check.up { "UP" } else { "DOWN" });
            if let Some(last) = &check.last {
                page.line(1, "Last result", format_args!("{} ({})", last.message, last.at));
            }
            if let Some(latency) = check.latency_ms {
                page.line(1, "Latency", format_args!("{latency} ms"));
            }
            page.line(1, "Failures", check.failures);
        }
    }
}
