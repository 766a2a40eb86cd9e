//! Programs that run in the kernel and keep what does not concern us from waking us.

use std::net::Ipv6Addr;

use socket2::SockFilter;

use crate::Family;

/// A set of virtual router ids, 0 to 255.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VridSet([u32; 8]);

impl VridSet {
    /// Adds one.
    pub fn insert(&mut self, vrid: u8) {
        self.0[usize::from(vrid >> 5)] |= 1 << (vrid & 31);
    }

    /// Whether it is in the set.
    #[must_use]
    pub fn contains(&self, vrid: u8) -> bool {
        self.0[usize::from(vrid >> 5)] & (1 << (vrid & 31)) != 0
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl FromIterator<u8> for VridSet {
    fn from_iter<I: IntoIterator<Item = u8>>(vrids: I) -> Self {
        let mut set = Self::default();
        vrids.into_iter().for_each(|vrid| set.insert(vrid));
        set
    }
}

/// A filter returns how many octets of the packet to keep.
const PASS: u32 = u32::MAX;
const DROP: u32 = 0;

#[allow(clippy::cast_possible_truncation)] // opcodes have 16 bits
fn op(code: u32, jt: u8, jf: u8, k: u32) -> SockFilter {
    SockFilter::new(code as u16, jt, jf, k)
}

fn ret(verdict: u32) -> SockFilter {
    op(libc::BPF_RET | libc::BPF_K, 0, 0, verdict)
}

/// Drops every packet.
pub(crate) fn nothing() -> [SockFilter; 1] {
    [ret(DROP)]
}

/// Passes a VRRP or CARP packet whose second octet, the VRID or vhid, is in the set.
///
/// Version and type are left to the reader, which counts what is wrong with them. A raw IPv4 socket
/// sees the IP header, of variable length; a raw IPv6 socket does not. A packet too short to have
/// the octet is dropped. `before` is the length of what stands between the IPv4 header and the packet: an
/// authentication header.
pub(crate) fn vrids(set: &VridSet, family: Family, before: u32) -> Vec<SockFilter> {
    use libc::{
        BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_IMM, BPF_IND, BPF_JA, BPF_JEQ, BPF_JMP, BPF_JSET,
        BPF_K, BPF_LD, BPF_LDX, BPF_MEM, BPF_MISC, BPF_MSH, BPF_RSH, BPF_ST, BPF_TAX, BPF_X,
    };
    if set.is_empty() {
        return nothing().into();
    }
    let mut program = Vec::with_capacity(40);
    match family {
        Family::Inet => program.extend([
            op(BPF_LDX | BPF_B | BPF_MSH, 0, 0, 0), // X = 4 * IHL
            op(BPF_LD | BPF_B | BPF_IND, 0, 0, before + 1),
        ]),
        Family::Inet6 => program.push(op(BPF_LD | BPF_B | BPF_ABS, 0, 0, 1)),
    }
    program.extend([
        op(BPF_ST, 0, 0, 0), // M[0] = vrid
        op(BPF_ALU | BPF_AND | BPF_K, 0, 0, 31),
        op(BPF_MISC | BPF_TAX, 0, 0, 0), // X = bit
        op(BPF_LD | BPF_MEM, 0, 0, 0),
        op(BPF_ALU | BPF_RSH | BPF_K, 0, 0, 5), // A = word
    ]);
    // Eight comparisons, each followed by its word and a jump to the common end.
    for (index, &word) in (0u32..).zip(&set.0) {
        let to_the_end = 3 * (7 - index);
        program.extend([
            op(BPF_JMP | BPF_JEQ | BPF_K, 0, 2, index),
            op(BPF_LD | BPF_IMM, 0, 0, word),
            op(BPF_JMP | BPF_JA, 0, 0, to_the_end),
        ]);
    }
    program.extend([
        op(BPF_ALU | BPF_RSH | BPF_X, 0, 0, 0),
        op(BPF_JMP | BPF_JSET | BPF_K, 0, 1, 1),
        ret(PASS),
        ret(DROP),
    ]);
    program
}

/// Drops the `RTM_NEWADDR` notifications that the socket at `port` has caused itself.
///
/// The header of a notification carries the port of the socket whose request it answers.
pub(crate) fn others_addresses(port: u32) -> [SockFilter; 6] {
    use libc::{BPF_ABS, BPF_H, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_W};
    // Netlink is in host order, and the filter loads in network order.
    let newaddr = u32::from(libc::RTM_NEWADDR.to_be());
    [
        op(BPF_LD | BPF_H | BPF_ABS, 0, 0, 4),
        op(BPF_JMP | BPF_JEQ | BPF_K, 0, 3, newaddr),
        op(BPF_LD | BPF_W | BPF_ABS, 0, 0, 12),
        op(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, port.to_be()),
        ret(DROP),
        ret(PASS),
    ]
}

/// Addresses that a filter compares one by one; with more of them everything passes to the reader.
const COMPARED: usize = 1000;

/// Compares the word at an offset.
fn push_words(program: &mut Vec<SockFilter>, offset: u32, words: &[u32]) {
    use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_W};
    if words.len() > COMPARED {
        program.push(ret(PASS));
        return;
    }
    program.push(op(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset));
    for &word in words {
        program.extend([op(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, word), ret(PASS)]);
    }
    program.push(ret(DROP));
}

/// Passes ARP packets whose sender has one of these addresses.
pub(crate) fn arp_senders(addresses: impl Iterator<Item = u32>) -> Vec<SockFilter> {
    let mut program = Vec::new();
    push_words(&mut program, 14, &addresses.collect::<Vec<_>>());
    program
}

/// Passes neighbour advertisements for targets that end as one of these addresses.
pub(crate) fn advertised_targets(addresses: impl Iterator<Item = Ipv6Addr>) -> Vec<SockFilter> {
    use libc::{BPF_ABS, BPF_B, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD};
    const NEIGHBOUR_ADVERTISEMENT: u32 = 136;
    let mut program = vec![
        op(BPF_LD | BPF_B | BPF_ABS, 0, 0, 0),
        op(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, NEIGHBOUR_ADVERTISEMENT),
        ret(DROP),
    ];
    #[allow(clippy::cast_possible_truncation)] // the last word
    let words: Vec<_> = addresses.map(|address| address.to_bits() as u32).collect();
    push_words(&mut program, 20, &words);
    program
}
