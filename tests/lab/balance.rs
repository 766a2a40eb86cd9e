//! Balancing through the relay: shares, health, sorry servers, quorum, every checker, against real servers.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use lb_control::Status;
use lb_control::status::{RealServer, VirtualServer};
use lb_lab::{Host, Lab, Server, wait_until};
use lb_tests::pulse::undisturbed;
use lb_tests::{
    KeptAlive, SOON, Test, installed, lbd, on_one_switch, run, start, status, wait_notes,
    wait_status, write_note,
};

const VIP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 8080);

/// A director, three servers and two clients on one switch.
fn network() -> anyhow::Result<Option<Lab>> {
    let hosts = [("lb", 2), ("s1", 11), ("s2", 12), ("s3", 13), ("c1", 21), ("c2", 22)];
    start(on_one_switch(&hosts))
}

/// Starts the built-in servers of these hosts at port 80.
fn serve<const N: usize>(lab: &Lab, hosts: [&str; N]) -> anyhow::Result<[Server; N]> {
    let servers: Vec<_> =
        hosts.iter().map(|host| serve_one(lab, host)).collect::<Result<_, _>>()?;
    servers.try_into().ok().context("as many servers as hosts")
}

fn serve_one(lab: &Lab, host: &str) -> anyhow::Result<Server> {
    Ok(lab.host(host)?.serve("0.0.0.0:80".parse()?)?)
}

/// Which server answers how many of `count` requests in a row; each has to be answered.
fn share(client: &Host, count: usize) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut by = BTreeMap::new();
    for _ in 0..count {
        *by.entry(client.http_get(VIP, "/", SOON)?.by).or_default() += 1;
    }
    Ok(by)
}

/// The same with datagrams, each from a socket of its own: a port that is used again would belong to the same client.
/// So the sockets stay open, in `used`.
fn share_udp(
    client: &Host,
    used: &mut Vec<UdpSocket>,
    count: usize,
) -> anyhow::Result<BTreeMap<String, usize>> {
    client.run(|| {
        let mut by = BTreeMap::new();
        for _ in 0..count {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.set_read_timeout(Some(SOON))?;
            socket.send_to(b"who?\n", VIP)?;
            let mut answer = [0; 64];
            let (length, from) = socket.recv_from(&mut answer)?;
            ensure!(from == VIP, "the answer comes from {from}, not from {VIP}");
            let name = std::str::from_utf8(&answer[..length])?.trim_end();
            *by.entry(name.to_owned()).or_default() += 1;
            used.push(socket);
        }
        Ok(by)
    })?
}

fn counts<const N: usize>(pairs: [(&str, usize); N]) -> BTreeMap<String, usize> {
    pairs.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

fn only(status: &Status) -> &VirtualServer {
    &status.virtual_servers[0]
}

fn alive(status: &Status) -> Vec<bool> {
    only(status).real_servers.iter().map(|real| real.alive).collect()
}

fn server<'a>(status: &'a Status, address: &str) -> &'a RealServer {
    let found = only(status).real_servers.iter().find(|real| real.address == address);
    found.expect("the configured real server")
}

/// A configuration with one virtual server at [`VIP`]. Without `enable_script_security`: in the user namespace of an
/// ordinary user the machine's directories are nobody's, and scripts in them would be disabled.
fn service(protocol: &str, scheduler: &str, settings: &str, real_servers: &[String]) -> String {
    format!(
        r#"
global_defs {{
    script_user root
}}
virtual_server 10.0.0.2 8080 {{
    delay_loop 0.2
    lb_algo {scheduler}
    lb_kind NAT
    protocol {protocol}
    {settings}
    {}
}}
"#,
        real_servers.concat()
    )
}

/// A real server at port 80.
fn real_server(address: &str, weight: u32, settings: &str) -> String {
    format!("real_server {address} 80 {{\n weight {weight}\n {settings}\n }}\n")
}

/// The same with a check that succeeds until [`switch`] says otherwise.
fn switched(address: &str, settings: &str) -> String {
    let check = format!("MISC_CHECK {{\n misc_path \"/run/check {address}\"\n retry 0\n }}");
    real_server(address, 1, &format!("{settings}\n {check}"))
}

/// The script of [`switched`].
fn write_check(lb: &Host) -> Test {
    Ok(lb.write_script("/run/check", "#!/bin/sh\n[ ! -e \"/run/down.$1\" ]\n")?)
}

/// Makes the check of a [`switched`] server succeed or fail.
fn switch(lb: &Host, address: &str, up: bool) -> Test {
    let file = format!("/run/down.{address}");
    if up {
        lb.run(|| std::fs::remove_file(&file))??;
    } else {
        lb.write_file(&file, "")?;
    }
    Ok(())
}

#[test]
fn three_weights_share_exactly_and_a_dead_server_is_out_after_its_retries_and_back_when_it_returns()
-> Test {
    undisturbed(|| {
        let Some(lab) = network()? else { return Ok(()) };
        let [_s1, s2, _s3] = serve(&lab, ["s1", "s2", "s3"])?;
        let check = "TCP_CHECK {
        connect_timeout 2
        retry 2
        delay_before_retry 0.2
    }";
        let config = service(
            "TCP",
            "wrr",
            "",
            &[
                real_server("10.0.0.11", 3, check),
                real_server("10.0.0.12", 2, check),
                real_server("10.0.0.13", 1, check),
            ],
        );
        let (lb, client) = (lab.host("lb")?, lab.host("c1")?);
        let lbd = lbd(lb, &config, &[])?;
        lbd.wait_for_line("dataplane relay", SOON)?;
        assert_eq!(share(client, 600)?, counts([("s1", 300), ("s2", 200), ("s3", 100)]));

        let checked =
            |status: &Status| only(status).real_servers.iter().all(|r| r.checks[0].last.is_some());
        let before = wait_status(lb, "every server is checked", checked)?;
        assert_eq!(before.daemon.dataplane, "relay");
        let service = only(&before);
        assert_eq!(
            (service.address.as_deref(), service.protocol.as_deref(), service.dataplane.as_str()),
            (Some("10.0.0.2:8080"), Some("tcp"), "relay")
        );
        assert_eq!((service.scheduler.as_str(), service.forwarding.as_str()), ("wrr", "NAT"));
        assert!(service.quorum_met && !service.sorry_active);
        for (real, weight) in service.real_servers.iter().zip([3, 2, 1]) {
            assert!(real.alive);
            assert_eq!((real.port, real.weight, real.effective_weight), (80, weight, weight));
            let check = &real.checks[0];
            assert_eq!((check.kind.as_str(), check.up, check.failures), ("TCP_CHECK", true, 0));
            assert_eq!(check.last.as_ref().map(|last| last.message.as_str()), Some("ok"));
            assert!(check.latency_ms.is_some_and(|ms| ms > 0.0 && ms < 2_000.0));
        }

        let (code, text) = run(lb, &["lbctl", "status", "--json"])?;
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(serde_json::from_str::<Status>(&text)?.virtual_servers.len(), 1);
        let (code, text) = run(lb, &["lbctl", "status"])?;
        let shown = ["10.0.0.2:8080", "10.0.0.11", "10.0.0.12", "10.0.0.13", "relay", "wrr"];
        assert_eq!(code, Some(0), "{text}");
        assert!(shown.iter().all(|part| text.contains(part)), "{text}");

        // One connection at a time is open, and shows where it goes.
        let mut kept = KeptAlive::open(client, VIP)?;
        let by = kept.ask()?;
        let open = wait_status(lb, "the connection shows", |status| {
            only(status).real_servers.iter().map(|real| real.connections.active).sum::<u64>() == 1
        })?;
        let at =
            ["s1", "s2", "s3"].iter().position(|name| **name == by).context("a server's name")?;
        assert_eq!(only(&open).real_servers[at].connections.active, 1);
        drop(kept);

        let died = Instant::now();
        drop(s2);
        let line = lbd.wait_for_line("Removing service [10.0.0.12]:tcp:80", SOON)?;
        // Two retries 0.2 s apart follow the first failure; nothing but the machine makes it longer than that and a loop.
        let took = line.at - died;
        assert!(took >= Duration::from_millis(400), "out after {took:?}, before its retries");
        assert!(took < Duration::from_millis(600) + Duration::from_secs(2), "out after {took:?}");
        let out = status(lb)?;
        assert_eq!(alive(&out), [true, false, true]);
        let dead = &only(&out).real_servers[1];
        assert_eq!((dead.weight, dead.effective_weight), (2, 0));
        let check = &dead.checks[0];
        assert!(!check.up && check.failures >= 3, "{check:?}");
        assert_eq!(
            check.last.as_ref().map(|last| last.message.as_str()),
            Some("connection refused")
        );
        let without = share(client, 40)?;
        assert_eq!(without, counts([("s1", 30), ("s3", 10)]));

        let _s2 = serve_one(&lab, "s2")?;
        lbd.wait_for_line("Adding service [10.0.0.12]:tcp:80", SOON)?;
        assert_eq!(share(client, 60)?, counts([("s1", 30), ("s2", 20), ("s3", 10)]));
        assert_eq!(alive(&status(lb)?), [true, true, true]);
        Ok(())
    })
}

#[test]
fn a_sorry_server_serves_when_all_are_dead_and_steps_back() -> Test {
    let Some(lab) = network()? else { return Ok(()) };
    let _servers = serve(&lab, ["s1", "s2", "s3"])?;
    let (lb, client) = (lab.host("lb")?, lab.host("c1")?);
    write_check(lb)?;
    let config = service(
        "TCP",
        "rr",
        "sorry_server 10.0.0.13 80",
        &[switched("10.0.0.11", ""), switched("10.0.0.12", "")],
    );
    let lbd = lbd(lb, &config, &[])?;
    for server in ["10.0.0.11", "10.0.0.12"] {
        let of = format!("service [{server}]:tcp:80 for VS [10.0.0.2]:tcp:8080");
        lbd.wait_for_line(&format!("Activating healthchecker for {of}"), SOON)?;
    }
    assert_eq!(share(client, 10)?, counts([("s1", 5), ("s2", 5)]));

    switch(lb, "10.0.0.11", false)?;
    lbd.wait_for_line("Removing service [10.0.0.11]:tcp:80", SOON)?;
    assert_eq!(share(client, 4)?, counts([("s2", 4)]));
    assert!(!only(&status(lb)?).sorry_active);

    switch(lb, "10.0.0.12", false)?;
    lbd.wait_for_line("Adding sorry server [10.0.0.13]:tcp:80 to VS [10.0.0.2]:tcp:8080", SOON)?;
    let pool = "the pool for VS [10.0.0.2]:tcp:8080";
    lbd.wait_for_line(&format!("Removing alive servers from {pool}"), SOON)?;
    assert_eq!(share(client, 4)?, counts([("s3", 4)]));
    let sorry = status(lb)?;
    assert!(only(&sorry).sorry_active && !only(&sorry).quorum_met);
    assert_eq!(only(&sorry).sorry_server.as_deref(), Some("10.0.0.13:80"));

    switch(lb, "10.0.0.12", true)?;
    lbd.wait_for_line(
        "Removing sorry server [10.0.0.13]:tcp:80 from VS [10.0.0.2]:tcp:8080",
        SOON,
    )?;
    lbd.wait_for_line(&format!("Adding alive servers to {pool}"), SOON)?;
    assert_eq!(share(client, 4)?, counts([("s2", 4)]));
    let back = status(lb)?;
    assert!(!only(&back).sorry_active && only(&back).quorum_met);
    lbd.signal(nix::sys::signal::Signal::SIGTERM)?;
    for server in ["10.0.0.11", "10.0.0.12"] {
        let of = format!("service [{server}]:tcp:80 from VS [10.0.0.2]:tcp:8080");
        lbd.wait_for_line(&format!("Shutting down {of}"), SOON)?;
    }
    Ok(())
}

#[test]
fn datagrams_are_shared_and_a_dead_server_gets_none() -> Test {
    let Some(lab) = network()? else { return Ok(()) };
    let [_s1, s2, _s3] = serve(&lab, ["s1", "s2", "s3"])?;
    let (lb, client) = (lab.host("lb")?, lab.host("c1")?);
    let check = "TCP_CHECK {\n retry 0\n }";
    let config = service(
        "UDP",
        "wrr",
        "",
        &[
            real_server("10.0.0.11", 3, check),
            real_server("10.0.0.12", 2, check),
            real_server("10.0.0.13", 1, check),
        ],
    );
    let lbd = lbd(lb, &config, &[])?;
    let mut used = Vec::new();
    assert_eq!(share_udp(client, &mut used, 60)?, counts([("s1", 30), ("s2", 20), ("s3", 10)]));
    assert_eq!(only(&status(lb)?).protocol.as_deref(), Some("udp"));
    drop(s2);
    lbd.wait_for_line("Removing service [10.0.0.12]:udp:80", SOON)?;
    assert_eq!(share_udp(client, &mut used, 40)?, counts([("s1", 30), ("s3", 10)]));
    let _s2 = serve_one(&lab, "s2")?;
    lbd.wait_for_line("Adding service [10.0.0.12]:udp:80", SOON)?;
    assert_eq!(share_udp(client, &mut used, 60)?, counts([("s1", 30), ("s2", 20), ("s3", 10)]));
    Ok(())
}

#[test]
fn a_persistent_client_stays_with_its_server() -> Test {
    let Some(lab) = network()? else { return Ok(()) };
    let _servers = serve(&lab, ["s1", "s2", "s3"])?;
    let lb = lab.host("lb")?;
    write_check(lb)?;
    let config = service(
        "TCP",
        "rr",
        "persistence_timeout 60",
        &[switched("10.0.0.11", ""), switched("10.0.0.12", ""), switched("10.0.0.13", "")],
    );
    let lbd = lbd(lb, &config, &[])?;
    let (first, second) = (share(lab.host("c1")?, 12)?, share(lab.host("c2")?, 12)?);
    assert_eq!((first.len(), second.len()), (1, 1), "{first:?} {second:?}");
    assert_ne!(first, second, "round robin gives the second client another server");

    // A server that is out keeps nobody.
    let name = first.keys().next().context("a server's name")?;
    let address = lab.host(name)?.spec().interfaces[0].addresses[0].address.to_string();
    switch(lb, &address, false)?;
    lbd.wait_for_line(&format!("Removing service [{address}]:tcp:80"), SOON)?;
    let moved = share(lab.host("c1")?, 12)?;
    assert_eq!(moved.len(), 1, "{moved:?}");
    assert_ne!(moved, first);
    assert_eq!(share(lab.host("c2")?, 4)?.keys().next(), second.keys().next());
    Ok(())
}

/// nginx with a server by name, one that fails, and one over TLS.
const NGINX: &str = "
user root root; daemon off; master_process off; pid /run/nginx/pid; error_log stderr notice;
events { }
http {
    access_log off;
    client_body_temp_path /run/nginx/body; proxy_temp_path /run/nginx/proxy; fastcgi_temp_path /run/nginx/fastcgi;
    uwsgi_temp_path /run/nginx/uwsgi; scgi_temp_path /run/nginx/scgi;
    server { listen 8001 default_server; location / { return 404; } }
    server { listen 8001; server_name app.example; location /health { return 200 'fine'; } }
    server { listen 8002; location / { return 503; } }
    server {
        listen 8003 ssl; server_name app.example;
        ssl_certificate /run/nginx/cert.pem; ssl_certificate_key /run/nginx/key.pem;
        location / { return 200 'fine'; }
    }
}
";
/// The digest of nothing here.
const OTHER: &str = "00112233445566778899aabbccddeeff";

#[test]
fn http_and_tls_checks_judge_a_real_nginx() -> Test {
    if !installed("nginx", "nginx-light") || !installed("openssl", "openssl") {
        return Ok(());
    }
    let Some(lab) = network()? else { return Ok(()) };
    let (lb, web) = (lab.host("lb")?, lab.host("s1")?);
    web.write_file("/run/nginx/nginx.conf", NGINX)?;
    let certificate = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
                       -subj /CN=app.example -keyout /run/nginx/key.pem -out /run/nginx/cert.pem";
    let (code, text) = run(web, &certificate.split(' ').collect::<Vec<_>>())?;
    ensure!(code == Some(0), "{text}");
    let nginx = web.spawn(["nginx", "-c", "/run/nginx/nginx.conf", "-p", "/run/nginx"])?;
    for port in [8001, 8002, 8003] {
        let address = SocketAddr::from(([10, 0, 0, 11], port));
        let ready = || lb.run(|| TcpStream::connect_timeout(&address, SOON).is_ok());
        wait_until("nginx listens", SOON, || ready().unwrap_or(false)).context(nginx.tail(5))?;
    }
    let digest = lab.host("s1")?.exec(["sh", "-c", "printf fine | md5sum"])?.stdout;
    let digest = String::from_utf8(digest)?;
    let digest = digest.split(' ').next().context("a digest")?;
    // (connect_port, kind, what the url says)
    let checks = [
        (
            8001,
            "HTTP_GET",
            format!("path /health\n status_code 200\n digest {digest}\n virtualhost app.example"),
        ),
        (8001, "HTTP_GET", "path /health\n status_code 200".to_owned()),
        (8001, "HTTP_GET", "path /\n status_code 404".to_owned()),
        (8001, "HTTP_GET", format!("path /health\n digest {OTHER}\n virtualhost app.example")),
        (8002, "HTTP_GET", "path /".to_owned()),
        (8002, "HTTP_GET", "path /\n status_code 500-599".to_owned()),
        (8003, "SSL_GET", format!("path /\n status_code 200\n digest {digest}")),
        (8001, "SSL_GET", "path /health\n virtualhost app.example".to_owned()),
    ];
    let real_servers: Vec<_> = checks
        .iter()
        .enumerate()
        .map(|(n, (port, kind, url))| {
            format!(
                r#"
    real_server 10.0.0.11 {} {{
        {kind} {{
            url {{
                {url}
            }}
            connect_port {port}
            connect_timeout 3
            retry 0
        }}
    }}"#,
                9000 + n
            )
        })
        .collect();
    let config = service("TCP", "rr", "", &real_servers);
    let _lbd = lbd(lb, &config, &[])?;
    let good = [true, false, true, false, false, true, true, false];
    let seen = wait_status(lb, "every check has its verdict", |status| {
        only(status).real_servers.iter().all(|real| real.checks[0].last.is_some())
            && alive(status) == good
    })?;
    let said = |n: usize| {
        let check = &only(&seen).real_servers[n].checks[0];
        let last = check.last.as_ref().map(|last| last.message.clone()).unwrap_or_default();
        (check.kind.as_str(), last)
    };
    let ok = "ok".to_owned();
    assert_eq!(said(0), ("HTTP_GET", ok.clone()));
    assert_eq!(said(1), ("HTTP_GET", "/health: status 404".to_owned()));
    assert_eq!(said(3), ("HTTP_GET", format!("/health: digest {digest}")));
    assert_eq!(said(4), ("HTTP_GET", "/: status 503".to_owned()));
    assert_eq!(said(6), ("SSL_GET", ok));
    assert!(said(7).1.starts_with("TLS: "), "{:?}", said(7));

    nginx.kill();
    wait_status(lb, "nothing is left", |status| !alive(status).contains(&true))?;
    Ok(())
}

#[test]
fn a_script_checks_and_sets_weights() -> Test {
    let Some(lab) = network()? else { return Ok(()) };
    let _servers = serve(&lab, ["s1", "s2"])?;
    let (lb, client) = (lab.host("lb")?, lab.host("c1")?);
    lb.write_script("/run/check", "#!/bin/sh\nexit \"$(cat \"/run/exit.$1\")\"\n")?;
    let exit =
        |server: &str, code: u8| lb.write_file(format!("/run/exit.{server}"), code.to_string());
    exit("s1", 0)?;
    exit("s2", 0)?;
    let config = service(
        "TCP",
        "wrr",
        "",
        &[
            real_server(
                "10.0.0.11",
                5,
                "MISC_CHECK {\n misc_path \"/run/check s1\"\n misc_dynamic\n retry 0\n }",
            ),
            real_server("10.0.0.12", 5, "MISC_CHECK {\n misc_path \"/run/check s2\"\n retry 0\n }"),
        ],
    );
    let _lbd = lbd(lb, &config, &[])?;
    let weight = |what: &str, alive: bool, weight: i64| {
        wait_status(lb, what, |status| {
            let server = server(status, "10.0.0.11");
            (server.alive, server.effective_weight) == (alive, weight)
        })
    };
    weight("0 leaves the configured weight", true, 5)?;
    exit("s1", 17)?;
    weight("17 means a weight of 15", true, 15)?;
    assert_eq!(share(client, 40)?, counts([("s1", 30), ("s2", 10)]));
    assert_eq!(server(&status(lb)?, "10.0.0.11").weight, 5);
    exit("s1", 2)?;
    weight("2 means a weight of 0", true, 0)?;
    assert_eq!(share(client, 5)?, counts([("s2", 5)]));
    exit("s1", 1)?;
    let dead = weight("1 means dead", false, 0)?;
    let check = &server(&dead, "10.0.0.11").checks[0];
    assert_eq!((check.kind.as_str(), check.up), ("MISC_CHECK", false));
    assert_eq!(check.last.as_ref().map(|last| last.message.as_str()), Some("exited with status 1"));
    exit("s1", 0)?;
    weight("0 gives the configured weight back", true, 5)?;
    // Without misc_dynamic any other status than 0 is a failure.
    exit("s2", 17)?;
    wait_status(lb, "17 is a failure", |status| !server(status, "10.0.0.12").alive)?;
    Ok(())
}

#[test]
fn an_inhibited_server_keeps_its_connections_and_gets_no_new_ones() -> Test {
    let Some(lab) = network()? else { return Ok(()) };
    let _servers = serve(&lab, ["s1", "s2"])?;
    let (lb, client) = (lab.host("lb")?, lab.host("c1")?);
    write_check(lb)?;
    let config = service(
        "TCP",
        "rr",
        "",
        &[switched("10.0.0.11", "inhibit_on_failure"), switched("10.0.0.12", "")],
    );
    let _lbd = lbd(lb, &config, &[])?;
    let mut kept = [KeptAlive::open(client, VIP)?, KeptAlive::open(client, VIP)?];
    let mut by = [kept[0].ask()?, kept[1].ask()?];
    if by[0] == "s2" {
        kept.reverse();
        by.reverse();
    }
    assert_eq!(by, ["s1", "s2"]);
    let [mut inhibited, mut removed] = kept;

    switch(lb, "10.0.0.11", false)?;
    wait_status(lb, "s1 is inhibited", |status| alive(status) == [false, true])?;
    assert_eq!(server(&status(lb)?, "10.0.0.11").effective_weight, 0);
    assert_eq!(share(client, 6)?, counts([("s2", 6)]));
    assert_eq!(inhibited.ask()?, "s1");

    switch(lb, "10.0.0.11", true)?;
    wait_status(lb, "s1 is back", |status| alive(status) == [true, true])?;
    switch(lb, "10.0.0.12", false)?;
    wait_status(lb, "s2 is out", |status| alive(status) == [true, false])?;
    assert_eq!(share(client, 6)?, counts([("s1", 6)]));
    assert!(removed.ask().is_err(), "the connection of a removed server ends");
    assert_eq!(inhibited.ask()?, "s1");
    Ok(())
}

#[test]
fn quorum_is_lost_and_gained_with_hysteresis_and_tells_its_scripts() -> Test {
    let Some(lab) = network()? else { return Ok(()) };
    let _servers = serve(&lab, ["s1", "s3"])?;
    let (lb, client) = (lab.host("lb")?, lab.host("c1")?);
    write_check(lb)?;
    write_note(lb)?;
    // Four servers that are one: addresses of the director's own network stack would do as well.
    let all = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"];
    let _local = lb.serve("0.0.0.0:80".parse()?)?;
    let real_servers = all.map(|address| {
        switched(
            address,
            &format!(
                "notify_up \"/run/note up {address}\"\n notify_down \"/run/note down {address}\""
            ),
        )
    });
    let settings = r#"
    quorum 3
    hysteresis 1
    quorum_up "/run/note quorum up"
    quorum_down "/run/note quorum down"
    sorry_server 10.0.0.13 80"#;
    let config = service("TCP", "rr", settings, &real_servers);
    let _lbd = lbd(lb, &config, &[])?;
    let count = |status: &Status| alive(status).iter().filter(|alive| **alive).count();
    let met = |alive: usize| -> anyhow::Result<(bool, bool)> {
        let status = wait_status(lb, "the servers are so many", |status| count(status) == alive)?;
        Ok((only(&status).quorum_met, only(&status).sorry_active))
    };
    assert_eq!(met(4)?, (true, false));
    // Nothing is told of servers that are up from the start, but their quorum is gained by them.
    let mut expected = vec!["quorum up"];
    wait_notes(lb, &expected)?;

    // Kept with 3 and 2 of them, since 2 is not below 3 - 1; lost with 1.
    switch(lb, all[0], false)?;
    assert_eq!(met(3)?, (true, false));
    switch(lb, all[1], false)?;
    assert_eq!(met(2)?, (true, false));
    expected.extend(["down 127.0.0.1", "down 127.0.0.2"]);
    wait_notes(lb, &expected)?;
    switch(lb, all[2], false)?;
    assert_eq!(met(1)?, (false, true));
    assert_eq!(share(client, 4)?, counts([("s3", 4)]));
    expected.extend(["down 127.0.0.3", "quorum down"]);
    wait_notes(lb, &expected)?;

    // Gained with 4 only, since 3 is below 3 + 1.
    switch(lb, all[0], true)?;
    assert_eq!(met(2)?, (false, true));
    switch(lb, all[1], true)?;
    assert_eq!(met(3)?, (false, true));
    assert_eq!(share(client, 4)?, counts([("s3", 4)]));
    expected.extend(["up 127.0.0.1", "up 127.0.0.2"]);
    wait_notes(lb, &expected)?;
    switch(lb, all[2], true)?;
    assert_eq!(met(4)?, (true, false));
    expected.extend(["up 127.0.0.3", "quorum up"]);
    wait_notes(lb, &expected)?;
    assert_eq!(share(client, 4)?, counts([("lb", 4)]));
    Ok(())
}
