//! `vrrp_sync_group`.

use crate::row::{Row, See};
use crate::scene::Step::{self, Link, Spawn, Start, Stop, Wait, Write};
use crate::see;
use crate::vrrp::{GLOBALS, named};

/// Another interface.
const MACVLAN: &[&str] = &["ip", "link", "add", "eth2", "link", "eth0", "up", "type", "macvlan"];
const GROUP: &str = "group {\nVI_1\nVI_2\n}\n";

/// Two instances, on an interface each, and a group with these lines.
fn config(before: &str, lines: &str, first: &str) -> String {
    let second = "interface eth1\nvirtual_router_id 52\nvirtual_ipaddress {\n198.51.100.100/24\n}";
    let noted = "notify /run/note";
    let group = if lines.is_empty() {
        String::new()
    } else {
        format!("vrrp_sync_group G {{\n{lines}\n}}\n")
    };
    let (one, two) =
        (named("VI_1", &format!("{noted}\n{first}")), named("VI_2", &format!("{noted}\n{second}")));
    format!("{GLOBALS}{before}{one}{two}{group}")
}

fn row(keyword: &'static str, before: &str, lines: &str, steps: &[Step], see: See) -> Row {
    let both = [config(before, GROUP, ""), config(before, &format!("{GROUP}{lines}"), "")];
    Row::new(("vrrp_sync_group", keyword), both, steps, see)
}

pub fn rows() -> Vec<Row> {
    let falls: &[Step] = &[Start, Wait(1700), Link("eth1", false), Wait(900)];
    let serves: &[Step] = &[Start, Wait(1700)];
    let stops: &[Step] = &[Start, Wait(1700), Stop];
    let weighted = "vrrp_script chk {\nscript /bin/false\ninterval 1\nfall 1\nweight -20\n}\n";
    let sums = [GROUP.to_owned(), format!("{GROUP}sync_group_tracking_weight")];
    let script = "vrrp_script chk {\nscript /bin/false\ninterval 1\nfall 1\n}\n";
    let file = "track_file load {\nfile /run/load\nweight 0\n}\n";
    let process = "vrrp_track_process run {\nprocess nobody\n}\n";
    let grouped = ["", GROUP].map(|lines| config("", lines, ""));
    vec![
        Row::new(("vrrp_sync_group", "group"), grouped, falls, see::sorted_notes),
        Row::new(
            ("vrrp_sync_group", "sync_group_tracking_weight"),
            sums.map(|lines| config(weighted, &lines, "track_script {\nchk\n}")),
            &[Start, Wait(2700)],
            see::priorities,
        ),
        row(
            "track_interface",
            "",
            "track_interface {\neth2\n}",
            &[Step::Run(MACVLAN), Start, Wait(1700), Link("eth2", false), Wait(900)],
            see::sorted_notes,
        ),
        row(
            "track_script",
            script,
            "track_script {\nchk\n}",
            &[Start, Wait(2700)],
            see::sorted_notes,
        ),
        row(
            "track_file",
            file,
            "track_file {\nload\n}",
            &[Write("/run/load", "0\n"), Start, Wait(1200), Write("/run/load", "1\n"), Wait(900)],
            see::sorted_notes,
        ),
        row(
            "track_process",
            process,
            "track_process {\nrun\n}",
            &[Spawn(&["/bin/sleep", "100"]), Start, Wait(1700)],
            see::sorted_notes,
        )
        .alone(),
        row("notify", "", "notify \"/run/note of\"", stops, see::sorted_notes),
        row("notify_master", "", "notify_master \"/run/note master\"", serves, see::sorted_notes),
        row("notify_backup", "", "notify_backup \"/run/note backup\"", serves, see::sorted_notes),
        row("notify_fault", "", "notify_fault \"/run/note fault\"", falls, see::sorted_notes),
        row("notify_stop", "", "notify_stop \"/run/note stop\"", stops, see::sorted_notes),
    ]
}
