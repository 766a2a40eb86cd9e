//! What keepalived does not complain of.

use lb_config::{Loaded, MemorySystem, Options, Severity, parse_str};

fn load_with(text: &str, options: &Options) -> Loaded {
    let mut system = MemorySystem::default().with_mode("/bin/true", "", 0o755);
    for (name, address, length) in [("eth0", [10, 0, 0, 2], 24), ("lo", [127, 0, 0, 1], 8)] {
        system.addresses.push((name.to_owned(), (address.into(), length)));
    }
    parse_str("test.conf", text, options, &system)
}

/// Ids of what is said of a text. `-t` must be content with it.
fn lints(text: &str) -> Vec<&'static str> {
    let loaded = load_with(text, &Options::default());
    assert_eq!(loaded.diagnostics.exit_code_of_check(), 0, "{}", loaded.render(false));
    let found = loaded.diagnostics.iter().filter(|found| found.severity == Severity::Warning);
    found.map(|found| found.id).collect()
}

fn instance(name: &str, vrid: u8, vip: &str, rest: &str) -> String {
    format!(
        "vrrp_instance {name} {{\ninterface eth0\nvirtual_router_id {vrid}\n\
         virtual_ipaddress {{\n{vip}\n}}\n{rest}\n}}\n"
    )
}

fn server(lines: &str) -> String {
    format!("virtual_server 10.0.0.1 80 {{\nprotocol TCP\nlb_algo rr\n{lines}\n}}\n")
}

#[test]
fn ordinary_files_are_left_alone() {
    let script = "global_defs {\nenable_script_security\nscript_user root\n}\n\
        vrrp_script S {\nscript /bin/true\nweight 5\n}\n";
    let members = instance("A", 1, "10.0.0.1/24", "track_script {\nS\n}\npriority 100");
    let servers =
        server("lb_kind NAT\nreal_server 10.0.0.5 80 {\nTCP_CHECK {\nconnect_timeout 3\n}\n}");
    assert_eq!(lints(&(script.to_owned() + &members + &servers)), [""; 0]);
}

#[test]
fn two_instances_share_a_number_on_one_interface() {
    let other = "mcast_dst_ip 224.0.0.19";
    let two = instance("A", 7, "10.0.0.1", "") + &instance("B", 7, "10.0.0.3", other);
    assert_eq!(lints(&two), ["vrid-shared"]);
    // IPv4 and IPv6 have numbers of their own.
    let two = instance("A", 7, "10.0.0.1", "") + &instance("B", 7, "fe80::1", "");
    assert_eq!(lints(&two), [""; 0]);
}

#[test]
fn a_vip_is_outside_the_subnets_of_its_interface() {
    assert_eq!(lints(&instance("A", 7, "10.0.1.1/24", "")), ["vip-subnet"]);
    assert_eq!(lints(&instance("A", 7, "10.0.0.77", "")), [""; 0]);
    // Nothing is known of the interface, or of the family on it.
    assert_eq!(lints(&instance("A", 7, "10.0.1.1/24 dev eth9", "")), [""; 0]);
    assert_eq!(lints(&instance("A", 7, "2001:db8::1", "")), [""; 0]);
}

#[test]
fn a_weight_has_no_room() {
    let tracked = |priority, weight| {
        let rest = format!("priority {priority}\ntrack_interface {{\neth1 weight {weight}\n}}");
        lints(&instance("A", 7, "10.0.0.1", &rest))
    };
    assert_eq!(tracked(254, "10"), ["weight-without-effect"]);
    assert_eq!(tracked(1, "-10"), ["weight-without-effect"]);
    assert_eq!(tracked(1, "10 reverse"), ["weight-without-effect"]);
    assert_eq!(tracked(254, "-10"), [""; 0]);
    assert_eq!(tracked(100, "10"), [""; 0]);
}

#[test]
fn a_password_travels_in_the_clear() {
    let password = "authentication {\nauth_type PASS\nauth_pass x\n}";
    let unicast = format!("{password}\nunicast_peer {{\n10.0.0.9\n}}");
    assert_eq!(lints(&instance("A", 7, "10.0.0.1", &unicast)), ["password-unicast"]);
    assert_eq!(lints(&instance("A", 7, "10.0.0.1", password)), [""; 0]);
}

#[test]
fn members_of_a_group_advertise_at_different_intervals() {
    let group = "vrrp_sync_group G {\ngroup {\nA\nB\n}\n}\n";
    let two = |interval| {
        let rest = format!("advert_int {interval}");
        instance("A", 1, "10.0.0.1", "") + &instance("B", 2, "10.0.0.3", &rest) + group
    };
    assert_eq!(lints(&two(2)), ["group-advert-int"]);
    assert_eq!(lints(&two(1)), [""; 0]);
}

#[test]
fn a_quorum_does_not_come_back() {
    let two = "lb_kind NAT\nreal_server 10.0.0.5 80 {\n}\nreal_server 10.0.0.6 80 {\n}\nquorum 2\n";
    assert_eq!(lints(&server(&format!("{two}hysteresis 1"))), ["quorum-unreachable"]);
    assert_eq!(lints(&server(two)), [""; 0]);
}

#[test]
fn checks_are_closer_together_than_they_are_long() {
    let checked = |delay| {
        let check = "real_server 10.0.0.5 80 {\nTCP_CHECK {\nconnect_timeout 3\n}\n}";
        lints(&server(&format!("lb_kind NAT\ndelay_loop {delay}\n{check}")))
    };
    assert_eq!(checked(2), ["check-overlap"]);
    assert_eq!(checked(3), [""; 0]);
    let security = "global_defs {\nenable_script_security\nscript_user root\n}\n";
    let script = "vrrp_script S {\nscript /bin/true\ninterval 2\ntimeout 5\n}\n";
    assert_eq!(lints(&(security.to_owned() + script)), ["check-overlap"]);
}

#[test]
fn a_director_that_is_its_own_dr_server_answers_arp() {
    let own = "lb_kind DR\nreal_server 10.0.0.2 80 {\n}";
    assert_eq!(lints(&server(own)), ["dr-arp"]);
    assert_eq!(lints(&server("lb_kind DR\nreal_server 10.0.0.5 80 {\n}")), [""; 0]);
}

#[test]
fn a_comment_or_an_option_silences() {
    let text = |comment: &str, before: &str| {
        let vip = format!("{before}10.0.1.1/24 {comment}");
        instance("A", 7, &vip, "")
    };
    assert_eq!(lints(&text("", "")), ["vip-subnet"]);
    assert_eq!(lints(&text("# routed; allow(vip-subnet)", "")), [""; 0]);
    assert_eq!(lints(&text("", "! allow(other, vip-subnet)\n")), [""; 0]);
    assert_eq!(lints(&text("# allow(other)", "")), ["vip-subnet"]);
    // Not a comment of its own: it belongs to the line before.
    assert_eq!(lints(&text("", "10.0.0.4 # allow(vip-subnet)\n")), ["vip-subnet"]);
    let options = Options { allow: vec!["vip-subnet".to_owned()], ..Options::default() };
    assert!(load_with(&text("", ""), &options).diagnostics.is_empty());
    // Errors stay, and so does what -t exits with.
    let options =
        Options { allow: vec!["vrid-missing".into(), "boolean".into()], ..Options::default() };
    let loaded = load_with("vrrp_instance A {\ninterface eth0\nstrict_mode maybe\n}\n", &options);
    assert_eq!(loaded.diagnostics.errors(), 1);
    assert_eq!(loaded.diagnostics.exit_code_of_check(), 5);
}
