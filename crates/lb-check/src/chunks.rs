//! The chunks of a body. RFC 9112 §7.1.

/// Reads chunks and finds their end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Chunks {
    /// In the size of a chunk, of which so many digits have come.
    Size { value: u64, digits: u32 },
    /// Behind the size, until the end of its line.
    Extension { value: u64 },
    /// In the data, of which so much is left.
    Data { left: u64 },
    /// Behind the data, until the end of the line.
    DataEnd,
    /// In the lines after the last chunk; whether something of this line has come.
    Trailer { text: bool },
}

/// How far the chunks have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More follows.
    Open,
    /// They have ended, after so many of the octets.
    Ended(usize),
    /// These are no chunks.
    Broken,
}

impl Default for Chunks {
    fn default() -> Self {
        Self::Size { value: 0, digits: 0 }
    }
}

impl Chunks {
    /// Takes octets and gives the data among them to `page`.
    pub(crate) fn take(&mut self, octets: &[u8], mut page: impl FnMut(&[u8])) -> Progress {
        let mut at = 0;
        while let Some(&byte) = octets.get(at) {
            if let Self::Data { left } = *self {
                let rest = &octets[at..];
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                page(&rest[..here]);
                at += here;
                let left = left - here as u64;
                *self = if left == 0 { Self::DataEnd } else { Self::Data { left } };
                continue;
            }
            at += 1;
            *self = match (*self, byte) {
                (Self::Size { value, digits }, _) if digits < 16 && byte.is_ascii_hexdigit() => {
                    Self::Size { value: value << 4 | u64::from(hex(byte)), digits: digits + 1 }
                }
                (Self::Size { digits: 0, .. }, _) => return Progress::Broken,
                (Self::Size { value, .. } | Self::Extension { value }, b'\n') => match value {
                    0 => Self::Trailer { text: false },
                    left => Self::Data { left },
                },
                (Self::Size { value, .. }, b';' | b' ' | b'\t' | b'\r')
                | (Self::Extension { value }, _) => Self::Extension { value },
                (Self::Size { .. }, _) => return Progress::Broken,
                (Self::DataEnd, b'\r') => Self::DataEnd,
                (Self::DataEnd, b'\n') => Self::default(),
                (Self::DataEnd, _) => return Progress::Broken,
                (Self::Trailer { text: false }, b'\n') => return Progress::Ended(at),
                (Self::Trailer { .. }, b'\n') => Self::Trailer { text: false },
                (Self::Trailer { text }, b'\r') => Self::Trailer { text },
                (Self::Trailer { .. }, _) => Self::Trailer { text: true },
                (Self::Data { .. }, _) => *self, // taken above
            };
        }
        Progress::Open
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}
