//! What the data dumps have in common: their layout and their first section.

use std::fmt::{Display, Write as _};

use lb_config::Model;
use lb_config::model::{FlushOnStop, Scheduling, SyncDaemon};

/// Lines of ` Key = value`, deeper ones indented by 2.
#[derive(Default)]
pub(super) struct Page(pub(super) String);

impl Page {
    // Writing to a string does not fail.
    pub(super) fn section(&mut self, name: &str) {
        let _ = writeln!(self.0, "------< {name} >------");
    }

    pub(super) fn line(&mut self, depth: usize, key: &str, value: impl Display) {
        let _ = writeln!(self.0, "{:1$}{key} = {value}", "", 1 + 2 * depth);
    }

    pub(super) fn text(&mut self, depth: usize, text: impl Display) {
        let _ = writeln!(self.0, "{:1$}{text}", "", 1 + 2 * depth);
    }
}

/// A new page with the section that every dump begins with.
pub(super) fn begin(model: &Model) -> Page {
    let mut page = Page::default();
    let global = &model.global;
    page.section("Global definitions");
    page.line(0, "Router ID", global.router_id.as_deref().unwrap_or("(host name)"));
    page.line(0, "Dynamic interfaces", global.dynamic_interfaces);
    page.line(0, "LVS flush", global.lvs_flush);
    page.line(
        0,
        "LVS flush on stop",
        match global.lvs_flush_on_stop {
            FlushOnStop::Own => "disabled",
            FlushOnStop::Services => "VS",
            FlushOnStop::Everything => "full",
        },
    );
    let timeouts = &global.lvs_timeouts;
    for (key, timeout) in [
        ("LVS TCP timeout", timeouts.tcp),
        ("LVS TCP_FIN timeout", timeouts.tcp_fin),
        ("LVS UDP timeout", timeouts.udp),
    ] {
        if let Some(timeout) = timeout {
            page.line(0, key, timeout.as_secs());
        }
    }
    if let Some(daemon) = model.sync_daemon() {
        sync_daemon(&daemon, &mut page);
    }
    page.line(0, "VRRP startup delay", global.vrrp_startup_delay.as_secs_f64());
    scheduling("VRRP", global.advertiser_scheduling, &mut page);
    scheduling("Checker", global.balancer_scheduling, &mut page);
    let security = if global.script_security { "enabled" } else { "disabled" };
    page.text(0, format_args!("Script security {security}"));
    page.line(0, "rs_init_notifies", u8::from(global.rs_init_notifies));
    page.line(0, "umask", format_args!("0{:o}", global.umask.unwrap_or(0o177)));
    page
}

/// Keys as a running keepalived writes them.
fn sync_daemon(daemon: &SyncDaemon, page: &mut Page) {
    let SyncDaemon { interface, instance, id, max_length, port, ttl, group } = daemon;
    if let Some(instance) = instance {
        page.line(0, "LVS syncd vrrp instance", instance);
    }
    page.line(0, "LVS syncd interface", interface);
    page.line(0, "LVS syncd syncid", id.unwrap_or_default());
    if let Some(octets) = max_length {
        page.line(0, "LVS syncd maxlen", octets);
    }
    if let Some(group) = group {
        page.text(0, format_args!("LVS mcast group {group}"));
    }
    if let Some(port) = port {
        page.line(0, "LVS syncd mcast port", port);
    }
    if let Some(ttl) = ttl {
        page.line(0, "LVS syncd mcast ttl", ttl);
    }
}

fn scheduling(of: &str, Scheduling { nice, realtime, no_swap }: Scheduling, page: &mut Page) {
    page.line(0, &format!("{of} process priority"), nice.unwrap_or(0));
    page.line(0, &format!("{of} don't swap"), no_swap);
    page.line(0, &format!("{of} realtime priority"), realtime.unwrap_or(0));
}
