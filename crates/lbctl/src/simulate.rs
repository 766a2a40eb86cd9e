//! `lbctl simulate`: what an operator's nodes do when each of them fails in each way.

mod svg;
mod text;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use lb_node::Plan;
use lb_sim::trial::{self, Placement};

use crate::config::load;
use crate::text::print;

/// Plays what your nodes do when each of them fails, and says how long each VIP is gone
///
/// Give the configurations of all nodes, in either language. They run in simulated time, on a
/// network in memory: nothing is touched, and no daemon is needed. Every node is killed, cut off,
/// stalled, stopped and restarted in turn.
///
/// Interfaces are on one segment when instances on them share protocol, number and a VIP, others
/// when they share their name. Addresses that the files do not tell are made up:
/// 198.18.SEGMENT.NODE, so that the last node has the highest. Tracked scripts succeed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration of each node; `NAME=FILE` names it, and reads what `@NAME` lines say
    #[arg(required = true, value_name = "FILE", value_parser = node)]
    nodes: Vec<Node>,
    /// This interface, of one node or of all, is on this segment
    #[arg(long, value_name = "[NODE:]IF=NAME", value_parser = placement)]
    segment: Vec<Placement>,
    /// Print one JSON object for programs
    #[arg(long)]
    json: bool,
    /// Draw the timelines into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Other delays within a fifth of a millisecond
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A node of the command line.
#[derive(Clone, Debug)]
struct Node {
    name: Option<String>,
    file: PathBuf,
}

fn node(text: &str) -> Result<Node, String> {
    match text.split_once('=') {
        // A path may have a `=` as well.
        Some((name, file)) if !name.contains('/') && !name.is_empty() => {
            Ok(Node { name: Some(name.to_owned()), file: file.into() })
        }
        _ => Ok(Node { name: None, file: text.into() }),
    }
}

fn placement(text: &str) -> Result<Placement, String> {
    let parts = text.split_once('=').filter(|(port, name)| !port.is_empty() && !name.is_empty());
    let (port, segment) = parts.ok_or("use IF=NAME or NODE:IF=NAME")?;
    let (node, interface) = match port.split_once(':') {
        Some((node, interface)) => (Some(node.to_owned()), interface),
        None => (None, port),
    };
    Ok(Placement { node, interface: interface.to_owned(), segment: segment.to_owned() })
}

/// Plays every trial and shows what came of it.
///
/// # Errors
/// A configuration is refused, there is nothing to try, or an output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut nodes: Vec<(String, Plan)> = Vec::new();
    for (node, name) in args.nodes.iter().zip(names(&args.nodes)) {
        let (_, model) = load::read(&node.file, node.name.as_deref(), true)?;
        nodes.push((name, Plan::from(&model)));
    }
    for placement in &args.segment {
        let known = |name: &String| nodes.iter().any(|(node, _)| node == name);
        if let Some(node) = placement.node.as_ref().filter(|node| !known(node)) {
            let names: Vec<&str> = nodes.iter().map(|(name, _)| name.as_str()).collect();
            bail!("--segment: no node is called {node}; there are {}", names.join(", "));
        }
    }
    let report = trial::all(&nodes, &args.segment, args.seed)?;
    if let Some(path) = &args.svg {
        std::fs::write(path, svg::draw(&report))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if args.json {
        print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
    } else {
        let width = terminal_size::terminal_size().map_or(80, |(width, _)| width.0);
        print(&text::render(&report, width.clamp(60, 120)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the nodes are called: as was said, else by their files, else by their directories.
fn names(nodes: &[Node]) -> Vec<String> {
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let parent = |path: &Path| path.parent().and_then(stem);
    let by = |name: &dyn Fn(&Path) -> Option<String>| -> Option<Vec<String>> {
        let names: Option<Vec<String>> =
            nodes.iter().map(|node| node.name.clone().or_else(|| name(&node.file))).collect();
        let different =
            |names: &Vec<String>| names.iter().collect::<BTreeSet<_>>().len() == names.len();
        names.filter(different)
    };
    by(&stem)
        .or_else(|| by(&parent))
        .unwrap_or_else(|| (1..=nodes.len()).map(|number| format!("node{number}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_called_by_what_tells_them_apart() {
        let names = |texts: &[&str]| {
            names(&texts.iter().map(|text| node(text).unwrap()).collect::<Vec<_>>())
        };
        assert_eq!(names(&["a.conf", "b.toml"]), ["a", "b"]);
        assert_eq!(names(&["gw1/keepalived.conf", "gw2/keepalived.conf"]), ["gw1", "gw2"]);
        assert_eq!(names(&["one=a.conf", "a.conf"]), ["one", "a"]);
        assert_eq!(names(&["a.conf", "a.conf"]), ["node1", "node2"]);
        assert_eq!(names(&["./x=1/a.conf"]), ["a"]);
    }

    #[test]
    fn a_segment_may_be_said_for_one_node() {
        let lan = placement("gw1:eth0=lan").unwrap();
        assert_eq!(
            (lan.node.as_deref(), &*lan.interface, &*lan.segment),
            (Some("gw1"), "eth0", "lan")
        );
        assert_eq!(placement("eth0=lan").unwrap().node, None);
        assert!(placement("eth0").is_err() && placement("=lan").is_err());
    }
}
