//! HTTP answers by their octets. Where keepalived 2.2.7 was asked what it takes, the case says so.

use std::time::Duration;

use lb_check::exchange::{Answer, MAX_HEAD, write_request};
use lb_check::{Connection, Failure, Http, HttpVersion, Url};
use md5::{Digest, Md5};
use proptest::prelude::*;

fn url(digest: Option<&[u8]>) -> Url {
    Url {
        path: "/".to_owned(),
        host: None,
        tls_host: None,
        status_codes: vec![(200, 299)],
        digest: digest.map(|page| Md5::digest(page).into()),
    }
}

/// What an answer means that comes in pieces of `size`, and whether the connection had to end first.
fn verdict_by(url: &Url, octets: &[u8], size: usize) -> (Result<(), Failure>, bool) {
    let mut answer = Answer::new(url);
    for piece in octets.chunks(size) {
        if let Some(verdict) = answer.take(url, piece) {
            return (verdict, false);
        }
    }
    (answer.end(url), true)
}

fn verdict(url: &Url, octets: &[u8]) -> Result<(), Failure> {
    let whole = verdict_by(url, octets, usize::MAX);
    for size in [1, 2, 3, 7, 64] {
        assert_eq!(verdict_by(url, octets, size), whole, "in pieces of {size}");
    }
    whole.0
}

fn is_up(octets: &[u8]) -> bool {
    verdict(&url(None), octets).is_ok()
}

#[test]
fn a_status_line_is_a_word_and_three_digits() {
    // As keepalived, which wants a blank behind the digits too.
    let taken = [
        "HTTP/1.0 200 OK",
        "ICY 200 OK",
        "HTTP/1.2 200 OK",
        "HTTP/2.0 200 OK",
        "HTTP/2 200 OK",
        "http/1.0 200 ok",
        "HTTP/0.9 200 OK",
        "HTTP/1.0 200 ",
        "HTTP/1.0 200",
        "HTTP/1.0 200 O\0K\u{ff}",
    ];
    for line in taken {
        assert!(is_up(format!("{line}\r\n\r\nok").as_bytes()), "{line}");
    }
    let refused = [
        "",
        "200 OK",
        " HTTP/1.0 200 OK",
        "\r\nHTTP/1.0 200 OK",
        "HTTP/1.0  200 OK",
        "HTTP/1.0\t200 OK",
        "HTTP/1.0 20 OK",
        "HTTP/1.0 2000 OK",
        "HTTP/1.0 200x OK",
        "HTTP/1.0 x200 OK",
        "HTTP/1.0 -20 OK",
        "HTTP/1.0 +20 OK",
        "SSH-2.0-OpenSSH_9.7",
        "220 mail ESMTP",
        "<html>",
        "\0\0\0\0",
    ];
    for line in refused {
        assert!(!is_up(format!("{line}\r\n\r\nok").as_bytes()), "{line}");
    }
}

#[test]
fn what_does_not_speak_http_is_shown_in_short() {
    let long = [b"SSH-2.0-".as_slice(), &[b'x'; 100], b"\r\n"].concat();
    let failure = verdict(&url(None), &long).expect_err("no HTTP");
    assert_eq!(
        failure.to_string(),
        "bad response: not HTTP: `SSH-2.0-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx`"
    );
    let failure = verdict(&url(None), b"\x15\x03\x01\0\x02\x02\n").expect_err("TLS");
    assert_eq!(failure.to_string(), "bad response: not HTTP: `\\x15\\x03\\x01\\x00\\x02\\x02`");
}

#[test]
fn an_answer_that_ends_before_its_body_is_none() {
    for text in ["", "HTTP/1.0 200 OK", "HTTP/1.0 200 OK\r\n", "HTTP/1.0 200 OK\r\nA: b\r\n"] {
        let failure = verdict(&url(None), text.as_bytes()).expect_err(text);
        assert_eq!(failure.to_string(), "bad response: closed before the answer");
    }
}

#[test]
fn headers_may_be_anything_and_many() {
    let many: String = (0..2_000).map(|n| format!("X-{n}: y\r\n")).collect();
    for headers in [
        many.as_str(),
        "no colon here\r\n",
        ": no name\r\n",
        "Bad Name: x\r\nA\u{1}: b\r\n",
        "A: \0\r\n",
        "A: b\r\n folded\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
    ] {
        assert!(is_up(format!("HTTP/1.0 200 OK\r\n{headers}\r\nok").as_bytes()), "{headers:?}");
    }
    // Lines may end with LF alone.
    assert!(is_up(b"HTTP/1.0 200 OK\nA: b\n\nok"));
    assert!(is_up(b"HTTP/1.0 200 OK\r\nA: b\r\n\nok"));
}

#[test]
fn a_head_is_bounded_whatever_it_is_made_of() {
    let head = |filler: usize| [b"HTTP/1.0 200 OK\r\nX: ", vec![b'a'; filler].as_slice()].concat();
    let fits = [head(MAX_HEAD - 20 - 4), b"\r\n\r\n".to_vec()].concat();
    assert_eq!(fits.len(), MAX_HEAD);
    let in_pieces = |octets: &[u8], size| verdict_by(&url(None), octets, size).0.is_ok();
    for size in [1_000, 65_536, usize::MAX] {
        assert!(in_pieces(&fits, size));
        assert!(!in_pieces(&[head(MAX_HEAD - 20 - 3), b"\r\n\r\n".to_vec()].concat(), size));
        assert!(!in_pieces(&vec![b'a'; 2 * MAX_HEAD], size));
    }
}

#[test]
fn the_first_length_counts_where_it_is_a_number() {
    let page = b"hello world\n";
    // Header, how much of the page is the body: as keepalived, which knows the header in this
    // spelling only.
    let cases = [
        ("", 12),
        ("Content-Length: 5", 5),
        ("Content-Length:5", 5),
        ("Content-Length:\t5 ", 5),
        ("content-length: 5", 5),
        ("Content-Length: 12", 12),
        ("Content-Length: 30", 12),
        ("Content-Length: 0", 0),
        ("Content-Length: +5", 5),
        ("Content-Length: -5", 12),
        ("Content-Length: abc", 12),
        ("Content-Length: 5abc", 12),
        ("Content-Length: 5, 5", 12),
        ("Content-Length: 99999999999999999999999", 12),
        ("Content-Length: 5\r\nContent-Length: 12", 5),
        ("Content-Length: x\r\nContent-Length: 5", 12),
        ("X-Content-Length: 5", 12),
    ];
    for (header, length) in cases {
        let octets = [b"HTTP/1.0 200 OK\r\nA: b\r\n", header.as_bytes(), b"\r\n"].concat();
        let blank: &[u8] = if header.is_empty() { b"" } else { b"\r\n" };
        let octets = [&octets[..], blank, page].concat();
        let url = url(Some(&page[..length]));
        assert_eq!(verdict(&url, &octets), Ok(()), "{header}");
    }
}

#[test]
fn an_answer_ends_with_its_length_or_its_last_chunk() {
    let ends = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nA: b\r\n\r\n",
    ];
    for text in ends {
        for size in [1, usize::MAX] {
            let (verdict, by_end) = verdict_by(&url(None), text.as_bytes(), size);
            assert_eq!((verdict, by_end), (Ok(()), false), "{text}");
        }
    }
    let (verdict, by_end) = verdict_by(&url(None), b"HTTP/1.1 200 OK\r\n\r\nok", usize::MAX);
    assert_eq!((verdict, by_end), (Ok(()), true));
}

#[test]
fn chunks_count_as_sent_and_as_the_page_they_make() {
    let page = b"hello world\n";
    let chunks = b"5\r\nhello\r\n7\r\n world\n\r\n0\r\n\r\n";
    for version in ["1.0", "1.1"] {
        let head = format!("HTTP/{version} 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let octets = [head.as_bytes(), chunks].concat();
        assert_eq!(verdict(&url(Some(chunks)), &octets), Ok(()), "as genhash");
        assert_eq!(verdict(&url(Some(page)), &octets), Ok(()), "as a browser");
        let other = verdict(&url(Some(b"other")), &octets);
        assert!(matches!(other, Err(Failure::Digest { .. })), "{other:?}");
        // Broken and cut ones are what they are.
        for broken in ["zz\r\nhello", "5\r\nhel", "", "5\r\nhelloX", "fffffffffffffffff\r\n", "5x"]
        {
            let octets = [head.as_bytes(), broken.as_bytes()].concat();
            assert_eq!(verdict(&url(Some(broken.as_bytes())), &octets), Ok(()), "{broken}");
        }
    }
}

#[test]
fn informational_answers_are_passed_over_unless_they_are_wanted() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    assert!(is_up(format!("{go_on}{hints}HTTP/1.1 200 OK\r\n\r\n").as_bytes()));
    assert!(!is_up(format!("{go_on}HTTP/1.1 404 Not Found\r\n\r\n").as_bytes()));
    assert!(!is_up(go_on.as_bytes()));
    assert!(!is_up(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"));
    let wanted = Url { status_codes: vec![(100, 101)], ..url(None) };
    for text in [go_on, "HTTP/1.1 101 Switching Protocols\r\n\r\n"] {
        assert_eq!(verdict(&wanted, text.as_bytes()), Ok(()));
    }
    let endless = go_on.repeat(20_000);
    let (verdict, _) = verdict_by(&url(None), endless.as_bytes(), 65_536);
    let failure = verdict.expect_err("never an answer");
    assert_eq!(failure.to_string(), "bad response: no answer within the first 256 KiB");
}

#[test]
fn a_body_is_bounded() {
    let mut answer = Answer::new(&url(None));
    assert_eq!(answer.take(&url(None), b"HTTP/1.0 200 OK\r\n\r\n"), None);
    let piece = vec![0; 1 << 20];
    for _ in 0..64 {
        assert_eq!(answer.take(&url(None), &piece), None);
    }
    let failure = Failure::Response("longer than 64 MiB".to_owned());
    assert_eq!(answer.take(&url(None), b"x"), Some(Err(failure)));
}

#[test]
fn a_request_holds_one_line_more_than_it_is_told() {
    let mut http = Http {
        connection: Connection {
            to: "[2001:db8::1]:8080".parse().expect("address"),
            bind: None,
            interface: None,
            fwmark: 0,
            timeout: Duration::from_secs(1),
        },
        tls: None,
        version: HttpVersion::Http11,
        urls: vec![url(None)],
        fast_recovery: false,
    };
    let request = |http: &Http| {
        let mut out = Vec::new();
        write_request(http, &http.urls[0], &mut out).map(|()| String::from_utf8(out).expect("text"))
    };
    let expected = "GET / HTTP/1.1\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\n\
        Host: [2001:db8::1]:8080\r\n\r\n";
    assert_eq!(request(&http).expect("request"), expected);
    http.urls[0].path = "/a\r\nX: y".to_owned();
    assert!(request(&http).expect("request").starts_with("GET /a%0D%0AX:%20y HTTP/1.1\r\n"));
    http.urls[0].host = Some("a\r\nX: y".to_owned());
    assert!(request(&http).is_err());
}

proptest! {
    #[test]
    fn the_pieces_do_not_matter(
        octets in prop::collection::vec(
            prop::sample::select(b"HTP/1.0 2\r\n\r\n:ContenTrasfEig-Lhcukd5af;, ".to_vec()), 0..200),
        start in prop::sample::select(vec![
            "", "HTTP/1.0 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n"]),
    ) {
        let octets = [start.as_bytes(), &octets].concat();
        let _ = verdict(&url(Some(b"page")), &octets);
    }
}
