//! Requests, packed one after the other into the buffer of one send.
//!
//! neli's builders keep each attribute in a vector of its own. A table of thousands of entries has
//! a dozen attributes an entry, so here the octets go straight into the buffer and lengths are
//! filled in when they are known.

use std::ops::Range;

use lb_pool::ServiceKey;
use neli::consts::alignto;
use neli::consts::nl::NlmF;

/// Octets of a netlink header.
pub(crate) const HEADER: usize = 16;
/// Octets of a generic netlink header.
pub(crate) const GENERIC_HEADER: usize = 4;
/// Set in the type of an attribute that holds attributes (`NLA_F_NESTED`).
const NESTED: u16 = 1 << 15;

/// A buffer of complete messages; the last one may be under construction.
#[derive(Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// Where the last message begins.
    last: usize,
    /// The service that was named last, and where.
    named: Option<(ServiceKey, Range<usize>)>,
}

impl Batch {
    /// Forgets the messages and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.last = 0;
        self.named = None;
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends one message; `fill` adds its attributes.
    pub(crate) fn message(
        &mut self,
        kind: u16,
        flags: NlmF,
        seq: u32,
        (command, version): (u8, u8),
        fill: impl FnOnce(&mut Self),
    ) {
        self.last = self.bytes.len();
        let mut headers = [0; HEADER + GENERIC_HEADER];
        headers[4..6].copy_from_slice(&kind.to_ne_bytes());
        headers[6..8].copy_from_slice(&flags.bits().to_ne_bytes());
        headers[8..12].copy_from_slice(&seq.to_ne_bytes());
        headers[HEADER..][..2].copy_from_slice(&[command, version]);
        self.bytes.extend_from_slice(&headers);
        fill(self);
        let length = (self.bytes.len() - self.last) as u32;
        self.bytes[self.last..self.last + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Adds flags to the last message.
    pub(crate) fn flag_last(&mut self, flags: NlmF) {
        if let Some(at) = self.bytes.get_mut(self.last + 6..self.last + 8) {
            let old = u16::from_ne_bytes([at[0], at[1]]);
            at.copy_from_slice(&(old | flags.bits()).to_ne_bytes());
        }
    }

    /// Appends an attribute, a dozen an entry: inlined, its size is known. `value` is shorter than 64 KiB, as everything of this family is.
    #[inline(always)]
    pub(crate) fn attribute(&mut self, kind: impl Into<u16>, value: &[u8]) {
        self.attribute_header(4 + value.len(), kind.into());
        self.bytes.extend_from_slice(value);
        self.pad(value.len());
    }

    /// Appends a NUL-terminated string of less than 64 KiB.
    pub(crate) fn string(&mut self, kind: impl Into<u16>, value: &str) {
        self.attribute_header(5 + value.len(), kind.into());
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.pad(value.len() + 1);
    }

    #[inline(always)]
    fn attribute_header(&mut self, length: usize, kind: u16) {
        let ([l0, l1], [k0, k1]) = ((length as u16).to_ne_bytes(), kind.to_ne_bytes());
        self.bytes.extend_from_slice(&[l0, l1, k0, k1]);
    }

    /// What comes next begins at a multiple of four, as the value of this length did.
    #[inline(always)]
    fn pad(&mut self, length: usize) {
        self.bytes.extend_from_slice(&[0; 3][..alignto(length) - length]);
    }

    /// Appends what `fill` appends to name a service. The requests about one follow one another, so
    /// most find the octets in the one before.
    pub(crate) fn name(&mut self, service: &ServiceKey, fill: impl FnOnce(&mut Self)) {
        if let Some((last, octets)) = &self.named
            && last == service
        {
            self.bytes.extend_from_within(octets.clone());
            return;
        }
        let start = self.bytes.len();
        fill(self);
        self.named = Some((*service, start..self.bytes.len()));
    }

    /// Appends an attribute made of attributes.
    pub(crate) fn nest(&mut self, kind: impl Into<u16>, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.attribute_header(0, kind.into() | NESTED);
        fill(self);
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }
}
