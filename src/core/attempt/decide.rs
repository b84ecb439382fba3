//! The transition table of a QR login, one function for each kind of command; the phone's are in `phone.rs`.

use std::borrow::Cow;

use countersign_protocol::ErrorCode;
use countersign_protocol::server::{MatchMode, QrState};

use super::command::{CancelReason, Command, Outcome, Reason, Refusal, Step};
use super::event::Event;
use super::policy::Policy;
use super::value::{Digest, QrId, Sealed};
use super::{Attempt, Change, Entry, Minted, Redeemed, Scanner, Watcher};

pub(super) type Decision = Result<Outcome, Refusal>;

pub(super) const NOT_FOUND: Refusal = Refusal::new(ErrorCode::NotFound);

/// Answers `command` at `now` (Unix milliseconds). Has no effects: store `next` if nobody else changed the
/// attempt meanwhile, otherwise load it again and decide again; then publish `events` and answer `outcome`.
pub fn decide(attempt: &Attempt, command: &Command<'_>, now: u64, policy: &Policy) -> Step {
    let Some(mut draft) = Draft::begin(attempt, now, policy) else {
        let outcome = match command {
            Command::Tick { .. } => Ok(Outcome::Forgotten),
            Command::Unwatch { .. } | Command::ScannerRevoked { .. } | Command::ScannerLocked { .. } => {
                Ok(Outcome::Unaffected)
            }
            _ => Err(NOT_FOUND),
        };
        return Step {
            next: None,
            events: Vec::new(),
            outcome,
        };
    };
    let outcome = draft.dispatch(command);
    draft.into_step(outcome)
}

/// A decision in the making: the attempt is copied at the first change, and not before.
pub(super) struct Draft<'a> {
    pub(super) attempt: Cow<'a, Attempt>,
    events: Vec<Event>,
    pub(super) now: u64,
    pub(super) policy: &'a Policy,
}

impl<'a> Draft<'a> {
    /// The attempt as it stands at `now`, deadlines that have passed applied; `None`: its time to be told is over too.
    pub(super) fn begin(attempt: &'a Attempt, now: u64, policy: &'a Policy) -> Option<Self> {
        if attempt.forget_at(policy).is_some_and(|at| now >= at) {
            return None;
        }
        let mut draft = Self {
            attempt: Cow::Borrowed(attempt),
            events: Vec::new(),
            now,
            policy,
        };
        draft.apply_due();
        Some(draft)
    }
}

impl Draft<'_> {
    fn dispatch(&mut self, command: &Command<'_>) -> Decision {
        match *command {
            Command::Tick { fresh } => self.rotate(fresh),
            Command::Watch {
                claim,
                device,
                connection,
            } => self.watch(claim, device, connection),
            Command::Unwatch { connection } => self.unwatch(connection),
            Command::Poll { claim, device } => self.poll(claim, device),
            Command::Scan {
                qr_id,
                phone,
                token,
                digits,
                typed,
            } => self.scan(qr_id, phone, token, digits, typed),
            Command::Answer { claim, device, code } => self.answer(claim, device, code),
            Command::Confirm {
                qr_id,
                phone,
                token,
                code,
                ticket,
            } => self.confirm(qr_id, phone, token, code, ticket),
            Command::Deny { qr_id, phone, token } => self.deny(qr_id, phone, token),
            Command::AskOutcome { qr_id, phone } => self.ask_outcome(qr_id, phone),
            Command::Cancel {
                claim,
                device,
                reason,
            } => self.cancel(claim, device, reason),
            Command::Redeem {
                claim,
                device,
                ticket,
                session,
                result,
            } => {
                self.check_claim(claim, device)?;
                self.redeem(ticket, session, result)
            }
            Command::Exchange {
                claim,
                client,
                session,
                result,
            } => self.exchange(claim, client, session, result),
            Command::ScannerRevoked { session } => self.revoke(|scanner| *scanner.session == *session),
            Command::ScannerLocked { user } => self.revoke(|scanner| scanner.user.id == *user),
        }
    }

    fn into_step(self, outcome: Decision) -> Step {
        let next = match self.attempt {
            Cow::Borrowed(_) => None,
            Cow::Owned(mut attempt) => {
                attempt.version = attempt.version.saturating_add(1);
                Some(attempt)
            }
        };
        Step {
            next,
            events: self.events,
            outcome,
        }
    }

    // Changes.

    pub(super) fn change(&mut self) -> &mut Attempt {
        self.attempt.to_mut()
    }

    /// Enters `state`, which lasts until `until`, with the event that says so.
    pub(super) fn enter(&mut self, state: QrState, change: Change, until: u64) {
        let at = self.now;
        let attempt = self.change();
        attempt.state = state;
        attempt.log.push(Entry { change, at, until });
        self.raise();
    }

    pub(super) fn end(&mut self, state: QrState, reason: Reason) {
        self.change().reason = Some(reason);
        self.enter(state, Change::Ended, self.now);
    }

    fn raise(&mut self) {
        let newest = self.attempt.newest();
        self.events.push(newest);
    }

    /// Deadlines that have passed, so that a late tick makes no difference.
    fn apply_due(&mut self) {
        let (attempt, now) = (&self.attempt, self.now);
        let over = now >= attempt.expires_at();
        match attempt.state {
            QrState::Waiting if over || attempt.idle_at(self.policy).is_some_and(|at| now >= at) => {
                self.end(QrState::Expired, Reason::Idle);
            }
            QrState::Scanned if over => self.end(QrState::Expired, Reason::Unconfirmed),
            QrState::Confirmed if over => self.end(QrState::Expired, Reason::Unredeemed),
            QrState::Redeemed if attempt.result_until(self.policy).is_some_and(|at| now >= at) => {
                if let Some(redeemed) = &mut self.change().redeemed {
                    redeemed.result = None;
                }
            }
            _ => {}
        }
    }

    fn rotate(&mut self, fresh: QrId) -> Decision {
        let due = self.attempt.state == QrState::Waiting && self.now >= self.attempt.rotate_at();
        // An id that was used before would come back to life; the next tick brings another.
        if due && !self.attempt.ids().any(|id| id == fresh) {
            let minted = Minted {
                id: fresh,
                at: self.now,
            };
            self.change().ids.push(minted);
            self.raise();
        }
        Ok(Outcome::Ticked)
    }

    // The PC's side.

    fn check_claim(&self, claim: Digest, device: Digest) -> Result<(), Refusal> {
        // `&`: both are looked at, so that time does not tell which was wrong.
        let holder = (self.attempt.claim == claim) & self.attempt.device.is(device);
        if holder { Ok(()) } else { Err(NOT_FOUND) }
    }

    pub(super) fn check_live(&self) -> Result<(), Refusal> {
        if self.attempt.state.is_final() {
            return Err(Refusal::already_final(&self.attempt));
        }
        Ok(())
    }

    fn watch(&mut self, claim: Digest, device: Digest, connection: &str) -> Decision {
        self.check_claim(claim, device)?;
        let (state, expires_at) = (self.attempt.state, self.attempt.expires_at());
        let same = self.attempt.watched_by() == Some(connection);
        let replaced = self.attempt.watched_by().filter(|_| !same).map(Box::from);
        if !same && !state.is_final() {
            self.change().watcher = Watcher::Connection(connection.into());
        }
        Ok(Outcome::Watching {
            state,
            expires_at,
            replaced,
        })
    }

    /// A connection that was taken over from changes nothing when it goes.
    fn unwatch(&mut self, connection: &str) -> Decision {
        if self.attempt.state.is_final() || self.attempt.watched_by() != Some(connection) {
            return Ok(Outcome::Unaffected);
        }
        self.change().watcher = Watcher::Nobody { since: self.now };
        Ok(Outcome::Unwatched)
    }

    fn poll(&mut self, claim: Digest, device: Digest) -> Decision {
        self.check_claim(claim, device)?;
        let now = self.now;
        let asleep = matches!(self.attempt.watcher, Watcher::Nobody { since } if since != now);
        if asleep && self.attempt.state == QrState::Waiting {
            self.change().watcher = Watcher::Nobody { since: now };
        }
        Ok(Outcome::Current(self.attempt.newest()))
    }

    fn answer(&mut self, claim: Digest, device: Digest, code: &str) -> Decision {
        self.check_claim(claim, device)?;
        self.check_live()?;
        if self.attempt.state == QrState::Confirmed {
            return Err(Refusal::new(ErrorCode::AlreadyConfirmed));
        }
        if self.attempt.state != QrState::Scanned || self.attempt.mode != MatchMode::PcTypes {
            return Err(Refusal::new(ErrorCode::Conflict));
        }
        self.check_code(Some(code))?;
        if !self.attempt.matched() {
            let until = self.attempt.expires_at();
            self.enter(QrState::Scanned, Change::Matched, until);
        }
        Ok(Outcome::Matched)
    }

    fn cancel(&mut self, claim: Digest, device: Digest, reason: CancelReason) -> Decision {
        self.check_claim(claim, device)?;
        self.check_live()?;
        let reason = match reason {
            CancelReason::User => Reason::User,
            CancelReason::Superseded => Reason::Superseded,
        };
        self.end(QrState::Cancelled, reason);
        Ok(Outcome::Cancelled)
    }

    fn redeem(&mut self, ticket: &str, session: &str, result: &Sealed) -> Decision {
        if self.attempt.grant().is_some() && !self.attempt.state.is_final() {
            return Err(Refusal::new(ErrorCode::Conflict));
        }
        let right = self.attempt.ticket.as_ref().is_some_and(|kept| kept.is(ticket));
        self.hand_out(right, session, result)
    }

    /// The device code is all it takes, and it takes the client that asked.
    fn exchange(&mut self, claim: Digest, client: &str, session: &str, result: &Sealed) -> Decision {
        if !self.attempt.is_grant_of(claim, client) {
            return Err(NOT_FOUND);
        }
        self.hand_out(true, session, result)
    }

    fn hand_out(&mut self, right: bool, session: &str, result: &Sealed) -> Decision {
        match self.attempt.state {
            QrState::Waiting | QrState::Scanned => Err(Refusal::new(ErrorCode::Conflict)),
            QrState::Confirmed if !right => Err(NOT_FOUND),
            QrState::Confirmed => {
                let redeemed = Redeemed {
                    session: session.into(),
                    result: Some(result.clone()),
                };
                self.change().redeemed = Some(Box::new(redeemed));
                self.enter(QrState::Redeemed, Change::Redeemed, self.now);
                Ok(Outcome::Redeemed(result.clone()))
            }
            // `apply_due` has dropped the result if the grace is over.
            QrState::Redeemed if right => {
                let kept = self
                    .attempt
                    .redeemed
                    .as_ref()
                    .and_then(|redeemed| redeemed.result.clone());
                let again = kept.map(Outcome::RedeemedAgain);
                again.ok_or(Refusal::already_final(&self.attempt))
            }
            _ => Err(Refusal::already_final(&self.attempt)),
        }
    }

    /// The scanner's standing is gone.
    fn revoke(&mut self, concerned: impl Fn(&Scanner) -> bool) -> Decision {
        let scanner = self.attempt.scanner.as_deref();
        if self.attempt.state.is_final() || !scanner.is_some_and(concerned) {
            return Ok(Outcome::Unaffected);
        }
        self.end(QrState::Denied, Reason::Revoked);
        Ok(Outcome::Revoked)
    }
}
