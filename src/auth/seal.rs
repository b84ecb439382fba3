//! Keeping a result so that only the holder of a secret can read it again: the tokens of a redeemed QR
//! login under its claim, a new pair of tokens under the old refresh token. The gateway stores the
//! sealed bytes and the secret's digest, and can read neither result without being shown the secret.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use zeroize::Zeroizing;

use super::secret::{self, NoEntropy};

/// Separates these keys from all others made from the same secret.
const DOMAIN: &[u8] = b"countersign kept result v1";

/// Why something was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No nonce could be drawn.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    /// The cryptography library refused.
    #[error("sealing failed")]
    Crypto,
}

/// What is to be opened was sealed with another secret or for another purpose, or was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed result does not open")]
pub struct OpenError;

/// Seals `plaintext` under `secret`, which must be random of at least 128 bits (a password is not).
/// `aad` says what the result belongs to, an attempt or a session; opening asks for the same.
/// The result is 28 bytes longer than the plaintext: nonce, ciphertext, tag.
///
/// # Errors
/// When the system's generator or the cryptography library fails.
pub fn seal_kept(secret: &str, plaintext: &[u8], aad: &[u8]) -> Result<Vec<u8>, SealError> {
    let key = key(secret).ok_or(SealError::Crypto)?;
    let nonce: [u8; NONCE_LEN] = secret::bytes()?;
    let mut text = Zeroizing::new(plaintext.to_vec());
    let tag = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut text)
        .map_err(|_| SealError::Crypto)?;
    Ok([&nonce, text.as_slice(), tag.as_ref()].concat())
}

/// Opens what [`seal_kept`] made with the same secret and `aad`. The plaintext is wiped when dropped.
///
/// # Errors
/// When anything differs.
pub fn open_kept(secret: &str, sealed: &[u8], aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(OpenError)?;
    let mut text = Zeroizing::new(rest.to_vec());
    let len = key(secret)
        .ok_or(OpenError)?
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut text)
        .map_err(|_| OpenError)?
        .len();
    text.truncate(len);
    Ok(text)
}

fn key(secret: &str) -> Option<LessSafeKey> {
    let mut key = Zeroizing::new([0; 32]);
    Salt::new(HKDF_SHA256, DOMAIN)
        .extract(secret.as_bytes())
        .expand(&[b"aes-256-gcm"], HKDF_SHA256)
        .and_then(|okm| okm.fill(key.as_mut_slice()))
        .ok()?;
    UnboundKey::new(&AES_256_GCM, key.as_slice())
        .ok()
        .map(LessSafeKey::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "bWl0IGRlciBGYWhycmFkbGFtcGUgZnJldW5kbGljaA";
    const TOKENS: &[u8] = br#"{"access_token":"a","refresh_token":"r"}"#;

    #[test]
    fn the_same_secret_and_purpose_open() {
        for plaintext in [TOKENS, b""] {
            let sealed = seal_kept(SECRET, plaintext, b"qr:1").unwrap();
            assert_eq!(sealed.len(), plaintext.len() + 28);
            assert_eq!(*open_kept(SECRET, &sealed, b"qr:1").unwrap(), plaintext);
        }
        let [a, b] = [(); 2].map(|()| seal_kept(SECRET, TOKENS, b"qr:1").unwrap());
        assert_ne!(a, b, "a nonce of its own each time");
        assert!(!a.windows(6).any(|w| w == b"access"));
    }

    #[test]
    fn nothing_else_opens() {
        let sealed = seal_kept(SECRET, TOKENS, b"qr:1").unwrap();
        for (secret, aad) in [
            ("", &b"qr:1"[..]),
            (&SECRET[1..], b"qr:1"),
            (SECRET, b"qr:2"),
            (SECRET, b""),
        ] {
            assert_eq!(open_kept(secret, &sealed, aad), Err(OpenError));
        }
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open_kept(SECRET, &changed, b"qr:1"), Err(OpenError), "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert_eq!(
                open_kept(SECRET, &sealed[..len], b"qr:1"),
                Err(OpenError),
                "cut at {len}"
            );
        }
        assert_eq!(
            open_kept(SECRET, &[sealed.as_slice(), &[0]].concat(), b"qr:1"),
            Err(OpenError)
        );
    }

    #[test]
    fn the_key_is_hkdf_of_the_secret_in_its_domain() {
        // RFC 5869 by hand: PRK = HMAC(salt, secret); OKM = HMAC(PRK, info | 01).
        use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
        let sealed = seal_kept(SECRET, TOKENS, b"qr:1").unwrap();
        let prk = sign(&Key::new(HMAC_SHA256, DOMAIN), SECRET.as_bytes());
        let okm = sign(&Key::new(HMAC_SHA256, prk.as_ref()), b"aes-256-gcm\x01");
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, okm.as_ref()).unwrap());
        let nonce = Nonce::try_assume_unique_for_key(&sealed[..12]).unwrap();
        let mut text = sealed[12..].to_vec();
        assert_eq!(
            key.open_in_place(nonce, Aad::from(b"qr:1"), &mut text).unwrap(),
            TOKENS
        );
    }
}
