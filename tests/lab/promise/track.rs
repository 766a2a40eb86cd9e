//! What moves priorities or puts into FAULT: files, processes, scripts, interfaces.

use crate::row::{Row, See};
use crate::scene::Step::{self, Link, Run, Spawn, Start, Wait, Write};
use crate::see;
use crate::vrrp::{GLOBALS, instance};

const TRUE: &str = "script /bin/true\n";
const FALSE: &str = "script /bin/false\n";
const WELL: &str = "script \"/usr/bin/test -e /run/well\"";
/// A program that runs on.
const SLEEP: &[&str] = &["/bin/sleep", "100"];

/// A row of two definitions of something that is followed in the same way, or of the same in two ways.
fn row(
    place: (&'static str, &'static str),
    [without, with]: [(String, &str); 2],
    steps: &[Step],
    see: See,
) -> Row {
    let config =
        |(definition, lines): (String, &str)| format!("{GLOBALS}{definition}{}", instance(lines));
    Row::new(place, [config(without), config(with)], steps, see)
}

pub fn rows() -> Vec<Row> {
    [scripts(), files(), processes(), interfaces()].concat()
}

fn script(lines: &str) -> String {
    // The first line of a kind counts where it stands twice.
    let says = |word: &str| lines.lines().any(|line| line.split_whitespace().next() == Some(word));
    let mut text = format!("vrrp_script chk {{\n{lines}\n");
    for (keyword, value) in [("interval", "1"), ("weight", "-20"), ("fall", "1"), ("rise", "1")] {
        if !says(keyword) {
            text += &format!("{keyword} {value}\n");
        }
    }
    text + "}\n"
}

fn scripts() -> Vec<Row> {
    let long: &[Step] = &[Start, Wait(2700)];
    let definition = |keyword, without: &str, with: &str, steps: &[Step], see: See| {
        let both = [without, with].map(|lines| (script(lines), "track_script {\nchk\n}"));
        row(("vrrp_script", keyword), both, steps, see)
    };
    let followed = |keyword, lines: &str, without: &'static str, with: &'static str| {
        let both = [without, with].map(|lists| (script(lines), lists));
        row(("vrrp_instance/track_script", keyword), both, long, see::priorities)
    };
    let turned = &format!("{TRUE}weight 20 reverse");
    vec![
        definition("script", "script /bin/true", FALSE, long, see::priorities),
        definition(
            "interval",
            "script \"/run/note tick\"",
            "script \"/run/note tick\"\ninterval 10",
            &[Start, Wait(3500)],
            see::noted_again,
        ),
        definition(
            "timeout",
            "script \"/bin/sleep 8\"\ninterval 9",
            "script \"/bin/sleep 8\"\ninterval 9\ntimeout 1",
            &[Start, Wait(3500)],
            see::priorities,
        ),
        definition("weight", FALSE, &format!("{FALSE}weight -30"), long, see::priorities),
        definition(
            "rise",
            WELL,
            &format!("{WELL}\nrise 9"),
            &[Start, Wait(1500), Write("/run/well", ""), Wait(2700)],
            see::priorities,
        ),
        definition(
            "fall",
            WELL,
            &format!("{WELL}\nfall 9"),
            &[Write("/run/well", ""), Start, Wait(1500), Run(&["rm", "/run/well"]), Wait(2700)],
            see::priorities,
        ),
        definition(
            "user",
            "script \"/usr/bin/test -w /run/notes\"",
            "script \"/usr/bin/test -w /run/notes\"\nuser nobody",
            long,
            see::priorities,
        ),
        definition(
            "init_fail",
            "script \"/bin/sleep 8\"\ninterval 9",
            "script \"/bin/sleep 8\"\ninterval 9\ninit_fail",
            long,
            see::priorities,
        )
        // keepalived 2.2.7 reads it, and counts the script as in no state all the same.
        .alone(),
        row(
            ("vrrp_instance", "track_script"),
            [(script(FALSE), ""), (script(FALSE), "track_script {\nchk\n}")],
            long,
            see::priorities,
        ),
        followed("<name>", FALSE, "track_script {\n}", "track_script {\nchk\n}"),
        followed("weight", FALSE, "track_script {\nchk\n}", "track_script {\nchk weight -30\n}"),
        followed(
            "reverse",
            TRUE,
            "track_script {\nchk weight 20\n}",
            "track_script {\nchk weight 20 reverse\n}",
        ),
        followed(
            "noreverse",
            turned,
            "track_script {\nchk weight 20\n}",
            "track_script {\nchk weight 20 noreverse\n}",
        ),
    ]
}

fn files() -> Vec<Row> {
    let steps: &[Step] = &[Write("/run/one", "1\n"), Write("/run/two", "2\n"), Start, Wait(1700)];
    let file = |lines: &str| format!("track_file load {{\n{lines}\n}}\n");
    let definition = |keyword, without: &str, with: &str| {
        let both = [without, with].map(|lines| (file(lines), "track_file {\nload weight 1\n}"));
        row(("track_file", keyword), both, steps, see::priorities)
    };
    let weighted = |keyword, without: &str, with: &str| {
        let both = [without, with].map(|lines| (file(lines), "track_file {\nload\n}"));
        row(("track_file", keyword), both, steps, see::priorities)
    };
    let followed = |keyword, lines: &str, without: &'static str, with: &'static str| {
        let both = [without, with].map(|lists| (file(lines), lists));
        row(("vrrp_instance/track_file", keyword), both, steps, see::priorities)
    };
    let two = "file /run/two\nweight 1";
    vec![
        definition("file", "file /run/one", "file /run/two"),
        weighted("weight", two, "file /run/two\nweight 3"),
        definition("init_file", "file /run/new", "file /run/new\ninit_file 5"),
        row(
            ("vrrp_instance", "track_file"),
            [(file(two), ""), (file(two), "track_file {\nload\n}")],
            steps,
            see::priorities,
        ),
        followed("<name>", two, "track_file {\n}", "track_file {\nload\n}"),
        followed("weight", two, "track_file {\nload\n}", "track_file {\nload weight 7\n}"),
        followed(
            "reverse",
            two,
            "track_file {\nload weight 7\n}",
            "track_file {\nload weight 7 reverse\n}",
        ),
        followed(
            "noreverse",
            "file /run/two\nweight 7 reverse",
            "track_file {\nload weight 7\n}",
            "track_file {\nload weight 7 noreverse\n}",
        ),
    ]
}

/// Of processes keepalived learns in the first PID namespace only, so that it follows none in a lab.
fn processes() -> Vec<Row> {
    let process = |lines: &str| {
        let name = if lines.contains("process ") { "" } else { "process sleep\n" };
        let weight = if lines.contains("weight") { "" } else { "weight 20\n" };
        format!("vrrp_track_process run {{\n{name}{weight}{lines}\n}}\n")
    };
    let one: &[Step] = &[Spawn(SLEEP), Start, Wait(1700)];
    let two: &[Step] = &[Spawn(SLEEP), Spawn(SLEEP), Start, Wait(1700)];
    let definition = |keyword, without: &str, with: &str, steps: &[Step]| {
        let both = [without, with].map(|lines| (process(lines), "track_process {\nrun\n}"));
        row(("vrrp_track_process", keyword), both, steps, see::priorities)
    };
    let followed = |keyword, lines: &str, without: &'static str, with: &'static str| {
        let both = [without, with].map(|lists| (process(lines), lists));
        row(("vrrp_instance/track_process", keyword), both, one, see::priorities)
    };
    // In the end there is none.
    let ends: &[Step] =
        &[Spawn(SLEEP), Start, Wait(1200), Run(&["pkill", "-x", "sleep"]), Wait(1500)];
    let rows = vec![
        definition("process", "process nobody", "process sleep", one),
        definition("weight", "", "weight 30", one),
        definition("quorum", "", "quorum 2", one),
        definition("quorum_max", "", "quorum_max 1", two),
        definition("full_command", "", "full_command", one),
        definition("delay", "", "delay 9", ends),
        definition("terminate_delay", "", "terminate_delay 9", ends),
        row(
            ("vrrp_instance", "track_process"),
            [(process(""), ""), (process(""), "track_process {\nrun\n}")],
            one,
            see::priorities,
        ),
        followed("<name>", "", "track_process {\n}", "track_process {\nrun\n}"),
        followed("weight", "", "track_process {\nrun\n}", "track_process {\nrun weight 30\n}"),
        followed(
            "reverse",
            "",
            "track_process {\nrun weight 30\n}",
            "track_process {\nrun weight 30 reverse\n}",
        ),
        followed(
            "noreverse",
            "weight 30 reverse",
            "track_process {\nrun weight 30\n}",
            "track_process {\nrun weight 30 noreverse\n}",
        ),
    ];
    rows.into_iter().map(Row::alone).collect()
}

fn interfaces() -> Vec<Row> {
    let falls: &[Step] = &[Start, Wait(1200), Link("eth1", false), Wait(900)];
    let followed = |keyword, [without, with]: [&str; 2], steps: &[Step], see: See| {
        let list = |entry: &str| format!("notify /run/note\ntrack_interface {{\n{entry}\n}}");
        let both = [list(without), list(with)];
        let config = both.map(|lines| format!("{GLOBALS}{}", instance(&lines)));
        Row::new(("vrrp_instance/track_interface", keyword), config, steps, see)
    };
    vec![
        followed("<name>", ["", "eth1"], falls, see::notes),
        followed("weight", ["eth1", "eth1 weight 30"], falls, see::notes),
        followed(
            "reverse",
            ["eth1 weight 30", "eth1 weight 30 reverse"],
            &[Start, Wait(1700)],
            see::priorities,
        ),
    ]
}
