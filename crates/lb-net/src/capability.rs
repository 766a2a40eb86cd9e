//! What the process may do.

use std::fs;

use crate::Error;

const NEEDED: [(u32, &str, &str); 2] = [
    (12, "CAP_NET_ADMIN", "adding and removing virtual addresses"),
    (13, "CAP_NET_RAW", "sending and receiving advertisements"),
];

/// Checks that the calling thread has every capability that this crate needs. `capabilities(7)`.
///
/// Says nothing about a file system without `/proc`: the first system call will then tell.
///
/// # Errors
/// [`Error::Capability`] for the first one that is missing.
pub fn require_capabilities() -> Result<(), Error> {
    let Ok(status) = fs::read_to_string("/proc/thread-self/status") else { return Ok(()) };
    match effective(&status) {
        Some(set) => check(set),
        None => Ok(()),
    }
}

fn effective(status: &str) -> Option<u64> {
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(set.trim(), 16).ok()
}

fn check(set: u64) -> Result<(), Error> {
    match NEEDED.iter().find(|(bit, ..)| set & (1 << bit) == 0) {
        Some(&(_, capability, what)) => Err(Error::Capability { what: what.into(), capability }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_capability_is_named_with_its_remedy() {
        let set = effective("Name:\tlbd\nCapEff:\t0000000000001000\n").unwrap();
        let message = check(set).unwrap_err().to_string();
        assert!(message.contains("CAP_NET_RAW") && message.contains("setcap"), "{message}");
        assert!(check(0).unwrap_err().to_string().contains("CAP_NET_ADMIN"));
        assert!(check(0x3000).is_ok());
    }
}
