//! What parts of the model are called in a file.

/// Fields by the part of the model they are in, which is its type's field, list or variant; the empty part
/// is any. A word in parentheses is that of a part which is no block in a file: its own fields are named
/// without it.
const WORDS: &[(&str, &[(&str, &str)])] = &[
    (
        "",
        &[
            ("bfd_instances", "bfd_instance"),
            ("carp_instances", "carp_instance"),
            ("excluded_vips", "virtual_ipaddress_excluded"),
            ("garp", "(garp_master_delay)"),
            ("garp_extra", "garp_extra_if"),
            ("garp_groups", "garp_group"),
            ("global", "global_defs"),
            ("group", "group"),
            ("hmac", "auth_hmac"),
            ("ipvlan", "use_ipvlan"),
            ("link_delays", "interface_up_down_delays"),
            ("linkbeats", "linkbeat_interfaces"),
            ("notify", "(notify)"),
            ("real_servers", "real_server"),
            ("static_addresses", "static_ipaddress"),
            ("sync_groups", "vrrp_sync_group"),
            ("tls", "SSL"),
            ("track_bfds", "track_bfd"),
            ("track_files", "track_file"),
            ("track_groups", "track_group"),
            ("track_interfaces", "track_interface"),
            ("track_processes", "track_process"),
            ("track_scripts", "track_script"),
            ("vips", "virtual_ipaddress"),
            ("virtual_server_groups", "virtual_server_group"),
            ("virtual_servers", "virtual_server"),
            ("vmac", "use_vmac"),
            ("vrrp_instances", "vrrp_instance"),
            ("vrrp_scripts", "vrrp_script"),
        ],
    ),
    ("(top)", &[("track_processes", "vrrp_track_process")]),
    (
        "global",
        &[
            ("advertiser_scheduling", "(vrrp_priority)"),
            ("balancer_scheduling", "(checker_priority)"),
            ("bfd_scheduling", "(bfd_priority)"),
            ("buffers", "(vrrp_rx_bufs_policy)"),
            ("carp", "(carp_allow)"),
            ("dbus", "(enable_dbus)"),
            ("delay_after_boot", "vrrp_delay_after_boot"),
            ("dumps", "(state_dump_file)"),
            ("fifos", "(notify_fifo)"),
            ("filters", "(nftables)"),
            ("garp_interval", "vrrp_garp_interval"),
            ("gna_interval", "vrrp_gna_interval"),
            ("limits", "(vrrp_cpu_affinity)"),
            ("mail", "(notification_email)"),
            ("placement", "(net_namespace)"),
            ("process_names", "(process_names)"),
            ("reload", "(reload_file)"),
            ("script_security", "enable_script_security"),
            ("snmp", "(enable_snmp_vrrp)"),
            ("sync_daemon", "lvs_sync_daemon"),
        ],
    ),
    (
        "advertiser_scheduling",
        &[("nice", "vrrp_priority"), ("realtime", "vrrp_rt_priority"), ("no_swap", "vrrp_no_swap")],
    ),
    (
        "balancer_scheduling",
        &[
            ("nice", "checker_priority"),
            ("realtime", "checker_rt_priority"),
            ("no_swap", "checker_no_swap"),
        ],
    ),
    (
        "bfd_scheduling",
        &[("nice", "bfd_priority"), ("realtime", "bfd_rt_priority"), ("no_swap", "bfd_no_swap")],
    ),
    (
        "buffers",
        &[
            ("adverts", "vrrp_rx_bufs_policy"),
            ("adverts_multiplier", "vrrp_rx_bufs_multiplier"),
            ("lvs_commands", "lvs_netlink_cmd_rcv_bufs"),
            ("lvs_monitor", "lvs_netlink_monitor_rcv_bufs"),
            ("process_monitor", "process_monitor_rcv_bufs"),
            ("vrrp_commands", "vrrp_netlink_cmd_rcv_bufs"),
            ("vrrp_monitor", "vrrp_netlink_monitor_rcv_bufs"),
        ],
    ),
    ("carp", &[("allow", "carp_allow"), ("log", "carp_log"), ("preempt", "carp_preempt")]),
    (
        "dbus",
        &[
            ("enabled", "enable_dbus"),
            ("no_interface_name", "dbus_no_interface_name"),
            ("service_name", "dbus_service_name"),
        ],
    ),
    (
        "dumps",
        &[
            ("json_file", "json_dump_file"),
            ("state_file", "state_dump_file"),
            ("stats_file", "stats_dump_file"),
            ("use_instance", "data_use_instance"),
        ],
    ),
    (
        "fifos",
        &[
            ("all", "notify_fifo"),
            ("lvs", "lvs_notify_fifo"),
            ("states_on_reload", "fifo_write_vrrp_states_on_reload"),
            ("vrrp", "vrrp_notify_fifo"),
        ],
    ),
    (
        "filters",
        &[
            ("by_index", "nftables_ifindex"),
            ("counters", "nftables_counters"),
            ("ipsets", "vrrp_ipsets"),
            ("iptables", "vrrp_iptables"),
            ("ipvs_first_mark", "nftables_ipvs_start_fwmark"),
            ("ipvs_priority", "nftables_ipvs_priority"),
            ("ipvs_table", "nftables_ipvs"),
            ("priority", "nftables_priority"),
            ("table", "nftables"),
        ],
    ),
    (
        "limits",
        &[
            ("bfd_cpus", "bfd_cpu_affinity"),
            ("bfd_rttime", "bfd_rlimit_rttime"),
            ("checker_cpus", "checker_cpu_affinity"),
            ("checker_rttime", "checker_rlimit_rttime"),
            ("vrrp_cpus", "vrrp_cpu_affinity"),
            ("vrrp_rttime", "vrrp_rlimit_rttime"),
        ],
    ),
    ("lvs_timeouts", &[("tcp_fin", "tcpfin")]),
    (
        "mail",
        &[
            ("connect_timeout", "smtp_connect_timeout"),
            ("from", "notification_email_from"),
            ("helo_name", "smtp_helo_name"),
            ("no_checkers", "no_checker_emails"),
            ("no_faults", "no_email_faults"),
            ("recipients", "notification_email"),
            ("server", "smtp_server"),
        ],
    ),
    ("placement", &[("ipvs_namespace", "net_namespace_ipvs"), ("namespace", "net_namespace")]),
    (
        "process_names",
        &[
            ("bfd", "bfd_process_name"),
            ("checker", "checker_process_name"),
            ("enabled", "process_names"),
            ("parent", "process_name"),
            ("vrrp", "vrrp_process_name"),
        ],
    ),
    (
        "reload",
        &[
            ("check_log", "reload_check_config"),
            ("file", "reload_file"),
            ("repeat", "reload_repeat"),
            ("save_dir", "config_save_dir"),
            ("temporary_dir", "tmp_config_directory"),
            ("time_file", "reload_time_file"),
        ],
    ),
    (
        "snmp",
        &[
            ("checker", "enable_snmp_checker"),
            ("real_servers", "snmp_rs_stats_update_interval"),
            ("rfcv2", "enable_snmp_rfcv2"),
            ("rfcv3", "enable_snmp_rfcv3"),
            ("socket", "snmp_socket"),
            ("traps", "enable_traps"),
            ("virtual_servers", "snmp_vs_stats_update_interval"),
            ("vrrp", "enable_snmp_vrrp"),
        ],
    ),
    ("sync_daemon", &[("instance", "inst"), ("max_length", "maxlen")]),
    ("vrrp_instances", INSTANCE),
    ("carp_instances", INSTANCE),
    ("Multicast", &[("group", "mcast_dst_ip")]),
    (
        "Unicast",
        &[("check_source", "check_unicast_src"), ("peers", "unicast_peer"), ("ttl", "unicast_ttl")],
    ),
    (
        "notify",
        &[
            ("any", "notify"),
            ("backup", "notify_backup"),
            ("deleted", "notify_deleted"),
            ("fault", "notify_fault"),
            ("master", "notify_master"),
            ("master_rx_lower_pri", "notify_master_rx_lower_pri"),
            ("report_deleted", "notify_deleted"),
            ("stop", "notify_stop"),
        ],
    ),
    (
        "garp",
        &[
            ("delay", "garp_master_delay"),
            ("lower_prio_delay", "garp_lower_prio_delay"),
            ("lower_prio_repeat", "garp_lower_prio_repeat"),
            ("refresh", "garp_master_refresh"),
            ("refresh_repeat", "garp_master_refresh_repeat"),
            ("repeat", "garp_master_repeat"),
        ],
    ),
    (
        "hmac",
        &[
            ("active", "active_key"),
            ("keys", "key"),
            ("replay", "anti_replay"),
            ("window", "time_window"),
        ],
    ),
    ("vmac", &[("netlink_notify", "netlink_notify_msg")]),
    ("vips", ADDRESS),
    ("excluded_vips", ADDRESS),
    ("static_addresses", &[("address", "(address)")]),
    ("address", ADDRESS),
    (
        "flags",
        &[
            ("detect_duplicates", "-nodad"),
            ("manage_temporary", "mngtmpaddr"),
            ("no_prefix_route", "noprefixroute"),
            ("preferred", "preferred_lft"),
            ("vmac", "use_vmac"),
        ],
    ),
    ("routes", ROUTE),
    ("static_routes", ROUTE),
    ("next_hops", ROUTE),
    (
        "metrics",
        &[("congestion_control", "congctl"), ("ecn", "features"), ("hop_limit", "hoplimit")],
    ),
    ("rules", RULE),
    ("static_rules", RULE),
    ("sync_groups", &[("members", "group"), ("tracking_weight", "sync_group_tracking_weight")]),
    ("track_groups", &[("members", "group")]),
    ("track_files", &[("path", "file"), ("init", "init_file")]),
    ("track_processes", &[("arguments", "param_match")]),
    ("bfd_instances", &[("neighbor", "neighbor_ip"), ("source", "source_ip")]),
    (
        "virtual_servers",
        &[
            ("checkers", "(real_server)"),
            ("family", "ip_family"),
            ("flag_1", "flag-1"),
            ("flag_2", "flag-2"),
            ("flag_3", "flag-3"),
            ("method", "lb_kind"),
            ("one_packet", "ops"),
            ("scheduler", "lb_algo"),
        ],
    ),
    ("sorry_server", &[("inhibit", "sorry_server_inhibit"), ("method", "sorry_server_lvs_method")]),
    (
        "real_servers",
        &[
            ("checkers", "(real_server)"),
            ("lower_threshold", "lthreshold"),
            ("method", "lvs_method"),
            ("upper_threshold", "uthreshold"),
        ],
    ),
    ("checkers", &[("kind", "(checker)")]),
    (
        "connection",
        &[
            ("bind", "bindto"),
            ("interface", "bind_if"),
            ("timeout", "connect_timeout"),
            ("to", "connect_ip"),
        ],
    ),
    ("Tcp", &[("connection", "(connect_ip)")]),
    ("Ping", &[("connection", "(connect_ip)")]),
    (
        "Http",
        &[
            ("connection", "(connect_ip)"),
            ("tls", "enable_sni"),
            ("urls", "url"),
            ("version", "http_protocol"),
        ],
    ),
    ("urls", &[("status_codes", "status_code"), ("tls_host", "virtualhost")]),
    ("Smtp", &[("connection", "(connect_ip)")]),
    (
        "Udp",
        &[
            ("connection", "(connect_ip)"),
            ("max_length", "max_reply_length"),
            ("min_length", "min_reply_length"),
            ("reply", "require_reply"),
        ],
    ),
    ("Dns", &[("connection", "(connect_ip)"), ("kind", "type")]),
    ("File", &[("file", "track_file")]),
    ("Misc", &[("dynamic", "misc_dynamic"), ("script", "misc_path"), ("timeout", "misc_timeout")]),
];

const INSTANCE: &[(&str, &str)] = &[
    ("header_key", "auth_pass"),
    ("key", "pass"),
    ("nodes", "carpnodes"),
    ("password", "auth_pass"),
    ("peers", "(unicast_peer)"),
    ("routes", "virtual_routes"),
    ("rules", "virtual_rules"),
    ("source", "mcast_src_ip"),
    ("strict", "strict_mode"),
    ("sync_daemon_interface", "lvs_sync_daemon_interface"),
    ("track_source", "track_src_ip"),
    ("vmac_addresses", "use_vmac_addr"),
    ("vrid", "virtual_router_id"),
];

const ADDRESS: &[(&str, &str)] = &[("flags", "(flags)"), ("interface", "dev")];

const ROUTE: &[(&str, &str)] = &[
    ("destination", "to"),
    ("gateway", "via"),
    ("interface", "dev"),
    ("kind", "type"),
    ("metrics", "(metrics)"),
    ("next_hops", "nexthop"),
    ("preference", "pref"),
    ("source", "src"),
    ("ttl_propagate", "ttl-propagate"),
];

const RULE: &[(&str, &str)] = &[
    ("destination_ports", "dport"),
    ("input", "iif"),
    ("invert", "not"),
    ("ip_protocol", "ipproto"),
    ("output", "oif"),
    ("source_ports", "sport"),
    ("suppress_group", "suppress_ifgroup"),
    ("suppress_prefix_length", "suppress_prefixlength"),
    ("tunnel_id", "tunnel-id"),
    ("users", "uidrange"),
];

/// How a field is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word<'f> {
    /// By this word.
    Shown(&'f str),
    /// Not at all, and by this word if all of it changes.
    Through(&'f str),
}

/// The word of a field in a part of the model.
pub fn word<'f>(part: &str, field: &'f str) -> Word<'f> {
    let find = |part: &str| {
        let (_, fields) = WORDS.iter().find(|(known, _)| *known == part)?;
        fields.iter().find(|(known, _)| *known == field).map(|(_, word)| *word)
    };
    let word = find(part).or_else(|| find("")).unwrap_or(field);
    match word.strip_prefix('(').and_then(|word| word.strip_suffix(')')) {
        Some(word) => Word::Through(word),
        None => Word::Shown(word),
    }
}

/// The word of a list or table at the top.
pub fn top(field: &str) -> &str {
    match word("(top)", field) {
        Word::Shown(word) | Word::Through(word) => word,
    }
}

/// The keyword of a kind of checker.
pub fn checker(variant: &str, is_tls: bool) -> &'static str {
    match variant {
        "Tcp" => "TCP_CHECK",
        "Http" if is_tls => "SSL_GET",
        "Http" => "HTTP_GET",
        "Misc" => "MISC_CHECK",
        "Smtp" => "SMTP_CHECK",
        "Ping" => "PING_CHECK",
        "Udp" => "UDP_CHECK",
        "Dns" => "DNS_CHECK",
        "File" => "FILE_CHECK",
        _ => "BFD_CHECK",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lb_config::{AnyInterface, Options};
    use serde_json::Value;

    use super::*;

    /// What has no keyword of its own in a file: what stands first on a line, what keywords are combined to.
    const NO_KEYWORDS: [&str; 34] = [
        "action",
        "address",
        "all",
        "argv",
        "bytes",
        "checksum",
        "down",
        "entries",
        "family",
        "force",
        "host",
        "id",
        "interface",
        "interval",
        "length",
        "locked",
        "mac",
        "mark",
        "method",
        "metrics",
        "name",
        "netlink_notify_msg",
        "overwrite",
        "owner",
        "path",
        "placement",
        "port",
        "prefix",
        "reverse",
        "secret",
        "table",
        "ttl",
        "up",
        "value",
    ];

    /// Every word a model is shown by.
    fn words(part: &str, value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| words(part, value, found)),
            Value::Object(fields) => {
                for (field, value) in fields {
                    let is_variant = field.starts_with(|c: char| c.is_ascii_uppercase());
                    if !is_variant && !matches!(&**field, "secs" | "nanos" | "gid" | "uid") {
                        let (Word::Shown(word) | Word::Through(word)) = word(part, field);
                        found.insert(word.to_owned());
                    }
                    words(field, value, found);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn every_field_is_called_what_a_file_calls_it() {
        let text = include_str!("../../../tests/everything.conf");
        let options = Options { only_read: true, ..Options::default() };
        let loaded = lb_config::parse_str("everything.conf", text, &options, &AnyInterface);
        let model = loaded.model.as_ref().unwrap_or_else(|| panic!("{}", loaded.render(false)));
        let mut found = BTreeSet::new();
        words("(top)", &serde_json::to_value(model).unwrap(), &mut found);
        let tables = lb_config::tables();
        let keywords: BTreeSet<&str> = tables
            .iter()
            .flat_map(|block| &block.keywords)
            .flat_map(|keyword| {
                std::iter::once(keyword.name).chain(keyword.aliases.iter().copied())
            })
            .collect();
        let strange: Vec<_> = found
            .iter()
            .filter(|word| !keywords.contains(&***word) && !NO_KEYWORDS.contains(&&***word))
            .collect();
        assert_eq!(strange, [""; 0]);
    }
}
