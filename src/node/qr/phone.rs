//! The phone's side: everything about the phone comes from its session, nothing from its request.

use countersign_protocol::http::{QrStateBody, Scanned};
use countersign_protocol::server::QrState;

use super::{look, no_attempt, unexpected};
use crate::auth::secret;
use crate::auth::sessions::{Session, no_entropy};
use crate::core::attempt::{Command, Digest, Digits, Outcome, Phone, QrId, Secret};
use crate::engine::AttemptRef;
use crate::node::signin::{Caller, unauthenticated};
use crate::node::{Node, Refusal};

impl Node {
    /// A signed-in phone scans a code.
    pub async fn scan_qr(&self, caller: &Caller, qr_id: &str) -> Result<Scanned, Refusal> {
        let (session, phone) = Self::phone(caller)?;
        let id = self.live(session, qr_id).await?;
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
        };
        let decided = self.update(AttemptRef::Id(id), now, &scan).await?;
        let Outcome::Scanned(scanned) = decided.step.outcome? else {
            return Err(unexpected());
        };
        Ok(Scanned {
            scan_token,
            expires_in_ms: scanned.expires_at.saturating_sub(now),
            request: scanned.request,
            number: scanned.number,
        })
    }

    /// The phone that scanned says yes.
    pub async fn confirm_qr(
        &self,
        caller: &Caller,
        qr_id: &str,
        scan_token: &str,
        code: Option<&str>,
    ) -> Result<QrStateBody, Refusal> {
        let (session, phone) = Self::phone(caller)?;
        let id = self.live(session, qr_id).await?;
        let ticket = Secret::new(secret::token().map_err(|_| no_entropy())?);
        let token: Digest = secret::digest(scan_token).into();
        let confirm = || Command::Confirm {
            qr_id: id,
            phone: &phone,
            token,
            code,
            ticket: &ticket,
        };
        self.update(AttemptRef::Id(id), self.clock.now(), &confirm)
            .await?
            .step
            .outcome?;
        Ok(QrStateBody {
            state: QrState::Confirmed,
        })
    }

    /// The phone that scanned says no.
    pub async fn deny_qr(
        &self,
        caller: &Caller,
        qr_id: &str,
        scan_token: &str,
    ) -> Result<QrStateBody, Refusal> {
        let (session, phone) = Self::phone(caller)?;
        let id = self.live(session, qr_id).await?;
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

    /// Everything about the phone comes from its session, nothing from its request.
    fn phone(caller: &Caller) -> Result<(&Session, Phone), Refusal> {
        let session = caller.session.as_deref().ok_or_else(unauthenticated)?;
        let phone = Phone {
            user: (**session.user()).clone(),
            session: session.id().into(),
            device: Digest(*session.device().as_bytes()),
            ip: caller.address,
        };
        Ok((session, phone))
    }

    /// Counts a call that names a live attempt; one that names none, or one that has ended, costs the account
    /// nothing.
    async fn live(&self, session: &Session, qr_id: &str) -> Result<QrId, Refusal> {
        let id = QrId::parse(qr_id).ok_or_else(no_attempt)?;
        let found = self
            .engine
            .update_attempt(AttemptRef::Id(id), &mut look, self.clock.now())
            .await?;
        if !found.ok_or_else(no_attempt)?.attempt.state().is_final() {
            self.limiters.qr_phone.check(session.user_id())?;
        }
        Ok(id)
    }
}
