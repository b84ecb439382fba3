//! One QR login: who may do what, when, and what comes of it.
//!
//! [`open`] makes an attempt, [`decide`] answers everything that can happen to it afterwards. Both are
//! pure: the time (`now`, Unix milliseconds of one monotonic clock) and every random value are arguments,
//! so a decision can be made twice under compare-and-set and comes out the same.
//!
//! Rules beyond the contract's table:
//! - **Late timers change nothing.** `decide` applies a deadline that has passed before it looks at the
//!   command; the step then carries the expired attempt beside the refusal. A deadline has passed when
//!   `now >= deadline`.
//! - **An id is valid for two rotation periods from when it was made**, whether the rotation ran in time or
//!   not. At the scan (or the end) this is frozen: ids valid at that moment stay usable by phones, all
//!   others are `not_found` to every phone, so a phone that held the code shown beside the scanned one
//!   learns `already_scanned`, and an old photograph learns nothing.
//! - **Anybody else** than the scanning phone: a scan gets `already_scanned`, also once confirmed; confirm
//!   and deny get `scan_token_invalid`; after the end every phone with a usable id gets `already_final`.
//!   "Same phone" is account, device and session while scanned; account and device once confirmed.
//! - **The scanning phone again**: scanned, a new scan token; confirmed, `already_confirmed`; final,
//!   `already_final`.
//! - **Out of turn**: answer before a scan or when the PC does not type, redeem before a confirmation:
//!   `conflict`. Answer once confirmed: `already_confirmed`. A right answer repeated is `Matched` without
//!   a second event; a wrong one counts even then. An empty code is no code: `match_required`, not a try.
//! - **A wrong ticket** is `not_found` while confirmed, `already_final` afterwards.
//! - Once [`Attempt::forget_at`] has passed every command is `not_found`, removed or not.
//!
//! The list of events is never cut, it is bounded by construction: at most [`IDS_MAX`] waiting events, one
//! for each id, then at most one each of scanned, matched, confirmed and an end.

mod client;
mod code;
mod command;
mod decide;
mod event;
mod network;
mod phone;
mod policy;
#[cfg(test)]
mod tests;
mod told;
mod transition;
mod value;

use std::net::IpAddr;

use countersign_protocol::client::DeviceKind;
use countersign_protocol::limits::DEVICE_NAME_CHARS_MAX;
use countersign_protocol::server::{MatchMode, Profile, QrState};
use serde::{Deserialize, Serialize};

pub use client::{Client, Grant};
pub use code::{Code, Digits, UserCode};
pub use command::{Again, CancelReason, Command, Opening, Outcome, Phone, Reason, Refusal, Scanned, Step};
pub use decide::decide;
pub use event::{Event, EventKind, url};
pub use network::same_network;
pub use policy::{IDS_MAX, Policy};
pub use transition::{Actor, Transition};
pub use value::{AttemptKey, Digest, P256Key, QrId, Sealed, Secret};

/// Longest user agent kept, bytes; the rest is cut off.
pub const USER_AGENT_BYTES_MAX: usize = 256;

/// The device that asks to be signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// SHA-256 of its id. A device authorization may have come without one.
    pub digest: Option<Digest>,
    /// Normalised by the caller, cut to [`DEVICE_NAME_CHARS_MAX`].
    pub name: Option<Box<str>>,
    pub kind: DeviceKind,
}

impl Device {
    /// Whether the device with this digest may speak for the attempt. Where none was named, the claim is enough.
    fn is(&self, device: Digest) -> bool {
        self.digest.is_none_or(|digest| digest == device)
    }
}

/// The phone that scanned first, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scanner {
    /// The account as it was at the scan.
    pub user: Profile,
    /// The session that scanned.
    pub session: Box<str>,
    device: Digest,
    /// The one scan token that works; `None` once it confirmed.
    token: Option<Digest>,
    /// What is shown on one side and typed on the other; `None`: nothing is.
    code: Option<Code>,
    /// The phone has come by typing the user code: there is nothing left to type.
    typed: bool,
}

impl Scanner {
    fn same_account_and_device(&self, phone: &Phone) -> bool {
        // `&`: both are looked at, whichever fails.
        (self.user.id == phone.user.id) & (self.device == phone.device)
    }

    /// Whether this is the phone that scanned: account, device and session.
    fn same_phone(&self, phone: &Phone) -> bool {
        self.same_account_and_device(phone) & (self.session == phone.session)
    }
}

/// An id with the instant it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Minted {
    id: QrId,
    at: u64,
}

/// A change after waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Scanned,
    Matched,
    Confirmed,
    Redeemed,
    Ended,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    change: Change,
    at: u64,
    /// End of the state entered; for an end, `at`.
    until: u64,
}

/// Who would hear the next event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Watcher {
    Connection(Box<str>),
    Nobody { since: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Redeemed {
    session: Box<str>,
    /// Dropped when the grace ends.
    result: Option<Sealed>,
}

/// One QR login. Changed only by [`decide`]; stored, sent between nodes and compared as a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    key: AttemptKey,
    version: u64,
    state: QrState,
    reason: Option<Reason>,
    opened_at: u64,
    /// When waiting ends at the latest.
    waiting_until: u64,
    /// Rotation period, fixed at open so that a changed policy cannot revive an id.
    rotate_every_ms: u64,
    /// Every id, oldest first; never empty. Event `n` is the waiting of id `n`, then comes `log`.
    ids: Vec<Minted>,
    log: Vec<Entry>,
    claim: Digest,
    device: Device,
    ip: IpAddr,
    user_agent: Option<Box<str>>,
    client: Option<Box<Client>>,
    public_key: Option<Box<P256Key>>,
    dpop_jkt: Option<Box<str>>,
    mode: MatchMode,
    tries: u8,
    watcher: Watcher,
    scanner: Option<Box<Scanner>>,
    ticket: Option<Secret>,
    redeemed: Option<Box<Redeemed>>,
}

fn cut(text: Box<str>, bytes_max: usize, chars_max: usize) -> Box<str> {
    let kept = text.chars().take(chars_max);
    let mut end = 0;
    for c in kept {
        if end + c.len_utf8() > bytes_max {
            break;
        }
        end += c.len_utf8();
    }
    if end == text.len() {
        text
    } else {
        text[..end].into()
    }
}

/// Opens an attempt at `now`: waiting, with its first event (`seq` 1) raised.
pub fn open(opening: Opening, now: u64, policy: &Policy) -> Attempt {
    let is_grant = opening
        .client
        .as_ref()
        .is_some_and(|client| client.grant.is_some());
    let (lifetime_ms, rotate_every_ms) = match is_grant {
        true => (policy.grant_lifetime_ms, policy.grant_lifetime_ms),
        false => (policy.lifetime_ms, policy.rotate_every_ms()),
    };
    let mut device = opening.device;
    device.name = device
        .name
        .map(|name| cut(name, usize::MAX, DEVICE_NAME_CHARS_MAX));
    Attempt {
        key: opening.key,
        version: 1,
        state: QrState::Waiting,
        reason: None,
        opened_at: now,
        waiting_until: now.saturating_add(lifetime_ms),
        rotate_every_ms,
        ids: vec![Minted {
            id: opening.qr_id,
            at: now,
        }],
        log: Vec::new(),
        claim: opening.claim,
        device,
        ip: opening.ip,
        user_agent: opening
            .user_agent
            .map(|text| cut(text, USER_AGENT_BYTES_MAX, usize::MAX)),
        client: opening.client.map(Box::new),
        public_key: opening.public_key.map(Box::new),
        dpop_jkt: opening.dpop_jkt,
        mode: if is_grant {
            MatchMode::PhoneTypes
        } else {
            opening.mode
        },
        tries: 0,
        watcher: opening
            .connection
            .map_or(Watcher::Nobody { since: now }, Watcher::Connection),
        scanner: None,
        ticket: None,
        redeemed: None,
    }
}

impl Attempt {
    /// The internal key.
    pub fn key(&self) -> AttemptKey {
        self.key
    }

    /// Rises by one with every stored change, also those that raise no event: what compare-and-set compares.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The newest event's number.
    pub fn seq(&self) -> u32 {
        u32::try_from(self.ids.len() + self.log.len()).unwrap_or(u32::MAX)
    }

    /// Where it stands. A deadline that has passed shows only after the next [`decide`].
    pub fn state(&self) -> QrState {
        self.state
    }

    /// Why it was denied, cancelled or expired.
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// Unix milliseconds.
    pub fn opened_at(&self) -> u64 {
        self.opened_at
    }

    /// End of the present state, Unix milliseconds; once final, when it became so.
    pub fn expires_at(&self) -> u64 {
        self.log.last().map_or(self.waiting_until, |entry| entry.until)
    }

    /// When it became final, Unix milliseconds.
    pub fn final_at(&self) -> Option<u64> {
        let ended = self.log.last().filter(|_| self.state.is_final());
        ended.map(|entry| entry.at)
    }

    /// The code shown now.
    pub fn qr_id(&self) -> QrId {
        self.current().id
    }

    /// When the code shown now is replaced, Unix milliseconds; never after the lifetime.
    pub fn rotate_at(&self) -> u64 {
        self.rotate_at_of(self.current())
    }

    /// Every id the attempt ever had, oldest first, at most [`IDS_MAX`]: the holder of the claim may name any.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = QrId> + '_ {
        self.ids.iter().map(|minted| minted.id)
    }

    /// The device that asks to be signed in.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Where the PC called from.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The PC's user agent.
    pub fn user_agent(&self) -> Option<&str> {
        self.user_agent.as_deref()
    }

    /// The key the tokens shall be sealed to.
    pub fn public_key(&self) -> Option<&P256Key> {
        self.public_key.as_deref()
    }

    /// The key thumbprint the access token shall be bound to.
    pub fn dpop_jkt(&self) -> Option<&str> {
        self.dpop_jkt.as_deref()
    }

    /// The registered client that asks, if one does.
    pub fn client(&self) -> Option<&Client> {
        self.client.as_deref()
    }

    /// The device authorization that it is, if it is one.
    pub fn grant(&self) -> Option<&Grant> {
        self.client()?.grant.as_ref()
    }

    /// Digest of the claim; of a device authorization, of the device code.
    pub fn claim(&self) -> Digest {
        self.claim
    }

    /// Who types what the other side shows; `None` once scanned when nothing has to be typed (any more).
    pub fn mode(&self) -> MatchMode {
        match &self.scanner {
            Some(scanner) if scanner.typed || scanner.code.is_none() => MatchMode::None,
            _ => self.mode,
        }
    }

    /// Who scanned: the user the PC will be signed in as.
    pub fn scanner(&self) -> Option<&Scanner> {
        self.scanner.as_deref()
    }

    /// The PC's session, once redeemed.
    pub fn session(&self) -> Option<&str> {
        self.redeemed.as_deref().map(|redeemed| &*redeemed.session)
    }

    /// The connection that hears the events.
    pub fn watched_by(&self) -> Option<&str> {
        match &self.watcher {
            Watcher::Connection(connection) => Some(connection),
            Watcher::Nobody { .. } => None,
        }
    }

    /// When the next [`Command::Tick`] is needed, Unix milliseconds; may lie in the past. Once final this is
    /// when the kept result is dropped, then [`Attempt::forget_at`].
    pub fn due_at(&self, policy: &Policy) -> u64 {
        if let Some(forget_at) = self.forget_at(policy) {
            return self
                .result_until(policy)
                .map_or(forget_at, |until| until.min(forget_at));
        }
        if self.state != QrState::Waiting {
            return self.expires_at();
        }
        let idle_at = self.idle_at(policy).unwrap_or(u64::MAX);
        self.rotate_at().min(self.waiting_until).min(idle_at)
    }

    /// When the record may be removed, Unix milliseconds: 60 s (policy) after it became final, and not before
    /// the redeem grace is over. `None` while live.
    pub fn forget_at(&self, policy: &Policy) -> Option<u64> {
        let keep_ms = match self.state {
            QrState::Redeemed => policy.final_ms.max(policy.redeem_grace_ms),
            _ => policy.final_ms,
        };
        self.final_at().map(|at| at.saturating_add(keep_ms))
    }

    /// Whether a redeem with these would succeed now: what it takes to make tokens is worth doing only then.
    /// Looks at all of them, whichever fails.
    pub fn would_redeem(&self, claim: Digest, device: Digest, ticket: &str, now: u64) -> bool {
        let holder = (self.claim == claim) & self.device.is(device);
        let ticket = self.ticket.as_ref().is_some_and(|t| t.is(ticket));
        (self.state == QrState::Confirmed) & holder & ticket & (now < self.expires_at())
    }

    /// Whether an exchange of the device code by this client would succeed now; as [`Attempt::would_redeem`].
    pub fn would_exchange(&self, claim: Digest, client: &str, now: u64) -> bool {
        (self.state == QrState::Confirmed) & self.is_grant_of(claim, client) & (now < self.expires_at())
    }

    fn is_grant_of(&self, claim: Digest, client: &str) -> bool {
        let asker = self.client().filter(|asker| asker.grant.is_some());
        (self.claim == claim) & asker.is_some_and(|asker| *asker.id == *client)
    }

    fn current(&self) -> Minted {
        // `open` puts the first id in and nothing takes one out.
        let none = Minted {
            id: QrId([0; 16]),
            at: 0,
        };
        self.ids.last().copied().unwrap_or(none)
    }

    fn rotate_at_of(&self, minted: Minted) -> u64 {
        minted
            .at
            .saturating_add(self.rotate_every_ms)
            .min(self.waiting_until)
    }

    /// Whether a phone may use this id: valid for two periods, judged when rotation stopped.
    fn knows(&self, id: QrId, now: u64) -> bool {
        let judged_at = self.log.first().map_or(now, |entry| entry.at);
        let until = |minted: &Minted| minted.at.saturating_add(self.rotate_every_ms.saturating_mul(2));
        self.ids
            .iter()
            .any(|minted| minted.id == id && judged_at < until(minted))
    }

    fn idle_at(&self, policy: &Policy) -> Option<u64> {
        match &self.watcher {
            // A device that shows a user code need not ask before somebody says that it was typed.
            _ if self.grant().is_some() => None,
            Watcher::Connection(_) => None,
            Watcher::Nobody { since } => Some(since.saturating_add(policy.idle_ms)),
        }
    }

    /// Until when a redeemed attempt repeats its result; `None` when it has none (any more).
    fn result_until(&self, policy: &Policy) -> Option<u64> {
        self.redeemed.as_ref()?.result.as_ref()?;
        self.final_at()
            .map(|at| at.saturating_add(policy.redeem_grace_ms))
    }

    fn matched(&self) -> bool {
        self.log.iter().any(|entry| entry.change == Change::Matched)
    }
}
