//! From keepalived.conf to TOML and back: the model stays.

mod common;

use std::path::PathBuf;

use lb_config::{AnyInterface, Block, Format, Loaded, Model, Options};

fn options() -> Options {
    Options { record_statements: true, ..Options::default() }
}

fn parse(name: &str, text: &str) -> Loaded {
    lb_config::parse_str(name, text, &options(), &AnyInterface)
}

/// What is wrong with the way to TOML and back, if anything is.
fn round_trip(loaded: &Loaded) -> Result<(), String> {
    let Some(model) = &loaded.model else { return Ok(()) };
    let difference = |other: &Loaded| {
        let other = other.model.clone().unwrap_or_default();
        let parts = |model: &Model| {
            let Model { vrrp_instances, virtual_servers, .. } = model;
            format!("{vrrp_instances:#?}\n{virtual_servers:#?}\n{model:#?}")
        };
        let (old, new) = (parts(model), parts(&other));
        let lines = old.lines().zip(new.lines()).filter(|(old, new)| old != new);
        lines.take(5).map(|(old, new)| format!("-{old}\n+{new}\n")).collect::<String>()
    };
    let complaints = |loaded: &Loaded| loaded.one_liners().collect::<Vec<_>>().join("\n");
    let toml = loaded.convert(Format::Toml).text;
    let there = parse("x.toml", &toml);
    if there.model.as_ref() != Some(model) {
        return Err(format!(
            "TOML differs:\n{toml}\n{}\n{}",
            complaints(&there),
            difference(&there)
        ));
    }
    let conf = there.convert(Format::Keepalived).text;
    let back = parse("x.conf", &conf);
    if back.model.as_ref() != Some(model) {
        return Err(format!(
            "back differs:\n{toml}\n{conf}\n{}\n{}",
            complaints(&back),
            difference(&back)
        ));
    }
    // Settings of the whole daemon tell a default from one that is written.
    let conf = loaded.with_defaults();
    let explicit = parse("x.conf", &conf);
    let parts = |model: &Model| (model.vrrp_instances.clone(), model.virtual_servers.clone());
    if explicit.model.as_ref().map(parts) != Some(parts(model)) {
        let why = (complaints(&explicit), difference(&explicit));
        return Err(format!("defaults differ:\n{conf}\n{}\n{}", why.0, why.1));
    }
    let conf = loaded.convert(Format::Keepalived).text;
    let same = parse("x.conf", &conf);
    if same.model.as_ref() != Some(model) {
        return Err(format!(
            "keepalived.conf differs:\n{conf}\n{}\n{}",
            complaints(&same),
            difference(&same)
        ));
    }
    Ok(())
}

#[test]
fn every_file_of_the_corpus_keeps_its_model() {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpus"));
    let corpus = std::env::var_os("LB_CORPUS").map_or(beside, PathBuf::from);
    let Ok(files) = std::fs::read_dir(&corpus) else {
        lb_skip::skip("the corpus is not here");
        return;
    };
    let (mut kept, mut wrong) = (0, Vec::new());
    let mut paths: Vec<PathBuf> = files.flatten().map(|file| file.path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "conf")) {
        let loaded = lb_config::load(path, &options(), &AnyInterface);
        match round_trip(&loaded) {
            Ok(()) => kept += usize::from(loaded.model.is_some()),
            Err(why) => wrong.push(format!("{}: {why}", path.display())),
        }
    }
    println!("{kept} files kept their model");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn every_example_of_a_keyword_keeps_its_model() {
    let (mut kept, mut wrong) = (0, Vec::new());
    let examples = common::examples();
    for Block { path, keywords, .. } in lb_config::tables() {
        for keyword in &keywords {
            let sections = common::sections(path);
            let mut found = sections.iter().map(|section| examples.get(&(section, keyword.name)));
            let Some(example) = found.find_map(|example| example) else { continue };
            let loaded = parse("x.conf", &common::filled(path, keyword.name, example.text));
            match round_trip(&loaded) {
                Ok(()) => kept += usize::from(loaded.model.is_some()),
                Err(why) => wrong.push(format!("{path}: {}: {why}", keyword.name)),
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n\n"));
    assert!(kept > 600, "{kept}");
}

/// The model of a TOML text and of a keepalived.conf that says the same.
fn same(toml: &str, conf: &str) {
    let (toml, conf) = (parse("x.toml", toml), parse("x.conf", conf));
    let complaints: Vec<String> = toml.one_liners().collect();
    assert!(conf.model.is_some(), "{}", conf.render(false));
    assert_eq!(toml.model, conf.model, "{complaints:#?}");
}

#[test]
fn every_form_of_a_value_means_what_the_words_mean() {
    same(
        r#"
        linkbeat_use_polling = true
        [global_defs]
        script_user = ["root", "root"]
        vrrp_strict = false
        [[vrrp_script]]
        name = "web check"
        script = "/bin/true 'a b'"
        interval = 0.5
        [[vrrp_instance]]
        name = "VI_1"
        interface = "eth0"
        virtual_router_id = 0x33
        nopreempt = true
        dont_track_primary = false
        virtual_ipaddress = [
            "192.0.2.1/24 dev eth1",
            { address = "192.0.2.2/24", dev = "eth1", label = "eth1:x" },
            ["192.0.2.3/24", "dev", "eth1"],
        ]
        track_script = [{ name = "web check", weight = 10 }]
        notify_master = ["/bin/echo \"it's\"", "root"]
        [[virtual_server]]
        address = "2001:db8::1"
        port = 80
        protocol = "TCP"
        quorum = 1
        [[virtual_server.real_server]]
        address = "[2001:db8::2]:80"
        tcp_check = [{ connect_timeout = 1 }, { connect_timeout = 2 }]
        [[virtual_server.real_server]]
        address = "2001:db8::3 80"
        http_get.url = [{ path = "/", status_code = [200, "301-302"] }]
        [[virtual_server]]
        fwmark = 7
        real_server = [{ address = "192.0.2.9:80", weight = 2 }]
        [[virtual_server]]
        group = "G"
        real_server = [{ address = "192.0.2.9:80" }]
        [[virtual_server_group]]
        name = "G"
        entries = ["192.0.2.7 80", "fwmark 9"]
        "#,
        r#"
        linkbeat_use_polling
        global_defs {
            script_user root root
            vrrp_strict off
        }
        vrrp_script "web check" {
            script "/bin/true 'a b'"
            interval 0.5
        }
        vrrp_instance VI_1 {
            interface eth0
            virtual_router_id 51
            nopreempt
            virtual_ipaddress {
                192.0.2.1/24 dev eth1
                192.0.2.2/24 dev eth1 label eth1:x
                192.0.2.3/24 dev eth1
            }
            track_script {
                "web check" weight 10
            }
            notify_master '/bin/echo "it'"'"'s"' root
        }
        virtual_server 2001:db8::1 80 {
            protocol TCP
            quorum 1
            real_server 2001:db8::2 80 {
                TCP_CHECK {
                    connect_timeout 1
                }
                TCP_CHECK {
                    connect_timeout 2
                }
            }
            real_server 2001:db8::3 80 {
                HTTP_GET {
                    url {
                        path /
                        status_code 200 301-302
                    }
                }
            }
        }
        virtual_server fwmark 7 {
            real_server 192.0.2.9 80 {
                weight 2
            }
        }
        virtual_server group G {
            real_server 192.0.2.9 80 {
            }
        }
        virtual_server_group G {
            192.0.2.7 80
            fwmark 9
        }
        "#,
    );
}

#[test]
fn what_is_no_toml_is_refused_where_it_is() {
    let said = |text: &str| {
        let loaded = parse("x.toml", text);
        assert!(loaded.is_refused(), "{text}");
        loaded.one_liners().next().unwrap_or_default()
    };
    assert!(said("a = ").starts_with("x.toml:1:"), "{}", said("a = "));
    for (text, complaint) in [
        ("vrrp_instance = 3", "x.toml:1:17: error: `vrrp_instance` is a table, not a number"),
        ("static_routes = 3", "x.toml:1:17: error: `static_routes` is an array of lines, not a"),
        ("[global_defs]\nrouter_id = {}", "x.toml:2:13: error: `router_id` is"),
        ("[global_defs]\nrouter_id = 2026-11-21", "x.toml:2:13: error: `router_id` is"),
        ("[[virtual_server]]\naddress = []", "x.toml:2:11: error: `address` is a string"),
    ] {
        let said = said(text);
        assert!(said.starts_with(complaint), "{said}");
    }
    let deep = format!("a = {}", "[".repeat(100_000));
    said(&deep);
}
