//! What can happen to an attempt, and what comes of it.

use std::fmt;
use std::net::IpAddr;

use countersign_protocol::ErrorCode;
use countersign_protocol::UserId;
use countersign_protocol::http::ScanRequest;
use countersign_protocol::server::{Profile, QrMatch, QrState};
use serde::{Deserialize, Serialize};

use super::code::{Digits, UserCode};
use super::event::Event;
use super::value::{Digest, QrId, Sealed, Secret};
use super::{Attempt, Device};

/// A signed-in phone that speaks about an attempt. All of it comes from its session, none from its request.
#[derive(Debug, Clone)]
pub struct Phone {
    /// The account.
    pub user: Profile,
    /// The session's id.
    pub session: Box<str>,
    /// SHA-256 of the device id the session is bound to.
    pub device: Digest,
    /// Where it calls from; compared with the requester's for [`ScanRequest::same_network`].
    pub ip: IpAddr,
}

/// Why the PC's side ends an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelReason {
    /// `qr.cancel`, or its HTTP twin.
    User,
    /// The same connection opened another attempt.
    Superseded,
}

/// Everything that can happen to an attempt after it was opened.
///
/// `claim`, `device` and `token` are SHA-256 digests. Commands with `claim` and `device` come from the PC
/// and are refused `not_found` when either is wrong; commands with `phone` come from a signed-in phone and
/// are refused `not_found` when `qr_id` is not (or no longer) an id that phones may use.
pub enum Command<'a> {
    /// A timer fired. `fresh` is a new random id, used only when a rotation is due.
    Tick { fresh: QrId },
    /// The PC's connection (or event stream) takes over the watching.
    Watch {
        claim: Digest,
        device: Digest,
        connection: &'a str,
    },
    /// A connection is gone. No claim: only the gateway itself says this.
    Unwatch { connection: &'a str },
    /// The PC asks for the state, which also counts as a sign of life.
    Poll { claim: Digest, device: Digest },
    /// A phone scanned the code. `token` is the new scan token's, `digits` are used by the first scan only. `typed` is
    /// the user code by which the phone found the attempt, where it did not scan: then there is nothing left to type.
    Scan {
        qr_id: QrId,
        phone: &'a Phone,
        token: Digest,
        digits: Digits,
        typed: Option<UserCode>,
    },
    /// The PC's person typed what the phone shows (`pc_types`).
    Answer {
        claim: Digest,
        device: Digest,
        code: &'a str,
    },
    /// The phone's person says yes. `ticket` is fresh; it is kept when this confirms.
    Confirm {
        qr_id: QrId,
        phone: &'a Phone,
        token: Digest,
        code: Option<&'a str>,
        ticket: &'a Secret,
    },
    /// The phone's person says no.
    Deny {
        qr_id: QrId,
        phone: &'a Phone,
        token: Digest,
    },
    /// The phone asks how it ended: only the scanning account on the scanning device.
    AskOutcome { qr_id: QrId, phone: &'a Phone },
    /// The PC ends it.
    Cancel {
        claim: Digest,
        device: Digest,
        reason: CancelReason,
    },
    /// The PC exchanges the ticket. `result` is sealed by the caller and kept for the grace; `session` is the
    /// id of the PC's new session, told to the phone that confirmed.
    Redeem {
        claim: Digest,
        device: Digest,
        ticket: &'a str,
        session: &'a str,
        result: &'a Sealed,
    },
    /// A client exchanges its device code, the claim of the attempt, for tokens: the `session` and `result` as of a
    /// redemption. Refused `conflict` until confirmed, `not_found` to any other client.
    Exchange {
        claim: Digest,
        client: &'a str,
        session: &'a str,
        result: &'a Sealed,
    },
    /// A session was revoked; matters when it is the scanner's.
    ScannerRevoked { session: &'a str },
    /// An account was locked; matters when it is the scanner's.
    ScannerLocked { user: &'a UserId },
}

impl Command<'_> {
    /// A short constant name, for logs, metrics and the audit.
    pub const fn name(&self) -> &'static str {
        match self {
            Command::Tick { .. } => "tick",
            Command::Watch { .. } => "watch",
            Command::Unwatch { .. } => "unwatch",
            Command::Poll { .. } => "poll",
            Command::Scan { .. } => "scan",
            Command::Answer { .. } => "answer",
            Command::Confirm { .. } => "confirm",
            Command::Deny { .. } => "deny",
            Command::AskOutcome { .. } => "ask_outcome",
            Command::Cancel { .. } => "cancel",
            Command::Redeem { .. } => "redeem",
            Command::Exchange { .. } => "exchange",
            Command::ScannerRevoked { .. } => "scanner_revoked",
            Command::ScannerLocked { .. } => "scanner_locked",
        }
    }
}

/// The name only: the fields carry what was typed, and secrets.
impl fmt::Debug for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({})", self.name())
    }
}

/// What [`decide`](super::decide) made of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The attempt to store in place of the old one; `None` when nothing changed. Store it even when
    /// `outcome` is a refusal: a wrong code counts, and a deadline that had passed takes effect.
    pub next: Option<Attempt>,
    /// What to publish once `next` is stored: at most one event.
    pub events: Vec<Event>,
    /// The answer to the caller.
    pub outcome: Result<Outcome, Refusal>,
}

/// A command that was carried out. Instants are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The timers were looked at; `events` says whether one fired.
    Ticked,
    /// The tick found the record's time over: remove it.
    Forgotten,
    /// The connection watches now; for a final state there is nothing more to come.
    Watching {
        state: QrState,
        /// End of the present state; once final, when it became so.
        expires_at: u64,
        /// The connection that watched before and does no longer.
        replaced: Option<Box<str>>,
    },
    /// Nobody watches any more.
    Unwatched,
    /// The newest event: all a poll answers with.
    Current(Event),
    /// The phone may confirm or deny.
    Scanned(Box<Scanned>),
    /// The PC's answer was right.
    Matched,
    /// Confirmed; the PC has until `expires_at` to redeem.
    Confirmed { expires_at: u64 },
    /// The phone said no.
    Denied,
    /// The PC ended it.
    Cancelled,
    /// First redemption: hand the result out.
    Redeemed(Sealed),
    /// The same redemption again: hand the stored result out, and drop what was made for this call.
    RedeemedAgain(Sealed),
    /// How it stands, for the phone that scanned. `session` is the PC's, once redeemed.
    Asked {
        state: QrState,
        reason: Option<Reason>,
        session: Option<Box<str>>,
    },
    /// The scanner lost its standing, and the attempt ended by it.
    Revoked,
    /// Nothing of this attempt was concerned.
    Unaffected,
}

/// What a scanning phone is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// When the confirmation must have come.
    pub expires_at: u64,
    /// Who asks. `same_network` knows private addresses; a caller whose address for either side is a
    /// proxy's sets it to false.
    pub request: ScanRequest,
    /// The number match as the phone sees it.
    pub number: QrMatch,
    /// Whether the same phone had scanned before; then no event was raised and the former token is void.
    pub again: Again,
}

/// Whether a scan is the attempt's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    First,
    Rescan,
}

/// A command that was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// What the caller is told. `already_final` with state `expired` is HTTP 410.
    pub code: ErrorCode,
    /// The final state: with `already_final`, and with the `match_failed` that ended the attempt.
    pub state: Option<QrState>,
    /// Why it ended, beside `state`.
    pub reason: Option<Reason>,
    /// With `match_failed`: how many more wrong codes are borne.
    pub tries_left: Option<u8>,
}

impl Refusal {
    pub(super) const fn new(code: ErrorCode) -> Self {
        Self {
            code,
            state: None,
            reason: None,
            tries_left: None,
        }
    }

    pub(super) const fn already_final(attempt: &Attempt) -> Self {
        let state = Some(attempt.state);
        Self {
            code: ErrorCode::AlreadyFinal,
            state,
            reason: attempt.reason,
            tries_left: None,
        }
    }
}

/// Why an attempt ended otherwise than redeemed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Expired: nobody scanned in time, or nobody watched.
    Idle,
    /// Expired: scanned, not confirmed in time.
    Unconfirmed,
    /// Expired: confirmed, not redeemed in time.
    Unredeemed,
    /// Denied: too many wrong codes.
    MatchFailed,
    /// Denied: the scanner's session was revoked or its account locked.
    Revoked,
    /// Denied on the phone, or cancelled on the PC, by the person there.
    User,
    /// Cancelled: the connection opened another attempt.
    Superseded,
}

impl Reason {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Idle => "idle",
            Reason::Unconfirmed => "unconfirmed",
            Reason::Unredeemed => "unredeemed",
            Reason::MatchFailed => "match_failed",
            Reason::Revoked => "revoked",
            Reason::User => "user",
            Reason::Superseded => "superseded",
        }
    }
}

/// What opens an attempt. Every random value is the caller's.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Fresh, random.
    pub key: super::AttemptKey,
    /// The first code, fresh and random.
    pub qr_id: QrId,
    /// SHA-256 of the claim the PC gets.
    pub claim: Digest,
    /// The device that asks to be signed in.
    pub device: Device,
    /// Where the PC calls from.
    pub ip: IpAddr,
    /// Cut to [`USER_AGENT_BYTES_MAX`](super::USER_AGENT_BYTES_MAX).
    pub user_agent: Option<Box<str>>,
    /// The registered client that opened it, when one did.
    pub client: Option<super::Client>,
    /// The key the tokens shall be sealed to.
    pub public_key: Option<super::P256Key>,
    /// The RFC 7638 thumbprint the access token shall be bound to; the caller has checked its form.
    pub dpop_jkt: Option<Box<str>>,
    /// Who will type the digits.
    pub mode: countersign_protocol::server::MatchMode,
    /// The connection that watches from the start; `None` when opened over HTTP.
    pub connection: Option<Box<str>>,
}
