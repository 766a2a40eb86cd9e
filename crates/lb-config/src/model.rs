//! What a configuration says, with every default and inheritance resolved.
//!
//! Whoever holds a [`Model`] need not validate anything again: references resolve, ranges hold,
//! families agree. Lists keep the order of the file. What an engine keeps whole is shared with it.

mod carp;
mod check;
mod daemon;
mod global;
mod instance;
mod route;
mod router;
mod track;
mod virtual_server;
mod vrrp;

use std::sync::Arc;

use serde::Serialize;

pub use carp::{Balancing, CarpInstance, CarpNode};
pub use check::{
    Checker, CheckerKind, Connection, DnsChecker, DnsType, FileChecker, HttpChecker, HttpVersion,
    Regex, Reply, SmtpChecker, TlsOptions, UdpChecker, Url,
};
pub use daemon::{
    AdvertBuffer, Buffer, Buffers, DBus, Dumps, Fifo, Fifos, Filters, Limits, Mail, MailServer,
    Placement, ProcessNames, Reload, Snmp, SyncDaemon,
};
pub use global::{Carp, FlushOnStop, Global, LvsTimeouts, Scheduling};
pub use instance::{
    AddressFlags, AntiReplay, ExtraGarp, Hmac, HmacKey, HmacMode, Ipvlan, IpvlanMode, Lifetime,
    Secret, Vmac,
};
pub use route::{
    Encap, Locked, NextHop, Prefix, Route, RouteMetrics, RoutePlacement, Rule, RuleAction,
};
pub use router::{
    Garp, InitialState, Notify, Peers, StaticAddress, SyncGroup, Tracked, UnicastPeer,
    VirtualAddress, VirtualRouter, VrrpVersion,
};
pub use track::{
    ArgumentMatch, BfdInstance, GarpGroup, InitFile, LinkDelays, Linkbeat, LinkbeatMethod,
    TlsFiles, TrackFile, TrackGroup, TrackProcess, VrrpScript,
};
pub use virtual_server::{
    GroupEntry, LvsMethod, LvsScheduler, Protocol, RealServer, SorryServer, TunnelChecksum,
    VirtualServer, VirtualServerGroup, VirtualServerKey,
};
pub use vrrp::{OldUnicastChecksum, VrrpInstance};

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Model {
    /// `global_defs` and the other keywords outside of any instance.
    pub global: Global,
    /// `vrrp_instance` blocks.
    pub vrrp_instances: Vec<Arc<VrrpInstance>>,
    /// `carp_instance` blocks. A name is never that of a VRRP instance.
    pub carp_instances: Vec<Arc<CarpInstance>>,
    /// `vrrp_sync_group` blocks.
    pub sync_groups: Vec<SyncGroup>,
    /// `vrrp_script` blocks.
    pub vrrp_scripts: Vec<VrrpScript>,
    /// `virtual_server_group` blocks.
    pub virtual_server_groups: Vec<VirtualServerGroup>,
    /// `virtual_server` blocks.
    pub virtual_servers: Vec<Arc<VirtualServer>>,
    /// `track_file` blocks.
    pub track_files: Vec<TrackFile>,
    /// `vrrp_track_process` blocks.
    pub track_processes: Vec<TrackProcess>,
    /// `bfd_instance` blocks.
    pub bfd_instances: Vec<BfdInstance>,
    /// `track_group` blocks.
    pub track_groups: Vec<TrackGroup>,
    /// `garp_group` blocks.
    pub garp_groups: Vec<GarpGroup>,
    /// `static_ipaddress`
    pub static_addresses: Vec<StaticAddress>,
    /// `static_routes`
    pub static_routes: Vec<Route>,
    /// `static_rules`
    pub static_rules: Vec<Rule>,
    /// `linkbeat_interfaces`
    pub linkbeats: Vec<Linkbeat>,
    /// `interface_up_down_delays`
    pub link_delays: Vec<LinkDelays>,
    /// `SSL`
    pub tls: Option<TlsFiles>,
}

impl Model {
    /// What every VRRP and CARP instance has in common, in this order.
    pub fn routers(&self) -> impl Iterator<Item = &VirtualRouter> {
        let vrrp = self.vrrp_instances.iter().map(|instance| &instance.router);
        vrrp.chain(self.carp_instances.iter().map(|instance| &instance.router))
    }

    /// How connections are copied: `lvs_sync_daemon`, else the first `lvs_sync_daemon_interface`, which
    /// is its old form. It has an `id` in any case.
    #[must_use]
    pub fn sync_daemon(&self) -> Option<SyncDaemon> {
        let old = |router: &VirtualRouter| {
            let interface = router.sync_daemon_interface.clone()?;
            let instance = Some(router.name.clone());
            let (max_length, port, ttl, group) = (None, None, None, None);
            // Not the VRID, in keepalived 2.2.7: both directors have to have the same.
            Some(SyncDaemon { interface, instance, id: Some(0), max_length, port, ttl, group })
        };
        let daemon = self.global.sync_daemon.clone();
        let daemon = daemon.or_else(|| self.routers().find_map(old))?;
        let vrrp = self.vrrp_instances.iter().map(|vrrp| (&vrrp.router.name, vrrp.vrid));
        let carp = self.carp_instances.iter().map(|carp| (&carp.router.name, carp.vhid));
        let mut all = vrrp.chain(carp);
        let number = all.find(|(name, _)| Some(*name) == daemon.instance.as_ref());
        let id = daemon.id.or(number.map(|(_, number)| number)).unwrap_or_default();
        Some(SyncDaemon { id: Some(id), ..daemon })
    }
}

/// A command and who runs it. It was found and executable when the configuration was read, but for
/// tracked scripts and checks, which fail at run time instead.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Script {
    /// Program and arguments; never empty. `argv[0]` is a path.
    pub argv: Vec<String>,
    /// Runs as this user and group; `None` for the daemon's own.
    pub owner: Option<ScriptOwner>,
    /// Before each run it is checked that nobody but root could have put another program in its place
    /// ([`security::check`](crate::security::check)): `enable_script_security`.
    #[serde(skip)]
    pub secure: bool,
    /// Why it cannot be run, whatever changes on this machine. It is a failed script then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unusable: Option<String>,
}

impl Script {
    /// A command that the daemon's own user runs, unchecked.
    #[must_use]
    pub fn new(argv: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let argv = argv.into_iter().map(Into::into).collect();
        Script { argv, owner: None, secure: false, unusable: None }
    }

    /// Whether both run the same command as the same user.
    #[must_use]
    pub fn is_same_command(&self, other: &Self) -> bool {
        self.argv == other.argv && self.owner == other.owner
    }
}

/// User and group of a script, resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ScriptOwner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Family {
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
}
