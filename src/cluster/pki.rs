//! The cluster's keys: made on the first start, read on every other.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mizzen_apiserver::auth::certificates::{Authority, CertificateError, PemPair};
use mizzen_apiserver::auth::tokens::{TokenError, Tokens};

use super::data_dir::{DataDirError, write_private};
use super::tls::{self, TlsError};

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
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What the API server is called in every cluster.
pub const API_SERVER_NAMES: [&str; 5] =
    ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];

pub struct Pki {
    pub authority: Arc<Authority>,
    pub tokens: Arc<Tokens>,
}

impl Pki {
    /// # Errors
    /// When keys cannot be made, written or read back.
    pub fn open(dir: &Path, now: jiff::Timestamp) -> Result<Self, PkiError> {
        std::fs::create_dir_all(dir).map_err(|source| PkiError::Read { path: dir.to_owned(), source })?;
        let (certificate, key, signing) = (dir.join("ca.crt"), dir.join("ca.key"), dir.join("sa.key"));
        let authority = if certificate.exists() {
            Self::authority(dir)?
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
        Ok(Self { authority: Arc::new(authority), tokens: Arc::new(tokens) })
    }

    /// The authority alone, of a cluster that was started before.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub fn authority(dir: &Path) -> Result<Authority, PkiError> {
        Ok(Authority::load(PemPair { certificate: read(&dir.join("ca.crt"))?, key: read(&dir.join("ca.key"))? })?)
    }

    /// The API server's side, under these addresses, and these DNS names beside [`API_SERVER_NAMES`].
    ///
    /// # Errors
    /// When the certificate cannot be made or used.
    pub fn api_server(
        &self,
        addresses: &[IpAddr],
        names: &[&str],
        now: jiff::Timestamp,
    ) -> Result<Arc<rustls::ServerConfig>, PkiError> {
        let names = [&API_SERVER_NAMES[..], names].concat();
        let pair = self.authority.server("kube-apiserver", &names, addresses, now)?;
        Ok(tls::api_server(self.root(), &pair)?)
    }

    /// The node's side.
    ///
    /// # Errors
    /// When the certificate cannot be made or used.
    pub fn node_api(&self, name: &str, now: jiff::Timestamp) -> Result<Arc<rustls::ServerConfig>, PkiError> {
        Ok(tls::node_api(self.root(), &self.authority.node(name, now)?)?)
    }

    /// What the API server presents to nodes.
    ///
    /// # Errors
    /// When the certificate cannot be made or used.
    pub fn node_client(&self, now: jiff::Timestamp) -> Result<Arc<rustls::ClientConfig>, PkiError> {
        const SUBJECT: &str = "kube-apiserver-kubelet-client";
        let pair = self.authority.client(SUBJECT, "system:masters", now)?;
        Ok(tls::client(SUBJECT, self.root(), &pair)?)
    }

    /// The cluster's root certificate, PEM.
    pub fn root(&self) -> &str {
        &self.authority.pem().certificate
    }
}

fn read(path: &Path) -> Result<String, PkiError> {
    std::fs::read_to_string(path).map_err(|source| PkiError::Read { path: path.to_owned(), source })
}
