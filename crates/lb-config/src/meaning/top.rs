//! The top level beyond instances and servers: names, static things, links, TLS.

use std::time::Duration;

use super::table::{Keyword, Table, Takes};
use super::{Context, Draft, route, rule, track, vip};
use crate::diagnostic::Place;
use crate::model::{
    GarpGroup, LinkDelays, Linkbeat, LinkbeatMethod, Route, Rule, StaticAddress, TlsFiles,
    TrackGroup,
};
use crate::syntax::Line;

/// What is read here.
#[derive(Debug, Default)]
pub(crate) struct Top {
    pub(crate) tracked: track::Drafts,
    pub(crate) track_groups: Vec<(TrackGroup, Place)>,
    pub(crate) garp_groups: Vec<GarpGroup>,
    pub(crate) addresses: Vec<StaticAddress>,
    pub(crate) routes: Vec<Route>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) linkbeats: Vec<Linkbeat>,
    pub(crate) delays: Vec<LinkDelays>,
    pub(crate) tls: Option<TlsFiles>,
    /// Uses of `track_group` and where they are.
    pub(crate) group_uses: Vec<(String, Place)>,
}

impl Top {
    /// Whether there is anything static, which keepalived's VRRP process looks after.
    pub(crate) fn has_static_entries(&self) -> bool {
        !(self.addresses.is_empty() && self.routes.is_empty() && self.rules.is_empty())
    }

    /// Takes note of a line's `track_group`.
    fn uses_group(&mut self, group: Option<&String>, line: &Line) {
        self.group_uses.extend(group.map(|group| (group.clone(), line.place())));
    }
}

pub(super) const KEYWORDS: &[Keyword<Draft>] = &[
    Keyword::new("track_file", Takes::Block { words: 1, read: track::file })
        .aliases(&["vrrp_track_file"]),
    Keyword::new("vrrp_track_process", Takes::Block { words: 1, read: track::process }),
    Keyword::idle("bfd_instance", Takes::Block { words: 1, read: track::bfd }),
    Keyword::idle("track_group", Takes::Block { words: 1, read: track_group }),
    Keyword::idle("garp_group", Takes::Block { words: 0, read: garp_group }),
    Keyword::idle("static_ipaddress", Takes::List { entry: address }),
    Keyword::idle("static_routes", Takes::List { entry: route }),
    Keyword::idle("static_rules", Takes::List { entry: rule }),
    Keyword::idle("linkbeat_interfaces", Takes::List { entry: linkbeat }),
    Keyword::idle("interface_up_down_delays", Takes::List { entry: delays }),
    Keyword::idle("SSL", Takes::Block { words: 0, read: tls }),
    Keyword::idle("linkbeat_use_polling", Takes::Words { words: 0, read: use_polling }),
    Keyword::idle("net_namespace", Takes::Words { words: 1, read: namespace }).needed(
        "net-namespace",
        "everything would run in the network namespace that lbd is started in; `lbd -s NAME` chooses another",
    ),
    Keyword::idle("net_namespace_ipvs", Takes::Words { words: 0, read: namespace_ipvs }).needed(
        "net-namespace-ipvs",
        "the virtual servers would be in the network namespace that lbd runs in",
    ),
    Keyword::idle("namespace_with_ipsets", Takes::Words { words: 0, read: with_ipsets }),
    Keyword::idle("use_pid_dir", Takes::Words { words: 0, read: pid_dir }),
    Keyword::idle("instance", Takes::Words { words: 1, read: instance }),
];

fn use_polling(_: &mut Draft, context: &mut Context<'_>, _: &Line) {
    context.globals.model.linkbeat_use_polling = true;
}

fn namespace(_: &mut Draft, context: &mut Context<'_>, line: &Line) {
    let placement = &mut context.globals.model.placement;
    placement.use_pid_dir = true;
    placement.namespace = Some(line.str(1).to_owned());
}

fn namespace_ipvs(_: &mut Draft, context: &mut Context<'_>, line: &Line) {
    context.globals.model.placement.ipvs_namespace = Some(line.str(1).to_owned());
}

fn with_ipsets(_: &mut Draft, context: &mut Context<'_>, _: &Line) {
    context.globals.model.placement.namespace_with_ipsets = true;
}

fn pid_dir(_: &mut Draft, context: &mut Context<'_>, _: &Line) {
    context.globals.model.placement.use_pid_dir = true;
}

fn instance(_: &mut Draft, context: &mut Context<'_>, line: &Line) {
    if context.globals.model.placement.instance.is_some() {
        context.given_before(line);
        return;
    }
    let placement = &mut context.globals.model.placement;
    placement.use_pid_dir = true;
    placement.instance = Some(line.str(1).to_owned());
}

fn address(draft: &mut Draft, context: &mut Context<'_>, line: &Line) {
    let Some(address) = vip::read_static(context, line) else { return };
    draft.top.uses_group(address.track_group.as_ref(), line);
    draft.top.addresses.push(address);
}

fn route(draft: &mut Draft, context: &mut Context<'_>, line: &Line) {
    let Some(route) = route::read(context, line, true) else { return };
    draft.top.uses_group(route.track_group.as_ref(), line);
    draft.top.routes.push(route);
}

fn rule(draft: &mut Draft, context: &mut Context<'_>, line: &Line) {
    let Some(rule) = rule::read(context, line, true) else { return };
    draft.top.uses_group(rule.track_group.as_ref(), line);
    draft.top.rules.push(rule);
}

pub(super) static TRACK_GROUP: Table<TrackGroup> = Table {
    block: "track_group",
    keywords: &[Keyword::new(
        "group",
        Takes::List {
            entry: |group: &mut TrackGroup, _, line| {
                group.members.extend(line.words_from(0).map(|word| word.text.to_owned()));
            },
        },
    )],
    also: &[],
};

fn track_group(draft: &mut Draft, context: &mut Context<'_>, line: &Line) {
    let mut group = TrackGroup { name: line.str(1).to_owned(), members: Vec::new() };
    if draft.top.track_groups.iter().any(|(known, _)| known.name == group.name) {
        let message =
            format!("`track_group {}` is defined before; this block is skipped", group.name);
        context.diags.warn("duplicate-group", line.place_from(1), message);
        context.skip_block();
        return;
    }
    context.block(&TRACK_GROUP, &mut group, line);
    draft.top.track_groups.push((group, line.place()));
}

pub(super) static GARP_GROUP: Table<GarpGroup> = Table {
    block: "garp_group",
    keywords: &[
        Keyword::new("interface", Takes::Words { words: 1, read: garp_interface }),
        Keyword::new("interfaces", Takes::Block { words: 0, read: garp_interfaces }),
        Keyword::new(
            "garp_interval",
            Takes::seconds(1, |g: &mut GarpGroup, time| g.garp_interval = Some(time)),
        ),
        Keyword::new(
            "gna_interval",
            Takes::seconds(1, |g: &mut GarpGroup, time| g.gna_interval = Some(time)),
        ),
    ],
    also: &[],
};

fn garp_interface(group: &mut GarpGroup, context: &mut Context<'_>, line: &Line) {
    let Some(name) = context.interface(line, 1) else { return };
    if !garp_member(group, context, name) {
        let message = format!("`{}` is in a garp_group before; this line is ignored", line.str(1));
        context.diags.warn("duplicate-garp-group", line.place_of(1), message);
    }
}

fn garp_interfaces(group: &mut GarpGroup, context: &mut Context<'_>, line: &Line) {
    let mut names = Vec::new();
    context.list(line, 0, |context, line| {
        for index in 0..line.len() {
            names.extend(context.interface(line, index).map(|name| (name, line.place_of(index))));
        }
    });
    let alone = names.len() == 1;
    for (name, place) in names {
        let message = format!("`{name}` is in a garp_group before; this one leaves it out");
        if garp_member(group, context, name) {
            continue;
        }
        if alone {
            // keepalived wants to name the second word, and exits for want of it.
            context.missing_argument(line);
        } else {
            context.diags.warn("duplicate-garp-group", place, message);
        }
    }
}

/// Adds an interface to a group; false if some group has it.
fn garp_member(group: &mut GarpGroup, context: &mut Context<'_>, name: String) -> bool {
    let is_new = context.garp_interfaces.insert(name.clone());
    group.interfaces.extend(is_new.then_some(name));
    is_new
}

fn garp_group(draft: &mut Draft, context: &mut Context<'_>, line: &Line) {
    let mut group = GarpGroup::default();
    context.block(&GARP_GROUP, &mut group, line);
    if group.garp_interval.is_none() && group.gna_interval.is_none() {
        let message = "this garp_group has no interval and is ignored";
        context.diags.warn("garp-group", line.place(), message).hint("add `garp_interval SECONDS`");
        return;
    }
    if group.interfaces.is_empty() {
        let message = "this garp_group has no interfaces and is ignored";
        context.diags.note("garp-group", line.place(), message);
        return;
    }
    draft.top.garp_groups.push(group);
}

fn linkbeat(draft: &mut Draft, context: &mut Context<'_>, line: &Line) {
    let Some(interface) = context.interface(line, 0) else { return };
    let method = match line.word(1) {
        None => None,
        Some(word) => match word.text {
            "MII" => Some(LinkbeatMethod::Mii),
            "ETHTOOL" => Some(LinkbeatMethod::Ethtool),
            "IOCTL" => Some(LinkbeatMethod::Ioctl),
            other => {
                let message = format!("`{other}` is no way to poll a link");
                context
                    .diags
                    .warn("linkbeat", word.place, message)
                    .hint("use MII, ETHTOOL or IOCTL");
                None
            }
        },
    };
    draft.top.linkbeats.push(Linkbeat { interface, method });
}

fn delays(draft: &mut Draft, context: &mut Context<'_>, line: &Line) {
    let Some(interface) = context.interface(line, 0) else { return };
    if line.len() < 2 {
        let message = format!("`{interface}` needs a delay");
        context.diags.warn("link-delay", line.place(), message).hint("as in `eth0 2 5`");
        return;
    }
    let Some(down) = context.integer_or(line, 1, 0, 255, "0") else { return };
    let up = match line.word(2) {
        None => Some(0),
        Some(_) => context.integer_or(line, 2, 0, 255, "0"),
    };
    let Some(up) = up else { return };
    draft.top.delays.push(LinkDelays {
        interface,
        down: Duration::from_secs(down as u64),
        up: Duration::from_secs(up as u64),
    });
}

const fn file(name: &'static str, set: fn(&mut TlsFiles, &str)) -> Keyword<TlsFiles> {
    Keyword::new(name, Takes::Text(set))
}

pub(super) static SSL: Table<TlsFiles> = Table {
    block: "SSL",
    keywords: &[
        file("password", |tls, text| tls.password = Some(text.to_owned())),
        file("ca", |tls, text| tls.ca = Some(text.to_owned())),
        file("certificate", |tls, text| tls.certificate = Some(text.to_owned())),
        file("key", |tls, text| tls.key = Some(text.to_owned())),
    ],
    also: &[],
};

fn tls(draft: &mut Draft, context: &mut Context<'_>, line: &Line) {
    let mut tls = TlsFiles::default();
    context.block(&SSL, &mut tls, line);
    if draft.top.tls.replace(tls).is_some() {
        let message = "`SSL` is given before; this block replaces it";
        context.diags.warn("given-before", line.place(), message);
    }
}
