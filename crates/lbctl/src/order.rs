//! What an operator tells lbd to do: reload, hand over, maintenance.

use std::path::Path;

use anyhow::bail;
use clap::Subcommand;
use lb_control::{RequestBody, ResponseBody};

use crate::{client, text};

/// Lets another router take over
///
/// The instance, and every other one of its sync group, keeps its addresses until another router
/// advertises, so that no packet is lost. Returns when that has happened; if no router takes over,
/// the instance goes on as MASTER and this fails. For root.
#[derive(Debug, clap::Args)]
pub struct Handover {
    /// Name of a vrrp_instance or carp_instance that is MASTER
    name: String,
    /// Print one JSON object for programs
    #[arg(long)]
    json: bool,
}

/// Makes this host the last choice in the election, or no more
#[derive(Debug, clap::Args)]
pub struct Maintenance {
    #[command(subcommand)]
    to: To,
}

#[derive(Debug, Subcommand)]
enum To {
    /// Begins: masters hand over, and are the last choice from now on
    ///
    /// If no other router is there, they are MASTER all the same. `lbctl status` shows who began
    /// it, and when. For root.
    On {
        /// Name of an instance, whose sync group follows; all of them when absent
        name: Option<String>,
        /// Over restarts of lbd too
        #[arg(long)]
        persist: bool,
        /// Print one JSON object for programs
        #[arg(long)]
        json: bool,
    },
    /// Ends, whether it was to outlive a restart or not. For root
    Off {
        /// Name of an instance; all of them when absent
        name: Option<String>,
        /// Print one JSON object for programs
        #[arg(long)]
        json: bool,
    },
}

/// Has an instance hand over.
///
/// # Errors
/// It is not MASTER, nobody takes over, or the daemon cannot be reached.
pub fn handover(socket: &Path, args: Handover) -> anyhow::Result<()> {
    give(socket, RequestBody::Handover { name: args.name }, args.json)
}

/// Begins or ends maintenance.
///
/// # Errors
/// There is no such instance, or the daemon cannot be reached or not write its file.
pub fn maintenance(socket: &Path, args: Maintenance) -> anyhow::Result<()> {
    let (name, on, persist, json) = match args.to {
        To::On { name, persist, json } => (name, true, persist, json),
        To::Off { name, json } => (name, false, false, json),
    };
    give(socket, RequestBody::Maintenance { name, on, persist }, json)
}

/// Gives an order and prints the answer.
///
/// # Errors
/// The daemon cannot be reached or says no.
pub fn give(socket: &Path, order: RequestBody, json: bool) -> anyhow::Result<()> {
    match client::ask(socket, order)? {
        ResponseBody::Done { message } if json => {
            text::print(&format!("{}\n", serde_json::json!({ "message": message })))
        }
        ResponseBody::Done { message } => text::print(&format!("{message}\n")),
        _ => bail!("lbd answered something else; use the lbctl that came with it"),
    }
}
