//! keepalived as the yardstick of ours.

use std::path::Path;

/// What is missing for running keepalived here.
pub fn missing() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("root");
    }
    ["keepalived", "unshare", "ip", "xargs"].into_iter().find(|program| {
        !std::env::var("PATH")
            .unwrap_or_default()
            .split(':')
            .chain(["/usr/sbin", "/sbin"])
            .any(|dir| Path::new(dir).join(program).is_file())
    })
}
