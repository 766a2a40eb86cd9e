//! `keepalived_check.data`: virtual servers, their servers and checkers, and how they are.

use lb_config::Model;
use lb_config::model::{self, GroupEntry, VirtualServerKey};
use lb_control::Status;
use lb_control::status::{Check, RealServer, VirtualServer};

use super::json::quoted;
use super::page::{Page, begin};
use crate::names;

/// Sections in keepalived's order.
pub(super) fn check(model: &Model, status: &Status) -> String {
    let mut page = begin(model);
    page.section("LVS Topology");
    page.line(0, "Dataplane", &status.daemon.dataplane);
    for group in &model.virtual_server_groups {
        page.line(0, "Virtual Server Group", &group.name);
        for entry in &group.entries {
            match entry {
                GroupEntry::Address(address) => page.line(1, "VIP", address),
                GroupEntry::Fwmark { mark, .. } => page.line(1, "FWM", mark),
            }
        }
    }
    // Both are in the order of the file.
    let named = names::virtual_servers(model).map(|(name, _, server)| (name.to_string(), server));
    let servers: Vec<_> = named.zip(&status.virtual_servers).collect();
    for ((name, config), state) in &servers {
        virtual_server(name, config, state, &mut page);
    }
    page.section("Health checkers");
    for ((name, config), state) in &servers {
        for (real, real_state) in config.real_servers.iter().zip(&state.real_servers) {
            let checkers = real.checkers.iter().filter(|checker| checker.kind.obstacle().is_none());
            for (checker, state) in checkers.zip(&real_state.checks) {
                page.line(0, "Checker", &state.kind);
                page.line(1, "Virtual server", name);
                page.line(
                    1,
                    "Real server",
                    names::real_server(config, real.address.ip(), real.address.port()),
                );
                self::checker(checker, state, &mut page);
            }
        }
    }
    page.0
}

fn virtual_server(
    name: &str,
    config: &model::VirtualServer,
    state: &VirtualServer,
    page: &mut Page,
) {
    page.line(0, "Virtual server", name);
    if let VirtualServerKey::Group(group) = &config.key {
        page.line(1, "Virtual server group", group);
    }
    if let Some(protocol) = &state.protocol {
        page.line(1, "Protocol", protocol.to_uppercase());
    }
    page.line(1, "Address family", &state.family);
    page.line(1, "lvs_sched", &state.scheduler);
    let flags = [("flag-1", config.flag_1), ("flag-2", config.flag_2), ("flag-3", config.flag_3)];
    for (flag, _) in flags.into_iter().filter(|(_, set)| *set) {
        page.line(1, "Scheduler flag", flag);
    }
    page.line(1, "One packet scheduling", config.one_packet);
    if let Some(timeout) = config.persistence_timeout {
        page.line(1, "Persistence timeout", timeout.as_secs());
        if let Some(engine) = &config.persistence_engine {
            page.line(1, "Persistence engine", engine);
        }
    }
    if let Some(prefix) = config.persistence_granularity {
        page.line(1, "Persistence granularity", prefix);
    }
    page.line(1, "lvs_method", &state.forwarding);
    page.line(1, "Alpha", on(config.alpha));
    page.line(1, "Omega", on(config.omega));
    page.line(1, "HA suspend", on(config.ha_suspend));
    page.line(1, "Suspended", state.suspended);
    page.line(1, "Quorum", config.quorum);
    page.line(1, "Hysteresis", config.hysteresis);
    page.line(1, "Quorum state", if state.quorum_met { "UP" } else { "DOWN" });
    for (key, script) in
        [("Quorum up script", &config.quorum_up), ("Quorum down script", &config.quorum_down)]
    {
        if let Some(script) = script {
            page.line(1, key, quoted(script));
        }
    }
    if let (Some(sorry), Some(address)) = (&config.sorry_server, &state.sorry_server) {
        page.line(1, "Sorry server", address);
        page.line(1, "Sorry server inhibit", sorry.inhibit);
        page.line(1, "Sorry server active", state.sorry_active);
    }
    for (real, real_state) in config.real_servers.iter().zip(&state.real_servers) {
        page.line(
            1,
            "Real server",
            names::real_server(config, real.address.ip(), real.address.port()),
        );
        real_server(real, real_state, page);
    }
}

fn real_server(config: &model::RealServer, state: &RealServer, page: &mut Page) {
    page.line(2, "Alive", state.alive);
    page.line(2, "Health", &state.health);
    page.line(2, "Weight", state.effective_weight);
    page.line(2, "Configured weight", config.weight);
    page.line(2, "Upper threshold", config.upper_threshold);
    page.line(2, "Lower threshold", config.lower_threshold);
    page.line(2, "Inhibit on failure", config.inhibit_on_failure);
    page.line(2, "Active connections", state.connections.active);
    page.line(2, "Inactive connections", state.connections.inactive);
    for (key, script) in
        [("Notify up script", &config.notify_up), ("Notify down script", &config.notify_down)]
    {
        if let Some(script) = script {
            page.line(2, key, quoted(script));
        }
    }
}

fn checker(config: &model::Checker, state: &Check, page: &mut Page) {
    page.line(1, "State", if state.up { "UP" } else { "DOWN" });
    match &state.last {
        Some(last) => page.line(1, "Last result", format_args!("{} ({})", last.message, last.at)),
        None => page.line(1, "Last result", "none yet"),
    }
    if let Some(latency) = state.latency_ms {
        page.line(1, "Latency", format_args!("{latency:.3} ms"));
    }
    page.line(1, "Failures", state.failures);
    page.line(1, "Alpha", on(config.alpha));
    page.line(1, "Delay loop", format_args!("{} sec", config.delay_loop.as_secs_f64()));
    page.line(1, "Retry count", config.retry);
    let retry = config.delay_before_retry.as_secs_f64();
    page.line(1, "Retry delay", format_args!("{retry} sec"));
    page.line(1, "Warmup", format_args!("{} sec", config.warmup.as_secs_f64()));
    page.line(1, "Log all failures", config.log_all_failures);
}

fn on(set: bool) -> &'static str {
    if set { "ON" } else { "OFF" }
}
