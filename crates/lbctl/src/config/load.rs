//! Reads configurations, and asks the daemon for the one in force.

use std::io::IsTerminal;
use std::path::Path;

use anyhow::bail;
use lb_config::{AnyInterface, Loaded, Model, Options, RealSystem};
use lb_control::{RequestBody, ResponseBody};
use serde_json::Value;

use crate::client;

/// Reads a file that must be good; its interfaces may be those of another machine if `elsewhere`.
///
/// # Errors
/// It is refused; the complaints are shown before.
pub fn read(file: &Path, id: Option<&str>, elsewhere: bool) -> anyhow::Result<(Loaded, Model)> {
    let options = Options {
        config_id: id.map(str::to_owned),
        record_statements: true,
        only_read: true,
        ..Options::default()
    };
    let mut loaded = if elsewhere {
        lb_config::load(file, &options, &AnyInterface)
    } else {
        lb_config::load(file, &options, &RealSystem)
    };
    match loaded.model.take() {
        Some(model) if !loaded.sources.is_empty() => Ok((loaded, model)),
        _ => {
            anstream::eprint!("{}", loaded.render(std::io::stderr().is_terminal()));
            bail!("{} cannot be used", file.display())
        }
    }
}

/// The file and the model that are in force.
///
/// # Errors
/// The daemon cannot be reached, or does not tell.
pub fn in_force(socket: &Path) -> anyhow::Result<(String, Value)> {
    match client::ask(socket, RequestBody::Config)? {
        ResponseBody::Config { config, model } => Ok((config, *model)),
        _ => bail!("lbd answered something else; use the lbctl that came with it"),
    }
}
