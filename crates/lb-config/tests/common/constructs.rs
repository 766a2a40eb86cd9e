//! One construct at a time, with the exit status that keepalived's `-t` has for it.

const INSTANCE: [&str; 10] = [
    "vrrp_instance VI_1 {",
    "  state BACKUP",
    "  interface eth0",
    "  virtual_router_id 51",
    "  priority 100",
    "  advert_int 1",
    "  virtual_ipaddress {",
    "    10.0.0.1/24",
    "  }",
    "}",
];

const SERVER: [&str; 11] = [
    "virtual_server 10.0.0.1 80 {",
    "  lb_algo rr",
    "  lb_kind NAT",
    "  protocol TCP",
    "  real_server 10.0.0.2 80 {",
    "    weight 1",
    "    TCP_CHECK {",
    "      connect_timeout 3",
    "    }",
    "  }",
    "}",
];

/// A script and a user for it, before anything else.
const SCRIPT: &str = "global_defs {\nenable_script_security\nscript_user root\n}\n\
    vrrp_script chk {\nscript /bin/true\n}\n";

/// A name, the exit status, and what stands in place of a line of the base, counted from 1.
type Edit = (&'static str, u8, usize, &'static str);

const OF_INSTANCE: &[Edit] = &[
    ("no space before {", 0, 1, "vrrp_instance VI_1{"),
    ("{ on next line", 0, 1, "vrrp_instance VI_1\n{"),
    (
        "} } same line",
        0,
        9,
        "  } }\nvrrp_instance VI_2 {\ninterface eth0\nvirtual_router_id 2\nvirtual_ipaddress { 10.0.0.2 }",
    ),
    ("kw after {", 0, 1, "vrrp_instance VI_1 { dont_track_primary"),
    ("glued comment 100#x", 0, 5, "  priority 100#x"),
    ("glued ! comment", 0, 5, "  priority 100!x"),
    ("; comment", 5, 6, "  ;advert_int 1"),
    ("// comment", 5, 6, "  // advert_int 1"),
    ("trailing // comment", 0, 6, "  advert_int 1 // often"),
    ("trailing ;", 5, 6, "  advert_int 1;"),
    ("NBSP indent", 5, 6, "\u{a0} advert_int 1"),
    ("uppercase kw", 5, 6, "  ADVERT_INT 1"),
    ("lowercase state", 5, 2, "  state master"),
    ("state SLAVE", 5, 2, "  state SLAVE"),
    ("one-line auth block", 5, 6, "  authentication { auth_type PASS auth_pass x }"),
    ("auth_type pass", 5, 6, "  authentication {\n    auth_type pass\n    auth_pass x\n  }"),
    ("auth_type MD5", 5, 6, "  authentication {\n    auth_type MD5\n    auth_pass x\n  }"),
    ("auth empty", 0, 6, "  authentication {\n  }"),
    ("auth_pass no value", 2, 6, "  authentication {\n    auth_type PASS\n    auth_pass\n  }"),
    ("two kw on one line", 0, 5, "  priority 100 advert_int 1"),
    ("extra token", 0, 5, "  priority 100 more"),
    ("advert_int 1s", 5, 6, "  advert_int 1s"),
    ("advert_int 0.5 v2", 5, 6, "  advert_int 0.5"),
    ("priority 255", 0, 5, "  priority 255"),
    ("priority 256", 5, 5, "  priority 256"),
    ("priority 0", 5, 5, "  priority 0"),
    ("vrid 0", 5, 4, "  virtual_router_id 0"),
    ("vrid 256", 5, 4, "  virtual_router_id 256"),
    ("vrid missing", 5, 4, ""),
    ("interface missing", 5, 3, ""),
    ("interface kw no value", 2, 3, "  interface"),
    (
        "dup instance name",
        5,
        10,
        "}\nvrrp_instance VI_1 {\ninterface eth0\nvirtual_router_id 2\nvirtual_ipaddress {\n10.0.0.2\n}\n}",
    ),
    (
        "dup vrid same if",
        5,
        10,
        "}\nvrrp_instance VI_2 {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {\n10.0.0.2\n}\n}",
    ),
    ("dup global_defs", 0, 10, "}\nglobal_defs {\nrouter_id a\n}\nglobal_defs {\nrouter_id b\n}"),
    ("dup keyword", 0, 5, "  priority 100\n  priority 101"),
    ("dup VIP", 0, 8, "    10.0.0.1/24\n    10.0.0.1/24"),
    ("missing final brace", 5, 10, ""),
    ("extra final brace", 5, 10, "}\n}"),
    (
        "missing brace mid",
        5,
        9,
        "\n}\nvrrp_instance VI_2 {\ninterface eth0\nvirtual_router_id 2\nvirtual_ipaddress {\n10.0.0.2\n}",
    ),
    ("track undefined", 5, 6, "  track_script {\n    nope\n  }"),
    ("vip comma", 5, 8, "    10.0.0.1,"),
    ("vip two on line", 5, 8, "    10.0.0.1 10.0.0.2"),
    (
        "one-line list 2 addrs",
        5,
        7,
        "  virtual_ipaddress { 10.0.0.1 10.0.0.2 }\n  virtual_ipaddress_excluded {",
    ),
    (
        "one-line list block",
        0,
        7,
        "  virtual_ipaddress { 10.0.0.1 }\n  virtual_ipaddress_excluded {",
    ),
    ("vip full opts", 0, 8, "    10.0.0.1/24 brd 10.0.0.255 dev eth0 scope global label eth0:1"),
    ("vip bad mask", 5, 8, "    10.0.0.1/33"),
    ("vip dotted mask", 5, 8, "    10.0.0.1/255.255.255.0"),
    ("vip leading zeros", 5, 8, "    010.000.000.001"),
    ("vip bad", 5, 8, "    10.0.0.300"),
    ("vip empty block", 5, 8, ""),
    ("vip mix v4 v6", 5, 8, "    10.0.0.1\n    2001:db8::1"),
    ("backslash continuation", 5, 6, "  advert_int\\\n1"),
    ("continuation w trailing space", 5, 6, "  advert_int\\ \n1"),
    ("unknown block in instance", 5, 6, "  foo {\n    a\n  }"),
    ("unknown kw w nested known", 5, 7, "  virtual_ipaddres {"),
    ("nopreempt w MASTER", 5, 2, "  state MASTER\n  nopreempt"),
    ("nopreempt w arg", 0, 6, "  nopreempt off"),
    ("$VAR defined", 0, 1, "$IF=eth1\nvrrp_instance VI_1 {\n  track_interface {\n    $IF\n  }"),
];

const OF_SERVER: &[Edit] = &[
    ("lb_kind lower", 5, 3, "  lb_kind dr"),
    ("lb_algo upper", 5, 2, "  lb_algo RR"),
    ("protocol lower", 0, 4, "  protocol tcp"),
    ("nat_mask", 5, 4, "  nat_mask 255.255.255.0\n  protocol TCP"),
    ("vs no port", 5, 1, "virtual_server 10.0.0.1 {"),
    ("vs ip:port", 5, 1, "virtual_server 10.0.0.1:80 {"),
    ("vs port name", 5, 1, "virtual_server 10.0.0.1 http {"),
    ("DR port mismatch", 5, 3, "  lb_kind DR\n  real_server 10.0.0.3 8080 {\n  }"),
    ("rs dup", 5, 10, "  }\n  real_server 10.0.0.2 80 {\n  }"),
    ("persistence_timeout 0", 5, 4, "  persistence_timeout 0\n  protocol TCP"),
    ("nb_get_retry in TCP", 5, 8, "      nb_get_retry 3"),
    ("url one line", 0, 9, "    }\n    HTTP_GET {\n      url { path / }\n    }"),
    (
        "url bad digest",
        5,
        9,
        "    }\n    HTTP_GET {\n      url {\n        path /\n        digest abc\n      }\n    }",
    ),
];

/// A name, the exit status, and what stands before the instance.
const BEFORE_INSTANCE: &[(&str, u8, &str)] = &[
    (
        "}}",
        0,
        "vrrp_instance VI_0 {\ninterface eth0\nvirtual_router_id 2\nvirtual_ipaddress { 10.0.0.2\n}}\n",
    ),
    ("BOM", 5, "\u{feff}vrrp_instance VI_0 {\n}\n"),
    ("BOM + comment", 5, "\u{feff}# hello\n"),
    ("unknown top block", 5, "foo {\na\n}\n"),
    ("text before config", 5, "hello\n"),
    ("@cond no -i", 5, "@other vrrp_script x {\n}\n"),
    ("@^cond", 0, "@^other global_defs { router_id x }\n"),
    ("${VAR} defined spaces", 5, "$IF = eth0\n"),
    ("include missing", 0, "include /nonexistent/*.conf\n"),
    ("include missing plain", 0, "include foo.conf\n"),
    ("only comments", 0, "# one\n! two\n\n"),
];

/// The same with a script defined, and what stands in the instance.
const WITH_SCRIPT: &[(&str, u8, &str)] = &[
    ("track weight inline", 0, "track_script {\nchk weight 5\n}"),
    ("single quotes", 0, "notify_master '/bin/true'"),
    ("unquoted script w args", 0, "notify_master \"/bin/true a b\""),
    ("notify unquoted args", 0, "notify_master /bin/true root"),
    ("script before global", 0, ""),
    ("unicode quotes", 0, "track_script {\nchk\n}"),
];

const WHOLE: &[(&str, u8, &str)] = &[
    ("whole instance one line", 5, "vrrp_instance VI_1 { interface eth0 virtual_router_id 51 }\n"),
    ("empty file", 0, ""),
];
/// What counts once or has its order, and commands of several words. The instance is V.
const IN_INSTANCE: &[(&str, u8, &str)] = &[
    ("list without a brace", 0, "track_file"),
    ("multicast beside unicast", 5, "unicast_peer {\n10.0.0.9\n}\nmcast_dst_ip 224.0.0.19"),
    ("another address after native_ipv6", 5, "native_ipv6\nvirtual_ipaddress {\n10.0.0.2\n}"),
    ("strict and unicast", 0, "strict_mode\nunicast_peer {\n10.0.0.9\n}"),
    ("strict and a MAC", 5, "strict_mode\nuse_vmac vrrp.1 02:00:5e:00:01:07"),
    ("strict and no MAC", 0, "strict_mode\nuse_vmac vrrp.1"),
    ("strict and down_timer_adverts", 5, "strict_mode\ndown_timer_adverts 5"),
    ("no unicast peer is a fault, and a macvlan", 5, "unicast_fault_no_peer\nuse_vmac"),
    ("strict and preempt_delay", 5, "strict_mode\npreempt_delay 7"),
    ("strict and a lower priority's repeats", 5, "strict_mode\ngarp_lower_prio_repeat 7"),
    ("old_unicast_checksum of a form", 5, "unicast_peer {\n10.0.0.9\n}\nold_unicast_checksum x"),
    ("ipvlan and promote_secondaries", 5, "use_ipvlan iv 10.0.0.7/24\npromote_secondaries"),
    ("garp_extra_if without a time", 5, "garp_extra_if all"),
    ("an address without its dev", 5, "virtual_ipaddress_excluded {\n10.0.0.2 dev\n}"),
    ("notify_master twice", 5, "notify_master /bin/true\nnotify_master /bin/false"),
    ("notify_deleted twice", 5, "notify_deleted\nnotify_deleted"),
    ("notify of no user", 0, "notify_master /bin/true nosuch"),
    ("notify of no user, then another", 0, "notify /bin/true nosuch\nnotify /bin/false"),
    ("notify without a command", 0, "notify_master \"\""),
    ("notify that is missing", 0, "notify_master /nosuch"),
    ("state twice", 5, "state MASTER\nstate BACKUP"),
    ("state the other way", 0, "state BACKUP\nstate MASTER"),
    (
        "AH of a MASTER",
        5,
        "state MASTER\npriority 9\nauthentication {\nauth_type AH\nauth_pass a\n}",
    ),
    ("AH of an owner", 0, "state MASTER\nauthentication {\nauth_type AH\nauth_pass a\n}"),
    ("nopreempt of an owner", 5, "priority 255\nnopreempt"),
    ("use_vmac names", 5, "use_vmac v1\nuse_vmac v2"),
    ("use_vmac addresses", 5, "use_vmac 02:00:00:00:00:01\nuse_vmac 02:00:00:00:00:02"),
    ("use_vmac in parts", 0, "use_vmac v1\nuse_vmac"),
    ("label", 5, "virtual_ipaddress {\n10.0.0.7 label eth0:averyverylonglabel\n}"),
    ("label of 14", 0, "virtual_ipaddress {\n10.0.0.7 label eth0:eleven910\n}"),
    ("route after an option", 0, "virtual_routes {\ndev eth0 198.51.100.0/24\n}"),
    ("route with two", 0, "virtual_routes {\n198.51.100.0/24 198.51.101.0/24 dev eth0\n}"),
    ("route type after an option", 0, "virtual_routes {\ndev eth0 blackhole 198.51.100.0/24\n}"),
    ("route of options", 5, "virtual_routes {\ndev eth0 bogus\n}"),
    (
        "route with a source first",
        5,
        "virtual_routes {\nsrc 198.51.100.1 203.0.113.2/32 via 192.0.2.1\n}",
    ),
];

const IN_GLOBALS: &[(&str, u8, &str)] = &[
    ("vrrp_strict of no boolean", 0, "vrrp_strict x"),
    ("vrrp_rx_bufs_policy of two", 5, "vrrp_rx_bufs_policy advert 7"),
    ("startup_script_timeout alone", 5, "startup_script_timeout"),
    ("vrrp_notify_fifo_script alone", 5, "vrrp_notify_fifo_script"),
    ("startup_script twice", 5, "startup_script /bin/true\nstartup_script /bin/false"),
    ("startup_script of no user", 5, "startup_script /bin/true nosuch"),
    ("startup_script that is missing", 0, "startup_script /nosuch"),
    ("shutdown_script that is not executable", 0, "shutdown_script /etc/passwd"),
    ("fifo of no user", 0, "vrrp_notify_fifo /nosuch/f nosuch"),
    ("script_user of no user", 5, "script_user nosuch"),
];

const IN_REAL_SERVER: &[(&str, u8, &str)] = &[
    ("misc_path of several words", 0, "MISC_CHECK {\nmisc_path /bin/true 192.0.2.1\n}"),
    ("misc_path and no user", 5, "MISC_CHECK {\nmisc_path /bin/true\nuser nosuch\n}"),
    ("misc_path that is missing", 0, "MISC_CHECK {\nmisc_path /nosuch\n}"),
    ("misc_path twice", 0, "MISC_CHECK {\nmisc_path /bin/true\nmisc_path /bin/false\n}"),
    ("notify_up twice", 5, "notify_up /bin/true\nnotify_up /bin/true"),
    ("notify_up of no user", 0, "notify_up /bin/true nosuch"),
    (
        "digest twice",
        5,
        "HTTP_GET {\nurl {\npath /\ndigest 0123456789abcdef0123456789abcdef\n\
         digest 0123456789abcdef0123456789abcdef\n}\n}",
    ),
    ("digest of 31", 5, "HTTP_GET {\nurl {\npath /\ndigest 0123456789abcdef0123456789abcde\n}\n}"),
];

/// The same of whole files.
const WHOLE_ONCE: &[(&str, u8, &str)] = &[
    (
        "sequences within a sequence",
        0,
        "$TC=TCP_CHECK { \\\n connect_timeout 3 \\\n}\n\
        $RS=real_server 10.0.${i}.${j} 80 { \\\n ~SEQ(k, 1, 1) $TC \\\n}\n\
        $VS=virtual_server 10.0.0.$i 80 { \\\n protocol TCP \\\n lb_algo rr \\\n lb_kind NAT \\\n \
        ~SEQ(j, 2, 3) $RS \\\n}\n\
        ~SEQ(i, 1, 2) $VS\n",
    ),
    (
        "members twice",
        5,
        "vrrp_instance V {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n192.0.2.1\n}\n}\n\
        vrrp_sync_group G {\ngroup {\nV\n}\ngroup {\nV\n}\nnotify_master /bin/true\n}\n",
    ),
    (
        "notify script of a group without members",
        6,
        "vrrp_instance V {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n192.0.2.1\n}\n}\n\
        vrrp_sync_group G {\ngroup {\nW\n}\nnotify_master /bin/true\n}\n",
    ),
    ("group of servers without any", 5, "virtual_server_group G {\n}\n"),
    (
        "process twice",
        5,
        "vrrp_track_process P {\nprocess p\n}\nvrrp_track_process P {\n}\n\
        vrrp_instance V {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n192.0.2.1\n}\n}\n",
    ),
    (
        "tracked file twice",
        5,
        "track_file F {\nfile /a\n}\ntrack_file F {\n}\n\
        vrrp_instance V {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n192.0.2.1\n}\n}\n",
    ),
    (
        "notify script of an instance without VRID",
        6,
        "vrrp_instance V {\ninterface eth0\nnotify_master /bin/true\nvirtual_ipaddress {\n192.0.2.1\n}\n}\n",
    ),
    (
        "script of a process that does not run",
        0,
        "global_defs {\nlvs_notify_fifo /run/a\nlvs_notify_fifo_script /bin/true\n}\n\
        vrrp_instance V {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n192.0.2.1\n}\n}\n",
    ),
    (
        "user by number",
        5,
        "vrrp_script s {\nuser 0\nscript /bin/true\n}\n\
        vrrp_instance V {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n192.0.2.1\n}\n}\n",
    ),
    (
        "unicast without interface",
        5,
        "vrrp_instance V {\nvirtual_router_id 1\nunicast_src_ip 10.0.0.8\nunicast_peer {\n10.0.0.9\n}\n\
        virtual_ipaddress {\n192.0.2.1\n}\n}\n",
    ),
    (
        "interface of a garp_group twice",
        5,
        "garp_group {\ngarp_interval 1\ninterface eth1\ninterface eth1\n}\n",
    ),
    (
        "interface of a garp_group twice, in a list",
        2,
        "vrrp_instance V {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n192.0.2.1\n}\n}\n\
        garp_group {\ngarp_interval 1\ninterface eth1\ninterfaces {\neth1\n}\n}\n",
    ),
    (
        "insecure script and no VRID",
        6,
        "vrrp_script chk {\nscript /bin/true\n}\n\
        vrrp_instance V {\ninterface eth0\nvirtual_ipaddress {\n192.0.2.1\n}\n}\n",
    ),
    (
        "words after a script",
        0,
        "global_defs {\nenable_script_security\nscript_user root\n}\n\
        vrrp_script chk {\nscript /bin/true -0 haproxy\n}\n",
    ),
    (
        "group of servers twice",
        0,
        "virtual_server_group G {\n10.0.0.1 80\n}\nvirtual_server_group G {\n10.0.0.2 80\n}\n",
    ),
    (
        "SSL twice",
        5,
        "SSL {\nca /nosuch\n}\nSSL {\nca /nosuch\n}\nvirtual_server 10.0.0.1 80 {\nprotocol TCP\nlb_algo rr\nlb_kind DR\nreal_server 10.0.0.2 80 {\n}\n}\n",
    ),
    ("instance twice", 5, "instance a\ninstance b\n"),
    (
        "TUN without its port",
        5,
        "virtual_server fwmark 1 {\nlb_algo rr\nlb_kind TUN type gue\nreal_server 10.0.0.2 {\n}\n}\n",
    ),
    (
        "fwmark of both families",
        0,
        "virtual_server fwmark 1 {\nlb_algo rr\nlb_kind DR\nreal_server 10.0.0.2 {\n}\n}\n\
        virtual_server fwmark 1 {\nlb_algo rr\nlb_kind DR\nreal_server 2001:db8::1 {\n}\n}\n",
    ),
    (
        "lthreshold alone",
        0,
        "virtual_server fwmark 1 {\nlb_algo rr\nlb_kind DR\nreal_server 10.0.0.2 {\nlthreshold 5\n}\n}\n",
    ),
];

/// Every case with its status and text.
pub fn cases() -> Vec<(&'static str, u8, String)> {
    let edited = |base: &[&str], (name, status, line, text): &Edit| {
        let mut lines = base.to_vec();
        lines[line - 1] = text;
        (*name, *status, lines.join("\n") + "\n")
    };
    let instance = || INSTANCE.join("\n") + "\n";
    let mut cases = Vec::new();
    cases.extend(OF_INSTANCE.iter().map(|case| edited(&INSTANCE, case)));
    cases.extend(OF_SERVER.iter().map(|case| edited(&SERVER, case)));
    let before = |(name, status, text): &(&'static str, u8, &str)| {
        (*name, *status, (*text).to_owned() + &instance())
    };
    cases.extend(BEFORE_INSTANCE.iter().map(before));
    cases.extend(WITH_SCRIPT.iter().map(|(name, status, text)| {
        (*name, *status, SCRIPT.to_owned() + &instance().replace("  advert_int 1", text))
    }));
    cases.extend(WHOLE.iter().map(|(name, status, text)| (*name, *status, (*text).to_owned())));
    let globals = "global_defs {\nenable_script_security\nscript_user root\n";
    let instance_of = |lines: &str| {
        format!(
            "{globals}}}\nvrrp_instance V {{\ninterface eth0\nvirtual_router_id 1\n\
             virtual_ipaddress {{\n10.0.0.1\n}}\n{lines}\n}}\n"
        )
    };
    let server_of = |lines: &str| {
        format!(
            "{globals}}}\nvirtual_server 10.0.0.1 80 {{\nprotocol TCP\nlb_algo rr\nlb_kind DR\n\
             real_server 10.0.0.2 80 {{\n{lines}\n}}\n}}\n"
        )
    };
    let globals_of = |lines: &str| format!("{globals}{lines}\n}}\n");
    type Frame<'f> = &'f dyn Fn(&str) -> String;
    let frames: [(_, Frame<'_>); 4] = [
        (IN_INSTANCE, &instance_of),
        (IN_GLOBALS, &globals_of),
        (IN_REAL_SERVER, &server_of),
        (WHOLE_ONCE, &str::to_owned),
    ];
    for (list, frame) in frames {
        cases.extend(list.iter().map(|(name, status, text)| (*name, *status, frame(text))));
    }
    cases.push(("CRLF", 0, instance().replace('\n', "\r\n")));
    cases.push(("CR only", 5, instance().replace('\n', "\r")));
    cases.push(("no trailing newline", 0, instance().trim_end().to_owned()));
    cases.push(("tabs", 0, instance().replace("  ", "\t")));
    let late = instance().replace("  advert_int 1", "track_script {\nchk\n}") + SCRIPT;
    cases.push(("script defined after use", 5, late));
    cases.push((
        "dup vrrp_script",
        0,
        SCRIPT.to_owned() + &SCRIPT.replace("/bin/true", "\"/bin/true a\""),
    ));
    cases
}
