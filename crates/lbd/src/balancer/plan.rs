//! What the balancer makes of a configuration: virtual servers for the pool, checkers to run.

use std::collections::HashMap;
use std::time::Duration;

use lb_check::{Connection, Http, HttpVersion, Probe, Script, Sni, Spec, Timing, Tls, Url};
use lb_config::Model;
use lb_config::model::{
    self, CheckerKind, FlushOnStop, GroupEntry, LvsMethod, LvsScheduler, LvsTimeouts,
    VirtualServerKey,
};
use lb_pool::table::{Family, TunnelChecksum};
use lb_pool::{
    CheckerConfig, DestinationKey, ForwardingMethod, Persistence, Protocol, Quorum,
    RealServerConfig, Scheduler, Service, ServiceKey, SorryServer, TunnelType, VirtualServerConfig,
};

use crate::names;

/// All that the balancer has to know of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In the order of the file.
    pub(super) servers: Vec<VirtualPlan>,
    pub(super) timeouts: LvsTimeouts,
    pub(super) flush: bool,
    pub(super) flush_on_stop: FlushOnStop,
    pub(super) init_notifies: bool,
}

/// One virtual server.
#[derive(Clone, Debug)]
pub(super) struct VirtualPlan {
    /// keepalived's name for it.
    pub name: String,
    /// What makes it the same one after a reload.
    pub identity: Identity,
    pub config: VirtualServerConfig,
    /// In the names of its real servers.
    pub protocol: model::Protocol,
    /// The default method, for status.
    pub method: ForwardingMethod,
    /// In the order of [`VirtualServerConfig::real_servers`].
    pub real_servers: Vec<RealPlan>,
}

/// keepalived compares services by kind, and then by group name, mark, or protocol and address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub key: VirtualServerKey,
    /// `None` for a firewall mark.
    pub protocol: Option<model::Protocol>,
    pub family: model::Family,
}

/// One real server.
#[derive(Clone, Debug)]
pub(super) struct RealPlan {
    /// In the order of [`RealServerConfig::checkers`].
    pub checkers: Vec<Spec>,
}

impl Plan {
    /// Whether there is anything to balance or to check.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// Takes every server for up until a check says otherwise, as the one who adopts a table does.
    pub(super) fn trust(&mut self) {
        for server in &mut self.servers {
            let configs = server.config.real_servers.iter_mut().flat_map(|r| &mut r.checkers);
            configs.for_each(|checker| checker.alpha = false);
            let specs = server.real_servers.iter_mut().flat_map(|real| &mut real.checkers);
            specs.for_each(|spec| spec.timing.alpha = false);
        }
    }

    pub(super) fn checkers(&self) -> usize {
        let real_servers = self.servers.iter().flat_map(|server| &server.real_servers);
        real_servers.map(|real| real.checkers.len()).sum()
    }
}

impl From<&Model> for Plan {
    fn from(model: &Model) -> Self {
        let groups: HashMap<&str, &[GroupEntry]> = (model.virtual_server_groups.iter())
            .map(|group| (group.name.as_str(), group.entries.as_slice()))
            .collect();
        let servers = names::virtual_servers(model)
            .map(|(name, server)| virtual_plan(name, server, &groups))
            .collect();
        Self {
            servers,
            timeouts: model.global.lvs_timeouts,
            flush: model.global.lvs_flush,
            flush_on_stop: model.global.lvs_flush_on_stop,
            init_notifies: model.global.rs_init_notifies,
        }
    }
}

fn virtual_plan(
    name: String,
    server: &model::VirtualServer,
    groups: &HashMap<&str, &[GroupEntry]>,
) -> VirtualPlan {
    let by_mark = matches!(server.key, VirtualServerKey::Fwmark(_));
    let real_servers = server
        .real_servers
        .iter()
        .map(|real| RealPlan { checkers: real.checkers.iter().map(spec).collect() });
    VirtualPlan {
        name,
        identity: Identity {
            key: server.key.clone(),
            protocol: (!by_mark).then_some(server.protocol),
            family: server.family,
        },
        protocol: server.protocol,
        method: method(server.method),
        real_servers: real_servers.collect(),
        config: VirtualServerConfig {
            keys: keys(server, groups),
            service: Service {
                scheduler: scheduler(server.scheduler),
                fallback: server.flag_1,
                hash_port: server.flag_2,
                one_packet: server.one_packet,
                persistence: server.persistence_timeout.map(|timeout| Persistence {
                    timeout,
                    engine: server.persistence_engine.clone(),
                }),
                granularity: server.persistence_granularity,
                ..Service::default()
            },
            quorum: Quorum { weight: server.quorum, hysteresis: server.hysteresis },
            omega: server.omega,
            sorry_server: server.sorry_server.as_ref().map(|sorry| SorryServer {
                key: DestinationKey { address: sorry.address.ip(), port: sorry.address.port() },
                method: method(sorry.method),
                inhibit: sorry.inhibit,
            }),
            real_servers: server.real_servers.iter().map(real_server).collect(),
        },
    }
}

fn keys(server: &model::VirtualServer, groups: &HashMap<&str, &[GroupEntry]>) -> Vec<ServiceKey> {
    let protocol = match server.protocol {
        model::Protocol::Tcp => Protocol::Tcp,
        model::Protocol::Udp => Protocol::Udp,
        model::Protocol::Sctp => Protocol::Sctp,
    };
    let by_mark = |mark, family: Option<model::Family>| ServiceKey::Fwmark {
        family: match family.unwrap_or(server.family) {
            model::Family::Inet => Family::Inet,
            model::Family::Inet6 => Family::Inet6,
        },
        mark,
    };
    match &server.key {
        VirtualServerKey::Address(address) => {
            vec![ServiceKey::Address { protocol, address: *address }]
        }
        VirtualServerKey::Fwmark(mark) => vec![by_mark(*mark, None)],
        VirtualServerKey::Group(name) => {
            let entries = groups.get(name.as_str()).copied().unwrap_or_default();
            let key = |entry: &GroupEntry| match *entry {
                GroupEntry::Address(address) => ServiceKey::Address { protocol, address },
                GroupEntry::Fwmark { mark, family } => by_mark(mark, family),
            };
            entries.iter().map(key).collect()
        }
    }
}

fn real_server(real: &model::RealServer) -> RealServerConfig {
    let checker = |checker: &model::Checker| CheckerConfig {
        spec: format!("{:?}", spec(checker).probe),
        alpha: checker.alpha,
    };
    RealServerConfig {
        key: DestinationKey { address: real.address.ip(), port: real.address.port() },
        weight: real.weight,
        inhibit_on_failure: real.inhibit_on_failure,
        method: method(real.method),
        upper_threshold: real.upper_threshold,
        lower_threshold: real.lower_threshold,
        checkers: real.checkers.iter().map(checker).collect(),
    }
}

fn spec(checker: &model::Checker) -> Spec {
    Spec {
        probe: match &checker.kind {
            CheckerKind::Tcp { connection: to } => Probe::Tcp(connection(to)),
            CheckerKind::Http(http) => Probe::Http(self::http(http)),
            CheckerKind::Misc { script, timeout, dynamic } => Probe::Script(Script {
                argv: script.argv.clone(),
                owner: script.owner.map(|owner| (owner.uid, owner.gid)),
                timeout: *timeout,
                dynamic: *dynamic,
            }),
        },
        timing: Timing {
            delay_loop: checker.delay_loop,
            retry: checker.retry,
            delay_before_retry: checker.delay_before_retry,
            warmup: checker.warmup,
            alpha: checker.alpha,
        },
    }
}

fn connection(to: &model::Connection) -> Connection {
    Connection {
        to: to.to,
        bind: to.bind,
        interface: to.interface.clone(),
        fwmark: to.fwmark,
        timeout: to.timeout.max(Duration::from_millis(1)),
    }
}

fn http(http: &model::HttpChecker) -> Http {
    Http {
        connection: connection(&http.connection),
        tls: http.tls.as_ref().map(|tls| Tls {
            sni: match (tls.sni, &tls.sni_name) {
                (false, _) => Sni::Off,
                (true, None) => Sni::Host,
                (true, Some(name)) => Sni::Name(name.clone()),
            },
            compliant: tls.compliant,
        }),
        version: match http.version {
            model::HttpVersion::Http10 => HttpVersion::Http10,
            model::HttpVersion::Http10Close => HttpVersion::Http10Close,
            model::HttpVersion::Http11 => HttpVersion::Http11,
        },
        urls: http.urls.iter().map(url).collect(),
        fast_recovery: http.fast_recovery,
    }
}

fn url(url: &model::Url) -> Url {
    Url {
        path: url.path.clone(),
        host: url.virtualhost.clone(),
        status_codes: url.status_codes.clone(),
        digest: url.digest,
    }
}

fn method(method: LvsMethod) -> ForwardingMethod {
    let checksum = |checksum| match checksum {
        model::TunnelChecksum::None => TunnelChecksum::None,
        model::TunnelChecksum::Checksum => TunnelChecksum::Outer,
        model::TunnelChecksum::Remote => TunnelChecksum::Remote,
    };
    match method {
        LvsMethod::Nat => ForwardingMethod::Nat,
        LvsMethod::Dr => ForwardingMethod::Route,
        LvsMethod::Ipip => ForwardingMethod::Tunnel(TunnelType::Ipip),
        LvsMethod::Gue { port, checksum: sum } => {
            ForwardingMethod::Tunnel(TunnelType::Gue { port, checksum: checksum(sum) })
        }
        LvsMethod::Gre { checksum } => ForwardingMethod::Tunnel(TunnelType::Gre { checksum }),
    }
}

fn scheduler(scheduler: LvsScheduler) -> Scheduler {
    match scheduler {
        LvsScheduler::Rr => Scheduler::Rr,
        LvsScheduler::Wrr => Scheduler::Wrr,
        LvsScheduler::Lc => Scheduler::Lc,
        LvsScheduler::Wlc => Scheduler::Wlc,
        LvsScheduler::Lblc => Scheduler::Lblc,
        LvsScheduler::Lblcr => Scheduler::Lblcr,
        LvsScheduler::Dh => Scheduler::Dh,
        LvsScheduler::Sh => Scheduler::Sh,
        LvsScheduler::Mh => Scheduler::Mh,
        LvsScheduler::Sed => Scheduler::Sed,
        LvsScheduler::Nq => Scheduler::Nq,
        LvsScheduler::Fo => Scheduler::Fo,
        LvsScheduler::Ovf => Scheduler::Ovf,
        LvsScheduler::Twos => Scheduler::Twos,
    }
}
