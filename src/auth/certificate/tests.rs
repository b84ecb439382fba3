use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};
use tempfile::TempDir;

use super::*;

fn pem(label: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        STANDARD.encode(der)
    )
}

/// A certificate and its key in PEM.
fn made(algorithm: &'static SignatureAlgorithm) -> (String, String) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let params = CertificateParams::new(vec!["login.example".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (
        pem("CERTIFICATE", certificate.der()),
        pem("PRIVATE KEY", key.serialize_der().as_slice()),
    )
}

struct Files {
    _folder: TempDir,
    certificate: PathBuf,
    key: PathBuf,
}

fn files(certificate: &str, key: &str) -> Files {
    let folder = TempDir::new().unwrap();
    let at = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    Files {
        certificate: at("fullchain.pem", certificate),
        key: at("privkey.pem", key),
        _folder: folder,
    }
}

fn load(certificate: &str, key: &str) -> Result<Certificate, CertificateError> {
    let files = files(certificate, key);
    Certificate::from_files(&files.certificate, &files.key)
}

#[test]
fn a_chain_and_its_key_are_read() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ED25519] {
        let (certificate, key) = made(algorithm);
        let (issuer, _) = made(&PKCS_ECDSA_P256_SHA256);
        let read = load(
            &format!("a comment\n{certificate}{issuer}"),
            &format!("{issuer}{key}"),
        )
        .unwrap();
        assert_eq!(read.chain_length(), 2);
        assert_eq!(read.fingerprint().len(), 64);
        assert_eq!(
            read.fingerprint(),
            load(&certificate, &key).unwrap().fingerprint()
        );
        assert_eq!(
            format!("{read:?}"),
            format!("Certificate({})", read.fingerprint())
        );
    }
}

#[test]
fn each_bad_file_is_told_with_what_to_do() {
    let (certificate, key) = made(&PKCS_ECDSA_P256_SHA256);
    let (other, other_key) = made(&PKCS_ECDSA_P256_SHA256);
    let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    let legacy =
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let long = "x".repeat(1024 * 1024 + 1);
    let no_key = pem("PRIVATE KEY", b"no key");
    let damaged = pem("CERTIFICATE", b"no certificate");
    let in_one_line = key.replace('\n', "");
    for (certificate, key, says) in [
        ("", key.as_str(), "has no certificate"),
        (&key, &key, "has no certificate"),
        (&damaged, &key, "is damaged"),
        (&certificate.replace("MII", "M*I"), &key, "is damaged"),
        (&long, &key, "larger than"),
        (&certificate, "", "has no private key"),
        (&certificate, &certificate, "has no private key"),
        (&certificate, &encrypted, "openssl pkey"),
        (&certificate, legacy, "openssl pkey"),
        (&certificate, &no_key, "cannot be used"),
        (&certificate, &in_one_line, "lines of their own"),
        (&certificate, &key[..80], "cut short"),
        (&certificate, &key.replace("MI", "M*"), "no base64"),
        (&in_one_line, &key, "lines of their own"),
        (&certificate, &long, "larger than"),
        (&certificate, &other_key, "is not that of the first certificate"),
        (
            &format!("{other}{certificate}"),
            &key,
            "is not that of the first certificate",
        ),
    ] {
        let told = load(certificate, key).unwrap_err().to_string();
        assert!(told.contains(says), "{says}: {told}");
        assert!(
            told.contains("fullchain.pem") || told.contains("privkey.pem"),
            "{told}"
        );
        // No part of a file is quoted, neither as text nor as a list of its bytes.
        assert!(!told.contains('[') && told.len() < 500, "{told}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (certificate, key) = made(&PKCS_ECDSA_P256_SHA256);
    let files = files(&certificate, &key);
    let missing = Path::new("/nonexistent/a.pem");
    for (certificate, key, field) in [
        (missing, files.key.as_path(), "tls.certificate_file"),
        (files.certificate.as_path(), missing, "tls.key_file"),
    ] {
        let told = Certificate::from_files(certificate, key).unwrap_err().to_string();
        assert!(
            told.contains(field) && told.contains("/nonexistent/a.pem does not exist"),
            "{told}"
        );
    }
    let folder = Certificate::from_files(Path::new("/"), &files.key).unwrap_err();
    assert!(folder.to_string().contains("cannot be read"), "{folder}");
}

/// Whoever may read every file is not kept out by its mode, so the system's answer is made here.
#[test]
fn a_file_that_may_not_be_read_is_told_with_what_to_change() {
    let told = CertificateError::Forbidden {
        field: "tls.key_file",
        path: "/etc/countersign/privkey.pem".into(),
    };
    assert!(told.to_string().contains("chgrp"));
    let (certificate, key) = made(&PKCS_ECDSA_P256_SHA256);
    let files = files(&certificate, &key);
    let mode = |mode| {
        std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(mode)).unwrap();
        Certificate::from_files(&files.certificate, &files.key)
    };
    assert!(mode(0o644).unwrap().is_key_exposed());
    assert!(!mode(0o640).unwrap().is_key_exposed());
    match mode(0o000) {
        // The superuser reads it all the same.
        Ok(read) => assert!(!read.is_key_exposed()),
        Err(refused) => assert!(refused.to_string().contains("may not be read"), "{refused}"),
    }
}
