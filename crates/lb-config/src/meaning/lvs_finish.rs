//! Virtual servers complete: defaults, inheritance, and keepalived's adjustments.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::check::{self, Above, Check};
use super::lvs::{Real, Server, Sorry};
use super::lvs_setting::PERSISTENCE;
use super::{Context, exact, lint};
use crate::diagnostic::Place;
use crate::model::{
    Checker, Family, GroupEntry, LvsMethod, Protocol, RealServer, SorryServer, VirtualServer,
    VirtualServerGroup, VirtualServerKey,
};

/// Makes virtual servers of the model.
#[expect(clippy::vec_box, reason = "each is let go when it has become part of the model")]
pub(crate) fn finish(
    context: &mut Context<'_>,
    servers: Vec<Box<Server>>,
    groups: &[VirtualServerGroup],
) -> Vec<Arc<VirtualServer>> {
    let groups: HashMap<&str, &VirtualServerGroup> =
        groups.iter().map(|group| (group.name.as_str(), group)).collect();
    let mut done = Vec::with_capacity(servers.len());
    let mut places = Vec::with_capacity(servers.len());
    for draft in servers {
        let place = draft.place;
        if let Some(server) = server(context, draft, &groups) {
            done.push(Arc::new(server));
            places.push(place);
        }
    }
    for (again, first) in repeated(&done) {
        let title = Title(done[again].key.clone());
        let message = format!(
            "virtual server {title} is defined before; its real servers join those of the first, \
             whose scheduler and persistence count"
        );
        let diagnostic = context.diags.note("duplicate-virtual-server", places[again], message);
        diagnostic.label(places[first], "the first");
    }
    done
}

/// Virtual servers that are defined before, and which of the others that one is. Sorted, not hashed:
/// most files are sorted already.
///
/// A mark or a group may be served once per family, a group and an address once per protocol.
fn repeated(servers: &[Arc<VirtualServer>]) -> BTreeMap<usize, usize> {
    let identity = |at: usize| {
        let VirtualServer { key, protocol, family, .. } = &*servers[at];
        let is_mark = matches!(key, VirtualServerKey::Fwmark(_));
        (key, (!is_mark).then_some(protocol), *family)
    };
    let mut sorted: Vec<usize> = (0..servers.len()).collect();
    sorted.sort_by_key(|at| identity(*at));
    let same = sorted.chunk_by(|one, other| identity(*one) == identity(*other));
    same.filter_map(|same| same.split_first())
        .flat_map(|(first, again)| again.iter().map(|again| (*again, *first)))
        .collect()
}

/// How messages call a virtual server; spelt out only where there is a message.
pub(super) struct Title(VirtualServerKey);

impl fmt::Display for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            VirtualServerKey::Address(address) => write!(f, "{address}"),
            VirtualServerKey::Fwmark(mark) => write!(f, "fwmark {mark}"),
            VirtualServerKey::Group(group) => write!(f, "group {group}"),
        }
    }
}

fn server(
    context: &mut Context<'_>,
    mut draft: Box<Server>,
    groups: &HashMap<&str, &VirtualServerGroup>,
) -> Option<VirtualServer> {
    let place = draft.place;
    let title = Title(draft.key.clone());
    let group = match &draft.key {
        VirtualServerKey::Group(name) => {
            let Some(group) = groups.get(name.as_str()).copied() else {
                let message =
                    format!("group `{name}` is not defined; the virtual server is ignored");
                context.diags.note("server-group", place, message);
                return None;
            };
            Some(group)
        }
        _ => None,
    };
    if draft.real_servers.is_empty() {
        let message = format!("virtual server {title} has no real servers and is ignored");
        context.diags.warn("no-real-server", place, message);
        return None;
    }
    let is_mark = matches!(draft.key, VirtualServerKey::Fwmark(_));
    let protocol = protocol(context, &draft, &title, is_mark);
    if draft.scheduler.is_none() {
        let message = format!("virtual server {title} has no scheduler; wlc is used");
        context.diags.warn("no-scheduler", place, message).hint("add `lb_algo wlc`, or another");
    }
    let any_method =
        draft.method.is_some() || draft.real_servers.iter().any(|real| real.method.is_some());
    if !any_method {
        let message = format!("virtual server {title} has no forwarding method; NAT is used");
        context.diags.warn("no-method", place, message).hint("add `lb_kind NAT`, DR or TUN");
    }
    let method = draft.method.unwrap_or_default();
    let family = family(&draft, group, method);
    persistence(context, &mut draft, &title, group);
    let granularity = granularity(context, &draft, family);
    if draft.one_packet && !is_mark && protocol != Protocol::Udp {
        context.diags.warn(
            "ops",
            place,
            format!("virtual server {title} is not UDP; ops is ignored"),
        );
        draft.one_packet = false;
    }
    let has_mark = is_mark
        || group.is_some_and(|group| {
            group.entries.iter().any(|e| matches!(e, GroupEntry::Fwmark { .. }))
        });
    if draft.ha_suspend && has_mark {
        context.diags.warn(
            "ha-suspend",
            place,
            format!("virtual server {title} has a mark; ha_suspend is ignored"),
        );
        draft.ha_suspend = false;
    }
    let ports = port_rule(&draft.key);
    let drafts = std::mem::take(&mut draft.real_servers);
    let real_servers = real_servers(context, drafts, &draft, method, family, ports, &title);
    if real_servers.is_empty() {
        return None;
    }
    let sorry_server = draft.sorry.as_deref().and_then(|sorry| {
        finish_sorry(context, sorry, method, family, ports, &real_servers, &title)
    });
    let total = real_servers.iter().map(|real| u64::from(real.weight)).sum::<u64>();
    let (quorum, hysteresis) = quorum(context, &draft, total, &title);
    let server = VirtualServer {
        family,
        protocol,
        scheduler: draft.scheduler.unwrap_or_default(),
        method,
        flag_1: draft.flags[0],
        flag_2: draft.flags[1],
        flag_3: draft.flags[2],
        one_packet: draft.one_packet,
        persistence_engine: draft
            .persistence_engine
            .filter(|_| draft.persistence_timeout.is_some()),
        persistence_timeout: draft.persistence_timeout,
        persistence_granularity: granularity,
        quorum,
        hysteresis,
        quorum_up: context.notify_script(draft.quorum_up),
        quorum_down: context.notify_script(draft.quorum_down),
        alpha: draft.inherited.alpha.unwrap_or(false),
        omega: draft.omega,
        ha_suspend: draft.ha_suspend,
        sorry_server,
        real_servers,
        smtp_alert: draft
            .smtp_alert
            .or(context.globals.alert_checker)
            .or(context.globals.alert)
            .unwrap_or(false),
        snmp_name: draft.snmp_name,
        key: draft.key,
    };
    lint::server(context, &server, place, &title);
    Some(server)
}

fn protocol(context: &mut Context<'_>, draft: &Server, title: &Title, is_mark: bool) -> Protocol {
    match (draft.protocol, is_mark) {
        (Some(_), true) => {
            let message = format!("virtual server {title} has a mark; its protocol is ignored");
            context.diags.warn("protocol-with-mark", draft.place, message);
            Protocol::Tcp
        }
        (None, true) => Protocol::Tcp,
        (Some(protocol), false) => protocol,
        (None, false) => {
            let message = format!("virtual server {title} has no protocol; UDP is used");
            context
                .diags
                .warn("no-protocol", draft.place, message)
                .hint("add `protocol TCP`, UDP or SCTP");
            Protocol::Udp
        }
    }
}

fn family_of(address: SocketAddr) -> Family {
    if address.is_ipv6() { Family::Inet6 } else { Family::Inet }
}

/// Given, else of the address, else of the group, else of the first server that is not behind a tunnel.
fn family(draft: &Server, group: Option<&VirtualServerGroup>, method: LvsMethod) -> Family {
    if let VirtualServerKey::Address(address) = draft.key {
        return family_of(address);
    }
    let of_group = || {
        group?.entries.iter().find_map(|entry| match entry {
            GroupEntry::Address(address) => Some(family_of(*address)),
            GroupEntry::Fwmark { family, .. } => *family,
        })
    };
    let direct = |real: &&Real| !real.method.unwrap_or(method).is_tunnel();
    let of_servers = || {
        let first = draft.real_servers.iter().find(direct).or(draft.real_servers.first());
        first.map(|real| family_of(real.address))
    };
    draft.family.or_else(of_group).or_else(of_servers).unwrap_or(Family::Inet)
}

/// A service for every port must be persistent, or each connection could go elsewhere.
fn persistence(
    context: &mut Context<'_>,
    draft: &mut Server,
    title: &Title,
    group: Option<&VirtualServerGroup>,
) {
    if draft.persistence_timeout.is_some() {
        return;
    }
    let every_port = match draft.key {
        VirtualServerKey::Address(address) => address.port() == 0,
        VirtualServerKey::Fwmark(_) => false,
        VirtualServerKey::Group(_) => group.is_some_and(|group| {
            group
                .entries
                .iter()
                .any(|entry| matches!(entry, GroupEntry::Address(address) if address.port() == 0))
        }),
    };
    if every_port {
        let message = format!("virtual server {title} serves every port and is made persistent");
        context
            .diags
            .warn("port-zero", draft.place, message)
            .hint("add `persistence_timeout 360`, or a port");
        draft.persistence_timeout = Some(PERSISTENCE);
    } else if draft.granularity.is_some() {
        draft.persistence_timeout = Some(PERSISTENCE);
    }
}

fn granularity(context: &mut Context<'_>, draft: &Server, family: Family) -> Option<u8> {
    let granularity = draft.granularity.as_deref()?;
    if granularity.family != family {
        let message = "this granularity is of another address family and is ignored";
        context.diags.warn("granularity", granularity.place, message);
        return None;
    }
    let whole = if family == Family::Inet { 32 } else { 128 };
    (granularity.prefix != whole).then_some(granularity.prefix)
}

/// What the port of a server must or may be.
#[derive(Clone, Copy)]
enum Ports {
    /// That of the virtual server, or another behind NAT.
    Fixed(u16),
    /// None: marks say nothing of ports.
    None,
    /// Whatever the entry of the group has.
    Free,
}

fn port_rule(key: &VirtualServerKey) -> Ports {
    match key {
        VirtualServerKey::Address(address) => Ports::Fixed(address.port()),
        VirtualServerKey::Fwmark(_) => Ports::None,
        VirtualServerKey::Group(_) => Ports::Free,
    }
}

impl Ports {
    /// DR and tunnels cannot change a port; NAT takes the virtual server's when the server has none.
    fn adjust(
        self,
        context: &mut Context<'_>,
        mut address: SocketAddr,
        method: LvsMethod,
        place: Place,
        title: &Title,
    ) -> SocketAddr {
        let port = match (self, method) {
            (Ports::Free, _) => return address,
            (Ports::None, LvsMethod::Nat) => return address,
            (Ports::None, _) => 0,
            (Ports::Fixed(port), LvsMethod::Nat) if address.port() == 0 => {
                address.set_port(port);
                return address;
            }
            (Ports::Fixed(_), LvsMethod::Nat) => return address,
            (Ports::Fixed(port), _) => port,
        };
        if address.port() != port && address.port() != 0 {
            let message =
                format!("{address} must have port {port}, as virtual server {title}; it is set");
            context
                .diags
                .warn("port-mismatch", place, message)
                .hint("only NAT can change the port; checks go to the port that is written here");
        }
        address.set_port(port);
        address
    }
}

/// As many addresses are sooner compared one by one than hashed.
const FEW: usize = 16;

fn real_servers(
    context: &mut Context<'_>,
    drafts: Vec<Real>,
    server: &Server,
    method: LvsMethod,
    family: Family,
    ports: Ports,
    title: &Title,
) -> Vec<RealServer> {
    let few = drafts.len() <= FEW;
    let smtp_alert = context.globals.alert_checker.or(context.globals.alert).unwrap_or(true);
    let mut seen = HashSet::with_capacity(if few { 0 } else { drafts.len() });
    let mut done: Vec<RealServer> = Vec::with_capacity(drafts.len());
    for real in drafts {
        let method = real.method.unwrap_or(method);
        if family_of(real.address) != family && !method.is_tunnel() {
            let message = format!(
                "real server {} is of another family than {title} and is ignored",
                real.address
            );
            context
                .diags
                .warn("real-server-family", real.place, message)
                .hint("only tunnels join the families");
            continue;
        }
        let address = ports.adjust(context, real.address, method, real.place, title);
        let again = if few {
            done.iter().any(|other| other.address == address)
        } else {
            !seen.insert(address)
        };
        if again {
            let message =
                format!("real server {address} of {title} is defined before; this one is removed");
            context.diags.warn("duplicate-real-server", real.place, message);
            continue;
        }
        let mut lower_threshold = real.lower_threshold;
        if lower_threshold > real.upper_threshold {
            let message = format!(
                "real server {address} of {title} has an `lthreshold` above its `uthreshold`; the \
                 kernel would refuse the server, so `lthreshold` is ignored"
            );
            let diagnostic = context.diags.note("lower-threshold", real.place, message);
            diagnostic.hint("set `uthreshold` to more connections than `lthreshold`");
            lower_threshold = 0;
        }
        let mut more = real.more;
        let inherited = more.as_deref().map(|more| &more.inherited);
        // Checks go to the port as written: the destination alone takes the virtual server's.
        let port = if real.address.port() == 0 { address.port() } else { real.address.port() };
        let checked = SocketAddr::new(address.ip(), port);
        let above = Above { real: inherited, server: &server.inherited, address: checked };
        let checkers = checkers(context, real.checks, &above, address, title);
        done.push(RealServer {
            address,
            weight: real.weight.unwrap_or(server.weight),
            method,
            upper_threshold: real.upper_threshold,
            lower_threshold,
            inhibit_on_failure: real.inhibit_on_failure.unwrap_or(server.inhibit_on_failure),
            notify_up: context.notify_script(more.as_mut().and_then(|more| more.notify_up.take())),
            notify_down: context
                .notify_script(more.as_mut().and_then(|more| more.notify_down.take())),
            checkers,
            smtp_alert: real.smtp_alert.unwrap_or(smtp_alert),
            snmp_name: more.and_then(|more| more.snmp_name),
        });
    }
    done
}

/// The id of the complaint about a check that is not made; `--allow` of it leaves the check out.
const NOT_BUILT: &str = "check-not-built";

/// The checkers of one server. A server is never up because nobody looks: what cannot be checked is
/// said, and stays in the model unless the operator allows to go without.
fn checkers(
    context: &mut Context<'_>,
    drafts: Vec<Check>,
    above: &Above<'_>,
    address: SocketAddr,
    title: &Title,
) -> Vec<Checker> {
    let places: Vec<Place> = drafts.iter().map(|draft| draft.place).collect();
    let all: Vec<Option<Checker>> =
        drafts.into_iter().map(|draft| check::finish(context, draft, above)).collect();
    let obstacle = |checker: &Option<Checker>| checker.as_ref().and_then(|c| c.kind.obstacle());
    if all.iter().all(|checker| obstacle(checker).is_none()) {
        return exact(all.into_iter().flatten());
    }
    let allowed = context.options.allow.iter().any(|id| id == NOT_BUILT);
    let others = all.iter().flatten().any(|checker| checker.kind.obstacle().is_none());
    for (checker, place) in all.iter().zip(places) {
        let Some(keyword) = obstacle(checker) else { continue };
        let what = format!("`{keyword}` of real server {address} of {title} is not acted on");
        if allowed {
            let message = format!(
                "{what}; by --allow {NOT_BUILT} the server goes without: up, not checked by it"
            );
            context.diags.remark("goes-unchecked", place, message);
            continue;
        }
        let follows = if others {
            "its other checks decide whether it is up"
        } else {
            "its health is unknown: it gets no traffic and does not count towards the quorum"
        };
        context.diags.note(NOT_BUILT, place, format!("{what}: {follows}")).hint(format!(
            "use TCP_CHECK, HTTP_GET, SSL_GET or MISC_CHECK, or --allow {NOT_BUILT}"
        ));
    }
    let kept = |checker: &Checker| !allowed || checker.kind.obstacle().is_none();
    exact(all.into_iter().flatten().filter(kept))
}

fn finish_sorry(
    context: &mut Context<'_>,
    sorry: &Sorry,
    method: LvsMethod,
    family: Family,
    ports: Ports,
    real_servers: &[RealServer],
    title: &Title,
) -> Option<SorryServer> {
    let method = sorry.method.unwrap_or(method);
    if family_of(sorry.address) != family && !method.is_tunnel() {
        let message = format!(
            "sorry server {} is of another family than {title} and is ignored",
            sorry.address
        );
        context.diags.warn("sorry-server-family", sorry.place, message);
        return None;
    }
    let address = ports.adjust(context, sorry.address, method, sorry.place, title);
    let mut inhibit = sorry.inhibit;
    if let Some(real) = real_servers.iter().find(|real| real.address == address)
        && real.inhibit_on_failure != inhibit
    {
        let message = format!(
            "sorry server {address} is a real server of {title} too and follows its inhibit setting"
        );
        context.diags.warn("sorry-server-inhibit", sorry.place, message);
        inhibit = real.inhibit_on_failure;
    }
    Some(SorryServer { address, method, inhibit })
}

/// A quorum that can be reached, and a margin below it.
fn quorum(context: &mut Context<'_>, draft: &Server, total: u64, title: &Title) -> (u32, u32) {
    let mut quorum = draft.quorum;
    if u64::from(quorum) > total {
        quorum = (total as u32).max(1);
        let message = format!(
            "quorum {} of {title} is above the sum of weights; {quorum} is used",
            draft.quorum
        );
        context.diags.warn("quorum", draft.place, message);
    }
    let mut hysteresis = draft.hysteresis;
    if hysteresis >= quorum {
        hysteresis = quorum - 1;
        let message = format!(
            "hysteresis {} of {title} is not below its quorum; {hysteresis} is used",
            draft.hysteresis
        );
        context.diags.warn("hysteresis", draft.place, message);
    }
    (quorum, hysteresis)
}
