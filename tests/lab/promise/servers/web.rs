//! The real servers: every address of 10.1.0.0/16, which keep what they are asked.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::ensure;
use lb_lab::Host;
use lb_tests::{SOON, run};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, Stream};

/// HTTP. The paths are `/`, with the body `body`; `/404`, which is not there; and `/mortal`, which is not there once
/// the mortals have died.
pub const HTTP: u16 = 80;
/// The same in TLS.
pub const TLS: u16 = 443;
/// Mortal: refuses connections once they have died.
pub const MORTAL: u16 = 82;
/// Accepts, and does not answer.
pub const SILENT: u16 = 84;

/// A connection to a real server.
#[derive(Clone, Debug)]
pub struct Asked {
    pub by: SocketAddr,
    pub server: SocketAddr,
    /// The name that TLS asks for.
    pub sni: Option<String>,
    /// Empty where none came.
    pub request: String,
    /// Whether TLS was ended as the standard asks.
    pub goodbye: bool,
}

/// All real servers, until it is dropped.
pub struct Web(Arc<Shared>);

struct Shared {
    asked: Mutex<Vec<Asked>>,
    tls: Arc<ServerConfig>,
    dead: AtomicBool,
    over: AtomicBool,
}

impl Drop for Web {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
    }
}

impl Web {
    /// Starts them on a host.
    pub fn start(host: &Host) -> anyhow::Result<Self> {
        for route in ["local 10.1.0.0/16 dev lo", "blackhole 10.9.0.0/16"] {
            let words = ["ip", "route", "add"].into_iter().chain(route.split(' '));
            let (status, output) = run(host, &words.collect::<Vec<_>>())?;
            ensure!(status == Some(0), "{output}");
        }
        let certificate = include_bytes!("../../../../crates/lb-check/tests/data/certificate.pem");
        let key = include_bytes!("../../../../crates/lb-check/tests/data/key.pem");
        let tls =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_single_cert(
                    vec![CertificateDer::from_pem_slice(certificate)?],
                    PrivateKeyDer::from_pem_slice(key)?,
                )?;
        let web = Self(Arc::new(Shared {
            asked: Mutex::default(),
            tls: Arc::new(tls),
            dead: AtomicBool::new(false),
            over: AtomicBool::new(false),
        }));
        let listen = |port| -> anyhow::Result<_> {
            let listener = host.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))??;
            listener.set_nonblocking(true)?;
            Ok((port, listener))
        };
        let listeners =
            [HTTP, TLS, MORTAL, SILENT].into_iter().map(listen).collect::<anyhow::Result<_>>()?;
        let shared = Arc::clone(&web.0);
        thread::spawn(move || shared.serve(listeners));
        Ok(web)
    }

    /// The mortals die.
    pub fn die(&self) {
        self.0.dead.store(true, Ordering::SeqCst);
    }

    /// How many connections there were to a server.
    pub fn count(&self, server: Ipv4Addr) -> usize {
        let asked = self.0.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|asked| asked.server.ip() == server).count()
    }

    /// All connections so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.0.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Shared {
    fn serve(self: Arc<Self>, mut listeners: Vec<(u16, TcpListener)>) {
        let mut silent = Vec::new();
        while !self.over.load(Ordering::SeqCst) {
            let mut ready: Vec<_> = listeners
                .iter()
                .map(|(_, listener)| PollFd::new(listener.as_fd(), PollFlags::POLLIN))
                .collect();
            let _ = poll(&mut ready, PollTimeout::from(100_u8));
            for (port, listener) in &listeners {
                while let Ok((stream, by)) = listener.accept() {
                    if *port == SILENT {
                        self.keep(by, &stream, None, String::new(), false);
                        silent.push(stream);
                        continue;
                    }
                    let (shared, port) = (Arc::clone(&self), *port);
                    thread::spawn(move || shared.answer(stream, by, port));
                }
            }
            listeners.retain(|(port, _)| *port != MORTAL || !self.is_dead());
        }
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    fn answer(&self, mut stream: TcpStream, by: SocketAddr, port: u16) {
        let patience = stream.set_nonblocking(false).and(stream.set_read_timeout(Some(SOON)));
        let Ok(mut tls) = patience
            .map_err(anyhow::Error::from)
            .and_then(|()| Ok(ServerConnection::new(Arc::clone(&self.tls))?))
        else {
            return;
        };
        if port != TLS {
            let request = self.talk(&mut stream);
            return self.keep(by, &stream, None, request, false);
        }
        let mut inside = Stream::new(&mut tls, &mut stream);
        let request = self.talk(&mut inside);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let goodbye = Stream::new(&mut tls, &mut stream).read(&mut [0]).is_ok_and(|n| n == 0);
        self.keep(by, &stream, tls.server_name().map(str::to_owned), request, goodbye);
    }

    /// Answers one request.
    fn talk(&self, stream: &mut (impl Read + Write)) -> String {
        let (mut request, mut some) = (Vec::new(), [0; 1024]);
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read(&mut some) {
                Ok(n) if n > 0 => request.extend_from_slice(&some[..n]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return String::from_utf8_lossy(&request).into_owned(),
            }
        }
        let request = String::from_utf8_lossy(&request).into_owned();
        let path = request.split(' ').nth(1).unwrap_or_default();
        let missing = path == "/404" || (path == "/mortal" && self.is_dead());
        let status = if missing { "404 Not Found" } else { "200 OK" };
        let answer = format!("HTTP/1.0 {status}\r\nContent-Length: 4\r\n\r\nbody");
        let _ = stream.write_all(answer.as_bytes()).and(stream.flush());
        request
    }

    fn keep(
        &self,
        by: SocketAddr,
        stream: &TcpStream,
        sni: Option<String>,
        request: String,
        goodbye: bool,
    ) {
        let Ok(server) = stream.local_addr() else { return };
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(Asked { by, server, sni, request, goodbye });
    }
}
