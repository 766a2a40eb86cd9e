//! `hostname.carpN`, `hostname.if(5)` of OpenBSD: lines of ifconfig, in files named for their interface.

use std::path::Path;

use super::output::Instance;
use super::{Import, ifconfig, words};
use crate::source::{FileId, Source, Span};

/// Reads one such file, or a sysctl.conf.
pub(super) fn read(import: &mut Import<'_>, file: FileId, source: &Source) {
    let path = Path::new(source.name());
    let base = path.file_name().and_then(|name| name.to_str()).unwrap_or("carp");
    let name = base.strip_prefix("hostname.").unwrap_or(base);
    let end = source.text().lines().next().map_or(0, str::len) as u32;
    let mut instance = Instance::new(name.to_owned(), Span { file, start: 0, end });
    let comments = source.text().lines().filter_map(|line| line.trim().strip_prefix('#'));
    instance.comments.extend(comments.map(|comment| comment.trim().to_owned()));
    let mut is_sysctl = base.starts_with("sysctl");
    for line in words::lines(file, source.text(), 0) {
        let first = &line[0];
        if import.sysctl(&line, false) {
            is_sysctl = true;
        } else if first.text.starts_with('!') {
            import.dropped(first, "commands of hostname.if are not run");
        } else {
            ifconfig::read(import, &mut instance, &line, true);
        }
    }
    if is_sysctl {
        return;
    }
    // A balanced address has the MAC address that its way of balancing needs.
    if instance.get("balancing").is_none() && instance.get("carpnodes").is_none() {
        instance.set_flag("use_vmac");
    }
    import.finish(instance);
}
