//! Every keyword of keepalived is known, with a smallest example that reaches the model.

mod common;

use std::collections::BTreeSet;
use std::path::PathBuf;

use common::{Example, examples, filled, sections};

use lb_config::model::ScriptOwner;
use lb_config::{Block, Keyword, Loaded, MemorySystem, Options, parse_str, tables};

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
    // What lbd does not run with yet is read all the same.
    let options = Options { only_read: true, ..Options::default() };
    parse_str("/example.conf", text, &options, &system())
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
        [
            "not-acted-on",
            "net-namespace",
            "net-namespace-ipvs",
            "vrf",
            "use-ipvlan",
            "auth-hmac",
            "track-bfd",
            "check-not-built",
        ]
        .contains(&id)
            || (id == "deprecated" && path.ends_with("/host"))
            || (id == "route-track" && path.contains("_routes"))
            || (id == "rule-preference" && path.contains("_rules"))
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
        lb_skip::skip("the list of keywords is not here");
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
