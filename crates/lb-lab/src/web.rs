//! A small web server that says who it is, and a client that asks.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::error::{Context, Error, Result};

/// The header of the answers that carries the server's name.
pub const SERVER_HEADER: &str = "x-lab-host";

/// Serves until the process ends: HTTP on TCP, and UDP; both answer `name` and a line end to everything.
///
/// # Errors
/// [`Error::System`] when the address is in use or not ours.
pub fn serve_forever(address: SocketAddr, name: &str) -> Result<()> {
    let sockets = Sockets::bind(address)?;
    runtime()?.block_on(sockets.serve(name.to_owned()))
}

/// A built-in server on a thread of this process. Dropping it closes its sockets.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts one in the network namespace of the calling thread.
    pub(crate) fn start(address: SocketAddr, name: &str) -> Result<Self> {
        let sockets = Sockets::bind(address)?;
        let address = sockets.tcp.local_addr().context(|| "ask a socket for its address".into())?;
        let (stop, stopped) = oneshot::channel::<()>();
        let name = name.to_owned();
        let thread = thread::Builder::new()
            .name(format!("{name} web"))
            .spawn(move || {
                let Ok(runtime) = runtime() else { return };
                runtime.block_on(async {
                    tokio::select! {
                        _ = sockets.serve(name) => {}
                        _ = stopped => {}
                    }
                });
            })
            .context(|| "start a thread".into())?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Sockets {
    tcp: std::net::TcpListener,
    udp: std::net::UdpSocket,
}

impl Sockets {
    fn bind(address: SocketAddr) -> Result<Self> {
        let what = || format!("listen at {address}");
        let tcp = std::net::TcpListener::bind(address).context(what)?;
        let udp = std::net::UdpSocket::bind(tcp.local_addr().context(what)?).context(what)?;
        tcp.set_nonblocking(true).context(what)?;
        udp.set_nonblocking(true).context(what)?;
        Ok(Self { tcp, udp })
    }

    async fn serve(self, name: String) -> Result<()> {
        let what = || "serve".to_owned();
        let tcp = TcpListener::from_std(self.tcp).context(what)?;
        let udp = UdpSocket::from_std(self.udp).context(what)?;
        let line = Bytes::from(format!("{name}\n"));
        let mut datagram = [0u8; 2048];
        loop {
            tokio::select! {
                accepted = tcp.accept() => {
                    // A failure concerns one connection, or descriptors that others will give back.
                    let Ok((stream, _)) = accepted else { tokio::task::yield_now().await; continue };
                    tokio::spawn(answer(stream, name.clone(), line.clone()));
                }
                received = udp.recv_from(&mut datagram) => {
                    if let Ok((_, peer)) = received {
                        let _ = udp.send_to(&line, peer).await;
                    }
                }
            }
        }
    }
}

async fn answer(stream: TcpStream, name: String, line: Bytes) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|_request| {
        let response = Response::builder()
            .header(SERVER_HEADER, name.as_str())
            .header("content-type", "text/plain")
            .body(Full::new(line.clone()))
            .unwrap_or_default();
        async move { Ok::<_, Infallible>(response) }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// An answer as the client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// The header that carries the server's name, or the first line of the body without it.
    pub by: String,
    /// The body.
    pub body: Bytes,
    /// From the start of connect to the end of the body.
    pub took: Duration,
}

/// One `GET` over a connection of its own, in the network namespace of the calling thread.
pub(crate) fn get(address: SocketAddr, path: &str, limit: Duration) -> Result<Answer> {
    runtime()?
        .block_on(fetch(address, path, limit))
        .map_err(|reason| Error::Http { address, reason })
}

pub(crate) async fn fetch(
    address: SocketAddr,
    path: &str,
    limit: Duration,
) -> std::result::Result<Answer, String> {
    let start = Instant::now();
    let exchange = async {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let _ = stream.set_nodelay(true);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let request = Request::builder()
            .method(Method::GET)
            .uri(path)
            .header("host", address.to_string())
            .header("connection", "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let response = async {
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
            Ok::<_, String>((head, body))
        };
        tokio::pin!(response);
        // The connection makes progress only while it is polled; it may end before the answer is read.
        tokio::select! {
            biased;
            done = &mut response => done,
            _ = connection => response.await,
        }
    };
    let (head, body) =
        timeout(limit, exchange).await.map_err(|_| format!("nothing within {limit:?}"))??;
    let header =
        head.headers.get(SERVER_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let by = header.unwrap_or_else(|| {
        String::from_utf8_lossy(&body).lines().next().unwrap_or_default().to_owned()
    });
    Ok(Answer { status: head.status, by, body, took: start.elapsed() })
}

pub(crate) fn runtime() -> Result<runtime::Runtime> {
    runtime::Builder::new_current_thread().enable_all().build().context(|| "start a runtime".into())
}
