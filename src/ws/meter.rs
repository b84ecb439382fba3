//! Walks frame headers in the bytes as they arrive, below the codec: what must be refused is refused before
//! anything is allocated for it, and the connection knows when its stream stands between two messages.
//!
//! Pure: the same bytes give the same verdict however they were chopped on the way.

use countersign_protocol::CloseCode;
use countersign_protocol::limits::FRAME_BYTES_MAX;

use crate::core::rate::{Gcra, Rate};

/// Longest payload of a control frame (RFC 6455 §5.5).
const CONTROL_BYTES_MAX: u64 = 125;
/// Longest header of a masked frame.
const HEADER_BYTES_MAX: usize = 14;

/// What is counted, and up to where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) fragments_max: u32,
    pub(super) control_rate: Rate,
}

/// Where in the stream of frames a connection stands.
#[derive(Debug, Default)]
pub(super) struct Meter {
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: u8,
    /// Payload bytes of the current frame still to come.
    payload: u32,
    /// The message goes on after the current frame.
    unfinished: bool,
    fragments: u32,
    message_bytes: u32,
    /// Fragmented messages so far; names the current one.
    message: u32,
    control: Gcra,
    /// Pongs that answer pings of ours; they are not counted.
    pongs_expected: u8,
}

/// A frame whose header is complete.
struct Frame {
    opcode: u8,
    fin: bool,
    payload: u64,
}

impl Meter {
    /// Looks at the next bytes. Answers how many of them may be passed on: all, or those before the frame that
    /// broke a rule, with the code to close with.
    pub(super) fn feed(&mut self, bytes: &[u8], bounds: &Bounds, now: u64) -> (usize, Option<CloseCode>) {
        let mut at = 0;
        while at < bytes.len() {
            if self.payload > 0 {
                let waiting = usize::try_from(self.payload).unwrap_or(usize::MAX);
                let n = waiting.min(bytes.len() - at);
                self.payload -= u32::try_from(n).unwrap_or(self.payload);
                at += n;
                continue;
            }
            let frame_at = at.saturating_sub(usize::from(self.header_bytes));
            if let Some(slot) = self.header.get_mut(usize::from(self.header_bytes)) {
                *slot = bytes[at];
            }
            self.header_bytes += 1;
            at += 1;
            match self.read_header() {
                Ok(None) => {}
                Ok(Some(frame)) => {
                    self.header_bytes = 0;
                    if let Err(code) = self.count(&frame, bounds, now) {
                        return (frame_at, Some(code));
                    }
                }
                Err(code) => return (frame_at, Some(code)),
            }
        }
        (bytes.len(), None)
    }

    /// Whether the last byte seen was the last of a message.
    pub(super) fn is_between_messages(&self) -> bool {
        self.header_bytes == 0 && self.payload == 0 && !self.unfinished
    }

    /// The number of the fragmented message under way.
    pub(super) fn fragmented(&self) -> Option<u64> {
        self.unfinished.then_some(u64::from(self.message))
    }

    /// A ping leaves: its pong is not the client's idea.
    pub(super) fn expect_pong(&mut self) {
        self.pongs_expected = self.pongs_expected.saturating_add(1);
    }

    /// The header so far; an error as soon as it can be known.
    fn read_header(&self) -> Result<Option<Frame>, CloseCode> {
        let header = self
            .header
            .get(..usize::from(self.header_bytes))
            .unwrap_or(&self.header);
        let Some(&first) = header.first() else {
            return Ok(None);
        };
        let (opcode, fin) = (first & 0x0f, first & 0x80 != 0);
        self.check_opcode(first, opcode, fin)?;
        let Some(&second) = header.get(1) else {
            return Ok(None);
        };
        if second & 0x80 == 0 {
            return Err(CloseCode::Protocol);
        }
        let (payload, length_bytes) = match second & 0x7f {
            126 => match header.get(2..4) {
                Some(&[a, b]) => (u64::from(u16::from_be_bytes([a, b])), 2),
                _ => return Ok(None),
            },
            127 => match header.get(2..10).and_then(|b| <[u8; 8]>::try_from(b).ok()) {
                Some(be) => (u64::from_be_bytes(be), 8),
                None => return Ok(None),
            },
            short => (u64::from(short), 0),
        };
        if opcode & 0x8 != 0 && payload > CONTROL_BYTES_MAX {
            return Err(CloseCode::Protocol);
        }
        if payload > self.room(opcode) {
            return Err(CloseCode::TooBig);
        }
        let complete = header.len() == 2 + length_bytes + 4;
        Ok(complete.then_some(Frame { opcode, fin, payload }))
    }

    fn check_opcode(&self, first: u8, opcode: u8, fin: bool) -> Result<(), CloseCode> {
        match (opcode, self.unfinished) {
            _ if first & 0x70 != 0 => Err(CloseCode::Protocol),
            (0x2, false) => Err(CloseCode::Unsupported),
            (0x0, true) | (0x1, false) => Ok(()),
            (0x8..=0xa, _) if fin => Ok(()),
            _ => Err(CloseCode::Protocol),
        }
    }

    /// How long the payload of the next frame may be.
    fn room(&self, opcode: u8) -> u64 {
        match opcode {
            0x8..=0xf => CONTROL_BYTES_MAX,
            _ => (FRAME_BYTES_MAX as u64).saturating_sub(u64::from(self.message_bytes)),
        }
    }

    fn count(&mut self, frame: &Frame, bounds: &Bounds, now: u64) -> Result<(), CloseCode> {
        self.payload = u32::try_from(frame.payload).map_err(|_| CloseCode::TooBig)?;
        match frame.opcode {
            0x8 => return Ok(()),
            0xa if self.pongs_expected > 0 => {
                self.pongs_expected -= 1;
                return Ok(());
            }
            0x9 | 0xa => {
                return self
                    .control
                    .check(&bounds.control_rate, now, 1)
                    .map_err(|_| CloseCode::Policy);
            }
            _ => {}
        }
        self.fragments += 1;
        if self.fragments > bounds.fragments_max {
            return Err(CloseCode::Policy);
        }
        if frame.fin {
            (self.fragments, self.message_bytes, self.unfinished) = (0, 0, false);
            return Ok(());
        }
        if !self.unfinished {
            self.message = self.message.wrapping_add(1);
        }
        self.message_bytes = self.message_bytes.saturating_add(self.payload);
        self.unfinished = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS_FRAGMENTS: u32 = 4;

    fn bounds() -> Bounds {
        Bounds {
            fragments_max: BOUNDS_FRAGMENTS,
            control_rate: Rate::new(2, 1_000, 3),
        }
    }

    /// A frame as a client writes it, with the length in as many bytes as asked for.
    fn frame(first: u8, payload: usize) -> Vec<u8> {
        let mut out = vec![first];
        match payload {
            0..=125 => out.push(0x80 | u8::try_from(payload).unwrap()),
            126..=0xffff => {
                out.push(0x80 | 126);
                out.extend_from_slice(&u16::try_from(payload).unwrap().to_be_bytes());
            }
            _ => {
                out.push(0x80 | 127);
                out.extend_from_slice(&(payload as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(&[1, 2, 3, 4]);
        out.resize(out.len() + payload, b'x');
        out
    }

    fn verdict(bytes: &[u8]) -> (usize, Option<CloseCode>) {
        Meter::default().feed(bytes, &bounds(), 0)
    }

    fn code(bytes: &[u8]) -> Option<CloseCode> {
        verdict(bytes).1
    }

    #[test]
    fn rules_have_their_codes() {
        assert_eq!(code(&frame(0x81, 5)), None);
        assert_eq!(code(&[0x81, 0x05]), Some(CloseCode::Protocol), "unmasked");
        for reserved in [0xc1, 0xa1, 0x91] {
            assert_eq!(code(&[reserved]), Some(CloseCode::Protocol));
        }
        for opcode in [0x83, 0x87, 0x8b, 0x8f] {
            assert_eq!(code(&[opcode]), Some(CloseCode::Protocol));
        }
        assert_eq!(code(&[0x82]), Some(CloseCode::Unsupported), "binary");
        assert_eq!(code(&[0x80]), Some(CloseCode::Protocol), "nothing to continue");
        assert_eq!(code(&[0x09]), Some(CloseCode::Protocol), "fragmented ping");
        assert_eq!(
            code(&[0x89, 0xfe, 0, 126]),
            Some(CloseCode::Protocol),
            "long ping"
        );
        let interrupted = [frame(0x01, 1), frame(0x81, 1)].concat();
        assert_eq!(
            code(&interrupted),
            Some(CloseCode::Protocol),
            "a message inside a message"
        );
    }

    #[test]
    fn lengths_are_refused_by_the_header_alone() {
        assert_eq!(code(&frame(0x81, FRAME_BYTES_MAX)), None);
        let too_big = [&[0x81, 0xff][..], &(FRAME_BYTES_MAX as u64 + 1).to_be_bytes()].concat();
        assert_eq!(code(&too_big), Some(CloseCode::TooBig));
        assert_eq!(
            code(&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            Some(CloseCode::TooBig),
            "2^63"
        );
        let in_parts = [frame(0x01, FRAME_BYTES_MAX - 1), frame(0x00, 1), frame(0x80, 1)].concat();
        assert_eq!(code(&in_parts), Some(CloseCode::TooBig), "the sum counts");
        let to_the_brim = [
            frame(0x01, FRAME_BYTES_MAX - 1),
            frame(0x80, 1),
            frame(0x81, FRAME_BYTES_MAX),
        ]
        .concat();
        assert_eq!(code(&to_the_brim), None);
    }

    #[test]
    fn empty_fragments_are_counted() {
        let flood = [frame(0x01, 0), frame(0x00, 0).repeat(1_000)].concat();
        let (passed, code) = verdict(&flood);
        assert_eq!(code, Some(CloseCode::Policy));
        assert_eq!(passed, frame(0x00, 0).len() * BOUNDS_FRAGMENTS as usize);
    }

    #[test]
    fn control_frames_have_a_rate_and_our_pongs_are_free() {
        assert_eq!(code(&frame(0x89, 0).repeat(3)), None);
        assert_eq!(code(&frame(0x89, 0).repeat(4)), Some(CloseCode::Policy));
        let mut meter = Meter::default();
        for _ in 0..5 {
            meter.expect_pong();
        }
        assert_eq!(meter.feed(&frame(0x8a, 4).repeat(8), &bounds(), 0).1, None);
        assert_eq!(
            meter.feed(&frame(0x8a, 4), &bounds(), 0).1,
            Some(CloseCode::Policy)
        );
        assert_eq!(
            Meter::default().feed(&frame(0x8a, 4).repeat(3), &bounds(), 0).1,
            None
        );
    }

    #[test]
    fn it_knows_where_messages_end() {
        let mut meter = Meter::default();
        let whole = frame(0x81, 300);
        for (i, byte) in whole.iter().enumerate() {
            assert_eq!(meter.is_between_messages(), i == 0);
            meter.feed(std::slice::from_ref(byte), &bounds(), 0);
        }
        assert!(meter.is_between_messages() && meter.fragmented().is_none());
        meter.feed(&frame(0x01, 3), &bounds(), 0);
        let first = meter.fragmented();
        assert!(first.is_some() && !meter.is_between_messages());
        meter.feed(&frame(0x89, 3), &bounds(), 0);
        assert_eq!(meter.fragmented(), first, "a ping in between changes nothing");
        meter.feed(&[frame(0x80, 3), frame(0x01, 3)].concat(), &bounds(), 0);
        assert!(meter.fragmented().is_some() && meter.fragmented() != first);
    }

    fn any_frame() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            8 => (prop::sample::select(vec![0x81_u8, 0x01, 0x00, 0x80, 0x89, 0x8a, 0x88]), 0_usize..300)
                .prop_map(|(first, len)| frame(first, if first & 0x08 != 0 { len % 126 } else { len })),
            1 => prop::collection::vec(any::<u8>(), 1..20),
            1 => (Just(0x81_u8), 60_000_usize..70_000).prop_map(|(first, len)| frame(first, len)),
        ]
    }

    proptest! {
        /// However the bytes were chopped, the same frames pass and the same rule is broken.
        #[test]
        fn chopping_changes_nothing(
            frames in prop::collection::vec(any_frame(), 0..12),
            cuts in prop::collection::vec(1_usize..2_000, 1..50),
        ) {
            let bytes = frames.concat();
            let mut whole = Meter::default();
            let (passed, code) = whole.feed(&bytes, &bounds(), 0);

            let mut meter = Meter::default();
            let (mut at, mut in_parts) = (0, None);
            for len in cuts.iter().cycle() {
                if at >= bytes.len() || in_parts.is_some() {
                    break;
                }
                let part = &bytes[at..bytes.len().min(at + len)];
                let (n, fault) = meter.feed(part, &bounds(), 0);
                in_parts = fault;
                at += if fault.is_some() { n } else { part.len() };
            }
            prop_assert_eq!(in_parts, code);
            match code {
                None => prop_assert_eq!(meter.is_between_messages(), whole.is_between_messages()),
                // Part of the bad frame's header may have passed before it could be known.
                Some(_) => prop_assert!(at >= passed && at < passed + HEADER_BYTES_MAX),
            }
        }
    }
}
