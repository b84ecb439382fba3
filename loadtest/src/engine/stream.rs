//! A stream of bytes in binary frames that end anywhere in it. It is taken out of its frames where it
//! stands in the read buffer: what is not used yet moves over the next frame's header, so that a delivery
//! costs no copy and an idle connection no buffer.

use countersign_protocol::codec::{Header, Opcode};

use super::connection::{Ended, Io};
use super::inbound::Walk;
use super::{FRAME_BYTES_MAX, Handler};
use crate::clock::Nanos;

/// How far the stream is taken out of its frames.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Bytes at the start of what is kept that are stream already.
    ready: usize,
    /// Bytes of the current frame's payload that have not arrived.
    left: usize,
}

/// Hands on all that has arrived in `bytes`; returns how much of it is done with.
pub(super) fn walk<H: Handler>(
    io: &mut Io,
    handler: &mut H,
    member: usize,
    bytes: &mut [u8],
    at: Nanos,
) -> Result<usize, Ended> {
    let Some(&mut Stream { ready, mut left }) = io.stream(member) else {
        return Ok(bytes.len());
    };
    // From `start` to `end` stands stream that is not used; behind it come frames.
    let (mut start, mut end) = (0, ready);
    loop {
        let more = left.min(bytes.len() - end);
        end += more;
        left -= more;
        if more > 0 {
            start += handler
                .stream(io, member, &bytes[start..end], at)
                .min(end - start);
        }
        if end - start > FRAME_BYTES_MAX {
            return Err(Ended::Failed(
                "a stream whose parts are larger than the tester reads".to_owned(),
            ));
        }
        if io.descriptor(member).is_none() {
            return Ok(bytes.len());
        }
        if left > 0 {
            break;
        }
        let Some((skip, payload)) = next_frame(io, member, &bytes[end..])? else {
            break;
        };
        bytes.copy_within(start..end, start + skip);
        start += skip;
        end += skip;
        left = payload;
    }
    if let Some(stream) = io.stream(member) {
        *stream = Stream {
            ready: end - start,
            left,
        };
    }
    Ok(start)
}

/// The frame at the start of `bytes`: how much of it is no stream, and how much payload follows that.
/// Control frames are handled here and have no payload. `None`: more bytes are needed.
fn next_frame(io: &mut Io, member: usize, bytes: &[u8]) -> Result<Option<(usize, usize)>, Ended> {
    let broken = |why: &str| Ended::Failed(why.to_owned());
    let header = match Header::parse(bytes) {
        Ok(Some(header)) => header,
        Ok(None) => return Ok(None),
        Err(()) => return Err(broken("a frame header that RFC 6455 does not have")),
    };
    match header.opcode {
        Opcode::Binary | Opcode::Continuation => {
            if header.mask.is_some() {
                return Err(broken("a masked frame from a server"));
            }
            let payload = usize::try_from(header.payload).map_err(|_| broken("a frame without an end"))?;
            io.frames += 1;
            io.bytes += (header.len + payload) as u64;
            Ok(Some((header.len, payload)))
        }
        Opcode::Text => Err(broken("a text frame where a stream was expected")),
        Opcode::Ping | Opcode::Pong | Opcode::Close => match io.frame(member, bytes)? {
            Walk::Skip(whole) => Ok(Some((whole, 0))),
            _ => Ok(None),
        },
    }
}
