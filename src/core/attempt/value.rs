//! The small values an attempt is made of. Secrets and digests never show themselves in `Debug`,
//! and comparing them takes the same time whatever they hold.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_protocol::client::PublicKey;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    // 4/3 of N, rounded up: nothing longer is even looked at.
    if text.len() != (N * 4).div_ceil(3) {
        return None;
    }
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// Fixed-size bytes stored as unpadded base64url text.
macro_rules! stored_as_text {
    ($name:ident, $bytes:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                let bytes = decode::<$bytes>(&text);
                bytes
                    .map(Self)
                    .ok_or_else(|| D::Error::custom("not base64url of the right length"))
            }
        }
    };
}

/// An attempt's name inside the gateway: random, never on the wire, the same through every rotation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptKey(pub [u8; 16]);

stored_as_text!(AttemptKey, 16);

impl fmt::Debug for AttemptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AttemptKey({})", URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// The public id inside a QR code: 128 random bits, 22 characters of base64url on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QrId(pub [u8; 16]);

stored_as_text!(QrId, 16);

impl QrId {
    /// Reads the 22 characters. Each id has exactly one spelling; anything else is `None`.
    pub fn parse(text: &str) -> Option<Self> {
        decode(text).map(Self)
    }
}

impl fmt::Display for QrId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for QrId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QrId({self})")
    }
}

/// SHA-256 of a claim, a scan token or a device id. `==` takes constant time.
#[derive(Clone, Copy)]
pub struct Digest(pub [u8; 32]);

stored_as_text!(Digest, 32);

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Digest {}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

/// A secret that must be shown to its owner once: the ticket. `==` takes constant time for equal lengths.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text of a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one reply or push it belongs into.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `text` is this secret; constant time for equal lengths.
    pub fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a redeemed attempt hands out again within the grace: bytes the caller has encrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Box<[u8]>);

impl Sealed {
    /// Wraps bytes that are encrypted already; the attempt never looks inside.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The encrypted bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Sealed {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Sealed {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(D::Error::custom)?;
        Ok(Self(bytes.into()))
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// The P-256 public key the PC's tokens are sealed to, as its two coordinates of 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct P256Key {
    x: [u8; 32],
    y: [u8; 32],
}

impl P256Key {
    /// Reads a JWK: `kty` EC, `crv` P-256, both coordinates full length. Whether the point lies on the
    /// curve is for the cryptography that uses it to say.
    pub fn from_jwk(key: &PublicKey<'_>) -> Option<Self> {
        if key.kty != "EC" || key.crv != "P-256" {
            return None;
        }
        Some(Self {
            x: decode(&key.x)?,
            y: decode(&key.y)?,
        })
    }

    /// The same key as a JWK again.
    pub fn to_jwk(&self) -> PublicKey<'static> {
        PublicKey {
            kty: "EC".into(),
            crv: "P-256".into(),
            x: URL_SAFE_NO_PAD.encode(self.x).into(),
            y: URL_SAFE_NO_PAD.encode(self.y).into(),
        }
    }
}
