//! The program that tells advertisements for our instances from other packets, in the kernel.
//!
//! It is made of [`Selector`]s and knows no more than they do. What it passes, the instances parse;
//! the rest is no advertisement for any of them, yet may be worth a word to the operator, if it bears
//! the number of one. So there are two programs, one for each socket of a pair: a packet with one of our
//! numbers passes exactly one of them, and a packet with another number none.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use lb_election::Selector;
use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_IMM, BPF_IND, BPF_JA, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K,
    BPF_LD, BPF_LDX, BPF_MEM, BPF_MSH, BPF_RET, BPF_RSH, BPF_ST, BPF_W, BPF_X, sock_filter,
};

use crate::Family;
use crate::filter::{DROP, PASS};

/// Which packets a program passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those that a selector describes.
    Selected,
    /// Those that bear the number of a selector and are not described by any.
    Strays,
}

/// Instructions of a program, at most (`BPF_MAXINSNS`).
const LONGEST: usize = 4096;
/// Where the network header begins, for a socket that does not see it.
const NETWORK: u32 = libc::SKF_NET_OFF.cast_unsigned();

/// Cells of the program's memory.
const FIRST: u32 = 0;
const ID: u32 = 1;
const BIT: u32 = 2;
const WORD: u32 = 3;

/// Numbers of virtual routers, a bit each.
type Ids = [u32; 8];

/// Selectors that differ in their number alone.
type Groups = BTreeMap<(u8, Option<u8>, Option<Vec<IpAddr>>), Ids>;

/// The program for a raw socket of this family.
///
/// `before` is the length of what stands between the IPv4 header and the packet: an authentication
/// header. A raw IPv4 socket sees the IP header, of variable length; a raw IPv6 socket does not. A
/// packet that is too short to have a number is dropped.
///
/// Where peers would make the program longer than the kernel takes one, it looks at no source.
pub(crate) fn program(
    selectors: &[Selector],
    family: Family,
    before: u32,
    which: Which,
) -> Vec<sock_filter> {
    let all = Program::new(selectors, family, before, which, |it| it.sources.clone());
    if all.0.len() <= LONGEST {
        return all.0;
    }
    Program::new(selectors, family, before, which, |_| None).0
}

struct Program(Vec<sock_filter>);

/// A jump to the end of the block, before that is known.
const ELSEWHERE: u32 = u32::MAX;

impl Program {
    fn new(
        selectors: &[Selector],
        family: Family,
        before: u32,
        which: Which,
        sources: impl Fn(&Selector) -> Option<Vec<IpAddr>>,
    ) -> Self {
        let mut groups = Groups::new();
        let mut known = Ids::default();
        for selector in selectors {
            let group = (selector.first, selector.ttl, sources(selector));
            for ids in [groups.entry(group).or_default(), &mut known] {
                ids[usize::from(selector.id >> 5)] |= 1 << (selector.id & 31);
            }
        }
        let (selected, other) = match which {
            Which::Selected => (PASS, DROP),
            Which::Strays => (DROP, PASS),
        };
        let mut program = Self(Vec::new());
        program.load(family, before);
        program.block(|block| {
            block.id(&known);
            for ((first, ttl, sources), ids) in &groups {
                block.group(family, (*first, ids), *ttl, sources.as_deref(), selected);
            }
            block.ret(other);
        });
        program.ret(DROP);
        program
    }

    fn push(&mut self, code: u32, jt: u8, jf: u8, k: u32) {
        #[allow(clippy::cast_possible_truncation)] // opcodes have 16 bits
        self.0.push(sock_filter { code: code as u16, jt, jf, k });
    }

    fn ret(&mut self, verdict: u32) {
        self.push(BPF_RET | BPF_K, 0, 0, verdict);
    }

    /// Puts what the blocks compare into the cells.
    fn load(&mut self, family: Family, before: u32) {
        let octet = match family {
            Family::Inet => {
                self.push(BPF_LDX | BPF_B | BPF_MSH, 0, 0, 0); // X = 4 * IHL
                BPF_LD | BPF_B | BPF_IND
            }
            Family::Inet6 => BPF_LD | BPF_B | BPF_ABS,
        };
        self.push(octet, 0, 0, before);
        self.push(BPF_ST, 0, 0, FIRST);
        self.push(octet, 0, 0, before + 1);
        self.push(BPF_ST, 0, 0, ID);
        self.push(BPF_ALU | BPF_AND | BPF_K, 0, 0, 31);
        self.push(BPF_ST, 0, 0, BIT);
        self.push(BPF_LD | BPF_MEM, 0, 0, ID);
        self.push(BPF_ALU | BPF_RSH | BPF_K, 0, 0, 5);
        self.push(BPF_ST, 0, 0, WORD);
    }

    /// Appends instructions in which [`Program::require`] jumps behind the last of them.
    fn block(&mut self, fill: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        fill(self);
        let end = self.0.len();
        for (index, it) in self.0.iter_mut().enumerate().skip(start) {
            if u32::from(it.code) == BPF_JMP | BPF_JA && it.k == ELSEWHERE {
                it.k = u32::try_from(end - index - 1).unwrap_or(ELSEWHERE);
            }
        }
    }

    /// Goes on when the comparison holds, and leaves the block when not.
    fn require(&mut self, comparison: u32, k: u32) {
        self.push(BPF_JMP | comparison | BPF_K, 1, 0, k);
        self.push(BPF_JMP | BPF_JA, 0, 0, ELSEWHERE);
    }

    /// Requires one of these numbers.
    fn id(&mut self, ids: &Ids) {
        let words = (0u32..).zip(ids).filter(|(_, word)| **word != 0);
        self.push(BPF_LD | BPF_MEM, 0, 0, WORD);
        // Each comparison is followed by its word and a jump behind all of them.
        let mut left = words.clone().count() as u32;
        for (index, word) in words {
            left -= 1;
            self.push(BPF_JMP | BPF_JEQ | BPF_K, 0, 2, index);
            self.push(BPF_LD | BPF_IMM, 0, 0, *word);
            self.push(BPF_JMP | BPF_JA, 0, 0, 3 * left + 1);
        }
        self.push(BPF_JMP | BPF_JA, 0, 0, ELSEWHERE);
        self.push(BPF_LDX | BPF_MEM, 0, 0, BIT);
        self.push(BPF_ALU | BPF_RSH | BPF_X, 0, 0, 0);
        self.require(BPF_JSET, 1);
    }

    /// Gives the verdict for what these selectors describe.
    fn group(
        &mut self,
        family: Family,
        (first, ids): (u8, &Ids),
        ttl: Option<u8>,
        sources: Option<&[IpAddr]>,
        verdict: u32,
    ) {
        let (ttl_at, source_at) = match family {
            Family::Inet => (8, 12),
            Family::Inet6 => (NETWORK + 7, NETWORK + 8),
        };
        self.block(|block| {
            block.push(BPF_LD | BPF_MEM, 0, 0, FIRST);
            block.require(BPF_JEQ, first.into());
            block.id(ids);
            if let Some(ttl) = ttl {
                block.push(BPF_LD | BPF_B | BPF_ABS, 0, 0, ttl_at);
                block.require(BPF_JEQ, ttl.into());
            }
            let Some(sources) = sources else { return block.ret(verdict) };
            for source in sources.iter().filter(|source| Family::of(source) == family) {
                block.block(|block| {
                    let words = match source {
                        IpAddr::V4(source) => [source.to_bits(), 0, 0, 0],
                        IpAddr::V6(source) => words(*source),
                    };
                    let count = if source.is_ipv4() { 1 } else { 4 };
                    for (at, word) in (source_at..).step_by(4).zip(&words[..count]) {
                        block.push(BPF_LD | BPF_W | BPF_ABS, 0, 0, at);
                        block.require(BPF_JEQ, *word);
                    }
                    block.ret(verdict);
                });
            }
        });
    }
}

fn words(address: Ipv6Addr) -> [u32; 4] {
    let [a, b, c, d, e, f, g, h] = address.segments().map(u32::from);
    [a << 16 | b, c << 16 | d, e << 16 | f, g << 16 | h]
}

#[cfg(test)]
mod tests;
