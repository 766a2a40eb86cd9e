//! Reads what CARP nodes send, independently of the code under test.

use std::fmt;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, ensure};
use lb_lab::{Frame, IpHeader};
use lb_tests::VRRP;
use lb_tests::wire::{folded, hex};

/// An advertisement: an IP payload of 36 octets that opens with version 2 and type 1, and then says of itself that 7
/// words of authentication follow.
#[derive(Clone, Debug)]
pub struct Advert {
    pub at: SystemTime,
    /// Hardware address it went to.
    pub to: [u8; 6],
    pub ip: IpHeader,
    pub vhid: u8,
    pub advskew: u8,
    pub demotion: u8,
    pub advbase: u8,
    pub counter: [u8; 8],
    pub digest: [u8; 20],
    /// Whether that of the packet is right; no pseudo header is part of it.
    pub checksum: bool,
    pub frame: Vec<u8>,
}

impl Advert {
    /// Whether it is said to the new master alone that the sender has stopped.
    pub fn is_last_word(&self) -> bool {
        self.advbase == 255 && self.advskew == 255 && !self.ip.destination.is_multicast()
    }

    /// Reads a frame; `None` when it is something else.
    pub fn read(frame: &Frame) -> Option<Self> {
        let ip = frame.ip.filter(|ip| ip.protocol == VRRP)?;
        let octets: [u8; 36] = frame.payload.as_slice().try_into().ok()?;
        let [0x21, vhid, advskew, 7, demotion, advbase, ..] = octets else { return None };
        Some(Self {
            at: frame.at,
            to: frame.to,
            ip,
            vhid,
            advskew,
            demotion,
            advbase,
            counter: octets[8..16].try_into().ok()?,
            digest: octets[16..].try_into().ok()?,
            checksum: folded(&octets) == 0xffff,
            frame: frame.octets.clone(),
        })
    }

    /// Whether its sender stops: everybody else is faster.
    pub fn bows_out(&self) -> bool {
        (self.advbase, self.advskew) == (255, 255)
    }

    /// Whether the checksum of the IPv4 header is right.
    pub fn header_checksum_is_right(&self) -> bool {
        folded(&self.frame[14..34]) == 0xffff
    }

    /// Its frame, what differs from one packet to the next or between hosts zero: the source's hardware address,
    /// IPv4's id and header checksum; checksum, counter and digest of CARP.
    pub fn constant_octets(&self) -> Vec<u8> {
        let mut octets = self.frame.clone();
        for range in [6..12, 18..20, 24..26, 40..42, 42..50, 50..70] {
            octets[range].fill(0);
        }
        octets
    }

    /// What the digest is made over for a vhid with one address.
    fn message(&self, vip: Ipv4Addr) -> Vec<u8> {
        [&[2, 1, self.vhid][..], &vip.octets(), &self.counter].concat()
    }
}

impl fmt::Display for Advert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vhid, advbase, advskew, demotion, ip, .. } = self;
        write!(f, "vhid {vhid} {advbase}/{advskew} demotion {demotion} to {}", ip.destination)
    }
}

/// Sees that every digest is HMAC-SHA1 of what it should be, as Python's `hmac` makes it.
pub fn digests_are_right(adverts: &[&Advert], pass: &str, vip: Ipv4Addr) -> anyhow::Result<()> {
    const MAKE: &str = "import hmac, sys\nfor word in sys.argv[2:]:\n print(hmac.new(sys.argv[1].encode(), \
                        bytes.fromhex(word), 'sha1').hexdigest())";
    if !lb_tests::installed("python3", "python3") {
        return Ok(());
    }
    let messages = adverts.iter().map(|advert| hex(&advert.message(vip)));
    let made = Command::new("python3").args(["-c", MAKE, pass]).args(messages).output();
    let made = String::from_utf8(made.context("cannot run python3")?.stdout)?;
    let sent: Vec<String> = adverts.iter().map(|advert| hex(&advert.digest)).collect();
    ensure!(made.lines().eq(&sent), "digests {sent:?} instead of\n{made}");
    Ok(())
}
