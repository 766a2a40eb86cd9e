//! What people see of a complaint.

use std::path::Path;

use lb_config::{MemorySystem, Options, load, parse_str};

fn render(text: &str) -> String {
    parse_str("keepalived.conf", text, &Options::default(), &MemorySystem::default()).render(false)
}

#[test]
fn a_misspelt_keyword() {
    let text = "vrrp_instance VI_1 {\n\tinterface eth0\n\tvirtual_router_id 51\n\tpriorty 150\n\tvirtual_ipaddress {\n\t\t10.0.0.1/24\n\t}\n}\n";
    insta::assert_snapshot!(render(text));
}

#[test]
fn several_complaints_in_one_run() {
    let text = "vrrp_instance VI_1 {\n  state master\n  interface eth0\n  virtual_router_id 300\n  advert_int 1s\n  authentication {\n    auth_type PASS\n    auth_pass far-too-long\n  }\n}\n";
    insta::assert_snapshot!(render(text));
}

#[test]
fn a_second_place() {
    let block = |name: &str, address: &str| {
        format!(
            "vrrp_instance {name} {{\n  interface eth0\n  virtual_router_id 51\n  virtual_ipaddress {{\n    {address}\n  }}\n}}\n"
        )
    };
    insta::assert_snapshot!(render(&(block("VI_1", "10.0.0.1") + &block("VI_2", "10.0.0.2"))));
}

#[test]
fn a_value_from_a_definition_in_an_included_file() {
    let system = MemorySystem::default()
        .with("/etc/keepalived/keepalived.conf", "$PORT = 80\n$WEIGHT=heavy\ninclude servers/*.conf\n")
        .with(
            "/etc/keepalived/servers/web.conf",
            "virtual_server 10.0.0.1 80 {\n  lb_algo rr\n  lb_kind NAT\n  protocol TCP\n  real_server 10.0.0.2 80 {\n    weight ${WEIGHT}\n  }\n}\n",
        );
    let loaded = load(Path::new("/etc/keepalived/keepalived.conf"), &Options::default(), &system);
    insta::assert_snapshot!(loaded.render(false));
}

#[test]
fn a_missing_argument_and_a_missing_file() {
    insta::assert_snapshot!(render(
        "global_defs {\n  lvs_flush_on_stop\n  vrrp_version\n}\nvrrp_instance VI_1 {\n}\n"
    ));
    let loaded = load(Path::new("/etc/none.conf"), &Options::default(), &MemorySystem::default());
    insta::assert_snapshot!(loaded.render(false));
}

#[test]
fn one_line_for_each_complaint() {
    let text = "vrrp_instance VI_1 {\n  state master\n  vírtual_ipaddress {\n}\n";
    let loaded = parse_str("keepalived.conf", text, &Options::default(), &MemorySystem::default());
    insta::assert_snapshot!(loaded.one_liners().collect::<Vec<_>>().join("\n"));
}

#[test]
fn colour_is_for_terminals() {
    let loaded =
        parse_str("keepalived.conf", "nonsense", &Options::default(), &MemorySystem::default());
    assert!(loaded.render(true).contains("\u{1b}["));
    assert!(!loaded.render(false).contains('\u{1b}'));
}
