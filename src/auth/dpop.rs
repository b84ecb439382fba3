//! Proof of possession (DPoP, RFC 9449): a signed note that the one who uses a token holds its key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::digest::Digest;
use super::jwk::{HeaderKey, Thumbprint, present};
use super::secret;

/// Longest proof that is looked at, bytes. A usual one has about 600.
pub const PROOF_BYTES_MAX: usize = 4096;
/// Longest `jti`, bytes: the caller remembers it.
pub const JTI_BYTES_MAX: usize = 128;
/// How far a proof's `iat` may be from our time, both ways, milliseconds (RFC 9449 §11.1: seconds or
/// minutes). Clocks of clients differ; this is what we allow them.
pub const WINDOW_MS: u64 = 60_000;

/// Why a proof was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// No compact JWT, or a header or claim that is not as RFC 9449 has it.
    #[error("the DPoP proof is malformed: {0}")]
    Malformed(&'static str),
    /// Not signed by the key in its header.
    #[error("the signature of the DPoP proof does not verify")]
    Signature,
    /// A good proof for something else.
    #[error("the DPoP proof is for another {0}")]
    Mismatch(&'static str),
    /// Made too long ago, or in the future.
    #[error("iat of the DPoP proof is more than {} s from now", WINDOW_MS / 1000)]
    Stale,
}

/// What a proof must be for.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The request's method; `GET` for a socket.
    pub method: &'a str,
    /// The request's absolute address as clients know it; query and fragment do not count.
    pub url: &'a str,
    /// The token the proof comes with. `None` where a token is being asked for: the key is then taken
    /// from the proof.
    pub token: Option<BoundToken<'a>>,
}

/// An access token and the key it is bound to.
#[derive(Clone, Copy)]
pub struct BoundToken<'a> {
    /// The token as it was presented.
    pub text: &'a str,
    /// Its `cnf.jkt`.
    pub key: Thumbprint,
}

/// A proof that holds, once: the caller must take (`key`, `jti`) and refuse it when it was taken before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The key that signed.
    pub key: Thumbprint,
    /// 1 to [`JTI_BYTES_MAX`] bytes.
    pub jti: String,
    /// Unix milliseconds from which the proof is refused for its age, so `jti` may be forgotten.
    pub forget_at: u64,
}

#[derive(Deserialize)]
struct Header {
    typ: String,
    alg: String,
    jwk: HeaderKey,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

#[derive(Deserialize)]
struct Payload {
    jti: String,
    htm: String,
    htu: String,
    iat: u64,
    #[serde(default)]
    ath: Option<Digest>,
}

/// Checks a proof at `now`, Unix milliseconds (RFC 9449 §4.3).
///
/// # Errors
/// When it does not prove possession of the token's key for this request and this time.
pub fn check(proof: &str, request: &Request<'_>, now: u64) -> Result<Proof, ProofError> {
    use ProofError::{Malformed, Mismatch, Signature, Stale};

    if proof.len() > PROOF_BYTES_MAX {
        return Err(Malformed("more than 4096 bytes"));
    }
    let (message, signature) = proof.rsplit_once('.').ok_or(Malformed("no compact JWT"))?;
    let (header, payload) = message.split_once('.').ok_or(Malformed("no compact JWT"))?;
    let header: Header = part(header).ok_or(Malformed("the header has typ, alg and jwk"))?;
    if header.typ != "dpop+jwt" {
        return Err(Malformed("typ is dpop+jwt"));
    }
    if header.crit {
        return Err(Malformed("no critical extensions"));
    }
    let key = header
        .jwk
        .read()
        .map_err(|_| Malformed("jwk is a public key: EC with P-256, or OKP with Ed25519"))?;
    if header.alg != key.algorithm() {
        return Err(Malformed("alg is ES256 for P-256 and EdDSA for Ed25519"));
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Signature)?;
    if !key.verifies(message.as_bytes(), &signature) {
        return Err(Signature);
    }

    let payload: Payload = part(payload).ok_or(Malformed("the claims are jti, htm, htu, iat, ath"))?;
    if payload.jti.is_empty() || payload.jti.len() > JTI_BYTES_MAX {
        return Err(Malformed("jti is 1 to 128 bytes"));
    }
    if payload.htm != request.method {
        return Err(Mismatch("method"));
    }
    if Target::of(&payload.htu).ok_or(Malformed("htu is an absolute http address"))?
        != Target::of(request.url).ok_or(Mismatch("address"))?
    {
        return Err(Mismatch("address"));
    }
    let made_at = payload.iat.saturating_mul(1000);
    if made_at.abs_diff(now) > WINDOW_MS {
        return Err(Stale);
    }
    let key = key.thumbprint();
    if let Some(token) = request.token {
        if key != token.key {
            return Err(Mismatch("key"));
        }
        if payload.ath != Some(secret::digest(token.text).into()) {
            return Err(Mismatch("token"));
        }
    }
    Ok(Proof {
        key,
        jti: payload.jti,
        forget_at: made_at.saturating_add(WINDOW_MS + 1),
    })
}

fn part<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// An address as far as a proof is about it (RFC 9449 §4.3: without query and fragment, normalised by
/// syntax and scheme). `ws` and `wss` count as `http` and `https`: a socket begins as a request there.
#[derive(PartialEq)]
struct Target {
    secure: bool,
    host: String,
    port: u16,
    path: String,
}

impl Target {
    fn of(url: &str) -> Option<Self> {
        if !url.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let (scheme, rest) = url.split_once("://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" | "wss" => true,
            "http" | "ws" => false,
            _ => return None,
        };
        let rest = rest.split(['?', '#']).next()?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        // A colon inside the brackets of an IPv6 address begins no port.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (authority, ""),
        };
        if host.is_empty() || host.contains('@') || !port.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let port = match port {
            "" if secure => 443,
            "" => 80,
            digits => digits.parse().ok()?,
        };
        let path = if path.is_empty() { "/" } else { path };
        Some(Self {
            secure,
            host: host.to_ascii_lowercase(),
            port,
            path: upper_escapes(path),
        })
    }
}

/// `%2f` and `%2F` are one escape (RFC 3986 §6.2.2.1).
fn upper_escapes(path: &str) -> String {
    let mut left = 0;
    path.chars()
        .map(|c| match c {
            '%' => {
                left = 2;
                c
            }
            _ if left > 0 => {
                left -= 1;
                c.to_ascii_uppercase()
            }
            _ => c,
        })
        .collect()
}

#[cfg(test)]
mod tests;
