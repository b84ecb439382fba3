//! The floor's one ready-made frame per room: a `message` push of a given wire length, patched in place
//! with offset and stamp.

use countersign_protocol::codec::json_frame;

use crate::error::{Error, Result};
use crate::wire::scan::write_padded;
use crate::wire::stamp::{BODY_BYTES_MIN, STAMP_BYTES, Stamp, body};

/// Width of the offset in the frame, bytes.
const OFFSET_BYTES: usize = 20;

/// A frame and where it is patched.
#[derive(Debug, Clone)]
pub(super) struct ReadyFrame {
    bytes: Vec<u8>,
    offset_at: usize,
    stamp_at: usize,
}

impl ReadyFrame {
    /// The shortest frame there is for `room`, bytes, header included.
    pub(super) fn bytes_min(room: &str) -> usize {
        let (head, tail) = around(room);
        head.len() + OFFSET_BYTES + tail.len() + 1 + BODY_BYTES_MIN + 4
    }

    /// A frame of exactly `wire_bytes`, header included, for `room`.
    pub(super) fn new(room: &str, wire_bytes: usize) -> Result<ReadyFrame> {
        let (head, tail) = around(room);
        let around = head.len() + OFFSET_BYTES + tail.len() + 1;
        let shortest = ReadyFrame::bytes_min(room);
        // Lengths of 125 and 65,535 change the header's own length; 4 covers what is used here.
        if wire_bytes < shortest || wire_bytes > 65_535 {
            return Err(Error::Usage(format!(
                "a floor frame for room {room} has {shortest} to 65,535 bytes, not {wire_bytes}"
            )));
        }
        let (text, stamp_in_body) = body(wire_bytes - 4 - around);
        let mut json = head.into_bytes();
        let offset_in_json = json.len();
        json.resize(offset_in_json + OFFSET_BYTES, b' ');
        write_padded(0, &mut json[offset_in_json..]);
        json.extend_from_slice(tail.as_bytes());
        let stamp_in_json = json.len() + stamp_in_body;
        json.extend_from_slice(&text);
        json.push(b'}');
        let bytes = json_frame(&json);
        let header = bytes.len() - json.len();
        Ok(ReadyFrame {
            bytes,
            offset_at: header + offset_in_json,
            stamp_at: header + stamp_in_json,
        })
    }

    /// The frame with this offset and stamp.
    pub(super) fn with(&mut self, offset: u64, stamp: &Stamp) -> &[u8] {
        write_padded(
            offset,
            &mut self.bytes[self.offset_at..self.offset_at + OFFSET_BYTES],
        );
        stamp.write(&mut self.bytes[self.stamp_at..self.stamp_at + STAMP_BYTES]);
        &self.bytes
    }
}

/// What stands before and after the offset, the closing brace left out.
fn around(room: &str) -> (String, &'static str) {
    let head = format!("{{\"type\":\"message\",\"room\":\"{room}\",\"offset\":");
    (head, ",\"at_ms\":0,\"from\":null,\"body\":")
}

/// Appends the frame of an `ok` to command `id`, which got `offset`.
pub(super) fn push_ok(out: &mut Vec<u8>, id: u64, offset: u64) {
    // Header of a short frame; its length is known at the end.
    let start = out.len();
    out.extend_from_slice(&[0x81, 0]);
    out.extend_from_slice(b"{\"id\":");
    push_digits(out, id);
    out.extend_from_slice(b",\"type\":\"ok\",\"offset\":");
    push_digits(out, offset);
    out.push(b'}');
    // Two numbers of at most 20 digits: 70 bytes at most.
    out[start + 1] = u8::try_from(out.len() - start - 2).unwrap_or(125);
}

fn push_digits(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_protocol::codec::Header;
    use countersign_protocol::server::MessagePush;
    use serde_json::Value;

    #[test]
    fn frames_have_the_length_asked_for_and_are_messages() {
        let stamp = Stamp {
            run: 1,
            number: 2,
            intended_at: 3,
        };
        for bytes in [200, 287, 4_000, 65_535] {
            let mut frame = ReadyFrame::new("default:r", bytes).unwrap();
            for offset in [1, u64::MAX] {
                let bytes_now = frame.with(offset, &stamp).to_vec();
                assert_eq!(bytes_now.len(), bytes);
                let header = Header::parse(&bytes_now).unwrap().unwrap();
                assert_eq!(header.len + usize::try_from(header.payload).unwrap(), bytes);
                let push: MessagePush<'_> = serde_json::from_slice(&bytes_now[header.len..]).unwrap();
                assert_eq!((&*push.room, push.offset), ("default:r", offset));
                assert_eq!(Stamp::read(&push.body.get().as_bytes()[7..]), Some(stamp));
            }
        }
        let least = ReadyFrame::bytes_min("default:r");
        assert!(ReadyFrame::new("default:r", least).is_ok());
        assert!(ReadyFrame::new("default:r", least - 1).is_err());
        assert!(ReadyFrame::new("default:r", 70_000).is_err());
    }

    #[test]
    fn an_ok_is_a_frame() {
        for (id, offset) in [(0, 0), (1_000_000_007, 12), (u64::MAX, u64::MAX)] {
            let mut out = vec![7];
            push_ok(&mut out, id, offset);
            let header = Header::parse(&out[1..]).unwrap().unwrap();
            assert_eq!(
                1 + header.len + usize::try_from(header.payload).unwrap(),
                out.len()
            );
            let value: Value = serde_json::from_slice(&out[1 + header.len..]).unwrap();
            assert_eq!(
                (value["id"].as_u64(), value["offset"].as_u64()),
                (Some(id), Some(offset))
            );
        }
    }
}
