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

/// The common name by which API servers behind an APIService know this one.
pub const FRONT_PROXY: &str = "front-proxy-client";

pub struct Pki {
    pub authority: Arc<Authority>,
    /// Signs nothing but the certificate of [`FRONT_PROXY`]: who has that one may name any user.
    front_proxy: Authority,
    pub tokens: Arc<Tokens>,
}

impl Pki {
    /// # Errors
    /// When keys cannot be made, written or read back.
    pub fn open(dir: &Path, now: jiff::Timestamp) -> Result<Self, PkiError> {
        std::fs::create_dir_all(dir).map_err(|source| PkiError::Read { path: dir.to_owned(), source })?;
        let authority = open_authority(dir, "ca", "mizzen", now)?;
        let front_proxy = open_authority(dir, "front-proxy-ca", "mizzen-front-proxy", now)?;
        let signing = dir.join("sa.key");
        let tokens = if signing.exists() {
            Tokens::load(&read(&signing)?)?
        } else {
            let tokens = Tokens::generate()?;
            write_private(&signing, tokens.pem().as_bytes())?;
            tokens
        };
        Ok(Self { authority: Arc::new(authority), front_proxy, tokens: Arc::new(tokens) })
    }

    /// The authority alone, of a cluster that was started before.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub fn authority(dir: &Path) -> Result<Authority, PkiError> {
        load_authority(dir, "ca")
    }

    /// What the API server presents to API servers behind an APIService.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn front_proxy_client(&self, now: jiff::Timestamp) -> Result<PemPair, PkiError> {
        Ok(self.front_proxy.lone_client(FRONT_PROXY, now)?)
    }

    /// The root certificate of [`Pki::front_proxy_client`], PEM.
    pub fn front_proxy_root(&self) -> &str {
        &self.front_proxy.pem().certificate
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
        let shown = tls::Shown::of("the node", &self.authority.node(name, now)?)?;
        Ok(tls::node_api(self.root(), shown)?)
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

fn load_authority(dir: &Path, file: &str) -> Result<Authority, PkiError> {
    let [certificate, key] = ["crt", "key"].map(|end| read(&dir.join(format!("{file}.{end}"))));
    Ok(Authority::load(PemPair { certificate: certificate?, key: key? })?)
}

/// Read where it is, and made where it is not.
fn open_authority(dir: &Path, file: &str, name: &str, now: jiff::Timestamp) -> Result<Authority, PkiError> {
    let certificate = dir.join(format!("{file}.crt"));
    if certificate.exists() {
        return load_authority(dir, file);
    }
    let authority = Authority::generate(name, now)?;
    // The key first: a certificate says that both are there.
    write_private(&dir.join(format!("{file}.key")), authority.pem().key.as_bytes())?;
    write_private(&certificate, authority.pem().certificate.as_bytes())?;
    Ok(authority)
}

fn read(path: &Path) -> Result<String, PkiError> {
    std::fs::read_to_string(path).map_err(|source| PkiError::Read { path: path.to_owned(), source })
}
