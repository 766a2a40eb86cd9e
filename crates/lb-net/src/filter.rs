//! Programs that run in the kernel and keep what does not concern us from waking us.

use std::net::Ipv6Addr;

use socket2::SockFilter;

/// A filter returns how many octets of the packet to keep.
pub(crate) const PASS: u32 = u32::MAX;
pub(crate) const DROP: u32 = 0;

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
