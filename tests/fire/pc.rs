//! A PC that signs in by its code over a line that fails: it reconnects, resumes, repeats, and ends knowing how it
//! ended. What it is told is checked as it comes.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::link::{Calls, Link, Nothing, patience};

/// A try more than this, and it hangs.
const TRIES_MAX: u32 = 60;

/// How a PC is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    WebSocket,
    Events,
    Polls,
    /// By nobody: an app that asks for its tokens by OAuth.
    Grants,
}

/// What the person before it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    Waits,
    /// Cancels after so many changes.
    Cancels(u32),
    /// Pulls the plug after so many changes.
    Leaves(u32),
}

/// What everybody before the screen can see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) qr_id: Option<String>,
    pub(crate) digits: Option<String>,
    /// An app's, which is its number too.
    pub(crate) user_code: Option<String>,
    /// The number that was typed here was right.
    pub(crate) matched: bool,
    pub(crate) over: bool,
}

/// How it ended for the PC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    SignedIn {
        user: String,
        session: String,
        access: String,
        refresh: String,
    },
    Final {
        state: String,
        reason: String,
    },
    /// The plug was pulled.
    Left,
}

pub(crate) struct Pc {
    pub(crate) line: SocketAddr,
    pub(crate) calls: Calls,
    pub(crate) device: String,
    pub(crate) habit: Habit,
    pub(crate) screen: watch::Sender<Shown>,
    /// What is typed here, once a phone shows it.
    pub(crate) typed: Typed,
    pub(crate) claim: Option<(String, String)>,
    /// The newest event that came.
    pub(crate) seq: u32,
    pub(crate) state: String,
    pub(crate) ticket: Option<String>,
    /// Events that came again.
    pub(crate) repeats: u32,
    changes: u32,
    tries: u32,
}

/// What the person before a PC types, where it is the PC that types; nothing elsewhere.
pub(crate) type Typed = watch::Receiver<Option<String>>;

/// Until something is typed.
pub(crate) async fn typing(typed: &mut Typed) {
    if typed.changed().await.is_err() {
        std::future::pending().await
    }
}

/// What is to be done now.
pub(crate) enum Next {
    Wait,
    Answer(String),
    Redeem(String),
    Cancel,
    End(Ending),
}

impl Pc {
    pub(crate) fn new(
        line: SocketAddr,
        keeps: bool,
        device: String,
        habit: Habit,
        screen: watch::Sender<Shown>,
        typed: Typed,
    ) -> Self {
        Self {
            line,
            calls: Calls::new(line, keeps),
            device,
            habit,
            screen,
            typed,
            claim: None,
            seq: 0,
            state: String::new(),
            ticket: None,
            repeats: 0,
            changes: 0,
            tries: 0,
        }
    }

    /// Signs in, or ends otherwise.
    pub(crate) async fn run(mut self, over: Over) -> (Ending, Self) {
        let ending = match over {
            Over::WebSocket => self.over_web_socket().await,
            Over::Grants => self.by_device_code().await,
            Over::Events | Over::Polls => self.over_http(over == Over::Events).await,
        };
        self.screen.send_modify(|shown| shown.over = true);
        (ending, self)
    }

    /// One more try, after a breath.
    pub(crate) async fn again(&mut self) {
        self.tries += 1;
        assert!(
            self.tries <= TRIES_MAX,
            "a PC tried {TRIES_MAX} times; {} at {}",
            self.state,
            self.seq
        );
        tokio::time::sleep(Duration::from_millis(u64::from(self.tries.min(10)) * 3)).await;
    }

    pub(crate) fn patience(&self) -> Duration {
        patience(self.tries / 4)
    }

    pub(crate) fn opening(&self) -> Value {
        json!({"device": {"id": self.device, "name": "Office PC", "kind": "pc"}})
    }

    /// The code is there.
    pub(crate) fn opened(&mut self, reply: &Value) {
        let qr_id = text(&reply["qr_id"]);
        self.claim = Some((qr_id.clone(), text(&reply["claim"])));
        (self.seq, self.state) = (1, text(&reply["state"]));
        assert_eq!((&reply["seq"], self.state.as_str()), (&json!(1), "waiting"));
        self.screen.send_modify(|shown| shown.qr_id = Some(qr_id));
    }

    /// An event came; whether it is new. With `each`, none may be missing, and those that come again are counted: they
    /// may where the PC's own question came twice. Who polls sees the newest only.
    pub(crate) fn told(&mut self, event: &Value, each: bool) -> bool {
        let seq = u32::try_from(event["seq"].as_u64().unwrap()).unwrap();
        let state = text(&event["state"]);
        if seq == self.seq {
            assert_eq!(state, self.state, "one number, two states");
        }
        if each && seq <= self.seq {
            self.repeats += 1;
            return false;
        } else if each {
            assert_eq!(seq, self.seq + 1, "after {}: {event}", self.state);
        } else if seq == self.seq {
            return false;
        } else {
            assert!(seq > self.seq, "{} after {}", seq, self.seq);
        }
        assert!(!is_final(&self.state), "{state} after {}", self.state);
        (self.seq, self.state) = (seq, state);
        self.changes += 1;
        let shown = event["url"].as_str().and_then(|url| url.rsplit('/').next());
        let digits = event["match"]["code"].as_str();
        let matched = event["matched"] == true;
        self.screen.send_modify(|screen| {
            if let Some(qr_id) = shown {
                screen.qr_id = Some(qr_id.to_owned());
            }
            if let Some(digits) = digits {
                screen.digits = Some(digits.to_owned());
            }
            screen.matched |= matched;
        });
        if let Some(ticket) = event["ticket"].as_str() {
            self.ticket = Some(ticket.to_owned());
        }
        true
    }

    /// What the newest event asks for. `event` is it.
    pub(crate) fn next(&self, event: &Value) -> Next {
        match (self.habit, &self.ticket) {
            // What it asked for and was not answered: asked again, while the result is kept.
            (_, Some(ticket)) if self.state == "redeemed" => Next::Redeem(ticket.clone()),
            _ if is_final(&self.state) => Next::End(Ending::Final {
                state: self.state.clone(),
                reason: text(&event["reason"]),
            }),
            (Habit::Leaves(after), _) if self.changes >= after => Next::End(Ending::Left),
            (Habit::Cancels(after), _) if self.changes >= after => Next::Cancel,
            (_, Some(ticket)) if self.state == "confirmed" => Next::Redeem(ticket.clone()),
            _ if self.state == "scanned" && !self.screen.borrow().matched => {
                let typed = self.typed.borrow().clone();
                typed.map_or(Next::Wait, Next::Answer)
            }
            _ => Next::Wait,
        }
    }

    /// The answer to what was asked for. `None`: what comes next tells.
    pub(crate) fn answered(&self, answer: &Value) -> Option<Ending> {
        if answer.get("access_token").is_some() {
            return Some(Ending::SignedIn {
                user: text(&answer["user"]["id"]),
                session: text(&answer["session"]),
                access: text(&answer["access_token"]),
                refresh: text(&answer["refresh_token"]),
            });
        }
        let code = answer["code"].as_str();
        assert!(
            matches!(code, None | Some("already_final" | "already_confirmed")),
            "{} at {}: {answer}",
            self.state,
            self.seq
        );
        None
    }

    async fn over_web_socket(&mut self) -> Ending {
        loop {
            if let Some(ending) = self.one_connection().await {
                return ending;
            }
            self.again().await;
        }
    }

    async fn one_connection(&mut self) -> Option<Ending> {
        let mut link = Link::connect(self.line, self.patience()).await?;
        if let Some((qr_id, claim)) = &self.claim {
            let watch = json!({"qr_id": qr_id, "claim": claim, "device": self.device, "after_seq": self.seq});
            let watching = link.call("qr.watch", watch, self.patience()).await?;
            assert_eq!(watching["type"], "ok", "{watching}");
        } else {
            let opened = link.call("qr.open", self.opening(), self.patience()).await?;
            assert_eq!(opened["type"], "ok", "{opened}");
            self.opened(&opened);
        }
        let mut event = json!({});
        'news: loop {
            let what = match self.next(&event) {
                Next::End(ending) => return Some(ending),
                Next::Wait => None,
                Next::Answer(code) => Some(("qr.answer", json!({"code": code}))),
                Next::Redeem(ticket) => Some(("qr.redeem", json!({"ticket": ticket}))),
                Next::Cancel => Some(("qr.cancel", json!({}))),
            };
            if let Some((kind, mut fields)) = what {
                let (qr_id, claim) = self.claim.clone()?;
                (fields["qr_id"], fields["claim"]) = (json!(qr_id), json!(claim));
                let mut reply = link.call(kind, fields.clone(), self.patience()).await?;
                // Who mistypes does so until it is over.
                while reply["code"] == "match_failed" {
                    reply = link.call(kind, fields.clone(), self.patience()).await?;
                }
                if let Some(ending) = self.answered(&reply) {
                    return Some(ending);
                }
            }
            loop {
                let patience = self.patience();
                let push = tokio::select! {
                    push = link.push(patience) => push,
                    () = typing(&mut self.typed) => continue 'news,
                };
                match push {
                    Ok(push) if push["type"] == "qr" => {
                        if self.told(&push, true) {
                            event = push;
                            break;
                        }
                    }
                    Ok(_) => {}
                    Err(Nothing::Closed) => return None,
                    // A line that is open at one end only says nothing either.
                    Err(Nothing::Silence) => {
                        link.call("ping", json!({}), self.patience()).await?;
                    }
                }
            }
        }
    }
}

pub(crate) fn is_final(state: &str) -> bool {
    matches!(state, "redeemed" | "denied" | "cancelled" | "expired")
}

pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}
