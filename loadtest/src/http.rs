//! A blocking HTTP/1.1 client for a handful of calls: one connection, kept alive, opened again once when the
//! server has closed it in between.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use serde::Serialize;

use crate::clock::{self, Nanos};
use crate::engine::socket::{Mode, open};
use crate::engine::upgrade::header;
use crate::error::{Error, Result};
use crate::target::Target;

/// Longest time from a request to the end of its answer, connecting included, unless a client has its own.
const EXCHANGE_MAX: Duration = Duration::from_secs(30);
/// Longest head and longest body of an answer, bytes.
pub(crate) const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// An answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// `Retry-After`, seconds.
    pub after_s: Option<u64>,
    pub body: Vec<u8>,
}

/// One keep-alive connection to the target.
pub struct Client {
    target: Target,
    source: Option<Ipv4Addr>,
    exchange_max: Duration,
    stream: Option<BufReader<Timed>>,
}

impl Client {
    /// A client that connects from `source` when it is first used.
    pub fn new(target: Target, source: Option<Ipv4Addr>) -> Client {
        Client {
            target,
            source,
            exchange_max: EXCHANGE_MAX,
            stream: None,
        }
    }

    /// The same, which waits at most this long for a whole answer.
    #[must_use]
    pub fn patient_for(self, exchange_max: Duration) -> Client {
        Client { exchange_max, ..self }
    }

    /// Posts `body` as JSON.
    pub fn post<T: Serialize>(&mut self, path: &str, body: &T) -> Result<Response> {
        let call = || format!("POST {path}");
        let body = serde_json::to_vec(body).map_err(|e| Error::Http {
            call: call(),
            why: e.to_string(),
        })?;
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.target.authority,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(&body);
        self.call(&request).map_err(|e| Error::Http {
            call: call(),
            why: e.to_string(),
        })
    }

    /// Gets what is at the target's path.
    pub fn get(&mut self) -> std::io::Result<Response> {
        let Target { authority, path, .. } = &self.target;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\n\r\n");
        self.call(request.as_bytes())
    }

    fn call(&mut self, request: &[u8]) -> std::io::Result<Response> {
        let reused = self.stream.is_some();
        match self.exchange(request) {
            // A kept connection may have been closed by the server at any time.
            Err(e) if reused && e.kind() != ErrorKind::TimedOut => self.exchange(request),
            result => result,
        }
    }

    fn exchange(&mut self, request: &[u8]) -> std::io::Result<Response> {
        let until = clock::now() + nanos(self.exchange_max);
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => BufReader::new(Timed {
                stream: self.connect()?,
                until,
            }),
        };
        stream.get_mut().until = until;
        stream.get_mut().write_all(request)?;
        let (response, keep) = read_response(&mut stream)?;
        if keep {
            self.stream = Some(stream);
        }
        Ok(response)
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        match self.source {
            Some(source) => Ok(open(self.target.addr, Some(source), Mode::Blocking)?.into()),
            // It may be far away, and nobody there.
            None => TcpStream::connect_timeout(&self.target.addr, self.exchange_max),
        }
    }
}

/// A socket that nobody waits for beyond an instant.
struct Timed {
    stream: TcpStream,
    until: Nanos,
}

impl Timed {
    fn left(&self) -> std::io::Result<Option<Duration>> {
        match self.until.saturating_sub(clock::now()) {
            0 => Err(late()),
            left => Ok(Some(Duration::from_nanos(left))),
        }
    }
}

fn nanos(span: Duration) -> Nanos {
    Nanos::try_from(span.as_nanos()).unwrap_or(Nanos::MAX / 2)
}

fn late() -> std::io::Error {
    std::io::Error::new(ErrorKind::TimedOut, "no whole answer in time")
}

/// What a socket says when its time is over.
fn in_time(e: std::io::Error) -> std::io::Error {
    if e.kind() == ErrorKind::WouldBlock {
        late()
    } else {
        e
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer).map_err(in_time)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes).map_err(in_time)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

fn invalid(why: &str) -> std::io::Error {
    std::io::Error::new(ErrorKind::InvalidData, why.to_owned())
}

/// Reads one answer; the flag says whether the connection can be used again.
fn read_response<R: BufRead>(stream: &mut R) -> std::io::Result<(Response, bool)> {
    let mut head = String::new();
    loop {
        let start = head.len();
        let bound = (ANSWER_BYTES_MAX - start) as u64;
        if stream.by_ref().take(bound).read_line(&mut head)? == 0 {
            return Err(invalid("the answer ended in its head"));
        }
        if &head[start..] == "\r\n" {
            break;
        }
    }
    let status = head
        .get(9..12)
        .and_then(|code| code.parse().ok())
        .filter(|_| head.starts_with("HTTP/1.1 "))
        .ok_or_else(|| invalid("the answer is not HTTP/1.1"))?;
    let length: Option<usize> = header(&head, "content-length").and_then(|v| v.parse().ok());
    let chunked = header(&head, "transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
    let mut body = Vec::new();
    let mut keep = !header(&head, "connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
    if chunked {
        read_chunks(stream, &mut body)?;
    } else if let Some(length) = length {
        if length > ANSWER_BYTES_MAX {
            return Err(invalid("the answer is too long"));
        }
        body.resize(length, 0);
        stream.read_exact(&mut body)?;
    } else if status != 204 && status != 304 {
        let most = ANSWER_BYTES_MAX as u64 + 1;
        if stream.by_ref().take(most).read_to_end(&mut body)? > ANSWER_BYTES_MAX {
            return Err(invalid("the answer is too long"));
        }
        keep = false;
    }
    let after_s = header(&head, "retry-after").and_then(|v| v.parse().ok());
    Ok((
        Response {
            status,
            after_s,
            body,
        },
        keep,
    ))
}

fn read_chunks<R: BufRead>(stream: &mut R, body: &mut Vec<u8>) -> std::io::Result<()> {
    loop {
        let mut line = String::new();
        stream.by_ref().take(64).read_line(&mut line)?;
        let size = line.trim().split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(|_| invalid("a chunk without a size"))?;
        if body.len() + size > ANSWER_BYTES_MAX {
            return Err(invalid("the answer is too long"));
        }
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..])?;
        let mut end = String::new();
        stream.by_ref().take(2).read_line(&mut end)?;
        if end != "\r\n" {
            return Err(invalid("a chunk without its end"));
        }
        if size == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_with_length_in_chunks_and_to_the_end() {
        let read = |text: &str| {
            let mut bytes = text.as_bytes();
            let (response, keep) = read_response(&mut bytes).unwrap();
            (
                response.status,
                String::from_utf8(response.body).unwrap(),
                keep,
                bytes.len(),
            )
        };
        assert_eq!(
            read("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}next"),
            (201, "{}".to_owned(), true, 4)
        );
        assert_eq!(
            read("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{\"\r\n3\r\na\"}\r\n0\r\n\r\n"),
            (200, "{\"a\"}".to_owned(), true, 0)
        );
        assert_eq!(
            read("HTTP/1.1 429 Slow\r\nconnection: close\r\nretry-after: 3\r\ncontent-length: 0\r\n\r\n"),
            (429, String::new(), false, 0)
        );
        assert_eq!(
            read("HTTP/1.1 200 OK\r\n\r\nall of it"),
            (200, "all of it".to_owned(), false, 0)
        );
        for bad in ["", "HTTP/1.1 200 OK\r\n", "SSH-2.0\r\n\r\n"] {
            assert!(read_response(&mut bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
