//! The PC exchanges its ticket for tokens of its own: once, and again for a reply that was lost.

use std::sync::Arc;

use countersign_protocol::server::QrRedeemed;
use countersign_protocol::{ErrorCode, UserId};

use super::Claim;
use super::exchange::{Prepared, Proof, open_result, seal_result};
use crate::auth::device::DeviceDigest;
use crate::auth::jwe;
use crate::auth::jwk::P256Point;
use crate::auth::sessions::{Adoption, Minted};
use crate::core::attempt::Attempt;
use crate::engine::AttemptRef;
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

/// What a redemption leaves behind for a repeat.
#[derive(serde::Serialize, serde::Deserialize)]
struct Kept {
    reply: QrRedeemed,
    adoption: Adoption,
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
        let session = self.sessions.adopt(&kept.adoption, claim.device, now).await?;
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
        let proof = Proof::Ticket {
            claim: digest,
            device,
            ticket,
        };
        let prepare = |attempt: &Attempt| match attempt.scanner() {
            Some(scanner) if bound.as_ref().is_some_and(|b| *b != scanner.user.id) => Err(other_user()),
            _ => self.prepare(attempt, claim, now),
        };
        let exchanged = self
            .exchange_for(AttemptRef::Id(id), proof, now, &prepare)
            .await?;
        let kept: Kept = open_result(claim.claim, &exchanged.result?, REDEEM_AAD)?;
        self.end_if_locked(&kept.reply.user.id, &kept.reply.session)
            .await?;
        Ok(kept)
    }

    /// Makes the PC's session and tokens, sealed so that only the claim can read them again.
    fn prepare(&self, attempt: &Attempt, claim: &Claim<'_>, now: u64) -> Result<Prepared, Refusal> {
        let new = self.new_session(attempt, Some(DeviceDigest::of(claim.device)))?;
        let Minted {
            record,
            tokens,
            adoption,
            ..
        } = self.sessions.mint(new, now)?;
        let mut reply = QrRedeemed {
            access_token: None,
            refresh_token: None,
            sealed: None,
            token_type: tokens.token_type,
            expires_in_ms: tokens.expires_in_ms,
            user: tokens.user,
            session: tokens.session,
        };
        if let Some(key) = attempt.public_key() {
            let internal = || Refusal::new(ErrorCode::Internal, "the tokens could not be sealed");
            let point = P256Point::from_key(&key.to_jwk()).map_err(|_| internal())?;
            let pair = serde_json::json!({"access_token": tokens.access_token, "refresh_token": tokens.refresh_token});
            let party = attempt.qr_id().to_string();
            reply.sealed =
                Some(jwe::seal(&point, &party, pair.to_string().as_bytes()).map_err(|_| internal())?);
        } else {
            reply.access_token = Some(tokens.access_token);
            reply.refresh_token = Some(tokens.refresh_token);
        }
        let result = seal_result(claim.claim, &Kept { reply, adoption }, REDEEM_AAD)?;
        Ok(Prepared { record, result })
    }
}
