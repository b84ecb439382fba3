//! Access tokens: JSON Web Tokens in the form of RFC 9068, signed with Ed25519.
//!
//! The program counts in milliseconds, a token in whole seconds: a lifetime is rounded down, never up.

use std::fmt;

use countersign_protocol::UserId;
use countersign_protocol::http::Jwks;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};

use super::device::DeviceDigest;
use super::jwk::Thumbprint;
use super::key::SigningKey;
use super::secret::{self, NoEntropy};

/// Longest token that is looked at, bytes. Ours have about 500.
pub const TOKEN_BYTES_MAX: usize = 4096;
/// Longest `jti` and `sid`, bytes.
const ID_BYTES_MAX: usize = 128;
/// Longest `kid`, bytes.
const KID_BYTES_MAX: usize = 64;
/// The `typ` of an access token (RFC 9068 §2.1): no other JWT of ours can be taken for one.
const TYP: &str = "at+jwt";

/// Why a token was refused. What is told to a client is `invalid_token`, whatever the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No compact JWT, or a header other than ours: algorithm, type, critical extensions.
    #[error("the token is malformed")]
    Malformed,
    /// Signed by nobody we know.
    #[error("the token's signature does not verify")]
    Signature,
    /// At or past its `exp`.
    #[error("the token has expired")]
    Expired,
    /// Before its `nbf`.
    #[error("the token is not valid yet")]
    NotYet,
    /// Signed by us, but with a claim missing, of the wrong type, or meant for others.
    #[error("the token's claims are refused: {0}")]
    Claims(&'static str),
}

/// Why a token was not issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the access token could not be signed")]
pub struct IssueError;

/// What an access token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// `sub`.
    pub user: UserId,
    /// `sid`: the session, 1–128 bytes.
    pub session: String,
    /// `jti`: this token's own id, 1–128 bytes.
    pub id: String,
    /// `iat`, Unix milliseconds of a whole second.
    pub issued_at: u64,
    /// `exp`, Unix milliseconds of a whole second: from then on the token is refused.
    pub expires_at: u64,
    /// `dev`: the device that must be presented with the token.
    pub device: Option<DeviceDigest>,
    /// `cnf.jkt`: the key that must prove each use (RFC 9449).
    pub key: Option<Thumbprint>,
}

impl Claims {
    /// Claims with a fresh `jti`, bound to nothing yet. Tell clients `expires_at - now`, which is up to
    /// a second less than `lifetime_ms`.
    ///
    /// # Errors
    /// When the system's generator fails.
    pub fn new(user: UserId, session: String, now: u64, lifetime_ms: u64) -> Result<Self, NoEntropy> {
        let whole_second = |ms: u64| ms - ms % 1000;
        Ok(Self {
            user,
            session,
            id: secret::id("t")?,
            issued_at: whole_second(now),
            expires_at: whole_second(now.saturating_add(lifetime_ms)),
            device: None,
            key: None,
        })
    }

    /// Binds the token to a device.
    #[must_use]
    pub fn for_device(mut self, device: DeviceDigest) -> Self {
        self.device = Some(device);
        self
    }

    /// Binds the token to a key.
    #[must_use]
    pub fn for_key(mut self, key: Thumbprint) -> Self {
        self.key = Some(key);
        self
    }
}

/// The payload as it travels. The types are the check: a string, float, negative number or array where
/// another type belongs does not parse.
#[derive(Serialize, Deserialize)]
struct Payload {
    iss: String,
    aud: String,
    sub: UserId,
    exp: u64,
    iat: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<u64>,
    jti: String,
    sid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dev: Option<DeviceDigest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
}

/// RFC 7800 `cnf`. Any other member than `jkt` is a binding we do not check, so it is refused.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    jkt: Thumbprint,
}

/// Issues and checks the access tokens of one issuer.
pub struct KeySet {
    current: SigningKey,
    previous: Option<SigningKey>,
    issuer: String,
    audience: String,
    validation: Validation,
}

impl KeySet {
    /// Signs with `current`; `iss` and `aud` are written into each token and asked of each.
    pub fn new(current: SigningKey, issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        super::install_crypto();
        let (issuer, audience) = (issuer.into(), audience.into());
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&issuer]);
        validation.set_audience(&[&audience]);
        // The library would read the system's clock, with leeway: `verify` is given the time instead.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.leeway = 0;
        Self {
            current,
            previous: None,
            issuer,
            audience,
            validation,
        }
    }

    /// Also accepts what `previous` signed: keep it for one token lifetime after a change of key.
    #[must_use]
    pub fn with_previous(mut self, previous: SigningKey) -> Self {
        self.previous = Some(previous);
        self
    }

    /// Signs a token.
    ///
    /// # Errors
    /// When the cryptography library fails.
    pub fn issue(&self, claims: &Claims) -> Result<String, IssueError> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYP.to_owned());
        header.kid = Some(self.current.id().to_owned());
        let payload = Payload {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: claims.user.clone(),
            exp: claims.expires_at / 1000,
            iat: claims.issued_at / 1000,
            nbf: None,
            jti: claims.id.clone(),
            sid: claims.session.clone(),
            dev: claims.device,
            cnf: claims.key.map(|jkt| Confirmation { jkt }),
        };
        jsonwebtoken::encode(&header, &payload, &self.current.encoding).map_err(|_| IssueError)
    }

    /// Checks a token at `now`, Unix milliseconds, without leeway. The device and the key it is bound to
    /// are for the caller to compare with what was presented.
    ///
    /// # Errors
    /// When anything about the token is not as [`issue`](Self::issue) makes it.
    pub fn verify(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.alg != Algorithm::EdDSA || header.typ.as_deref() != Some(TYP) || header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let key = self.key(header.kid.as_deref().ok_or(TokenError::Malformed)?)?;
        let payload: Payload = jsonwebtoken::decode(token, &key.decoding, &self.validation)
            .map_err(|e| refusal(e.kind()))?
            .claims;
        // The library looks for ours among several: a token of ours has one issuer and one audience.
        if payload.iss != self.issuer || payload.aud != self.audience {
            return Err(TokenError::Claims("iss, aud"));
        }
        for id in [&payload.jti, &payload.sid] {
            if id.is_empty() || id.len() > ID_BYTES_MAX {
                return Err(TokenError::Claims("jti and sid are 1 to 128 bytes"));
            }
        }
        let expires_at = payload.exp.saturating_mul(1000);
        if now >= expires_at {
            return Err(TokenError::Expired);
        }
        if payload.nbf.is_some_and(|nbf| now < nbf.saturating_mul(1000)) {
            return Err(TokenError::NotYet);
        }
        Ok(Claims {
            user: payload.sub,
            session: payload.sid,
            id: payload.jti,
            issued_at: payload.iat.saturating_mul(1000),
            expires_at,
            device: payload.dev,
            key: payload.cnf.map(|c| c.jkt),
        })
    }

    /// The public keys that verify what this set issues, the current one first.
    pub fn jwks(&self) -> Jwks {
        Jwks {
            keys: self.keys().map(SigningKey::jwk).collect(),
        }
    }

    fn keys(&self) -> impl Iterator<Item = &SigningKey> {
        std::iter::once(&self.current).chain(&self.previous)
    }

    /// A `kid` chooses among the keys we hold. It is never a path, an address or a query.
    fn key(&self, kid: &str) -> Result<&SigningKey, TokenError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if kid.is_empty() || kid.len() > KID_BYTES_MAX || !kid.bytes().all(allowed) {
            return Err(TokenError::Malformed);
        }
        self.keys()
            .find(|key| key.id() == kid)
            .ok_or(TokenError::Signature)
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys()).finish()
    }
}

/// The library checks the signature before it reads a claim: what it says of claims is of signed ones.
fn refusal(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidIssuer => TokenError::Claims("iss"),
        ErrorKind::InvalidAudience => TokenError::Claims("aud"),
        ErrorKind::MissingRequiredClaim(_) => TokenError::Claims("exp, iss, aud and sub are required"),
        ErrorKind::Json(_) => TokenError::Claims("a claim is missing or has the wrong type"),
        _ => TokenError::Malformed,
    }
}

#[cfg(test)]
mod tests;
