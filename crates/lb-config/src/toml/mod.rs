//! TOML as another syntax of the same language: a document becomes the lines that the meaning stage reads.
//!
//! Every table, range, default and complaint thus serves both, and complaints point into the TOML file.
//!
//! - A key is the keyword in snake case: `TCP_CHECK` is `tcp_check`, `sh-port` is `sh_port`.
//! - A block is a table. One that may be there often is an array of tables (`[[vrrp_instance]]`,
//!   `[[virtual_server.real_server]]`); any other may be either, so that a real server can have two
//!   `[[virtual_server.real_server.tcp_check]]`.
//! - What follows the keyword of a block has keys of its own: `name` for all that is named; for
//!   `virtual_server` one of `address` (`"192.0.2.1:80"`, or `"192.0.2.1"` and `port = 80`), `fwmark` and
//!   `group`; for `real_server` `address`.
//! - A block of lines is an array of strings, a line each: `virtual_ipaddress = ["192.0.2.1/24 dev eth0"]`.
//!   A line may be an array of its words or a table of its options, in which `name` or `address` is what
//!   the line starts with: `track_script = [{ name = "web", weight = 10 }]`. The lines of a
//!   `virtual_server_group` are its key `entries`.
//! - A keyword without value is `true`; `false` is as if it were not there. A boolean is a boolean.
//! - Numbers are numbers, times are numbers of seconds (or milliseconds, where the language says so).
//! - A command is one string, `"/usr/bin/check --quick"`, or an array of it, its user and its group.
//! - Any other value of several words is one string, or an array of its words.
//! - A keyword that is there several times has an array of its values; where an array already means words,
//!   an array of such arrays.
//!
//! Definitions, loops, conditions and includes do not exist; a keepalived.conf may include a TOML file.

mod lines;
mod names;

pub(crate) use lines::{quote_for_command, read};
pub(crate) use names::{Head, head, snake};

use std::path::Path;

/// Whether a file is read as TOML: if its name ends in `.toml`.
pub(crate) fn is_toml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}
