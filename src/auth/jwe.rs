//! Sealing the tokens of a QR login to the PC's public key: JWE compact (RFC 7516) with `ECDH-ES` on
//! P-256 and `A256GCM`, so that nothing between gateway and page can read them.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::jwk::{P256Point, coordinates};
use super::seal::SealError;
use super::secret;

/// Content encryption, and the `AlgorithmID` of the key derivation (RFC 7518 §4.6.2: with `ECDH-ES` it
/// is the value of `enc`).
const ENC: &str = "A256GCM";

/// Seals `plaintext` to `recipient` with a key used for nothing else. `party` (the `qr_id`) goes into
/// the header as `apv` and into the key: a JWE of one attempt does not open as another's.
///
/// # Errors
/// When the system's generator or the cryptography library fails.
pub fn seal(recipient: &P256Point, party: &str, plaintext: &[u8]) -> Result<String, SealError> {
    let ephemeral = PrivateKey::generate(&ECDH_P256).map_err(|_| SealError::Crypto)?;
    let public = ephemeral.compute_public_key().map_err(|_| SealError::Crypto)?;
    let public: &[u8; 65] = public.as_ref().try_into().map_err(|_| SealError::Crypto)?;
    let (x, y) = coordinates(public);
    let apv = URL_SAFE_NO_PAD.encode(party);
    // Every value is base64url: nothing to escape.
    let header = URL_SAFE_NO_PAD.encode(format!(
        r#"{{"alg":"ECDH-ES","enc":"{ENC}","apv":"{apv}","epk":{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}}}"#
    ));

    let peer = UnparsedPublicKey::new(&ECDH_P256, recipient.as_bytes());
    let key = agree(&ephemeral, peer, SealError::Crypto, |z| {
        let key = concat_kdf(z, ENC, b"", party.as_bytes(), 256).ok_or(SealError::Crypto)?;
        UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|_| SealError::Crypto)
    })?;
    let nonce: [u8; NONCE_LEN] = secret::bytes()?;
    let mut text = Zeroizing::new(plaintext.to_vec());
    let tag = LessSafeKey::new(key)
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(header.as_bytes()),
            &mut text,
        )
        .map_err(|_| SealError::Crypto)?;

    let [nonce, text, tag] = [&nonce, text.as_slice(), tag.as_ref()].map(|p| URL_SAFE_NO_PAD.encode(p));
    // The second part, an encrypted key, is empty: the agreed key encrypts the content itself.
    Ok(format!("{header}..{nonce}.{text}.{tag}"))
}

/// One round of the Concat KDF with SHA-256 (NIST SP 800-56A §5.8.1, RFC 7518 §4.6.2). Of its 256 bits
/// the caller uses the first `bits`.
fn concat_kdf(z: &[u8], algorithm: &str, apu: &[u8], apv: &[u8], bits: u32) -> Option<Zeroizing<[u8; 32]>> {
    let len = |part: &[u8]| u32::try_from(part.len()).ok().map(u32::to_be_bytes);
    let round = 1_u32.to_be_bytes();
    Some(Zeroizing::new(secret::sha256(&[
        &round,
        z,
        &len(algorithm.as_bytes())?,
        algorithm.as_bytes(),
        &len(apu)?,
        apu,
        &len(apv)?,
        apv,
        &bits.to_be_bytes(),
    ])))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest;
    use countersign_protocol::client::PublicKey;
    use serde_json::Value;

    use super::*;

    fn unbase64(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    fn point(x: &str, y: &str) -> Vec<u8> {
        [vec![4], unbase64(x), unbase64(y)].concat()
    }

    struct Receiver(PrivateKey);

    impl Receiver {
        fn new() -> (Self, P256Point) {
            let key = PrivateKey::generate(&ECDH_P256).unwrap();
            let public = key.compute_public_key().unwrap();
            let (x, y) = coordinates(public.as_ref().try_into().unwrap());
            let jwk = PublicKey {
                kty: "EC".into(),
                crv: "P-256".into(),
                x: x.into(),
                y: y.into(),
            };
            (Self(key), P256Point::from_key(&jwk).unwrap())
        }

        /// The receiving side, from the RFCs and with nothing of the sealing side.
        fn decrypt(&self, jwe: &str) -> Option<Vec<u8>> {
            let parts: Vec<&str> = jwe.split('.').collect();
            let [header, "", iv, text, tag] = parts[..] else {
                return None;
            };
            let json: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
            let epk = &json["epk"];
            let asked = [
                &json["alg"],
                &json["enc"],
                &json["epk"]["kty"],
                &json["epk"]["crv"],
            ];
            if asked != ["ECDH-ES", "A256GCM", "EC", "P-256"] {
                return None;
            }
            let apv = URL_SAFE_NO_PAD.decode(json["apv"].as_str()?).ok()?;
            let mut input = vec![0, 0, 0, 1];
            let coordinate = |name| URL_SAFE_NO_PAD.decode(epk[name].as_str()?).ok();
            let peer = [vec![4], coordinate("x")?, coordinate("y")?].concat();
            let peer = UnparsedPublicKey::new(&ECDH_P256, peer);
            input.extend(agree(&self.0, peer, (), |z| Ok(z.to_vec())).ok()?);
            input.extend(b"\0\0\0\x07A256GCM\0\0\0\0");
            input.extend([0, 0, 0, u8::try_from(apv.len()).ok()?]);
            input.extend(apv);
            input.extend([0, 0, 1, 0]);
            let key = digest::digest(&digest::SHA256, &input);
            let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).ok()?);
            let nonce = Nonce::try_assume_unique_for_key(&URL_SAFE_NO_PAD.decode(iv).ok()?).ok()?;
            let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
            if tag.len() != 16 {
                return None;
            }
            let mut text = URL_SAFE_NO_PAD.decode(text).ok()?;
            text.extend(tag);
            let plain = key.open_in_place(nonce, Aad::from(header), &mut text).ok()?;
            Some(plain.to_vec())
        }
    }

    #[test]
    fn the_key_derivation_is_that_of_rfc_7518_appendix_c() {
        let alice = PrivateKey::from_private_key(
            &ECDH_P256,
            &unbase64("0_NxaRPUMQoAJt50Gz8YiTr8gRTwyEaCumd-MToTmIo"),
        )
        .unwrap();
        let bob = point(
            "weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ",
            "e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck",
        );
        let z = agree(&alice, UnparsedPublicKey::new(&ECDH_P256, bob), (), |z| {
            Ok(z.to_vec())
        })
        .unwrap();
        let key = concat_kdf(&z, "A128GCM", b"Alice", b"Bob", 128).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(&key[..16]), "VqqN6vgjbSBcIijNcacQGg");
    }

    #[test]
    fn only_the_recipient_opens() {
        let (receiver, point) = Receiver::new();
        let plain = br#"{"access_token":"a","refresh_token":"r"}"#;
        let jwe = seal(&point, "q_1", plain).unwrap();
        assert_eq!(receiver.decrypt(&jwe).as_deref(), Some(&plain[..]));
        assert_eq!(
            receiver.decrypt(&seal(&point, "q_1", b"").unwrap()).as_deref(),
            Some(&b""[..])
        );
        assert_eq!(Receiver::new().0.decrypt(&jwe), None);
        let [a, b] = [(); 2].map(|()| seal(&point, "q_1", plain).unwrap());
        for (part, (a, b)) in a.split('.').zip(b.split('.')).enumerate() {
            assert!(part == 1 || a != b, "part {part} repeats");
        }
    }

    #[test]
    fn the_header_says_what_the_contract_says() {
        let (_, point) = Receiver::new();
        let jwe = seal(&point, "q_abc", b"x").unwrap();
        let parts: Vec<&str> = jwe.split('.').collect();
        let header: Value = serde_json::from_slice(&unbase64(parts[0])).unwrap();
        assert_eq!((parts.len(), parts[1]), (5, ""));
        assert_eq!(header["apv"], URL_SAFE_NO_PAD.encode("q_abc"));
        assert_eq!(header["alg"], "ECDH-ES");
        assert_eq!((unbase64(parts[2]).len(), unbase64(parts[4]).len()), (12, 16));
        assert!(header["epk"].get("d").is_none());
    }

    #[test]
    fn a_changed_jwe_does_not_open() {
        let (receiver, point) = Receiver::new();
        let jwe = seal(&point, "q_1", b"the tokens").unwrap();
        for at in 0..jwe.len() {
            let mut changed = jwe.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(receiver.decrypt(&changed), None, "character {at}");
        }
        // Another attempt's name in the header, with all else as it was.
        let (header, rest) = jwe.split_once('.').unwrap();
        let header = String::from_utf8(unbase64(header)).unwrap();
        let other = header.replace(&URL_SAFE_NO_PAD.encode("q_1"), &URL_SAFE_NO_PAD.encode("q_2"));
        assert_ne!(header, other);
        assert_eq!(
            receiver.decrypt(&format!("{}.{rest}", URL_SAFE_NO_PAD.encode(other))),
            None
        );
    }
}
