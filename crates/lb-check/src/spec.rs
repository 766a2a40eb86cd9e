//! What a checker is told to do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A program, its arguments and who runs it.
pub use lb_config::model::Script as Command;

/// One checker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    /// What it does.
    pub probe: Probe,
    /// When.
    pub timing: Timing,
}

/// When a checker runs. keepalived.conf(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    /// Period while nothing changes, not zero.
    pub delay_loop: Duration,
    /// Attempts after the first before an up server counts as down.
    pub retry: u32,
    /// From a failure to the next attempt.
    pub delay_before_retry: Duration,
    /// The first run is delayed by a random time up to this.
    pub warmup: Duration,
    /// Down until its first success, instead of up until its first failure.
    pub alpha: bool,
}

/// What a checker does. A copy is the same one: every run shares it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Probe {
    /// Opens a TCP connection and closes it.
    Tcp(Arc<Connection>),
    /// Fetches URLs, one a run.
    Http(Arc<Http>),
    /// Runs a program.
    Script(Arc<Script>),
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Connection {
    /// Where to.
    pub to: SocketAddr,
    /// Where from; of the same family.
    pub bind: Option<SocketAddr>,
    /// `SO_BINDTODEVICE`.
    pub interface: Option<String>,
    /// `SO_MARK`, 0 for none.
    pub fwmark: u32,
    /// Of the connect, of the TLS handshake, of the request until its answer's head, and of each
    /// wait for a piece of its body.
    pub timeout: Duration,
}

/// An HTTP checker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Http {
    /// Where to.
    pub connection: Connection,
    /// TLS, if any.
    pub tls: Option<Tls>,
    /// Version of the request.
    pub version: HttpVersion,
    /// What is fetched, at least one.
    pub urls: Vec<Url>,
    /// No delay between the URLs of a server that recovers or has no result yet.
    pub fast_recovery: bool,
}

/// TLS of an HTTP checker. Certificates are not verified: a health check asks whether the server
/// answers, not who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Name sent as SNI.
    pub sni: Sni,
    /// Ends with close_notify.
    pub compliant: bool,
}

/// Which name a TLS client sends. One that is an address is not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sni {
    /// None.
    #[default]
    Off,
    /// That of [`Url::tls_host`], without its port.
    Host,
    /// This one.
    Name(String),
}

/// Version of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    /// 1.0
    #[default]
    Http10,
    /// 1.0 with `Connection: close`
    Http10Close,
    /// 1.1 with `Connection: close`
    Http11,
}

/// One URL and what it should answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    /// Request target.
    pub path: String,
    /// `Host` header; `None` for address and port of the connection.
    pub host: Option<String>,
    /// Name that [`Sni::Host`] sends, with or without a port.
    pub tls_host: Option<String>,
    /// Accepted status codes as inclusive ranges, never empty.
    pub status_codes: Vec<(u16, u16)>,
    /// MD5 of the body.
    pub digest: Option<[u8; 16]>,
}

/// A program whose exit status is the result: 0 is success.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Script {
    /// What runs, and as whom.
    pub command: Command,
    /// Run time before it is stopped and counts as failed.
    pub timeout: Duration,
    /// Exit status 2 to 255 is success too and asks for a weight of status − 2.
    pub dynamic: bool,
}

impl Probe {
    /// What keepalived calls it: `TCP_CHECK`, `HTTP_GET`, `SSL_GET` or `MISC_CHECK`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "TCP_CHECK",
            Self::Http(http) if http.tls.is_none() => "HTTP_GET",
            Self::Http(_) => "SSL_GET",
            Self::Script(_) => "MISC_CHECK",
        }
    }
}

impl From<Connection> for Probe {
    fn from(connection: Connection) -> Self {
        Self::Tcp(Arc::new(connection))
    }
}

impl From<Http> for Probe {
    fn from(http: Http) -> Self {
        Self::Http(Arc::new(http))
    }
}

impl From<Script> for Probe {
    fn from(script: Script) -> Self {
        Self::Script(Arc::new(script))
    }
}
