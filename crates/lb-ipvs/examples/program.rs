//! How long the kernel's table takes to fill, to grow by one server, to adopt and to empty.
//!
//! `program SERVICESxSERVERS [here]` prints one JSON line, durations in milliseconds of the wall
//! clock. It works in a network namespace of its own, unless told to work in this one, where the
//! kernel takes less time for a change.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;
use std::time::{Duration, Instant};

use lb_ipvs::{Client, Reconciler};
use lb_pool::{
    Dataplane, Destination, DestinationKey, ForwardingMethod, Protocol, Scheduler, Service,
    ServiceKey, Table,
};
use nix::sched::{CloneFlags, unshare};

fn main() -> Result<(), Box<dyn Error>> {
    let size = std::env::args().nth(1).unwrap_or_else(|| "1000x10".into());
    let (services, servers) = size.split_once('x').ok_or("usage: program SERVICESxSERVERS")?;
    let (services, servers) = (services.parse()?, servers.parse()?);
    if std::env::args().nth(2).is_none_or(|word| word != "here") {
        unshare(CloneFlags::CLONE_NEWNET)?;
        // Until the namespace has an address, the kernel takes none for unicast.
        Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
    }

    let mut table = table(services, servers);
    let mut reconciler = Reconciler::new(Client::open()?);
    let program = timed(|| reconciler.replace(&table))?;
    let same = timed(|| reconciler.replace(&table))?;
    if let Some(mut last) = table.last_entry() {
        last.get_mut().destinations.add(server(u32::MAX >> 8), ROUTE);
    }
    let one_more = timed(|| reconciler.replace(&table))?;
    let audit = timed(|| reconciler.audit())?;
    let mut restarted = Reconciler::new(Client::open()?);
    let adopt = timed(|| restarted.replace(&table))?;
    let stop = timed(|| reconciler.replace(&Table::new()))?;

    let requests = reconciler.requests_sent();
    let sends = reconciler.client().sends();
    println!(
        "{{\"bench\":\"ipvs_program\",\"vs\":{services},\"rs_per_vs\":{servers},\
         \"program_ms\":{program:.1},\"same_ms\":{same:.1},\"one_more_ms\":{one_more:.1},\
         \"audit_ms\":{audit:.1},\"adopt_ms\":{adopt:.1},\"stop_ms\":{stop:.1},\"requests\":{requests},\"sends\":{sends}}}"
    );
    Ok(())
}

const ROUTE: Destination = Destination {
    method: ForwardingMethod::Route,
    weight: 1,
    upper_threshold: 0,
    lower_threshold: 0,
};

fn table(services: u32, servers: u32) -> Table {
    let service = |n: u32| {
        let address = SocketAddrV4::new(Ipv4Addr::from_bits(0x0a64_0000 + n), 80);
        let key = ServiceKey::Address { protocol: Protocol::Tcp, address: address.into() };
        let destinations = (n * servers..(n + 1) * servers).map(|d| (server(d), ROUTE));
        let service = Service {
            scheduler: Scheduler::Wrr,
            destinations: destinations.collect(),
            ..Service::default()
        };
        (key, service)
    };
    (0..services).map(service).collect()
}

fn server(n: u32) -> DestinationKey {
    DestinationKey { address: Ipv4Addr::from_bits(0x0a00_0000 + n % 0x0040_0000).into(), port: 80 }
}

/// Milliseconds that `work` takes.
fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<f64, E> {
    let start = Instant::now();
    work()?;
    let taken: Duration = start.elapsed();
    Ok(taken.as_secs_f64() * 1e3)
}
