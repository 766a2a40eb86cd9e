//! Checkers beyond TCP, HTTP and scripts.

use serde::Serialize;

use super::Connection;

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
