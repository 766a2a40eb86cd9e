//! What `lbctl config check --report` calls honoured has the effect that it has under keepalived.
//!
//! Each row is a keyword and two configurations, one without and one with it. Both daemons run both, and
//! what is seen of them is compared: packets, addresses, calls of scripts, settings of the kernel. The keyword
//! has to change it under keepalived, and it has to be the same under both. What keepalived 2.2.7 does not
//! know, or does nothing with in a lab, has to change it under lbd.
//!
//! What needs IPVS is in [`servers`], and is played in the machine of `tests/vm`.
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
mod servers;
mod track;
mod vrrp;

use std::collections::BTreeSet;

use anyhow::ensure;
use lb_config::OWN;
use lb_tests::Test;

use crate::row::Row;

/// Paths of the blocks whose keywords all have a row; the first is that of what stands outside of all. A keyword that
/// opens another of them is shown by its rows.
const BLOCKS: [&str; 26] = [
    "",
    "global_defs",
    "global_defs/lvs_sync_daemon",
    "global_defs/lvs_timeouts",
    "track_file",
    "virtual_server",
    "virtual_server/lvs_method",
    "virtual_server/real_server",
    "virtual_server/real_server/HTTP_GET",
    "virtual_server/real_server/HTTP_GET/url",
    "virtual_server/real_server/MISC_CHECK",
    "virtual_server/real_server/SSL_GET",
    "virtual_server/real_server/SSL_GET/url",
    "virtual_server/real_server/TCP_CHECK",
    "virtual_server_group",
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

/// What is honoured and not shown here. The kernel tells of processes in the first PID namespace only. The others have
/// no scene yet that is the same each time.
const NOT_SHOWN: [(&str, &str); 6] = [
    ("", "child_wait_time"),
    ("global_defs", "process_monitor_rcv_bufs"),
    ("global_defs", "process_monitor_rcv_bufs_force"),
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
    let mut shown = BTreeSet::from(NOT_SHOWN);
    let sets = servers::sets();
    let of_servers = sets.iter().flat_map(|set| &set.rows).map(|row| (row.path, row.keyword));
    for row in rows().iter().map(|row| (row.path, row.keyword)).chain(of_servers) {
        ensure!(shown.insert(row), "two rows: {row:?}");
    }
    let opened = |(path, keyword): &(&str, &str)| {
        let block =
            if path.is_empty() { (*keyword).to_owned() } else { format!("{path}/{keyword}") };
        BLOCKS.contains(&block.as_str())
    };
    shown.extend(honoured.iter().copied().filter(opened));
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

#[test]
fn each_keyword_of_virtual_servers_changes_the_same_under_both_daemons() -> Test {
    servers::compare()
}
