//! The phone's side: everything about the phone comes from its session, nothing from its request.

use std::sync::Arc;

use countersign_protocol::ErrorCode;
use countersign_protocol::http::{Confirm, QrStateBody, Scanned};
use countersign_protocol::server::QrState;

use super::{look, no_attempt, unexpected};
use crate::auth::secret;
use crate::auth::sessions::{Session, no_entropy};
use crate::config::StepUp;
use crate::core::attempt::{Attempt, Command, Digest, Digits, Outcome, Phone, QrId, Secret, UserCode};
use crate::engine::AttemptRef;
use crate::node::limiters::network_of;
use crate::node::signin::{Caller, unauthenticated};
use crate::node::{Node, Refusal};

impl Node {
    /// A signed-in phone scans a code.
    pub async fn scan_qr(&self, caller: &Caller, qr_id: &str) -> Result<Scanned, Refusal> {
        self.counted(self.scan(caller, qr_id)).await
    }

    async fn scan(&self, caller: &Caller, qr_id: &str) -> Result<Scanned, Refusal> {
        let (session, _) = Self::phone(caller)?;
        let id = parsed(qr_id)?;
        let attempt = self.look_up(session, id).await?;
        self.check_policy(session, &attempt)?;
        self.scanned(caller, id, None).await
    }

    /// A signed-in phone, or any signed-in browser, types the code that a device shows.
    ///
    /// # Errors
    /// `not_found` where no login has this code, which counts against the account and the address; `rate_limited`
    /// when too many had none; then as [`Node::scan_qr`].
    pub async fn scan_user_code(&self, caller: &Caller, typed: &str) -> Result<Scanned, Refusal> {
        self.counted(self.scan_typed(caller, typed)).await
    }

    async fn scan_typed(&self, caller: &Caller, typed: &str) -> Result<Scanned, Refusal> {
        let (session, _) = Self::phone(caller)?;
        let guess = self.limiters.user_code.guess(session.user_id(), caller.address)?;
        let none = || Refusal::new(ErrorCode::NotFound, "no sign-in has this code; look at it again");
        let code = UserCode::parse(typed).ok_or_else(none)?;
        let found = self.find(AttemptRef::UserCode(code)).await;
        let attempt = match found {
            Ok(found) => found.ok_or_else(none)?,
            // It was not looked at.
            Err(refusal) => {
                guess.right();
                return Err(refusal);
            }
        };
        guess.right();
        self.charge(session, &attempt)?;
        self.check_policy(session, &attempt)?;
        let id = attempt.qr_id();
        let scanned = self.scanned(caller, id, Some(code)).await?;
        Ok(Scanned {
            qr_id: Some(id.to_string()),
            ..scanned
        })
    }

    async fn scanned(&self, caller: &Caller, id: QrId, typed: Option<UserCode>) -> Result<Scanned, Refusal> {
        let (session, phone) = Self::phone(caller)?;
        let now = self.clock.now();
        let scan_token = secret::token().map_err(|_| no_entropy())?;
        let token: Digest = secret::digest(&scan_token).into();
        let drawn = secret::two_digits().map_err(|_| no_entropy())?;
        let digits = drawn.parse().ok().and_then(Digits::new).ok_or_else(no_entropy)?;
        let scan = || Command::Scan {
            qr_id: id,
            phone: &phone,
            token,
            digits,
            typed,
        };
        let decided = self.update(AttemptRef::Id(id), now, &scan).await?;
        let Outcome::Scanned(mut scanned) = decided.step.outcome? else {
            return Err(unexpected());
        };
        // Everybody behind a proxy has its address.
        scanned.request.same_network &= !self.proxies.may_be_one(caller.address, now);
        self.end_if_signed_out(session).await?;
        Ok(Scanned {
            qr_id: None,
            scan_token,
            expires_in_ms: scanned.expires_at.saturating_sub(now),
            request: scanned.request,
            number: scanned.number,
        })
    }

    /// The phone that scanned says yes.
    ///
    /// # Errors
    /// What the attempt refuses; where the configuration asks for the password and it is missing or wrong,
    /// `step_up_required`, before the number is looked at.
    pub async fn confirm_qr(
        &self,
        caller: &Caller,
        qr_id: &str,
        confirm: &Confirm,
    ) -> Result<QrStateBody, Refusal> {
        self.counted(self.confirm(caller, qr_id, confirm)).await
    }

    async fn confirm(&self, caller: &Caller, qr_id: &str, confirm: &Confirm) -> Result<QrStateBody, Refusal> {
        let (session, phone) = Self::phone(caller)?;
        let id = parsed(qr_id)?;
        let attempt = self.look_up(session, id).await?;
        self.check_policy(session, &attempt)?;
        let token: Digest = secret::digest(&confirm.scan_token).into();
        if self.config().qr.step_up == StepUp::Always {
            // What it would be refused with anyway comes first: a password is asked for, and counted, only where it
            // decides.
            attempt.check_confirm(id, &phone, token, self.clock.now(), &self.policy())?;
            self.step_up(session, caller, confirm.password.as_deref()).await?;
        }
        let ticket = Secret::new(secret::token().map_err(|_| no_entropy())?);
        let confirmed = || Command::Confirm {
            qr_id: id,
            phone: &phone,
            token,
            code: confirm.code.as_deref(),
            ticket: &ticket,
        };
        self.update(AttemptRef::Id(id), self.clock.now(), &confirmed)
            .await?
            .step
            .outcome?;
        self.end_if_signed_out(session).await?;
        Ok(QrStateBody {
            state: QrState::Confirmed,
        })
    }

    /// The phone that scanned says no. However much it scanned and tried to confirm, that is heard: denials have a
    /// rate of their own.
    pub async fn deny_qr(
        &self,
        caller: &Caller,
        qr_id: &str,
        scan_token: &str,
    ) -> Result<QrStateBody, Refusal> {
        self.counted(self.deny(caller, qr_id, scan_token)).await
    }

    async fn deny(&self, caller: &Caller, qr_id: &str, scan_token: &str) -> Result<QrStateBody, Refusal> {
        let (session, phone) = Self::phone(caller)?;
        let id = parsed(qr_id)?;
        let attempt = self.find(AttemptRef::Id(id)).await?.ok_or_else(no_attempt)?;
        if !attempt.state().is_final() {
            self.limiters.qr_deny.check(session.user_id())?;
        }
        let token: Digest = secret::digest(scan_token).into();
        let deny = || Command::Deny {
            qr_id: id,
            phone: &phone,
            token,
        };
        self.update(AttemptRef::Id(id), self.clock.now(), &deny)
            .await?
            .step
            .outcome?;
        Ok(QrStateBody {
            state: QrState::Denied,
        })
    }

    /// A session that ended after the request was let in, and before it took effect, was not there to be found when
    /// what it had scanned was ended: then that is done here.
    async fn end_if_signed_out(&self, session: &Session) -> Result<(), Refusal> {
        let now = self.clock.now();
        if self.engine.session(session.id().to_owned(), now).await?.is_some() {
            return Ok(());
        }
        self.end_scans_of(session.id()).await?;
        Err(Refusal::new(
            ErrorCode::InvalidToken,
            "the session has ended; sign in again",
        ))
    }

    /// Whoever holds the phone shows that it is theirs. Guesses count like those at a sign-in.
    async fn step_up(
        &self,
        session: &Session,
        caller: &Caller,
        password: Option<&str>,
    ) -> Result<(), Refusal> {
        let asked = |message| Refusal {
            methods: &["password"],
            ..Refusal::new(ErrorCode::StepUpRequired, message)
        };
        let password = password.ok_or_else(|| asked("give the account's password to confirm"))?;
        let user = session.user_id().clone();
        self.limiters
            .login_account
            .check(&(user.clone(), network_of(caller.address)))?;
        let account = self.engine.account(user).await?;
        let stored = account.as_ref().map(|a| a.password_hash.as_str());
        let right = self.hasher.verify(password, stored).await;
        let right = right.map_err(|e| self.unchecked(e))?;
        if right && account.is_some_and(|a| !a.locked) {
            Ok(())
        } else {
            tracing::info!(target: "countersign::auth", address = %caller.address, "confirmation refused: wrong password");
            Err(asked("the password is wrong"))
        }
    }

    /// Everything about the phone comes from its session, nothing from its request.
    pub(super) fn phone(caller: &Caller) -> Result<(&Session, Phone), Refusal> {
        let session = caller.session.as_deref().ok_or_else(unauthenticated)?;
        let phone = Phone {
            user: (**session.user()).clone(),
            session: session.id().into(),
            device: Digest(*session.device().ok_or_else(unauthenticated)?.as_bytes()),
            ip: caller.address,
        };
        Ok((session, phone))
    }

    async fn look_up(&self, session: &Session, id: QrId) -> Result<Arc<Attempt>, Refusal> {
        let attempt = self.find(AttemptRef::Id(id)).await?.ok_or_else(no_attempt)?;
        self.charge(session, &attempt)?;
        Ok(attempt)
    }

    async fn find(&self, which: AttemptRef) -> Result<Option<Arc<Attempt>>, Refusal> {
        let now = self.clock.now();
        let found = self.engine.update_attempt(which, &mut look, now).await?;
        Ok(found.map(|found| found.attempt))
    }

    /// Counts a scan or a confirmation that names a live attempt; one that names none, or one that has ended, costs the
    /// account nothing.
    fn charge(&self, session: &Session, attempt: &Attempt) -> Result<(), Refusal> {
        if attempt.state().is_final() {
            return Ok(());
        }
        self.limiters.qr_phone.check(session.user_id())
    }

    /// Whether this account may sign in to the client that asks.
    fn check_policy(&self, session: &Session, attempt: &Attempt) -> Result<(), Refusal> {
        let Some(asking) = attempt.client().filter(|_| !attempt.state().is_final()) else {
            return Ok(());
        };
        let config = self.config();
        let denied = match config.client(&asking.id) {
            Some(client) if client.admits(session.user_id()) => return Ok(()),
            Some(_) => "this account may not sign in there",
            None => "this app is no longer registered",
        };
        Err(Refusal::new(ErrorCode::PolicyDenied, denied))
    }
}

fn parsed(qr_id: &str) -> Result<QrId, Refusal> {
    QrId::parse(qr_id).ok_or_else(no_attempt)
}
