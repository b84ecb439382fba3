//! A connection's or a request's authenticated session, and the tokens that prove it.
//!
//! [`Session`] can be made only here, from a token that was verified together with its device, or by the redemption
//! of a QR login: whoever holds one may be stamped as the sender of a message.

use std::sync::Arc;

use countersign_protocol::http::Tokens;
use countersign_protocol::server::{From as Sender, Profile, PublicDevice};
use countersign_protocol::{DeviceId, ErrorCode, UserId};

use super::device::DeviceDigest;
use super::jwk::Thumbprint;
use super::jwt::{Claims, KeySet, TokenError};
use super::{dpop, seal, secret};
use crate::config;
use crate::engine::{Engine, Identity, OnceKey, RefreshState, Replaced, SessionRecord};
use crate::refusal::Refusal;

/// Domain of the pair kept for a repeated refresh.
const REFRESH_AAD: &[u8] = b"countersign refresh v1";

/// Replaced refresh tokens remembered with their answers, newest first, each for the grace. An earlier one counts
/// as reused.
const REPLACED_MAX: usize = 4;

/// Who is on the other side: made from a verified token, never from what a client says about itself.
///
/// Each connection has its own, because each came with its own token; all else is one and the same for all
/// connections of a session.
#[derive(Debug)]
pub struct Session {
    identity: Arc<Identity>,
    expires_at: u64,
}

impl Session {
    fn new(record: &SessionRecord, expires_at: u64) -> Arc<Self> {
        Arc::new(Self {
            identity: Arc::clone(&record.identity),
            expires_at,
        })
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

    /// The device it is bound to.
    pub fn device(&self) -> DeviceDigest {
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
    pub device: DeviceDigest,
    pub public_device: PublicDevice,
    pub ip: String,
    /// Thumbprint of the key the tokens shall be bound to.
    pub jkt: Option<String>,
}

/// A session with its first pair of tokens, not yet stored.
pub struct Minted {
    pub record: SessionRecord,
    pub tokens: Tokens,
}

/// Issues and checks tokens.
pub struct Sessions {
    keys: KeySet,
    engine: Engine,
    settings: config::Tokens,
}

impl Sessions {
    /// Sessions stored in `engine`, with tokens signed by `keys`.
    pub fn new(keys: KeySet, engine: Engine, settings: config::Tokens) -> Self {
        Self {
            keys,
            engine,
            settings,
        }
    }

    /// The public keys.
    pub fn keys(&self) -> &KeySet {
        &self.keys
    }

    /// Makes a session and its tokens without storing it: for the caller's compare-and-set.
    ///
    /// # Errors
    /// `internal` when the system has no random bytes.
    pub fn mint(&self, new: NewSession, now: u64) -> Result<Minted, Refusal> {
        let id = secret::id("s").map_err(|_| no_entropy())?;
        let family = secret::bytes().map_err(|_| no_entropy())?;
        let refresh_token = refresh_token(&id, &family)?;
        let record = SessionRecord {
            identity: Identity::new(id, new.user, new.device, new.public_device),
            version: 1,
            jkt: new.jkt,
            ip: new.ip,
            created_at: now,
            last_seen_at: now,
            expires_at: now + self.settings.refresh_ms,
            refresh: RefreshState {
                family,
                current: secret::digest(&refresh_token),
                previous: Vec::new(),
            },
            revoked: false,
        };
        let tokens = self.tokens(&record, refresh_token, now)?;
        Ok(Minted { record, tokens })
    }

    fn tokens(&self, record: &SessionRecord, refresh_token: String, now: u64) -> Result<Tokens, Refusal> {
        let lifetime_ms = self.settings.access_ms;
        let who = &record.identity;
        let mut claims = Claims::new(who.user.id.clone(), who.id.clone(), now, lifetime_ms)
            .map_err(|_| no_entropy())?
            .for_device(who.device);
        let mut token_type = "Bearer";
        if let Some(jkt) = &record.jkt {
            let key = Thumbprint::parse(jkt).map_err(|e| Refusal::bad_request(e.to_string()))?;
            claims = claims.for_key(key);
            token_type = "DPoP";
        }
        let access_token = self
            .keys
            .issue(&claims)
            .map_err(|_| Refusal::new(ErrorCode::Internal, "the token could not be signed"))?;
        Ok(Tokens {
            access_token,
            token_type: token_type.into(),
            // On the wire an expiry is whole seconds; this is what is left of it.
            expires_in_ms: claims.expires_at.saturating_sub(now),
            refresh_token,
            user: (*who.user).clone(),
            session: who.id.clone(),
        })
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
        let claims = self.keys.verify(token, now).map_err(|e| invalid(&e))?;
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
    /// proved for it, so its token, which lapses at `expires_at`, is not read back, nor its key proved.
    ///
    /// # Errors
    /// `invalid_token` when the session has ended or its token lapsed, `device_mismatch`.
    pub async fn adopt(
        &self,
        session: &str,
        user: &UserId,
        expires_at: u64,
        device: &DeviceId,
        now: u64,
    ) -> Result<Arc<Session>, Refusal> {
        let record = self.engine.session(session.to_owned(), now).await?;
        let Some(record) = record.filter(|record| record.identity.user.id == *user) else {
            return Err(self.why_ended(user).await?);
        };
        if !record.identity.device.matches(device) {
            return Err(Refusal::new(
                ErrorCode::DeviceMismatch,
                "this session belongs to another device",
            ));
        }
        if now >= expires_at {
            return Err(invalid(&TokenError::Expired));
        }
        Ok(Session::new(&record, expires_at))
    }

    async fn session_of(&self, claims: &Claims, now: u64) -> Result<Arc<Session>, Refusal> {
        match self.engine.session(claims.session.clone(), now).await? {
            Some(record) if record.identity.user.id == claims.user => {
                Ok(Session::new(&record, claims.expires_at))
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

    /// Exchanges a refresh token for a new pair. The same token again within the grace and from the same
    /// device gets the same pair; later, or from another device, the caller has to end the session.
    ///
    /// # Errors
    /// `invalid_token`.
    pub async fn refresh(&self, token: &str, device: &DeviceId, now: u64) -> Result<Refreshed, Refusal> {
        let refused = || {
            Refusal::new(
                ErrorCode::InvalidToken,
                "this refresh token does not work; sign in again",
            )
        };
        let id = session_of(token).ok_or_else(refused)?;
        let digest = secret::digest(token);
        let grace_ms = self.settings.refresh_grace_ms;
        let mut verdict = Verdict::Unknown;
        let mut decide = |record: &SessionRecord| {
            if !is_of_family(token, &record.refresh.family) {
                // Not ours: whoever knows a session's id must not be able to end it by guessing.
                return None;
            }
            let same_device = record.identity.device.matches(device);
            if secret::same(&record.refresh.current, &digest) {
                if !same_device {
                    verdict = Verdict::Reused;
                    return None;
                }
                match self.rotate(record, token, digest, now) {
                    Ok((next, tokens)) => {
                        verdict = Verdict::Fresh(Box::new(tokens));
                        Some(next)
                    }
                    Err(refusal) => {
                        verdict = Verdict::Failed(refusal);
                        None
                    }
                }
            } else {
                let mut replaced = record.refresh.previous.iter();
                verdict = match replaced.find(|old| secret::same(&old.digest, &digest)) {
                    Some(old) if same_device && now < old.at.saturating_add(grace_ms) => {
                        Verdict::Repeated(old.sealed.clone())
                    }
                    // Too late, on another device, or older than what is remembered: somebody has a copy.
                    _ => Verdict::Reused,
                };
                None
            }
        };
        self.engine
            .update_session(id.to_owned(), &mut decide, now)
            .await?;
        match verdict {
            Verdict::Fresh(tokens) => Ok(Refreshed::Pair(tokens)),
            Verdict::Repeated(sealed) => {
                let opened = seal::open_kept(token, &sealed, REFRESH_AAD).map_err(|_| refused())?;
                serde_json::from_slice(&opened)
                    .map(Refreshed::Pair)
                    .map_err(|_| refused())
            }
            Verdict::Failed(refusal) => Err(refusal),
            Verdict::Unknown => Err(refused()),
            Verdict::Reused => Ok(Refreshed::Reused {
                session: id.to_owned(),
                refusal: refused(),
            }),
        }
    }

    fn rotate(
        &self,
        record: &SessionRecord,
        token: &str,
        digest: [u8; 32],
        now: u64,
    ) -> Result<(SessionRecord, Tokens), Refusal> {
        let mut next = record.clone();
        let tokens = self.tokens(
            record,
            refresh_token(&record.identity.id, &record.refresh.family)?,
            now,
        )?;
        let internal = || Refusal::new(ErrorCode::Internal, "the new tokens could not be kept");
        let plain = serde_json::to_vec(&tokens).map_err(|_| internal())?;
        let sealed = seal::seal_kept(token, &plain, REFRESH_AAD).map_err(|_| internal())?;
        // Whoever repeats a call within the grace finds its answer, though another has followed.
        let grace_ms = self.settings.refresh_grace_ms;
        let mut previous = record.refresh.previous.clone();
        previous.retain(|old| now < old.at.saturating_add(grace_ms));
        previous.truncate(REPLACED_MAX - 1);
        previous.insert(
            0,
            Replaced {
                digest,
                at: now,
                sealed,
            },
        );
        next.refresh = RefreshState {
            family: record.refresh.family,
            current: secret::digest(&tokens.refresh_token),
            previous,
        };
        next.last_seen_at = now;
        next.expires_at = now + self.settings.refresh_ms;
        Ok((next, tokens))
    }
}

/// What came of a refresh token.
pub enum Refreshed {
    Pair(Box<Tokens>),
    /// It was used before, or on another device: somebody has a copy. End the session.
    Reused {
        session: String,
        refusal: Refusal,
    },
}

/// What a refresh token turned out to be.
enum Verdict {
    Unknown,
    Fresh(Box<Tokens>),
    Repeated(Vec<u8>),
    Reused,
    Failed(Refusal),
}

/// `<session id>.<256 random bits>.<tag>`: the id finds the record, the tag shows that it came from us, and
/// only then does a token that no longer works mean that somebody uses a stolen one.
fn refresh_token(session: &str, family: &[u8; 32]) -> Result<String, Refusal> {
    let body = format!("{session}.{}", secret::token().map_err(|_| no_entropy())?);
    let tag = secret::tag(family, &body);
    Ok(format!("{body}.{tag}"))
}

fn is_of_family(refresh_token: &str, family: &[u8; 32]) -> bool {
    refresh_token
        .rsplit_once('.')
        .is_some_and(|(body, tag)| secret::same(secret::tag(family, body).as_bytes(), tag.as_bytes()))
}

fn session_of(refresh_token: &str) -> Option<&str> {
    let (id, rest) = refresh_token.split_once('.')?;
    (!id.is_empty() && id.len() <= 64 && rest.len() <= 128).then_some(id)
}

/// The system has no random bytes to give.
pub fn no_entropy() -> Refusal {
    Refusal::new(ErrorCode::Internal, "the system gave no random bytes")
}

fn invalid(e: &TokenError) -> Refusal {
    Refusal::new(ErrorCode::InvalidToken, e.to_string())
}

#[cfg(test)]
mod tests;
