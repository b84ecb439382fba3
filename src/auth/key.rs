//! The key that signs access tokens: generated, or read from a file.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign_protocol::http::Jwk;
use jsonwebtoken::{DecodingKey, EncodingKey};
use zeroize::Zeroizing;

use super::jwk::VerifyingKey;
use crate::ops::advice;

/// Largest key file, bytes. An Ed25519 key has about 120.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// Why there is no signing key; the text says how to get one.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read the signing key {}: {source}; {}", path.display(), advice::on_reading(path, source))]
    Read { path: PathBuf, source: io::Error },
    /// The file holds something else.
    #[error(
        "the signing key is {found}; it must be an unencrypted Ed25519 private key in PKCS#8, PEM or DER: \
         make one with `openssl genpkey -algorithm ed25519 -out signing-key.pem`"
    )]
    NotAKey { found: &'static str },
    /// No key could be made.
    #[error("the cryptography library could not make a key")]
    Generate,
}

/// An Ed25519 key pair that signs access tokens. Its id is its thumbprint, so a key keeps its id
/// wherever it is loaded, and two keys never share one.
#[derive(Clone)]
pub struct SigningKey {
    id: String,
    public: [u8; 32],
    pub(super) encoding: EncodingKey,
    pub(super) decoding: DecodingKey,
}

impl SigningKey {
    /// A new key, kept in memory only: what it signed is void once the process ends.
    ///
    /// # Errors
    /// When the cryptography library fails.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::Generate)?;
        Self::from_pair(&pair)
    }

    /// Reads a PKCS#8 file, PEM or DER.
    ///
    /// # Errors
    /// When the file cannot be read or is no unencrypted Ed25519 key.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let mut content = Zeroizing::new(Vec::new());
        File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut content))
            .map_err(|source| KeyError::Read {
                path: path.to_owned(),
                source,
            })?;
        Self::from_bytes(&content)
    }

    /// Reads the content of a PKCS#8 file, PEM or DER.
    ///
    /// # Errors
    /// When it is no unencrypted Ed25519 key.
    pub fn from_bytes(content: &[u8]) -> Result<Self, KeyError> {
        let der = match std::str::from_utf8(content) {
            Ok(text) if text.contains("-----BEGIN") => pem(text)?,
            Ok(text) if text.trim().is_empty() => return Err(KeyError::NotAKey { found: "empty" }),
            _ => Zeroizing::new(content.to_vec()),
        };
        let pair = Ed25519KeyPair::from_pkcs8(&der).map_err(|_| KeyError::NotAKey {
            found: "of another kind or damaged",
        })?;
        Self::from_pair(&pair)
    }

    fn from_pair(pair: &Ed25519KeyPair) -> Result<Self, KeyError> {
        let der = pair.to_pkcs8().map_err(|_| KeyError::Generate)?;
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        Ok(Self {
            id: VerifyingKey::Ed25519(public).thumbprint().to_string(),
            public,
            encoding: EncodingKey::from_ed_der(der.as_ref()),
            decoding: DecodingKey::from_ed_der(&public),
        })
    }

    /// The `kid`: 43 characters of base64url.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public half, for `/.well-known/jwks.json`.
    pub fn jwk(&self) -> Jwk {
        Jwk {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            x: URL_SAFE_NO_PAD.encode(self.public),
            kid: self.id.clone(),
            alg: "EdDSA".into(),
            usage: "sig".into(),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

/// The bytes of the one `PRIVATE KEY` block of a PEM file (RFC 7468).
fn pem(text: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let refused = |found| KeyError::NotAKey { found };
    let (_, rest) = text.split_once("-----BEGIN ").ok_or(refused("no PEM"))?;
    let (label, rest) = rest.split_once("-----").ok_or(refused("a PEM file cut short"))?;
    match label {
        "PRIVATE KEY" => {}
        "ENCRYPTED PRIVATE KEY" => return Err(refused("encrypted with a passphrase")),
        "PUBLIC KEY" => return Err(refused("only the public half")),
        _ => return Err(refused("a PEM file of another kind")),
    }
    let (body, _) = rest
        .split_once("-----END PRIVATE KEY-----")
        .ok_or(refused("a PEM file cut short"))?;
    let body: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
    STANDARD
        .decode(body.as_bytes())
        .map(Zeroizing::new)
        .map_err(|_| refused("a PEM file whose base64 is damaged"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8410 §10.3.
    const V1: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE";

    #[test]
    fn a_key_file_is_read_as_pem_and_as_der() {
        let from_pem = SigningKey::from_bytes(V1.as_bytes()).unwrap();
        assert_eq!(from_pem.jwk().x, PUBLIC);
        let dos = format!("a comment\r\n{}", V1.replace('\n', "\r\n"));
        assert_eq!(
            SigningKey::from_bytes(dos.as_bytes()).unwrap().id(),
            from_pem.id()
        );
        let der = pem(V1).unwrap();
        assert_eq!(SigningKey::from_bytes(&der).unwrap().id(), from_pem.id());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        std::fs::write(&path, V1).unwrap();
        assert_eq!(SigningKey::from_file(&path).unwrap().id(), from_pem.id());
    }

    #[test]
    fn what_is_no_key_is_refused_with_advice() {
        let p256 = "-----BEGIN PRIVATE KEY-----\n\
            MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\n\
            OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n\
            1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n\
            -----END PRIVATE KEY-----\n";
        for (content, says) in [
            ("", "empty"),
            ("hello", "another kind"),
            (p256, "another kind"),
            (&V1.replace("PRIVATE", "ENCRYPTED PRIVATE"), "passphrase"),
            (&V1.replace("PRIVATE", "PUBLIC"), "public half"),
            (&V1.replace("PRIVATE", "EC PRIVATE"), "another kind"),
            (&V1.replace("MC4C", "M*4C"), "base64"),
            (&V1[..60], "cut short"),
            ("-----BEGIN ", "cut short"),
        ] {
            let text = SigningKey::from_bytes(content.as_bytes())
                .unwrap_err()
                .to_string();
            assert!(
                text.contains(says) && text.contains("openssl genpkey"),
                "{content}: {text}"
            );
        }
        let missing = SigningKey::from_file(Path::new("/nonexistent/key.pem")).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/key.pem"));
    }

    #[test]
    fn generated_keys_differ_and_debug_shows_the_id_only() {
        let [a, b] = [(); 2].map(|()| SigningKey::generate().unwrap());
        assert_ne!(a.id(), b.id());
        assert_eq!(format!("{a:?}"), format!("SigningKey({})", a.id()));
    }
}
