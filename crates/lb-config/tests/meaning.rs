//! What configurations mean: defaults, inheritance and keepalived's quirks.

use std::sync::Arc;
use std::time::Duration;

use lb_config::model::*;
use lb_config::{Diagnostic, Loaded, MemorySystem, Options, Severity, parse_str};

fn system() -> MemorySystem {
    MemorySystem::default()
        .with_mode("/bin/true", "", 0o755)
        .with_mode("/usr/bin/check", "", 0o755)
        .with("/usr/bin/text", "")
        .with_mode("/tmp/anyone", "", 0o777)
}

fn load(text: &str) -> Loaded {
    parse_str("test.conf", text, &Options::default(), &system())
}

/// The model and the ids of the complaints, which must be these.
fn model(text: &str, complaints: &[&str]) -> Model {
    let loaded = load(text);
    let ids: Vec<&str> = loaded.diagnostics.iter().map(|diagnostic| diagnostic.id).collect();
    assert_eq!(ids, complaints, "{text}\n{}", loaded.render(false));
    loaded.model.expect("accepted")
}

/// The ids of the complaints of a configuration that is refused.
fn refused(text: &str) -> Vec<&'static str> {
    let loaded = load(text);
    assert!(loaded.is_refused(), "{text}");
    loaded.diagnostics.iter().map(|diagnostic| diagnostic.id).collect()
}

/// An instance with a VIP and these lines.
fn instance(lines: &str, complaints: &[&str]) -> VrrpInstance {
    let text = format!(
        "vrrp_instance VI_1 {{\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {{\n10.0.0.1\n}}\n{lines}\n}}"
    );
    Arc::unwrap_or_clone(model(&text, complaints).vrrp_instances.remove(0))
}

/// A virtual server with these lines, after a scheduler, a method and a protocol.
fn server(lines: &str, complaints: &[&str]) -> VirtualServer {
    let text = format!(
        "virtual_server 10.0.0.1 80 {{\nlb_algo rr\nlb_kind NAT\nprotocol TCP\n{lines}\n}}"
    );
    Arc::unwrap_or_clone(model(&text, complaints).virtual_servers.remove(0))
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_instance_has_keepaliveds_defaults() {
    let found = instance("", &[]);
    let garp = Garp {
        repeat: 5,
        delay: 5 * SECOND,
        refresh: Duration::ZERO,
        refresh_repeat: 1,
        lower_prio_repeat: 5,
        lower_prio_delay: 5 * SECOND,
    };
    let vip = VirtualAddress {
        address: [10, 0, 0, 1].into(),
        prefix: 32,
        interface: Some("eth0".into()),
        broadcast: None,
        scope: 0,
        label: None,
        no_track: false,
        flags: AddressFlags::default(),
    };
    let expected = VrrpInstance {
        router: VirtualRouter {
            name: "VI_1".into(),
            state: InitialState::Backup,
            interface: Some("eth0".into()),
            source: None,
            track_source: false,
            peers: Peers::Multicast { group: [224, 0, 0, 18].into() },
            vips: vec![vip],
            excluded_vips: vec![],
            dont_track_primary: false,
            track_interfaces: vec![],
            track_scripts: vec![],
            garp,
            notify: Notify::default(),
            ..VirtualRouter::default()
        },
        vrid: 51,
        version: VrrpVersion::V2,
        family: Family::Inet,
        priority: 100,
        advert_int: SECOND,
        down_timer_adverts: 3,
        nopreempt: false,
        preempt_delay: Duration::ZERO,
        password: None,
        accept: true,
        skip_check_adv_addr: false,
        lower_prio_no_advert: false,
        higher_prio_send_advert: false,
        owner_ignore_adverts: false,
        v3_checksum_as_v2: false,
        old_unicast_checksum: OldUnicastChecksum::Detect,
        strict: false,
        ..VrrpInstance::default()
    };
    assert_eq!(found, expected);
}

#[test]
fn state_and_priority_make_each_other() {
    let of = |lines: &str, complaints: &[&str]| {
        let found = instance(lines, complaints);
        (found.router.state, found.priority)
    };
    use InitialState::{Backup, Master};
    assert_eq!(of("state MASTER", &[]), (Master, 255));
    assert_eq!(of("state MASTER\npriority 150", &[]), (Master, 150));
    assert_eq!(of("priority 255", &[]), (Master, 255));
    assert_eq!(of("state BACKUP\npriority 255", &[]), (Backup, 255));
    assert_eq!(of("state master", &["state"]), (Backup, 100));
    assert_eq!(of("state MASTER\npriority 256", &["number-range"]), (Master, 100));
    assert_eq!(of("priority 0", &["number-range"]), (Backup, 100));
}

#[test]
fn nopreempt_is_for_backups() {
    assert!(instance("state BACKUP\nnopreempt", &[]).nopreempt);
    assert!(!instance("state MASTER\npriority 99\nnopreempt", &["nopreempt-master"]).nopreempt);
    assert!(instance("nopreempt off", &[]).nopreempt, "a flag ignores its argument");
    assert!(!instance("nopreempt\npreempt", &[]).nopreempt);
}

#[test]
fn the_interval_is_what_the_version_can_carry() {
    let of = |lines: &str, complaints: &[&str]| instance(lines, complaints).advert_int.as_millis();
    assert_eq!(of("advert_int 0.5", &["advert-int"]), 1_000);
    assert_eq!(of("advert_int 1.5", &["advert-int"]), 2_000);
    assert_eq!(of("advert_int 1.4", &["advert-int"]), 1_000);
    assert_eq!(of("version 3\nadvert_int 0.015", &["advert-int"]), 20);
    assert_eq!(of("version 3\nadvert_int 0.01", &[]), 10);
    assert_eq!(of("version 3\nadvert_int 60", &["advert-int"]), 40_950);
    assert_eq!(of("advert_int 1s", &["number"]), 1_000);
    assert_eq!(of("advert_int 2;", &["number"]), 1_000);
    assert_eq!(of("advert_int 256", &["number-range"]), 1_000);
    assert_eq!(of("version 3\nadvert_int 0.1000004", &["decimals"]), 100);
}

#[test]
fn a_number_with_a_rest_counts_at_run_time_only() {
    assert_eq!(instance("priority 150abc", &["number-with-rest"]).priority, 150);
    let text = "vrrp_instance A {\ninterface eth0\nvirtual_router_id 5x\nvirtual_ipaddress {\n10.0.0.1\n}\n}";
    let testing = Options { testing: true, ..Options::default() };
    assert!(parse_str("t", text, &testing, &system()).is_refused(), "no VRID");
    assert!(!load(text).is_refused());
}

#[test]
fn passwords_are_for_version_2() {
    let pass = "authentication {\nauth_type PASS\nauth_pass secretsecret\n}";
    assert_eq!(instance(pass, &["auth-pass-length"]).password, Some(*b"secretse"));
    let pass = "authentication {\nauth_type PASS\nauth_pass abc\n}";
    assert_eq!(instance(pass, &[]).password, Some(*b"abc\0\0\0\0\0"));
    assert_eq!(instance(&format!("version 3\n{pass}"), &["authentication"]).password, None);
    assert_eq!(instance(&format!("strict_mode\n{pass}"), &["authentication"]).password, None);
    assert_eq!(instance("authentication {\nauth_type PASS\n}", &["authentication"]).password, None);
    assert_eq!(
        instance("authentication {\nauth_type PASS auth_pass x\n}", &["authentication"]).password,
        None
    );
    assert_eq!(instance("authentication {\n}", &[]).password, None);
    assert_eq!(
        instance("authentication {\nauth_type pass\nauth_pass x\n}", &["auth-type"]).password,
        None
    );
}

#[test]
fn addresses_take_their_options() {
    let text = "vrrp_instance A {\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress {\n\
        10.0.0.1/24 dev eth1 brd + label eth1:1 scope link no_track\n10.0.0.9/33\n10.0.0.1, \n010.0.0.1\n10.0.0.2 10.0.0.3\n2001:db8::1\n}\n}";
    let complaints = ["vip-prefix", "vip", "vip", "unknown-option", "vip-family"];
    let found = model(text, &complaints).vrrp_instances[0].router.vips.clone();
    assert_eq!(found.len(), 3);
    assert_eq!(
        found[0],
        VirtualAddress {
            address: [10, 0, 0, 1].into(),
            prefix: 24,
            interface: Some("eth1".into()),
            broadcast: Some([10, 0, 0, 255].into()),
            scope: 253,
            label: Some("eth1:1".into()),
            no_track: true,
            flags: AddressFlags::default(),
        }
    );
    assert_eq!((found[1].prefix, found[2].address), (32, [10, 0, 0, 2].into()));
}

#[test]
fn a_peer_makes_an_address_one_of_its_own() {
    let lines = "virtual_ipaddress_excluded {\n10.0.0.2 peer 10.1.0.2\n10.0.0.3/24 brd + peer 10.1.0.3\n\
                 10.0.0.4/24 peer 10.1.0.4/24\n}";
    let found = instance(lines, &["vip-peer", "vip-peer", "address"]).router.excluded_vips;
    let points: Vec<_> =
        found.iter().map(|vip| (vip.prefix, vip.broadcast, vip.flags.peer)).collect();
    let peer = |last| Some([10, 1, 0, last].into());
    assert_eq!(points, [(32, None, peer(2)), (32, None, peer(3)), (24, None, None)]);
}

#[test]
fn a_link_group_is_known_by_its_name() {
    let system = system().with("/etc/iproute2/group", "# names\n0\tdefault\n0x10 lan dmz\n");
    let group = |name: &str| {
        let text = format!(
            "vrrp_instance VI_1 {{\ninterface eth0\nvirtual_router_id 51\nuse_vmac group {name}\n\
             virtual_ipaddress {{\n10.0.0.1\n}}\n}}"
        );
        let loaded = parse_str("test.conf", &text, &Options::default(), &system);
        let ids: Vec<_> = loaded.diagnostics.iter().map(|diagnostic| diagnostic.id).collect();
        let model = loaded.model.expect("accepted");
        (model.vrrp_instances[0].router.vmac.as_ref().and_then(|vmac| vmac.group), ids)
    };
    assert_eq!(group("lan"), (Some(16), vec![]));
    assert_eq!(group("default"), (Some(0), vec![]));
    assert_eq!(group("7"), (Some(7), vec![]));
    assert_eq!(group("dmz"), (None, vec!["number"]));
}

#[test]
fn ipv6_is_version_3() {
    let text = "vrrp_instance A {\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress {\nfe80::1/64\n2001:db8::1\n}\n\
        virtual_ipaddress_excluded {\n10.0.0.1\n}\n}";
    let found = model(text, &[]).vrrp_instances.remove(0);
    assert_eq!((found.family, found.version), (Family::Inet6, VrrpVersion::V3));
    assert_eq!(found.router.peers, Peers::Multicast { group: "ff02::12".parse().unwrap() });
    assert_eq!(
        (found.router.vips.len(), found.router.vips[1].prefix, found.router.excluded_vips.len()),
        (2, 128, 1)
    );
}

#[test]
fn peers_make_an_instance_unicast() {
    let peers = "unicast_src_ip 10.0.0.5\nunicast_peer {\n10.0.0.6\n10.0.0.7 min_ttl 250 max_ttl 254\n::1\n}\nunicast_ttl 64";
    let found = instance(peers, &["peer-family"]);
    let expected = vec![
        UnicastPeer { address: [10, 0, 0, 6].into(), ttl: (0, 255) },
        UnicastPeer { address: [10, 0, 0, 7].into(), ttl: (250, 254) },
    ];
    assert_eq!(
        found.router.peers,
        Peers::Unicast { peers: expected, check_source: true, ttl: Some(64) }
    );
    let found = instance("unicast_src_ip 10.0.0.5", &["unicast-without-peers"]);
    assert_eq!(found.router.peers, Peers::Multicast { group: [224, 0, 0, 18].into() });
}

#[test]
fn what_keepalived_does_not_start_with_is_refused() {
    let one = |lines: &str| format!("vrrp_instance A {{\n{lines}\n}}\n");
    let vip = "virtual_ipaddress {\n10.0.0.1\n}";
    assert_eq!(refused(&one(&format!("interface eth0\n{vip}"))), ["vrid-missing"]);
    assert_eq!(refused(&one(&format!("virtual_router_id 1\n{vip}"))), ["interface-missing"]);
    assert_eq!(
        refused(&one("interface eth0\nvirtual_router_id 0")),
        ["number-range", "vrid-missing"]
    );
    assert_eq!(refused(&one("interface eth0\nvirtual_router_id 1\nversion 3")), ["no-vip"]);
    assert_eq!(refused(&one("interface eth0\nvirtual_router_id 1\nstrict_mode")), ["no-vip"]);
    assert_eq!(refused(&one("interface\nvirtual_router_id 1")), ["missing-argument"]);
    assert_eq!(refused("vrrp_script {\n"), ["missing-argument"]);
    let good = one(&format!("interface eth0\nvirtual_router_id 1\n{vip}"));
    assert_eq!(refused(&(good.clone() + &good.replace("e A", "e B"))), ["duplicate-vrid"]);
    model(&(good.clone() + &good.replace("e A", "e B").replace("eth0", "eth1")), &[]);
    model(&(good.clone() + &good.replace("e A", "e B").replace("10.0.0.1", "2001:db8::1")), &[]);
    // Without an address a version 2 instance runs, and with `no_virtual_ipaddress` nobody complains.
    model(&one("interface eth0\nvirtual_router_id 1"), &["no-vip"]);
    model(&one("interface eth0\nvirtual_router_id 1\nno_virtual_ipaddress"), &[]);
    model(
        &one(&format!(
            "virtual_router_id 1\nunicast_src_ip 10.0.0.1\nunicast_peer {{\n10.0.0.2\n}}\n{vip}"
        )),
        &["interface-missing"],
    );
}

#[test]
fn interfaces_must_exist_unless_they_come_and_go() {
    let text = "vrrp_instance A {\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress {\n10.0.0.1 dev eth9\n}\n}";
    let mut system = system();
    system.interfaces = Some(["eth0".to_owned()].into());
    let loaded = parse_str("t", text, &Options::default(), &system);
    assert!(loaded.is_refused());
    assert!(loaded.render(false).contains("interface `eth9` does not exist"));
    assert_eq!(loaded.diagnostics.exit_code_of_check(), 5);
    // keepalived does not come to look at its scripts then.
    let notified = text.replace("interface eth0", "interface eth0\nnotify /bin/true");
    let loaded = parse_str("t", &notified, &Options::default(), &system);
    assert_eq!(loaded.diagnostics.exit_code_of_check(), 5);
    let text = format!("global_defs {{\ndynamic_interfaces\n}}\n{text}");
    assert!(!parse_str("t", &text, &Options::default(), &system).is_refused());
}

#[test]
fn an_unknown_block_ends_the_block_around_it() {
    let text =
        "vrrp_instance A {\ninterface eth0\nvirtual_router_id 5\nstrange {\nx\n}\npriority 7\n}";
    let complaints = [
        "unknown-keyword",
        "unexpected-open",
        "unknown-keyword",
        "unknown-keyword",
        "unknown-keyword",
        "no-vip",
    ];
    assert_eq!(model(text, &complaints).vrrp_instances[0].priority, 100);
}

#[test]
fn what_nothing_acts_on_is_in_the_model_and_said_once() {
    let found = instance(
        "virtual_routes {\n10.1.0.0/16 via 10.0.0.9 dev eth0\n10.2.0.0/16 via 10.0.0.9 dev eth0\n}\n\
         debug 1\ndebug 2\npriority 7",
        &["not-acted-on", "not-acted-on"],
    );
    assert_eq!(found.priority, 7);
    assert_eq!(found.router.routes.len(), 2);
    assert_eq!(found.router.routes[1].gateway, Some([10, 0, 0, 9].into()));
    assert_eq!(found.router.debug, 2);
}

#[test]
fn what_places_or_guards_and_is_not_built_is_refused_until_it_is_allowed() {
    let instance = "vrrp_instance VI_1 {\ninterface eth0\nvirtual_router_id 51\n\
        virtual_ipaddress {\n10.0.0.1\n}\nHOLE\n}\n";
    let key = "auth_hmac {\nkey 1 abcdefghijklmnopqrstuvwxyz0123456789\nactive_key 1\n}";
    let bfd = "bfd_instance B {\nneighbor_ip 10.0.0.9\n}\n";
    let group = "vrrp_sync_group G {\ngroup {\nVI_1\nVI_2\n}\ntrack_bfd {\nB\n}\n}\n";
    let second = instance.replace("HOLE", "").replace("VI_1", "VI_2").replace("51", "52");
    let carp = "carp_instance C {\ninterface eth0\nvhid 51\nvirtual_ipaddress {\n10.0.0.1\n}\nuse_ipvlan\n}\n";
    for (id, line, text) in [
        ("net-namespace", 1, "net_namespace blue\n".to_owned() + &instance.replace("HOLE", "")),
        ("net-namespace-ipvs", 1, "net_namespace_ipvs blue\n".to_owned()),
        ("use-ipvlan", 7, instance.replace("HOLE", "use_ipvlan")),
        ("use-ipvlan", 7, carp.to_owned()),
        ("auth-hmac", 7, instance.replace("HOLE", key)),
        ("track-bfd", 10, bfd.to_owned() + &instance.replace("HOLE", "track_bfd {\nB\n}")),
        ("track-bfd", 25, bfd.to_owned() + &instance.replace("HOLE", "") + &second + group),
        (
            "vrf",
            6,
            "vrrp_instance VI_1 {\nunicast_src_ip 10.0.0.7\nunicast_peer {\n10.0.0.8\n}\nvrf red\n\
             virtual_router_id 51\nvirtual_ipaddress {\n10.0.0.1 dev eth0\n}\n}\n"
                .to_owned(),
        ),
    ] {
        let loaded = load(&text);
        let found: Vec<_> = loaded.diagnostics.iter().filter(|found| found.id == id).collect();
        assert!(loaded.is_refused() && found.len() == 1, "{id}: {}", loaded.render(false));
        assert_eq!(loaded.sources.position(found[0].span.unwrap()).line, line, "{id}");
        // keepalived's status stays.
        assert_eq!(loaded.diagnostics.exit_code_of_check(), 0, "{id}: {}", loaded.render(false));
        let options = Options { allow: vec![id.to_owned()], ..Options::default() };
        let allowed = parse_str("test.conf", &text, &options, &system());
        assert!(!allowed.is_refused(), "{id}: {}", allowed.render(false));
        // It is said all the same, and is no complaint any more.
        let said = |found: &Diagnostic| found.id == id && found.severity == Severity::Note;
        assert!(allowed.diagnostics.iter().any(said) && allowed.diagnostics.errors() == 0, "{id}");
    }
    let commented = instance.replace("HOLE", "use_ipvlan # allow(use-ipvlan)");
    assert!(!load(&commented).is_refused());
}

#[test]
fn garp_is_copied_when_the_block_opens() {
    let globals = "global_defs {\nvrrp_garp_master_delay 9\nvrrp_garp_master_repeat 0\n}\n";
    let block = "vrrp_instance A {\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress {\n10.0.0.1\n}\n}\n";
    let before = model(&(globals.to_owned() + block), &[]).vrrp_instances.remove(0).router.garp;
    assert_eq!((before.delay, before.repeat), (9 * SECOND, 1));
    let after = model(&(block.to_owned() + globals), &[]).vrrp_instances.remove(0).router.garp;
    assert_eq!((after.delay, after.repeat), (5 * SECOND, 5));
    let minimal = model(&("global_defs {\nvrrp_min_garp\n}\n".to_owned() + block), &[])
        .vrrp_instances
        .remove(0)
        .router
        .garp;
    assert_eq!((minimal.delay, minimal.repeat), (Duration::ZERO, 1));
    assert!(instance("skip_check_adv_addr off", &[]).skip_check_adv_addr, "any boolean enables");
}

#[test]
fn strict_instances_follow_the_rfc() {
    let found = instance(
        "strict_mode\ndown_timer_adverts 5\npreempt_delay 3\nstate MASTER\npriority 150",
        &["strict-timing", "strict-timing", "strict-state"],
    );
    assert_eq!(
        (found.router.state, found.down_timer_adverts, found.preempt_delay),
        (InitialState::Backup, 3, Duration::ZERO)
    );
    assert!(!found.accept && found.lower_prio_no_advert && found.owner_ignore_adverts);
    assert_eq!(found.router.garp.lower_prio_repeat, 0);
}

#[test]
fn tracked_things_have_weights() {
    let text = "global_defs {\nenable_script_security\nscript_user root\n}\n\
        vrrp_script chk {\nscript \"/usr/bin/check -a 'b c'\"\ninterval 0.5\nweight -10\nrise 2\n}\n\
        vrrp_instance A {\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress {\n10.0.0.1\n}\n\
        track_script {\nchk\nchk\nother\n}\ntrack_interface {\neth0\neth1 weight 20\neth2 weight -254\neth3 weight 300\n}\n}";
    let complaints = ["track-duplicate", "track-unknown", "number-range", "track-own-interface"];
    let found = model(text, &complaints);
    let tracked = |name: &str, weight| Tracked { name: name.into(), weight, reverse: false };
    let instance = &found.vrrp_instances[0];
    assert_eq!(instance.router.track_scripts, [tracked("chk", -10)]);
    assert_eq!(
        instance.router.track_interfaces,
        [tracked("eth1", 20), tracked("eth2", -253), tracked("eth3", 0)]
    );
    let owner = Some(ScriptOwner { uid: 0, gid: 0 });
    let half = Duration::from_millis(500);
    assert_eq!(
        found.vrrp_scripts,
        [VrrpScript {
            name: "chk".into(),
            script: Script { owner, secure: true, ..Script::new(["/usr/bin/check", "-a", "b c"]) },
            interval: half,
            timeout: half,
            rise: 2,
            fall: 1,
            init_fail: false,
        }]
    );
}

#[test]
fn the_sync_daemon_takes_the_number_of_its_instance() {
    let instances = "vrrp_instance A {\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress {\n10.0.0.1\n}\nOLD\n}\n\
        carp_instance B {\ninterface eth0\nvhid 7\npass x\nvirtual_ipaddress {\n10.0.0.2/24\n}\n}\n";
    let daemon = |line: &str, old: &str, complaints: &[&str]| {
        let text = format!("global_defs {{\n{line}\n}}\n{}", instances.replace("OLD", old));
        let found = model(&text, complaints).sync_daemon()?;
        Some((found.interface, found.instance, found.id))
    };
    let of = |name: &str| Some(name.to_owned());
    let eth1 = || "eth1".to_owned();
    assert_eq!(daemon("", "", &[]), None);
    assert_eq!(daemon("lvs_sync_daemon eth1", "", &[]), Some((eth1(), None, Some(0))));
    let by = |inst: &str| daemon(&format!("lvs_sync_daemon eth1 inst {inst}"), "", &[]);
    assert_eq!(by("A"), Some((eth1(), of("A"), Some(5))));
    assert_eq!(by("B"), Some((eth1(), of("B"), Some(7))));
    assert_eq!(by("A id 9"), Some((eth1(), of("A"), Some(9))));
    let old = "lvs_sync_daemon_interface eth1";
    assert_eq!(daemon("", old, &["deprecated"]), Some((eth1(), of("A"), Some(0))));
    let unknown = daemon("lvs_sync_daemon eth1 inst C", "", &["sync-daemon-instance"]);
    assert_eq!(unknown, None);
}

/// As keepalived 2.2.7: of interfaces it says that their weights do not count, and counts them.
#[test]
fn in_a_group_weights_of_interfaces_count_and_those_of_files_do_not() {
    let files = "track_file f {\nfile /tmp/f\nweight 1\n}\n";
    let lines = "track_interface {\neth1 weight 20\neth2 weight 7 reverse\neth5\n}\ntrack_file {\nLIST\n}\n";
    let of = |list: &str, group: &str, complains: bool| {
        let lines = lines.replace("LIST", list);
        let text = format!(
            "{files}vrrp_sync_group G {{\ngroup {{\nA B\nC\n}}\ntrack_interface {{\neth5 weight 5\n}}\n\
             notify_master /bin/true\n{group}}}\nvrrp_sync_group H {{\ngroup {{\nA\n}}\n}}\n\
             vrrp_instance A {{\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress {{\n10.0.0.1\n}}\n{lines}}}\n\
             vrrp_instance B {{\ninterface eth0\nvirtual_router_id 6\nvirtual_ipaddress {{\n10.0.0.2\n}}\n}}\n"
        );
        let loaded = load(&text);
        let mut ids = loaded.diagnostics.iter().map(|diagnostic| diagnostic.id);
        assert_eq!(ids.any(|id| id == "group-weight"), complains, "{}", loaded.render(false));
        loaded.model.expect("accepted")
    };
    let tracked = |name: &str, weight| Tracked { name: name.into(), weight, reverse: false };
    let found = of("f", "", true);
    assert_eq!(found.sync_groups.len(), 1);
    assert_eq!(found.sync_groups[0].members, ["A", "B"]);
    assert!(found.sync_groups[0].notify.master.is_some());
    let [one, two] = [0, 1].map(|index| &found.vrrp_instances[index].router);
    let reverse = Tracked { reverse: true, ..tracked("eth2", 7) };
    assert_eq!(one.track_interfaces, [tracked("eth1", 20), reverse, tracked("eth5", 0)]);
    assert_eq!(two.track_interfaces, [tracked("eth5", 5)]);
    assert_eq!(one.track_files, [tracked("f", 0)]);

    let file = |list: &str, group: &str, complains: bool| {
        of(list, group, complains).vrrp_instances[0].router.track_files.clone()
    };
    assert_eq!(file("f weight 2", "", true), []);
    assert_eq!(file("f weight 0", "", false), [tracked("f", 0)]);
    let weighing = "sync_group_tracking_weight\n";
    assert_eq!(file("f weight 2", weighing, false), [tracked("f", 2)]);
}

#[test]
fn scripts_must_be_there_and_safe() {
    let secure = "global_defs {\nscript_user root\nenable_script_security\n}\n";
    let of = |command: &str| {
        format!(
            "vrrp_instance A {{\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress {{\n10.0.0.1\n}}\n\
             notify_master {command}\n}}\n"
        )
    };
    let runs = |text: &str, complaints: &[&str]| {
        model(text, complaints).vrrp_instances[0].router.notify.master.clone()
    };
    assert!(runs(&of("\"/bin/true\""), &["script-security"]).is_some());
    assert!(runs(&(secure.to_owned() + &of("/bin/true")), &[]).is_some());
    let found = runs(&(secure.to_owned() + &of("check")), &[]).unwrap();
    assert_eq!(found.argv, ["/usr/bin/check"]);
    assert!(runs(&(secure.to_owned() + &of("/usr/bin/text")), &["script-missing"]).is_none());
    assert!(runs(&(secure.to_owned() + &of("/tmp/anyone")), &["script-security"]).is_none());
    assert!(runs(&of("/tmp/anyone"), &["script-security", "script-security"]).is_some());
    assert!(runs(&of("/bin/true --flag"), &["unknown-user"]).is_none());
    let unowned = "global_defs {\nenable_script_security\n}\n".to_owned() + &of("/bin/true");
    assert!(runs(&unowned, &["script-security"]).is_none());
    let chk = |command: &str| format!("vrrp_script chk {{\nscript {command}\n}}\n");
    let instance = "vrrp_instance A {\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress {\n10.0.0.1\n}\n}\n";
    let checked = |text: &str| load(text).diagnostics.exit_code_of_check();
    assert_eq!(checked(&(chk("/bin/true") + instance)), 6);
    // Nothing runs it.
    assert_eq!(checked(&chk("/bin/true")), 0);
    assert_eq!(checked(&chk("/missing")), 5);
}

#[test]
fn a_tracked_script_that_cannot_run_stays_and_fails() {
    let secure = "global_defs {\nscript_user root\nenable_script_security\n}\n";
    let of = |head: &str, command: &str, complaints: &[&str]| {
        let text = format!(
            "{head}vrrp_script chk {{\nscript {command}\n}}\n\
             vrrp_instance A {{\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress {{\n10.0.0.1\n}}\n\
             track_script {{\nchk\n}}\n}}"
        );
        let found = model(&text, complaints);
        assert_eq!(found.vrrp_instances[0].router.track_scripts.len(), 1, "{text}");
        found.vrrp_scripts[0].script.clone()
    };
    // What the machine can cure is tried at every run; the rest is said once and for all.
    for (command, complaint) in
        [("/usr/bin/text", "script-missing"), ("/tmp/anyone", "script-security")]
    {
        let script = of(secure, command, &[complaint]);
        assert_eq!((script.argv, script.unusable), (vec![command.to_owned()], None));
        assert!(script.secure);
    }
    let unusable = |head: &str, command: &str, complaints: &[&str]| {
        of(head, command, complaints).unusable.unwrap()
    };
    assert!(unusable(secure, "nowhere", &["script-missing"]).contains("PATH"));
    let user = "/bin/true\nuser nobody-here";
    assert!(unusable(secure, user, &["unknown-user"]).contains("nobody-here"));
    let head = "global_defs {\nscript_user nobody-here\n}\n";
    assert!(unusable(head, "/bin/true", &["unknown-user"]).contains("nobody-here"));
    let head = "global_defs {\nenable_script_security\n}\n";
    assert!(unusable(head, "/bin/true", &["script-security"]).contains("keepalived_script"));
    // Without the line too.
    let text = "vrrp_script chk {\ninterval 2\n}\n\
        vrrp_instance A {\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress {\n10.0.0.1\n}\n\
        track_script {\nchk\n}\n}";
    let found = model(text, &["script-empty"]);
    assert_eq!(found.vrrp_instances[0].router.track_scripts.len(), 1);
    let script = &found.vrrp_scripts[0].script;
    assert_eq!(script.unusable.as_deref(), Some("vrrp_script chk has no script"));
}

#[test]
fn a_check_that_says_not_what_to_ask_leaves_the_health_of_its_server_unknown() {
    for (check, complaint) in [
        ("MISC_CHECK {\nmisc_timeout 3\n}", "script-empty"),
        ("HTTP_GET {\nconnect_timeout 3\n}", "no-url"),
        ("SSL_GET {\nconnect_timeout 3\n}", "no-url"),
    ] {
        let text = format!(
            "virtual_server 10.0.0.1 80 {{\nprotocol TCP\nlb_algo wlc\nlb_kind NAT\n\
             real_server 10.0.0.2 80 {{\n{check}\n}}\n}}"
        );
        let found = model(&text, &[complaint, "check-not-built"]);
        let checkers = &found.virtual_servers[0].real_servers[0].checkers;
        assert_eq!(checkers.len(), 1, "{check}");
        assert!(checkers[0].kind.obstacle().is_some(), "{check}");
    }
}

#[test]
fn a_check_that_cannot_run_stays_and_fails() {
    let text = "global_defs {\nscript_user root\nenable_script_security\n}\n\
        virtual_server 10.0.0.1 80 {\nprotocol TCP\nlb_algo wlc\nlb_kind NAT\nreal_server 10.0.0.2 80 {\nMISC_CHECK {\nmisc_path /missing\n}\n}\n}";
    let found = model(text, &["script-missing"]);
    assert_eq!(found.virtual_servers[0].real_servers[0].checkers.len(), 1);
}

#[test]
fn a_virtual_server_has_keepaliveds_defaults() {
    let text = "virtual_server 10.0.0.1 80 {\nreal_server 10.0.0.2 80 {\nTCP_CHECK {\n}\n}\n}";
    let found =
        model(text, &["no-protocol", "no-scheduler", "no-method"]).virtual_servers.remove(0);
    let connection = Connection {
        to: "10.0.0.2:80".parse().unwrap(),
        bind: None,
        interface: None,
        fwmark: 0,
        timeout: 5 * SECOND,
    };
    let checker = Checker {
        kind: CheckerKind::Tcp { connection },
        delay_loop: 60 * SECOND,
        retry: 1,
        delay_before_retry: SECOND,
        warmup: 60 * SECOND,
        alpha: false,
        log_all_failures: false,
    };
    let real_server = RealServer {
        address: "10.0.0.2:80".parse().unwrap(),
        weight: 1,
        method: LvsMethod::Nat,
        upper_threshold: 0,
        lower_threshold: 0,
        inhibit_on_failure: false,
        notify_up: None,
        notify_down: None,
        checkers: vec![checker],
        smtp_alert: true,
        snmp_name: None,
    };
    let expected = VirtualServer {
        key: VirtualServerKey::Address("10.0.0.1:80".parse().unwrap()),
        family: Family::Inet,
        protocol: Protocol::Udp,
        scheduler: LvsScheduler::Wlc,
        method: LvsMethod::Nat,
        flag_1: false,
        flag_2: false,
        flag_3: false,
        one_packet: false,
        persistence_timeout: None,
        persistence_engine: None,
        persistence_granularity: None,
        quorum: 1,
        hysteresis: 0,
        quorum_up: None,
        quorum_down: None,
        alpha: false,
        omega: false,
        ha_suspend: false,
        sorry_server: None,
        real_servers: vec![real_server],
        smtp_alert: false,
        snmp_name: None,
    };
    assert_eq!(*found, expected);
}

#[test]
fn the_virtualhost_of_a_real_server_is_no_name_of_tls() {
    let hosts = |virtual_server, real, checker, url| {
        let text = format!(
            "{virtual_server}\nreal_server 10.0.0.2 443 {{\n{real}\nSSL_GET {{\nenable_sni\n{checker}\n\
             url {{\npath /\n{url}\n}}\n}}\n}}"
        );
        let found = server(&text, &[]);
        let CheckerKind::Http(http) = &found.real_servers[0].checkers[0].kind else {
            panic!("HTTP")
        };
        let url = &http.urls[0];
        [&url.virtualhost, &url.tls_host].map(|host| host.clone().unwrap_or_default())
    };
    let [v, r, c, u] = ["v", "r", "c", "u"].map(|name| format!("virtualhost {name}"));
    assert_eq!(hosts("", &r, "", ""), ["r", ""]);
    assert_eq!(hosts(&v, &r, "", ""), ["r", "v"]);
    assert_eq!(hosts(&v, &r, &c, ""), ["c", "c"]);
    assert_eq!(hosts(&v, &r, &c, &u), ["u", "u"]);
}

#[test]
fn checkers_inherit() {
    let found = server(
        "delay_loop 10\nretry 4\nvirtualhost vs.example\nalpha\nreal_server 10.0.0.2 80 {\nretry 5\ndelay_before_retry 0.5\n\
         HTTP_GET {\nnb_get_retry 0\nconnect_port 8080\nurl {\npath /a\nstatus_code 200 300-302 99\n}\n\
         url {\npath /b\nvirtualhost b.example\ndigest 00112233445566778899aabbccddeeff\n}\nurl {\n}\n}\n\
         MISC_CHECK {\nmisc_path \"/bin/true x\"\nmisc_dynamic\nalpha off\n}\n}",
        &["deprecated", "status-code", "no-path", "script-security"],
    );
    let [http, misc] = &found.real_servers[0].checkers[..] else { panic!("two checkers") };
    assert_eq!(
        (http.retry, http.delay_before_retry, http.delay_loop),
        (0, SECOND / 2, 10 * SECOND)
    );
    assert_eq!((misc.retry, misc.warmup, misc.alpha, http.alpha), (5, 10 * SECOND, false, true));
    let CheckerKind::Http(http) = &http.kind else { panic!("HTTP") };
    assert_eq!(http.connection.to, "10.0.0.2:8080".parse().unwrap());
    assert_eq!(http.urls[0].virtualhost.as_deref(), Some("vs.example"));
    assert_eq!(http.urls[0].status_codes, [(200, 200), (300, 302)]);
    assert_eq!(
        (http.urls[1].virtualhost.as_deref(), http.urls[1].status_codes[0]),
        (Some("b.example"), (200, 299))
    );
    assert_eq!(http.urls[1].digest.unwrap()[..3], [0x00, 0x11, 0x22]);
    let CheckerKind::Misc { timeout, dynamic, .. } = &misc.kind else { panic!("MISC") };
    assert_eq!((*timeout, *dynamic), (10 * SECOND, true));
}

#[test]
fn ports_follow_the_method() {
    let real = |port: &str, extra: &str| format!("{extra}\nreal_server 10.0.0.2 {port} {{\n}}");
    let port = |found: VirtualServer| found.real_servers[0].address.port();
    assert_eq!(port(server(&real("8080", ""), &[])), 8080);
    assert_eq!(port(server(&real("", ""), &[])), 80);
    assert_eq!(port(server(&real("8080", "lb_kind DR"), &["port-mismatch"])), 80);
    assert_eq!(port(server(&real("", "lb_kind TUN"), &[])), 80);
    let text = "virtual_server fwmark 0x10 {\nlb_algo rr\nlb_kind DR\nprotocol TCP\nreal_server 10.0.0.2 80 {\n}\n}";
    let found = model(text, &["protocol-with-mark", "port-mismatch"]).virtual_servers.remove(0);
    assert_eq!(
        (found.key.clone(), port(Arc::unwrap_or_clone(found))),
        (VirtualServerKey::Fwmark(16), 0)
    );
}

#[test]
fn checks_go_to_the_port_as_written() {
    let checked = |service: &str, real: &str, method: &str| {
        let text = format!(
            "virtual_server {service} {{\nlb_algo rr\nlb_kind {method}\nreal_server 10.0.0.2 {real} {{\nTCP_CHECK {{\n}}\n}}\n}}"
        );
        let loaded = load(&text);
        let model = loaded.model.expect("accepted");
        let checker = &model.virtual_servers[0].real_servers[0].checkers[0];
        let CheckerKind::Tcp { connection } = &checker.kind else { panic!("TCP") };
        connection.to.port()
    };
    // (service, server's port, method, port that is checked)
    for (service, real, method, port) in [
        ("fwmark 1", "80", "DR", 80),
        ("fwmark 1", "80", "NAT", 80),
        ("fwmark 1", "80", "TUN", 80),
        ("10.0.0.1 0", "80", "DR", 80),
        ("10.0.0.1 0", "80", "TUN", 80),
        ("10.0.0.1 80", "8080", "DR", 8080),
        ("10.0.0.1 80", "8080", "TUN", 8080),
        ("10.0.0.1 80", "8080", "NAT", 8080),
        // Nothing written is the service's.
        ("10.0.0.1 80", "", "DR", 80),
        ("10.0.0.1 80", "", "NAT", 80),
    ] {
        assert_eq!(checked(service, real, method), port, "{service} {real} {method}");
    }
}

#[test]
fn persistence_is_implied_by_port_0_and_granularity() {
    let every = "virtual_server 10.0.0.1 {\nlb_algo rr\nlb_kind NAT\nprotocol TCP\nreal_server 10.0.0.2 {\n}\n}";
    let found = model(every, &["port-zero"]).virtual_servers.remove(0);
    assert_eq!(found.persistence_timeout, Some(360 * SECOND));
    let real = "\nreal_server 10.0.0.2 80 {\n}";
    let found = server(&format!("persistence_granularity 255.255.255.0{real}"), &[]);
    assert_eq!(
        (found.persistence_timeout, found.persistence_granularity),
        (Some(360 * SECOND), Some(24))
    );
    assert_eq!(
        server(&format!("persistence_timeout{real}"), &[]).persistence_timeout,
        Some(360 * SECOND)
    );
    assert_eq!(
        server(&format!("persistence_timeout 0{real}"), &["number-range"]).persistence_timeout,
        None
    );
}

#[test]
fn scheduler_flags_need_their_scheduler_before_them() {
    let real = "\nreal_server 10.0.0.2 80 {\n}";
    let found = server(&format!("lb_algo sh\nsh-port\nsh-fallback{real}"), &[]);
    assert!(found.flag_1 && found.flag_2);
    assert!(!server(&format!("sh-port\nlb_algo sh{real}"), &["scheduler-flag"]).flag_2);
    assert!(!server(&format!("lb_algo mh\nsh-port{real}"), &["scheduler-flag"]).flag_2);
    assert!(server(&format!("hashed\nflag-3{real}"), &["scheduler-flag"]).flag_3);
    assert_eq!(server(&format!("lb_algo RR{real}"), &["scheduler"]).scheduler, LvsScheduler::Rr);
}

#[test]
fn quorum_can_be_reached() {
    let real = "\nreal_server 10.0.0.2 80 {\nweight 3\n}\nreal_server 10.0.0.3 80 {\n}\nreal_server 10.0.0.2 80 {\n}";
    let found = server(
        &format!("quorum 9\nhysteresis 9\nweight 2{real}"),
        &["duplicate-real-server", "quorum", "hysteresis", "quorum-unreachable"],
    );
    assert_eq!((found.quorum, found.hysteresis, found.real_servers.len()), (5, 4, 2));
}

#[test]
fn tunnels_have_options() {
    let method = |text: &str, complaints: &[&str]| {
        server(&format!("lvs_method {text}\nreal_server 10.0.0.2 80 {{\n}}"), complaints).method
    };
    assert_eq!(method("TUN", &[]), LvsMethod::Ipip);
    assert_eq!(
        method("TUN type gue port 6080 csum", &[]),
        LvsMethod::Gue { port: 6080, checksum: TunnelChecksum::Checksum }
    );
    assert_eq!(method("TUN type gre csum", &[]), LvsMethod::Gre { checksum: true });
    for broken in ["type gue", "type gre remcsum", "type gre port 8", "type x", "csum"] {
        assert_eq!(method(&format!("TUN {broken}"), &["tunnel"]), LvsMethod::Ipip, "{broken}");
    }
    let gue = LvsMethod::Gue { port: 6080, checksum: TunnelChecksum::None };
    assert_eq!(method("TUN type gue port 6080\nlvs_method TUN type gue", &["tunnel"]), gue);
    assert_eq!(method("dr", &["method"]), LvsMethod::Nat);
}

#[test]
fn a_lower_threshold_needs_an_upper_one() {
    let thresholds = |text: &str, complaints: &[&str]| {
        let real = format!("lvs_method DR\nreal_server 10.0.0.2 80 {{\n{text}\n}}");
        let real = &server(&real, complaints).real_servers[0];
        (real.lower_threshold, real.upper_threshold)
    };
    assert_eq!(thresholds("lthreshold 5", &["lower-threshold"]), (0, 0));
    assert_eq!(thresholds("lthreshold 5\nuthreshold 4", &["lower-threshold"]), (0, 4));
    assert_eq!(thresholds("lthreshold 4\nuthreshold 4", &[]), (4, 4));
}

#[test]
fn groups_are_expanded() {
    let text = "virtual_server_group G {\n10.0.0.1 80\n10.0.0.2-4 80\n10.1.0.0/30 80\nfwmark 7 inet6\n2001:db8::1-3 80\n10.1.0.1/30\n}\n\
        virtual_server group G {\nlb_algo rr\nlb_kind TUN\nprotocol TCP\nreal_server 10.0.9.1 80 {\n}\n}\n\
        virtual_server group H {\nreal_server 10.0.9.1 80 {\n}\n}";
    let found = model(text, &["group-entry", "server-group"]);
    assert_eq!(found.virtual_server_groups[0].entries.len(), 1 + 3 + 4 + 1 + 3);
    assert_eq!(found.virtual_servers[0].key, VirtualServerKey::Group("G".into()));
    assert_eq!(
        refused("virtual_server_group G {\n10.0.0.0/8 80\n}"),
        ["range-too-large", "group-empty"]
    );
}

#[test]
fn families_agree_but_for_tunnels() {
    let text = "virtual_server 10.0.0.1 80 {\nlb_algo rr\nlb_kind NAT\nprotocol TCP\nsorry_server 2001:db8::9 80\n\
        real_server 10.0.0.2 80 {\n}\nreal_server 2001:db8::1 80 {\n}\nreal_server 2001:db8::2 80 {\nlvs_method TUN\n}\n}";
    let found = &model(text, &["real-server-family", "sorry-server-family"]).virtual_servers[0];
    assert_eq!((found.real_servers.len(), &found.sorry_server), (2, &None));
}

#[test]
fn servers_that_make_no_sense_are_left_out() {
    let body = "{\nlb_algo rr\nlb_kind NAT\nprotocol TCP\nreal_server 10.0.0.2 80 {\n}\n}\n";
    for (head, complaint) in
        [("10.0.0.1:80", "address"), ("10.0.0.1 http", "port"), ("fwmark 0", "fwmark")]
    {
        assert_eq!(
            model(&format!("virtual_server {head} {body}"), &[complaint]).virtual_servers,
            []
        );
    }
    assert_eq!(
        model("virtual_server 10.0.0.1 80 {\nlb_algo rr\n}", &["no-real-server"]).virtual_servers,
        []
    );
    let twice = format!("virtual_server 10.0.0.1 80 {body}virtual_server 10.0.0.1 80 {body}");
    let servers = model(&twice, &["duplicate-virtual-server"]).virtual_servers;
    assert_eq!(servers.len(), 2, "keepalived serves the real servers of both");
}

#[test]
fn a_mark_or_a_group_is_served_once_per_family() {
    let server = |head: &str, real: &str| {
        format!("virtual_server {head} {{\nlb_algo rr\nlb_kind DR\nreal_server {real} {{\n}}\n}}\n")
    };
    let group = "virtual_server_group G {\nfwmark 8\n}\n";
    for (head, protocol) in [("fwmark 7", false), ("group G", true)] {
        let text = format!("{group}{}{}", server(head, "10.0.0.2"), server(head, "2001:db8::2"));
        let text = if protocol { text.replace("lb_kind", "protocol TCP\nlb_kind") } else { text };
        let families: Vec<Family> =
            model(&text, &[]).virtual_servers.iter().map(|server| server.family).collect();
        assert_eq!(families, [Family::Inet, Family::Inet6], "{head}");
    }
}

#[test]
fn the_status_of_a_check_is_keepaliveds() {
    let code = |text: &str| load(text).diagnostics.exit_code_of_check();
    assert_eq!(code(""), 0);
    assert_eq!(
        code("global_defs {\nsmtp_server 10.0.0.1\n}"),
        0,
        "what we lack is no complaint of keepalived's"
    );
    assert_eq!(code("nonsense"), 5);
    assert_eq!(code("vrrp_instance A {\ninterface\n}"), 2);
    assert_eq!(code("global_defs {"), 5);
    assert_eq!(code("virtual_server_group G\n10.0.0.1\n}"), 5);
}

#[test]
fn the_shipped_sample_is_clean() {
    let text = include_str!("../../../etc/keepalived.conf");
    let found = model(text, &[]);
    assert_eq!((found.vrrp_instances.len(), found.virtual_servers[0].real_servers.len()), (2, 2));
    // The servers' default gateway goes where their clients' address goes.
    assert_eq!(found.sync_groups.len(), 1);
    assert_eq!(found.vrrp_instances[0].password, Some(*b"changeme"));
}

#[test]
fn the_shipped_sample_of_carp_is_clean() {
    let found = model(include_str!("../../../etc/carp.conf"), &[]);
    let vhids: Vec<u8> = found.carp_instances.iter().map(|carp| carp.vhid).collect();
    assert_eq!(vhids, [1, 2]);
    assert!(found.carp_instances.iter().all(|carp| carp.preempt && carp.advskew == 0));
}

#[test]
fn a_router_with_an_authentication_header_listens_first_unless_it_is_the_owner() {
    let lines = |more: &str| {
        format!(
            "version 2\nstate MASTER\nauthentication {{\nauth_type AH\nauth_pass secret\n}}\n{more}"
        )
    };
    let found = instance(&lines("priority 100"), &["auth-state"]);
    assert_eq!(found.router.state, InitialState::Backup);
    assert_eq!((found.header_key, found.password), (Some(*b"secret\0\0"), None));
    let owner = instance(&lines("priority 255"), &[]);
    assert_eq!(owner.router.state, InitialState::Master);
}
