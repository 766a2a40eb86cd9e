//! Takes whatever bytes there are as an HTTP server's answer: no panic, and the verdict does not depend
//! on the pieces in which it comes.

#![no_main]

use lb_check::exchange::Answer;
use lb_check::{Failure, Url};
use libfuzzer_sys::fuzz_target;

/// The verdict, and whether the connection had to end first.
fn verdict(url: &Url, octets: &[u8], size: usize) -> (Result<(), Failure>, bool) {
    let mut answer = Answer::new(url);
    for piece in octets.chunks(size) {
        if let Some(verdict) = answer.take(url, piece) {
            return (verdict, false);
        }
    }
    (answer.end(url), true)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&form, octets)) = bytes.split_first() else { return };
    let mut url = Url {
        path: "/".to_owned(),
        host: None,
        tls_host: None,
        status_codes: vec![(200, 299)],
        digest: None,
    };
    if form & 1 != 0 {
        url.digest = Some([0x5a; 16]);
    }
    if form & 2 != 0 {
        url.status_codes = vec![(0, 999)];
    }
    let whole = verdict(&url, octets, usize::MAX);
    assert_eq!(verdict(&url, octets, usize::from(form >> 2) + 1), whole);
    if form & 3 == 2 && whole.1 && whole.0.is_ok() {
        // What comes after a body without an announced end is of the body.
        let longer = [octets, b"more"].concat();
        assert!(verdict(&url, &longer, usize::MAX).0.is_ok());
    }
});
