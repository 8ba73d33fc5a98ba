//! The cluster's keys: made on the first start, read on every other.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mizzen_apiserver::auth::certificates::{Authority, CertificateError, PemPair};
use mizzen_apiserver::auth::tokens::{TokenError, Tokens};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

use super::data_dir::{DataDirError, write_private};

#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error("read {}: {source}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("use the certificate of {subject}: {why}")]
    Use { subject: &'static str, why: String },
}

pub struct Pki {
    pub authority: Authority,
    pub tokens: Arc<Tokens>,
}

impl Pki {
    /// # Errors
    /// When keys cannot be made, written or read back.
    pub fn open(dir: &Path, now: jiff::Timestamp) -> Result<Self, PkiError> {
        std::fs::create_dir_all(dir).map_err(|source| PkiError::Read { path: dir.to_owned(), source })?;
        let (certificate, key, signing) = (dir.join("ca.crt"), dir.join("ca.key"), dir.join("sa.key"));
        let authority = if certificate.exists() {
            Authority::load(PemPair { certificate: read(&certificate)?, key: read(&key)? })?
        } else {
            let authority = Authority::generate("mizzen", now)?;
            // The key first: a certificate says that both are there.
            write_private(&key, authority.pem().key.as_bytes())?;
            write_private(&certificate, authority.pem().certificate.as_bytes())?;
            authority
        };
        let tokens = if signing.exists() {
            Tokens::load(&read(&signing)?)?
        } else {
            let tokens = Tokens::generate()?;
            write_private(&signing, tokens.pem().as_bytes())?;
            tokens
        };
        Ok(Self { authority, tokens: Arc::new(tokens) })
    }

    /// The API server's side: its certificate, client certificates of this root accepted but not required.
    ///
    /// # Errors
    /// When the certificate cannot be made or used.
    pub fn api_server(&self, addresses: &[IpAddr], now: jiff::Timestamp) -> Result<Arc<rustls::ServerConfig>, PkiError> {
        let names =
            ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];
        let pair = self.authority.server("kube-apiserver", &names, addresses, now)?;
        let verifier = WebPkiClientVerifier::builder(Arc::new(self.roots()?)).allow_unauthenticated();
        let mut config = server_config("kube-apiserver", &pair, verifier)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// The node's side: only clients with a certificate of this root.
    ///
    /// # Errors
    /// When the certificate cannot be made or used.
    pub fn node(&self, name: &str, addresses: &[IpAddr], now: jiff::Timestamp) -> Result<Arc<rustls::ServerConfig>, PkiError> {
        let pair = self.authority.server(&format!("system:node:{name}"), &[name], addresses, now)?;
        let verifier = WebPkiClientVerifier::builder(Arc::new(self.roots()?));
        let mut config = server_config("the node", &pair, verifier)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// What the API server presents to nodes.
    ///
    /// # Errors
    /// When the certificate cannot be made or used.
    pub fn node_client(&self, now: jiff::Timestamp) -> Result<Arc<rustls::ClientConfig>, PkiError> {
        let pair = self.authority.client("kube-apiserver-kubelet-client", "system:masters", now)?;
        let (certificates, key) = parse("kube-apiserver-kubelet-client", &pair)?;
        let config = rustls::ClientConfig::builder()
            .with_root_certificates(self.roots()?)
            .with_client_auth_cert(certificates, key)
            .map_err(|error| PkiError::Use { subject: "kube-apiserver-kubelet-client", why: error.to_string() })?;
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<rustls::RootCertStore, PkiError> {
        let failed = |why: String| PkiError::Use { subject: "the root", why };
        let mut roots = rustls::RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.authority.pem().certificate.as_bytes())
            .map_err(|error| failed(error.to_string()))?;
        roots.add(root).map_err(|error| failed(error.to_string()))?;
        Ok(roots)
    }
}

fn server_config(
    subject: &'static str,
    pair: &PemPair,
    verifier: rustls::server::ClientCertVerifierBuilder,
) -> Result<rustls::ServerConfig, PkiError> {
    let failed = |why: String| PkiError::Use { subject, why };
    let (certificates, key) = parse(subject, pair)?;
    rustls::ServerConfig::builder()
        .with_client_cert_verifier(verifier.build().map_err(|error| failed(error.to_string()))?)
        .with_single_cert(certificates, key)
        .map_err(|error| failed(error.to_string()))
}

fn parse(subject: &'static str, pair: &PemPair) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), PkiError> {
    let failed = |why: String| PkiError::Use { subject, why };
    let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).map_err(|error| failed(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(|error| failed(error.to_string()))?;
    Ok((vec![certificate], key))
}

fn read(path: &Path) -> Result<String, PkiError> {
    std::fs::read_to_string(path).map_err(|source| PkiError::Read { path: path.to_owned(), source })
}
