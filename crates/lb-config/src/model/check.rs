//! Checkers of real servers.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::Script;

/// One checker, inheritance resolved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checker {
    /// What it does.
    pub kind: CheckerKind,
    /// `delay_loop`: period while nothing changes.
    pub delay_loop: Duration,
    /// `retry`: attempts after the first before it counts as failed.
    pub retry: u32,
    /// `delay_before_retry`: from failure to next attempt.
    pub delay_before_retry: Duration,
    /// `warmup`: the first run is delayed by a random time up to this.
    pub warmup: Duration,
    /// `alpha`: down until its first success.
    pub alpha: bool,
    /// `log_all_failures`.
    pub log_all_failures: bool,
}

impl Checker {
    /// A check that cannot be.
    pub(crate) fn impossible(keyword: &'static str, delay_loop: Duration) -> Self {
        Self {
            kind: CheckerKind::Impossible { keyword },
            delay_loop,
            retry: 0,
            delay_before_retry: delay_loop,
            warmup: delay_loop,
            alpha: false,
            log_all_failures: false,
        }
    }
}

/// What a checker does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum CheckerKind {
    /// `TCP_CHECK`
    Tcp {
        /// Where to.
        connection: Connection,
    },
    /// `HTTP_GET` and `SSL_GET`
    Http(Box<HttpChecker>),
    /// `MISC_CHECK`
    Misc {
        /// What runs.
        script: Script,
        /// Run time before it counts as failed.
        timeout: Duration,
        /// `misc_dynamic`: exit status 2 to 255 sets the weight to status − 2.
        dynamic: bool,
    },
    /// `SMTP_CHECK`
    Smtp(SmtpChecker),
    /// `PING_CHECK`
    Ping {
        /// Where to; the port means nothing.
        connection: Connection,
    },
    /// `UDP_CHECK`
    Udp(UdpChecker),
    /// `DNS_CHECK`
    Dns(DnsChecker),
    /// `FILE_CHECK`
    File(FileChecker),
    /// `BFD_CHECK`: the name of an instance in [`Model::bfd_instances`](super::Model::bfd_instances).
    Bfd(String),
    /// A check that cannot be, as a complaint says: `MISC_CHECK` with a script that cannot run.
    Impossible {
        /// Its keyword.
        keyword: &'static str,
    },
}

impl CheckerKind {
    /// What keeps the check from being made, as words of the file; `None` if it is made as it is
    /// written. A server is not up because such a check found nothing wrong.
    #[must_use]
    pub fn obstacle(&self) -> Option<&'static str> {
        match self {
            Self::Tcp { .. } | Self::Misc { .. } => None,
            Self::Http(http) => http.urls.iter().any(|url| url.regex.is_some()).then_some("regex"),
            Self::Smtp(_) => Some("SMTP_CHECK"),
            Self::Ping { .. } => Some("PING_CHECK"),
            Self::Udp(_) => Some("UDP_CHECK"),
            Self::Dns(_) => Some("DNS_CHECK"),
            Self::File(_) => Some("FILE_CHECK"),
            Self::Bfd(_) => Some("BFD_CHECK"),
            Self::Impossible { keyword } => Some(keyword),
        }
    }
}

/// `HTTP_GET` and `SSL_GET`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HttpChecker {
    /// Where to.
    pub connection: Connection,
    /// `SSL_GET`
    pub tls: Option<TlsOptions>,
    /// `http_protocol`
    pub version: HttpVersion,
    /// URLs, at least one.
    pub urls: Vec<Url>,
    /// `fast_recovery`: no delay between the URLs of a server that recovers.
    pub fast_recovery: bool,
}

/// TLS of `SSL_GET`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TlsOptions {
    /// Send SNI.
    pub sni: bool,
    /// `sni_name`; else the virtual host.
    pub sni_name: Option<String>,
    /// `tls_compliant`: end with close_notify.
    pub compliant: bool,
}

/// Request version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum HttpVersion {
    /// 1.0
    #[default]
    Http10,
    /// 1.0 with `Connection: close`
    Http10Close,
    /// 1.1 with `Connection: close`
    Http11,
}

/// One URL of an HTTP checker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Url {
    /// Request target.
    pub path: String,
    /// `Host` header, inheritance resolved; `None`: address and port.
    pub virtualhost: Option<String>,
    /// The same for TLS, where the `virtualhost` of a real server does not count.
    pub tls_host: Option<String>,
    /// Accepted status codes as inclusive ranges, never empty.
    pub status_codes: Vec<(u16, u16)>,
    /// Expected MD5 of the body.
    pub digest: Option<[u8; 16]>,
    /// `regex` and its options.
    pub regex: Option<Regex>,
}

/// Connection of a network checker.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Connection {
    /// `connect_ip` and `connect_port`, else the real server's.
    pub to: SocketAddr,
    /// `bindto` and `bind_port`.
    pub bind: Option<SocketAddr>,
    /// `bind_if`.
    pub interface: Option<String>,
    /// `fwmark`, 0 for none.
    pub fwmark: u32,
    /// `connect_timeout`: of the connect, and of each read and write.
    pub timeout: Duration,
}

/// `SMTP_CHECK`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SmtpChecker {
    /// Where to.
    pub connection: Connection,
    /// `helo_name`
    pub helo_name: Option<String>,
}

/// `UDP_CHECK`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UdpChecker {
    /// Where to.
    pub connection: Connection,
    /// `payload`; a filler text when absent.
    pub payload: Option<Vec<u8>>,
    /// `require_reply`: silence is a failure.
    pub reply: Option<Reply>,
    /// `min_reply_length`
    pub min_length: u16,
    /// `max_reply_length`
    pub max_length: u16,
}

/// What an answer must look like: byte and mask, for as many as are given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reply {
    /// Expected bytes and which of their bits count.
    pub bytes: Vec<(u8, u8)>,
}

/// `DNS_CHECK`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DnsChecker {
    /// Where to.
    pub connection: Connection,
    /// `type`
    pub kind: DnsType,
    /// `name`; the root when absent.
    pub name: String,
}

/// Type of a DNS query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum DnsType {
    /// A
    A,
    /// NS
    Ns,
    /// CNAME
    Cname,
    /// SOA
    #[default]
    Soa,
    /// MX
    Mx,
    /// TXT
    Txt,
    /// AAAA
    Aaaa,
    /// RRSIG
    Rrsig,
    /// DNSKEY
    Dnskey,
}

/// `FILE_CHECK`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileChecker {
    /// `track_file`, in [`super::Model::track_files`].
    pub file: String,
    /// Factor of the number; 0: another number than 0 is a failure.
    pub weight: i32,
    /// `reverse`
    pub reverse: bool,
}

/// `regex` of a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Regex {
    /// PCRE2 pattern the body must match.
    pub pattern: String,
    /// `regex_no_match`: must not match.
    pub invert: bool,
    /// `regex_options`
    pub options: Vec<String>,
    /// `regex_min_offset`: where a match may start, at the earliest.
    pub min_offset: usize,
    /// `regex_max_offset`: and at the latest.
    pub max_offset: Option<usize>,
    /// `regex_stack`: first and largest size.
    pub stack: Option<(u32, u32)>,
}
