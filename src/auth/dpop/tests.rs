use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_795_305_226_123;
const TOKEN: &str = "header.payload.signature";
const URL: &str = "https://gate.example/v1/me";

enum Signer {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    fn header(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::P256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                let jwk = json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)});
                json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk})
            }
            Self::Ed25519(pair) => {
                let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())});
                json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk})
            }
        }
    }

    fn thumbprint(&self) -> Thumbprint {
        let jwk: HeaderKey = serde_json::from_value(self.header()["jwk"].clone()).unwrap();
        jwk.read().unwrap().thumbprint()
    }

    fn sign(&self, header: &Value, payload: &Value) -> String {
        let [header, payload] = [header, payload].map(|p| URL_SAFE_NO_PAD.encode(p.to_string()));
        let message = format!("{header}.{payload}");
        let signature = match self {
            Self::P256(pair) => pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap(),
            Self::Ed25519(pair) => pair.sign(message.as_bytes()),
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn request(&self) -> Request<'static> {
        Request {
            method: "GET",
            url: URL,
            token: Some(BoundToken {
                text: TOKEN,
                key: self.thumbprint(),
            }),
        }
    }

    /// A proof with one thing changed, checked for the request it was made for.
    fn verdict(&self, change: impl FnOnce(&mut Value, &mut Value)) -> Result<Proof, ProofError> {
        let (mut header, mut payload) = (self.header(), payload());
        change(&mut header, &mut payload);
        check(&self.sign(&header, &payload), &self.request(), NOW)
    }
}

fn payload() -> Value {
    let ath = URL_SAFE_NO_PAD.encode(secret::digest(TOKEN));
    json!({"jti": "j1", "htm": "GET", "htu": URL, "iat": NOW / 1000, "ath": ath})
}

#[test]
fn the_example_of_rfc_9449_holds() {
    let proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDU\
                 kRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1\
                 JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9\
                 yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM\
                 0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF\
                 8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    let request = Request {
        method: "GET",
        url: "https://resource.example.org/protectedresource",
        token: Some(BoundToken {
            text: "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU",
            key: Thumbprint::parse("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I").unwrap(),
        }),
    };
    let proof = check(proof, &request, 1_562_262_618_000).unwrap();
    assert_eq!(proof.jti, "e1j3V_bKic8-LAEB");
    assert_eq!(proof.forget_at, 1_562_262_678_001);
}

#[test]
fn both_kinds_of_key_prove_possession() {
    for signer in [Signer::p256(), Signer::ed25519()] {
        let proof = signer.verdict(|_, _| {}).unwrap();
        assert_eq!((proof.jti.as_str(), proof.key), ("j1", signer.thumbprint()));
        // Asking for a token: no token, no ath, and the key is the proof's.
        let mut payload = payload();
        payload.as_object_mut().unwrap().remove("ath");
        let request = Request {
            token: None,
            ..signer.request()
        };
        let proof = check(&signer.sign(&signer.header(), &payload), &request, NOW).unwrap();
        assert_eq!(proof.key, signer.thumbprint());
    }
}

#[test]
fn the_key_decides_the_algorithm() {
    for signer in [Signer::p256(), Signer::ed25519()] {
        let own = signer.header()["alg"].clone();
        for alg in [
            "none", "None", "HS256", "RS256", "ES256", "ES384", "ES256K", "EdDSA", "", "es256",
        ] {
            let verdict = signer.verdict(|header, _| header["alg"] = json!(alg));
            assert_eq!(verdict.is_ok(), own == alg, "{alg}: {verdict:?}");
        }
        for (name, value) in [("d", json!("AAAA")), ("k", json!("AAAA")), ("d", json!(null))] {
            let verdict = signer.verdict(|header, _| header["jwk"][name] = value);
            assert!(matches!(verdict, Err(ProofError::Malformed(_))), "{name}");
        }
        for jwk in [
            json!({"kty": "oct", "k": "AAAA"}),
            json!({"kty": "RSA", "n": "AA", "e": "AQAB"}),
            json!(null),
        ] {
            let verdict = signer.verdict(|header, _| header["jwk"] = jwk);
            assert!(matches!(verdict, Err(ProofError::Malformed(_))));
        }
    }
}

#[test]
fn headers_and_claims_are_as_the_standard_has_them() {
    let signer = Signer::p256();
    for typ in ["JWT", "at+jwt", "DPOP+JWT", "dpop", ""] {
        assert!(
            signer.verdict(|header, _| header["typ"] = json!(typ)).is_err(),
            "{typ}"
        );
    }
    for crit in [json!(["b64"]), json!([]), json!(null)] {
        assert!(signer.verdict(|header, _| header["crit"] = crit).is_err());
    }
    for (name, value) in [
        ("jti", json!("")),
        ("jti", json!("j".repeat(129))),
        ("jti", json!(1)),
        ("iat", json!("1795305226")),
        ("iat", json!(1_795_305_226.5)),
        ("iat", json!(-1)),
        ("htm", json!(["GET"])),
        ("htu", json!("/v1/me")),
        ("htu", json!("javascript://gate.example/v1/me")),
        ("htu", json!(null)),
        ("ath", json!("AAAA")),
    ] {
        let verdict = signer.verdict(|_, payload| payload[name] = value.clone());
        assert!(
            matches!(verdict, Err(ProofError::Malformed(_))),
            "{name} {value}: {verdict:?}"
        );
    }
    for name in ["jti", "iat", "htm", "htu"] {
        let verdict = signer.verdict(|_, payload| _ = payload.as_object_mut().unwrap().remove(name));
        assert!(
            matches!(verdict, Err(ProofError::Malformed(_))),
            "{name}: {verdict:?}"
        );
    }
    assert!(
        signer
            .verdict(|_, payload| payload["jti"] = json!("j".repeat(128)))
            .is_ok()
    );
    for text in ["", ".", "..", "a.b.c", "a.b.c.d"] {
        assert!(check(text, &signer.request(), NOW).is_err(), "{text}");
    }
    let proof = signer.sign(&signer.header(), &payload());
    assert!(
        check(
            &format!("{proof}{}", "A".repeat(PROOF_BYTES_MAX)),
            &signer.request(),
            NOW
        )
        .is_err()
    );
}

#[test]
fn a_proof_is_for_one_request_one_token_and_one_key() {
    let signer = Signer::ed25519();
    let mismatch = |what| Err(ProofError::Mismatch(what));
    assert_eq!(
        signer.verdict(|_, p| p["htm"] = json!("POST")),
        mismatch("method")
    );
    assert_eq!(signer.verdict(|_, p| p["htm"] = json!("get")), mismatch("method"));
    assert_eq!(
        signer.verdict(|_, p| p["htu"] = json!("https://evil.example/v1/me")),
        mismatch("address")
    );
    let other = URL_SAFE_NO_PAD.encode(secret::digest("other.token"));
    assert_eq!(signer.verdict(|_, p| p["ath"] = json!(other)), mismatch("token"));
    assert_eq!(
        signer.verdict(|_, p| _ = p.as_object_mut().unwrap().remove("ath")),
        mismatch("token")
    );
    let thief = Signer::ed25519();
    let proof = thief.sign(&thief.header(), &payload());
    assert_eq!(check(&proof, &signer.request(), NOW), mismatch("key"));
    let proof = thief.sign(&signer.header(), &payload());
    assert_eq!(check(&proof, &signer.request(), NOW), Err(ProofError::Signature));
    let proof = signer.sign(&signer.header(), &payload());
    let (message, _) = proof.rsplit_once('.').unwrap();
    for signature in ["", "AAAA", "=", &"A".repeat(86)] {
        let verdict = check(&format!("{message}.{signature}"), &signer.request(), NOW);
        assert_eq!(verdict, Err(ProofError::Signature), "{signature}");
    }
}

#[test]
fn a_proof_is_for_this_minute() {
    let signer = Signer::p256();
    let proof = signer.sign(&signer.header(), &payload());
    let made_at = NOW / 1000 * 1000;
    let verdict = |now| check(&proof, &signer.request(), now);
    for now in [made_at - WINDOW_MS, made_at, made_at + WINDOW_MS] {
        let forget_at = verdict(now).unwrap().forget_at;
        assert_eq!(verdict(forget_at), Err(ProofError::Stale));
        assert!(
            verdict(forget_at - 1).is_ok(),
            "not forgotten while it can be used"
        );
    }
    for now in [0, made_at - WINDOW_MS - 1, made_at + WINDOW_MS + 1, u64::MAX] {
        assert_eq!(verdict(now), Err(ProofError::Stale), "{now}");
    }
}

#[test]
fn addresses_are_compared_by_what_they_name() {
    let same = |a: &str, b: &str| Target::of(a).is_some() && Target::of(a) == Target::of(b);
    for url in [
        "HTTPS://GATE.example/v1/me",
        "https://gate.example:443/v1/me",
        "https://gate.example:/v1/me",
        "https://gate.example/v1/me?x=1",
        "https://gate.example/v1/me#x",
        "https://gate.example/v1/me?x=/y#z?",
        "wss://gate.example/v1/me",
    ] {
        assert!(same(url, URL), "{url}");
    }
    for url in [
        "http://gate.example/v1/me",
        "https://gate.example:8443/v1/me",
        "https://gate.example/v1/me/",
        "https://gate.example/V1/me",
        "https://gate.example/",
        "https://gate.example.evil/v1/me",
        "https://gate.example@evil.example/v1/me",
        "https://evil.example/gate.example/v1/me",
        "https://user:pw@gate.example/v1/me",
        "https:///v1/me",
        "//gate.example/v1/me",
        "gate.example/v1/me",
        "https://gate.example:99999/v1/me",
        "https://gate.example:+443/v1/me",
        "https://gate.example /v1/me",
        "https://gate.example/v1/me\n",
    ] {
        assert!(!same(url, URL), "{url}");
    }
    assert!(same("http://h", "http://h:80/?q") && same("ws://h:8080/v1/ws", "http://H:8080/v1/ws"));
    assert!(same("https://[2001:DB8::1]/x", "https://[2001:db8::1]:443/x"));
    assert!(same("https://h/a%2fb", "https://h/a%2Fb") && !same("https://h/a%2fb", "https://h/a/b"));
}
