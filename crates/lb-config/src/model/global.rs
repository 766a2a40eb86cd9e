//! `global_defs`, and what the daemon as a whole is set to.

use std::time::Duration;

use serde::Serialize;

use super::{
    Buffers, DBus, Dumps, Fifos, Filters, Limits, Mail, Placement, ProcessNames, Reload, Script,
    Snmp, SyncDaemon,
};

/// Settings of the whole daemon.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Global {
    /// `router_id`; the host name when absent.
    pub router_id: Option<String>,
    /// `enable_script_security`: an insecure script is disabled instead of reported.
    pub script_security: bool,
    /// `dynamic_interfaces`: an interface may be missing at start.
    pub dynamic_interfaces: bool,
    /// `lvs_timeouts`: those of the kernel that are set while the daemon runs.
    pub lvs_timeouts: LvsTimeouts,
    /// `lvs_flush`: the kernel's table is emptied at start.
    pub lvs_flush: bool,
    /// `lvs_flush_on_stop`: what is removed at stop.
    pub lvs_flush_on_stop: FlushOnStop,
    /// `vrrp_priority` and the like: scheduling of the advertiser's thread.
    pub advertiser_scheduling: Scheduling,
    /// The same for the balancer's thread.
    pub balancer_scheduling: Scheduling,
    /// `vrrp_startup_delay`: advertisements are ignored for so long after start.
    pub vrrp_startup_delay: Duration,
    /// `rs_init_notifies`: real servers added at start are notified.
    pub rs_init_notifies: bool,
    /// `umask`, octal in the file.
    pub umask: Option<u32>,
    /// `child_wait_time`: how long a stop may take.
    pub child_wait_time: Option<Duration>,
    /// `startup_script` and its timeout.
    pub startup_script: Option<(Script, Duration)>,
    /// `shutdown_script` and its timeout.
    pub shutdown_script: Option<(Script, Duration)>,
    /// Namespaces and the daemon's name.
    pub placement: Placement,
    /// `process_names` and the like.
    pub process_names: ProcessNames,
    /// `vrrp_cpu_affinity` and the like.
    pub limits: Limits,
    /// `bfd_priority` and the like.
    pub bfd_scheduling: Scheduling,
    /// `vrrp_netlink_cmd_rcv_bufs` and the like.
    pub buffers: Buffers,
    /// `notification_email` and the like.
    pub mail: Mail,
    /// `notify_fifo` and the like.
    pub fifos: Fifos,
    /// `enable_snmp_vrrp` and the like.
    pub snmp: Snmp,
    /// `enable_dbus` and the like.
    pub dbus: DBus,
    /// `nftables` and the like.
    pub filters: Filters,
    /// `reload_file` and the like.
    pub reload: Reload,
    /// `state_dump_file` and the like.
    pub dumps: Dumps,
    /// `lvs_sync_daemon`
    pub sync_daemon: Option<SyncDaemon>,
    /// `use_symlink_paths`: paths of scripts are not resolved.
    pub use_symlink_paths: bool,
    /// `set_supplementary_groups`: scripts get all groups of their user.
    pub set_supplementary_groups: bool,
    /// `linkbeat_use_polling`: carriers are polled.
    pub linkbeat_use_polling: bool,
    /// `disable_local_igmp`: no membership reports for 224.0.0.0/24.
    pub disable_local_igmp: bool,
    /// `log_unknown_vrids`: advertisements of nobody's VRID are logged.
    pub log_unknown_vrids: bool,
    /// `vrrp_delay_after_boot`: as the startup delay, from the start of the system.
    pub delay_after_boot: Duration,
    /// `vrrp_garp_interval`: from one gratuitous ARP on an interface to the next.
    pub garp_interval: Duration,
    /// `vrrp_gna_interval`: the same for neighbour advertisements.
    pub gna_interval: Duration,
    /// `vmac_prefix`: how the names of macvlans begin.
    pub vmac_prefix: Option<String>,
    /// `vmac_addr_prefix`: the same for those of single addresses.
    pub vmac_addr_prefix: Option<String>,
    /// `default_interface` of static addresses.
    pub default_interface: Option<String>,
    /// `carp_allow` and the like.
    pub carp: Carp,
}

/// What the BSDs set by `sysctl net.inet.carp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Carp {
    /// `carp_allow`: CARP takes part.
    pub allow: bool,
    /// `carp_preempt`: default of every instance's `preempt`.
    pub preempt: bool,
    /// `carp_log`: the least important kind of message that is logged, 0 to 7 as in `syslog(3)`.
    pub log: u8,
}

impl Default for Carp {
    fn default() -> Self {
        Self { allow: true, preempt: false, log: 2 }
    }
}

/// Connection timeouts of IPVS; `None` or zero leaves the kernel's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LvsTimeouts {
    /// Established TCP, whole seconds.
    pub tcp: Option<Duration>,
    /// TCP after FIN, whole seconds.
    pub tcp_fin: Option<Duration>,
    /// UDP, whole seconds.
    pub udp: Option<Duration>,
}

/// What a stop removes from IPVS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum FlushOnStop {
    /// What the daemon put there.
    #[default]
    Own,
    /// The same; kept apart because the file says so (`VS`).
    Services,
    /// The whole table, entries of others included.
    Everything,
}

/// Scheduling of one engine's thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Scheduling {
    /// Nice value, −20 to 19.
    pub nice: Option<i32>,
    /// SCHED_RR priority, 1 to 99.
    pub realtime: Option<u8>,
    /// Memory is locked.
    pub no_swap: bool,
}
