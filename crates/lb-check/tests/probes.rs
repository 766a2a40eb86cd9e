//! Probes against real servers on the loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use lb_check::schedule::Memory;
use lb_check::{
    Checks, Connection, Failure, Http, HttpVersion, Outcome, Probe, Report, Spec, Timing, Url,
};

const LOCALHOST: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

fn connection(to: SocketAddr) -> Connection {
    let timeout = Duration::from_millis(500);
    Connection { to, bind: None, interface: None, fwmark: 0, timeout }
}

fn http(to: SocketAddr) -> Http {
    Http {
        connection: connection(to),
        tls: None,
        version: HttpVersion::Http10,
        urls: vec![Url {
            path: "/".to_owned(),
            host: None,
            tls_host: None,
            status_codes: vec![(200, 299)],
            digest: None,
        }],
        fast_recovery: false,
    }
}

async fn run(probe: Probe) -> Report {
    let timing = Timing {
        delay_loop: Duration::from_secs(60),
        retry: 0,
        delay_before_retry: Duration::from_secs(60),
        warmup: Duration::ZERO,
        alpha: false,
    };
    let mut checks = Checks::new(1).expect("cipher suites");
    let id = checks.add(&Spec { probe, timing }, Memory::fresh(false));
    let mut reports = Vec::new();
    checks.next(&mut reports).await;
    let [report] = <[Report; 1]>::try_from(reports).expect("one report");
    assert_eq!(report.id, id);
    report
}

async fn fails(probe: Probe) -> Failure {
    let report = run(probe).await;
    assert_eq!(report.verdict, Some(false));
    match report.outcome {
        Outcome::Down(failure) => failure,
        other => panic!("{other:?}"),
    }
}

async fn passes(probe: Probe) {
    let report = run(probe).await;
    assert_eq!(report.outcome, Outcome::Up { weight: None });
    assert_eq!((report.verdict, report.changed), (Some(true), true));
}

/// Answers one request and tells what it was. The client's half is read to its end before the
/// connection is closed.
fn serve(
    answer: impl FnOnce(&mut TcpStream) -> std::io::Result<()> + Send + 'static,
) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind(LOCALHOST).expect("listener");
    let address = listener.local_addr().expect("address");
    let (sender, requests) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("client");
        let mut request = Vec::new();
        let mut octet = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read_exact(&mut octet).is_ok() {
            request.push(octet[0]);
        }
        let _ = sender.send(String::from_utf8_lossy(&request).into_owned());
        let _ = answer(&mut stream); // the client may have had enough
    });
    (address, requests)
}

fn answer(text: &'static str) -> (SocketAddr, mpsc::Receiver<String>) {
    serve(move |stream| stream.write_all(text.as_bytes()))
}

#[tokio::test]
async fn tcp_opens_a_connection_and_closes_it_in_order() {
    let listener = TcpListener::bind(LOCALHOST).expect("listener");
    let to = listener.local_addr().expect("address");
    passes(Probe::from(connection(to))).await;
    let (mut stream, _) = listener.accept().expect("client");
    assert_eq!(stream.read(&mut [0; 1]).expect("FIN, not RST"), 0);
}

#[tokio::test]
async fn tcp_says_who_refuses() {
    let to = TcpListener::bind(LOCALHOST).and_then(|l| l.local_addr()).expect("address");
    assert_eq!(fails(Probe::from(connection(to))).await, Failure::Refused);
}

#[tokio::test]
async fn tcp_gives_up_after_its_timeout() {
    use nix::sys::socket::{Backlog, listen};
    let listener = TcpListener::bind(LOCALHOST).expect("listener");
    listen(&listener, Backlog::new(0).expect("backlog")).expect("shorter backlog");
    let to = listener.local_addr().expect("address");
    let _fills_the_queue = TcpStream::connect(to).expect("first client");
    let report = run(Probe::from(connection(to))).await;
    assert_eq!(report.outcome, Outcome::Down(Failure::Timeout("connecting")));
    assert!(report.latency >= Duration::from_millis(500), "{:?}", report.latency);
}

#[tokio::test]
async fn what_can_never_be_asked_is_a_failure_with_its_reason() {
    let listener = TcpListener::bind(LOCALHOST).expect("listener");
    let to = listener.local_addr().expect("address");
    let interface = Some("nowhere0".to_owned());
    let failure = fails(Probe::from(Connection { interface, ..connection(to) })).await;
    let Failure::Connection(why) = failure else { panic!("{failure:?}") };
    assert_eq!(why, "bind_if: no such device (there is no such interface)");
    let bind = Some("[::1]:0".parse().expect("address"));
    let failure = fails(Probe::from(Connection { bind, ..connection(to) })).await;
    assert!(failure.to_string().starts_with("bindto: "), "{failure}");
}

#[tokio::test]
async fn a_source_address_is_used_and_a_foreign_one_is_no_failure_of_the_server() {
    let listener = TcpListener::bind(LOCALHOST).expect("listener");
    let to = listener.local_addr().expect("address");
    let from = |ip| Some(SocketAddr::new(ip, 0));
    let local = "127.0.0.2".parse().expect("address");
    passes(Probe::from(Connection { bind: from(local), ..connection(to) })).await;
    assert_eq!(listener.accept().expect("client").1.ip(), local);

    let foreign = "192.0.2.1".parse().expect("address");
    let report = run(Probe::from(Connection { bind: from(foreign), ..connection(to) })).await;
    assert_eq!(report.verdict, None);
    let Outcome::NotRun(why) = report.outcome else { panic!("{report:?}") };
    assert!(why.starts_with("bindto: "), "{why}");
}

#[tokio::test]
async fn http_asks_as_keepalived_does() {
    let cases = [
        (HttpVersion::Http10, "GET / HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\n"),
        (
            HttpVersion::Http10Close,
            "GET / HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\n",
        ),
        (
            HttpVersion::Http11,
            "GET / HTTP/1.1\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\n",
        ),
    ];
    for (version, head) in cases {
        let (to, requests) = answer("HTTP/1.0 200 OK\r\n\r\nread to its end");
        passes(Probe::from(Http { version, ..http(to) })).await;
        let request = requests.recv().expect("request");
        assert_eq!(request, format!("{head}Host: {to}\r\n\r\n"));
    }
}

#[tokio::test]
async fn http_sends_the_virtual_host_and_the_path_as_written() {
    let (to, requests) = answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let mut http = http(to);
    http.urls[0].path = "/a b?c=%20{d}|e#f".to_owned();
    http.urls[0].host = Some("www.example.org".to_owned());
    passes(Probe::from(http)).await;
    let request = requests.recv().expect("request");
    // Only what would end the path is escaped.
    assert!(request.starts_with("GET /a%20b?c=%20{d}|e#f HTTP/1.0\r\n"), "{request}");
    assert!(request.ends_with("\r\nHost: www.example.org\r\n\r\n"), "{request}");
}

#[tokio::test]
async fn http_takes_the_statuses_it_is_told() {
    let (to, _) = answer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let failure = fails(Probe::from(http(to))).await;
    assert_eq!(failure, Failure::Status { url: "/".to_owned(), status: 404 });
    assert_eq!(failure.to_string(), "/: status 404");

    let (to, _) = answer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let mut http = http(to);
    http.urls[0].status_codes = vec![(200, 299), (404, 404)];
    passes(Probe::from(http)).await;
}

#[tokio::test]
async fn http_compares_the_digest_of_the_body_alone() {
    // RFC 1321 §A.5: MD5 ("abc") = 900150983cd24fb0d6963f7d28e17f72
    let abc = 0x9001_5098_3cd2_4fb0_d696_3f7d_28e1_7f72_u128.to_be_bytes();
    let answers = [
        "HTTP/1.0 200 OK\r\n\r\nabc",
        "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc and something over",
        "HTTP/1.0 200 OK\r\nContent-Length: 30\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
    ];
    for text in answers {
        let (to, _) = answer(text);
        let mut http = http(to);
        http.urls[0].digest = Some(abc);
        passes(Probe::from(http)).await;
    }
    let (to, _) = answer("HTTP/1.0 200 OK\r\n\r\nabcd");
    let mut http = http(to);
    http.urls[0].digest = Some(abc);
    let failure = fails(Probe::from(http)).await;
    assert_eq!(failure.to_string(), "/: digest e2fc714c4727ee9395f324cd2e7f331f");
}

#[tokio::test]
async fn http_refuses_what_is_not_an_answer() {
    for text in ["", "HTTP/1.0 200 OK\r\n", "SSH-2.0-OpenSSH_9.7\r\n", "\0\0\0\0"] {
        let (to, _) = answer(text);
        let failure = fails(Probe::from(http(to))).await;
        assert!(matches!(failure, Failure::Response(_)), "{text:?}: {failure:?}");
    }
}

#[tokio::test]
async fn http_tolerates_odd_headers() {
    let (to, _) =
        answer("HTTP/1.1 200 OK\r\nBad Name: x\r\nX : y\r\n folded\r\nA\x01: b\r\n\r\nok");
    passes(Probe::from(http(to))).await;
}

#[tokio::test]
async fn a_silent_server_times_out() {
    let (to, _) = serve(|stream| stream.read(&mut [0]).map(drop));
    assert_eq!(fails(Probe::from(http(to))).await, Failure::Timeout("waiting for the answer"));
    let (to, _) = serve(|stream| {
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nfirst")?;
        stream.read(&mut [0]).map(drop)
    });
    assert_eq!(fails(Probe::from(http(to))).await, Failure::Timeout("reading"));
}

#[tokio::test]
async fn a_server_that_drips_has_five_times_the_timeout() {
    let (to, _) = serve(|stream| {
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n")?;
        loop {
            stream.write_all(b"x")?;
            thread::sleep(Duration::from_millis(50));
        }
    });
    let mut http = http(to);
    http.connection.timeout = Duration::from_millis(200);
    let report = run(Probe::from(http)).await;
    assert_eq!(report.outcome, Outcome::Down(Failure::Timeout("reading")));
    assert!(report.latency >= Duration::from_secs(1), "{:?}", report.latency);
}

#[tokio::test]
async fn a_connection_that_is_reset_is_no_answer() {
    for text in ["", "HTTP/1.0 200 OK\r\n", "HTTP/1.0 200 OK\r\n\r\nhalf"] {
        let (to, _) = serve(move |stream| {
            stream.write_all(text.as_bytes())?;
            thread::sleep(Duration::from_millis(20));
            socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO))
        });
        let failure = fails(Probe::from(http(to))).await;
        assert_eq!(failure, Failure::Connection("connection reset by peer".to_owned()), "{text}");
    }
}

#[tokio::test]
async fn probes_beyond_the_limit_wait_in_order_and_have_their_own_time() {
    // Each server answers after 200 ms; two at a time take five turns.
    let mut checks = Checks::new(1).expect("cipher suites");
    checks.limit(2);
    for _ in 0..10 {
        let (to, _) = serve(|stream| {
            thread::sleep(Duration::from_millis(200));
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n")
        });
        let timing = Timing { delay_loop: Duration::from_secs(60), ..often() };
        checks.add(&Spec { probe: Probe::from(http(to)), timing }, Memory::fresh(false));
    }
    let mut reports = Vec::new();
    let start = std::time::Instant::now();
    while reports.len() < 10 {
        checks.next(&mut reports).await;
    }
    // All are due after a second.
    assert!(start.elapsed() >= Duration::from_millis(2_000), "{:?}", start.elapsed());
    let ids: Vec<_> = reports.iter().map(|report| report.id).collect();
    assert!(ids.chunks(2).is_sorted_by_key(|pair| pair.iter().max().copied()), "{ids:?}");
    for report in &reports {
        assert_eq!(report.outcome, Outcome::Up { weight: None });
    }
}

#[tokio::test]
async fn an_endless_answer_is_bounded() {
    // By what is read, however long a busy machine takes for it.
    let probe = |to| {
        let mut http = http(to);
        http.connection.timeout = Duration::from_secs(20);
        Probe::from(http)
    };
    let (to, _) = serve(|stream| {
        stream.write_all(b"HTTP/1.0 200 OK\r\n")?;
        loop {
            stream.write_all(b"X-Filler: and so on\r\n")?;
        }
    });
    let failure = fails(probe(to)).await;
    assert!(matches!(failure, Failure::Response(_)), "{failure:?}");

    let (to, _) = serve(|stream| {
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n")?;
        loop {
            stream.write_all(&[0; 65_536])?;
        }
    });
    let failure = fails(probe(to)).await;
    assert_eq!(failure, Failure::Response("longer than 64 MiB".to_owned()));

    // Informational answers, one after the other: none of them is the answer.
    let (to, _) = serve(|stream| {
        loop {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
    });
    let failure = fails(probe(to)).await;
    assert_eq!(failure, Failure::Response("no answer within the first 256 KiB".to_owned()));
}

#[tokio::test]
async fn a_suspended_checker_keeps_its_verdict_until_it_goes_on() {
    let listener = TcpListener::bind(LOCALHOST).expect("listener");
    let to = listener.local_addr().expect("address");
    let vacant = TcpListener::bind(LOCALHOST).and_then(|l| l.local_addr()).expect("address");
    let spec = |to| Spec { probe: Probe::from(connection(to)), timing: often() };
    let mut checks = Checks::new(1).expect("cipher suites");
    let waits = checks.add(&spec(vacant), Memory::fresh(false));
    checks.add(&spec(to), Memory::fresh(false));
    checks.suspend(waits, true);
    let mut reports = Vec::new();
    while reports.len() < 3 {
        checks.next(&mut reports).await;
    }
    assert!(reports.iter().all(|report| report.id != waits), "{reports:?}");
    checks.suspend(waits, false);
    while !reports.iter().any(|report| report.id == waits) {
        checks.next(&mut reports).await;
    }
    assert_eq!(checks.remove(waits).map(|memory| memory.up), Some(false));
}

/// Ten times a second, down at the first failure.
fn often() -> Timing {
    Timing {
        delay_loop: Duration::from_millis(100),
        retry: 0,
        delay_before_retry: Duration::from_millis(100),
        warmup: Duration::ZERO,
        alpha: false,
    }
}

#[tokio::test]
async fn a_removed_checker_reports_nothing() {
    let listener = TcpListener::bind(LOCALHOST).expect("listener");
    let to = listener.local_addr().expect("address");
    let spec = Spec { probe: Probe::from(connection(to)), timing: often() };
    let mut checks = Checks::new(1).expect("cipher suites");
    let gone = checks.add(&spec, Memory::fresh(false));
    let stays = checks.add(&spec, Memory::fresh(false));
    assert_eq!(checks.remove(gone), Some(Memory::fresh(false)));
    assert_eq!(checks.remove(gone), None);
    let mut reports = Vec::new();
    while reports.len() < 3 {
        checks.next(&mut reports).await;
    }
    assert!(reports.iter().all(|report| report.id == stays), "{reports:?}");
    let verdicts: Vec<_> = reports.iter().map(|r| (r.verdict, r.changed)).collect();
    assert_eq!(verdicts[..2], [(Some(true), true), (Some(true), false)]);
}
