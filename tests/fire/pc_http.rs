//! The same PC where WebSockets do not pass: an event stream, or questions.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::common::http::{Answer, Request};
use super::pc::{Ending, Next, Pc, typing};
use super::units::Splitter;

impl Pc {
    pub(crate) fn claiming(&self, method: &'static str, after: &str) -> Request {
        let (qr_id, claim) = self.claim.as_ref().unwrap();
        self.calls
            .request(method, &format!("/v1/qr/{qr_id}{after}"))
            .header("authorization", &format!("Claim {claim}"))
            .header("countersign-device", &self.device)
    }

    pub(crate) async fn over_http(&mut self, events: bool) -> Ending {
        loop {
            let ending = if self.claim.is_none() {
                self.open().await;
                None
            } else if events {
                self.one_stream().await
            } else {
                self.one_poll().await
            };
            match ending {
                Some(ending) => return ending,
                None if self.claim.is_some() && !events => {
                    tokio::time::sleep(Duration::from_millis(10)).await
                }
                None => self.again().await,
            }
        }
    }

    async fn open(&mut self) {
        let open = self.calls.request("POST", "/v1/qr").json(&self.opening());
        let patience = self.patience();
        match self.calls.ask(&open, patience).await {
            Some(answer) => {
                assert_eq!(answer.status, 201, "{}", answer.text());
                self.opened(&answer.json());
            }
            None => self.again().await,
        }
    }

    async fn one_poll(&mut self) -> Option<Ending> {
        let (poll, patience) = (self.claiming("GET", ""), self.patience());
        let Some(answer) = self.calls.ask(&poll, patience).await else {
            self.again().await;
            return None;
        };
        assert_eq!(answer.status, 200, "{}", answer.text());
        let event = answer.json();
        self.told(&event, false);
        self.act(&event).await
    }

    /// Does what an event asks for.
    async fn act(&mut self, event: &Value) -> Option<Ending> {
        let request = match self.next(event) {
            Next::End(ending) => return Some(ending),
            Next::Wait => return None,
            Next::Answer(code) => self.claiming("POST", "/answer").json(&json!({"code": code})),
            Next::Redeem(ticket) => self.claiming("POST", "/redeem").json(&json!({"ticket": ticket})),
            Next::Cancel => self.claiming("DELETE", ""),
        };
        // A stream that lives says nothing about a request that got lost.
        loop {
            let patience = self.patience();
            match self.calls.ask(&request, patience).await {
                Some(answer) if answer.status == 204 => return None,
                // Who mistypes does so until it is over.
                Some(answer) if answer.json()["code"] == "match_failed" => {}
                Some(answer) => return self.answered(&answer.json()),
                None => self.again().await,
            }
        }
    }

    async fn one_stream(&mut self) -> Option<Ending> {
        let request = self
            .claiming("GET", "/events")
            .header("last-event-id", &self.seq.to_string());
        let mut newest = json!({});
        // What the last one asked for, before anything new comes.
        if let Some(ending) = self.act(&newest).await {
            return Some(ending);
        }
        let mut stream = TcpStream::connect(self.line).await.ok()?;
        stream.write_all(&request.bytes()).await.ok()?;
        let mut splitter = Splitter::new(false);
        let mut head: Option<Answer> = None;
        let mut text = String::new();
        let mut buffer = [0; 4096];
        loop {
            while let Some(unit) = splitter.next() {
                if head.is_none() {
                    let answer = Answer::parse_head(&unit.says);
                    // It has ended, and the end is known.
                    assert!(
                        matches!(answer.status, 200 | 204),
                        "{}",
                        String::from_utf8_lossy(&unit.says)
                    );
                    head = Some(answer);
                    continue;
                }
                text.push_str(std::str::from_utf8(&unit.says).unwrap());
                while let Some((block, rest)) = text.split_once("\n\n") {
                    let event = data(block);
                    text = rest.to_owned();
                    let Some(event) = event else { continue };
                    newest = event;
                    self.told(&newest, true);
                    if let Some(ending) = self.act(&newest).await {
                        return Some(ending);
                    }
                }
            }
            // Comments say that the line is alive; without one for so long it is not.
            let patience = self.patience();
            let read = tokio::select! {
                read = tokio::time::timeout(patience, stream.read(&mut buffer)) => read,
                () = typing(&mut self.typed) => {
                    if let Some(ending) = self.act(&newest).await {
                        return Some(ending);
                    }
                    continue;
                }
            };
            match read {
                Ok(Ok(n)) if n > 0 => splitter.push(&buffer[..n]),
                _ => return None,
            }
        }
    }
}

/// The data of an event; a comment has none.
fn data(block: &str) -> Option<Value> {
    let line = block.lines().find_map(|line| line.strip_prefix("data: "))?;
    serde_json::from_str(line).ok()
}
