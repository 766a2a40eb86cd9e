//! Every keyword of keepalived is known, with a smallest example that reaches the model.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use lb_config::model::ScriptOwner;
use lb_config::{Block, Keyword, Loaded, MemorySystem, Options, parse_str, tables};

/// What examples refer to.
const PRELUDE: &str = "global_defs {\nenable_script_security\nscript_user root\n}\n\
    vrrp_script S {\nscript /bin/true\n}\nvrrp_script R {\nscript /bin/true\nweight 1 reverse\n}\n\
    track_file F {\nfile /f\n}\ntrack_file FR {\nfile /f\nweight 1 reverse\n}\n\
    vrrp_track_process P {\nprocess p\n}\nvrrp_track_process PR {\nprocess p\nweight 1 reverse\n}\n\
    bfd_instance B {\nneighbor_ip 10.9.9.9\n}\n\
    bfd_instance BR {\nneighbor_ip 10.9.9.9\nweight 1 reverse\n}\n";

const INSTANCE: &str = "vrrp_instance V {\ninterface eth0\nvirtual_router_id 1\n\
    virtual_ipaddress {\n10.0.0.1\n}\nHOLE\n}\n";

const SERVER: &str = "virtual_server 10.0.0.1 80 {\nprotocol TCP\nlb_algo rr\nlb_kind NAT\nHOLE\n\
    real_server 10.0.0.2 80 {\nHTTP_GET {\nurl {\npath /\n}\n}\n}\n}\n";

const EXAMPLES: &str = include_str!("keywords.txt");

fn system() -> MemorySystem {
    let mut system = MemorySystem::default()
        .with_mode("/bin/true", "", 0o755)
        .with("/part", "global_defs {\nrouter_id part\n}\n")
        .with("/pert", "");
    system.host_name = "here".to_owned();
    let nobody = ScriptOwner { uid: 65_534, gid: 65_534 };
    system.users.insert("nobody".to_owned(), nobody);
    system.groups.insert("nogroup".to_owned(), nobody.gid);
    system.variables.insert("HOME".to_owned(), "/root".to_owned());
    system
}

fn load(text: &str) -> Loaded {
    parse_str("/example.conf", text, &Options::default(), &system())
}

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
                + &server("ip_family inet6").replace("virtual_server 10.0.0.1 80", "virtual_server 10.0.0.5 80"),
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
            ["track_group"] => (instance("") + "track_group X {\nHOLE\n}\n", &[]),
            [block] => (format!("{block} {{\nHOLE\n}}\n"), &[]),
            _ => panic!("no frame for {path}"),
        },
    };
    let frame = match path {
        // Defaults must come before what inherits them.
        "global_defs" => {
            let v6 = instance("").replace(" V ", " W ").replace("10.0.0.1", "2001:db8::1");
            let unicast = instance("unicast_peer {\n10.0.0.9\n}")
                .replace(" V ", " X ")
                .replace("interface eth0", "unicast_src_ip 10.0.0.8");
            "global_defs {\nHOLE\n}\n".to_owned() + &instance("") + &v6 + &unicast + &server("")
        }
        _ => frame,
    };
    (frame, needed)
}

/// An example, and what it is compared with.
#[derive(Clone, Copy)]
struct Example {
    text: &'static str,
    base: &'static str,
    complaints: &'static str,
}

fn examples() -> HashMap<(&'static str, &'static str), Example> {
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
fn sections(path: &str) -> [&str; 2] {
    let shared = match path {
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

fn filled(path: &str, name: &str, text: &str) -> String {
    let (frame, needed) = frame(path);
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

/// What is wrong with an example under a name; a name of the past is complained of.
fn problem(path: &str, keyword: &Keyword, name: &str, example: Example) -> Option<String> {
    let text = if name == keyword.name {
        example.text.to_owned()
    } else {
        let words = example.text.split_inclusive([' ', 'n', '\\']);
        let rename = |word: &str| {
            let bare = word.trim_end_matches([' ', '\\']);
            if bare == keyword.name { word.replacen(bare, name, 1) } else { word.to_owned() }
        };
        let renamed: String = words.map(rename).collect();
        if renamed == example.text { example.text.replacen(keyword.name, name, 1) } else { renamed }
    };
    let with = load(&filled(path, keyword.name, &text));
    let same = example.base == "=";
    let base = if same { text.clone() } else { example.base.to_owned() };
    let without = load(&filled(path, keyword.name, &base));
    let known = |id: &str| {
        id == "not-acted-on"
            || (id == "deprecated" && path.ends_with("/host"))
            || (id == "group-weight" && path == "vrrp_sync_group")
            || example.complaints.split(' ').any(|complaint| complaint == id)
            || (id == "deprecated" && keyword.deprecated.contains(&name))
    };
    let surprising = with.diagnostics.iter().find(|found| !known(found.id) && path != "(line)");
    if let Some(found) = surprising {
        return Some(format!("{path}: {name}: {}: {}", found.id, found.message));
    }
    if with.model.is_none() {
        return Some(format!("{path}: {name}: refused: {}", with.render(false)));
    }
    if !same && with.model == without.model {
        return Some(format!("{path}: {name}: does not reach the model"));
    }
    None
}

#[test]
fn each_keyword_of_the_tables_has_an_example_that_reaches_the_model() {
    let examples = examples();
    let mut used = BTreeSet::new();
    let mut problems = Vec::new();
    for Block { path, keywords, .. } in tables() {
        for keyword in &keywords {
            let found = sections(path).into_iter().find_map(|section| {
                let (key, example) = examples.get_key_value(&(section, keyword.name))?;
                used.insert(*key);
                Some(*example)
            });
            let Some(example) = found else {
                // Said of the block itself.
                if !(path == "virtual_server" && keyword.name.starts_with('<')) {
                    problems.push(format!("{path}: {} has no example", keyword.name));
                }
                continue;
            };
            let others = keyword.aliases.iter().chain(keyword.deprecated).copied();
            for name in others.chain([keyword.name]) {
                problems.extend(problem(path, keyword, name, example));
            }
        }
    }
    assert!(problems.is_empty(), "{}:\n{}", problems.len(), problems.join("\n"));
    for (section, name) in examples.keys() {
        let part = section == &"vrrp_instance" && name.starts_with('<');
        assert!(part || used.contains(&(section, name)), "[{section}] {name} is of no keyword");
    }
}

/// The path of our tables and the name in them, of a row of keepalived's list.
fn ours(context: &str, keyword: &str) -> (String, String) {
    let path = match context {
        "(top level)" => "",
        "(line level)" => "(line)",
        "vrrp_track_file" => "track_file",
        "vrrp_instance/virtual_ipaddress_excluded/<entry>" => "vrrp_instance/virtual_ipaddress",
        "vrrp_sync_group/track_*/<entry>" => "vrrp_instance/track_interface",
        "static_routes/<entry>/nexthop" => "vrrp_instance/virtual_routes/nexthop",
        "static_routes/<entry>/encap" => "vrrp_instance/virtual_routes/encap",
        "vrrp_instance/notify*/<args>" => "vrrp_instance",
        context => context,
    };
    let path = path.replace("/<entry>", "").replace("/<args>", "");
    let name = match (path.as_str(), keyword) {
        (_, "<same as virtual_ipaddress>") => "<address>",
        (_, "<same as instance lists>") => "<name>",
        (_, "default6") => "<default6>",
        (path, keyword) if path.contains("/track_") && keyword.starts_with('<') => "<name>",
        ("virtual_server_group", "fwmark") => "<fwmark>",
        ("virtual_server", "fwmark") if context.ends_with("<args>") => "<fwmark>",
        ("virtual_server", "group") => "<group>",
        (path, "ip" | "ip6" | "mpls" | "ila") if path.ends_with("/encap") => {
            return (path.to_owned(), format!("<{keyword}>"));
        }
        (_, keyword) => keyword,
    };
    (path.clone(), name.to_owned())
}

#[test]
fn each_row_of_keepalived_s_list_is_in_the_tables() {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/keepalived");
    let list = std::env::var_os("LB_KEYWORDS").map_or(PathBuf::from(beside), PathBuf::from);
    let Ok(list) = std::fs::read_to_string(list.join("keywords.tsv")) else {
        eprintln!("skipped: the list of keywords is not here");
        return;
    };
    let blocks = tables();
    let parts = examples();
    let (mut rows, mut missing) = (0, Vec::new());
    for row in list.lines().skip(1) {
        let mut fields = row.split('\t');
        let (context, keyword) = (fields.next().unwrap(), fields.next().unwrap());
        rows += 1;
        let (path, name) = ours(context, keyword);
        let names = |keyword: &Keyword| {
            keyword.name == name
                || keyword.aliases.contains(&name.as_str())
                || keyword.deprecated.contains(&name.as_str())
        };
        let known = blocks
            .iter()
            .any(|block| block.path == path && block.keywords.iter().any(names))
            // The words of a command are what every command has.
            || parts.contains_key(&(path.as_str(), name.as_str()));
        // `weight` and the like of a list in a group are those of an instance's list.
        if !known {
            missing.push(format!("{context}: {keyword}"));
        }
    }
    println!("{rows} rows");
    assert!(missing.is_empty(), "{} missing:\n{}", missing.len(), missing.join("\n"));
}

#[test]
fn the_words_of_a_command_reach_the_model() {
    let examples = examples();
    for name in ["<command>", "<user>", "<group>"] {
        let Example { text, base, .. } = examples[&("vrrp_instance", name)];
        let model = |text| load(&filled("vrrp_instance", name, text)).model.expect(name);
        assert_ne!(model(text), model(base), "{name}");
    }
}

#[test]
fn what_a_virtual_server_serves_reaches_the_model() {
    let rest = "protocol TCP\nlb_algo rr\nlb_kind NAT\nreal_server 10.0.0.2 80 {\n}\n}\n";
    let group = "virtual_server_group G {\n10.0.0.1 80\n}\n";
    for served in ["10.0.0.1 80", "fwmark 7", "group G"] {
        let model = load(&format!("{group}virtual_server {served} {{\n{rest}")).model.unwrap();
        assert_eq!(model.virtual_servers.len(), 1, "{served}");
    }
}
