//! One PC that waits: what it knows of its login, however it is told. No I/O.

use countersign_protocol::server::QrState;

use crate::clock::Nanos;
use crate::login::frame::Frame;

/// What a request of a PC over HTTP is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Open,
    Poll,
    Redeem,
    Cancel,
}

/// Something a PC did not know before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// Nothing new.
    None,
    /// The code has another id.
    Rotated,
    /// Scanned, with these digits to type, if any.
    Scanned,
    /// Confirmed, with this ticket.
    Confirmed(String),
    /// It ended without a login, by this state.
    Over(&'static str),
}

/// A PC.
#[derive(Debug, Default)]
pub(super) struct Pc {
    pub qr_id: String,
    pub claim: String,
    /// A login has been opened, and it is done with.
    pub opened: bool,
    pub done: bool,
    /// The phone that is at it.
    pub phone: Option<usize>,
    /// What the phone was told, and what the PC shows.
    pub scan_token: Option<String>,
    pub shown: Option<Option<String>>,
    confirmed: bool,
    /// The request that is unanswered.
    pub asked: Option<Ask>,
    /// When it last heard something.
    pub heard_at: Nanos,
}

impl Pc {
    /// The reply to its opening.
    pub(super) fn open(&mut self, frame: Frame<'_>) -> bool {
        let (Some(qr_id), Some(claim)) = (frame.qr_id, frame.claim) else {
            return false;
        };
        (self.qr_id, self.claim, self.opened) = (qr_id, claim, true);
        true
    }

    /// Told where its login stands, by a push or by an answer.
    pub(super) fn told(&mut self, frame: &Frame<'_>) -> News {
        if !self.opened || self.done {
            return News::None;
        }
        match frame.state() {
            Some(QrState::Waiting) => match &frame.qr_id {
                Some(id) if *id != self.qr_id => {
                    self.qr_id.clone_from(id);
                    News::Rotated
                }
                _ => News::None,
            },
            Some(QrState::Scanned) if self.shown.is_none() => {
                self.shown = Some(frame.digits().map(str::to_owned));
                News::Scanned
            }
            Some(QrState::Confirmed) if !self.confirmed => match &frame.ticket {
                Some(ticket) => {
                    self.confirmed = true;
                    News::Confirmed(ticket.clone())
                }
                None => News::Over("confirmed without a ticket"),
            },
            Some(QrState::Denied | QrState::Cancelled | QrState::Expired) => {
                News::Over("ended without a login")
            }
            _ => News::None,
        }
    }

    /// Scan token and digits, once both are there.
    pub(super) fn ready(&mut self) -> Option<(String, Option<String>)> {
        let shown = self.shown.clone()?;
        Some((self.scan_token.take()?, shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_news_once() {
        let mut pc = Pc::default();
        let frame = |text: &'static str| Frame::read(text.as_bytes()).unwrap();
        assert!(pc.open(frame(
            r#"{"type":"ok","id":1,"qr_id":"a","claim":"c","seq":1,"state":"waiting"}"#
        )));
        for (text, news) in [
            (r#"{"qr_id":"a","seq":1,"state":"waiting"}"#, News::None),
            (r#"{"qr_id":"b","seq":2,"state":"waiting"}"#, News::Rotated),
            (
                r#"{"qr_id":"b","seq":3,"state":"scanned","match":{"mode":"phone_types","code":"07"}}"#,
                News::Scanned,
            ),
            (r#"{"qr_id":"b","seq":3,"state":"scanned"}"#, News::None),
            (
                r#"{"qr_id":"b","seq":4,"state":"confirmed","ticket":"t"}"#,
                News::Confirmed("t".to_owned()),
            ),
            (
                r#"{"qr_id":"b","seq":4,"state":"confirmed","ticket":"t"}"#,
                News::None,
            ),
            (
                r#"{"qr_id":"b","seq":5,"state":"expired","reason":"unredeemed"}"#,
                News::Over("ended without a login"),
            ),
        ] {
            assert_eq!(pc.told(&frame(text)), news, "{text}");
        }
        assert_eq!(pc.ready(), None);
        assert_eq!(pc.qr_id, "b");
        pc.scan_token = Some("s".to_owned());
        assert_eq!(pc.ready(), Some(("s".to_owned(), Some("07".to_owned()))));
        assert_eq!(pc.ready(), None);
    }
}
