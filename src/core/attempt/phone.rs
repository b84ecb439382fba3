//! The transition table of a QR login, the phone's side: scan, confirm, deny, and how it ended.

use countersign_protocol::ErrorCode;
use countersign_protocol::http::ScanRequest;
use countersign_protocol::server::{MatchMode, PublicDevice, QrMatch, QrState};

use super::code::{Code, Digits, UserCode};
use super::command::{Again, Outcome, Phone, Reason, Refusal, Scanned};
use super::decide::{Decision, Draft, NOT_FOUND};
use super::network::same_network;
use super::policy::Policy;
use super::value::{Digest, QrId, Secret};
use super::{Attempt, Change, Scanner};

impl Attempt {
    /// What a confirmation with these would be refused with at `now` (Unix milliseconds) before its number is looked at;
    /// `Ok`: only the number is left to be right, and whatever else the phone is asked for. Changes nothing.
    ///
    /// # Errors
    /// Those of [`Command::Confirm`](super::Command::Confirm) but `match_required` and `match_failed`, in its order.
    pub fn check_confirm(
        &self,
        qr_id: QrId,
        phone: &Phone,
        token: Digest,
        now: u64,
        policy: &Policy,
    ) -> Result<(), Refusal> {
        let draft = Draft::begin(self, now, policy).ok_or(NOT_FOUND)?;
        draft.check_confirm(qr_id, phone, token)
    }
}

impl Draft<'_> {
    fn check_id(&self, qr_id: QrId) -> Result<(), Refusal> {
        if self.attempt.knows(qr_id, self.now) {
            Ok(())
        } else {
            Err(NOT_FOUND)
        }
    }

    pub(super) fn scan(
        &mut self,
        qr_id: QrId,
        phone: &Phone,
        token: Digest,
        digits: Digits,
        typed: Option<UserCode>,
    ) -> Decision {
        self.check_id(qr_id)?;
        let code = self.attempt.grant().map(|grant| grant.user_code);
        if typed.is_some() && typed != code {
            return Err(NOT_FOUND);
        }
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
                let code = match (code, self.attempt.mode) {
                    // It has been typed, or nothing is to be.
                    _ if typed.is_some() => None,
                    (Some(code), _) => Some(Code::UserCode(code)),
                    (None, MatchMode::None) => None,
                    (None, _) => Some(Code::Digits(digits)),
                };
                let scanner = Scanner {
                    user: phone.user.clone(),
                    session: phone.session.clone(),
                    device: phone.device,
                    token: Some(token),
                    code,
                    typed: typed.is_some(),
                };
                self.change().scanner = Some(Box::new(scanner));
                let until = self.now.saturating_add(self.policy.scanned_ms);
                self.enter(QrState::Scanned, Change::Scanned, until);
            }
            Again::Rescan => {
                if let Some(scanner) = &mut self.change().scanner {
                    scanner.token = Some(token);
                    scanner.typed |= typed.is_some();
                }
            }
        }
        Ok(Outcome::Scanned(Box::new(self.shown_to(phone, again))))
    }

    fn shown_to(&self, phone: &Phone, again: Again) -> Scanned {
        let attempt = &self.attempt;
        let owned = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        let code = attempt.scanner.as_ref().and_then(|scanner| scanner.code);
        let code = code.filter(|_| attempt.mode() != MatchMode::None);
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
                client: attempt.client().map(|client| client.name.to_string()),
                scopes: attempt
                    .grant()
                    .map(|grant| grant.scopes.clone())
                    .unwrap_or_default(),
                full_access: attempt.client().is_some() && attempt.device.digest.is_some(),
            },
            number: QrMatch {
                mode: attempt.mode(),
                form: code.map(Code::form).unwrap_or_default(),
                code: code
                    .filter(|_| attempt.mode == MatchMode::PcTypes)
                    .map(Code::text),
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
    pub(super) fn check_code(&mut self, typed: Option<&str>) -> Result<(), Refusal> {
        let Some(typed) = typed.filter(|typed| !typed.is_empty()) else {
            return Err(Refusal::new(ErrorCode::MatchRequired));
        };
        let code = self.attempt.scanner.as_ref().and_then(|scanner| scanner.code);
        if code.is_some_and(|code| code.is(typed)) {
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

    /// All that a confirmation is refused for before its number is looked at.
    fn check_confirm(&self, qr_id: QrId, phone: &Phone, token: Digest) -> Result<(), Refusal> {
        self.check_id(qr_id)?;
        self.check_live()?;
        if self.attempt.state == QrState::Confirmed && self.scanned_by(phone) {
            return Err(Refusal::new(ErrorCode::AlreadyConfirmed));
        }
        self.check_token(phone, token)
    }

    pub(super) fn confirm(
        &mut self,
        qr_id: QrId,
        phone: &Phone,
        token: Digest,
        code: Option<&str>,
        ticket: &Secret,
    ) -> Decision {
        self.check_confirm(qr_id, phone, token)?;
        match self.attempt.mode() {
            MatchMode::None => {}
            MatchMode::PhoneTypes => self.check_code(code)?,
            MatchMode::PcTypes if self.attempt.matched() => {}
            MatchMode::PcTypes => return Err(Refusal::new(ErrorCode::MatchRequired)),
        }
        let is_grant = self.attempt.grant().is_some();
        let confirmed_ms = match is_grant {
            true => self.policy.grant_confirmed_ms,
            false => self.policy.confirmed_ms,
        };
        let expires_at = self.now.saturating_add(confirmed_ms);
        let attempt = self.change();
        attempt.ticket = (!is_grant).then(|| ticket.clone());
        if let Some(scanner) = &mut attempt.scanner {
            scanner.token = None;
        }
        self.enter(QrState::Confirmed, Change::Confirmed, expires_at);
        Ok(Outcome::Confirmed { expires_at })
    }

    /// Once confirmed the token is used up: account and device are what remains to show.
    pub(super) fn deny(&mut self, qr_id: QrId, phone: &Phone, token: Digest) -> Decision {
        self.check_id(qr_id)?;
        self.check_live()?;
        if self.attempt.state != QrState::Confirmed || !self.scanned_by(phone) {
            self.check_token(phone, token)?;
        }
        self.end(QrState::Denied, Reason::User);
        Ok(Outcome::Denied)
    }

    pub(super) fn ask_outcome(&mut self, qr_id: QrId, phone: &Phone) -> Decision {
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
}
