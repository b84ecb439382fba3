//! Tokens and proofs as somebody else would make them.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

fn encode(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn decode(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Somebody who even has our signing key, to show that it is the claims that are refused.
pub(crate) struct Forger {
    ours: Ed25519KeyPair,
    other: Ed25519KeyPair,
}

/// What was done, the token, and the refusal.
type Forgery = (String, String, &'static str);

impl Forger {
    pub(crate) fn new() -> Self {
        Self {
            ours: Ed25519KeyPair::generate().unwrap(),
            other: Ed25519KeyPair::generate().unwrap(),
        }
    }

    /// Our key in the shape of a key file.
    pub(crate) fn pem(&self) -> String {
        let der = STANDARD.encode(self.ours.to_pkcs8().unwrap().as_ref());
        format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n")
    }

    pub(crate) fn header(&self, token: &str) -> Value {
        decode(token.split('.').next().unwrap())
    }

    fn claims(token: &str) -> Value {
        decode(token.split('.').nth(1).unwrap())
    }

    /// The same header and claims, signed again by our key.
    pub(crate) fn same(&self, token: &str) -> String {
        sign(
            &self.ours,
            &self.header(token).to_string(),
            &Self::claims(token).to_string(),
        )
    }

    pub(crate) fn forgeries(&self, token: &str, of_another: &str) -> Vec<Forgery> {
        let mut all: Vec<Forgery> = Vec::new();
        self.signatures(token, of_another, &mut all);
        self.headers(token, &mut all);
        self.wrong_claims(token, of_another, &mut all);
        assert!(all.len() >= 60, "{} forgeries", all.len());
        all
    }

    /// The right words, not signed by us.
    fn signatures(&self, token: &str, of_another: &str, all: &mut Vec<Forgery>) {
        let mut add = |what: &str, token: String| all.push((what.into(), token, "invalid_token"));
        let parts: Vec<&str> = token.split('.').collect();
        let (header, claims, signature) = (self.header(token), parts[1], parts[2]);
        let public = self.ours.public_key().as_ref();
        let other_public = encode(self.other.public_key().as_ref());
        for none in ["none", "None", "NONE", "nOnE", ""] {
            let mut header = header.clone();
            header["alg"] = json!(none);
            let head = encode(header.to_string());
            add(
                &format!("alg {none:?}, no signature"),
                format!("{head}.{claims}."),
            );
            add(
                &format!("alg {none:?}, old signature"),
                format!("{head}.{claims}.{signature}"),
            );
        }
        let pem = {
            // The prefix of RFC 8410 before an Ed25519 public key.
            let spki = [
                &[
                    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
                ],
                public,
            ]
            .concat();
            format!(
                "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
                STANDARD.encode(spki)
            )
        };
        let mut hs = header.clone();
        hs["alg"] = json!("HS256");
        let message = format!("{}.{claims}", encode(hs.to_string()));
        for (what, secret) in [
            ("the public key", public.to_vec()),
            ("the public PEM", pem.into_bytes()),
            ("its base64url", encode(public).into_bytes()),
            ("nothing", Vec::new()),
        ] {
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes());
            add(
                &format!("HS256 with {what}"),
                format!("{message}.{}", encode(tag)),
            );
        }
        let text = |t: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(t).unwrap()).unwrap();
        add(
            "another's key under our kid",
            sign(&self.other, &header.to_string(), &text(claims)),
        );
        for (name, value) in [
            ("jwk", json!({"kty": "OKP", "crv": "Ed25519", "x": other_public})),
            ("jku", json!("http://127.0.0.1:1/jwks.json")),
            ("x5u", json!("http://127.0.0.1:1/cert.pem")),
        ] {
            let mut header = header.clone();
            header[name] = value;
            add(
                &format!("another's key in {name}"),
                sign(&self.other, &header.to_string(), &text(claims)),
            );
            header["kid"] = json!("theirs");
            add(
                &format!("{name} under its own kid"),
                sign(&self.other, &header.to_string(), &text(claims)),
            );
        }
        add("no signature", format!("{}.{claims}.", parts[0]));
        add("two parts", format!("{}.{claims}", parts[0]));
        add("four parts", format!("{token}.{signature}"));
        add(
            "another's signature",
            format!("{}.{claims}.{}", parts[0], of_another.split('.').nth(2).unwrap()),
        );
        add(
            "another's claims",
            format!(
                "{}.{}.{signature}",
                parts[0],
                of_another.split('.').nth(1).unwrap()
            ),
        );
        add("a bit more", format!("{token}A"));
        add("cut short", token[..token.len() - 2].to_owned());
        add("padded", format!("{token}=="));
        add("nothing", String::new());
        add("dots", "..".to_owned());
        add("very long", format!("{token}{}", "A".repeat(8_000)));
    }

    /// Signed by us, under a header we do not write.
    fn headers(&self, token: &str, all: &mut Vec<Forgery>) {
        let claims = Self::claims(token).to_string();
        for (name, value) in [
            ("typ", json!("JWT")),
            ("typ", json!("dpop+jwt")),
            ("typ", Value::Null),
            ("alg", json!("ES256")),
            ("alg", json!("RS256")),
            ("crit", json!(["exp"])),
            ("kid", Value::Null),
            ("kid", json!("")),
            ("kid", json!("../../../../dev/null")),
            ("kid", json!("' OR 1=1 --")),
            ("kid", json!("\u{0}")),
            ("kid", json!("http://127.0.0.1:1/key")),
            ("kid", json!("k".repeat(5_000))),
        ] {
            let mut header = self.header(token);
            header[name] = value.clone();
            let token = sign(&self.ours, &header.to_string(), &claims);
            all.push((format!("header {name}: {value:.40}"), token, "invalid_token"));
        }
    }

    /// Signed by us, with claims we do not write.
    fn wrong_claims(&self, token: &str, of_another: &str, all: &mut Vec<Forgery>) {
        let header = self.header(token).to_string();
        let good = Self::claims(token);
        let (other, exp) = (Self::claims(of_another), good["exp"].as_u64().unwrap());
        let past = good["iat"].as_u64().unwrap() - 10;
        let mut add = |what: String, claims: String, refusal| {
            all.push((what, sign(&self.ours, &header, &claims), refusal))
        };
        for name in ["iss", "aud", "sub", "exp", "iat", "jti", "sid"] {
            let mut claims = good.clone();
            claims.as_object_mut().unwrap().remove(name);
            add(format!("without {name}"), claims.to_string(), "invalid_token");
        }
        for (name, value) in [
            ("iss", json!("https://evil.example")),
            ("iss", json!(["countersign"])),
            ("aud", json!("another")),
            ("aud", json!(["countersign", "another"])),
            ("exp", json!(past)),
            ("exp", json!(exp.to_string())),
            ("exp", json!(exp as f64 + 0.5)),
            ("exp", json!(-1)),
            ("exp", json!([exp])),
            ("nbf", json!(exp)),
            ("nbf", json!("0")),
            ("sub", other["sub"].clone()),
            ("sub", json!("")),
            ("sub", json!("a b")),
            ("sub", json!(["alice"])),
            ("sid", other["sid"].clone()),
            ("sid", json!("s_unknown")),
            ("sid", json!("")),
            ("cnf", json!({"x5t#S256": "A".repeat(43)})),
            ("cnf", json!({"jkt": "A".repeat(43)})),
        ] {
            let mut claims = good.clone();
            claims[name] = value.clone();
            add(format!("{name}: {value}"), claims.to_string(), "invalid_token");
        }
        let raw = good.to_string().replace(&exp.to_string(), "1e400");
        add("exp: 1e400".into(), raw, "invalid_token");
        let mut twice = good.to_string();
        twice.insert_str(1, r#""sub":"bob","#);
        add("sub twice".into(), twice, "invalid_token");
        // Bound to nothing, or to what this connection is not.
        let mut unbound = good.clone();
        unbound.as_object_mut().unwrap().remove("dev");
        add("without dev".into(), unbound.to_string(), "device_mismatch");
        let mut foreign = good;
        foreign["dev"] = other["dev"].clone();
        add("another's dev".into(), foreign.to_string(), "device_mismatch");
    }
}

fn sign(key: &Ed25519KeyPair, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    format!("{message}.{}", encode(key.sign(message.as_bytes())))
}

enum Key {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A client with a key that makes DPoP proofs.
pub(crate) struct Prover {
    key: Key,
    made: AtomicU64,
}

impl Prover {
    pub(crate) fn es256() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self {
            key: Key::P256(key),
            made: AtomicU64::new(0),
        }
    }

    pub(crate) fn eddsa() -> Self {
        Self {
            key: Key::Ed25519(Ed25519KeyPair::generate().unwrap()),
            made: AtomicU64::new(0),
        }
    }

    fn jwk(&self) -> Value {
        match &self.key {
            Key::P256(key) => {
                let point = key.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..])})
            }
            Key::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key().as_ref())})
            }
        }
    }

    /// RFC 7638: the required members in the order of their names, which is how they are kept here.
    pub(crate) fn thumbprint(&self) -> String {
        encode(digest(&SHA256, self.jwk().to_string().as_bytes()))
    }

    pub(crate) fn prove(&self, method: &str, url: &str, token: &str, iat: u64) -> String {
        let n = self.made.fetch_add(1, Ordering::Relaxed);
        let alg = match &self.key {
            Key::P256(_) => "ES256",
            Key::Ed25519(_) => "EdDSA",
        };
        let header = json!({"typ": "dpop+jwt", "alg": alg, "jwk": self.jwk()});
        let ath = encode(digest(&SHA256, token.as_bytes()));
        let claims = json!({"jti": format!("proof-{n}"), "htm": method, "htu": url, "iat": iat, "ath": ath});
        let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = match &self.key {
            Key::P256(key) => key
                .sign(&SystemRandom::new(), message.as_bytes())
                .unwrap()
                .as_ref()
                .to_vec(),
            Key::Ed25519(key) => key.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", encode(signature))
    }
}
