//! SSL_GET against a rustls server with a certificate that nobody trusts.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lb_check::schedule::Memory;
use lb_check::{
    Checks, Connection, Failure, Http, HttpVersion, Outcome, Probe, Sni, Spec, Timing, Tls, Url,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, SupportedProtocolVersion, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

fn acceptor(version: &'static SupportedProtocolVersion) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("data/certificate.pem"));
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("data/key.pem"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("version")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.expect("certificate")], key.expect("key"))
        .expect("pair");
    TlsAcceptor::from(Arc::new(config))
}

/// What the server saw of one client.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    sni: Option<String>,
    close_notify: bool,
}

/// Answers one request with a body that ends with the connection, without close_notify.
async fn serve(version: &'static SupportedProtocolVersion, tls: Tls) -> (Outcome, Seen) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("listener");
    let to = listener.local_addr().expect("address");
    let server = async {
        let (stream, _) = listener.accept().await.expect("client");
        let mut stream = acceptor(version).accept(stream).await.expect("handshake");
        let sni = stream.get_ref().1.server_name().map(str::to_owned);
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.expect("request"));
        }
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nbody").await.expect("answer");
        stream.flush().await.expect("answer");
        stream.get_mut().0.shutdown().await.expect("FIN");
        let close_notify = stream.read(&mut [0]).await.is_ok_and(|n| n == 0);
        Seen { sni, close_notify }
    };
    let (outcome, seen) = tokio::join!(probe(to, tls), server);
    (outcome, seen)
}

async fn probe(to: SocketAddr, tls: Tls) -> Outcome {
    let timing = Timing {
        delay_loop: Duration::from_secs(60),
        retry: 0,
        delay_before_retry: Duration::from_secs(60),
        warmup: Duration::ZERO,
        alpha: false,
    };
    let timeout = Duration::from_secs(5);
    let http = Http {
        connection: Connection { to, bind: None, interface: None, fwmark: 0, timeout },
        tls: Some(tls),
        version: HttpVersion::Http10,
        urls: vec![Url {
            path: "/".to_owned(),
            host: Some("other.example.org".to_owned()),
            tls_host: Some("vhost.example.org:8443".to_owned()),
            status_codes: vec![(200, 200)],
            digest: None,
        }],
        fast_recovery: false,
    };
    let mut checks = Checks::new(1).expect("cipher suites");
    checks.add(&Spec { probe: Probe::from(http), timing }, Memory::fresh(false));
    let mut reports = Vec::new();
    checks.next(&mut reports).await;
    reports.remove(0).outcome
}

const UP: Outcome = Outcome::Up { weight: None };

#[tokio::test]
async fn any_certificate_and_both_versions_will_do() {
    for version in [&version::TLS12, &version::TLS13] {
        let (outcome, seen) = serve(version, Tls::default()).await;
        assert_eq!((outcome, seen.sni), (UP, None));
    }
}

#[tokio::test]
async fn the_name_is_sent_where_there_is_one() {
    let cases = [
        (Sni::Name("www.example.org".to_owned()), Some("www.example.org")),
        (Sni::Host, Some("vhost.example.org")),
        (Sni::Name("192.0.2.1".to_owned()), None),
    ];
    for (sni, expected) in cases {
        let (outcome, seen) = serve(&version::TLS13, Tls { sni, compliant: false }).await;
        assert_eq!((outcome, seen.sni.as_deref()), (UP, expected));
    }
}

#[tokio::test]
async fn a_compliant_end_says_goodbye() {
    let (outcome, seen) = serve(&version::TLS13, Tls { sni: Sni::Off, compliant: true }).await;
    assert_eq!((outcome, seen.close_notify), (UP, true));
}

#[tokio::test]
async fn a_server_without_tls_is_down() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("listener");
    let to = listener.local_addr().expect("address");
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("client");
        stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").await.expect("answer");
        let _ = stream.read(&mut [0; 4096]).await; // the client hangs up
    };
    let (outcome, ()) = tokio::join!(probe(to, Tls::default()), server);
    assert!(matches!(outcome, Outcome::Down(Failure::Tls(_))), "{outcome:?}");
}
