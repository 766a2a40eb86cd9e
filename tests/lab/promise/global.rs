//! `global_defs`, but for what needs IPVS: [`servers`](crate::servers).

use lb_tests::forged::Forged;

use crate::row::{Row, See};
use crate::scene::Step::{self, Dump, Hear, HearOn, Reach, Run, Start, Stop, Wait};
use crate::see;
use crate::vrrp::{MASTER, OWNER, instance};

/// A row of one instance under two sets of global settings.
fn row(
    keyword: &'static str,
    [without, with]: [&str; 2],
    lines: &str,
    steps: &[Step],
    see: See,
) -> Row {
    let config = |globals: &str| {
        let user = if globals.contains("script_user") { "" } else { "script_user root\n" };
        format!("global_defs {{\n{user}{globals}\n}}\n{}", instance(lines))
    };
    Row::new(("global_defs", keyword), [config(without), config(with)], steps, see)
}

pub fn rows() -> Vec<Row> {
    [scripts(), protocol(), version(), announcements(), process(), files()].concat()
}

fn scripts() -> Vec<Row> {
    let noted = "notify_master \"/run/note master\"";
    let loose: &[Step] = &[Run(&["chmod", "777", "/run/note"]), Start, Wait(1700)];
    let late: &[Step] = &[Start, Wait(2000)];
    let stops: &[Step] = &[Start, Wait(900), Stop];
    vec![
        row("enable_script_security", ["", "enable_script_security"], noted, loose, see::notes),
        row("script_user", ["script_user root", "script_user nobody"], noted, MASTER, see::notes),
        row("startup_script", ["", "startup_script \"/run/note start\""], "", MASTER, see::notes),
        row(
            "startup_script_timeout",
            [
                "startup_script \"/bin/sleep 5\"",
                "startup_script \"/bin/sleep 5\"\nstartup_script_timeout 1",
            ],
            "",
            late,
            see::comes_late,
        ),
        row("shutdown_script", ["", "shutdown_script \"/run/note end\""], "", stops, see::notes),
        row(
            "shutdown_script_timeout",
            [
                "shutdown_script \"/bin/sleep 6\"",
                "shutdown_script \"/bin/sleep 6\"\nshutdown_script_timeout 1",
            ],
            "",
            stops,
            see::ends_late,
        ),
    ]
}

fn protocol() -> Vec<Row> {
    let peers = "unicast_peer {\n192.0.2.2\n}";
    let inet6 = "virtual_ipaddress {\nfe80::100/64\n}";
    let stranger = Forged {
        source: [192, 0, 2, 3].into(),
        destination: [192, 0, 2, 1].into(),
        ..Forged::new(200)
    };
    let other = Forged { vip: [192, 0, 2, 99].into(), ..Forged::new(200) };
    let reach: &[Step] = &[Start, Wait(1700), Reach("192.0.2.100")];
    vec![
        row("vrrp_mcast_group4", ["", "vrrp_mcast_group4 224.0.0.19"], "", MASTER, see::advert),
        row("vrrp_mcast_group6", ["", "vrrp_mcast_group6 ff02::13"], inet6, MASTER, see::advert),
        row("v3_checksum_as_v2", ["", "v3_checksum_as_v2"], "", MASTER, see::advert).alone(),
        row(
            "vrrp_down_timer_adverts",
            ["", "vrrp_down_timer_adverts 11"],
            "",
            &[Start, Wait(3500)],
            see::waits,
        ),
        row(
            "vrrp_startup_delay",
            ["", "vrrp_startup_delay 3"],
            "",
            &[Start, Wait(5500)],
            see::waits,
        ),
        row(
            "vrrp_check_unicast_src",
            ["", "vrrp_check_unicast_src"],
            peers,
            &[HearOn(stranger), Start, Wait(1700)],
            see::advertises,
        ),
        row(
            "vrrp_skip_check_adv_addr",
            ["", "vrrp_skip_check_adv_addr"],
            "",
            &[
                HearOn(Forged::new(200)),
                Start,
                Wait(700),
                HearOn(other),
                Wait(700),
                Dump,
                Wait(700),
            ],
            see::minds_addresses,
        ),
        row(
            "vrrp_lower_prio_no_advert",
            ["", "vrrp_lower_prio_no_advert"],
            &format!("{OWNER}advert_int 3"),
            &[Start, Wait(700), Hear(Forged::new(50)), Wait(600)],
            see::answers,
        ),
        row(
            "vrrp_higher_prio_send_advert",
            ["", "vrrp_higher_prio_send_advert"],
            "advert_int 2",
            &[Start, Wait(8300), Hear(Forged::new(200)), Wait(600)],
            see::answers,
        ),
        row(
            "vrrp_owner_ignore_adverts",
            ["", "vrrp_owner_ignore_adverts"],
            &format!("{OWNER}notify_master_rx_lower_pri \"/run/note lower\""),
            &[Start, Wait(700), Hear(Forged::new(50)), Wait(600)],
            see::notes,
        )
        .alone(),
        row("vrrp_strict", ["", "vrrp_strict"], "", reach, see::reached),
        row(
            "dynamic_interfaces",
            ["", "dynamic_interfaces"],
            "interface eth7",
            &[Start, Wait(700)],
            see::runs,
        ),
        row("vmac_prefix", ["", "vmac_prefix virt"], "use_vmac", MASTER, see::addresses),
        row(
            "vmac_addr_prefix",
            ["", "vmac_addr_prefix virt"],
            "virtual_ipaddress {\n198.51.100.100/24 dev eth1 use_vmac\n}",
            MASTER,
            see::addresses,
        ),
    ]
}

/// Of an instance that does not say its version.
fn version() -> Vec<Row> {
    let unsaid = instance("advert_int 1").replace("version 3\n", "");
    let config =
        ["", "vrrp_version 3"].map(|globals| format!("global_defs {{\n{globals}\n}}\n{unsaid}"));
    vec![Row::new(("global_defs", "vrrp_version"), config, &[Start, Wait(4500)], see::advert)]
}

fn announcements() -> Vec<Row> {
    let once: &[Step] = &[Start, Wait(3200)];
    let refreshed: &[Step] = &[Start, Wait(3900)];
    let lower: &[Step] = &[Start, Wait(1700), Hear(Forged::new(50)), Wait(1700)];
    vec![
        row(
            "vrrp_garp_master_delay",
            ["", "vrrp_garp_master_delay 1"],
            "",
            once,
            see::later_announcements,
        ),
        row(
            "vrrp_garp_master_repeat",
            ["vrrp_garp_master_delay 1", "vrrp_garp_master_delay 1\nvrrp_garp_master_repeat 2"],
            "",
            once,
            see::later_announcements,
        ),
        row(
            "vrrp_garp_master_refresh",
            ["", "vrrp_garp_master_refresh 2"],
            "",
            refreshed,
            see::later_announcements,
        ),
        row(
            "vrrp_garp_master_refresh_repeat",
            [
                "vrrp_garp_master_refresh 2",
                "vrrp_garp_master_refresh 2\nvrrp_garp_master_refresh_repeat 3",
            ],
            "",
            refreshed,
            see::later_announcements,
        ),
        row(
            "vrrp_garp_lower_prio_delay",
            ["", "vrrp_garp_lower_prio_delay 1"],
            "",
            lower,
            see::announcements_after_it,
        ),
        row(
            "vrrp_garp_lower_prio_repeat",
            ["", "vrrp_garp_lower_prio_repeat 2"],
            "",
            lower,
            see::announcements_upon_it,
        ),
        row(
            "vrrp_min_garp",
            ["", "vrrp_min_garp"],
            "",
            &[Start, Wait(7000)],
            see::later_announcements,
        ),
        row(
            "vrrp_garp_extra_if",
            ["", "vrrp_garp_extra_if 2"],
            "virtual_ipaddress {\n192.0.2.100/24\n198.51.100.100/24 dev eth1 use_vmac\n}",
            refreshed,
            see::later_announcements,
        ),
    ]
}

fn process() -> Vec<Row> {
    vec![
        row("vrrp_priority", ["", "vrrp_priority 7"], "", MASTER, see::niceness),
        row("vrrp_rt_priority", ["", "vrrp_rt_priority 20"], "", MASTER, see::real_time),
        row("vrrp_no_swap", ["", "vrrp_no_swap"], "", MASTER, see::locked),
    ]
}

fn files() -> Vec<Row> {
    let dumped: &[Step] = &[Start, Wait(1200), Dump, Wait(700)];
    let missing = "include_check +match\ninclude /nowhere/file";
    vec![
        row("router_id", ["router_id one", "router_id two"], "", dumped, see::router_id),
        row("umask", ["", "umask 0"], "", dumped, see::mode_of_dump),
        row("random_seed", ["", "random_seed 7"], "", MASTER, see::advert).without_effect(),
        row(
            "include_check",
            ["include /nowhere/file", missing],
            "",
            &[Start, Wait(900)],
            see::runs,
        ),
    ]
}
