//! The smallest example of each keyword, and a whole configuration around it.
#![allow(dead_code)] // Each test uses a part of it.

pub mod constructs;
pub mod random;

use std::collections::HashMap;

/// What examples refer to.
const PRELUDE: &str = "global_defs {\nenable_script_security\nscript_user root\n}\n\
    vrrp_script S {\nscript /bin/true\n}\nvrrp_script R {\nscript /bin/true\nweight 1 reverse\n}\n\
    track_file F {\nfile /f\n}\ntrack_file FR {\nfile /f\nweight 1 reverse\n}\n\
    vrrp_track_process P {\nprocess p\n}\nvrrp_track_process PR {\nprocess p\nweight 1 reverse\n}\n\
    bfd_instance B {\nneighbor_ip 10.9.9.9\n}\n\
    bfd_instance BR {\nneighbor_ip 10.9.9.8\nweight 1 reverse\n}\n";

const INSTANCE: &str = "vrrp_instance V {\ninterface eth0\nvirtual_router_id 1\n\
    virtual_ipaddress {\n10.0.0.1\n}\nHOLE\n}\n";

const SERVER: &str = "virtual_server 10.0.0.1 80 {\nprotocol TCP\nlb_algo rr\nlb_kind NAT\nHOLE\n\
    real_server 10.0.0.2 80 {\nHTTP_GET {\nurl {\npath /\n}\n}\n}\n}\n";

const EXAMPLES: &str = include_str!("../keywords.txt");

/// Text around the place of a block, and what must be in the block unless the example is about it.
fn frame(path: &str) -> (String, &'static [&'static str]) {
    let instance = |inner: &str| INSTANCE.replace("HOLE", inner);
    let server = |inner: &str| SERVER.replace("HOLE", inner);
    let real = |inner: &str| server(&format!("real_server 10.0.0.9 80 {{\n{inner}\n}}"));
    let (frame, needed): (String, &'static [&'static str]) = match path {
        "" | "(line)" => (instance("") + "HOLE\n", &[]),
        "global_defs" => (String::new(), &[]),
        "global_defs/lvs_sync_daemon" => {
            ("global_defs {\nlvs_sync_daemon eth0 HOLE\n}\n".to_owned() + &instance(""), &[])
        }
        "global_defs/lvs_timeouts" => ("global_defs {\nlvs_timeouts HOLE\n}\n".to_owned(), &[]),
        "vrrp_sync_group" => {
            let second = instance("track_script {\nS weight 3\n}\n").replace(" V ", " W ");
            let second = second.replace("eth0", "eth1").replace("10.0.0.1", "10.0.0.2");
            (instance("") + &second + "vrrp_sync_group G {\nHOLE\n}\n", &["group {\nV\nW\n}"])
        }
        "vrrp_instance" => (
            "vrrp_instance V {\nHOLE\n}\n".to_owned(),
            &["interface eth0", "virtual_router_id 1", "virtual_ipaddress {\n10.0.0.1\n}"],
        ),
        "carp_instance" => (
            "carp_instance V {\nHOLE\n}\n".to_owned(),
            &["interface eth0", "vhid 1", "virtual_ipaddress {\n10.0.0.1\n}"],
        ),
        "vrrp_instance/authentication" => {
            (instance("authentication {\nHOLE\n}"), &["auth_type PASS", "auth_pass x"])
        }
        "vrrp_instance/auth_hmac" => (
            instance("auth_hmac {\nkey 1 abcdefghijklmnopqrstuvwxyz0123456789\nactive_key 1\nHOLE\n}"),
            &[],
        ),
        "virtual_server" => (
            "virtual_server 10.0.0.1 80 {\nHOLE\nreal_server 10.0.0.2 80 {\nHTTP_GET {\nurl {\npath /\n}\n}\n}\n}\n"
                .to_owned(),
            &["protocol TCP", "lb_algo rr", "lb_kind NAT"],
        ),
        "virtual_server/lvs_method" => (server("").replace("lb_kind NAT", "lb_kind HOLE"), &[]),
        "virtual_server/real_server" => (real("HOLE"), &[]),
        "virtual_server_group" => (
            "virtual_server_group G {\nHOLE\n}\n".to_owned()
                + &server("").replace("virtual_server 10.0.0.1 80", "virtual_server 10.0.0.5 80"),
            &[],
        ),
        "garp_group" => (
            "garp_group {\nHOLE\n}\n".to_owned(),
            &["interfaces {\neth0\n}", "garp_interval 1"],
        ),
        "vrrp_script" => (
            "vrrp_script T {\nHOLE\n}\n".to_owned() + &instance("track_script {\nT\n}"),
            &["script /bin/true"],
        ),
        "vrrp_track_process" => {
            ("vrrp_track_process T {\nHOLE\n}\n".to_owned(), &["process p"])
        }
        "track_file" => ("track_file T {\nHOLE\n}\n".to_owned(), &["file /f"]),
        "bfd_instance" => ("bfd_instance T {\nHOLE\n}\n".to_owned(), &["neighbor_ip 10.0.0.9"]),
        "virtual_server/real_server/SMTP_CHECK/host" => {
            (real("SMTP_CHECK {\nhost {\nHOLE\n}\n}"), &[])
        }
        path if path.ends_with("/url") => {
            let get = path.split('/').nth(2).unwrap_or_default();
            (real(&format!("{get} {{\nurl {{\nHOLE\n}}\n}}")), &["path /"])
        }
        path => match path.split('/').collect::<Vec<_>>()[..] {
            ["virtual_server", "real_server", check] => {
                let needed: &'static [&'static str] = match check {
                    "HTTP_GET" | "SSL_GET" => &["url {\npath /\n}"],
                    "MISC_CHECK" => &["misc_path /bin/true"],
                    "FILE_CHECK" => &["track_file F"],
                    "BFD_CHECK" => &["name B"],
                    _ => &[],
                };
                (real(&format!("{check} {{\nHOLE\n}}")), needed)
            }
            // A route's nexthop and encap are words of its line.
            ["vrrp_instance", list] | ["vrrp_instance", list, _] => {
                (instance(&format!("{list} {{\nHOLE\n}}")), &[])
            }
            ["static_ipaddress" | "static_routes" | "static_rules"] => (
                instance("") + "track_group TG {\ngroup {\nV\n}\n}\n" + path + " {\nHOLE\n}\n",
                &[],
            ),
            ["track_group"] => (instance("") + "track_group X {\nHOLE\n}\n", &[]),
            [block] => (format!("{block} {{\nHOLE\n}}\n"), &[]),
            _ => panic!("no frame for {path}"),
        },
    };
    let frame = match path {
        // Defaults must come before what inherits them.
        "global_defs" => {
            let v6 = instance("").replace(" V ", " W ").replace("10.0.0.1", "fe80::1");
            "global_defs {\nHOLE\n}\n".to_owned() + &instance("") + &v6 + &server("")
        }
        _ => frame,
    };
    (frame, needed)
}

/// An example, and what it is compared with.
#[derive(Clone, Copy)]
pub struct Example {
    pub text: &'static str,
    pub base: &'static str,
    pub complaints: &'static str,
}

pub fn examples() -> HashMap<(&'static str, &'static str), Example> {
    let mut section = "";
    let mut examples = HashMap::new();
    for line in EXAMPLES.lines().filter(|line| !line.is_empty() && !line.starts_with("; ")) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
            continue;
        }
        let mut fields = line.split(" | ").map(str::trim);
        let mut field = || fields.next().unwrap_or_default();
        let name = field();
        let example = Example { text: field(), base: field(), complaints: field() };
        assert!(examples.insert((section, name), example).is_none(), "{section}: {name} twice");
    }
    examples
}

/// Sections that may have the example of a keyword.
pub fn sections(path: &str) -> [&str; 2] {
    let shared = match path {
        "carp_instance" => "vrrp_instance",
        "vrrp_instance/virtual_ipaddress" | "static_ipaddress" => "address",
        "vrrp_instance/virtual_routes" | "static_routes" => "route",
        "vrrp_instance/virtual_routes/nexthop" => "nexthop",
        "vrrp_instance/virtual_routes/encap" => "encap",
        "vrrp_instance/virtual_rules" | "static_rules" => "rule",
        path if path.ends_with("/url") => "url",
        path if path.starts_with("virtual_server/real_server/") => "checker",
        path => path,
    };
    [path, shared]
}

pub fn filled(path: &str, name: &str, text: &str) -> String {
    let (mut frame, needed) = frame(path);
    if name == "vrrp_check_unicast_src" {
        let unicast = INSTANCE.replace("HOLE", "unicast_peer {\n10.0.0.9\n}");
        frame += &unicast.replace(" V ", " X ").replace("_id 1", "_id 3");
    }
    let text = text.replace("\\\\n", " \\\n").replace("\\n", "\n");
    let mut inner = String::new();
    for line in needed {
        let keyword = line.split([' ', '\n']).next().unwrap_or_default();
        // What the example is about is not there already, neither with it nor without.
        if keyword != name && !(keyword == "interfaces" && name == "interface") {
            inner += line;
            inner.push('\n');
        }
    }
    // The prelude says nothing of what the example is about.
    let prelude = match name {
        "enable_script_security" => PRELUDE.replace("enable_script_security\n", ""),
        _ => PRELUDE.to_owned(),
    };
    prelude + &frame.replace("HOLE", &(inner + &text))
}
