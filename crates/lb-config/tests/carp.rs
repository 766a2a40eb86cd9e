//! What `carp_instance` means, alone and beside VRRP.

use std::net::IpAddr;
use std::sync::Arc;

use lb_config::model::*;
use lb_config::{Format, Loaded, MemorySystem, Options, Severity, parse_str};

fn load(name: &str, text: &str) -> Loaded {
    let system = MemorySystem::default().with_mode("/bin/true", "", 0o755).with("/f", "0");
    let options = Options { record_statements: true, ..Options::default() };
    parse_str(name, text, &options, &system)
}

/// The model and the ids of the complaints, which must be these.
fn model(text: &str, complaints: &[&str]) -> Model {
    let loaded = load("test.conf", text);
    let ids: Vec<&str> = loaded.diagnostics.iter().map(|diagnostic| diagnostic.id).collect();
    assert_eq!(ids, complaints, "{text}\n{}", loaded.render(false));
    loaded.model.expect("accepted")
}

/// The errors of a configuration that is refused.
fn refused(text: &str) -> Vec<&'static str> {
    let loaded = load("test.conf", text);
    assert!(loaded.is_refused(), "{text}");
    let errors = loaded.diagnostics.iter().filter(|found| found.severity == Severity::Error);
    errors.map(|found| found.id).collect()
}

fn block(name: &str, lines: &str) -> String {
    format!(
        "carp_instance {name} {{\ninterface eth0\nvirtual_ipaddress {{\n10.0.0.1/24\n}}\n{lines}\n}}\n"
    )
}

/// An instance with a VIP and these lines.
fn instance(lines: &str, complaints: &[&str]) -> CarpInstance {
    Arc::unwrap_or_clone(model(&block("lan", lines), complaints).carp_instances.remove(0))
}

fn key(pass: &str) -> [u8; 20] {
    let mut key = [0; 20];
    key[..pass.len()].copy_from_slice(pass.as_bytes());
    key
}

#[test]
fn an_instance_has_the_defaults_of_ifconfig() {
    let found = instance("vhid 7", &[]);
    assert_eq!((found.vhid, found.advbase, found.advskew), (7, 1, 0));
    assert_eq!((found.key, found.preempt), ([0; 20], false));
    assert_eq!(found.groups, ["carp"]);
    assert_eq!(found.nodes, []);
    assert_eq!(found.router.state, InitialState::Backup);
    assert_eq!(found.router.peers, Peers::Multicast { group: [224, 0, 0, 18].into() });
    assert_eq!(found.router.interface.as_deref(), Some("eth0"));
    assert!(found.router.handover);
}

#[test]
fn the_words_of_openbsd_are_understood() {
    let found = instance(
        "carpdev em0\nvhid 1\npass mekmitasdigoat\nadvbase 2\nadvskew 100\npreempt\n\
         carppeer 10.0.0.9\ngroups carp lan\ngroups wan lan",
        &[],
    );
    assert_eq!(found.router.interface.as_deref(), Some("em0"));
    assert_eq!((found.advbase, found.advskew, found.preempt), (2, 100, true));
    assert_eq!(found.key, key("mekmitasdigoat"));
    assert_eq!(found.groups, ["carp", "lan", "wan"]);
    let Peers::Unicast { peers, .. } = found.router.peers else { panic!("multicast") };
    assert_eq!(
        peers.iter().map(|peer| peer.address).collect::<Vec<_>>(),
        [IpAddr::from([10, 0, 0, 9])]
    );
}

#[test]
fn what_vrrp_has_an_instance_has_too() {
    let script = "global_defs {\nenable_script_security\nscript_user root\n}\n\
        vrrp_script S {\nscript /bin/true\n}\nvrrp_track_process P {\nprocess p\n}\ntrack_file F {\nfile /f\n}\n";
    let lines = "vhid 7\nuse_vmac carp7\nnotify /bin/true\nmcast_src_ip 10.0.0.2\ndont_track_primary\n\
        track_interface {\neth1 weight -20\n}\ntrack_script {\nS weight -30\n}\ntrack_process {\nP\n}\n\
        track_file {\nF weight -1\n}\ngarp_master_delay 9\nhandover off\n\
        virtual_ipaddress_excluded {\n10.0.0.3 dev eth1 label eth1:a\n}";
    let model = model(&(script.to_owned() + &block("lan", lines)), &[]);
    let router = &model.carp_instances[0].router;
    assert_eq!(router.track_interfaces[0].weight, -20);
    assert_eq!(router.track_scripts[0].weight, -30);
    assert_eq!(router.track_processes[0].weight, 0);
    assert_eq!(router.vmac.as_ref().and_then(|vmac| vmac.name.as_deref()), Some("carp7"));
    assert!(router.notify.any.is_some() && router.dont_track_primary && !router.handover);
    assert_eq!(router.garp.delay.as_secs(), 9);
    assert_eq!(router.excluded_vips.len(), 1);
}

#[test]
fn a_passphrase_has_19_bytes() {
    assert_eq!(instance("vhid 1\npass \"correct horse\"", &[]).key, key("correct horse"));
    let nineteen = "nineteen-chars-long";
    assert_eq!(instance(&format!("vhid 1\npass {nineteen}"), &[]).key, key(nineteen));
    assert_eq!(
        instance(&format!("vhid 1\npass {nineteen}er"), &["pass-length"]).key,
        key(nineteen)
    );
    assert_eq!(instance("vhid 1\npass two words", &["extra-words"]).key, key("two"));
}

#[test]
fn several_vhids_share_the_load() {
    let found = instance("carpnodes 6:100,5:0\nbalancing ip-stealth", &[]);
    let nodes = [CarpNode { vhid: 5, advskew: 0 }, CarpNode { vhid: 6, advskew: 100 }];
    assert_eq!(found.nodes, nodes);
    assert_eq!((found.vhid, found.advskew, found.balancing), (5, 0, Balancing::IpStealth));
    assert_eq!(found.vhids().collect::<Vec<_>>(), [5, 6]);
    let one = instance("carpnodes 5:7\nbalancing arp", &["balancing"]);
    assert_eq!((one.vhid, one.advskew, one.nodes.len()), (5, 7, 0));
    let some = instance("carpnodes 1:0,1:5,0:3,2:255,x,3:9", &["carpnodes"; 4]);
    assert_eq!(some.vhids().collect::<Vec<_>>(), [1, 3]);
    let many: Vec<String> = (1..=33).map(|n| format!("{n}:0")).collect();
    let found = instance(&format!("carpnodes {}", many.join(",")), &["carpnodes"]);
    assert_eq!(found.nodes.len(), 32);
}

#[test]
fn global_settings_are_those_of_sysctl() {
    let text = "global_defs {\ncarp_allow off\ncarp_preempt\ncarp_log 7\nhandover off\n}\n"
        .to_owned()
        + &block("a", "vhid 1")
        + &block("b", "vhid 2\npreempt off\nhandover on");
    let model = model(&text, &[]);
    assert_eq!(model.global.carp, Carp { allow: false, preempt: true, log: 7 });
    let [a, b] = &*model.carp_instances else { panic!("two") };
    assert_eq!((a.preempt, a.router.handover), (true, false));
    assert_eq!((b.preempt, b.router.handover), (false, true));
}

#[test]
fn what_cannot_be_is_refused() {
    assert_eq!(refused(&block("a", "")), ["vhid-missing"]);
    assert_eq!(refused("carp_instance a {\ninterface eth0\nvhid 1\n}\n"), ["no-vip"]);
    let no_interface = "carp_instance a {\nvhid 1\nvirtual_ipaddress {\n10.0.0.1\n}\n}\n";
    assert_eq!(refused(no_interface), ["interface-missing"]);
    let twice = block("a", "vhid 1") + &block("b", "vhid 1");
    assert_eq!(refused(&twice), ["duplicate-vhid"]);
    let twice = block("a", "carpnodes 1:0,2:0") + &block("b", "vhid 2");
    assert_eq!(refused(&twice), ["duplicate-vhid"]);
    let apart = block("a", "vhid 1") + &block("b", "carpdev eth1\nvhid 1");
    assert_eq!(model(&apart, &[]).carp_instances.len(), 2);
}

const VRRP: &str =
    "vrrp_instance V {\ninterface eth0\nvirtual_router_id 9\nvirtual_ipaddress {\n10.0.0.9\n}\n}\n";

#[test]
fn vrrp_and_carp_share_names_and_groups() {
    assert_eq!(refused(&(VRRP.to_owned() + &block("V", "vhid 1"))), ["duplicate-instance"]);
    assert_eq!(refused(&(block("V", "vhid 1") + VRRP)), ["duplicate-instance"]);
    // As with VRRP, the second of a name is left out.
    let twice = block("a", "vhid 1") + &block("a", "vhid 2");
    assert_eq!(model(&twice, &["duplicate-instance"]).carp_instances.len(), 1);
    let group = "vrrp_sync_group G {\ngroup {\nV lan\n}\ntrack_interface {\neth5 weight -5\n}\n}\n";
    let model = model(&(VRRP.to_owned() + &block("lan", "vhid 1") + group), &[]);
    assert_eq!(model.sync_groups[0].members, ["V", "lan"]);
    let tracked = &model.carp_instances[0].router.track_interfaces;
    assert_eq!((tracked[0].name.as_str(), tracked[0].weight), ("eth5", -5));
}

#[test]
fn what_an_operator_would_want_to_know_is_said() {
    let both = VRRP.to_owned() + &block("a", "vhid 9");
    model(&both, &["vrid-shared"]);
    instance("vhid 1\nadvbase 0", &["carp-interval"]);
    instance("vhid 1\nadvbase 0\nadvskew 1", &[]);
    instance("vhid 1\nadvskew 240", &["carp-advskew"]);
    instance("vhid 1\ntrack_interface {\neth1 weight 5\n}", &["weight-without-effect"]);
    instance("vhid 1\npeer 10.0.0.9 fe80::9", &["peer-family"]);
    let six = "vhid 1\nvirtual_ipaddress {\n2001:db8::1\n}\n";
    instance(six, &[]);
    instance(&format!("{six}peer 10.0.0.9"), &["carp-peer-family"]);
    instance(&format!("{six}peer 10.0.0.9 2001:db8::9"), &[]);
    instance("vhid 1\nvirtual_ipaddress {\nfe80::1\n}", &["carp-link-local"]);
    let group = "vrrp_sync_group G {\ngroup {\nV lan\n}\n}\n";
    let slower = VRRP.to_owned() + &block("lan", "vhid 1\nadvbase 3") + group;
    model(&slower, &["group-advert-int"]);
}

#[test]
fn a_balanced_instance_does_not_move_as_one() {
    let group = "vrrp_sync_group G {\ngroup {\nV web\n}\n}\n";
    let web = block("web", "carpnodes 1:0,2:100");
    let found = model(&(VRRP.to_owned() + &web + group), &["group-member", "group-single"]);
    assert_eq!(found.sync_groups[0].members, ["V"]);
}

#[test]
fn toml_says_the_same() {
    let toml = r#"
        [global_defs]
        carp_preempt = true
        [[carp_instance]]
        name = "lan"
        interface = "eth0"
        carpnodes = "5:0,6:100"
        pass = "correct horse"
        peer = ["10.0.0.9", "2001:db8::9"]
        groups = ["carp", "lan"]
        virtual_ipaddress = [
            "10.0.0.1/24",
            { address = "2001:db8::1/64", -nodad = true },
        ]
        track_interface = [{ name = "eth1", weight = -20 }]
    "#;
    let conf = r#"
        global_defs {
            carp_preempt # as on the others
        }
        carp_instance lan {
            interface eth0
            carpnodes 5:0,6:100
            pass "correct horse"
            peer 10.0.0.9 2001:db8::9
            groups carp lan
            virtual_ipaddress {
                10.0.0.1/24
                2001:db8::1/64 -nodad
            }
            track_interface {
                eth1 weight -20
            }
        }
    "#;
    let (toml, conf) = (load("x.toml", toml), load("x.conf", conf));
    assert!(conf.model.is_some(), "{}", conf.render(false));
    assert_eq!(toml.model, conf.model, "{}", toml.render(false));
    let there = conf.convert(Format::Toml);
    assert_eq!(there.warnings, [""; 0]);
    let there = load("y.toml", &there.text);
    assert_eq!(there.model, conf.model, "{}", there.render(false));
    let back = load("y.conf", &there.convert(Format::Keepalived).text);
    assert_eq!(back.model, conf.model, "{}", back.render(false));
    let shown = conf.with_defaults();
    let of_instance = shown.split("carp_instance").nth(1).unwrap_or_default();
    assert!(of_instance.contains("preempt  # as in global_defs"), "{shown}");
    let shown = load("z.conf", &shown);
    assert_eq!(shown.diagnostics.warnings(), 0, "{}", shown.render(false));
    let instances = |loaded: Loaded| loaded.model.map(|model| model.carp_instances);
    assert_eq!(instances(shown), instances(conf));
}
