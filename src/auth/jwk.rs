//! Public keys that clients send, as JSON Web Keys (RFC 7517, RFC 8037), and their thumbprints.

use std::fmt;

use aws_lc_rs::agreement::{ECDH_P256, ParsedPublicKey, UnparsedPublicKey};
use aws_lc_rs::signature::{self, ECDSA_P256_SHA256_FIXED, ED25519};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_protocol::client::PublicKey;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use super::digest::Digest;
use super::secret;

/// Why a key was refused; the text says what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JwkError(&'static str);

/// A point of P-256 that is known to lie on the curve.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct P256Point([u8; 65]);

impl P256Point {
    /// Reads the key of `qr.open`.
    ///
    /// # Errors
    /// When it is no P-256 public key; the text says which member is wrong.
    pub fn from_key(key: &PublicKey<'_>) -> Result<Self, JwkError> {
        if key.kty != "EC" || key.crv != "P-256" {
            return Err(JwkError("public_key is a JWK with kty EC and crv P-256"));
        }
        Self::parse(&key.x, &key.y)
    }

    fn parse(x: &str, y: &str) -> Result<Self, JwkError> {
        let mut point = [4; 65];
        let (head, y_bytes) = point.split_at_mut(33);
        for (text, to) in [(x, &mut head[1..]), (y, y_bytes)] {
            let read = coordinate(text).ok_or(JwkError("x and y are 43 characters of base64url each"))?;
            to.copy_from_slice(&read);
        }
        ParsedPublicKey::try_from(UnparsedPublicKey::new(&ECDH_P256, &point))
            .map_err(|_| JwkError("x and y are no point on the curve P-256"))?;
        Ok(Self(point))
    }

    /// The point uncompressed: `04`, x, y.
    pub(super) const fn as_bytes(&self) -> &[u8; 65] {
        &self.0
    }
}

impl fmt::Debug for P256Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("P256Point(..)")
    }
}

/// x and y of an uncompressed point, in base64url.
pub(super) fn coordinates(point: &[u8; 65]) -> (String, String) {
    let (x, y) = point[1..].split_at(32);
    (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y))
}

/// 32 bytes in their one canonical text.
fn coordinate(text: &str) -> Option<[u8; 32]> {
    Digest::parse(text).map(|d| *d.as_bytes())
}

/// A key that checks signatures. Its type decides the algorithm; no header can choose another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyingKey {
    /// ES256: ECDSA on P-256 with SHA-256, signature in the 64-byte form of RFC 7518 §3.4.
    P256(P256Point),
    /// `EdDSA` on Ed25519.
    Ed25519([u8; 32]),
}

impl VerifyingKey {
    /// The only `alg` this key is for.
    pub const fn algorithm(&self) -> &'static str {
        match self {
            Self::P256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    /// Whether `signature` is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::P256(point) => {
                signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point.as_bytes())
                    .verify(message, signature)
            }
            Self::Ed25519(x) => signature::UnparsedPublicKey::new(&ED25519, x).verify(message, signature),
        }
        .is_ok()
    }

    /// The key's thumbprint (RFC 7638, RFC 8037 appendix A.3).
    pub fn thumbprint(&self) -> Thumbprint {
        let json = match self {
            Self::P256(point) => {
                let (x, y) = coordinates(point.as_bytes());
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Self::Ed25519(x) => {
                let x = URL_SAFE_NO_PAD.encode(x);
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)
            }
        };
        Thumbprint(secret::digest(&json).into())
    }
}

/// SHA-256 thumbprint of a public key: `jkt` in tokens, 43 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Thumbprint(Digest);

impl Thumbprint {
    /// Reads `dpop_jkt` of `qr.open`.
    ///
    /// # Errors
    /// When it is not 43 characters of base64url.
    pub fn parse(text: &str) -> Result<Self, JwkError> {
        Digest::parse(text)
            .map(Self)
            .ok_or(JwkError("a key thumbprint is 43 characters of base64url"))
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A thumbprint names a public key and is public itself.
impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({})", self.0)
    }
}

/// A key as a proof's header carries it. Members not named here say nothing about the key and are ignored.
#[derive(Deserialize)]
pub(super) struct HeaderKey {
    kty: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
    /// Members of private and symmetric keys (RFC 7518 §6): a key that has one must not be accepted.
    #[serde(default, deserialize_with = "present", alias = "k", alias = "p", alias = "q")]
    #[serde(alias = "dp", alias = "dq", alias = "qi", alias = "oth")]
    d: bool,
}

impl HeaderKey {
    pub(super) fn read(&self) -> Result<VerifyingKey, JwkError> {
        if self.d {
            return Err(JwkError(
                "a key in a header is public: no private or symmetric member",
            ));
        }
        match (self.kty.as_str(), self.crv.as_str()) {
            ("EC", "P-256") => P256Point::parse(&self.x, &self.y).map(VerifyingKey::P256),
            ("OKP", "Ed25519") => coordinate(&self.x)
                .map(VerifyingKey::Ed25519)
                .ok_or(JwkError("x is 43 characters of base64url")),
            _ => Err(JwkError("a key is EC with P-256 or OKP with Ed25519")),
        }
    }
}

/// `true` for a member that is there, whatever its value, `null` included.
pub(super) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7517 appendix A.1.
    const X: &str = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
    const Y: &str = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";

    fn key(kty: &'static str, crv: &'static str, x: &str, y: &str) -> Result<P256Point, JwkError> {
        P256Point::from_key(&PublicKey {
            kty: kty.into(),
            crv: crv.into(),
            x: x.to_owned().into(),
            y: y.to_owned().into(),
        })
    }

    #[test]
    fn a_point_is_checked_before_it_is_used() {
        assert!(key("EC", "P-256", X, Y).is_ok());
        let zero = "A".repeat(43);
        for (kty, crv, x, y) in [
            ("OKP", "P-256", X, Y),
            ("EC", "P-384", X, Y),
            ("EC", "P-256", Y, X),
            ("EC", "P-256", X, X),
            ("EC", "P-256", &zero, &zero),
            ("EC", "P-256", "", ""),
            ("EC", "P-256", X, &Y[..42]),
            ("EC", "P-256", &format!("{X}="), Y),
            ("EC", "P-256", &X.replace('M', "+"), Y),
            ("ec", "p-256", X, Y),
        ] {
            assert!(key(kty, crv, x, y).is_err(), "{kty} {crv} {x} {y}");
        }
    }

    #[test]
    fn thumbprints_are_those_of_the_standards() {
        // RFC 8037 appendix A.3.
        let x = coordinate("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        let thumbprint = VerifyingKey::Ed25519(x).thumbprint();
        assert_eq!(
            thumbprint.to_string(),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
        assert_eq!(Thumbprint::parse(&thumbprint.to_string()), Ok(thumbprint));
        assert!(Thumbprint::parse("kPrK").is_err());
        // RFC 9449 §6.1.
        let key: HeaderKey = serde_json::from_str(
            r#"{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
                "y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}"#,
        )
        .unwrap();
        let thumbprint = key.read().unwrap().thumbprint();
        assert_eq!(
            thumbprint.to_string(),
            "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
        );
    }

    #[test]
    fn header_keys_are_public_and_asymmetric() {
        let read = |json: &str| serde_json::from_str::<HeaderKey>(json).map(|k| k.read());
        let ec = |more: &str| format!(r#"{{"kty":"EC","crv":"P-256","x":"{X}","y":"{Y}"{more}}}"#);
        assert!(matches!(read(&ec("")), Ok(Ok(VerifyingKey::P256(_)))));
        assert!(matches!(read(&ec(r#","kid":"1","use":"sig""#)), Ok(Ok(_))));
        for private in ["d", "k", "p", "q", "dp", "dq", "qi", "oth"] {
            for value in ["\"AA\"", "null", "[]"] {
                let json = ec(&format!(r#","{private}":{value}"#));
                assert!(matches!(read(&json), Ok(Err(_))), "{json}");
            }
        }
        assert!(matches!(read(r#"{"kty":"oct","k":"AAAA"}"#), Ok(Err(_))));
        assert!(matches!(
            read(r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#),
            Ok(Err(_))
        ));
        assert!(read(r#"{"crv":"P-256"}"#).is_err() && read("7").is_err() && read("[]").is_err());
        assert!(read(&ec(r#","kty":"OKP""#)).is_err(), "a member twice");
    }
}
