//! One HTTP request and its answer as values: octets go in and out, nothing is read or written.
//!
//! A health check asks one thing and takes one bounded answer. What keepalived takes for an answer is
//! one here: any word before the status, any headers, a length that is no number, chunks that are none.
//! Beyond that an answer may end its lines with LF alone, informational answers may precede it, and it
//! ends where its length or its last chunk says so, though the connection stays open.

use std::io::Write;

use md5::{Digest, Md5};

use crate::Failure;
use crate::chunks::{Chunks, Progress};
use crate::spec::{Http, HttpVersion, Url};

/// Octets of an answer's head.
pub const MAX_HEAD: usize = 64 << 10;

/// Octets of all informational answers before the one that counts.
pub const MAX_INFORMATIONAL: usize = 256 << 10;

/// Octets of a body as sent: nobody checks a server's health with a longer one.
pub const MAX_BODY: u64 = 64 << 20;

/// Octets of a line that is no status line, as far as the message shows them.
const SHOWN: usize = 40;

/// Writes the request as keepalived's looks on the wire: some servers answer health checks by it.
///
/// The path is sent as written, but for octets that would end it: those are escaped.
///
/// # Errors
/// When the host holds control characters.
pub fn write_request(http: &Http, url: &Url, out: &mut Vec<u8>) -> Result<(), Failure> {
    let (version, close) = match http.version {
        HttpVersion::Http10 => ("1.0", ""),
        HttpVersion::Http10Close => ("1.0", "Connection: close\r\n"),
        HttpVersion::Http11 => ("1.1", "Connection: close\r\n"),
    };
    out.extend_from_slice(b"GET ");
    for byte in url.path.bytes() {
        if byte <= b' ' || byte == 0x7f {
            let _ = write!(out, "%{byte:02X}"); // a Vec takes all
        } else {
            out.push(byte);
        }
    }
    let _ = write!(out, " HTTP/{version}\r\nUser-Agent: KeepAliveClient\r\n{close}Host: ");
    match &url.host {
        Some(host) if host.bytes().any(|byte| byte.is_ascii_control()) => {
            return Err(Failure::Response("the host cannot be sent".to_owned()));
        }
        Some(host) => out.extend_from_slice(host.as_bytes()),
        None => {
            let _ = write!(out, "{}", http.connection.to);
        }
    }
    out.extend_from_slice(b"\r\n\r\n");
    Ok(())
}

/// An answer that is being taken.
///
/// Its verdict does not depend on the pieces in which it comes. It keeps octets only while they are
/// part of a head that has not ended.
#[derive(Debug)]
pub struct Answer {
    part: Part,
    digests: Option<Box<Digests>>,
}

#[derive(Debug)]
enum Part {
    Head(Head),
    Body(Body),
}

#[derive(Debug, Default)]
struct Head {
    /// What has come of it.
    octets: Vec<u8>,
    /// Status, once the first line is whole.
    status: Option<u16>,
    /// Octets of the informational answers before it.
    before: usize,
}

#[derive(Debug)]
struct Body {
    /// Octets that have come, chunk headers included.
    length: u64,
    /// Octets that are still to come; `None` for as many as come.
    left: Option<u64>,
    /// While the body is one of chunks.
    chunks: Option<Chunks>,
}

/// Both digests that an operator may have: genhash and keepalived take that of a chunked body as
/// sent, others that of the page.
#[derive(Debug, Default)]
struct Digests {
    sent: Md5,
    page: Md5,
}

impl Answer {
    /// Nothing has come yet.
    #[must_use]
    pub fn new(url: &Url) -> Self {
        Self { part: Part::Head(Head::default()), digests: url.digest.map(|_| Box::default()) }
    }

    /// Whether the head has come.
    #[must_use]
    pub fn has_head(&self) -> bool {
        matches!(self.part, Part::Body(_))
    }

    /// Takes octets. Returns the verdict once there is one; nothing may be given afterwards.
    pub fn take(&mut self, url: &Url, octets: &[u8]) -> Option<Result<(), Failure>> {
        match &mut self.part {
            Part::Body(_) => self.take_body(url, octets),
            Part::Head(head) if head.octets.is_empty() => {
                let used = match self.take_head(url, octets, 0) {
                    Ok(used) => used,
                    Err(failure) => return Some(Err(failure)),
                };
                if let Part::Head(head) = &mut self.part {
                    head.octets.extend_from_slice(&octets[used..]);
                    return None;
                }
                self.take_body(url, &octets[used..])
            }
            Part::Head(head) => {
                let known = head.octets.len();
                let mut kept = std::mem::take(&mut head.octets);
                kept.extend_from_slice(octets);
                let used = match self.take_head(url, &kept, known) {
                    Ok(used) => used,
                    Err(failure) => return Some(Err(failure)),
                };
                if let Part::Head(head) = &mut self.part {
                    kept.drain(..used);
                    head.octets = kept;
                    return None;
                }
                self.take_body(url, &kept[used..])
            }
        }
    }

    /// Takes the end of the connection.
    ///
    /// # Errors
    /// What is wrong with the server.
    pub fn end(self, url: &Url) -> Result<(), Failure> {
        match self.part {
            Part::Head(_) => Err(Failure::Response("closed before the answer".to_owned())),
            // Shorter than it announced: what came is what counts.
            Part::Body(body) => judge(self.digests, body.chunks.is_some(), url),
        }
    }

    /// Takes heads from the beginning of `octets`, of which `known` hold no end of one. Returns how
    /// many octets are used up. The part is the body's when the head that counts has come.
    fn take_head(&mut self, url: &Url, octets: &[u8], known: usize) -> Result<usize, Failure> {
        let Part::Head(head) = &mut self.part else { return Ok(0) };
        let mut used = 0;
        let mut known = known;
        loop {
            let rest = &octets[used..];
            let rest = &rest[..rest.len().min(MAX_HEAD)];
            let not_yet = || if rest.len() < MAX_HEAD { Ok(used) } else { Err(too_long()) };
            if head.status.is_none() {
                let Some(end) = rest.iter().skip(known).position(|byte| *byte == b'\n') else {
                    return not_yet();
                };
                head.status = Some(status(&rest[..known + end])?);
            }
            // The empty line that ends the head may have begun among what is known.
            let Some(end) = end_of_head(rest, known.saturating_sub(2)) else {
                return not_yet();
            };
            let status = head.status.take().unwrap_or_default();
            let accepted = accepts(url, status);
            if (100..200).contains(&status) && status != 101 && !accepted {
                head.before += end;
                if head.before > MAX_INFORMATIONAL {
                    let limit = MAX_INFORMATIONAL >> 10;
                    let why = format!("no answer within the first {limit} KiB");
                    return Err(Failure::Response(why));
                }
                used += end;
                known = 0;
                continue;
            }
            if !accepted {
                return Err(Failure::Status { url: url.path.clone(), status });
            }
            self.part = Part::Body(Body::announced(status, &rest[..end]));
            return Ok(used + end);
        }
    }

    fn take_body(&mut self, url: &Url, octets: &[u8]) -> Option<Result<(), Failure>> {
        let Part::Body(body) = &mut self.part else { return None };
        let most = body.left.and_then(|left| usize::try_from(left).ok()).unwrap_or(usize::MAX);
        let mut octets = &octets[..octets.len().min(most)];
        let mut done = false;
        let digests = &mut self.digests;
        if let Some(chunks) = &mut body.chunks {
            let page = |data: &[u8]| {
                if let Some(digests) = digests {
                    digests.page.update(data);
                }
            };
            match chunks.take(octets, page) {
                Progress::Open => {}
                Progress::Ended(used) => (octets, done) = (&octets[..used], true),
                Progress::Broken => body.chunks = None, // then it is what comes
            }
        }
        body.length += octets.len() as u64;
        if body.length > MAX_BODY {
            let why = format!("longer than {} MiB", MAX_BODY >> 20);
            return Some(Err(Failure::Response(why)));
        }
        if let Some(digests) = digests {
            digests.sent.update(octets);
        }
        if let Some(left) = &mut body.left {
            *left = left.saturating_sub(octets.len() as u64);
            done |= *left == 0;
        }
        let chunked = body.chunks.is_some();
        done.then(|| judge(self.digests.take(), chunked, url))
    }
}

impl Body {
    /// What a head says of the body that follows. The first length counts, where it is a number.
    fn announced(status: u16, head: &[u8]) -> Self {
        let mut length = None;
        let mut chunked = false;
        for line in head.split(|byte| *byte == b'\n').skip(1) {
            let mut halves = line.splitn(2, |byte| *byte == b':');
            let (Some(name), Some(value)) = (halves.next(), halves.next()) else { continue };
            let name = name.trim_ascii_end();
            if name.eq_ignore_ascii_case(b"content-length") {
                length.get_or_insert_with(|| number(value.trim_ascii()));
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
                chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
            }
        }
        let left = match status {
            100..200 | 204 | 304 => Some(0),
            _ if chunked => None,
            _ => length.flatten(),
        };
        Self { length: 0, left, chunks: (chunked && left.is_none()).then(Chunks::default) }
    }
}

/// Compares what is known at the end of a body whose status is accepted.
fn judge(digests: Option<Box<Digests>>, chunked: bool, url: &Url) -> Result<(), Failure> {
    let (Some(digests), Some(expected)) = (digests, url.digest) else { return Ok(()) };
    let found = digests.sent.finalize().into();
    if found == expected || (chunked && digests.page.finalize()[..] == expected) {
        return Ok(());
    }
    Err(Failure::Digest { url: url.path.clone(), found })
}

fn accepts(url: &Url, status: u16) -> bool {
    url.status_codes.iter().any(|&(low, high)| (low..=high).contains(&status))
}

/// The status of a status line: three digits after the first blank, and a blank or nothing after them.
fn status(line: &[u8]) -> Result<u16, Failure> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut words = line.splitn(3, |byte| *byte == b' ');
    match (words.next(), words.next()) {
        (Some([_, ..]), Some(&[a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'])) => {
            Ok([a, b, c].iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')))
        }
        _ => {
            let shown = line[..line.len().min(SHOWN)].escape_ascii();
            Err(Failure::Response(format!("not HTTP: `{shown}`")))
        }
    }
}

/// A length, if it is one.
fn number(word: &[u8]) -> Option<u64> {
    let digits = word.strip_prefix(b"+").unwrap_or(word);
    let text = digits.iter().all(u8::is_ascii_digit).then_some(digits)?;
    str::from_utf8(text).ok()?.parse().ok()
}

/// The octet after the first empty line that begins at `from` or later.
fn end_of_head(octets: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += octets.get(at..)?.iter().position(|byte| *byte == b'\n')? + 1;
        match octets[at..] {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
}

fn too_long() -> Failure {
    Failure::Response(format!("head longer than {} KiB", MAX_HEAD >> 10))
}
