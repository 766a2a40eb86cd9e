//! What the balancer makes of a configuration: virtual servers for the pool, checkers to run.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lb_check::{Connection, Http, HttpVersion, Probe, Script, Sni, Spec, Timing, Tls, Url};
use lb_config::Model;
use lb_config::model::{
    self, CheckerKind, FlushOnStop, GroupEntry, LvsMethod, LvsScheduler, LvsTimeouts,
    VirtualServer, VirtualServerKey,
};
use lb_pool::table::{Family, TunnelChecksum};
use lb_pool::{
    CheckerConfig, DestinationKey, ForwardingMethod, Persistence, Protocol, Quorum,
    RealServerConfig, Scheduler, Service, ServiceKey, SorryServer, TunnelType, VirtualServerConfig,
};

use super::sync;
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
    /// A server that nothing is known of counts as up until a check says otherwise, as for one who
    /// adopts a table.
    pub(super) trusting: bool,
    /// How connections are copied.
    pub(super) sync: Option<sync::Wanted>,
}

/// One virtual server. Worked out only when it is put in force: a reload leaves most as they are.
#[derive(Clone, Debug)]
pub(super) struct VirtualPlan {
    /// Shared with the model.
    pub server: Arc<VirtualServer>,
    /// Its place among those that use its group, or have its name.
    pub place: usize,
    /// The entries of its group, if it serves one.
    pub group: Arc<[GroupEntry]>,
}

/// A virtual server for the pool, and who checks it.
#[derive(Debug)]
pub(super) struct Work {
    pub config: VirtualServerConfig,
    /// Of each of [`VirtualServerConfig::real_servers`], in the order of
    /// [`RealServerConfig::checkers`]; empty if none has any.
    pub checkers: Vec<Vec<Checker>>,
}

/// One checker.
#[derive(Debug)]
pub(super) struct Checker {
    pub spec: Spec,
    /// Every failure is logged, not only that which changes something.
    pub log_all_failures: bool,
}

/// keepalived compares services by kind, and then by group name, mark, or protocol and address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity<'p> {
    pub key: &'p VirtualServerKey,
    /// `None` for a firewall mark.
    pub protocol: Option<model::Protocol>,
    pub family: model::Family,
}

impl Plan {
    /// Whether there is anything to balance or to check.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }
}

impl From<&Model> for Plan {
    fn from(model: &Model) -> Self {
        let groups: HashMap<&str, Arc<[GroupEntry]>> = (model.virtual_server_groups.iter())
            .map(|group| (group.name.as_str(), group.entries.as_slice().into()))
            .collect();
        let no_group = Arc::default();
        let servers = names::places(model)
            .map(|(place, server)| {
                let group = match &server.key {
                    VirtualServerKey::Group(name) => groups.get(name.as_str()),
                    VirtualServerKey::Address(_) | VirtualServerKey::Fwmark(_) => None,
                };
                let group = Arc::clone(group.unwrap_or(&no_group));
                VirtualPlan { server: Arc::clone(server), place, group }
            })
            .collect();
        Self {
            servers,
            timeouts: model.global.lvs_timeouts,
            flush: model.global.lvs_flush,
            flush_on_stop: model.global.lvs_flush_on_stop,
            init_notifies: model.global.rs_init_notifies,
            trusting: false,
            sync: sync::Wanted::of(model),
        }
    }
}

impl VirtualPlan {
    /// keepalived's name for it.
    pub fn name(&self) -> String {
        names::Name::new(&self.server, self.place).to_string()
    }

    /// What makes it the same one after a reload.
    pub fn identity(&self) -> Identity<'_> {
        let VirtualServer { key, protocol, family, .. } = &*self.server;
        let by_mark = matches!(key, VirtualServerKey::Fwmark(_));
        Identity { key, protocol: (!by_mark).then_some(*protocol), family: *family }
    }

    /// The default method, for status.
    pub fn method(&self) -> ForwardingMethod {
        method(self.server.method)
    }

    /// `ha_suspend`: its checkers run only while this address is on this host.
    pub fn home(&self) -> Option<IpAddr> {
        match self.server.key {
            VirtualServerKey::Address(vip) if self.server.ha_suspend => Some(vip.ip()),
            _ => None,
        }
    }

    /// Whether both ask for the same work.
    pub fn asks_the_same(&self, other: &Self) -> bool {
        self.group == other.group
            && (Arc::ptr_eq(&self.server, &other.server) || self.server == other.server)
    }

    /// What is to do for it; if `trusting`, none of its checkers is alpha.
    pub fn work(&self, trusting: bool) -> Work {
        let server = &*self.server;
        let checked = server.real_servers.iter().any(|real| !real.checkers.is_empty());
        let checkers: Vec<Vec<Checker>> = (server.real_servers.iter())
            .filter(|_| checked)
            .map(|real| real.checkers.iter().filter_map(|c| checker(c, trusting)).collect())
            .collect();
        let real_servers = (server.real_servers.iter().enumerate())
            .map(|(at, real)| real_server(real, checkers.get(at).map_or(&[], Vec::as_slice)))
            .collect();
        let config = VirtualServerConfig {
            keys: keys(server, &self.group),
            service: Service {
                scheduler: scheduler(server.scheduler),
                fallback: server.flag_1,
                hash_port: server.flag_2,
                flag_3: server.flag_3,
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
            real_servers,
        };
        Work { config, checkers }
    }
}

fn checker(checker: &model::Checker, trusting: bool) -> Option<Checker> {
    let mut spec = spec(checker)?;
    spec.timing.alpha &= !trusting;
    Some(Checker { spec, log_all_failures: checker.log_all_failures })
}

fn keys(server: &VirtualServer, group: &[GroupEntry]) -> Vec<ServiceKey> {
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
        VirtualServerKey::Group(_) => {
            let key = |entry: &GroupEntry| match *entry {
                GroupEntry::Address(address) => ServiceKey::Address { protocol, address },
                GroupEntry::Fwmark { mark, family } => by_mark(mark, family),
            };
            group.iter().map(key).collect()
        }
    }
}

fn real_server(real: &model::RealServer, checkers: &[Checker]) -> RealServerConfig {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let checker = |Checker { spec, .. }: &Checker| CheckerConfig {
        spec: hasher.hash_one(&spec.probe),
        alpha: spec.timing.alpha,
        tells_first_failure: match spec.probe {
            Probe::Tcp(_) | Probe::Script(_) => true,
            Probe::Http(_) => false,
        },
    };
    RealServerConfig {
        key: DestinationKey { address: real.address.ip(), port: real.address.port() },
        weight: real.weight,
        inhibit_on_failure: real.inhibit_on_failure,
        method: method(real.method),
        upper_threshold: real.upper_threshold,
        lower_threshold: real.lower_threshold,
        checkers: checkers.iter().map(checker).collect(),
        unknowable: real.is_unknowable(),
    }
}

/// `None` for a check that cannot be made.
fn spec(checker: &model::Checker) -> Option<Spec> {
    if checker.kind.obstacle().is_some() {
        return None;
    }
    Some(Spec {
        probe: match &checker.kind {
            CheckerKind::Tcp { connection: to } => connection(to).into(),
            CheckerKind::Http(http) => self::http(http).into(),
            CheckerKind::Misc { script, timeout, dynamic } => Probe::from(Script {
                command: script.clone(),
                timeout: *timeout,
                dynamic: *dynamic,
            }),
            CheckerKind::Smtp(_)
            | CheckerKind::Ping { .. }
            | CheckerKind::Udp(_)
            | CheckerKind::Dns(_)
            | CheckerKind::File(_)
            | CheckerKind::Bfd(_)
            | CheckerKind::Impossible { .. } => return None,
        },
        timing: Timing {
            delay_loop: checker.delay_loop,
            retry: checker.retry,
            delay_before_retry: checker.delay_before_retry,
            warmup: checker.warmup,
            alpha: checker.alpha,
        },
    })
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
        tls_host: url.tls_host.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Plan {
        let options = lb_config::Options::default();
        let loaded = lb_config::parse_str("t.conf", text, &options, &lb_config::RealSystem);
        Plan::from(&loaded.model.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics)))
    }

    fn keys(server: &VirtualPlan) -> Vec<String> {
        server.work(false).config.keys.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_group_has_a_service_for_each_of_its_entries() {
        let plan = plan(
            "virtual_server_group G {\n 192.0.2.1-3 80\n fwmark 7\n}\n\
             virtual_server group G {\n protocol TCP\n lb_kind NAT\n lb_algo rr\n\
             real_server 10.0.0.1 80 {\n}\n}\n\
             virtual_server group G {\n protocol UDP\n lb_kind NAT\n lb_algo rr\n\
             real_server 10.0.0.1 80 {\n}\n}\n",
        );
        let [tcp, udp] = &plan.servers[..] else { panic!("{:?}", plan.servers) };
        assert_eq!((tcp.name().as_str(), udp.name().as_str()), ("[G]:0", "[G]:1"));
        let addresses = ["TCP 192.0.2.1:80", "TCP 192.0.2.2:80", "TCP 192.0.2.3:80", "FWM 7"];
        assert_eq!(keys(tcp), addresses);
        assert_eq!(keys(udp)[0], "UDP 192.0.2.1:80");
        assert_ne!(tcp.identity(), udp.identity());
    }

    #[test]
    fn a_mark_has_a_family_and_no_protocol() {
        let plan = plan(
            "virtual_server fwmark 9 {\n lb_kind DR\n lb_algo wrr\n\
             real_server 2001:db8::1 80 {\n weight 5\n}\n}\n",
        );
        let server = &plan.servers[0];
        assert_eq!((server.name().as_str(), server.identity().protocol), ("FWM 9", None));
        let config = server.work(false).config;
        assert_eq!(config.keys, [ServiceKey::Fwmark { family: Family::Inet6, mark: 9 }]);
        assert_eq!(config.service.scheduler, Scheduler::Wrr);
        assert_eq!(config.real_servers[0].weight, 5);
        assert_eq!(config.real_servers[0].method, ForwardingMethod::Route);
    }

    #[test]
    fn a_mark_of_both_families_has_two_services() {
        let server = |real: &str| {
            format!(
                "virtual_server fwmark 1 {{\nlb_kind DR\nlb_algo rr\nreal_server {real} {{\n}}\n}}\n"
            )
        };
        let plan = plan(&(server("192.0.2.10") + &server("2001:db8::10")));
        let [inet, inet6] = &plan.servers[..] else { panic!("{:?}", plan.servers) };
        assert_ne!(inet.identity(), inet6.identity());
        let key = |family| [ServiceKey::Fwmark { family, mark: 1 }];
        assert_eq!(inet.work(false).config.keys, key(Family::Inet));
        assert_eq!(inet6.work(false).config.keys, key(Family::Inet6));
    }

    #[test]
    fn tunnel_options_reach_the_destination() {
        let plan = plan(
            "virtual_server 192.0.2.1 80 {\n protocol TCP\n lb_kind TUN\n lb_algo wlc\n\
             real_server 10.0.0.1 80 {\n lvs_method TUN type gue port 6080 remcsum\n}\n\
             real_server 10.0.0.2 80 {\n lvs_method TUN type gre csum\n}\n}\n",
        );
        let methods: Vec<_> = plan.servers[0]
            .work(false)
            .config
            .real_servers
            .iter()
            .map(|real| real.method)
            .collect();
        let gue = TunnelType::Gue { port: 6080, checksum: TunnelChecksum::Remote };
        let gre = TunnelType::Gre { checksum: true };
        assert_eq!(methods, [gue, gre].map(ForwardingMethod::Tunnel));
    }

    #[test]
    fn checkers_keep_their_meaning() {
        let plan = plan(
            "virtual_server 192.0.2.1 443 {\n delay_loop 7\n protocol TCP\n lb_kind NAT\n\
             lb_algo rr\n virtualhost www.example.org:8443\n\
             real_server 10.0.0.1 443 {\n SSL_GET {\n enable_sni\n http_protocol 1.1\n\
             url {\n path /up\n status_code 200-204\n}\n connect_timeout 2\n retry 4\n}\n}\n}\n",
        );
        let spec = &plan.servers[0].work(false).checkers[0][0].spec;
        let Probe::Http(http) = &spec.probe else { panic!("{spec:?}") };
        assert_eq!(http.tls, Some(Tls { sni: Sni::Host, compliant: false }));
        assert_eq!(http.version, HttpVersion::Http11);
        assert_eq!(http.connection.timeout, Duration::from_secs(2));
        assert_eq!(http.urls[0].host.as_deref(), Some("www.example.org:8443"));
        assert_eq!(http.urls[0].status_codes, [(200, 204)]);
        assert_eq!((spec.timing.delay_loop, spec.timing.retry), (Duration::from_secs(7), 4));
    }
}
