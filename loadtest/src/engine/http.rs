//! Requests and answers of HTTP/1.1 on connections of the engine: kept open, one request at a time or several.

use std::net::Ipv4Addr;

use super::connection::{OUT_BYTES_MAX, Phase};
use super::{Ended, Handler, Io};
use crate::clock::Nanos;
use crate::error::Result;
use crate::target::Target;

/// Longest head of an answer, bytes.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Longest body of an answer, bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// An answer, whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response<'a> {
    pub status: u16,
    /// `Retry-After`, seconds.
    pub after_s: Option<u64>,
    /// Whether the server leaves the connection open.
    pub keep: bool,
    pub body: &'a [u8],
}

/// What stands at the start of what has arrived.
#[derive(Debug, PartialEq, Eq)]
enum Next<'a> {
    /// Not whole yet.
    More,
    /// An answer, and the bytes it takes.
    Whole(Response<'a>, usize),
    /// Nothing that is read here.
    Broken(&'static str),
}

impl Io {
    /// Begins a connection for requests of HTTP, which may be handed to it at once.
    pub fn dial(&mut self, member: usize, target: &Target, source: Option<Ipv4Addr>) -> Result<()> {
        self.begin(member, target, source, Phase::Dialing, None)
    }

    /// Queues a request, ready-made, on a connection of [`Io::dial`]. False: there is none, or too much waits on it
    /// already.
    pub fn request(&mut self, member: usize, request: &[u8]) -> bool {
        let connected = match self.socket(member) {
            Some(s) if s.out.len() + request.len() > OUT_BYTES_MAX => return false,
            Some(s) if matches!(s.phase, Phase::Dialing | Phase::Http) => {
                s.out.extend_from_slice(request);
                matches!(s.phase, Phase::Http)
            }
            _ => return false,
        };
        if connected {
            self.mark_dirty(member);
        }
        self.traffic.requests += 1;
        true
    }

    pub(super) fn is_http(&self, member: usize) -> bool {
        matches!(self.phase(member), Some(Phase::Http))
    }
}

/// Hands every whole answer in `bytes` on; returns how much they were.
pub(super) fn walk<H: Handler>(
    io: &mut Io,
    handler: &mut H,
    member: usize,
    bytes: &[u8],
    at: Nanos,
) -> Result<usize, Ended> {
    let mut used = 0;
    loop {
        // Its handler may have dropped it, and begun another connection in its place.
        if !io.is_http(member) {
            return Ok(bytes.len());
        }
        match next(&bytes[used..]) {
            Next::More => return Ok(used),
            Next::Whole(response, n) => {
                used += n;
                io.traffic.answers += 1;
                handler.answered(io, member, &response, at);
            }
            Next::Broken(why) => return Err(Ended::Failed(why.to_owned())),
        }
    }
}

fn next(bytes: &[u8]) -> Next<'_> {
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        return if bytes.len() > HEAD_BYTES_MAX {
            Next::Broken("the answer's head does not end")
        } else {
            Next::More
        };
    };
    let Ok(head) = std::str::from_utf8(&bytes[..end]) else {
        return Next::Broken("the answer is not text");
    };
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse::<u16>().ok());
    let Some(status) = status else {
        return Next::Broken("the answer is not HTTP/1.1");
    };
    let (mut length, mut after_s, mut keep) = (None, None, true);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse::<usize>().ok();
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Next::Broken("an answer in chunks, which the tester does not read here");
        } else if name.eq_ignore_ascii_case("retry-after") {
            after_s = value.parse().ok();
        } else if name.eq_ignore_ascii_case("connection") {
            keep = !value.eq_ignore_ascii_case("close");
        }
    }
    let length = match length {
        Some(length) if length <= BODY_BYTES_MAX => length,
        Some(_) => return Next::Broken("an answer longer than the tester reads"),
        None if matches!(status, 204 | 304) => 0,
        None => return Next::Broken("an answer without its length"),
    };
    let from = end + 4;
    match bytes.get(from..from + length) {
        Some(body) => Next::Whole(
            Response {
                status,
                after_s,
                keep,
                body,
            },
            from + length,
        ),
        None => Next::More,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_whole_or_not_yet() {
        let text = "HTTP/1.1 429 Too Many\r\nContent-Length: 2\r\nRetry-After: 3\r\nconnection: Close\r\n\r\n{}HTTP/1.1 2";
        let whole = text.len() - "HTTP/1.1 2".len();
        let response = Response {
            status: 429,
            after_s: Some(3),
            keep: false,
            body: b"{}",
        };
        assert_eq!(next(text.as_bytes()), Next::Whole(response, whole));
        for cut in 0..whole {
            assert_eq!(next(&text.as_bytes()[..cut]), Next::More, "{cut}");
        }
        let empty = b"HTTP/1.1 204 No Content\r\n\r\n";
        assert!(matches!(next(empty), Next::Whole(r, 27) if r.status == 204 && r.keep && r.body.is_empty()));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for text in [
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n",
        ] {
            assert!(matches!(next(text.as_bytes()), Next::Broken(_)), "{text}");
        }
        assert!(matches!(next(&[b'x'; HEAD_BYTES_MAX + 1]), Next::Broken(_)));
    }
}
