//! Who holds a port that we want: for the message of a listener that cannot be opened.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_pool::Protocol;

/// Names the program that stands in the way, such as `nginx (pid 812)`.
///
/// Reads all of `/proc`, so only after a bind has failed. `None` if it lives in another namespace
/// or we may not look.
#[must_use]
pub fn of(protocol: Protocol, address: SocketAddr) -> Option<String> {
    let name = protocol.to_string().to_lowercase();
    let inode = [name.clone(), format!("{name}6")].into_iter().find_map(|table| {
        let text = fs::read_to_string(format!("/proc/self/net/{table}")).ok()?;
        inode_of(&text, protocol, address)
    })?;
    let link = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let mut files = fs::read_dir(process.path().join("fd")).ok()?.flatten();
        files.find(|file| {
            fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == link.as_str())
        })?;
        let comm = fs::read_to_string(process.path().join("comm")).ok()?;
        Some(format!("{} (pid {pid})", comm.trim_end()))
    })
}

/// The socket in a table of `/proc/net` that listens on this address or on every one.
fn inode_of(table: &str, protocol: Protocol, wanted: SocketAddr) -> Option<u64> {
    // TCP_LISTEN of `tcp_states.h`; an unconnected UDP socket counts as closed.
    let state = if protocol == Protocol::Tcp { "0A" } else { "07" };
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (&local, &found, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let (ip, port) = local_address(local)?;
        let clashes = port == wanted.port() && (ip == wanted.ip() || ip.is_unspecified());
        (found == state && clashes).then(|| inode.parse().ok()).flatten()
    })
}

/// Reads `0100007F:1F90`: the address as words in the host's byte order, the port as a number.
fn local_address(text: &str) -> Option<(IpAddr, u16)> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut octets = Vec::with_capacity(16);
    for at in (0..ip.len()).step_by(8) {
        octets.extend(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    let ip = match <[u8; 4]>::try_from(octets.as_slice()) {
        Ok(v4) => Ipv4Addr::from(v4).into(),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into(),
    };
    Some((ip, port))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_is_traced_to_its_process() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let found = of(Protocol::Tcp, address).unwrap();
        assert!(found.ends_with(&format!("(pid {})", std::process::id())), "{found}");
        drop(socket);
        assert_eq!(of(Protocol::Tcp, address), None);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_tables_of_proc_are_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 0A0000C0:0016 01 00000000:00000000 00:00000000 00000000     0        0 7 1\n\
            1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 8 1\n\
            short line\n";
        let at = |text: &str| inode_of(table, Protocol::Tcp, text.parse().unwrap());
        assert_eq!(at("192.0.2.1:8080"), Some(8));
        assert_eq!(at("192.0.2.1:8081"), None);
        let v6 = local_address("B80D0120000000000000000001000000:0050");
        assert_eq!(v6, Some(("2001:db8::1".parse().unwrap(), 80)));
        for broken in
            ["", ":", "0100007F", "0100007:0050", "zz00007F:0050", "0100007F:zz", "é100007F:0050"]
        {
            assert_eq!(local_address(broken), None, "{broken}");
        }
    }
}
