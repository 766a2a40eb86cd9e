//! `vrrp_instance`.

use lb_tests::forged::Forged;

use crate::row::{Row, See};
use crate::scene::Step::{self, Dump, Hear, HearOn, Link, Reach, Reload, Run, Start, Stop, Wait};
use crate::see;

/// A router that is MASTER from the start.
pub const OWNER: &str = "state MASTER\npriority 255\n";
/// Long enough to become MASTER and to say so more than once.
pub const MASTER: &[Step] = &[Start, Wait(1700)];

/// One instance: what `lines` do not say is as for version 3, five advertisements a second.
pub fn instance(lines: &str) -> String {
    named("VI_1", lines)
}

/// The same under another name.
pub fn named(name: &str, lines: &str) -> String {
    let says =
        |keyword: &str| lines.lines().any(|line| line.split_whitespace().next() == Some(keyword));
    let mut text = format!("vrrp_instance {name} {{\n");
    for (keyword, value) in [
        ("interface", "eth0"),
        ("virtual_router_id", "51"),
        ("version", "3"),
        ("advert_int", "0.2"),
        ("virtual_ipaddress", "{\n192.0.2.100/24\n}"),
    ] {
        if !says(keyword) {
            text += &format!("{keyword} {value}\n");
        }
    }
    format!("{text}{lines}\n}}\n")
}

/// What comes before the instances.
pub const GLOBALS: &str = "global_defs {\nscript_user root\n}\n";

/// A row of two instances that differ in some lines.
fn row(keyword: &'static str, without: &str, with: &str, steps: &[Step], see: See) -> Row {
    under(("vrrp_instance", keyword), without, with, steps, see)
}

/// The same with the path of the block.
pub fn under(
    place: (&'static str, &'static str),
    without: &str,
    with: &str,
    steps: &[Step],
    see: See,
) -> Row {
    let config = |lines: &str| format!("{GLOBALS}{}", instance(lines));
    Row::new(place, [config(without), config(with)], steps, see)
}

pub fn rows() -> Vec<Row> {
    [protocol(), election(), wire(), announcements(), scripts(), links()].concat()
}

fn protocol() -> Vec<Row> {
    let v2 = "version 2\nadvert_int 1";
    let password = |kind: &str, word: &str| {
        format!("{v2}\nauthentication {{\nauth_type {kind}\nauth_pass {word}\n}}")
    };
    let slow: &[Step] = &[Start, Wait(4500)];
    let authentication = |keyword, without: &str, with: &str| {
        under(("vrrp_instance/authentication", keyword), without, with, slow, see::advert)
    };
    vec![
        row("interface", "", "interface eth1", MASTER, see::advert),
        row("virtual_router_id", "", "virtual_router_id 52", MASTER, see::advert),
        row("priority", "", "priority 150", MASTER, see::advert),
        row("advert_int", "", "advert_int 0.4", &[Start, Wait(2500)], see::advert),
        row("version", "advert_int 1", v2, slow, see::advert),
        row("authentication", v2, &password("PASS", "secret"), slow, see::advert),
        authentication("auth_type", &password("PASS", "secret"), &password("AH", "secret")),
        authentication("auth_pass", &password("PASS", "secret"), &password("PASS", "other")),
        row("virtual_ipaddress", "", "virtual_ipaddress {\n192.0.2.101/24\n}", MASTER, see::held),
        row(
            "virtual_ipaddress_excluded",
            "",
            "virtual_ipaddress_excluded {\n192.0.2.101/24\n}",
            MASTER,
            see::held,
        ),
        row(
            "no_virtual_ipaddress",
            "virtual_ipaddress {\n}",
            "virtual_ipaddress {\n}\nno_virtual_ipaddress",
            MASTER,
            see::advertises,
        )
        .alone(),
        row(
            "native_ipv6",
            "virtual_ipaddress {\n192.0.2.100/24\n}",
            "native_ipv6\nvirtual_ipaddress {\n192.0.2.100/24\n}",
            MASTER,
            see::held,
        ),
        row("v3_checksum_as_v2", "", "v3_checksum_as_v2", MASTER, see::advert).alone(),
    ]
}

fn election() -> Vec<Row> {
    let lower: &[Step] = &[HearOn(Forged::new(50)), Start, Wait(1700)];
    let delayed: &[Step] = &[HearOn(Forged::new(50)), Start, Wait(4500)];
    let lower_noted = "notify_master_rx_lower_pri \"/run/note lower\"";
    let owned = |more: &str| format!("{OWNER}advert_int 3\n{more}");
    vec![
        row(
            "state",
            "state BACKUP\nadvert_int 1",
            "state MASTER\nadvert_int 1",
            &[Start, Wait(4500)],
            see::waits,
        ),
        row("nopreempt", "", "nopreempt", lower, see::advertises),
        row("preempt", "nopreempt", "nopreempt\npreempt", lower, see::advertises),
        row("preempt_delay", "", "preempt_delay 2", delayed, see::waits),
        row("down_timer_adverts", "", "down_timer_adverts 11", &[Start, Wait(3500)], see::waits),
        row(
            "lower_prio_no_advert",
            &owned(""),
            &owned("lower_prio_no_advert"),
            &[Start, Wait(700), Hear(Forged::new(50)), Wait(600)],
            see::answers,
        ),
        row(
            "higher_prio_send_advert",
            "advert_int 2",
            "advert_int 2\nhigher_prio_send_advert",
            &[Start, Wait(8300), Hear(Forged::new(200)), Wait(600)],
            see::answers,
        ),
        row(
            "owner_ignore_adverts",
            &format!("{OWNER}{lower_noted}"),
            &format!("{OWNER}{lower_noted}\nowner_ignore_adverts"),
            &[Start, Wait(700), Hear(Forged::new(50)), Wait(600)],
            see::notes,
        )
        .alone(),
        row(
            "skip_check_adv_addr",
            "",
            "skip_check_adv_addr",
            &[
                HearOn(Forged::new(200)),
                Start,
                Wait(700),
                HearOn(Forged { vip: [192, 0, 2, 99].into(), ..Forged::new(200) }),
                Wait(700),
                Dump,
                Wait(700),
            ],
            see::minds_addresses,
        ),
        row(
            "strict_mode",
            "",
            "strict_mode",
            &[Start, Wait(1700), Reach("192.0.2.100")],
            see::reached,
        ),
        row(
            "accept",
            "strict_mode",
            "strict_mode\naccept",
            &[Start, Wait(1700), Reach("192.0.2.100")],
            see::reached,
        ),
        row("no_accept", "", "no_accept", &[Start, Wait(1700), Reach("192.0.2.100")], see::reached),
        row(
            "dont_track_primary",
            "notify /run/note",
            "notify /run/note\ndont_track_primary",
            &[Start, Wait(1200), Link("eth0", false), Wait(900)],
            see::notes,
        ),
    ]
}

fn wire() -> Vec<Row> {
    let peers = "unicast_peer {\n192.0.2.2\n}";
    let unicast = |more: &str| format!("{peers}\n{more}");
    let stranger = Forged {
        source: [192, 0, 2, 3].into(),
        destination: [192, 0, 2, 1].into(),
        ..Forged::new(200)
    };
    let near = |ttl| Forged { destination: [192, 0, 2, 1].into(), ttl, ..Forged::new(200) };
    let peer = |option: &str| format!("unicast_peer {{\n192.0.2.2 {option}\n}}");
    let heard = |forged| [HearOn(forged), Start, Wait(1700)];
    let entry = |keyword, without: &str, with: &str, steps: &[Step], see: See| {
        under(("vrrp_instance/unicast_peer", keyword), without, with, steps, see)
    };
    vec![
        row("mcast_src_ip", "", "mcast_src_ip 192.0.2.9", MASTER, see::advert),
        row("mcast_dst_ip", "", "mcast_dst_ip 224.0.0.19", MASTER, see::advert),
        row(
            "track_src_ip",
            "notify /run/note\nmcast_src_ip 192.0.2.9",
            "notify /run/note\nmcast_src_ip 192.0.2.9\ntrack_src_ip",
            &[
                Start,
                Wait(1200),
                Run(&["ip", "address", "del", "192.0.2.9/24", "dev", "eth0"]),
                Wait(900),
            ],
            see::notes,
        )
        // keepalived 2.2.7 looks for the address at start only.
        .alone(),
        row("unicast_peer", "", peers, MASTER, see::advert),
        row("unicast_src_ip", peers, &unicast("unicast_src_ip 192.0.2.9"), MASTER, see::advert),
        row("unicast_ttl", peers, &unicast("unicast_ttl 7"), MASTER, see::advert),
        row("old_unicast_checksum", peers, &unicast("old_unicast_checksum"), MASTER, see::advert),
        row(
            "check_unicast_src",
            peers,
            &unicast("check_unicast_src"),
            &heard(stranger),
            see::advertises,
        ),
        row(
            "unicast_fault_no_peer",
            "unicast_peer {\n}",
            "unicast_peer {\n}\nunicast_fault_no_peer",
            MASTER,
            see::advertises,
        ),
        row("kernel_rx_buf_size", "", "kernel_rx_buf_size 8000000", MASTER, see::has_large_buffer),
        entry("<address>", peers, "unicast_peer {\n192.0.2.3\n}", MASTER, see::advert),
        entry(
            "max_ttl",
            &peer("min_ttl 10"),
            &peer("min_ttl 10 max_ttl 50"),
            &heard(near(100)),
            see::advertises,
        ),
    ]
}

fn announcements() -> Vec<Row> {
    let elsewhere = "virtual_ipaddress {\n192.0.2.100/24\n198.51.100.100/24 dev eth1 use_vmac\n}";
    let once: &[Step] = &[Start, Wait(3200)];
    let lower: &[Step] = &[Start, Wait(1700), Hear(Forged::new(50)), Wait(1700)];
    vec![
        row("garp_master_delay", "", "garp_master_delay 1", once, see::later_announcements),
        row(
            "garp_master_repeat",
            "garp_master_delay 1",
            "garp_master_delay 1\ngarp_master_repeat 2",
            once,
            see::later_announcements,
        ),
        row(
            "garp_master_refresh",
            "",
            "garp_master_refresh 2",
            &[Start, Wait(3900)],
            see::later_announcements,
        ),
        row(
            "garp_master_refresh_repeat",
            "garp_master_refresh 2",
            "garp_master_refresh 2\ngarp_master_refresh_repeat 3",
            &[Start, Wait(3900)],
            see::later_announcements,
        ),
        row(
            "garp_lower_prio_delay",
            "",
            "garp_lower_prio_delay 1",
            lower,
            see::announcements_after_it,
        ),
        row(
            "garp_lower_prio_repeat",
            "",
            "garp_lower_prio_repeat 2",
            lower,
            see::announcements_upon_it,
        ),
        row(
            "garp_extra_if",
            elsewhere,
            &format!("{elsewhere}\ngarp_extra_if 2"),
            &[Start, Wait(3900)],
            see::later_announcements,
        ),
    ]
}

fn scripts() -> Vec<Row> {
    let reloaded: &[Step] = &[
        Start,
        Wait(1200),
        Reload(format!(
            "{GLOBALS}{}",
            named("VI_2", "virtual_router_id 52\nvirtual_ipaddress {\n192.0.2.110/24\n}")
        )),
        Wait(1500),
    ];
    let fault: &[Step] = &[Start, Wait(1200), Link("eth0", false), Wait(700)];
    let stopped: &[Step] = &[Start, Wait(1200), Stop];
    vec![
        row("notify", "", "notify /run/note", stopped, see::notes),
        row("notify_master", "", "notify_master \"/run/note master\"", MASTER, see::notes),
        row("notify_backup", "", "notify_backup \"/run/note backup\"", MASTER, see::notes),
        row("notify_fault", "", "notify_fault \"/run/note fault\"", fault, see::notes),
        row("notify_stop", "", "notify_stop \"/run/note stop\"", stopped, see::notes),
        row(
            "notify_deleted",
            "notify /run/note",
            "notify /run/note\nnotify_deleted",
            reloaded,
            see::notes,
        ),
        row(
            "notify_master_rx_lower_pri",
            "",
            "notify_master_rx_lower_pri \"/run/note lower\"",
            &[Start, Wait(1700), Hear(Forged::new(50)), Wait(700)],
            see::notes,
        ),
    ]
}

fn links() -> Vec<Row> {
    let other = "virtual_ipaddress {\n192.0.2.100/24\n198.51.100.100/24 dev eth1\n}\nuse_vmac";
    vec![
        row("use_vmac", "", "use_vmac", MASTER, see::addresses),
        row("use_vmac_addr", other, &format!("{other}\nuse_vmac_addr"), MASTER, see::addresses),
        row("vmac_xmit_base", "use_vmac", "use_vmac\nvmac_xmit_base", MASTER, see::advert),
        row("promote_secondaries", "", "promote_secondaries", MASTER, see::promoted),
        row(
            "track_interface",
            "notify /run/note",
            "notify /run/note\ntrack_interface {\neth1\n}",
            &[Start, Wait(1200), Link("eth1", false), Wait(700)],
            see::notes,
        ),
    ]
}
