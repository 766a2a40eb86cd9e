//! Settings of the daemon around its engines: mail, pipes, SNMP, D-Bus, buffers, files.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::{Script, ScriptOwner};

/// Alert mails.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mail {
    /// `smtp_server`; no mail is sent without one.
    pub server: Option<MailServer>,
    /// `notification_email_from`; user and host name when absent.
    pub from: Option<String>,
    /// `notification_email`
    pub recipients: Vec<String>,
    /// `smtp_helo_name`; the host name when absent.
    pub helo_name: Option<String>,
    /// `smtp_connect_timeout`, at least a second.
    pub connect_timeout: Duration,
    /// `no_email_faults`: none for FAULT.
    pub no_faults: bool,
    /// `no_checker_emails`: only when the state of a real server changes.
    pub no_checkers: bool,
}

impl Default for Mail {
    fn default() -> Self {
        Mail {
            server: None,
            from: None,
            recipients: Vec::new(),
            helo_name: None,
            connect_timeout: Duration::from_secs(30),
            no_faults: false,
            no_checkers: false,
        }
    }
}

/// `smtp_server`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MailServer {
    /// Address or name.
    pub host: String,
    /// Port, 25 when absent.
    pub port: u16,
}

/// A named pipe that notifications are written to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fifo {
    /// Where it is.
    pub path: String,
    /// Whose it is; `None` for the daemon's own.
    pub owner: Option<ScriptOwner>,
    /// What reads it; the path is its last argument.
    pub script: Option<Script>,
}

/// Pipes for notifications.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fifos {
    /// `notify_fifo`: all.
    pub all: Option<Fifo>,
    /// `vrrp_notify_fifo`: those of instances and groups.
    pub vrrp: Option<Fifo>,
    /// `lvs_notify_fifo`: those of servers.
    pub lvs: Option<Fifo>,
    /// `fifo_write_vrrp_states_on_reload`: states that did not change are written too.
    pub states_on_reload: bool,
}

/// SNMP over AgentX.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snmp {
    /// `snmp_socket`; net-snmp's when absent.
    pub socket: Option<String>,
    /// `enable_traps`
    pub traps: bool,
    /// `enable_snmp_vrrp`: KEEPALIVED-MIB, its VRRP part.
    pub vrrp: bool,
    /// `enable_snmp_rfcv2`: RFC 2787.
    pub rfcv2: bool,
    /// `enable_snmp_rfcv3`: RFC 6527.
    pub rfcv3: bool,
    /// `enable_snmp_checker`: KEEPALIVED-MIB, its LVS part.
    pub checker: bool,
    /// `snmp_vs_stats_update_interval`: age of the numbers of virtual servers, at most.
    pub virtual_servers: Duration,
    /// `snmp_rs_stats_update_interval`: the same of real servers.
    pub real_servers: Duration,
}

impl Default for Snmp {
    fn default() -> Self {
        Snmp {
            socket: None,
            traps: false,
            vrrp: false,
            rfcv2: false,
            rfcv3: false,
            checker: false,
            virtual_servers: Duration::from_secs(5),
            real_servers: Duration::from_secs(5),
        }
    }
}

/// D-Bus.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DBus {
    /// `enable_dbus`
    pub enabled: bool,
    /// `dbus_service_name`
    pub service_name: Option<String>,
    /// `dbus_no_interface_name`: path element of instances without interface.
    pub no_interface_name: Option<String>,
}

/// Packet filters the daemon sets up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Filters {
    /// `vrrp_iptables`: chains for input and output.
    pub iptables: Option<(String, String)>,
    /// `vrrp_ipsets`: names of sets; empty for none.
    pub ipsets: Option<Vec<String>>,
    /// `nftables`: table.
    pub table: Option<String>,
    /// `nftables_priority`
    pub priority: i32,
    /// `nftables_ifindex`: match numbers of interfaces, not names.
    pub by_index: bool,
    /// `nftables_counters`
    pub counters: bool,
    /// `nftables_ipvs`: table that marks packets to groups of virtual servers.
    pub ipvs_table: Option<String>,
    /// `nftables_ipvs_priority`
    pub ipvs_priority: i32,
    /// `nftables_ipvs_start_fwmark`: first mark of its own.
    pub ipvs_first_mark: u32,
}

impl Default for Filters {
    fn default() -> Self {
        Filters {
            iptables: None,
            ipsets: None,
            table: None,
            priority: -1,
            by_index: false,
            counters: false,
            ipvs_table: None,
            ipvs_priority: -1,
            ipvs_first_mark: 1000,
        }
    }
}

/// A socket's receive buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Buffer {
    /// Bytes; `None` for the usual.
    pub bytes: Option<u32>,
    /// `SO_RCVBUFFORCE`: above the system's limit.
    pub force: bool,
}

/// Receive buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Buffers {
    /// `vrrp_netlink_cmd_rcv_bufs`
    pub vrrp_commands: Buffer,
    /// `vrrp_netlink_monitor_rcv_bufs`
    pub vrrp_monitor: Buffer,
    /// `process_monitor_rcv_bufs`
    pub process_monitor: Buffer,
    /// `lvs_netlink_cmd_rcv_bufs`
    pub lvs_commands: Buffer,
    /// `lvs_netlink_monitor_rcv_bufs`
    pub lvs_monitor: Buffer,
    /// `vrrp_rx_bufs_policy`: sockets of advertisements.
    pub adverts: Option<AdvertBuffer>,
    /// `vrrp_rx_bufs_multiplier`: advertisements there is room for.
    pub adverts_multiplier: u32,
}

impl Default for Buffers {
    fn default() -> Self {
        let usual = Buffer::default();
        Buffers {
            vrrp_commands: usual,
            vrrp_monitor: usual,
            process_monitor: usual,
            lvs_commands: usual,
            lvs_monitor: usual,
            adverts: None,
            adverts_multiplier: 3,
        }
    }
}

/// Room for one advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum AdvertBuffer {
    /// The interface's MTU.
    Mtu,
    /// What an advertisement needs.
    Advert,
    /// So many bytes in all.
    Bytes(u32),
}

/// Names that `ps` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProcessNames {
    /// `process_names`: a name for each part.
    pub enabled: bool,
    /// `process_name`
    pub parent: Option<String>,
    /// `vrrp_process_name`
    pub vrrp: Option<String>,
    /// `checker_process_name`
    pub checker: Option<String>,
    /// `bfd_process_name`
    pub bfd: Option<String>,
}

/// How a reload goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reload {
    /// `reload_check_config`: check first, and write complaints there.
    pub check_log: Option<String>,
    /// `reload_time_file`: holds when to reload.
    pub time_file: Option<String>,
    /// `reload_repeat`: every day at that time.
    pub repeat: bool,
    /// `reload_file`: there while the configuration is read; empty for beside the pid file.
    pub file: Option<String>,
    /// `config_save_dir`: copies are kept there.
    pub save_dir: Option<String>,
    /// `tmp_config_directory`
    pub temporary_dir: Option<String>,
}

/// Dumps on signals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dumps {
    /// `data_use_instance`: the instance is part of the file's name.
    pub use_instance: bool,
    /// `json_version`, 1 or 2.
    pub json_version: u8,
    /// `state_dump_file`
    pub state_file: Option<String>,
    /// `stats_dump_file`
    pub stats_file: Option<String>,
    /// `json_dump_file`
    pub json_file: Option<String>,
}

impl Default for Dumps {
    fn default() -> Self {
        Dumps {
            use_instance: false,
            json_version: 1,
            state_file: None,
            stats_file: None,
            json_file: None,
        }
    }
}

/// `lvs_sync_daemon`: connections are copied to the other director.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SyncDaemon {
    /// Where they are sent and heard.
    pub interface: String,
    /// `inst`: the instance that decides who sends; without one both directions run.
    pub instance: Option<String>,
    /// `id`; the VRID or vhid of the instance, else 0.
    pub id: Option<u8>,
    /// `maxlen`: largest datagram.
    pub max_length: Option<u16>,
    /// `port`
    pub port: Option<u16>,
    /// `ttl`
    pub ttl: Option<u8>,
    /// `group`
    pub group: Option<IpAddr>,
}

/// Where and under which name the daemon runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// `net_namespace`
    pub namespace: Option<String>,
    /// `net_namespace_ipvs`: another for IPVS; empty for the one the daemon was started in.
    pub ipvs_namespace: Option<String>,
    /// `namespace_with_ipsets`
    pub namespace_with_ipsets: bool,
    /// `use_pid_dir`
    pub use_pid_dir: bool,
    /// `instance`: name of this daemon among several.
    pub instance: Option<String>,
    /// `iproute_usr_dir`: names of tables and the like as the distribution ships them.
    pub iproute_usr_dir: Option<String>,
    /// `iproute_etc_dir`: those of this host.
    pub iproute_etc_dir: Option<String>,
}

/// CPUs and limits of the engines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// `vrrp_cpu_affinity`; empty for all.
    pub vrrp_cpus: Vec<u32>,
    /// `checker_cpu_affinity`
    pub checker_cpus: Vec<u32>,
    /// `bfd_cpu_affinity`
    pub bfd_cpus: Vec<u32>,
    /// `vrrp_rlimit_rttime`: CPU time without a system call under real-time scheduling.
    pub vrrp_rttime: Option<Duration>,
    /// `checker_rlimit_rttime`
    pub checker_rttime: Option<Duration>,
    /// `bfd_rlimit_rttime`
    pub bfd_rttime: Option<Duration>,
    /// `max_auto_priority`: real-time priority may rise to this; −1 for never.
    pub max_auto_priority: Option<i8>,
    /// `min_auto_priority_delay`: how late a wake-up must be for that.
    pub min_auto_priority_delay: Option<Duration>,
}
