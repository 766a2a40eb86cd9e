//! What `lbctl config check --report` calls honoured has the effect that it has under keepalived.
//!
//! Each row is a keyword and two configurations, one without and one with it. Both daemons run both, and
//! what is seen of them is compared: packets, addresses, calls of scripts, settings of the kernel. The keyword
//! has to change it under keepalived, and it has to be the same under both. What keepalived 2.2.7 does not
//! know, or does nothing with in a lab, has to change it under lbd.
//!
//! Every keyword of the blocks in [`BLOCKS`] has a row, but for what is in [`NOT_SHOWN`].

mod address;
mod global;
mod group;
mod process;
mod record;
mod row;
mod scene;
mod see;
mod track;
mod vrrp;

use std::collections::BTreeSet;

use anyhow::ensure;
use lb_config::OWN;
use lb_tests::Test;

use crate::row::Row;

/// Paths of the blocks whose keywords all have a row.
const BLOCKS: [&str; 13] = [
    "global_defs",
    "track_file",
    "vrrp_instance",
    "vrrp_instance/authentication",
    "vrrp_instance/track_file",
    "vrrp_instance/track_interface",
    "vrrp_instance/track_process",
    "vrrp_instance/track_script",
    "vrrp_instance/unicast_peer",
    "vrrp_instance/virtual_ipaddress",
    "vrrp_script",
    "vrrp_sync_group",
    "vrrp_track_process",
];

/// What is honoured and not shown here. The kernel tells of processes in the first PID namespace only. What
/// needs IPVS is not compared with keepalived yet; of it `tests/vm/director` shows `lvs_sync_daemon` and
/// `lvs_timeouts` by lbd alone. The last two have no scene yet that is the same each time.
const NOT_SHOWN: [(&str, &str); 15] = [
    ("global_defs", "checker_log_all_failures"),
    ("global_defs", "checker_no_swap"),
    ("global_defs", "checker_priority"),
    ("global_defs", "checker_rt_priority"),
    ("global_defs", "lvs_flush"),
    ("global_defs", "lvs_flush_on_stop"),
    ("global_defs", "lvs_sync_daemon"),
    ("global_defs", "lvs_timeouts"),
    ("global_defs", "process_monitor_rcv_bufs"),
    ("global_defs", "process_monitor_rcv_bufs_force"),
    ("global_defs", "rs_init_notifies"),
    ("vrrp_instance", "lvs_sync_daemon_interface"),
    ("vrrp_track_process", "fork_delay"),
    ("vrrp_instance/unicast_peer", "min_ttl"),
    ("vrrp_track_process", "param_match"),
];

fn rows() -> Vec<Row> {
    [vrrp::rows(), address::rows(), track::rows(), group::rows(), global::rows()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn each_honoured_keyword_has_a_row_and_each_row_a_honoured_keyword() -> Test {
    let honoured: BTreeSet<(&str, &str)> = lb_config::tables()
        .iter()
        .filter(|block| BLOCKS.contains(&block.path))
        .flat_map(|block| block.keywords.iter().map(|keyword| (block.path, keyword)))
        // Our own extensions have tests of their own.
        .filter(|(_, keyword)| keyword.acted_on && keyword.since != OWN)
        .map(|(path, keyword)| (path, keyword.name))
        .collect();
    let rows = rows();
    let mut shown = BTreeSet::from(NOT_SHOWN);
    let twice = rows.iter().find(|row| !shown.insert((row.path, row.keyword)));
    ensure!(twice.is_none(), "two rows: {:?}", twice.map(|row| (row.path, row.keyword)));
    let missing: Vec<_> = honoured.difference(&shown).collect();
    ensure!(missing.is_empty(), "honoured, and no row shows it: {missing:?}");
    let beyond: Vec<_> = shown.difference(&honoured).collect();
    ensure!(beyond.is_empty(), "a row, and not honoured: {beyond:?}");
    Ok(())
}

#[test]
fn each_keyword_changes_the_same_under_both_daemons() -> Test {
    row::compare(rows())
}
