//! Settings of the balancer as a whole.

use super::{Row, See, Set, see};

/// A row of the whole configuration.
fn row(path: &'static str, keyword: &'static str, see: See) -> Row {
    Row::new((path, keyword), [String::new(), String::new()], see)
}

fn instance(lines: &str) -> String {
    format!(
        "vrrp_instance VI {{\nstate MASTER\ninterface eth0\nvirtual_router_id 51\npriority 200\nadvert_int 0.1\n\
         virtual_ipaddress {{\n192.0.2.201/24\n}}\n{lines}\n}}\n"
    )
}

pub fn sets() -> Vec<Set> {
    vec![start(), stop(), sync(), sync_of_instance()]
}

/// What can be seen after the start.
fn start() -> Set {
    let told = super::server::server(
        "VS",
        "",
        "real_server RS1 80 {\nnotify_up \"NOTE up\"\nTCP_CHECK {\n}\n}",
    );
    let fails = super::server::server(
        "VS",
        "",
        "real_server RS1 82 {\nTCP_CHECK {\ndelay_loop 1\nretry 1000\ndelay_before_retry 1\n}\n}",
    );
    let same = |keyword, block: &String, see| {
        Row::new(("global_defs", keyword), [block.clone(), block.clone()], see)
    };
    Set {
        rows: vec![
            row("global_defs", "lvs_flush", see::foreign),
            row("global_defs", "checker_rt_priority", see::real_time),
            row("global_defs", "checker_no_swap", see::locked),
            same("rs_init_notifies", &told, see::notes),
            same("checker_log_all_failures", &fails, see::failures),
            Row::new(
                ("vrrp_instance", "lvs_sync_daemon_interface"),
                ["", "lvs_sync_daemon_interface eth1"].map(instance),
                see::sync,
            ),
        ],
        globals: [
            "",
            "lvs_flush\nchecker_rt_priority 5\nchecker_no_swap\nrs_init_notifies\nchecker_log_all_failures",
        ],
        then: None,
        found: true,
    }
}

/// What a reload and a stop do. The timeouts are those of the reload.
fn stop() -> Set {
    Set {
        rows: vec![
            row("global_defs", "lvs_flush_on_stop", see::foreign),
            row("global_defs", "checker_priority", see::niceness),
            row("global_defs", "lvs_timeouts", see::timeouts),
            row("global_defs/lvs_timeouts", "tcp", |view| see::timeout(view, 0)),
            row("global_defs/lvs_timeouts", "tcpfin", |view| see::timeout(view, 1)),
            row("global_defs/lvs_timeouts", "udp", |view| see::timeout(view, 2)),
        ],
        globals: [
            "",
            "lvs_flush_on_stop\nchecker_priority 7\nlvs_timeouts tcp 70 tcpfin 30 udp 40",
        ],
        then: Some("lvs_flush_on_stop\nchecker_priority 7\nlvs_timeouts tcp 77 tcpfin 33 udp 44"),
        found: true,
    }
}

/// Options of the sync daemons.
fn sync() -> Set {
    let path = "global_defs/lvs_sync_daemon";
    let inst = Row::new((path, "inst"), ["", ""].map(instance), |view| see::sync_field(view, " "));
    Set {
        rows: vec![
            inst,
            row(path, "id", |view| see::sync_field(view, "syncid=")),
            row(path, "maxlen", |view| see::sync_field(view, "maxlen=")),
            row(path, "port", |view| see::sync_field(view, "port=")),
            row(path, "ttl", |view| see::sync_field(view, "ttl=")),
            row(path, "group", |view| see::sync_field(view, "group=")),
        ],
        globals: [
            "lvs_sync_daemon eth1",
            "lvs_sync_daemon eth1 inst VI id 7 maxlen 1300 port 8850 ttl 3 group 224.0.0.99",
        ],
        then: None,
        found: false,
    }
}

/// The sync daemon in its old form.
fn sync_of_instance() -> Set {
    let both = ["", ""].map(instance);
    Set {
        rows: vec![
            row("global_defs", "lvs_sync_daemon", see::sync),
            Row::new(("global_defs/lvs_sync_daemon", "<positional instance>"), both, see::sync),
        ],
        globals: ["", "lvs_sync_daemon eth1 VI 5"],
        then: None,
        found: false,
    }
}
