//! A connection's or a request's authenticated session, and the tokens that prove it.
//!
//! [`Session`] can be made only here, from a token that was verified together with its device, or by the redemption
//! of a QR login: whoever holds one may be stamped as the sender of a message. It always has a device: a registered
//! client's session without one is no [`Session`], whatever token it shows.

mod issue;
mod refresh;
mod shown;

use std::sync::Arc;

use arc_swap::ArcSwap;
use countersign_protocol::http::Tokens;
use countersign_protocol::server::{From as Sender, Profile, PublicDevice};
use countersign_protocol::{DeviceId, ErrorCode, UserId};

use super::device::DeviceDigest;
use super::jwk::Thumbprint;
use super::jwt::{Claims, KeySet, TokenError};
use super::key::SigningKey;
use super::{dpop, secret};
use crate::config;
use crate::engine::{Engine, Identity, OnceKey, SessionClient, SessionRecord};
use crate::refusal::Refusal;

pub use issue::{ClientPart, Issued};
pub use refresh::{Asker, Refreshed};
pub use shown::Shown;

/// Who is on the other side: made from a verified token or by an [`Adoption`], never from what a client says about
/// itself.
///
/// Each connection has its own, because each came with its own token; all else is one and the same for all
/// connections of a session.
#[derive(Debug)]
pub struct Session {
    identity: Arc<Identity>,
    expires_at: u64,
}

impl Session {
    /// `None`: it is a client's, and bound to no device.
    fn new(record: &SessionRecord, expires_at: u64) -> Option<Arc<Self>> {
        record.identity.device?;
        Some(Arc::new(Self {
            identity: Arc::clone(&record.identity),
            expires_at,
        }))
    }

    /// Names the session in `session` fields and revocations.
    pub fn id(&self) -> &str {
        &self.identity.id
    }

    /// The user.
    pub fn user(&self) -> &Arc<Profile> {
        &self.identity.user
    }

    /// The user's id.
    pub fn user_id(&self) -> &UserId {
        &self.identity.user.id
    }

    /// The device it is bound to. There is one.
    pub fn device(&self) -> Option<DeviceDigest> {
        self.identity.device
    }

    /// The device as its owner sees it.
    pub fn public_device(&self) -> &PublicDevice {
        &self.identity.public_device
    }

    /// When the token lapses, Unix milliseconds.
    pub fn expires_at(&self) -> u64 {
        self.expires_at
    }

    /// The `from` of what this session's user says as a member.
    pub fn stamp(&self) -> &Arc<Sender> {
        &self.identity.stamp
    }
}

/// A DPoP proof with the request it has to be for.
#[derive(Clone, Copy)]
pub struct Proof<'a> {
    pub proof: &'a str,
    /// HTTP method; GET for a socket.
    pub method: &'a str,
    /// The request's address as the client sees it.
    pub url: &'a str,
}

/// For whom a session is opened.
pub struct NewSession {
    pub user: Profile,
    /// `None` only for a client, whose tokens then have its own audience.
    pub device: Option<DeviceDigest>,
    pub public_device: PublicDevice,
    pub ip: String,
    /// Thumbprint of the key the tokens shall be bound to.
    pub jkt: Option<String>,
    pub client: Option<NewClient>,
}

/// The registered client for which a session is opened.
pub struct NewClient {
    pub client: SessionClient,
    /// Claim `aud` of its tokens without a device.
    pub audience: String,
}

/// A session with its first pair of tokens, not yet stored.
pub struct Minted {
    pub record: SessionRecord,
    pub tokens: Tokens,
    /// For a registered client.
    pub client: Option<ClientPart>,
    pub adoption: Adoption,
}

/// Leave to sign a connection in with a session that was made for it. Only [`Sessions::mint`] gives it; a redemption
/// keeps it, sealed with the claim, for a repeat.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Adoption {
    user: UserId,
    session: String,
    /// When the session's first token lapses, Unix milliseconds.
    expires_at: u64,
}

/// Issues and checks tokens.
pub struct Sessions {
    keys: ArcSwap<KeySet>,
    engine: Engine,
    settings: ArcSwap<config::Tokens>,
}

impl Sessions {
    /// Sessions stored in `engine`, with tokens signed by `keys`.
    pub fn new(keys: KeySet, engine: Engine, settings: config::Tokens) -> Self {
        Self {
            keys: ArcSwap::from_pointee(keys),
            engine,
            settings: ArcSwap::from_pointee(settings),
        }
    }

    /// The keys.
    pub fn keys(&self) -> Arc<KeySet> {
        self.keys.load_full()
    }

    /// Signs with `key` from `now` on, where it is another one, and goes on with these settings. What the former key
    /// signed is accepted for as long as a token could live that it signed. Answers whether the key has changed.
    pub fn renew(&self, key: Option<SigningKey>, settings: config::Tokens, now: u64) -> bool {
        let lifetime_ms = self.settings.swap(Arc::new(settings)).access_ms;
        let keys = self.keys();
        match key.filter(|key| key.id() != keys.current_id()) {
            Some(key) => {
                let next = keys.succeeded_by(key, now, now.saturating_add(lifetime_ms));
                self.keys.store(Arc::new(next));
                true
            }
            None => false,
        }
    }

    /// Checks a token together with the device it is used on, or with a proof of the key it is bound to.
    ///
    /// # Errors
    /// `invalid_token` or `device_mismatch`.
    pub async fn authenticate(
        &self,
        token: &str,
        device: Option<&DeviceId>,
        proof: Option<Proof<'_>>,
        now: u64,
    ) -> Result<Arc<Session>, Refusal> {
        let claims = self.keys.load().verify(token, now).map_err(|e| invalid(&e))?;
        let both = device.zip(claims.device.as_ref());
        let same = both.map(|(device, bound)| bound.matches(device));
        // Two that are both missing are no match: a token without a device needs its key.
        let enough = same.unwrap_or(claims.key.is_some());
        if !enough {
            return Err(Refusal::new(
                ErrorCode::DeviceMismatch,
                "this token belongs to another device; send the device id it was issued to",
            ));
        }
        if let Some(key) = &claims.key {
            self.check_proof(token, key, proof, now).await?;
        }
        self.session_of(&claims, now).await
    }

    /// The session that a redemption has made, for the connection that redeemed: ticket, claim and device were
    /// proved for it, so its token is not read back, nor its key proved.
    ///
    /// # Errors
    /// `invalid_token` when the session has ended or its first token lapsed, `device_mismatch`.
    pub async fn adopt(
        &self,
        leave: &Adoption,
        device: &DeviceId,
        now: u64,
    ) -> Result<Arc<Session>, Refusal> {
        let record = self.engine.session(leave.session.clone(), now).await?;
        let Some(record) = record.filter(|record| record.identity.user.id == leave.user) else {
            return Err(self.why_ended(&leave.user).await?);
        };
        let other = || {
            Refusal::new(
                ErrorCode::DeviceMismatch,
                "this session belongs to another device",
            )
        };
        if !record.identity.device.is_some_and(|bound| bound.matches(device)) {
            return Err(other());
        }
        if now >= leave.expires_at {
            return Err(invalid(&TokenError::Expired));
        }
        Session::new(&record, leave.expires_at).ok_or_else(other)
    }

    async fn session_of(&self, claims: &Claims, now: u64) -> Result<Arc<Session>, Refusal> {
        match self.engine.session(claims.session.clone(), now).await? {
            Some(record) if record.identity.user.id == claims.user => {
                Session::new(&record, claims.expires_at).ok_or_else(not_here)
            }
            _ => Err(self.why_ended(&claims.user).await?),
        }
    }

    /// Why a token that is ours names a session that is not there: whoever holds it with its device may know that
    /// the account is locked, and that signing in again is no help.
    async fn why_ended(&self, user: &UserId) -> Result<Refusal, Refusal> {
        let account = self.engine.account(user.clone()).await?;
        Ok(if account.is_some_and(|account| account.locked) {
            Refusal::account_locked()
        } else {
            Refusal::new(ErrorCode::InvalidToken, "the session has ended; sign in again")
        })
    }

    async fn check_proof(
        &self,
        token: &str,
        key: &Thumbprint,
        proof: Option<Proof<'_>>,
        now: u64,
    ) -> Result<(), Refusal> {
        let missing = || {
            Refusal::new(
                ErrorCode::InvalidToken,
                "this token is bound to a key: send a DPoP proof",
            )
        };
        let Proof { proof, method, url } = proof.ok_or_else(missing)?;
        let token = Some(dpop::BoundToken {
            text: token,
            key: *key,
        });
        let proved = dpop::check(proof, &dpop::Request { method, url, token }, now).map_err(|e| {
            Refusal::new(
                ErrorCode::InvalidToken,
                format!("the DPoP proof is not valid: {e}"),
            )
        })?;
        let once = OnceKey::Proof(secret::digest(&format!("{}\n{}", proved.key, proved.jti)));
        if self.engine.take(once, proved.forget_at, now).await? {
            Ok(())
        } else {
            Err(Refusal::new(
                ErrorCode::InvalidToken,
                "this DPoP proof was used before",
            ))
        }
    }
}

/// The system has no random bytes to give.
pub fn no_entropy() -> Refusal {
    Refusal::new(ErrorCode::Internal, "the system gave no random bytes")
}

/// A client's token without a device, at our own API.
fn not_here() -> Refusal {
    Refusal::new(
        ErrorCode::InvalidToken,
        "this token is for another audience than this gateway's own API",
    )
}

fn invalid(e: &TokenError) -> Refusal {
    Refusal::new(ErrorCode::InvalidToken, e.to_string())
}

#[cfg(test)]
mod tests;
