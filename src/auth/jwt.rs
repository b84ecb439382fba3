//! Access tokens: JSON Web Tokens in the form of RFC 9068, signed with Ed25519.
//!
//! The program counts in milliseconds, a token in whole seconds: a lifetime is rounded down, never up.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_protocol::UserId;
use countersign_protocol::http::Jwks;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, crypto};
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
/// The `typ` of an ID token.
const ID_TYP: &str = "JWT";

/// Former keys whose tokens are accepted until they have lapsed.
pub const PREVIOUS_KEYS_MAX: usize = 4;

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
    /// `client_id` and `scope`: the registered client it was issued to.
    pub client: Option<ClientClaims>,
    /// `aud` where it is not ours: that of the client's own resources.
    pub audience: Option<String>,
}

/// What an access token says of the registered client it was issued to (RFC 9068 §2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientClaims {
    /// `client_id`.
    pub id: String,
    /// `scope`, separated by spaces; may be empty.
    pub scope: String,
}

impl ClientClaims {
    /// Whether this scope was granted.
    pub fn has(&self, scope: &str) -> bool {
        self.scope.split(' ').any(|granted| granted == scope)
    }
}

/// What an ID token says (OpenID Connect Core §2). Instants are Unix milliseconds.
#[derive(Debug)]
pub struct IdClaims {
    /// `sub`.
    pub user: UserId,
    /// `aud`: the client's id.
    pub client: String,
    /// `iat`.
    pub issued_at: u64,
    /// `exp`.
    pub expires_at: u64,
    /// `auth_time`: when the session began.
    pub signed_in_at: u64,
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
            client: None,
            audience: None,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

/// The payload of an ID token as it travels.
#[derive(Serialize)]
struct IdPayload<'a> {
    iss: &'a str,
    sub: &'a UserId,
    aud: &'a str,
    exp: u64,
    iat: u64,
    auth_time: u64,
}

/// RFC 7800 `cnf`. Any other member than `jkt` is a binding we do not check, so it is refused.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    jkt: Thumbprint,
}

/// Issues and checks the access tokens of one issuer.
pub struct KeySet {
    current: Signer,
    /// Keys that signed before, the newest first, and until when each is accepted.
    previous: Vec<(Signer, u64)>,
    issuer: String,
    audience: String,
}

/// A key, and the header of the tokens it signs.
struct Signer {
    key: SigningKey,
    header: Header,
    /// The header as it stands in front of them.
    head: String,
}

impl Signer {
    fn new(key: SigningKey) -> Self {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYP.to_owned());
        header.kid = Some(key.id().to_owned());
        // A header that could not be written would be no token's: all are then read.
        let json = serde_json::to_vec(&header).unwrap_or_default();
        Self {
            key,
            header,
            head: URL_SAFE_NO_PAD.encode(json),
        }
    }
}

impl KeySet {
    /// Signs with `current`; `iss` and `aud` are written into each token and asked of each.
    pub fn new(current: SigningKey, issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        super::install_crypto();
        Self {
            current: Signer::new(current),
            previous: Vec::new(),
            issuer: issuer.into(),
            audience: audience.into(),
        }
    }

    /// The set that signs with `key` from `now` on. What the key of this one signed is accepted until `until`: by
    /// then, a token lifetime later, all of it has lapsed. Of keys before it at most [`PREVIOUS_KEYS_MAX`] are accepted,
    /// each for its own time.
    #[must_use]
    pub fn succeeded_by(&self, key: SigningKey, now: u64, until: u64) -> Self {
        // A key that comes back is no former one.
        let stays = |signer: &Signer, until: u64| until > now && signer.key.id() != key.id();
        let former = std::iter::once((&self.current, until));
        let former = former.chain(self.previous.iter().map(|(signer, until)| (signer, *until)));
        let previous = former
            .filter(|(signer, until)| stays(signer, *until))
            .map(|(signer, until)| (Signer::new(signer.key.clone()), until))
            .take(PREVIOUS_KEYS_MAX)
            .collect();
        Self {
            previous,
            ..Self::new(key, self.issuer.clone(), self.audience.clone())
        }
    }

    /// The id of the key that signs.
    pub fn current_id(&self) -> &str {
        self.current.key.id()
    }

    /// Claim `iss` of what is signed.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs an ID token. Its type is another than an access token's, so that neither is taken for the other.
    ///
    /// # Errors
    /// When the cryptography library fails.
    pub fn issue_id(&self, claims: &IdClaims) -> Result<String, IssueError> {
        let payload = IdPayload {
            iss: &self.issuer,
            sub: &claims.user,
            aud: &claims.client,
            exp: claims.expires_at / 1000,
            iat: claims.issued_at / 1000,
            auth_time: claims.signed_in_at / 1000,
        };
        let Signer { key, header, .. } = &self.current;
        let header = Header {
            typ: Some(ID_TYP.to_owned()),
            ..header.clone()
        };
        jsonwebtoken::encode(&header, &payload, &key.encoding).map_err(|_| IssueError)
    }

    /// Signs a token.
    ///
    /// # Errors
    /// When the cryptography library fails.
    pub fn issue(&self, claims: &Claims) -> Result<String, IssueError> {
        let payload = Payload {
            iss: self.issuer.clone(),
            aud: claims.audience.as_ref().unwrap_or(&self.audience).clone(),
            sub: claims.user.clone(),
            exp: claims.expires_at / 1000,
            iat: claims.issued_at / 1000,
            nbf: None,
            jti: claims.id.clone(),
            sid: claims.session.clone(),
            dev: claims.device,
            cnf: claims.key.map(|jkt| Confirmation { jkt }),
            client_id: claims.client.as_ref().map(|client| client.id.clone()),
            scope: claims.client.as_ref().map(|client| client.scope.clone()),
        };
        let Signer { key, header, .. } = &self.current;
        jsonwebtoken::encode(header, &payload, &key.encoding).map_err(|_| IssueError)
    }

    /// Checks a token at `now`, Unix milliseconds, without leeway. The device and the key it is bound to
    /// are for the caller to compare with what was presented.
    ///
    /// # Errors
    /// When anything about the token is not as [`issue`](Self::issue) makes it.
    pub fn verify(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        let claims = self.signed(token, now)?;
        match claims.audience {
            None => Ok(claims),
            Some(_) => Err(TokenError::Claims("iss, aud")),
        }
    }

    /// As [`verify`](Self::verify), also for a token that a client has for an audience of its own; with the audience.
    /// What it is good for is for the caller to say: nothing of ours.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn verify_any(&self, token: &str, now: u64) -> Result<(Claims, String), TokenError> {
        let claims = self.signed(token, now)?;
        let audience = claims.audience.as_ref().unwrap_or(&self.audience).clone();
        match (&claims.audience, &claims.client) {
            // We issue none for nobody's audience to nobody.
            (Some(_), None) => Err(TokenError::Claims("iss, aud")),
            _ => Ok((claims, audience)),
        }
    }

    fn signed(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        // The library's `decode` would read the header twice more and the claims twice, and look at times with the
        // system's clock. Everything it would ask of claims is asked by the types of `Payload` and below.
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (head, claims) = message.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let key = &self.signer(token, head, now)?.key;
        let signed = crypto::verify(signature, message.as_bytes(), &key.decoding, Algorithm::EdDSA);
        match signed.map_err(|e| e.into_kind()) {
            Ok(true) => {}
            Ok(false) | Err(ErrorKind::InvalidSignature) => return Err(TokenError::Signature),
            Err(_) => return Err(TokenError::Malformed),
        }
        // Nothing of a claim is looked at before the signature.
        let claims = URL_SAFE_NO_PAD
            .decode(claims)
            .map_err(|_| TokenError::Malformed)?;
        let payload: Payload = serde_json::from_slice(&claims)
            .map_err(|_| TokenError::Claims("a claim is missing or has the wrong type"))?;
        if payload.iss != self.issuer {
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
            client: payload.client_id.map(|id| ClientClaims {
                id,
                scope: payload.scope.unwrap_or_default(),
            }),
            audience: Some(payload.aud).filter(|aud| *aud != self.audience),
        })
    }

    /// The public keys that verify what is accepted at `now`, the current one first.
    pub fn jwks(&self, now: u64) -> Jwks {
        Jwks {
            keys: self.signers(now).map(|s| s.key.jwk()).collect(),
        }
    }

    fn signers(&self, now: u64) -> impl Iterator<Item = &Signer> {
        let accepted = self.previous.iter().filter(move |(_, until)| *until > now);
        std::iter::once(&self.current).chain(accepted.map(|(signer, _)| signer))
    }

    /// Who signed a token, by its header. One that stands as we write it needs no reading.
    fn signer(&self, token: &str, head: &str, now: u64) -> Result<&Signer, TokenError> {
        if let Some(ours) = self.signers(now).find(|s| s.head == head) {
            return Ok(ours);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.alg != Algorithm::EdDSA || header.typ.as_deref() != Some(TYP) || header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        self.signer_named(header.kid.as_deref().ok_or(TokenError::Malformed)?, now)
    }

    /// A `kid` chooses among the keys we hold. It is never a path, an address or a query.
    fn signer_named(&self, kid: &str, now: u64) -> Result<&Signer, TokenError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if kid.is_empty() || kid.len() > KID_BYTES_MAX || !kid.bytes().all(allowed) {
            return Err(TokenError::Malformed);
        }
        self.signers(now)
            .find(|signer| signer.key.id() == kid)
            .ok_or(TokenError::Signature)
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.signers(0).map(|s| &s.key)).finish()
    }
}

#[cfg(test)]
mod tests;
