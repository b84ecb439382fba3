//! The transition table of a QR login, one function for each kind of command.

use std::borrow::Cow;

use countersign_protocol::ErrorCode;
use countersign_protocol::http::ScanRequest;
use countersign_protocol::server::{MatchMode, PublicDevice, QrMatch, QrState};

use super::command::{Again, CancelReason, Command, Outcome, Phone, Reason, Refusal, Scanned, Step};
use super::event::Event;
use super::network::same_network;
use super::policy::Policy;
use super::value::{Digest, Digits, QrId, Sealed, Secret};
use super::{Attempt, Change, Entry, Minted, Redeemed, Scanner, Watcher};

type Decision = Result<Outcome, Refusal>;

const NOT_FOUND: Refusal = Refusal::new(ErrorCode::NotFound);

/// Answers `command` at `now` (Unix milliseconds). Has no effects: store `next` if nobody else changed the
/// attempt meanwhile, otherwise load it again and decide again; then publish `events` and answer `outcome`.
pub fn decide(attempt: &Attempt, command: &Command<'_>, now: u64, policy: &Policy) -> Step {
    if attempt.forget_at(policy).is_some_and(|at| now >= at) {
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
    }
    let mut draft = Draft {
        attempt: Cow::Borrowed(attempt),
        events: Vec::new(),
        now,
        policy,
    };
    draft.apply_due();
    let outcome = draft.dispatch(command);
    draft.into_step(outcome)
}

/// A decision in the making: the attempt is copied at the first change, and not before.
struct Draft<'a> {
    attempt: Cow<'a, Attempt>,
    events: Vec<Event>,
    now: u64,
    policy: &'a Policy,
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
            } => self.scan(qr_id, phone, token, digits),
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

    fn change(&mut self) -> &mut Attempt {
        self.attempt.to_mut()
    }

    /// Enters `state`, which lasts until `until`, with the event that says so.
    fn enter(&mut self, state: QrState, change: Change, until: u64) {
        let at = self.now;
        let attempt = self.change();
        attempt.state = state;
        attempt.log.push(Entry { change, at, until });
        self.raise();
    }

    fn end(&mut self, state: QrState, reason: Reason) {
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
        let holder = (self.attempt.claim == claim) & (self.attempt.device.digest == device);
        if holder { Ok(()) } else { Err(NOT_FOUND) }
    }

    fn check_live(&self) -> Result<(), Refusal> {
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
        let right = self.attempt.ticket.as_ref().is_some_and(|kept| kept.is(ticket));
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

    // The phone's side.

    fn check_id(&self, qr_id: QrId) -> Result<(), Refusal> {
        if self.attempt.knows(qr_id, self.now) {
            Ok(())
        } else {
            Err(NOT_FOUND)
        }
    }

    fn scan(&mut self, qr_id: QrId, phone: &Phone, token: Digest, digits: Digits) -> Decision {
        self.check_id(qr_id)?;
        self.check_live()?;
        let again = match &self.attempt.scanner {
            None => Again::First,
            Some(scanner) if self.attempt.state == QrState::Confirmed => {
                let same = scanner.same_account_and_device(phone);
                let code = if same {
                    ErrorCode::AlreadyConfirmed
                } else {
                    ErrorCode::AlreadyScanned
                };
                return Err(Refusal::new(code));
            }
            Some(scanner) if scanner.same_phone(phone) => Again::Rescan,
            Some(_) => return Err(Refusal::new(ErrorCode::AlreadyScanned)),
        };
        match again {
            Again::First => {
                let digits = (self.attempt.mode != MatchMode::None).then_some(digits);
                let scanner = Scanner {
                    user: phone.user.clone(),
                    session: phone.session.clone(),
                    device: phone.device,
                    token: Some(token),
                    digits,
                };
                self.change().scanner = Some(Box::new(scanner));
                let until = self.now.saturating_add(self.policy.scanned_ms);
                self.enter(QrState::Scanned, Change::Scanned, until);
            }
            Again::Rescan => {
                if let Some(scanner) = &mut self.change().scanner {
                    scanner.token = Some(token);
                }
            }
        }
        Ok(Outcome::Scanned(Box::new(self.shown_to(phone, again))))
    }

    fn shown_to(&self, phone: &Phone, again: Again) -> Scanned {
        let attempt = &self.attempt;
        let owned = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        let digits = attempt.scanner.as_ref().and_then(|scanner| scanner.digits);
        let code = digits
            .filter(|_| attempt.mode == MatchMode::PcTypes)
            .map(Digits::text);
        Scanned {
            expires_at: attempt.expires_at(),
            request: ScanRequest {
                device: PublicDevice {
                    name: owned(&attempt.device.name),
                    kind: attempt.device.kind,
                },
                ip: attempt.ip.to_canonical().to_string(),
                user_agent: owned(&attempt.user_agent),
                age_ms: self.now.saturating_sub(attempt.opened_at),
                same_network: same_network(attempt.ip, phone.ip),
                client: owned(&attempt.client),
            },
            number: QrMatch {
                mode: attempt.mode,
                code,
            },
            again,
        }
    }

    /// While scanned: the one working token, in the hand of the phone that got it.
    fn check_token(&self, phone: &Phone, token: Digest) -> Result<(), Refusal> {
        let holds = |scanner: &Scanner| scanner.same_phone(phone) & (scanner.token == Some(token));
        let held = self.attempt.scanner.as_deref().is_some_and(holds);
        if held {
            Ok(())
        } else {
            Err(Refusal::new(ErrorCode::ScanTokenInvalid))
        }
    }

    fn scanned_by(&self, phone: &Phone) -> bool {
        let scanner = self.attempt.scanner.as_deref();
        scanner.is_some_and(|scanner| scanner.same_account_and_device(phone))
    }

    /// A code that was typed, on either side. The last wrong one ends the attempt.
    fn check_code(&mut self, typed: Option<&str>) -> Result<(), Refusal> {
        let Some(typed) = typed.filter(|typed| !typed.is_empty()) else {
            return Err(Refusal::new(ErrorCode::MatchRequired));
        };
        let digits = self.attempt.scanner.as_ref().and_then(|scanner| scanner.digits);
        if digits.is_some_and(|digits| digits.is(typed)) {
            return Ok(());
        }
        let tries = self.attempt.tries.saturating_add(1);
        self.change().tries = tries;
        let tries_left = self.policy.tries_max.saturating_sub(tries);
        let mut refusal = Refusal {
            tries_left: Some(tries_left),
            ..Refusal::new(ErrorCode::MatchFailed)
        };
        if tries_left == 0 {
            self.end(QrState::Denied, Reason::MatchFailed);
            (refusal.state, refusal.reason) = (Some(self.attempt.state), self.attempt.reason);
        }
        Err(refusal)
    }

    fn confirm(
        &mut self,
        qr_id: QrId,
        phone: &Phone,
        token: Digest,
        code: Option<&str>,
        ticket: &Secret,
    ) -> Decision {
        self.check_id(qr_id)?;
        self.check_live()?;
        if self.attempt.state == QrState::Confirmed && self.scanned_by(phone) {
            return Err(Refusal::new(ErrorCode::AlreadyConfirmed));
        }
        self.check_token(phone, token)?;
        match self.attempt.mode {
            MatchMode::None => {}
            MatchMode::PhoneTypes => self.check_code(code)?,
            MatchMode::PcTypes if self.attempt.matched() => {}
            MatchMode::PcTypes => return Err(Refusal::new(ErrorCode::MatchRequired)),
        }
        let expires_at = self.now.saturating_add(self.policy.confirmed_ms);
        let attempt = self.change();
        attempt.ticket = Some(ticket.clone());
        if let Some(scanner) = &mut attempt.scanner {
            scanner.token = None;
        }
        self.enter(QrState::Confirmed, Change::Confirmed, expires_at);
        Ok(Outcome::Confirmed { expires_at })
    }

    /// Once confirmed the token is used up: account and device are what remains to show.
    fn deny(&mut self, qr_id: QrId, phone: &Phone, token: Digest) -> Decision {
        self.check_id(qr_id)?;
        self.check_live()?;
        if self.attempt.state != QrState::Confirmed || !self.scanned_by(phone) {
            self.check_token(phone, token)?;
        }
        self.end(QrState::Denied, Reason::User);
        Ok(Outcome::Denied)
    }

    fn ask_outcome(&mut self, qr_id: QrId, phone: &Phone) -> Decision {
        self.check_id(qr_id)?;
        if !self.scanned_by(phone) {
            return Err(NOT_FOUND);
        }
        let session = self.attempt.session().map(Box::from);
        Ok(Outcome::Asked {
            state: self.attempt.state,
            reason: self.attempt.reason,
            session,
        })
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
