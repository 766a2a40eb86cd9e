//! CARP of other systems becomes a configuration that says the same.

use std::collections::HashMap;

use lb_config::model::*;
use lb_config::{AnyInterface, Dialect, Format, Options, import, parse_str};

/// The configuration, and after it what is said of the files.
fn imported(dialect: Dialect, files: &[(&str, &str)]) -> (String, Option<Model>) {
    let files: Vec<_> =
        files.iter().map(|(n, text)| ((*n).to_owned(), (*text).to_owned())).collect();
    let interfaces = HashMap::from([("em0".to_owned(), "eth0".to_owned())]);
    let imported = import(dialect, &files, &interfaces);
    let options = Options { record_statements: true, ..Options::default() };
    let loaded = parse_str("result.conf", &imported.text, &options, &AnyInterface);
    // Both syntaxes say the same of it.
    let toml =
        parse_str("result.toml", &loaded.convert(Format::Toml).text, &options, &AnyInterface);
    assert_eq!(toml.model, loaded.model);
    let of_result = loaded.messages().filter(|found| !found.id.starts_with("script-"));
    let of_result = of_result.map(|found| format!("result: {}", found.message));
    let said: Vec<String> = imported.one_liners().chain(of_result).collect();
    (format!("{}---\n{}", imported.text, said.join("\n")), loaded.model)
}

#[test]
fn a_firewall_of_openbsd() {
    let lan = "# inside\n\
        inet 192.168.1.1 255.255.255.0 192.168.1.255 vhid 1 carpdev em0 pass \"open sesame\" \\\n\
        \tadvskew 100\n\
        inet6 alias 2001:db8:1::1 64\n\
        group lan\ndescription \"gateway of the LAN\"\n!route add default 203.0.113.1\nup\n";
    let wan = "inet alias 203.0.113.5/29\nvhid 2 carpdev em1 carppeer 203.0.113.3 pass x state backup\n\
        mtu 1400\nfrobnicate\n";
    let web = "inet 192.168.1.80/24 carpdev em0 carpnodes 5:0,6:100 balancing ip-stealth\n";
    let sysctl = "net.inet.ip.forwarding=1\nnet.inet.carp.preempt=1 # both move together\n\
        net.inet.carp.log=3\n";
    let files = [
        ("/etc/hostname.carp0", lan),
        ("/etc/hostname.carp1", wan),
        ("/etc/hostname.carp2", web),
        ("/etc/sysctl.conf", sysctl),
    ];
    let (text, model) = imported(Dialect::OpenBsd, &files);
    insta::assert_snapshot!(text);
    let instances = model.expect("accepted").carp_instances;
    assert_eq!(instances[0].key[..12], *b"open sesame\0");
    assert_eq!((instances[0].advskew, instances[0].preempt), (100, true));
    assert_eq!(instances[2].nodes.len(), 2);
    assert!(instances[0].router.vmac.is_some() && instances[2].router.vmac.is_none());
}

#[test]
fn a_firewall_of_freebsd() {
    let rc = "hostname=\"fw1.example.org\"\n\
        ifconfig_em0=\"inet 192.168.1.2/24\" # its own\n\
        ifconfig_em0_alias0=\"inet vhid 1 advskew 100 pass mekmitasdigoat alias 192.168.1.1/32\"\n\
        ifconfig_em0_alias1='inet6 vhid 1 alias 2001:db8:1::1 prefixlen 64'\n\
        ifconfig_em1_alias0=\"inet 203.0.113.5 netmask 255.255.255.248 vhid 2 pass x peer 203.0.113.3\"\n\
        ifconfig_em1_aliases=\"inet 203.0.113.6/29 vhid 2 pass y \\\n  inet 203.0.113.7-9/29 vhid 3 advskew 300\"\n\
        ifconfig_em2_alias0=\"vhid 4 carpver 3 vrrpprio 100 alias 10.0.0.1/32\"\n\
        ifconfig_em3_ipv6=\"inet6 2001:db8:3::2/64 vhid\"\n\
        sshd_enable=YES\n";
    let sysctl = "net.inet.carp.preempt=1\nnet.inet.carp.log=1\nnet.inet.carp.demotion=0\n";
    let (text, model) = imported(Dialect::FreeBsd, &[("rc.conf", rc), ("sysctl.conf", sysctl)]);
    insta::assert_snapshot!(text);
    let instances = model.expect("accepted").carp_instances;
    assert_eq!(instances.iter().map(|i| i.vhid).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(instances[0].router.vips.len(), 2);
    assert_eq!(instances[2].router.vips.len(), 3);
}

#[test]
fn commands_of_ucarp() {
    let script = "#!/bin/sh\n\
        /usr/sbin/ucarp --interface=em0 --srcip=192.0.2.2 --vhid=1 --pass='two words' --addr=192.0.2.1 \\\n\
        \x20   --upscript=/etc/vip-up --downscript=/etc/vip-down --shutdown -B -k100 --preempt &\n\
        ucarp -i em1 -s 10.0.0.2 -v2 -p secret -a 10.0.0.1 -PSb 2 -r 5 --mcast 224.0.0.18 -x p -o /etc/pass -q\n\
        echo done\n";
    let (text, model) = imported(Dialect::Ucarp, &[("start.sh", script)]);
    insta::assert_snapshot!(text);
    let instances = model.expect("accepted").carp_instances;
    assert_eq!((instances[0].vhid, instances[0].advskew, instances[0].preempt), (1, 100, true));
    assert_eq!((instances[1].vhid, instances[1].advbase, instances[1].preempt), (2, 2, true));
    assert!(instances[1].router.dont_track_primary);
    assert_eq!(instances[0].router.source, Some([192, 0, 2, 2].into()));
}

#[test]
fn files_are_known_by_their_names() {
    let of = |name: &str| Dialect::of(std::path::Path::new(name));
    assert_eq!(of("/etc/hostname.carp12"), Some(Dialect::OpenBsd));
    assert_eq!(of("rc.conf"), Some(Dialect::FreeBsd));
    assert_eq!(of("/etc/rc.conf.local"), Some(Dialect::FreeBsd));
    assert_eq!(of("keepalived.conf"), None);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..proptest::prelude::ProptestConfig::default()
    })]

    #[test]
    fn any_text_is_read(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "inet", "alias", "vhid", "1", "300", "carpdev", "em0", "10.0.0.1-9/24", "10.0.0.1", "pass",
                "'", "\"", "\\", "\n", " ", "=", "ifconfig_em0_alias0=\"", "ucarp", "-i", "--v", "-Pzk",
                "netmask", "0xff", "NONE", "é", "#", "net.inet.carp.log=", "carpver", "carpnodes", "_aliases",
            ]),
            0..40,
        ),
        glue in proptest::sample::select(vec!["", " "]),
    ) {
        let text = words.join(glue);
        for dialect in [Dialect::OpenBsd, Dialect::FreeBsd, Dialect::Ucarp] {
            imported(dialect, &[("any", &text)]);
        }
    }
}
