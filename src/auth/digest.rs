//! A SHA-256 value as it travels: 43 characters of base64url, compared in constant time.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::secret;

/// 32 bytes of SHA-256. `Debug` does not show them: a digest of a short text can be guessed back.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Reads exactly 43 characters of base64url without padding, in its one canonical form.
    pub fn parse(text: &str) -> Option<Self> {
        let mut out = [0; 32];
        // The decoder refuses padding, foreign characters and stray trailing bits.
        match URL_SAFE_NO_PAD.decode_slice(text, &mut out) {
            Ok(32) => Some(Self(out)),
            _ => None,
        }
    }

    /// The digest with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for storing.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        secret::same(&self.0, &other.0)
    }
}

impl Eq for Digest {}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Digest;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("43 characters of base64url")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Digest, E> {
                Digest::parse(text).ok_or_else(|| E::custom("a digest is 43 characters of base64url"))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_canonical_and_comes_back() {
        let digest = Digest::from(secret::digest("x"));
        let text = digest.to_string();
        assert_eq!(text.len(), 43);
        assert_eq!(Digest::parse(&text), Some(digest));
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        assert!(!format!("{digest:?}").contains(&text[..8]));
        // 43 characters carry 258 bits: the last two must be zero, or one value had four texts.
        let zeros = "A".repeat(42);
        assert!(Digest::parse(&format!("{zeros}A")).is_some());
        for bad in [
            "",
            "A",
            &zeros,
            &format!("{zeros}B"),
            &format!("{zeros}A="),
            &format!("{zeros}AA"),
            &format!("{zeros}+"),
        ] {
            assert_eq!(Digest::parse(bad), None, "{bad}");
        }
    }
}
