//! The device a token is bound to, as the token carries it.

use std::fmt;

use countersign_protocol::DeviceId;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::secret;

/// Separates these digests from every other SHA-256 in the program.
const DOMAIN: &[u8] = b"countersign device v1\0";

/// Digest of a device id. It covers the id alone: a later request presents only the id (header
/// `Countersign-Device`), so the kind could not be checked against it. The kind is bound where both
/// are known, in the session's record.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceDigest(Digest);

impl DeviceDigest {
    /// The digest of a device id.
    pub fn of(device: &DeviceId) -> Self {
        Self(secret::sha256(&[DOMAIN, device.as_str().as_bytes()]).into())
    }

    /// The digest with these bytes, as it was stored.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Digest::from_bytes(bytes))
    }

    /// Whether `device` is the one bound; in constant time.
    pub fn matches(&self, device: &DeviceId) -> bool {
        *self == Self::of(device)
    }

    /// The bytes, for storing.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for DeviceDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceDigest(..)")
    }
}

/// The text of the token's `dev` claim.
impl fmt::Display for DeviceDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_id_matches() {
        let [a, b] = ["pc-1", "pc-2"].map(|id| DeviceId::parse(id).unwrap());
        let digest = DeviceDigest::of(&a);
        assert!(digest.matches(&a) && !digest.matches(&b));
        assert_ne!(digest.as_bytes(), &secret::digest("pc-1"), "domain separated");
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(json, format!("\"{digest}\""));
        assert_eq!(serde_json::from_str::<DeviceDigest>(&json).unwrap(), digest);
    }
}
