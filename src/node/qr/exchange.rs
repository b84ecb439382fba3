//! An attempt is exchanged for a session: once, and again for a reply that was lost. What proves it is the PC's ticket
//! or a client's device code.

use countersign_protocol::server::PublicDevice;
use countersign_protocol::{ErrorCode, UserId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{no_attempt, unexpected};
use crate::auth::device::DeviceDigest;
use crate::auth::seal;
use crate::auth::sessions::{NewClient, NewSession};
use crate::core::attempt::{self, Attempt, Command, Digest, Outcome, Sealed};
use crate::engine::{self, AttemptRef, SessionClient, SessionRecord};
use crate::node::{Node, Refusal};

/// What is exchanged.
#[derive(Clone, Copy)]
pub(super) enum Proof<'a> {
    Ticket {
        claim: Digest,
        device: Digest,
        ticket: &'a str,
    },
    DeviceCode {
        code: Digest,
        /// The client that shows it, authenticated.
        client: &'a str,
    },
}

impl Proof<'_> {
    fn would_do(&self, attempt: &Attempt, now: u64) -> bool {
        match *self {
            Self::Ticket {
                claim,
                device,
                ticket,
            } => attempt.would_redeem(claim, device, ticket, now),
            Self::DeviceCode { code, client } => attempt.would_exchange(code, client, now),
        }
    }

    fn command<'c>(&'c self, session: &'c str, result: &'c Sealed) -> Command<'c> {
        match *self {
            Self::Ticket {
                claim,
                device,
                ticket,
            } => Command::Redeem {
                claim,
                device,
                ticket,
                session,
                result,
            },
            Self::DeviceCode { code, client } => Command::Exchange {
                claim: code,
                client,
                session,
                result,
            },
        }
    }
}

/// A record to be stored once the exchange has been decided, with what is told.
pub(super) struct Prepared {
    pub(super) record: SessionRecord,
    pub(super) result: Sealed,
}

/// What came of an exchange that the attempt has heard of.
pub(super) struct Exchanged {
    pub(super) key: attempt::AttemptKey,
    /// What `prepare` made, now or when it was asked first.
    pub(super) result: Result<Sealed, attempt::Refusal>,
}

impl Node {
    /// One compare-and-set that keeps the session with the attempt. `prepare` runs only for what would succeed, and
    /// what it refuses is answered in place of a result.
    ///
    /// # Errors
    /// `not_found` for what names no attempt; what `prepare` refuses.
    pub(super) async fn exchange_for(
        &self,
        which: AttemptRef,
        proof: Proof<'_>,
        now: u64,
        prepare: &(dyn Fn(&Attempt) -> Result<Prepared, Refusal> + Send + Sync),
    ) -> Result<Exchanged, Refusal> {
        let policy = self.policy();
        let mut refused: Option<Refusal> = None;
        let mut decide = |attempt: &Attempt| {
            refused = None;
            let mut prepared: Option<Prepared> = None;
            // Only what would succeed is worth a signature, and only who proved it learns anything.
            if proof.would_do(attempt, now) {
                match prepare(attempt) {
                    Ok(ready) => prepared = Some(ready),
                    Err(refusal) => {
                        refused = Some(refusal);
                        return (super::look(attempt), None);
                    }
                }
            }
            let none = Sealed::new(Vec::new());
            let (session, result) = match &prepared {
                Some(ready) => (ready.record.identity.id.as_str(), &ready.result),
                None => ("", &none),
            };
            let step = attempt::decide(attempt, &proof.command(session, result), now, &policy);
            let first = matches!(step.outcome, Ok(Outcome::Redeemed(_)));
            let opened = prepared.filter(|_| first).map(|ready| ready.record);
            (step, opened)
        };
        let redeemed = self.engine.redeem_attempt(which, &mut decide, now).await?;
        let engine::Redeemed { decided, evicted } = redeemed.ok_or_else(no_attempt)?;
        self.record_decided(&decided);
        for session in &evicted {
            self.end_scans_of(session).await?;
        }
        if let Some(refusal) = refused {
            return Err(refusal);
        }
        let result = match decided.step.outcome {
            Ok(Outcome::Redeemed(result) | Outcome::RedeemedAgain(result)) => Ok(result),
            Ok(_) => return Err(unexpected()),
            Err(refusal) => Err(refusal),
        };
        Ok(Exchanged {
            key: decided.attempt.key(),
            result,
        })
    }

    /// For whom the session is that an attempt comes to.
    ///
    /// # Errors
    /// `not_allowed` when its client may no longer have one, `policy_denied` when not for this account.
    pub(super) fn new_session(
        &self,
        attempt: &Attempt,
        device: Option<DeviceDigest>,
    ) -> Result<NewSession, Refusal> {
        let scanner = attempt.scanner().ok_or_else(unexpected)?;
        let asked = attempt.device();
        Ok(NewSession {
            user: scanner.user.clone(),
            device,
            public_device: PublicDevice {
                name: asked.name.as_deref().map(str::to_owned),
                kind: asked.kind,
            },
            ip: attempt.ip().to_string(),
            jkt: attempt.dpop_jkt().map(str::to_owned),
            client: self.session_client(attempt, &scanner.user.id, device.is_some())?,
        })
    }

    /// The client of an attempt, as it is registered by now.
    fn session_client(
        &self,
        attempt: &Attempt,
        user: &UserId,
        on_a_device: bool,
    ) -> Result<Option<NewClient>, Refusal> {
        let Some(client) = attempt.client() else {
            return Ok(None);
        };
        let config = self.config();
        let registered = config.client(&client.id);
        let registered = registered.ok_or_else(|| {
            let told = "the client that asked is no longer registered";
            Refusal::new(ErrorCode::NotAllowed, told)
        })?;
        if !registered.may_have(user, on_a_device) {
            let told = "the client that asked may no longer have this";
            let code = match registered.admits(user) {
                true => ErrorCode::NotAllowed,
                false => ErrorCode::PolicyDenied,
            };
            return Err(Refusal::new(code, told));
        }
        let scope = client.grant.as_ref().map(|grant| grant.scopes.join(" "));
        Ok(Some(NewClient {
            audience: registered.audience(&client.id).to_owned(),
            client: SessionClient {
                id: client.id.to_string(),
                scope: scope.unwrap_or_default(),
            },
        }))
    }
}

/// Seals what is kept for a repeat, so that only `secret` can read it again.
pub(super) fn seal_result(secret: &str, kept: &impl Serialize, aad: &[u8]) -> Result<Sealed, Refusal> {
    let internal = || Refusal::new(ErrorCode::Internal, "the tokens could not be sealed");
    let plain = serde_json::to_vec(kept).map_err(|_| internal())?;
    let sealed = seal::seal_kept(secret, &plain, aad).map_err(|_| internal())?;
    Ok(Sealed::new(sealed))
}

/// Opens what [`seal_result`] made.
pub(super) fn open_result<T: DeserializeOwned>(
    secret: &str,
    sealed: &Sealed,
    aad: &[u8],
) -> Result<T, Refusal> {
    let plain = seal::open_kept(secret, sealed.as_bytes(), aad).map_err(|_| no_attempt())?;
    serde_json::from_slice(&plain).map_err(|_| unexpected())
}
