use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use countersign_protocol::DeviceId;
use serde_json::{Value, json};

use super::*;

mod succession;

const NOW: u64 = 1_795_305_226_123;

struct Bench {
    keys: KeySet,
    key: SigningKey,
}

fn bench() -> Bench {
    let key = SigningKey::generate().unwrap();
    Bench {
        keys: KeySet::new(key.clone(), "https://gate.example", "countersign"),
        key,
    }
}

fn claims() -> Claims {
    Claims::new(UserId::parse("alice").unwrap(), "s_1".into(), NOW, 900_000).unwrap()
}

impl Bench {
    fn header(&self) -> Value {
        json!({"typ": "at+jwt", "alg": "EdDSA", "kid": self.key.id()})
    }

    fn payload() -> Value {
        json!({"iss": "https://gate.example", "aud": "countersign", "sub": "alice", "exp": NOW / 1000 + 900,
               "iat": NOW / 1000, "jti": "t_1", "sid": "s_1"})
    }

    /// A token with a good signature over whatever it is given.
    fn sign(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", B64.encode(header), B64.encode(payload));
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &self.key.encoding, Algorithm::EdDSA).unwrap();
        format!("{message}.{signature}")
    }

    fn verdict(&self, header: &Value, payload: &Value) -> Result<Claims, TokenError> {
        self.keys
            .verify(&self.sign(&header.to_string(), &payload.to_string()), NOW)
    }
}

#[test]
fn what_is_issued_verifies_and_says_the_same() {
    let bench = bench();
    let device = DeviceDigest::of(&DeviceId::parse("pc-1").unwrap());
    let jkt = Thumbprint::parse(bench.key.id()).unwrap();
    for claims in [
        claims(),
        claims().for_device(device),
        claims().for_device(device).for_key(jkt),
    ] {
        let token = bench.keys.issue(&claims).unwrap();
        assert!(token.len() < 700, "{}", token.len());
        assert_eq!(bench.keys.verify(&token, NOW), Ok(claims));
    }
    assert!(bench.verdict(&bench.header(), &Bench::payload()).is_ok());
}

#[test]
fn a_token_ends_on_the_millisecond_and_lives_no_longer_than_asked() {
    let bench = bench();
    let claims = claims();
    assert!(claims.expires_at <= NOW + 900_000 && claims.expires_at > NOW + 899_000);
    let token = bench.keys.issue(&claims).unwrap();
    assert!(bench.keys.verify(&token, claims.expires_at - 1).is_ok());
    for late in [0, 1, 1_000, u64::MAX - claims.expires_at] {
        let verdict = bench.keys.verify(&token, claims.expires_at + late);
        assert_eq!(verdict, Err(TokenError::Expired));
    }
}

#[test]
fn nbf_holds_when_it_is_there() {
    let bench = bench();
    let mut payload = Bench::payload();
    payload["nbf"] = json!(NOW / 1000 + 1);
    assert_eq!(bench.verdict(&bench.header(), &payload), Err(TokenError::NotYet));
    payload["nbf"] = json!(NOW / 1000);
    assert!(bench.verdict(&bench.header(), &payload).is_ok());
}

#[test]
fn algorithms_are_not_for_the_header_to_choose() {
    let bench = bench();
    let payload = B64.encode(Bench::payload().to_string());
    for alg in [
        "none", "None", "NONE", "nOnE", "", "HS256", "HS512", "RS256", "PS256", "ES256", "ES384", "eddsa",
        "EDDSA", "Ed25519", "EdDSA ",
    ] {
        let mut header = bench.header();
        header["alg"] = json!(alg);
        assert_eq!(
            bench.verdict(&header, &Bench::payload()),
            Err(TokenError::Malformed),
            "{alg}"
        );
        let unsigned = format!("{}.{payload}.", B64.encode(header.to_string()));
        assert_eq!(
            bench.keys.verify(&unsigned, NOW),
            Err(TokenError::Malformed),
            "{alg}"
        );
    }
    for alg in [json!(null), json!(1), json!(["EdDSA"]), json!({"EdDSA": 1})] {
        let mut header = bench.header();
        header["alg"] = alg;
        assert_eq!(
            bench.verdict(&header, &Bench::payload()),
            Err(TokenError::Malformed)
        );
    }
    // HS256 under everything an attacker can read of the public key.
    let jwk = bench.keys.jwks(NOW).keys.remove(0);
    let raw = B64.decode(&jwk.x).unwrap();
    let jwk_text = serde_json::to_string(&jwk).unwrap();
    for secret in [raw.as_slice(), jwk.x.as_bytes(), jwk_text.as_bytes(), b""] {
        let header = json!({"typ": "at+jwt", "alg": "HS256", "kid": bench.key.id()});
        let message = format!("{}.{payload}", B64.encode(header.to_string()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        let token = format!("{message}.{}", B64.encode(tag));
        assert_eq!(bench.keys.verify(&token, NOW), Err(TokenError::Malformed));
    }
}

#[test]
fn a_signature_must_be_whole_and_ours() {
    let bench = bench();
    let token = bench.keys.issue(&claims()).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let bytes = B64.decode(signature).unwrap();
    for cut in [0, 1, 31, 32, 63] {
        let token = format!("{message}.{}", B64.encode(&bytes[..cut]));
        assert_eq!(
            bench.keys.verify(&token, NOW),
            Err(TokenError::Signature),
            "{cut}"
        );
    }
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let token = format!("{message}.{}", B64.encode(&bytes));
        assert_eq!(
            bench.keys.verify(&token, NOW),
            Err(TokenError::Signature),
            "bit {bit}"
        );
    }
    let longer = format!("{message}.{}", B64.encode([bytes.as_slice(), &[0]].concat()));
    assert_eq!(bench.keys.verify(&longer, NOW), Err(TokenError::Signature));
    // The payload of one token under the signature of another.
    let other = bench.keys.issue(&claims()).unwrap();
    let (other_message, _) = other.rsplit_once('.').unwrap();
    assert_eq!(
        bench.keys.verify(&format!("{other_message}.{signature}"), NOW),
        Err(TokenError::Signature)
    );
    // Another key under our kid, and its own.
    let foreign = self::bench();
    let token = foreign.sign(&bench.header().to_string(), &Bench::payload().to_string());
    assert_eq!(bench.keys.verify(&token, NOW), Err(TokenError::Signature));
    let token = foreign.keys.issue(&claims()).unwrap();
    assert_eq!(bench.keys.verify(&token, NOW), Err(TokenError::Signature));
}

#[test]
fn what_is_no_compact_jwt_is_malformed() {
    let bench = bench();
    let token = bench.keys.issue(&claims()).unwrap();
    let header = token.split('.').next().unwrap();
    for text in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "é.é.é",
        "\0.\0.\0",
        header,
        &format!("{header}."),
        &format!("{header}.."),
        &format!("{token}."),
        &format!(".{token}"),
        &format!("{token}.x"),
        &format!(" {token}"),
        &format!("{token} "),
        &format!("{token}="),
        &format!("Bearer {token}"),
        &format!("{token}\n"),
        &token.replace('.', ","),
        &format!("{token}{}", "A".repeat(TOKEN_BYTES_MAX)),
    ] {
        let verdict = bench.keys.verify(text, NOW);
        let refused = matches!(verdict, Err(TokenError::Malformed | TokenError::Signature));
        assert!(refused, "{text}: {verdict:?}");
    }
    for len in 0..token.len() {
        assert!(bench.keys.verify(&token[..len], NOW).is_err(), "cut at {len}");
    }
}

#[test]
fn headers_other_than_ours_are_refused() {
    let bench = bench();
    for typ in [
        json!("JWT"),
        json!("jwt"),
        json!("dpop+jwt"),
        json!("AT+JWT"),
        json!("at+jwt "),
        json!(""),
        json!(null),
        json!(1),
    ] {
        let mut header = bench.header();
        header["typ"] = typ;
        assert_eq!(
            bench.verdict(&header, &Bench::payload()),
            Err(TokenError::Malformed),
            "{header}"
        );
    }
    for crit in [json!(["exp"]), json!(["b64"]), json!([]), json!("exp"), json!({})] {
        let mut header = bench.header();
        header["crit"] = crit;
        assert_eq!(
            bench.verdict(&header, &Bench::payload()),
            Err(TokenError::Malformed),
            "{header}"
        );
    }
    for header in [
        "",
        "null",
        "[]",
        "\"EdDSA\"",
        "{}",
        r#"{"alg":"EdDSA"}"#,
        r#"{"typ":"at+jwt"}"#,
    ] {
        let token = bench.sign(header, &Bench::payload().to_string());
        assert_eq!(
            bench.keys.verify(&token, NOW),
            Err(TokenError::Malformed),
            "{header}"
        );
    }
    let twice = bench.header().to_string().replace('}', r#","alg":"EdDSA"}"#);
    let token = bench.sign(&twice, &Bench::payload().to_string());
    assert_eq!(bench.keys.verify(&token, NOW), Err(TokenError::Malformed));
}

#[test]
fn a_kid_only_chooses_among_our_keys() {
    let bench = bench();
    let own = bench.key.id().to_owned();
    for kid in [
        "",
        "../../etc/passwd",
        "/dev/null",
        "..\\..\\x",
        "' OR 1=1 --",
        "x\0y",
        &format!("{own}\0"),
        "http://169.254.169.254/",
        "https://evil.example/jwks.json",
        "file:///etc/passwd",
        "key|id",
        "$(id)",
        "é",
        "a b",
        &format!("{own} "),
        &own.repeat(2),
        &"a".repeat(65),
        "%2e%2e",
    ] {
        let mut header = bench.header();
        header["kid"] = json!(kid);
        assert_eq!(
            bench.verdict(&header, &Bench::payload()),
            Err(TokenError::Malformed),
            "{kid:?}"
        );
    }
    for kid in [
        "unknown",
        "0",
        "..",
        ".",
        "-",
        &own.to_lowercase(),
        &"a".repeat(64),
    ] {
        let mut header = bench.header();
        header["kid"] = json!(kid);
        assert_eq!(
            bench.verdict(&header, &Bench::payload()),
            Err(TokenError::Signature),
            "{kid:?}"
        );
    }
    for kid in [json!(null), json!(0), json!([own])] {
        let mut header = bench.header();
        header["kid"] = kid;
        assert_eq!(
            bench.verdict(&header, &Bench::payload()),
            Err(TokenError::Malformed),
            "{header}"
        );
    }
}

#[test]
fn keys_and_addresses_in_the_header_are_not_used() {
    let [bench, foreign] = [(); 2].map(|()| bench());
    let jwk = serde_json::to_value(&foreign.keys.jwks(NOW).keys[0]).unwrap();
    for (name, value) in [
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("file:///etc/passwd")),
        ("jwk", jwk),
        ("x5c", json!(["AAAA"])),
    ] {
        let mut header = bench.header();
        header[name] = value;
        assert!(
            bench.verdict(&header, &Bench::payload()).is_ok(),
            "{name}: ignored"
        );
        let forged = foreign.sign(&header.to_string(), &Bench::payload().to_string());
        assert_eq!(
            bench.keys.verify(&forged, NOW),
            Err(TokenError::Signature),
            "{name}"
        );
    }
}

#[test]
fn every_claim_is_required_and_has_one_type() {
    let bench = bench();
    let is_claims = |payload: &Value| {
        let verdict = bench.verdict(&bench.header(), payload);
        assert!(
            matches!(verdict, Err(TokenError::Claims(_))),
            "{payload}: {verdict:?}"
        );
    };
    for name in ["iss", "aud", "sub", "exp", "iat", "jti", "sid"] {
        let mut payload = Bench::payload();
        payload.as_object_mut().unwrap().remove(name);
        is_claims(&payload);
        for value in [
            json!(null),
            json!({}),
            json!([]),
            json!(true),
            json!([Bench::payload()[name]]),
        ] {
            let mut payload = Bench::payload();
            payload[name] = value;
            is_claims(&payload);
        }
    }
    for name in ["iss", "aud", "sub", "jti", "sid"] {
        for value in [json!(1), json!(""), json!("x".repeat(129))] {
            let mut payload = Bench::payload();
            payload[name] = value;
            is_claims(&payload);
        }
    }
    for sub in ["a b", "a:b", "../x", "é", "alice\0", "alice\n"] {
        let mut payload = Bench::payload();
        payload["sub"] = json!(sub);
        is_claims(&payload);
    }
    for (name, value) in [
        ("iss", json!("https://gate.example/")),
        ("iss", json!("https://evil.example")),
        ("aud", json!("other")),
        ("aud", json!(["countersign"])),
        ("aud", json!(["countersign", "other"])),
        ("iss", json!(["https://gate.example"])),
        ("dev", json!("AAAA")),
        ("dev", json!(7)),
        ("cnf", json!({})),
        ("cnf", json!({"jkt": "AAAA"})),
        ("cnf", json!({"x5t#S256": "AAAA"})),
        ("cnf", json!("jkt")),
    ] {
        let mut payload = Bench::payload();
        payload[name] = value;
        is_claims(&payload);
    }
}

#[test]
fn times_are_whole_numbers_of_seconds() {
    let bench = bench();
    let header = bench.header().to_string();
    for name in ["exp", "iat", "nbf"] {
        for number in [
            "\"1895305226\"",
            "1895305226.5",
            "1895305226.0",
            "-1",
            "-1895305226",
            "1e400",
            "-1e400",
            "1e9",
            "1E9",
            "18446744073709551616",
            "[1895305226]",
            "{}",
            "true",
            "\"\"",
            "NaN",
            "Infinity",
            "01895305226",
            "0x1",
        ] {
            let mut payload = Bench::payload();
            payload[name] = json!("@");
            let payload = payload.to_string().replace("\"@\"", number);
            let verdict = bench.keys.verify(&bench.sign(&header, &payload), NOW);
            assert!(
                matches!(verdict, Err(TokenError::Claims(_))),
                "{payload}: {verdict:?}"
            );
        }
    }
    let with_exp = |exp: u64| {
        let mut payload = Bench::payload();
        payload["exp"] = json!(exp);
        bench.verdict(&bench.header(), &payload)
    };
    assert_eq!(with_exp(0), Err(TokenError::Expired));
    assert!(with_exp(u64::MAX).is_ok(), "no overflow");
}

#[test]
fn a_claim_twice_is_refused() {
    let bench = bench();
    for more in [
        r#""sub":"bob""#,
        r#""exp":99999999999"#,
        r#""aud":"countersign""#,
        r#""sid":"s_2""#,
    ] {
        let payload = Bench::payload().to_string().replace('}', &format!(",{more}}}"));
        let verdict = bench
            .keys
            .verify(&bench.sign(&bench.header().to_string(), &payload), NOW);
        assert!(matches!(verdict, Err(TokenError::Claims(_))), "{more}");
    }
}

#[test]
fn jwks_is_the_public_half_only() {
    let keys = bench().keys;
    let jwks = serde_json::to_value(keys.jwks(NOW)).unwrap();
    let key = jwks["keys"][0].as_object().unwrap();
    let mut members: Vec<_> = key.keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x"]);
    assert!(!format!("{keys:?}").contains(key["x"].as_str().unwrap()));
}
