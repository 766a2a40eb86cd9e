//! The library against a real kernel, and against `ipvsadm` as a second opinion.
//!
//! Every test has a network namespace, and with it an IPVS table, of its own. Where the kernel has
//! no IPVS, or the process may not use it, they say so and pass; `tests/vm/check` runs them in a
//! machine that has, and sets `LB_IPVS_REQUIRED` so that none is left out.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use lb_ipvs::{
    Change, Client, Daemon, DestinationSettings, Error, Method, Reconciler, Role, ServiceSettings,
    Timeouts, TunnelKind, diff, snapshot,
};
use lb_pool::table::{Family, TunnelChecksum};
use lb_pool::{
    Dataplane, Destination, DestinationKey, ForwardingMethod, Persistence, Protocol, Scheduler,
    Service, ServiceKey, Table, TunnelType,
};
use nix::sched::{CloneFlags, unshare};

/// A client of an empty table, or the reason why there is none.
fn client() -> Option<Client> {
    let why = match unshare(CloneFlags::CLONE_NEWNET) {
        Err(errno) => format!("no network namespace of our own: {errno}"),
        Ok(()) => match Client::open() {
            Ok(client) => {
                run("ip", "link set lo up");
                return Some(client);
            }
            Err(error @ (Error::NoIpvs | Error::Permission)) => error.to_string(),
            Err(error) => panic!("{error}"),
        },
    };
    assert!(std::env::var_os("LB_IPVS_REQUIRED").is_none(), "{why}");
    lb_skip::skip(&why);
    None
}

/// Runs a program in the test's namespace and returns what it says.
fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split_whitespace()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments}: {complaint}");
    String::from_utf8(output.stdout).expect("text")
}

/// The table as ipvsadm would restore it, sorted.
fn saved() -> Vec<String> {
    let text = run("ipvsadm", "--save --numeric");
    let mut lines: Vec<_> = text.lines().map(|line| line.trim().to_owned()).collect();
    lines.sort();
    lines
}

fn tcp(address: &str) -> ServiceKey {
    ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: address.parse().expect("an address and a port"),
    }
}

fn udp(address: &str) -> ServiceKey {
    ServiceKey::Address {
        protocol: Protocol::Udp,
        address: address.parse().expect("an address and a port"),
    }
}

fn to(address: &str) -> DestinationKey {
    let address: SocketAddr = address.parse().expect("an address and a port");
    DestinationKey { address: address.ip(), port: address.port() }
}

fn by(method: ForwardingMethod, weight: u32) -> Destination {
    Destination { method, weight, ..Destination::default() }
}

fn service(
    scheduler: Scheduler,
    destinations: impl IntoIterator<Item = (DestinationKey, Destination)>,
) -> Service {
    Service { scheduler, destinations: destinations.into_iter().collect(), ..Service::default() }
}

/// `services` routed services with `servers` destinations each.
fn grid(services: u16, servers: u16) -> Table {
    (0..services)
        .map(|s| {
            let [high, low] = s.to_be_bytes();
            let key = tcp(&format!("10.100.{high}.{low}:80"));
            let destinations = (0..servers).map(|d| {
                let [d_high, d_low] = d.to_be_bytes();
                (
                    to(&format!("10.{}.{d_low}.{low}:80", high.wrapping_mul(16) + d_high)),
                    by(ForwardingMethod::Route, 1),
                )
            });
            (key, service(Scheduler::Wrr, destinations))
        })
        .collect()
}

fn apply(client: &mut Client, table: &Table) {
    let changes = diff(&snapshot(table), &client.table().expect("a dump"));
    let failures = client.apply(&changes).expect("a whole exchange");
    assert_eq!(failures, []);
}

#[test]
fn every_kind_of_entry_is_what_ipvsadm_shows_and_what_we_read_back() {
    let Some(mut client) = client() else { return };
    let sticky = |seconds, engine: Option<&str>| {
        Some(Persistence {
            timeout: Duration::from_secs(seconds),
            engine: engine.map(str::to_owned),
        })
    };
    let tunnel = ForwardingMethod::Tunnel;
    let gue = |port, checksum| tunnel(TunnelType::Gue { port, checksum });
    let table = Table::from([
        (
            tcp("192.0.2.1:80"),
            service(
                Scheduler::Wrr,
                [
                    (
                        to("10.0.0.1:8080"),
                        Destination {
                            weight: 3,
                            upper_threshold: 100,
                            lower_threshold: 50,
                            ..Destination::default()
                        },
                    ),
                    (to("10.0.0.2:80"), by(ForwardingMethod::Route, 0)),
                    (to("10.0.0.3:80"), by(tunnel(TunnelType::Ipip), 2_147_483_647)),
                    (to("10.0.0.4:80"), by(gue(6080, TunnelChecksum::None), 1)),
                    (to("10.0.0.5:80"), by(gue(6081, TunnelChecksum::Outer), 1)),
                    (to("10.0.0.6:80"), by(gue(6082, TunnelChecksum::Remote), 1)),
                    (to("10.0.0.7:80"), by(tunnel(TunnelType::Gre { checksum: false }), 1)),
                    (to("10.0.0.8:80"), by(tunnel(TunnelType::Gre { checksum: true }), 1)),
                    (to("[2001:db8::9]:80"), by(tunnel(TunnelType::Ipip), 1)),
                ],
            ),
        ),
        (
            tcp("192.0.2.2:0"),
            Service {
                persistence: sticky(360, None),
                granularity: Some(24),
                ..service(Scheduler::Sh, [(to("10.0.0.1:0"), by(ForwardingMethod::Route, 1))])
            },
        ),
        (
            tcp("192.0.2.3:443"),
            Service {
                fallback: true,
                hash_port: true,
                ..service(Scheduler::Mh, [(to("10.0.0.1:443"), by(ForwardingMethod::Route, 1))])
            },
        ),
        (
            udp("192.0.2.4:5060"),
            Service {
                persistence: sticky(60, Some("sip")),
                ..service(Scheduler::Rr, [(to("10.0.0.1:5060"), by(ForwardingMethod::Nat, 1))])
            },
        ),
        (
            udp("192.0.2.5:53"),
            Service {
                one_packet: true,
                ..service(Scheduler::Rr, [(to("10.0.0.1:53"), by(ForwardingMethod::Nat, 1))])
            },
        ),
        (
            ServiceKey::Address {
                protocol: Protocol::Sctp,
                address: "192.0.2.6:9".parse().expect("an address"),
            },
            service(Scheduler::Wlc, []),
        ),
        (
            tcp("[2001:db8::1]:80"),
            Service {
                persistence: sticky(50, None),
                granularity: Some(64),
                ..service(Scheduler::Lc, [(to("[2001:db8::2]:80"), by(ForwardingMethod::Nat, 7))])
            },
        ),
        (
            ServiceKey::Fwmark { family: Family::Inet, mark: 7 },
            service(Scheduler::Fo, [(to("10.0.0.1:0"), by(ForwardingMethod::Route, 1))]),
        ),
        (
            ServiceKey::Fwmark { family: Family::Inet6, mark: 7 },
            service(Scheduler::Ovf, [(to("[2001:db8::2]:0"), by(ForwardingMethod::Route, 1))]),
        ),
    ]);
    apply(&mut client, &table);
    assert_eq!(client.table().expect("a dump"), snapshot(&table));
    assert_eq!(
        saved(),
        [
            "-A --sctp-service 192.0.2.6:9 -s wlc",
            "-A -f 7 -6 -s ovf",
            "-A -f 7 -s fo",
            "-A -t 192.0.2.1:80 -s wrr",
            "-A -t 192.0.2.2:0 -s sh -p 360 -M 255.255.255.0",
            "-A -t 192.0.2.3:443 -s mh -b mh-fallback,mh-port",
            "-A -t [2001:db8::1]:80 -s lc -p 50 -M 64",
            "-A -u 192.0.2.4:5060 -s rr -p 60 --pe sip",
            "-A -u 192.0.2.5:53 -s rr -o",
            "-a -f 7 -6 -r [2001:db8::2]:0 -g -w 1",
            "-a -f 7 -r 10.0.0.1:0 -g -w 1",
            "-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3",
            "-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 0",
            "-a -t 192.0.2.1:80 -r 10.0.0.3:80 -i -w 2147483647 --tun-type ipip",
            "-a -t 192.0.2.1:80 -r 10.0.0.4:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum",
            "-a -t 192.0.2.1:80 -r 10.0.0.5:80 -i -w 1 --tun-type gue --tun-port 6081 --tun-csum",
            "-a -t 192.0.2.1:80 -r 10.0.0.6:80 -i -w 1 --tun-type gue --tun-port 6082 --tun-remcsum",
            "-a -t 192.0.2.1:80 -r 10.0.0.7:80 -i -w 1 --tun-type gre --tun-nocsum",
            "-a -t 192.0.2.1:80 -r 10.0.0.8:80 -i -w 1 --tun-type gre --tun-csum",
            "-a -t 192.0.2.1:80 -r [2001:db8::9]:80 -i -w 1 --tun-type ipip",
            "-a -t 192.0.2.2:0 -r 10.0.0.1:0 -g -w 1",
            "-a -t 192.0.2.3:443 -r 10.0.0.1:443 -g -w 1",
            "-a -t [2001:db8::1]:80 -r [2001:db8::2]:80 -m -w 7",
            "-a -u 192.0.2.4:5060 -r 10.0.0.1:5060 -m -w 1",
            "-a -u 192.0.2.5:53 -r 10.0.0.1:53 -m -w 1",
        ]
    );
    let thresholds = run("ipvsadm", "-l -n --thresholds");
    let line = thresholds.lines().find(|line| line.contains("10.0.0.1:8080"));
    let columns: Vec<_> = line.unwrap_or_default().split_whitespace().collect();
    assert_eq!(columns, ["->", "10.0.0.1:8080", "100", "50", "0", "0"]);
}

#[test]
fn every_scheduler_of_the_kernel_is_taken_and_the_missing_ones_are_named() {
    let Some(mut client) = client() else { return };
    let changes: Vec<_> = Scheduler::ALL
        .into_iter()
        .enumerate()
        .map(|(n, scheduler)| {
            let key = tcp(&format!("192.0.2.{n}:80"));
            Change::AddService(key, ServiceSettings::new(&key, &service(scheduler, [])))
        })
        .collect();
    let failures = client.apply(&changes).expect("a whole exchange");
    let shown = saved();
    for (n, scheduler) in Scheduler::ALL.into_iter().enumerate() {
        let line = format!("-A -t 192.0.2.{n}:80 -s {scheduler}");
        let failure = failures.iter().find(|f| f.change == changes[n]);
        match failure {
            None => assert!(shown.contains(&line), "ipvsadm does not show: {line}"),
            Some(failure) => assert_eq!(
                failure.to_string(),
                format!(
                    "cannot add TCP 192.0.2.{n}:80: the kernel has no scheduler `{scheduler}` \
                     (ENOENT); load ip_vs_{scheduler} or choose another"
                )
            ),
        }
    }
    // Only the newest is missing in kernels in the field.
    assert!(failures.iter().all(|f| f.change == changes[13]), "{failures:?}");
}

#[test]
fn edits_replace_what_they_name_and_deletions_what_they_mean() {
    let Some(mut client) = client() else { return };
    let key = tcp("192.0.2.1:80");
    let nat = by(ForwardingMethod::Nat, 1);
    let one = Table::from([(
        key,
        Service {
            persistence: Some(Persistence { timeout: Duration::from_secs(30), engine: None }),
            ..service(Scheduler::Wrr, [(to("10.0.0.1:80"), nat), (to("10.0.0.2:80"), nat)])
        },
    )]);
    let gue = TunnelType::Gue { port: 6080, checksum: TunnelChecksum::Outer };
    let other = Table::from([(
        key,
        Service {
            hash_port: true,
            ..service(
                Scheduler::Mh,
                [
                    (to("10.0.0.2:80"), by(ForwardingMethod::Tunnel(gue), 5)),
                    (to("10.0.0.3:80"), by(ForwardingMethod::Route, 0)),
                ],
            )
        },
    )]);
    for table in [&one, &other, &one, &Table::new()] {
        apply(&mut client, table);
        assert_eq!(client.table().expect("a dump"), snapshot(table));
    }
    assert_eq!(saved(), [""; 0]);
}

#[test]
fn one_bad_entry_among_hundreds_is_named_and_the_others_are_in_force() {
    let Some(mut client) = client() else { return };
    let key = tcp("192.0.2.1:80");
    let settings = (&by(ForwardingMethod::Route, 1)).into();
    let add = |to| Change::AddDestination(key, to, settings);
    let mut changes =
        vec![Change::AddService(key, ServiceSettings::new(&key, &Service::default()))];
    changes.extend((0..=255).map(|n| add(to(&format!("10.0.0.{n}:80")))));
    changes.extend((0..44).map(|n| add(to(&format!("10.0.1.{n}:80")))));
    let bad = add(to("224.0.0.1:80"));
    changes.insert(150, bad);
    let failures = client.apply(&changes).expect("a whole exchange");
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0].change, bad);
    let sentence = failures[0].to_string();
    assert!(
        sentence.starts_with(
            "cannot add TCP 192.0.2.1:80 -> 224.0.0.1:80: the kernel refuses this address or \
             method (EINVAL)"
        ),
        "{sentence}"
    );
    assert_eq!(client.destinations(&key).expect("a dump").len(), 300);
    assert_eq!(client.sends(), client.requests_sent() - 302 + 3);
}

#[test]
fn a_batch_of_failures_alone_loses_none() {
    let Some(mut client) = client() else { return };
    let gone = |n: u16| Change::DelService(tcp(&format!("192.0.2.1:{n}")));
    let changes: Vec<_> = (1..=1000).map(gone).collect();
    let failures = client.apply(&changes).expect("a whole exchange");
    assert_eq!(failures.iter().map(|f| f.change).collect::<Vec<_>>(), changes);
}

#[test]
fn a_large_table_takes_few_sends_and_one_more_server_one_request() {
    let Some(client) = client() else { return };
    let mut reconciler = Reconciler::new(client);
    let before = (reconciler.requests_sent(), reconciler.client().sends());
    let mut table = grid(1000, 10);
    assert_eq!(reconciler.replace(&table), Ok(11_000));
    // One dump, and 128 changes a send.
    assert_eq!(reconciler.requests_sent() - before.0, 11_001);
    assert_eq!(reconciler.client().sends() - before.1, 1 + 86);
    assert_eq!(saved().len(), 11_000);

    let before = reconciler.requests_sent();
    let last = table.values_mut().next_back().expect("a service");
    last.destinations.add(to("10.99.0.1:80"), by(ForwardingMethod::Route, 1));
    assert_eq!(reconciler.replace(&table), Ok(1));
    assert_eq!(reconciler.requests_sent() - before, 1);
    assert_eq!(saved().len(), 11_001);

    let restarted = Client::open().expect("it was open before");
    let mut restarted = Reconciler::new(restarted);
    assert_eq!(restarted.replace(&table), Ok(0));

    let before = reconciler.client().sends();
    assert_eq!(reconciler.replace(&Table::new()), Ok(1000));
    assert_eq!(reconciler.client().sends() - before, 8);
    assert_eq!(saved(), [""; 0]);
}

#[test]
fn what_others_do_to_our_entries_is_repaired_and_theirs_are_left_alone() {
    let Some(client) = client() else { return };
    run("ipvsadm", "-A -t 198.51.100.1:80 -s rr");
    run("ipvsadm", "-a -t 198.51.100.1:80 -r 10.0.0.1:80 -g -w 1");
    let mut reconciler = Reconciler::new(client);
    let mut table = grid(20, 3);
    table.insert(tcp("[2001:db8::1]:80"), service(Scheduler::Rr, []));
    assert_eq!(reconciler.replace(&table), Ok(81));
    let whole = saved();
    assert_eq!(reconciler.audit(), Ok(0));

    run("ipvsadm", "-C");
    assert_eq!(reconciler.audit(), Ok(81));
    run("ipvsadm", "-A -t 198.51.100.1:80 -s rr");
    run("ipvsadm", "-a -t 198.51.100.1:80 -r 10.0.0.1:80 -g -w 1");
    assert_eq!(reconciler.audit(), Ok(0));
    assert_eq!(saved(), whole);

    for vandalism in [
        "-e -t 10.100.0.7:80 -r 10.0.1.7:80 -g -w 9",
        "-e -t 10.100.0.7:80 -r 10.0.1.7:80 -i -w 1",
        "-d -t 10.100.0.8:80 -r 10.0.2.8:80",
        "-a -t 10.100.0.9:80 -r 10.0.9.9:80 -g -w 1",
        "-E -t 10.100.0.10:80 -s sh",
        "-E -t 10.100.0.10:80 -s wrr -p 77",
    ] {
        run("ipvsadm", vandalism);
        assert_ne!(saved(), whole, "{vandalism}");
        assert_eq!(reconciler.audit(), Ok(1), "{vandalism}");
        assert_eq!(saved(), whole, "{vandalism}");
    }
    run("ipvsadm", "-D -t [2001:db8::1]:80");
    assert_eq!(reconciler.audit(), Ok(1));
    run("ipvsadm", "-D -t 10.100.0.3:80");
    // Not the audit this time but a change to the service that is gone.
    let three = tcp("10.100.0.3:80");
    let mut fewer = table[&three].clone();
    let (last, _) = *fewer.destinations.iter().last().expect("two servers");
    fewer.destinations.remove(&last);
    assert_eq!(reconciler.apply(&three, Some(&fewer)), Ok(3));
    assert_eq!(reconciler.apply(&three, Some(&table[&three])), Ok(1));
    assert_eq!(saved(), whole);

    assert_eq!(reconciler.replace(&Table::new()), Ok(21));
    assert_eq!(
        saved(),
        ["-A -t 198.51.100.1:80 -s rr", "-a -t 198.51.100.1:80 -r 10.0.0.1:80 -g -w 1"]
    );
}

#[test]
fn connections_are_forwarded_and_counted() {
    let Some(client) = client() else { return };
    run("ip", "addr add 192.0.2.1/32 dev lo");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = listener.local_addr().expect("its address");
    let key = tcp("192.0.2.1:80");
    let table = Table::from([(
        key,
        service(Scheduler::Rr, [(to(&server.to_string()), by(ForwardingMethod::Nat, 1))]),
    )]);
    let mut reconciler = Reconciler::new(client);
    assert_eq!(reconciler.replace(&table), Ok(2));
    let mut connection = TcpStream::connect("192.0.2.1:80").expect("IPVS forwards it");
    let (mut accepted, _) = listener.accept().expect("a connection");
    connection.write_all(b"hello").expect("it is open");
    let mut received = [0; 5];
    accepted.read_exact(&mut received).expect("what was sent");
    assert_eq!(&received, b"hello");

    let connections = reconciler.connections(&key);
    assert_eq!(connections.values().map(|c| c.active).collect::<Vec<_>>(), [1]);
    let client = reconciler.client();
    // The kernel sums its counters up every two seconds.
    let deadline = Instant::now() + Duration::from_secs(20);
    let entry = loop {
        let entry = client.destinations(&key).expect("a dump").remove(0);
        if entry.statistics.connections > 0
            && client.services().expect("a dump")[0].statistics.connections > 0
        {
            break entry;
        }
        assert!(Instant::now() < deadline, "the connection is never counted");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(entry.settings.method, Method::Masquerade);
    assert_eq!(entry.statistics.connections, 1);
    assert!(entry.statistics.bytes_in >= 5);
    let services = client.services().expect("a dump");
    assert_eq!(services[0].statistics.connections, 1);
    let again = client.services_of(&[tcp("192.0.2.9:80"), key]).expect("an answer");
    assert_eq!((again[0].key, again.len()), (key, 1));
    client.zero(Some(&key)).expect("the counters of the service");
    assert_eq!(client.services().expect("a dump")[0].statistics.connections, 0);
    client.zero(None).expect("all counters");
    let absent = client.zero(Some(&tcp("192.0.2.9:80")));
    assert_eq!(
        absent.expect_err("there is no such service").to_string(),
        "cannot zero the counters: No such process"
    );
    // The connection outlives whoever made the entry.
    drop(reconciler);
    let next = Client::open().expect("it was open before");
    assert_eq!(Reconciler::new(next).replace(&table), Ok(0));
    accepted.write_all(b"again").expect("it is open");
    connection.read_exact(&mut received).expect("what was sent");
}

#[test]
fn timeouts_are_read_and_set_one_by_one() {
    let Some(mut client) = client() else { return };
    let defaults = Timeouts {
        tcp: Duration::from_secs(900),
        tcp_fin: Duration::from_secs(120),
        udp: Duration::from_secs(300),
    };
    assert_eq!(client.timeouts().expect("an answer"), defaults);
    let udp_only = Timeouts { udp: Duration::from_secs(7), ..Timeouts::default() };
    client.set_timeouts(&udp_only).expect("a valid timeout");
    let udp = Duration::from_secs(7);
    assert_eq!(client.timeouts().expect("an answer"), Timeouts { udp, ..defaults });
    assert!(run("ipvsadm", "-l --timeout").contains("900 120 7"));
    let tcp = Duration::from_secs(u64::MAX);
    assert!(client.set_timeouts(&Timeouts { tcp, ..defaults }).is_err());
}

#[test]
fn sync_daemons_start_are_listed_and_stop() {
    let Some(mut client) = client() else { return };
    run("ip", "link add sync0 type dummy");
    run("ip", "addr add 10.9.9.9/24 dev sync0");
    run("ip", "link set sync0 up");
    let master = Daemon {
        role: Role::Master,
        interface: "sync0".into(),
        sync_id: 5,
        max_length: 1400,
        group: Some([224, 0, 0, 99].into()),
        port: 8849,
        ttl: 2,
    };
    let backup = Daemon { role: Role::Backup, max_length: 1500, ..master.clone() };
    client.start_daemon(&master).expect("a master");
    client.start_daemon(&backup).expect("a backup");
    assert_eq!(client.daemons().expect("a dump"), [master.clone(), backup.clone()]);
    let shown = run("ipvsadm", "-l --daemon");
    assert!(shown.contains("master sync daemon (mcast=sync0, syncid=5"), "{shown}");
    assert!(client.start_daemon(&master).is_err());
    client.stop_daemon(Role::Master).expect("it runs");
    assert_eq!(client.daemons().expect("a dump"), [backup]);
    client.stop_daemon(Role::Backup).expect("it runs");
    assert!(client.stop_daemon(Role::Backup).is_err());
    let nowhere = Daemon { interface: "absent0".into(), ..master };
    let error = client.start_daemon(&nowhere).expect_err("there is no such interface");
    assert_eq!(error.to_string(), "cannot start the sync daemon: No such device");
}

#[test]
fn the_kernel_tells_about_itself_and_flushes() {
    let Some(mut client) = client() else { return };
    let info = client.info().expect("an answer");
    assert_eq!(info.version, (1, 2, 1));
    assert!(info.connection_table_size >= 256);
    apply(&mut client, &grid(5, 2));
    assert_eq!(client.count_services(), Some(5));
    let key = tcp("10.100.0.0:80");
    let entries = client.destinations(&key).expect("a dump");
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0].settings.tunnel.kind, TunnelKind::Ipip);
    assert_eq!(entries[0].settings, DestinationSettings::from(&by(ForwardingMethod::Route, 1)));
    client.flush().expect("an empty table");
    assert_eq!(client.count_services(), Some(0));
    assert_eq!(client.destinations(&key).expect("an empty dump"), []);
}
