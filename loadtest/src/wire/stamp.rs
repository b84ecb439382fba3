//! The stamp in a message's body: run, number and intended send time, all of fixed width so that writing
//! and finding them costs no parser.

use crate::clock::Nanos;

/// Length of a stamp, bytes: `cslt:` run `:` number `:` time, in hexadecimal.
pub const STAMP_BYTES: usize = MAGIC.len() + 8 + 1 + 12 + 1 + 16;
/// Shortest body that holds a stamp, bytes.
pub const BODY_BYTES_MIN: usize = HEAD.len() + STAMP_BYTES + PAD.len() + 2;

const MAGIC: &[u8] = b"cslt:";
const HEAD: &[u8] = b"{\"lt\":\"";
const PAD: &[u8] = b"\",\"pad\":\"";
const RUN_AT: usize = 5;
const NUMBER_AT: usize = 14;
const TIME_AT: usize = 27;

/// What a stamp says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The run that sent it; other runs' messages are not counted.
    pub run: u32,
    /// Rises by one with every message of the run; 48 bits.
    pub number: u64,
    /// When it was meant to be sent.
    pub intended_at: Nanos,
}

impl Stamp {
    /// Writes the stamp over the first [`STAMP_BYTES`] of `out`; a shorter `out` is left alone.
    pub fn write(&self, out: &mut [u8]) {
        let Some(out) = out.get_mut(..STAMP_BYTES) else {
            return;
        };
        out[..RUN_AT].copy_from_slice(MAGIC);
        hex(u64::from(self.run), &mut out[RUN_AT..RUN_AT + 8]);
        out[NUMBER_AT - 1] = b':';
        hex(self.number, &mut out[NUMBER_AT..NUMBER_AT + 12]);
        out[TIME_AT - 1] = b':';
        hex(self.intended_at, &mut out[TIME_AT..]);
    }

    /// Reads a stamp from the start of `bytes`.
    pub fn read(bytes: &[u8]) -> Option<Stamp> {
        let bytes: &[u8; STAMP_BYTES] = bytes.first_chunk()?;
        if !bytes.starts_with(MAGIC) || bytes[NUMBER_AT - 1] != b':' || bytes[TIME_AT - 1] != b':' {
            return None;
        }
        let run = unhex8(bytes, RUN_AT)?;
        let number =
            (u64::from(unhex8(bytes, NUMBER_AT)?) << 16) | u64::from(unhex8(bytes, NUMBER_AT + 4)? & 0xffff);
        let intended_at = (u64::from(unhex8(bytes, TIME_AT)?) << 32) | u64::from(unhex8(bytes, TIME_AT + 8)?);
        Some(Stamp {
            run,
            number,
            intended_at,
        })
    }
}

/// A body of exactly `bytes` bytes with room for a stamp, which starts at the returned position.
/// Shorter than [`BODY_BYTES_MIN`] is not possible.
pub fn body(bytes: usize) -> (Vec<u8>, usize) {
    let mut out = Vec::with_capacity(bytes.max(BODY_BYTES_MIN));
    out.extend_from_slice(HEAD);
    let at = out.len();
    out.resize(at + STAMP_BYTES, b'0');
    out.extend_from_slice(PAD);
    while out.len() + 2 < bytes {
        out.push(b'x');
    }
    out.extend_from_slice(b"\"}");
    (out, at)
}

/// Finds stamps in frames. A body stands at the end of its frame, so the distance from the end is the
/// same for all messages of a run: it is searched once and then only looked at.
#[derive(Debug, Default)]
pub struct Finder {
    from_end: usize,
}

impl Finder {
    /// The stamp in a frame, if it has one.
    pub fn find(&mut self, payload: &[u8]) -> Option<Stamp> {
        if let Some(at) = payload.len().checked_sub(self.from_end)
            && let Some(stamp) = Stamp::read(&payload[at..])
        {
            return Some(stamp);
        }
        let at = payload.windows(MAGIC.len()).position(|w| w == MAGIC)?;
        let stamp = Stamp::read(&payload[at..])?;
        self.from_end = payload.len() - at;
        Some(stamp)
    }
}

fn hex(mut value: u64, out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in out.iter_mut().rev() {
        *byte = DIGITS[usize::try_from(value & 0xf).unwrap_or(0)];
        value >>= 4;
    }
}

/// Eight hexadecimal digits at `at`, all at once: this runs for every delivery.
fn unhex8(bytes: &[u8; STAMP_BYTES], at: usize) -> Option<u32> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let text = u64::from_be_bytes(*bytes.get(at..at + 8)?.first_chunk()?);
    // Bit 6 tells letters from digits; their low four bits are 1 to 6 for a to f.
    let letters = (text >> 6) & ONES;
    let digits = (text & (ONES * 0x0f)) + letters * 9;
    // Anything else than a digit is above 15, or does not give the same text when written back, which
    // spells exactly those above 9 as letters.
    let above_nine = ((digits + ONES * 6) >> 4) & ONES;
    if digits & (ONES * 0xf0) != 0 || digits + ONES * 0x30 + above_nine * 0x27 != text {
        return None;
    }
    let pairs = (digits | (digits >> 4)) & 0x00ff_00ff_00ff_00ff;
    let quads = (pairs | (pairs >> 8)) & 0x0000_ffff_0000_ffff;
    u32::try_from((quads | (quads >> 16)) & 0xffff_ffff).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        run: 0xdead_beef,
        number: 0x0000_1234_5678_9abc,
        intended_at: u64::MAX - 5,
    };

    #[test]
    fn what_is_written_is_read() {
        for bytes in [BODY_BYTES_MIN, 128, 16 * 1024] {
            let (mut body, at) = body(bytes);
            STAMP.write(&mut body[at..]);
            assert_eq!(body.len(), bytes);
            assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
            assert_eq!(Stamp::read(&body[at..]), Some(STAMP));
        }
        assert_eq!(body(0).0.len(), BODY_BYTES_MIN);
    }

    #[test]
    fn only_digits_are_read() {
        let (mut body, at) = body(100);
        STAMP.write(&mut body[at..]);
        for i in 0..STAMP_BYTES {
            let good = body[at + i];
            let separator = i < RUN_AT || i == NUMBER_AT - 1 || i == TIME_AT - 1;
            for bad in 0..=u8::MAX {
                let digit = matches!(bad, b'0'..=b'9' | b'a'..=b'f');
                body[at + i] = bad;
                let read = Stamp::read(&body[at..]).is_some();
                assert_eq!(read, if separator { bad == good } else { digit }, "{i} {bad}");
            }
            body[at + i] = good;
        }
    }

    #[test]
    fn a_finder_follows_bodies_of_any_place() {
        let mut finder = Finder::default();
        let (mut body, at) = body(100);
        STAMP.write(&mut body[at..]);
        let body = String::from_utf8(body).unwrap();
        for frame in [
            format!("{{\"offset\":9,\"body\":{body}}}"),
            format!("{{\"offset\":10,\"body\":{body}}}"),
            format!("{{\"body\":{body},\"offset\":10}}"),
        ] {
            assert_eq!(finder.find(frame.as_bytes()), Some(STAMP));
        }
        for none in [&b""[..], b"{}", b"cslt:", &[b'c'; 200]] {
            assert_eq!(finder.find(none), None);
        }
    }
}
