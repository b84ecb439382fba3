//! Random secrets, drawn from the operating system's generator and from nowhere else, and the only
//! ways to compare them.

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRng;
use rand::rngs::SysRng;
use subtle::ConstantTimeEq;

/// The operating system gave no random bytes. Nothing can be issued until it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system's random generator failed")]
pub struct NoEntropy;

/// `N` random bytes.
///
/// # Errors
/// When the system's generator fails.
pub fn bytes<const N: usize>() -> Result<[u8; N], NoEntropy> {
    let mut out = [0; N];
    SysRng.try_fill_bytes(&mut out).map_err(|_| NoEntropy)?;
    Ok(out)
}

/// A secret to hand out: 256 bits as 43 characters of base64url. Store its [`digest`], not itself.
///
/// # Errors
/// When the system's generator fails.
pub fn token() -> Result<String, NoEntropy> {
    Ok(URL_SAFE_NO_PAD.encode(bytes::<32>()?))
}

/// A public id that nobody can guess: `prefix`, `_` and 128 bits as 22 characters of base64url.
///
/// # Errors
/// When the system's generator fails.
pub fn id(prefix: &str) -> Result<String, NoEntropy> {
    let mut out = String::with_capacity(prefix.len() + 23);
    out.push_str(prefix);
    out.push('_');
    URL_SAFE_NO_PAD.encode_string(bytes::<16>()?, &mut out);
    Ok(out)
}

/// The number of a number match: `00` to `99`, each equally likely.
///
/// # Errors
/// When the system's generator fails.
pub fn two_digits() -> Result<String, NoEntropy> {
    loop {
        // 256 is no multiple of 100: the top 56 values are thrown away, else 00 to 55 come more often.
        let [byte] = bytes::<1>()?;
        if byte < 200 {
            return Ok(format!("{:02}", byte % 100));
        }
    }
}

/// `N` numbers below `bound`, which is 1 to 255, each equally likely.
///
/// # Errors
/// When the system's generator fails.
pub fn below<const N: usize>(bound: u8) -> Result<[u8; N], NoEntropy> {
    // As above: what lies beyond the last whole multiple is thrown away.
    let bound = bound.max(1);
    let whole = u8::MAX - u8::MAX % bound;
    let mut out = [0; N];
    for number in &mut out {
        *number = loop {
            let [byte] = bytes::<1>()?;
            if byte < whole {
                break byte % bound;
            }
        };
    }
    Ok(out)
}

/// SHA-256 of a secret: what is stored in its place. Fast on purpose, for secrets of full entropy;
/// passwords go through [`password`](super::password).
pub fn digest(text: &str) -> [u8; 32] {
    sha256(&[text.as_bytes()])
}

/// A tag over `text` that only a holder of `key` can make (HMAC-SHA-256), as 43 characters of base64url.
pub fn tag(key: &[u8; 32], text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes()))
}

/// Whether two byte strings are equal, in a time that depends on their lengths only.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// SHA-256 over the parts, one after another.
pub(super) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn tokens_and_ids_have_their_length_and_do_not_repeat() {
        let tokens: HashSet<_> = (0..1_000).map(|_| token().unwrap()).collect();
        let ids: HashSet<_> = (0..1_000).map(|_| id("c").unwrap()).collect();
        assert_eq!((tokens.len(), ids.len()), (1_000, 1_000));
        let url_safe = |t: &str| t.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        assert!(tokens.iter().all(|t| t.len() == 43 && url_safe(t)));
        assert!(
            ids.iter()
                .all(|t| t.len() == 24 && t.starts_with("c_") && url_safe(t))
        );
    }

    #[test]
    fn two_digits_reach_every_number_and_nothing_else() {
        let made: HashSet<_> = (0..5_000).map(|_| two_digits().unwrap()).collect();
        // Missing one of a hundred in 5,000 draws: one in 10^20.
        assert_eq!(made.len(), 100);
        assert!(made.contains("00") && made.contains("99") && made.iter().all(|d| d.len() == 2));
    }

    #[test]
    fn numbers_reach_all_below_their_bound_and_nothing_else() {
        for bound in [1, 20, 255] {
            let made: HashSet<u8> = (0..2_000).flat_map(|_| below::<8>(bound).unwrap()).collect();
            // Missing one of 255 in 16,000 draws: one in 10^24.
            assert_eq!(made, (0..bound).collect());
        }
    }

    #[test]
    fn digest_is_sha_256() {
        // FIPS 180-4 example: "abc".
        let expected = [
            0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
            0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad,
        ];
        assert_eq!(digest("abc"), expected);
        assert_eq!(sha256(&[b"a", b"", b"bc"]), expected);
    }

    #[test]
    fn same_is_equality() {
        assert!(same(b"", b"") && same(b"abc", b"abc"));
        assert!(!same(b"abc", b"abd") && !same(b"abc", b"ab") && !same(b"", b"a"));
    }
}
