//! The PC exchanges its ticket for tokens of its own: once, and again for a reply that was lost.

use std::sync::Arc;

use countersign_protocol::server::{PublicDevice, QrRedeemed};
use countersign_protocol::{ErrorCode, UserId};

use super::{Claim, look, no_attempt, unexpected};
use crate::auth::device::DeviceDigest;
use crate::auth::jwk::P256Point;
use crate::auth::sessions::{Minted, NewSession};
use crate::auth::{jwe, seal};
use crate::core::attempt::{self, Attempt, Command, Outcome, Sealed};
use crate::engine::{self, AttemptRef, SessionRecord};
use crate::hub::Connection;
use crate::node::signin::SignInError;
use crate::node::{Node, Refusal};

/// Domain of the result kept for a repeated redeem.
const REDEEM_AAD: &[u8] = b"countersign redeem v1";

/// A redemption's reply.
pub struct Redeemed {
    pub reply: QrRedeemed,
    /// `false`: the user has as many connections as allowed, and this one is to be closed after the reply.
    pub signed_in: bool,
}

/// A record to be stored once the redemption has been decided, with what is told.
struct Prepared {
    record: SessionRecord,
    result: Sealed,
}

/// What a redemption leaves behind for a repeat: its reply, and when the token in it lapses, Unix milliseconds.
#[derive(serde::Serialize, serde::Deserialize)]
struct Kept {
    reply: QrRedeemed,
    expires_at: u64,
}

fn other_user() -> Refusal {
    Refusal::new(
        ErrorCode::Conflict,
        "this connection is signed in as another user",
    )
}

impl Node {
    /// Exchanges the ticket for the PC's own tokens and signs `connection` in.
    ///
    /// # Errors
    /// `not_found` for whoever cannot prove the claim; then `conflict`, `already_final`.
    pub async fn redeem_qr(
        &self,
        connection: &Arc<Connection>,
        claim: Claim<'_>,
        ticket: &str,
    ) -> Result<Redeemed, Refusal> {
        self.counted(self.redeem(connection, claim, ticket)).await
    }

    async fn redeem(
        &self,
        connection: &Arc<Connection>,
        claim: Claim<'_>,
        ticket: &str,
    ) -> Result<Redeemed, Refusal> {
        let now = self.clock.now();
        let bound = connection.session().map(|s| s.user_id().clone());
        let kept = self.exchange(bound, &claim, ticket, now).await?;
        let (session, user) = (&kept.reply.session, &kept.reply.user.id);
        let session = self
            .sessions
            .adopt(session, user, kept.expires_at, claim.device, now)
            .await?;
        match self.sign_in(connection, session).await {
            Ok(()) => Ok(Redeemed {
                reply: kept.reply,
                signed_in: true,
            }),
            // The tokens are good all the same; only this socket cannot be one of the user's.
            Err(SignInError::ConnectionLimit) => Ok(Redeemed {
                reply: kept.reply,
                signed_in: false,
            }),
            Err(SignInError::Refused(refusal)) => Err(refusal),
        }
    }

    /// Exchanges the ticket for the PC's own tokens, for whoever asks over HTTP: no connection is signed in.
    ///
    /// # Errors
    /// As [`Node::redeem_qr`].
    pub async fn redeem_qr_unconnected(&self, claim: Claim<'_>, ticket: &str) -> Result<QrRedeemed, Refusal> {
        let now = self.clock.now();
        let exchanged = self.counted(self.exchange(None, &claim, ticket, now)).await?;
        Ok(exchanged.reply)
    }

    /// The exchange itself. `bound` is the user that whoever asks is already.
    async fn exchange(
        &self,
        bound: Option<UserId>,
        claim: &Claim<'_>,
        ticket: &str,
        now: u64,
    ) -> Result<Kept, Refusal> {
        let (id, (digest, device)) = (claim.id()?, claim.digests());
        let policy = self.policy();
        let mut prepared: Option<Prepared> = None;
        let mut refused: Option<Refusal> = None;
        let mut decide = |attempt: &Attempt| {
            (prepared, refused) = (None, None);
            // Only what would succeed is worth a signature, and only who proved the claim learns anything.
            if attempt.would_redeem(digest, device, ticket, now) {
                let ready = match attempt.scanner() {
                    Some(scanner) if bound.as_ref().is_some_and(|b| *b != scanner.user.id) => {
                        Err(other_user())
                    }
                    _ => self.prepare(attempt, claim, now),
                };
                match ready {
                    Ok(ready) => prepared = Some(ready),
                    Err(refusal) => {
                        refused = Some(refusal);
                        return (look(attempt), None);
                    }
                }
            }
            let (session, result) = match &prepared {
                Some(ready) => (ready.record.identity.id.as_str(), ready.result.clone()),
                None => ("", Sealed::new(Vec::new())),
            };
            let redeem = Command::Redeem {
                claim: digest,
                device,
                ticket,
                session,
                result: &result,
            };
            let step = attempt::decide(attempt, &redeem, now, &policy);
            let first = matches!(step.outcome, Ok(Outcome::Redeemed(_)));
            let opened = prepared
                .as_ref()
                .filter(|_| first)
                .map(|ready| ready.record.clone());
            (step, opened)
        };
        let redeemed = self
            .engine
            .redeem_attempt(AttemptRef::Id(id), &mut decide, now)
            .await?;
        let engine::Redeemed { decided, evicted } = redeemed.ok_or_else(no_attempt)?;
        self.record_decided(&decided);
        for session in &evicted {
            self.end_scans_of(session).await?;
        }
        if let Some(refusal) = refused {
            return Err(refusal);
        }
        let result = match decided.step.outcome? {
            Outcome::Redeemed(result) | Outcome::RedeemedAgain(result) => result,
            _ => return Err(unexpected()),
        };
        let plain = seal::open_kept(claim.claim, result.as_bytes(), REDEEM_AAD).map_err(|_| no_attempt())?;
        let kept: Kept = serde_json::from_slice(&plain).map_err(|_| unexpected())?;
        self.end_if_locked(&kept.reply.user.id, &kept.reply.session)
            .await?;
        Ok(kept)
    }

    /// Makes the PC's session and tokens, sealed so that only the claim can read them again.
    fn prepare(&self, attempt: &Attempt, claim: &Claim<'_>, now: u64) -> Result<Prepared, Refusal> {
        let scanner = attempt.scanner().ok_or_else(unexpected)?;
        let device = attempt.device();
        let Minted { record, tokens } = self.sessions.mint(
            NewSession {
                user: scanner.user.clone(),
                device: DeviceDigest::of(claim.device),
                public_device: PublicDevice {
                    name: device.name.as_deref().map(str::to_owned),
                    kind: device.kind,
                },
                ip: attempt.ip().to_string(),
                jkt: attempt.dpop_jkt().map(str::to_owned),
            },
            now,
        )?;
        let expires_at = now.saturating_add(tokens.expires_in_ms);
        let mut reply = QrRedeemed {
            access_token: None,
            refresh_token: None,
            sealed: None,
            token_type: tokens.token_type,
            expires_in_ms: tokens.expires_in_ms,
            user: tokens.user,
            session: tokens.session,
        };
        let internal = || Refusal::new(ErrorCode::Internal, "the tokens could not be sealed");
        if let Some(key) = attempt.public_key() {
            let point = P256Point::from_key(&key.to_jwk()).map_err(|_| internal())?;
            let pair = serde_json::json!({"access_token": tokens.access_token, "refresh_token": tokens.refresh_token});
            let party = attempt.qr_id().to_string();
            reply.sealed =
                Some(jwe::seal(&point, &party, pair.to_string().as_bytes()).map_err(|_| internal())?);
        } else {
            reply.access_token = Some(tokens.access_token);
            reply.refresh_token = Some(tokens.refresh_token);
        }
        let kept = serde_json::to_vec(&Kept { reply, expires_at }).map_err(|_| internal())?;
        let sealed = seal::seal_kept(claim.claim, &kept, REDEEM_AAD).map_err(|_| internal())?;
        Ok(Prepared {
            record,
            result: Sealed::new(sealed),
        })
    }
}
