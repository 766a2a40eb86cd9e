//! What keepalived makes of a keyword without its words, and of one that is given again, where that is not
//! the rule: it exits at once for missing words, and takes the last of several lines.
//!
//! Found by running it; `tests/beside.rs` compares every keyword.

use crate::diagnostic::Class;

/// A block and keywords in it.
type Keywords = (&'static str, &'static [&'static str]);

/// Without their words they are complained of and ignored.
const IGNORED: &[Keywords] = &[
    ("", &["instance", "net_namespace"]),
    ("SSL", &["ca", "certificate", "key", "password"]),
    (
        "global_defs",
        &[
            "bfd_cpu_affinity",
            "bfd_priority",
            "bfd_rt_priority",
            "checker_cpu_affinity",
            "checker_priority",
            "checker_rt_priority",
            "dbus_service_name",
            "default_interface",
            "lvs_netlink_cmd_rcv_bufs",
            "lvs_netlink_monitor_rcv_bufs",
            "lvs_notify_fifo",
            "lvs_notify_fifo_script",
            "lvs_sync_daemon",
            "lvs_timeouts",
            "min_auto_priority_delay",
            "notification_email_from",
            "notify_fifo",
            "notify_fifo_script",
            "process_monitor_rcv_bufs",
            "reload_time_file",
            "router_id",
            "script_user",
            "shutdown_script_timeout",
            "snmp_socket",
            "startup_script_timeout",
            "tmp_config_directory",
            "vrrp_cpu_affinity",
            "vrrp_garp_extra_if",
            "vrrp_netlink_cmd_rcv_bufs",
            "vrrp_netlink_monitor_rcv_bufs",
            "vrrp_notify_fifo",
            "vrrp_notify_fifo_script",
            "vrrp_priority",
            "vrrp_rt_priority",
            "vrrp_rx_bufs_multiplier",
            "vrrp_rx_bufs_policy",
        ],
    ),
    ("lvs_sync_daemon", &["group", "id", "maxlen", "port", "ttl"]),
    ("lvs_timeouts", &["tcp", "tcpfin", "udp"]),
    ("track_file", &["file", "weight"]),
    ("virtual_server", &["snmp_name", "virtualhost"]),
    ("real_server", &["snmp_name"]),
    ("BFD_CHECK", &["name"]),
    ("FILE_CHECK", &["weight"]),
    ("HTTP_GET", &["http_protocol", "virtualhost"]),
    ("SSL_GET", &["http_protocol", "virtualhost"]),
    ("url", &["virtualhost"]),
    ("MISC_CHECK", &["misc_path", "user"]),
    ("SMTP_CHECK", &["helo_name"]),
    ("vrrp_instance", &["garp_extra_if", "kernel_rx_buf_size"]),
    ("vrrp_script", &["script"]),
    ("vrrp_track_process", &["weight"]),
    ("static_ipaddress", ADDRESS),
    ("virtual_ipaddress", ADDRESS),
];

/// Options of an address, which is dropped then.
const ADDRESS: &[&str] =
    &["dev", "scope", "label", "broadcast", "peer", "preferred_lft", "track_group"];

/// The same, and it says nothing of it.
const UNHEARD: &[Keywords] =
    &[("global_defs", &["smtp_helo_name"]), ("url", &["regex", "status_code"])];

/// The first of several counts; commands see to that themselves.
const FIRST_COUNTS: &[Keywords] = &[
    ("", &["net_namespace_ipvs"]),
    (
        "global_defs",
        &[
            "lvs_sync_daemon",
            "nftables",
            "nftables_ipvs",
            "snmp_socket",
            "tmp_config_directory",
            "vmac_addr_prefix",
            "vmac_prefix",
        ],
    ),
    ("track_file", &["file", "weight"]),
    ("track_group", &["group"]),
    ("BFD_CHECK", &["name"]),
    ("DNS_CHECK", &["name"]),
    ("vrrp_track_process", &["process", "weight"]),
];

/// The first of several counts, and the second ends the block that it is in.
const ENDS: &[Keywords] = &[("vrrp_sync_group", &["group"])];

/// The last of several counts, with a complaint.
const REPLACED: &[Keywords] = &[("SSL", &["ca", "certificate", "key", "password"])];

/// Which of several lines with one keyword counts, and is complained of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// The first.
    Ignored,
    /// The first; the block ends with the second.
    Ends,
    /// The last.
    Replaces,
}

fn is_in(list: &[Keywords], block: &str, keyword: &str) -> bool {
    list.iter().any(|(of, keywords)| *of == block && keywords.contains(&keyword))
}

/// What keepalived calls a keyword without its words if it goes on then; `None` where it exits.
pub(super) fn without_words(block: &str, keyword: &str) -> Option<Class> {
    if is_in(IGNORED, block, keyword) {
        return Some(Class::General);
    }
    is_in(UNHEARD, block, keyword).then_some(Class::Note)
}

/// What becomes of a keyword that is given again; `None` where the last counts without a word.
pub(super) fn again(block: &str, keyword: &str) -> Option<Again> {
    if is_in(FIRST_COUNTS, block, keyword) {
        return Some(Again::Ignored);
    }
    if is_in(ENDS, block, keyword) {
        return Some(Again::Ends);
    }
    is_in(REPLACED, block, keyword).then_some(Again::Replaces)
}
