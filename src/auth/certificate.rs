//! What the gateway shows on its TLS port: a certificate chain with its private key, read from two files.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, InconsistentKeys, ServerConfig};
use zeroize::Zeroizing;

use super::secret::sha256;

/// Largest file, bytes. A chain has some 10 KiB.
pub const TLS_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// What is spoken inside TLS (RFC 7301). A client that offers other things only is refused in the handshake.
const ALPN: &[u8] = b"http/1.1";

/// Why a certificate cannot be shown; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("{field} {} does not exist: {advice}", path.display())]
    Missing {
        field: &'static str,
        path: PathBuf,
        advice: &'static str,
    },
    #[error(
        "{field} {} may not be read by this user: give its group to the gateway's user and let the group read it \
         (chgrp, chmod g+r), also the folders above (chmod g+x)", path.display()
    )]
    Forbidden { field: &'static str, path: PathBuf },
    #[error("{field} {} cannot be read: {source}", path.display())]
    Read {
        field: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{field} {} is larger than {TLS_FILE_BYTES_MAX} bytes: is it the right file?", path.display())]
    TooLarge { field: &'static str, path: PathBuf },
    #[error(
        "tls.certificate_file {} has no certificate in it: it must be the chain in PEM (BEGIN CERTIFICATE), the \
         gateway's own certificate first, such as certbot's fullchain.pem", path.display()
    )]
    NoCertificate { path: PathBuf },
    #[error(
        "the certificate in tls.certificate_file {} is damaged: {what}; get it again from whoever issued it",
        path.display()
    )]
    Damaged { path: PathBuf, what: String },
    #[error(
        "tls.key_file {} has no private key in it: it must be the certificate's own key in PEM (BEGIN PRIVATE KEY), \
         such as certbot's privkey.pem", path.display()
    )]
    NoKey { path: PathBuf },
    #[error(
        "the key in tls.key_file {} is encrypted with a passphrase, which nobody could type in at a restart: \
         `openssl pkey -in encrypted.pem -out key.pem` takes it off; keep the result readable for the gateway only",
        path.display()
    )]
    Encrypted { path: PathBuf },
    #[error(
        "the key in tls.key_file {} cannot be used ({what}): RSA of 2048 bits or more, ECDSA P-256 or P-384, and Ed25519 can",
        path.display()
    )]
    Unusable { path: PathBuf, what: String },
    #[error(
        "the key in tls.key_file {} is not that of the first certificate in tls.certificate_file {}: both must come \
         from the same request, and the gateway's own certificate comes before those of its issuers",
        key.display(), certificate.display()
    )]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("the cryptography library could not be set up for TLS: {0}")]
    Library(Error),
}

/// A certificate with its key, ready to be shown.
#[derive(Clone)]
pub struct Certificate {
    server: Arc<ServerConfig>,
    fingerprint: String,
    chain: usize,
    exposed: bool,
}

impl Certificate {
    /// Reads both files.
    ///
    /// # Errors
    /// What [`CertificateError`] lists, about the first thing that is wrong.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let chain = read_chain(certificate)?;
        let (der, exposed) = read_key(key)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let signing = provider.key_provider.load_private_key(der);
        let signing = signing.map_err(|e| CertificateError::Unusable {
            path: key.to_owned(),
            what: e.to_string(),
        })?;
        let fingerprint = fingerprint_of(chain.first().map_or(&[][..], AsRef::as_ref));
        let length = chain.len();
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            // Of a key that cannot say its public half nothing is known against it.
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => {
                return Err(CertificateError::Mismatch {
                    certificate: certificate.to_owned(),
                    key: key.to_owned(),
                });
            }
            Err(e) => {
                return Err(CertificateError::Damaged {
                    path: certificate.to_owned(),
                    what: e.to_string(),
                });
            }
        }
        Ok(Self {
            server: Arc::new(server(provider, certified).map_err(CertificateError::Library)?),
            fingerprint,
            chain: length,
            exposed,
        })
    }

    /// What a handshake is carried out with.
    pub fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// SHA-256 of the first certificate in lower-case hexadecimal, as `openssl x509 -fingerprint -sha256` tells it,
    /// without colons.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Certificates in the chain.
    pub fn chain_length(&self) -> usize {
        self.chain
    }

    /// Whether everybody on this machine may read the key's file.
    pub fn is_key_exposed(&self) -> bool {
        self.exposed
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.fingerprint)
    }
}

/// TLS 1.2 and 1.3 with the library's own choice of ciphers.
fn server(
    provider: Arc<rustls::crypto::CryptoProvider>,
    certified: CertifiedKey,
) -> Result<ServerConfig, Error> {
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    server.alpn_protocols = vec![ALPN.to_vec()];
    // Whoever comes back, as after a restart all do, saves the expensive half; the client keeps what that takes. The
    // keys of the tickets live and end with this value: after a change of certificate nobody goes on with the old one.
    server.ticketer = aws_lc_rs::Ticketer::new()?;
    server.send_tls13_tickets = 1;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(server)
}

fn read(
    field: &'static str,
    path: &Path,
    advice: &'static str,
) -> Result<(Zeroizing<Vec<u8>>, u32), CertificateError> {
    let path = path.to_owned();
    let mut content = Zeroizing::new(Vec::new());
    let read = File::open(&path).and_then(|file| {
        let mode = file.metadata()?.permissions().mode();
        file.take(TLS_FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
        Ok(mode)
    });
    match read {
        Ok(_) if content.len() as u64 > TLS_FILE_BYTES_MAX => Err(CertificateError::TooLarge { field, path }),
        Ok(mode) => Ok((content, mode)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            Err(CertificateError::Missing { field, path, advice })
        }
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            Err(CertificateError::Forbidden { field, path })
        }
        Err(source) => Err(CertificateError::Read { field, path, source }),
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let advice = "name the chain in PEM, such as certbot's fullchain.pem, by its full path";
    let (content, _) = read("tls.certificate_file", path, advice)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    let chain = chain.map_err(|e| CertificateError::Damaged {
        path: path.to_owned(),
        what: fault(&e).to_owned(),
    })?;
    if chain.is_empty() {
        return Err(CertificateError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(chain)
}

/// The key, and whether everybody may read its file.
fn read_key(path: &Path) -> Result<(PrivateKeyDer<'static>, bool), CertificateError> {
    let advice = "name the certificate's private key in PEM, such as certbot's privkey.pem, by its full path";
    let (content, mode) = read("tls.key_file", path, advice)?;
    let path = path.to_owned();
    // The second is how OpenSSL wrote encrypted keys before PKCS#8.
    let encrypted = ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"];
    if encrypted.iter().any(|mark| contains(&content, mark)) {
        return Err(CertificateError::Encrypted { path });
    }
    match PrivateKeyDer::from_pem_slice(&content) {
        Ok(key) => Ok((key, mode & 0o004 != 0)),
        Err(PemError::NoItemsFound) => Err(CertificateError::NoKey { path }),
        Err(e) => Err(CertificateError::Unusable {
            path,
            what: fault(&e).to_owned(),
        }),
    }
}

/// What is wrong with a PEM file. The library's own words quote its lines: of a key that is all in one line, the key.
const fn fault(error: &PemError) -> &'static str {
    match error {
        PemError::MissingSectionEnd { .. } | PemError::IllegalSectionStart { .. } => {
            "it is cut short, or BEGIN and END do not stand on lines of their own"
        }
        PemError::Base64Decode(_) => "what stands between BEGIN and END is no base64",
        _ => "it is no PEM",
    }
}

fn contains(content: &[u8], mark: &str) -> bool {
    memchr::memmem::find(content, mark.as_bytes()).is_some()
}

fn fingerprint_of(der: &[u8]) -> String {
    sha256(&[der]).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
