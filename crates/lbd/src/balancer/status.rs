//! The status of virtual servers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lb_config::model::{Family, VirtualServerKey};
use lb_control::status::{Check, CheckResult, RealServer, RealServerConnections, VirtualServer};
use lb_pool::{Connections, DestinationKey, Health, ServiceKey};

use super::plane::Plane;
use super::pool::{self, Virtual};
use crate::names;

/// One virtual server as it is now.
pub(super) fn of(server: &Virtual, plane: &mut Plane) -> VirtualServer {
    let Virtual { plan, state, .. } = server;
    let config = state.config();
    let connections: Vec<_> =
        config.keys.iter().map(|key| (*key, plane.connections(key))).collect();
    let (address, fwmark, group) = match &plan.server.key {
        VirtualServerKey::Address(address) => (Some(address.to_string()), None, None),
        VirtualServerKey::Fwmark(mark) => (None, Some(*mark), None),
        VirtualServerKey::Group(name) => (None, None, Some(name.clone())),
    };
    VirtualServer {
        address,
        fwmark,
        group,
        family: match plan.server.family {
            Family::Inet => "inet",
            Family::Inet6 => "inet6",
        }
        .to_owned(),
        protocol: plan.identity().protocol.map(|protocol| names::protocol(protocol).to_owned()),
        scheduler: config.service.scheduler.to_string(),
        forwarding: plan.method().to_string(),
        dataplane: plane.name().to_owned(),
        quorum: config.quorum.weight.into(),
        quorum_met: state.quorum_met(),
        sorry_active: state.sorry_active(),
        suspended: server.suspended,
        sorry_server: config.sorry_server.map(|sorry| sorry.key.to_string()),
        real_servers: (0..config.real_servers.len())
            .map(|at| real_server(server, at, &connections))
            .collect(),
    }
}

fn real_server(
    server: &Virtual,
    at: usize,
    connections: &[(ServiceKey, BTreeMap<DestinationKey, Connections>)],
) -> RealServer {
    let config = &server.state.config().real_servers[at];
    let alive = server.state.alive(at);
    let in_service = alive && !server.state.sorry_active();
    let mut sum = RealServerConnections::default();
    for (key, of_service) in connections {
        if let Some(count) = of_service.get(&config.behind(key)) {
            sum.active += count.active;
            sum.inactive += count.inactive;
        }
    }
    RealServer {
        address: config.key.address.to_string(),
        port: config.key.port,
        weight: config.weight.into(),
        effective_weight: if in_service { server.state.effective_weight(at).into() } else { 0 },
        alive,
        health: match server.state.health(at) {
            Health::Up => "up",
            Health::Down => "down",
            Health::Unknown => "unknown",
        }
        .to_owned(),
        connections: sum,
        checks: (server.checks.get(at).into_iter().flatten().enumerate())
            .map(|(n, checker)| check(checker, server.state.checker_up(at, n)))
            .collect(),
    }
}

fn check(check: &pool::Check, up: bool) -> Check {
    let last = check.last.as_ref();
    Check {
        kind: check.spec.probe.name().to_owned(),
        up,
        last: last.map(|seen| CheckResult {
            at: Timestamp::try_from(seen.at).unwrap_or_default(),
            message: seen.failure.as_ref().map_or("ok".to_owned(), ToString::to_string),
        }),
        latency_ms: last.map(|seen| seen.latency.as_secs_f64() * 1_000.0),
        failures: check.failures,
    }
}
