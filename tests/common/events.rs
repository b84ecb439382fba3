//! A reader of server-sent events, as they come.

use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::http::{Answer, Request};
use super::within;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: u32,
    pub data: Value,
}

/// A stream that is being read.
pub struct Events {
    stream: TcpStream,
    pub head: Answer,
    /// As it came, not unchunked yet.
    raw: Vec<u8>,
    text: String,
    /// The last chunk has come: the gateway ended it, not the line.
    pub finished: bool,
    pub comments: usize,
}

impl Events {
    /// Asks for a stream.
    pub async fn open(request: Request) -> Self {
        match Self::ask(request).await {
            Ok(events) => events,
            Err(answer) => panic!("no stream but {}: {}", answer.status, answer.text()),
        }
    }

    /// Asks for a stream; anything but one is an error.
    pub async fn ask(request: Request) -> Result<Self, Answer> {
        within("an answer", async {
            let mut stream = request.begin().await;
            let mut raw = Vec::new();
            let end = loop {
                if let Some(at) = raw.windows(4).position(|w| w == b"\r\n\r\n") {
                    break at + 4;
                }
                assert!(stream.read_buf(&mut raw).await.unwrap() > 0, "no head: {raw:?}");
            };
            let head = Answer::parse_head(&raw[..end]);
            if head.header("content-type") != Some("text/event-stream") {
                stream.read_to_end(&mut raw).await.unwrap();
                return Err(Answer::parse(&raw));
            }
            assert_eq!(head.status, 200);
            Ok(Self {
                stream,
                head,
                raw: raw.split_off(end),
                text: String::new(),
                finished: false,
                comments: 0,
            })
        })
        .await
    }

    /// The next event; `None` at the end.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let block = self.block().await?;
            if !block.starts_with(':') {
                return Some(read(&block));
            }
            self.comments += 1;
        }
    }

    /// The next comment; there must be no event before it.
    pub async fn comment(&mut self) {
        let block = self.block().await.expect("the stream goes on");
        assert!(block.starts_with(':'), "{block}");
        self.comments += 1;
    }

    /// All events to the end.
    pub async fn rest(&mut self) -> Vec<Event> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }

    async fn block(&mut self) -> Option<String> {
        within("something of a stream", async {
            loop {
                if let Some((block, rest)) = self.text.split_once("\n\n") {
                    let block = block.to_owned();
                    self.text = rest.to_owned();
                    return Some(block);
                }
                if self.finished || (!self.dechunk() && !self.read().await) {
                    assert_eq!(self.text, "", "an event was cut");
                    return None;
                }
            }
        })
        .await
    }

    async fn read(&mut self) -> bool {
        self.stream.read_buf(&mut self.raw).await.is_ok_and(|n| n > 0)
    }

    /// Takes one whole chunk.
    fn dechunk(&mut self) -> bool {
        let Some(at) = self.raw.windows(2).position(|w| w == b"\r\n") else {
            return false;
        };
        let size = usize::from_str_radix(std::str::from_utf8(&self.raw[..at]).unwrap(), 16).unwrap();
        let (begin, end) = (at + 2, at + 2 + size);
        if self.raw.len() < end + 2 {
            return false;
        }
        self.text
            .push_str(std::str::from_utf8(&self.raw[begin..end]).unwrap());
        self.raw.drain(..end + 2);
        self.finished = size == 0;
        true
    }
}

fn read(block: &str) -> Event {
    let (id, data) = block
        .strip_prefix("id: ")
        .and_then(|rest| rest.split_once("\ndata: "))
        .unwrap_or_else(|| panic!("not an event: {block}"));
    let data: Value = serde_json::from_str(data).expect("one line of JSON");
    let id = id.parse().unwrap();
    assert_eq!(data["seq"], id);
    Event { id, data }
}
