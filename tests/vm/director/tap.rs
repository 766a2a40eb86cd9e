//! What is asked of a host's IPVS, seen from outside of who asks: a capture of its netlink messages.

use anyhow::{Context, Result};
use lb_lab::{Capture, Host};

use crate::site::{SOON, run};

/// The name of the family, as the controller writes it.
const FAMILY: &[u8] = b"IPVS\0";
/// `GENL_ID_CTRL`
const CONTROLLER: u16 = 16;
/// `NLM_F_REQUEST`
const REQUEST: u16 = 1;
/// `IPVS_CMD_GET_CONFIG`
const GET_CONFIG: u8 = 13;

/// Collects the requests that programs of a host send to IPVS, on an `nlmon` interface.
pub struct Tap<'a> {
    host: &'a Host,
    capture: Capture,
    family: u16,
}

impl<'a> Tap<'a> {
    /// Listens from now on.
    pub fn new(host: &'a Host) -> Result<Self> {
        run(host, "ip link add nlmon0 type nlmon")?;
        run(host, "ip link set nlmon0 up")?;
        let mut tap = Self { host, capture: host.capture("nlmon0")?, family: 0 };
        // The controller's answer to ipvsadm tells the number of the family.
        run(host, "ipvsadm --list --timeout")?;
        let answer = tap.capture.wait_for(|frame| number(&frame.octets).is_some(), SOON)?;
        tap.family = number(&answer.octets).context("an answer without number")?;
        Ok(tap)
    }

    /// Forgets all so far.
    pub fn clear(&self) -> Result<()> {
        self.settle()?;
        self.capture.clear();
        Ok(())
    }

    /// The requests so far that change something, in order.
    pub fn changes(&self) -> Result<Vec<&'static str>> {
        self.settle()?;
        Ok(self.commands().into_iter().filter_map(change).collect())
    }

    /// Waits until all that was sent before has been collected: what is sent now comes last.
    fn settle(&self) -> Result<()> {
        let asked = || self.commands().iter().filter(|command| **command == GET_CONFIG).count();
        let before = asked();
        run(self.host, "ipvsadm --list --timeout")?;
        lb_lab::wait_until("the tap sees ipvsadm", SOON, || asked() > before)?;
        Ok(())
    }

    fn commands(&self) -> Vec<u8> {
        let mut commands = Vec::new();
        for frame in self.capture.frames() {
            let requests = messages(&frame.octets)
                .filter(|(kind, flags, _)| *kind == self.family && flags & REQUEST != 0);
            commands.extend(requests.filter_map(|(.., payload)| payload.first()));
        }
        commands
    }
}

/// A command that is no question, by its name in `ip_vs.h`.
fn change(command: u8) -> Option<&'static str> {
    Some(match command {
        1 => "NEW_SERVICE",
        2 => "SET_SERVICE",
        3 => "DEL_SERVICE",
        5 => "NEW_DEST",
        6 => "SET_DEST",
        7 => "DEL_DEST",
        9 => "NEW_DAEMON",
        10 => "DEL_DAEMON",
        12 => "SET_CONFIG",
        16 => "ZERO",
        17 => "FLUSH",
        _ => return None,
    })
}

/// Type, flags and payload of each message in a datagram.
fn messages(mut octets: &[u8]) -> impl Iterator<Item = (u16, u16, &[u8])> {
    std::iter::from_fn(move || {
        let (header, _) = octets.split_first_chunk::<16>()?;
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let payload = octets.get(16..length)?;
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        Some((kind, u16::from_ne_bytes([header[6], header[7]]), payload))
    })
}

/// The number of the family, in the controller's answer: behind the generic header, the attributes name and number.
fn number(octets: &[u8]) -> Option<u16> {
    let (.., payload) = messages(octets).find(|(kind, flags, payload)| {
        *kind == CONTROLLER && flags & REQUEST == 0 && payload.windows(5).any(|w| w == FAMILY)
    })?;
    let mut attributes = payload.get(4..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes([*attributes.first()?, *attributes.get(1)?]));
        let kind = u16::from_ne_bytes([*attributes.get(2)?, *attributes.get(3)?]);
        if kind == 1 {
            return Some(u16::from_ne_bytes([*attributes.get(4)?, *attributes.get(5)?]));
        }
        attributes = attributes.get(length.next_multiple_of(4).max(4)..)?;
    }
}
