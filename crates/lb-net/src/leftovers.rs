//! What a process of ours that was killed has left in this network namespace, and whether another
//! one of ours is there.
//!
//! What it left bears our mark: addresses their protocol ([`ADDRESS_PROTOCOL`](crate::ADDRESS_PROTOCOL),
//! since Linux 5.18), virtual MACs their alias ([`Vmacs`](crate::Vmacs)), rules the name of their table.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::net::IpAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::netlink::{Address, AddressOptions, Change};
use crate::nftables::{self, Table};
use crate::quiet;
use crate::{Error, Outcome, RouteSocket};

/// Name of the tables of rules of the first process in a network namespace.
const TABLE: &str = "lbd";
/// How the names of the sockets begin that say "here is an lbd".
const PRESENT: &str = "lbd-present/";
/// The same of the sockets that say whose tables those of a name are.
const TABLES: &str = "lbd-tables/";
/// So many names of tables are tried before the one with the pid is taken: whoever wants can make
/// sockets of these names.
const NAMES: u32 = 16;

/// Says to others in this network namespace, for as long as it lives, that this process holds
/// addresses here: a socket with an abstract name, which ends with the process however that ends.
///
/// Anybody can say so; then nothing is taken away, which is said. The tables of rules of several
/// processes have different names.
#[derive(Debug)]
pub struct Presence {
    name: String,
    table: String,
    _sockets: (UnixDatagram, Option<UnixDatagram>),
}

impl Presence {
    /// Says so from now on.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn announce() -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PRESENT}{}/{count}", std::process::id());
        let socket = bind(&name)?;
        let (table, taken) = table()?;
        Ok(Self { name, table, _sockets: (socket, taken) })
    }

    /// Name of the tables for the rules of this process; no other one here has it.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The pid of another one that is here.
    ///
    /// # Errors
    /// When `/proc` does not tell.
    pub fn other(&self) -> io::Result<Option<String>> {
        present(Some(&self.name))
    }
}

fn bind(name: &str) -> io::Result<UnixDatagram> {
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

/// The first name that nobody has: `lbd`, `lbd_2`, ...
fn table() -> io::Result<(String, Option<UnixDatagram>)> {
    for number in 1..=NAMES {
        let name = if number == 1 { TABLE.to_owned() } else { format!("{TABLE}_{number}") };
        match bind(&format!("{TABLES}{name}")) {
            Ok(socket) => return Ok((name, Some(socket))),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    Ok((format!("{TABLE}_pid{}", std::process::id()), None))
}

/// Whether a table may be one of ours, by its name.
fn is_ours(name: &str) -> bool {
    let end = name.strip_prefix(TABLE).and_then(|end| end.strip_prefix('_'));
    let number = end.map(|end| end.strip_prefix("pid").unwrap_or(end));
    name == TABLE || number.is_some_and(|number| number.parse::<u32>().is_ok())
}

fn present(own: Option<&str>) -> io::Result<Option<String>> {
    let all = std::fs::read_to_string("/proc/thread-self/net/unix")?;
    let names =
        all.lines().filter_map(|line| line.split_ascii_whitespace().nth(7)?.strip_prefix('@'));
    let others = names.filter(|name| Some(*name) != own);
    let pids = others.filter_map(|name| name.strip_prefix(PRESENT)?.split('/').next());
    Ok(pids.map(str::to_owned).next())
}

/// What of this network namespace is in use, and not left over.
#[derive(Clone, Debug, Default)]
pub struct InUse {
    /// Addresses, by the index of their link: those of the configuration, held or not.
    pub addresses: HashSet<(u32, IpAddr)>,
    /// Links whose addresses are not looked at: virtual MACs.
    pub vmacs: BTreeSet<u32>,
    /// What virtual MACs stand on.
    pub bases: BTreeSet<u32>,
    /// Names of tables with the rules of shared addresses.
    pub shares: BTreeSet<String>,
    /// Names of tables with the rules of guarded addresses.
    pub guards: BTreeSet<String>,
}

/// Takes away what bears our mark and is not in use, each with a line in the log. Virtual MACs are
/// the business of [`Vmacs::sweeping`](crate::Vmacs::sweeping).
///
/// # Errors
/// When the kernel cannot be asked.
pub fn sweep(route: &mut RouteSocket, in_use: &InUse) -> Result<(), Error> {
    let listing = Error::system("looking for what an earlier lbd left", "CAP_NET_ADMIN");
    sweep_addresses(route, in_use).and_then(|()| sweep_tables(in_use)).map_err(listing)
}

fn sweep_addresses(route: &mut RouteSocket, in_use: &InUse) -> io::Result<()> {
    let left = |address: &crate::InterfaceAddress| {
        address.ours
            && !in_use.vmacs.contains(&address.ifindex)
            && !in_use.addresses.contains(&(address.ifindex, address.address))
    };
    let left: Vec<_> = route.addresses()?.into_iter().filter(left).collect();
    if left.is_empty() {
        return Ok(());
    }
    let links = route.links()?;
    let removals: Vec<_> = left
        .iter()
        .map(|it| {
            let options = AddressOptions { peer: it.peer, ..AddressOptions::default() };
            let (ifindex, address, prefix) = (it.ifindex, it.address, it.prefix);
            let (broadcast, scope, label) = (None, 0, None);
            Change::Remove(Address { ifindex, address, prefix, broadcast, scope, label, options })
        })
        .collect();
    for (it, outcome) in left.iter().zip(route.change(&removals)?) {
        let name =
            links.iter().find(|link| link.index == it.ifindex).map_or("?", |link| &link.name);
        let what = format!("{}/{} on {name}", it.address, it.prefix);
        match outcome {
            Outcome::Refused(error) => {
                tracing::warn!("an earlier lbd left {what}, which cannot be removed: {error}");
            }
            _ => {
                tracing::warn!(
                    "removed {what}: an earlier lbd left it, and no instance has it now"
                );
            }
        }
    }
    Ok(())
}

fn sweep_tables(in_use: &InUse) -> io::Result<()> {
    let is_left = |table: &Table, used: &BTreeSet<String>| {
        is_ours(&table.name) && !used.contains(&table.name)
    };
    let left = |table: &Table| match (table.family, quiet::base(&table.name)) {
        (nftables::NETDEV, Some(base)) => !in_use.bases.contains(&base),
        (nftables::NETDEV | nftables::ARP, None) => is_left(table, &in_use.shares),
        (nftables::INET, None) => is_left(table, &in_use.guards),
        _ => false,
    };
    for table in nftables::tables()?.into_iter().filter(left) {
        match nftables::delete(&table) {
            Ok(()) => {
                tracing::warn!("deleted the nftables table {}: an earlier lbd left it", table.name);
            }
            Err(error) => {
                tracing::warn!("an earlier lbd left the nftables table {}: {error}", table.name);
            }
        }
    }
    Ok(())
}

/// Takes away everything that bears our mark in the network namespace of the calling thread, for
/// when no process of ours runs: addresses only if `addresses` says so. Says who runs, if one does;
/// then nothing is touched.
///
/// # Errors
/// When the kernel cannot be asked.
pub fn clean(addresses: bool) -> Result<Option<String>, Error> {
    let asking = Error::system("looking for a running lbd", "CAP_NET_ADMIN");
    if let Some(pid) = present(None).map_err(asking)? {
        return Ok(Some(pid));
    }
    let mut route = RouteSocket::open()?;
    let mut in_use = InUse::default();
    if addresses {
        crate::Vmacs::open()?.sweeping(true).clear()?;
    } else {
        let listing = || Error::system("listing links and tables", "CAP_NET_ADMIN");
        in_use.vmacs =
            route.links().map_err(listing())?.into_iter().map(|link| link.index).collect();
        in_use.bases.clone_from(&in_use.vmacs);
        // What stays goes on dropping what it dropped.
        let tables = nftables::tables().map_err(listing())?;
        in_use.guards = tables.into_iter().map(|table| table.name).collect();
        in_use.shares.clone_from(&in_use.guards);
    }
    sweep(&mut route, &in_use)?;
    Ok(None)
}
