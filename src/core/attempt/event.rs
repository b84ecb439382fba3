//! What an attempt tells its PC.

use countersign_protocol::server::{MatchMode, QrMatch, QrPush, QrScanner, QrState};
use serde::{Deserialize, Serialize};

use super::code::Code;
use super::command::Reason;
use super::value::{QrId, Secret};

/// One change of an attempt, complete in itself: it can be published and rendered without the attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// 1 for the opening, then rising by one with each event of the attempt.
    pub seq: u32,
    /// When it happened, Unix milliseconds.
    pub at: u64,
    /// The code shown at that time.
    pub qr_id: QrId,
    pub kind: EventKind,
}

/// The kinds of change. Instants are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A code to show: opened, or rotated.
    Waiting {
        /// When the next code comes; never after `expires_at`.
        rotate_at: u64,
        expires_at: u64,
    },
    /// A phone scanned; with `matched`, the PC's answer (`pc_types`) was right.
    Scanned {
        name: Option<String>,
        avatar: Option<String>,
        mode: MatchMode,
        /// With `phone_types` only: the PC shows it.
        code: Option<Code>,
        matched: bool,
        expires_at: u64,
    },
    /// The phone confirmed: the ticket is for the PC alone. A device authorization has none: its device code is enough.
    Confirmed { ticket: Option<Secret>, expires_at: u64 },
    /// The PC has its tokens.
    Redeemed,
    /// Denied, cancelled or expired.
    Final { state: QrState, reason: Option<Reason> },
}

impl Event {
    /// The state the attempt was in after this event.
    pub const fn state(&self) -> QrState {
        match &self.kind {
            EventKind::Waiting { .. } => QrState::Waiting,
            EventKind::Scanned { .. } => QrState::Scanned,
            EventKind::Confirmed { .. } => QrState::Confirmed,
            EventKind::Redeemed => QrState::Redeemed,
            EventKind::Final { state, .. } => *state,
        }
    }

    /// The push for the PC, its times relative to `now` (0 once past) and its url
    /// `<public_origin>/q/<qr_id>`.
    pub fn push(&self, now: u64, public_origin: &str) -> QrPush {
        let left = |until: u64| Some(until.saturating_sub(now));
        let mut push = QrPush {
            qr_id: self.qr_id.to_string(),
            seq: self.seq,
            state: self.state(),
            url: None,
            rotate_in_ms: None,
            user: None,
            number: None,
            matched: false,
            ticket: None,
            expires_in_ms: None,
            reason: None,
        };
        match &self.kind {
            EventKind::Waiting {
                rotate_at,
                expires_at,
            } => {
                push.url = Some(url(public_origin, self.qr_id));
                push.rotate_in_ms = left(*rotate_at);
                push.expires_in_ms = left(*expires_at);
            }
            EventKind::Scanned {
                name,
                avatar,
                mode,
                code,
                matched,
                expires_at,
            } => {
                push.matched = *matched;
                push.user = Some(QrScanner {
                    name: name.clone(),
                    avatar: avatar.clone(),
                });
                push.number = Some(QrMatch {
                    mode: *mode,
                    form: code.map(Code::form).unwrap_or_default(),
                    code: code.map(Code::text),
                });
                push.expires_in_ms = left(*expires_at);
            }
            EventKind::Confirmed { ticket, expires_at } => {
                push.ticket = ticket.as_ref().map(|ticket| ticket.expose().to_owned());
                push.expires_in_ms = left(*expires_at);
            }
            EventKind::Redeemed => {}
            EventKind::Final { reason, .. } => push.reason = reason.map(|r| r.name().to_owned()),
        }
        push
    }
}

/// The address in the code: `<public_origin>/q/<qr_id>`.
pub fn url(public_origin: &str, qr_id: QrId) -> String {
    format!("{}/q/{qr_id}", public_origin.trim_end_matches('/'))
}
