//! What was given to the gateway twice, and what it answered.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::common::{Answer, PATIENCE};

/// The close code of a gateway that got no pong: nobody sends any for a client that has gone.
const NO_PONG: u16 = 4012;

/// What an app is told while there is nothing to fetch.
const NOT_SO: [&str; 4] = [
    "\"authorization_pending\"",
    "\"slow_down\"",
    "\"access_denied\"",
    "\"expired_token\"",
];

/// Something that came twice.
#[derive(Debug, Clone)]
pub(crate) struct Double {
    /// The type of a command, or method and last part of the path of a request.
    pub(crate) what: String,
    /// Both replies to a command; the answer to the copy of a request.
    pub(crate) replies: Vec<String>,
    awaited: usize,
    /// Nothing can come any more. With a close frame it has a code.
    ended: Option<Option<u16>>,
}

impl Double {
    /// Every reply that there must be is there.
    pub(crate) fn is_answered(&self) -> bool {
        self.replies.len() >= self.awaited
    }

    /// The replies to a command.
    pub(crate) fn told(&self) -> Vec<Value> {
        let read = |reply: &String| serde_json::from_str(reply).unwrap();
        self.replies.iter().map(read).collect()
    }

    /// It was answered as often as it was asked, and with nothing that says the gateway was confused.
    pub(crate) fn judge(&self) {
        assert!(
            self.is_answered() || self.ended == Some(Some(NO_PONG)),
            "a copy was not answered: {self:?}"
        );
        for reply in &self.replies {
            if reply.starts_with("HTTP/") {
                let answer = Answer::parse(reply.as_bytes());
                // OAuth says 400 to what is not yet so, or no longer.
                let fits = answer.status != 400 || NOT_SO.iter().any(|error| answer.text().contains(error));
                assert!(answer.status < 500 && fits, "{self:?}");
            } else {
                let told: Value = serde_json::from_str(reply).unwrap();
                assert!(
                    told["code"] != "internal" && told["code"] != "bad_request",
                    "{told}"
                );
            }
        }
    }
}

/// All of a line.
#[derive(Clone, Default)]
pub(crate) struct Doubles(Arc<Mutex<Vec<Double>>>);

/// One of them.
#[derive(Clone)]
pub(crate) struct Entry {
    doubles: Doubles,
    at: usize,
}

impl Doubles {
    pub(crate) fn begin(&self, what: &str, awaited: usize) -> Entry {
        let mut doubles = self.0.lock().unwrap();
        doubles.push(Double {
            what: what.to_owned(),
            replies: Vec::new(),
            awaited,
            ended: None,
        });
        Entry {
            doubles: self.clone(),
            at: doubles.len() - 1,
        }
    }

    /// All, once nothing more will come of any.
    pub(crate) async fn settled(&self) -> Vec<Double> {
        let settled = async {
            loop {
                let doubles = self.0.lock().unwrap().clone();
                if doubles.iter().all(|d| d.is_answered() || d.ended.is_some()) {
                    return doubles;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let settled = tokio::time::timeout(PATIENCE, settled).await;
        settled.unwrap_or_else(|_| panic!("copies without an answer: {:?}", self.0.lock().unwrap()))
    }
}

impl Entry {
    pub(crate) fn replied(&self, reply: &[u8]) {
        self.doubles.0.lock().unwrap()[self.at]
            .replies
            .push(String::from_utf8_lossy(reply).into_owned());
    }

    pub(crate) fn ended(&self, code: Option<u16>) {
        self.doubles.0.lock().unwrap()[self.at].ended.get_or_insert(code);
    }

    pub(crate) fn is_over(&self) -> bool {
        let double = &self.doubles.0.lock().unwrap()[self.at];
        double.is_answered() || double.ended.is_some()
    }

    pub(crate) async fn over(&self) {
        while !self.is_over() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
