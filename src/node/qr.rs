//! QR login: a PC opens ([`open`]) and watches, on its WebSocket ([`watch`]) or over HTTP ([`events`]), a signed-in
//! phone scans and confirms ([`phone`]), the PC redeems ([`redeem`]). A client opens one by OAuth, and exchanges its
//! device code, in [`grant`].

mod events;
mod exchange;
mod grant;
mod open;
mod outcome;
mod phone;
mod record;
mod redeem;
mod watch;

use std::net::IpAddr;

use countersign_protocol::server::QrState;
use countersign_protocol::{DeviceId, ErrorCode};

pub use events::EventStream;
pub use grant::DeviceRequest;
pub use open::QrRequest;
pub use redeem::Redeemed;

use super::refusal::Refusal;
use super::{Node, qr_policy};
use crate::auth::device::DeviceDigest;
use crate::auth::secret;
use crate::core::attempt::{self, Attempt, AttemptKey, CancelReason, Command, Digest, Outcome, Policy, QrId};
use crate::engine::{AttemptRef, Decided};

/// The PC's proof that it is the one that asked.
pub struct Claim<'a> {
    pub qr_id: &'a str,
    pub claim: &'a str,
    pub device: &'a DeviceId,
}

impl Claim<'_> {
    fn id(&self) -> Result<QrId, Refusal> {
        QrId::parse(self.qr_id).ok_or_else(no_attempt)
    }

    fn digests(&self) -> (Digest, Digest) {
        (secret::digest(self.claim).into(), device_digest(self.device))
    }
}

fn device_digest(device: &DeviceId) -> Digest {
    Digest(*DeviceDigest::of(device).as_bytes())
}

/// The same words for an unknown id, a foreign one and a wrong claim.
pub fn no_attempt() -> Refusal {
    Refusal::new(ErrorCode::NotFound, "no such QR login")
}

/// Reads an attempt: a decision that changes nothing.
fn look(_: &Attempt) -> attempt::Step {
    attempt::Step {
        next: None,
        events: Vec::new(),
        outcome: Ok(Outcome::Unaffected),
    }
}

fn unexpected() -> Refusal {
    Refusal::new(ErrorCode::Internal, "the QR login answered out of turn")
}

impl From<attempt::Refusal> for Refusal {
    fn from(r: attempt::Refusal) -> Self {
        let message = match (r.code, r.tries_left) {
            (ErrorCode::NotFound, _) => return no_attempt(),
            (ErrorCode::AlreadyScanned, _) => "another phone scanned this code".into(),
            (ErrorCode::AlreadyConfirmed, _) => "this phone has confirmed already".into(),
            (ErrorCode::AlreadyFinal, _) => "this QR login has ended; open a new one".into(),
            (ErrorCode::ScanTokenInvalid, _) => "this scan token does not work; scan again".into(),
            (ErrorCode::MatchRequired, _) => "give the code shown on the other screen".into(),
            (ErrorCode::MatchFailed, Some(left)) => format!("the code is wrong; {left} more tries").into(),
            (ErrorCode::Conflict, _) => "not in this state of the QR login".into(),
            _ => std::borrow::Cow::from(r.code.name()),
        };
        let gone = r.code == ErrorCode::AlreadyFinal && r.state == Some(QrState::Expired);
        Refusal {
            code: r.code,
            message,
            after_ms: None,
            state: r.state,
            reason: r.reason.map(attempt::Reason::name),
            tries_left: r.tries_left,
            methods: &[],
            status: gone.then_some(410),
        }
    }
}

impl Node {
    fn policy(&self) -> Policy {
        qr_policy(&self.config())
    }

    /// One compare-and-set on an attempt.
    async fn update<'c>(
        &self,
        which: AttemptRef,
        now: u64,
        command: &(dyn Fn() -> Command<'c> + Send + Sync),
    ) -> Result<Decided, Refusal> {
        let policy = self.policy();
        let mut decide = |attempt: &Attempt| attempt::decide(attempt, &command(), now, &policy);
        let decided = self
            .engine
            .update_attempt(which, &mut decide, now)
            .await?
            .ok_or_else(no_attempt)?;
        self.record_decided(&decided);
        Ok(decided)
    }

    /// The PC's person typed the digits that the phone shows.
    ///
    /// # Errors
    /// `not_found` for whoever cannot prove the claim; `match_failed`, with the tries left; `conflict` before a scan
    /// or where the phone types; `already_confirmed`, `already_final`.
    pub async fn answer_qr(&self, claim: Claim<'_>, code: &str) -> Result<(), Refusal> {
        self.counted(self.answer(claim, code)).await
    }

    async fn answer(&self, claim: Claim<'_>, code: &str) -> Result<(), Refusal> {
        let (id, (digest, device)) = (claim.id()?, claim.digests());
        let answer = || Command::Answer {
            claim: digest,
            device,
            code,
        };
        self.update(AttemptRef::Id(id), self.clock.now(), &answer)
            .await?
            .step
            .outcome?;
        Ok(())
    }

    /// The PC ends its attempt.
    pub async fn cancel_qr(&self, claim: Claim<'_>) -> Result<(), Refusal> {
        self.counted(self.cancel(claim)).await
    }

    async fn cancel(&self, claim: Claim<'_>) -> Result<(), Refusal> {
        let (id, (digest, device)) = (claim.id()?, claim.digests());
        let cancel = || Command::Cancel {
            claim: digest,
            device,
            reason: CancelReason::User,
        };
        self.update(AttemptRef::Id(id), self.clock.now(), &cancel)
            .await?
            .step
            .outcome?;
        Ok(())
    }

    /// The address in a code, for the picture that `address` asks for. Drawing is work that anybody may ask for.
    ///
    /// # Errors
    /// `not_found`: no well-formed id; `rate_limited`.
    pub fn qr_picture_url(&self, qr_id: &str, address: IpAddr) -> Result<String, Refusal> {
        let url = self.qr_url(qr_id)?;
        self.limiters.qr_picture.check(address)?;
        Ok(url)
    }

    /// The address in a code and whether it is one.
    pub fn qr_url(&self, qr_id: &str) -> Result<String, Refusal> {
        let id = QrId::parse(qr_id).ok_or_else(no_attempt)?;
        Ok(attempt::url(self.origins.public(), id))
    }

    /// Ends what a session scanned and had not seen through.
    pub(super) async fn end_scans_of(&self, session: &str) -> Result<(), Refusal> {
        let now = self.clock.now();
        for key in self.engine.attempts_scanned_by(session.to_owned()).await? {
            let revoke = || Command::ScannerRevoked { session };
            self.update(AttemptRef::Key(key), now, &revoke).await?;
        }
        Ok(())
    }

    /// A timer of an attempt has fired. Whether it is dealt with.
    pub(super) async fn tick_attempt(&self, key: AttemptKey, now: u64) -> bool {
        let Ok(fresh) = secret::bytes().map(QrId) else {
            return false;
        };
        let tick = || Command::Tick { fresh };
        match self.update(AttemptRef::Key(key), now, &tick).await {
            Ok(_) => true,
            // Somebody else's command found it over before.
            Err(refusal) => refusal.code == ErrorCode::NotFound,
        }
    }

    /// Tells the watcher what it may have missed.
    pub(super) async fn repair_attempt(&self, key: AttemptKey) -> Result<(), Refusal> {
        let now = self.clock.now();
        if let Some(decided) = self
            .engine
            .update_attempt(AttemptRef::Key(key), &mut look, now)
            .await?
        {
            self.tell_watcher(&decided.attempt);
        }
        self.hub.tell_phones(key);
        Ok(())
    }
}
