//! Messages out of a connection's bytes. The codec's context, with its buffer, exists only while the stream
//! stands inside a message: an idle connection pays for neither, whatever it has sent before.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes};
use countersign_protocol::CloseCode;
use countersign_protocol::codec::{Opcode, write_frame};
use countersign_protocol::limits::FRAME_BYTES_MAX;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Utf8Bytes};
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig, WebSocketContext};

use super::meter::{Bounds, Meter};
use crate::hub::Connection;

/// The codec's buffer while a message arrives, bytes. It grows to the message where that is longer.
const READ_BUFFER_BYTES: usize = 1024;

/// A connection's reading side.
pub(super) struct Reader {
    meter: Meter,
    context: Option<Box<WebSocketContext>>,
    /// Bytes that came with the handshake, while there are any. Boxed: hardly any client sends some.
    leftover: Option<Box<Bytes>>,
    /// The rule that what comes next has broken.
    fault: Option<CloseCode>,
}

/// Where bytes come from, for as long as one wake lasts.
pub(super) struct Intake<'a, S> {
    /// Reads without waiting; `WouldBlock` when there is nothing.
    pub(super) source: S,
    pub(super) connection: &'a Connection,
    pub(super) bounds: Bounds,
    /// Bytes that may still be read in this wake.
    pub(super) budget: usize,
    pub(super) now: u64,
    /// Set when a pong was queued.
    pub(super) queued: bool,
}

/// What was read.
#[derive(Debug)]
pub(super) enum Event {
    Text(Utf8Bytes),
    Pong,
    /// Nothing more for now.
    Blocked,
    /// The budget is used up.
    Spent,
    /// The peer closed; this is our answer to it.
    Closed(Bytes),
    /// The peer broke a rule.
    Fault(CloseCode),
    /// The peer is gone.
    Gone,
}

impl Reader {
    /// A reader that begins with what came along with the handshake.
    pub(super) fn new(leftover: Bytes) -> Self {
        Self {
            meter: Meter::default(),
            context: None,
            leftover: (!leftover.is_empty()).then(|| Box::new(leftover)),
            fault: None,
        }
    }

    /// Whether there are bytes here that the socket will not announce.
    pub(super) fn has_bytes(&self) -> bool {
        self.context.is_some() || self.leftover.is_some()
    }

    /// The number of the fragmented message under way.
    pub(super) fn fragmented(&self) -> Option<u64> {
        self.meter.fragmented()
    }

    /// A ping leaves.
    pub(super) fn expect_pong(&mut self) {
        self.meter.expect_pong();
    }

    /// The next thing the peer sent.
    pub(super) fn next<S>(&mut self, intake: &mut Intake<'_, S>) -> Event
    where
        S: FnMut(&mut [u8]) -> io::Result<usize>,
    {
        let context = self.context.get_or_insert_with(|| {
            let config = WebSocketConfig::default()
                .read_buffer_size(READ_BUFFER_BYTES)
                .write_buffer_size(0)
                .max_message_size(Some(FRAME_BYTES_MAX))
                .max_frame_size(Some(FRAME_BYTES_MAX));
            Box::new(WebSocketContext::new(Role::Server, Some(config)))
        });
        loop {
            let mut shim = Shim {
                meter: &mut self.meter,
                leftover: &mut self.leftover,
                fault: &mut self.fault,
                intake,
            };
            let event = match context.read(&mut shim) {
                Ok(Message::Text(text)) => Event::Text(text),
                Ok(Message::Pong(_)) => Event::Pong,
                // Its pong is queued by the next read.
                Ok(Message::Ping(_) | Message::Frame(_)) => continue,
                // The meter has refused it before it could get here.
                Ok(Message::Binary(_)) => Event::Fault(CloseCode::Unsupported),
                Ok(Message::Close(frame)) => Event::Closed(close_answer(frame.as_ref())),
                Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {
                    let spent = intake.budget == 0;
                    // Every byte that was read has been parsed, so nothing is lost with the context.
                    if self.meter.is_between_messages() {
                        self.context = None;
                    }
                    return if spent { Event::Spent } else { Event::Blocked };
                }
                Err(e) => match self.fault {
                    Some(code) => Event::Fault(code),
                    None => event_of(&e),
                },
            };
            return event;
        }
    }
}

/// The peer's close frame as it is sent back: its code where it may be used, 1002 otherwise (which the codec
/// has put in its place).
fn close_answer(frame: Option<&CloseFrame>) -> Bytes {
    let mut payload = Vec::new();
    if let Some(frame) = frame {
        payload.extend_from_slice(&u16::from(frame.code).to_be_bytes());
        payload.extend_from_slice(frame.reason.as_bytes());
    }
    let mut answer = Vec::with_capacity(payload.len() + 2);
    write_frame(&mut answer, Opcode::Close, None, &payload);
    answer.into()
}

fn event_of(e: &Error) -> Event {
    match e {
        Error::Utf8(_) => Event::Fault(CloseCode::InvalidUtf8),
        Error::Capacity(CapacityError::MessageTooLong { .. }) => Event::Fault(CloseCode::TooBig),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
        | Error::Io(_)
        | Error::ConnectionClosed
        | Error::AlreadyClosed => Event::Gone,
        _ => Event::Fault(CloseCode::Protocol),
    }
}

/// What the codec takes for its stream: bytes pass the meter on their way in, and what it writes becomes an
/// entry of the connection's queue, so that a pong can never split a frame that is on its way out.
struct Shim<'a, 'b, S> {
    meter: &'a mut Meter,
    leftover: &'a mut Option<Box<Bytes>>,
    fault: &'a mut Option<CloseCode>,
    intake: &'a mut Intake<'b, S>,
}

impl<S: FnMut(&mut [u8]) -> io::Result<usize>> Read for Shim<'_, '_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.fault.is_some() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let intake = &mut *self.intake;
        let room = buf.len().min(intake.budget);
        let buf = match buf.get_mut(..room) {
            Some(buf) if room > 0 => buf,
            _ => return Err(io::ErrorKind::WouldBlock.into()),
        };
        let n = if let Some(leftover) = self.leftover.as_mut() {
            let n = room.min(leftover.len());
            leftover.copy_to_slice(buf.get_mut(..n).unwrap_or_default());
            if leftover.is_empty() {
                *self.leftover = None;
            }
            n
        } else {
            (intake.source)(buf)?
        };
        intake.budget = intake.budget.saturating_sub(n);
        let (good, fault) = self
            .meter
            .feed(buf.get(..n).unwrap_or_default(), &intake.bounds, intake.now);
        *self.fault = fault;
        // Whole messages before the fault are still read; zero would say that the peer is gone.
        if good == 0 && fault.is_some() {
            Err(io::ErrorKind::InvalidData.into())
        } else {
            Ok(good)
        }
    }
}

impl<S> Write for Shim<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.intake.connection.queue_control(bytes);
        self.intake.queued = true;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::core::rate::Rate;
    use crate::hub::{MemoryWire, Wire};

    const MASK: Option<[u8; 4]> = Some([7, 1, 200, 9]);

    fn connection() -> (Arc<Connection>, MemoryWire) {
        let wire = MemoryWire::new(usize::MAX);
        let connection = Connection::new(
            1,
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            Wire::Memory(wire.clone()),
            256 * 1024,
            0,
        );
        (connection, wire)
    }

    fn bounds() -> Bounds {
        Bounds {
            fragments_max: 64,
            control_rate: Rate::UNLIMITED,
        }
    }

    /// Feeds `parts`, one per wake, and writes down what came of it.
    fn run(leftover: &[u8], parts: &[&[u8]]) -> (Vec<String>, Reader, MemoryWire) {
        let (connection, wire) = connection();
        let mut reader = Reader::new(Bytes::copy_from_slice(leftover));
        let mut log = Vec::new();
        for part in std::iter::once(&[][..]).chain(parts.iter().copied()) {
            let mut rest = part;
            let source = |buf: &mut [u8]| match rest.read(buf) {
                Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
                other => other,
            };
            let mut intake = Intake {
                source,
                connection: &connection,
                bounds: bounds(),
                budget: 1 << 16,
                now: 0,
                queued: false,
            };
            loop {
                match reader.next(&mut intake) {
                    Event::Blocked => break,
                    Event::Text(text) => log.push(format!("text {}", &text[..text.len().min(20)])),
                    Event::Spent => log.push("spent".into()),
                    ended @ (Event::Closed(_) | Event::Fault(_) | Event::Gone) => {
                        log.push(format!("{ended:?}"));
                        connection.flush();
                        return (log, reader, wire);
                    }
                    Event::Pong => log.push("pong".into()),
                }
            }
        }
        connection.flush();
        (log, reader, wire)
    }

    fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_frame(&mut out, opcode, MASK, payload);
        out
    }

    /// A conversation with every kind of frame, a fragmented message and a ping inside it.
    fn conversation() -> Vec<u8> {
        let mut first = frame(Opcode::Text, b"{\"a\":");
        first[0] &= 0x7f;
        [
            frame(Opcode::Text, b"one"),
            first,
            frame(Opcode::Ping, b"are you there"),
            frame(Opcode::Continuation, "é}".as_bytes()),
            frame(Opcode::Pong, b""),
            frame(Opcode::Text, &[b'x'; 5_000]),
        ]
        .concat()
    }

    const SAID: [&str; 4] = ["text one", "text {\"a\":é}", "pong", "text xxxxxxxxxxxxxxxxxxxx"];

    #[test]
    fn every_cut_reads_the_same_and_leaves_no_buffer() {
        let bytes = conversation();
        for cut in 0..=bytes.len() {
            let (a, b) = bytes.split_at(cut);
            let (log, reader, wire) = run(&[], &[a, b]);
            assert_eq!(log, SAID, "cut at {cut}");
            assert!(reader.context.is_none(), "cut at {cut}");
            assert_eq!(wire.taken(), [&[0x8a, 13][..], b"are you there"].concat());
        }
    }

    #[test]
    fn what_came_with_the_handshake_is_read_first() {
        let bytes = conversation();
        for cut in [0, 1, 5, 20, bytes.len()] {
            let (a, b) = bytes.split_at(cut);
            assert_eq!(run(a, &[b]).0, SAID, "cut at {cut}");
        }
    }

    #[test]
    fn the_buffer_lives_while_a_message_is_inside_it() {
        let bytes = frame(Opcode::Text, &[b'x'; 3_000]);
        let (_, reader, _) = run(&[], &[&bytes[..2_000]]);
        assert!(reader.context.is_some());
        let (_, reader, _) = run(&[], &[&bytes[..2_000], &bytes[2_000..]]);
        assert!(reader.context.is_none());
    }

    #[test]
    fn a_fault_comes_after_what_was_said_before_it() {
        for (bad, code) in [
            (&[0x82, 0x80, 0, 0, 0, 0][..], "Fault(Unsupported)"),
            (&[0x81, 0x00], "Fault(Protocol)"),
            (&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], "Fault(TooBig)"),
            (&[0x81, 0x81, 0, 0, 0, 0, 0xff], "Fault(InvalidUtf8)"),
            (&[0x88, 0x81, 0, 0, 0, 0, 0x03], "Fault(Protocol)"),
            (&[0x88, 0x83, 0, 0, 0, 0, 0x03, 0xe8, 0xff], "Fault(InvalidUtf8)"),
        ] {
            let bytes = [&frame(Opcode::Text, b"one")[..], bad].concat();
            assert_eq!(run(&[], &[&bytes]).0, ["text one", code], "{bad:?}");
        }
    }

    #[test]
    fn the_peers_close_is_answered_with_its_code() {
        let answer = |payload: &[u8]| {
            let (log, ..) = run(&[], &[&frame(Opcode::Close, payload)]);
            log.first().cloned().unwrap_or_default()
        };
        assert_eq!(answer(b""), r#"Closed(b"\x88\0")"#);
        assert_eq!(
            answer(&[0x0f, 0xa0, b'o', b'k']),
            r#"Closed(b"\x88\x04\x0f\xa0ok")"#
        );
        for forbidden in [999_u16, 1005, 1006, 1015, 1016, 2999, 5000] {
            let answered = answer(&forbidden.to_be_bytes());
            assert!(
                answered.contains(r"\x03\xea"),
                "{forbidden} was answered with {answered}"
            );
        }
    }

    #[test]
    fn one_wake_reads_so_much_and_no_more() {
        let (connection, _) = connection();
        let mut reader = Reader::new(Bytes::new());
        let bytes = frame(Opcode::Text, &[b'x'; 1_000]).repeat(10);
        let mut rest = &bytes[..];
        let mut intake = Intake {
            source: |buf: &mut [u8]| rest.read(buf),
            connection: &connection,
            bounds: bounds(),
            budget: 2_500,
            now: 0,
            queued: false,
        };
        let mut texts = 0;
        loop {
            match reader.next(&mut intake) {
                Event::Text(_) => texts += 1,
                Event::Spent => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((texts, intake.budget), (2, 0));
        assert_eq!(rest.len(), bytes.len() - 2_500);
    }

    proptest! {
        #[test]
        fn chopping_changes_nothing(cuts in prop::collection::vec(0_usize..5_200, 0..20)) {
            let bytes = conversation();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut parts = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([bytes.len()]) {
                parts.push(&bytes[from..cut]);
                from = cut;
            }
            prop_assert_eq!(run(&[], &parts).0, SAID);
        }

        /// Random bytes end in some event and never in a panic.
        #[test]
        fn nothing_in_the_bytes_can_panic(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            run(&[], &parts);
        }
    }
}
