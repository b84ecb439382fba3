//! One attempt from the tester's side: what is awaited, what comes, and what is to be done next. No I/O.

use countersign_protocol::server::{MatchMode, QrState};

use crate::clock::Nanos;
use crate::login::frame::Frame;

/// What an arrival asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing yet.
    Wait,
    /// The phone scans.
    Scan,
    /// The phone confirms with this scan token and these digits.
    Confirm {
        scan_token: String,
        code: Option<String>,
    },
    /// The PC redeems this ticket.
    Redeem { ticket: String },
    /// Signed in and nothing more is awaited.
    Done,
    /// It will not come to an end.
    Failed(String),
}

/// An attempt under way.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    /// When it was meant to begin.
    pub meant_at: Nanos,
    /// When `qr.open` was sent, and `qr.redeem`; 0: not yet.
    pub opened_at: Nanos,
    pub redeemed_at: Nanos,
    /// Ids of these two commands.
    pub open_id: u64,
    pub redeem_id: u64,
    pub qr_id: String,
    pub claim: String,
    seq: u32,
    /// Scanned, as the phone was told: the scan token.
    scan_token: Option<String>,
    /// Scanned, as the PC was told: the digits, if there are any.
    shown: Option<Option<String>>,
    /// What is left until nothing more is awaited: the phone's `confirmed`, the PC's tokens, the last push.
    confirmed: bool,
    signed_in: bool,
    ended: bool,
}

/// A push that was not the next of its attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Odd {
    /// Of another attempt, or of none.
    Stray,
    /// Its `seq` is not the one after the last.
    OutOfOrder,
}

impl Attempt {
    pub(super) fn new(meant_at: Nanos, opened_at: Nanos, open_id: u64) -> Attempt {
        Attempt {
            meant_at,
            opened_at,
            redeemed_at: 0,
            open_id,
            redeem_id: open_id + 1,
            qr_id: String::new(),
            claim: String::new(),
            seq: 0,
            scan_token: None,
            shown: None,
            confirmed: false,
            signed_in: false,
            ended: false,
        }
    }

    /// The reply to `qr.open`.
    pub(super) fn opened(&mut self, frame: Frame<'_>) -> Next {
        match (frame.qr_id, frame.claim, frame.seq) {
            (Some(qr_id), Some(claim), Some(seq)) => {
                (self.qr_id, self.claim, self.seq) = (qr_id, claim, seq);
                Next::Scan
            }
            _ => Next::Failed("open: a reply without qr_id, claim or seq".to_owned()),
        }
    }

    /// A push of type `qr`.
    pub(super) fn pushed(&mut self, frame: &Frame<'_>) -> Result<Next, Odd> {
        if self.qr_id.is_empty() || frame.qr_id.as_deref() != Some(&self.qr_id) {
            return Err(Odd::Stray);
        }
        if frame.seq != Some(self.seq + 1) {
            return Err(Odd::OutOfOrder);
        }
        self.seq += 1;
        Ok(match frame.state() {
            Some(QrState::Scanned) => {
                let mode = frame.number.as_ref().map(|n| n.mode);
                match (mode, frame.digits()) {
                    (Some(MatchMode::None), _) => self.shown = Some(None),
                    (Some(MatchMode::PhoneTypes), Some(digits)) => self.shown = Some(Some(digits.to_owned())),
                    _ => return Ok(Next::Failed("a match that the phone cannot type".to_owned())),
                }
                self.confirm()
            }
            Some(QrState::Confirmed) => match &frame.ticket {
                Some(ticket) => Next::Redeem {
                    ticket: ticket.clone(),
                },
                None => Next::Failed("confirmed without a ticket".to_owned()),
            },
            Some(QrState::Redeemed) => {
                self.ended = true;
                self.done()
            }
            Some(state) => Next::Failed(format!("became {}", state.name())),
            None => Next::Failed("a push without a state".to_owned()),
        })
    }

    /// The answer to the phone's scan.
    pub(super) fn scanned(&mut self, scan_token: String) -> Next {
        self.scan_token = Some(scan_token);
        self.confirm()
    }

    /// The answer to the phone's confirmation.
    pub(super) fn confirmed(&mut self) -> Next {
        self.confirmed = true;
        self.done()
    }

    /// The reply to `qr.redeem`.
    pub(super) fn signed_in(&mut self) -> Next {
        self.signed_in = true;
        self.done()
    }

    /// Who confirms has been told by its own answer, and has looked at the PC.
    fn confirm(&mut self) -> Next {
        if self.shown.is_none() || self.scan_token.is_none() {
            return Next::Wait;
        }
        match (self.scan_token.take(), self.shown.clone()) {
            (Some(scan_token), Some(code)) => Next::Confirm { scan_token, code },
            _ => Next::Wait,
        }
    }

    fn done(&self) -> Next {
        if self.confirmed && self.signed_in && self.ended {
            Next::Done
        } else {
            Next::Wait
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> Frame<'_> {
        Frame::read(text.as_bytes()).unwrap()
    }

    const SCANNED: &str =
        r#"{"type":"qr","qr_id":"q","seq":2,"state":"scanned","match":{"mode":"phone_types","code":"47"}}"#;

    fn open() -> Attempt {
        let mut attempt = Attempt::new(1, 2, 3);
        let reply = frame(r#"{"id":3,"type":"ok","qr_id":"q","claim":"c","seq":1,"state":"waiting"}"#);
        assert_eq!(attempt.opened(reply), Next::Scan);
        attempt
    }

    #[test]
    fn whatever_comes_first_the_phone_confirms_once() {
        let confirm = Next::Confirm {
            scan_token: "s".to_owned(),
            code: Some("47".to_owned()),
        };
        let mut attempt = open();
        assert_eq!(attempt.pushed(&frame(SCANNED)), Ok(Next::Wait));
        assert_eq!(attempt.scanned("s".to_owned()), confirm);
        let mut attempt = open();
        assert_eq!(attempt.scanned("s".to_owned()), Next::Wait);
        assert_eq!(attempt.pushed(&frame(SCANNED)), Ok(confirm));
        let push = frame(r#"{"type":"qr","qr_id":"q","seq":3,"state":"confirmed","ticket":"t"}"#);
        let redeem = Next::Redeem {
            ticket: "t".to_owned(),
        };
        assert_eq!(attempt.pushed(&push), Ok(redeem));
        assert_eq!(attempt.signed_in(), Next::Wait);
        assert_eq!(
            attempt.pushed(&frame(r#"{"type":"qr","qr_id":"q","seq":4,"state":"redeemed"}"#)),
            Ok(Next::Wait)
        );
        assert_eq!(attempt.confirmed(), Next::Done);
    }

    #[test]
    fn what_does_not_belong_is_told_apart() {
        let mut attempt = open();
        for (text, odd) in [
            (SCANNED.replace("\"q\"", "\"p\""), Odd::Stray),
            (SCANNED.replace("\"seq\":2", "\"seq\":1"), Odd::OutOfOrder),
            (SCANNED.replace("\"seq\":2", "\"seq\":3"), Odd::OutOfOrder),
        ] {
            assert_eq!(attempt.pushed(&frame(&text)), Err(odd), "{text}");
        }
        let gone = frame(r#"{"type":"qr","qr_id":"q","seq":2,"state":"expired","reason":"idle"}"#);
        assert_eq!(
            attempt.pushed(&gone),
            Ok(Next::Failed("became expired".to_owned()))
        );
        assert_eq!(Attempt::new(1, 2, 3).pushed(&frame(SCANNED)), Err(Odd::Stray));
    }
}
