//! `HTTP_GET` and `SSL_GET`: fetches one URL and looks at status and body.

use std::cell::Cell;
use std::error::Error;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioIo;
use md5::{Digest, Md5};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use crate::socket::{self, Begun};
use crate::spec::{Http, HttpVersion, Sni, Url};
use crate::{Failure, Outcome, tls};

/// Nobody checks a server's health with a longer body.
const MAX_BODY: usize = 64 << 20;

/// Octets of a response's head.
const MAX_HEAD: usize = 64 << 10;

/// Octets before the end of a response's head: informational responses may precede it, and what is
/// read along with it is of the body.
const MAX_BEFORE_BODY: usize = 4 * MAX_HEAD;

/// A response is read for at most this many times the checker's timeout.
const PATIENCE: u32 = 60;

/// Fetches one URL, named by its place, over a connection that has been begun.
pub(crate) async fn probe(begun: Begun, http: &Http, url: usize, tls: &tls::Client) -> Outcome {
    let Some(url) = http.urls.get(url) else {
        return Outcome::NotRun("no URL to fetch".to_owned());
    };
    let limit = http.connection.timeout.saturating_mul(PATIENCE);
    match timeout(limit, fetch(begun, http, url, tls)).await {
        Ok(Ok(())) => Outcome::Up { weight: None },
        Ok(Err(outcome)) => outcome,
        Err(_) => Outcome::Down(Failure::Timeout("reading")),
    }
}

async fn fetch(begun: Begun, http: &Http, url: &Url, tls: &tls::Client) -> Result<(), Outcome> {
    let stream = socket::finish(begun, &http.connection).await?;
    let wait = http.connection.timeout;
    // Boxed, so that a thousand connects that hang do not hold room for what may come after.
    let result = match &http.tls {
        None => Box::pin(exchange(stream, http, url, false)).await,
        Some(options) => {
            let sni = match &options.sni {
                Sni::Off => None,
                Sni::Host => url.host.as_deref().and_then(|host| host.split(':').next()),
                Sni::Name(name) => Some(name.as_str()),
            };
            let session = tls.handshake(stream, &http.connection, sni);
            match timeout(wait, Box::pin(session)).await {
                Ok(Ok(session)) => Box::pin(exchange(session, http, url, options.compliant)).await,
                Ok(Err(failure)) => Err(failure),
                Err(_) => Err(Failure::Timeout("in the TLS handshake")),
            }
        }
    };
    result.map_err(Outcome::Down)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    http: &Http,
    url: &Url,
    orderly: bool,
) -> Result<(), Failure> {
    let wait = http.connection.timeout;
    let left = Rc::new(Cell::new(MAX_BEFORE_BODY));
    let stream = Bounded { stream, left: left.clone() };
    let (mut sender, connection) = http1::Builder::new()
        .title_case_headers(true)
        .max_buf_size(MAX_HEAD)
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .ignore_invalid_headers_in_responses(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(bad_response)?;
    let conversation = pin!(async move {
        let head = timeout(wait, sender.send_request(request(http, url)?)).await;
        let response =
            head.map_err(|_| Failure::Timeout("waiting for the answer"))?.map_err(bad_response)?;
        left.set(usize::MAX); // the body has a bound of its own
        let result = judge(response, url, wait).await;
        drop(sender); // lets the connection end
        result
    });
    // The connection moves the octets; it ends by itself when the server closes early.
    match select(conversation, pin!(connection)).await {
        Either::Left((result, connection)) => {
            if orderly {
                let _ = timeout(wait, connection).await; // the verdict stands however it ends
            }
            result
        }
        Either::Right((_, conversation)) => conversation.await,
    }
}

/// A stream of which so many octets can be read: a server that never comes to its answer costs no
/// more than that, however fast it talks.
struct Bounded<S> {
    stream: S,
    left: Rc<Cell<usize>>,
}

/// What is behind the bound.
#[derive(Debug, thiserror::Error)]
#[error("no answer within the first {} KiB", MAX_BEFORE_BODY >> 10)]
struct NoAnswer;

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        let left = self.left.get().checked_sub(read);
        self.left.set(left.ok_or_else(|| io::Error::other(NoAnswer))?);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Reads the body and compares status and digest, in this order.
async fn judge(response: Response<Incoming>, url: &Url, wait: Duration) -> Result<(), Failure> {
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut digest = url.digest.map(|_| Md5::new());
    let mut length = 0;
    loop {
        let frame = timeout(wait, body.frame()).await;
        let data = match frame.map_err(|_| Failure::Timeout("reading"))? {
            None => break,
            // Shorter than it announced: what came is what counts.
            Some(Err(error)) if io_error(&error).is_some_and(is_eof) => break,
            Some(frame) => frame.map_err(bad_response)?.into_data().unwrap_or_default(),
        };
        length += data.len();
        if length > MAX_BODY {
            return Err(Failure::Response(format!("longer than {} MiB", MAX_BODY >> 20)));
        }
        if let Some(digest) = &mut digest {
            digest.update(&data);
        }
    }
    if !url.status_codes.iter().any(|&(low, high)| (low..=high).contains(&status)) {
        return Err(Failure::Status { url: url.path.clone(), status });
    }
    if let (Some(digest), Some(expected)) = (digest, url.digest) {
        let found = digest.finalize().into();
        if found != expected {
            return Err(Failure::Digest { url: url.path.clone(), found });
        }
    }
    Ok(())
}

/// The request as keepalived's looks on the wire; some servers answer health checks by it.
fn request(http: &Http, url: &Url) -> Result<Request<Empty<Bytes>>, Failure> {
    let version = match http.version {
        HttpVersion::Http10 | HttpVersion::Http10Close => Version::HTTP_10,
        HttpVersion::Http11 => Version::HTTP_11,
    };
    let host = url.host.clone().unwrap_or_else(|| http.connection.to.to_string());
    let invalid = |what| Failure::Response(format!("the {what} cannot be sent"));
    let mut request = Request::builder()
        .version(version)
        .uri(target(&url.path))
        .header(USER_AGENT, HeaderValue::from_static("KeepAliveClient"));
    if http.version != HttpVersion::Http10 {
        request = request.header(CONNECTION, HeaderValue::from_static("close"));
    }
    request
        .header(HOST, HeaderValue::from_bytes(host.as_bytes()).map_err(|_| invalid("host"))?)
        .body(Empty::new())
        .map_err(|_| invalid("path"))
}

/// A path as a request target: octets that may not stand in one are escaped.
fn target(path: &str) -> String {
    let mut target = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') {
        target.push('/');
    }
    for byte in path.bytes() {
        match byte {
            b'"' | b'#' | b'<' | b'>' | b'`' | b'\\' | b'^' | b'{' | b'|' | b'}' => {
                target.push_str(&format!("%{byte:02X}"));
            }
            b'!'..=b'~' => target.push(char::from(byte)),
            _ => target.push_str(&format!("%{byte:02X}")),
        }
    }
    target
}

#[allow(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn bad_response(error: hyper::Error) -> Failure {
    match io_error(&error) {
        Some(io) if io.get_ref().is_some_and(|inner| inner.is::<NoAnswer>()) => {
            Failure::Response(io.to_string())
        }
        Some(io) => socket::failure(io),
        None if error.is_incomplete_message() => {
            Failure::Response("closed before the answer".to_owned())
        }
        None if error.is_parse_too_large() => {
            Failure::Response(format!("head longer than {} KiB", MAX_HEAD >> 10))
        }
        None => Failure::Response(error.to_string()),
    }
}

fn io_error(error: &hyper::Error) -> Option<&io::Error> {
    error.source().and_then(|source| source.downcast_ref())
}

fn is_eof(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}
