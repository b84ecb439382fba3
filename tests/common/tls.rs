//! A gateway behind TLS, and a tunnel to it: whoever connects to the tunnel speaks plainly and reaches the gateway over
//! TLS, so that every client of these tests works over both.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign::config::Config;
use rcgen::{CertificateParams, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, SupportedProtocolVersion,
};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::TestServer;

/// A certificate of `localhost` and 127.0.0.1 with its key, in files.
pub struct Shown {
    folder: TempDir,
    pub certificate: CertificateDer<'static>,
}

impl Shown {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let certificate = write(&folder);
        Self { folder, certificate }
    }

    pub fn certificate_file(&self) -> PathBuf {
        self.folder.path().join("fullchain.pem")
    }

    pub fn key_file(&self) -> PathBuf {
        self.folder.path().join("privkey.pem")
    }

    /// Puts another certificate with another key into the same files.
    pub fn renew(&mut self) {
        self.certificate = write(&self.folder);
    }

    /// Has a configuration show it.
    pub fn configure(&self, config: &mut Config) {
        config.tls.certificate_file = Some(self.certificate_file());
        config.tls.key_file = Some(self.key_file());
    }
}

fn write(folder: &TempDir) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let pem = |label, der| {
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            STANDARD.encode(der)
        )
    };
    let write = |name, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    write("fullchain.pem", pem("CERTIFICATE", certificate.der().as_ref()));
    write("privkey.pem", pem("PRIVATE KEY", key.serialize_der().as_slice()));
    certificate.der().clone()
}

/// What a client trusts and offers.
pub fn client(
    trusted: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A client that trusts this certificate and nothing else.
pub fn trusting(trusted: &CertificateDer<'static>) -> Arc<ClientConfig> {
    client(trusted, rustls::ALL_VERSIONS, &["http/1.1"])
}

/// A connection as that client.
pub async fn connect(addr: SocketAddr, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(config).connect(name, stream).await
}

/// What is shown at an address, whatever it is.
pub async fn shown_at(addr: SocketAddr) -> std::io::Result<CertificateDer<'static>> {
    let seen = Arc::new(Seen {
        provider: aws_lc_rs::default_provider(),
        certificate: Mutex::new(None),
    });
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&seen) as _)
        .with_no_client_auth();
    connect(addr, Arc::new(config)).await?;
    let certificate = seen.certificate.lock().unwrap().take();
    Ok(certificate.unwrap())
}

#[derive(Debug)]
struct Seen {
    provider: CryptoProvider,
    certificate: Mutex<Option<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.certificate.lock().unwrap() = Some(certificate.clone().into_owned());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Carries plain connections to a TLS port.
pub struct Tunnel {
    pub addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Tunnel {
    pub async fn to(addr: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            while let Ok((mut plain, _)) = listener.accept().await {
                let config = Arc::clone(&config);
                tokio::spawn(async move {
                    if let Ok(mut secure) = connect(addr, config).await {
                        let _ = tokio::io::copy_bidirectional(&mut plain, &mut secure).await;
                    }
                });
            }
        });
        Self {
            addr: here,
            accepting,
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A gateway with TLS. Its `addr` is that of a tunnel, so that everything that is done with it goes over TLS.
pub struct SecureServer {
    pub server: TestServer,
    /// Where it speaks TLS.
    pub secure: SocketAddr,
    pub shown: Shown,
    _tunnel: Tunnel,
}

impl SecureServer {
    pub async fn start(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_speaking(change, rustls::ALL_VERSIONS).await
    }

    /// The same, reached with some versions of TLS only.
    pub async fn start_speaking(
        change: impl FnOnce(&mut Config),
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let shown = Shown::new();
        let mut server = TestServer::start(|config| {
            shown.configure(config);
            change(config);
        })
        .await;
        let secure = server.addr;
        let tunnel = Tunnel::to(secure, client(&shown.certificate, versions, &["http/1.1"])).await;
        server.addr = tunnel.addr;
        server.origin = format!("https://{secure}");
        Self {
            server,
            secure,
            shown,
            _tunnel: tunnel,
        }
    }

    /// Ends the gateway and waits until it has.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}
