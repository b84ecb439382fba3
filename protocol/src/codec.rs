//! WebSocket frame headers (RFC 6455 §5.2) and the two envelopes of JSON around them.

use std::io::Write;

use serde::Serialize;

use crate::close::CloseCode;

/// Frame opcodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return None,
        })
    }

    /// Whether frames of this kind may stand inside a fragmented message.
    pub const fn is_control(self) -> bool {
        (self as u8) & 0x8 != 0
    }
}

/// What a frame's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub opcode: Opcode,
    pub fin: bool,
    pub mask: Option<[u8; 4]>,
    /// Payload length, bytes, as declared.
    pub payload: u64,
    /// Length of the header itself, bytes: 2 to 14.
    pub len: usize,
}

impl Header {
    /// Reads a header from the start of `bytes`. `Ok(None)`: more bytes are needed.
    ///
    /// # Errors
    /// When a reserved bit or opcode is used, or the length has its top bit set.
    #[allow(clippy::result_unit_err)]
    pub fn parse(bytes: &[u8]) -> Result<Option<Header>, ()> {
        let [first, second, ..] = *bytes else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(());
        }
        let opcode = Opcode::from_bits(first & 0x0f).ok_or(())?;
        let (payload, mut len) = match second & 0x7f {
            126 => match bytes.get(2..4) {
                Some(&[a, b]) => (u64::from(u16::from_be_bytes([a, b])), 4),
                _ => return Ok(None),
            },
            127 => match bytes.get(2..10).and_then(|b| b.try_into().ok()) {
                Some(be) => (u64::from_be_bytes(be), 10),
                None => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        if payload >> 63 != 0 {
            return Err(());
        }
        let mut mask = None;
        if second & 0x80 != 0 {
            let Some(key) = bytes.get(len..len + 4).and_then(|b| b.try_into().ok()) else {
                return Ok(None);
            };
            mask = Some(key);
            len += 4;
        }
        Ok(Some(Header {
            opcode,
            fin: first & 0x80 != 0,
            mask,
            payload,
            len,
        }))
    }
}

/// Appends one whole frame. Servers pass no mask, clients must.
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, mask: Option<[u8; 4]>, payload: &[u8]) {
    out.push(0x80 | opcode as u8);
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        n @ 0..=125 => out.push(masked | u8::try_from(n).unwrap_or(0)),
        n @ 126..=0xffff => {
            out.push(masked | 126);
            out.extend_from_slice(&u16::try_from(n).unwrap_or(0).to_be_bytes());
        }
        n => {
            out.push(masked | 127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    match mask {
        None => out.extend_from_slice(payload),
        Some(key) => {
            out.extend_from_slice(&key);
            let start = out.len();
            out.extend_from_slice(payload);
            for (i, byte) in out[start..].iter_mut().enumerate() {
                *byte ^= key[i & 3];
            }
        }
    }
}

/// A text frame as a server sends it: header and JSON of `value`. A value that cannot be written as
/// JSON (none of this crate's) becomes an empty object.
pub fn text_frame<T: Serialize>(value: &T) -> Vec<u8> {
    framed(value, FRAME_BYTES_USUAL)
}

/// [`text_frame`] of a value whose frame is known to have `bytes` bytes, header included: written in place, into a
/// buffer of just that size. A wrong guess costs time and nothing else.
pub fn text_frame_of<T: Serialize>(value: &T, bytes: usize) -> Vec<u8> {
    framed(value, bytes)
}

/// JSON behind room for the header that a frame of `bytes` bytes has, moved only when it turns out to have another.
fn framed<T: Serialize>(value: &T, bytes: usize) -> Vec<u8> {
    framed_by(bytes, |out| {
        let at = out.len();
        if serde_json::to_writer(&mut *out, value).is_err() {
            out.truncate(at);
            out.extend_from_slice(b"{}");
        }
    })
}

fn framed_by(bytes: usize, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let room = if bytes <= SHORT_BYTES_MAX { 2 } else { 4 };
    let mut out = Vec::with_capacity(bytes);
    out.resize(room, 0);
    write(&mut out);
    let payload = out.len() - room;
    let text = 0x80 | Opcode::Text as u8;
    match (out.as_mut_slice(), u8::try_from(payload), u16::try_from(payload)) {
        ([head, len, ..], Ok(short @ 0..=125), _) if room == 2 => [*head, *len] = [text, short],
        ([head, mark, high, low, ..], _, Ok(long @ 126..)) if room == 4 => {
            [*head, *mark] = [text, 126];
            [*high, *low] = long.to_be_bytes();
        }
        _ => return json_frame(out.get(room..).unwrap_or_default()),
    }
    out
}

/// Longest frame whose header has 2 bytes. Up to 65,539 bytes an unmasked one has 4.
const SHORT_BYTES_MAX: usize = 127;
/// Most frames are shorter; longer ones grow. A message with a body of 128 bytes has about 280.
const FRAME_BYTES_USUAL: usize = 512;

/// A text frame as a server sends it, around JSON that exists already.
pub fn json_frame(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() + 10);
    write_frame(&mut out, Opcode::Text, None, json);
    out
}

/// One server-sent event: its id, and the JSON of `value` as its only line of data. JSON has no line ends.
pub fn event_text<T: Serialize>(id: u64, value: &T) -> Vec<u8> {
    let json = json(value);
    let mut out = Vec::with_capacity(json.len() + 32);
    out.extend_from_slice(format!("id: {id}\ndata: ").as_bytes());
    out.extend_from_slice(&json);
    out.extend_from_slice(b"\n\n");
    out
}

/// A server-sent comment: what says nothing and shows that the stream lives.
pub const EVENT_COMMENT: &[u8] = b":\n\n";

/// A close frame as a server sends it.
pub fn close_frame(code: CloseCode) -> Vec<u8> {
    let mut payload = code.code().to_be_bytes().to_vec();
    payload.extend_from_slice(code.reason().as_bytes());
    let mut out = Vec::with_capacity(payload.len() + 2);
    write_frame(&mut out, Opcode::Close, None, &payload);
    out
}

/// The JSON of an `ok` reply: `{"id":…,"type":"ok",` and then the fields of `body`, which must
/// serialise as an object.
pub fn ok_json<T: Serialize>(id: u64, body: &T) -> Vec<u8> {
    numbered_json(id, "ok", body)
}

/// The frame of [`ok_json`], written in place if it is short, as most answers are.
pub fn ok_frame<T: Serialize>(id: u64, body: &T) -> Vec<u8> {
    framed_by(SHORT_BYTES_MAX, |out| numbered(out, id, "ok", body))
}

/// The JSON of a command as a client sends it: `{"id":…,"type":…,` and then the fields of `body`.
pub fn command_json<T: Serialize>(id: u64, kind: &str, body: &T) -> Vec<u8> {
    numbered_json(id, kind, body)
}

fn numbered_json<T: Serialize>(id: u64, kind: &str, body: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(SHORT_BYTES_MAX);
    numbered(&mut out, id, kind, body);
    out
}

fn numbered<T: Serialize>(out: &mut Vec<u8>, id: u64, kind: &str, body: &T) {
    // A vector takes everything.
    let _ = write!(out, "{{\"id\":{id},\"type\":\"{kind}\"");
    let at = out.len();
    let written = serde_json::to_writer(&mut *out, body).is_ok();
    match out.get_mut(at..) {
        Some([b'{', b'}']) => {
            out.truncate(at);
            out.push(b'}');
        }
        Some([brace @ b'{', ..]) if written => *brace = b',',
        _ => {
            out.truncate(at);
            out.push(b'}');
        }
    }
}

/// JSON of one of this crate's values; they all serialise, so the fallback is never seen.
pub fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|_| b"{}".to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ok_takes_the_fields_of_its_body() {
        #[derive(Serialize)]
        struct Value {
            value: u64,
        }
        assert_eq!(
            ok_json(3, &Value { value: 9 }),
            br#"{"id":3,"type":"ok","value":9}"#
        );
        assert_eq!(ok_json(3, &crate::client::Empty {}), br#"{"id":3,"type":"ok"}"#);
    }

    #[test]
    fn an_event_is_one_line_of_data_whatever_it_says() {
        #[derive(Serialize)]
        struct Value {
            name: &'static str,
        }
        assert_eq!(
            event_text(
                4,
                &Value {
                    name: "a\nid: 9\r\n\nb"
                }
            ),
            b"id: 4\ndata: {\"name\":\"a\\nid: 9\\r\\n\\nb\"}\n\n"
        );
    }

    #[test]
    fn a_frame_is_the_same_whatever_length_was_expected() {
        for payload in [2, 100, 124, 125, 126, 127, 130, 600, 65_535, 65_536] {
            let text = "x".repeat(payload - 2);
            let right = json_frame(&json(&text));
            assert_eq!(text_frame(&text), right, "{payload}");
            for expected in [0, 2, 126, 127, 128, 129, 600, right.len()] {
                assert_eq!(text_frame_of(&text, expected), right, "{payload}, not {expected}");
            }
        }
    }

    #[test]
    fn an_answers_frame_is_its_json_framed_at_any_length() {
        #[derive(Serialize)]
        struct Value {
            text: String,
        }
        for text in [
            0, 60, 80, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 120, 70_000,
        ] {
            let value = Value {
                text: "x".repeat(text),
            };
            for id in [0, 7, u64::MAX] {
                assert_eq!(ok_frame(id, &value), json_frame(&ok_json(id, &value)), "{text}");
            }
        }
        assert_eq!(
            ok_frame(3, &()),
            json_frame(br#"{"id":3,"type":"ok"}"#),
            "what has no fields"
        );
    }

    #[test]
    fn reserved_bits_and_lengths_are_refused() {
        assert_eq!(Header::parse(&[0xc1, 0x00]), Err(()));
        assert_eq!(Header::parse(&[0x83, 0x00]), Err(()));
        assert_eq!(Header::parse(&[0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]), Err(()));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(len in 0_usize..70_000, mask in any::<Option<[u8; 4]>>()) {
            let payload: Vec<u8> = (0_u8..251).cycle().take(len).collect();
            let mut out = Vec::new();
            write_frame(&mut out, Opcode::Text, mask, &payload);
            let header = Header::parse(&out).unwrap().unwrap();
            prop_assert_eq!(header.payload, len as u64);
            prop_assert_eq!(header.mask, mask);
            prop_assert_eq!(out.len(), header.len + len);
            for cut in 0..header.len.min(out.len()) {
                prop_assert_eq!(Header::parse(&out[..cut]), Ok(None));
            }
            let key = mask.unwrap_or_default();
            let body: Vec<u8> = out[header.len..].iter().enumerate().map(|(i, b)| b ^ key[i & 3]).collect();
            prop_assert_eq!(body, payload);
        }
    }
}
