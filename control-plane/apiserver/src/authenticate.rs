//! Who sent a request over HTTPS.

use std::sync::{Arc, OnceLock};

use ::http::HeaderMap;
use mizzen_api::Status;
use rustls_pki_types::CertificateDer;

use crate::auth::Identity;

/// The client's certificate of one connection, which TLS has checked.
pub struct Peer {
    certificate: CertificateDer<'static>,
    user: OnceLock<Result<Arc<Identity>, Status>>,
}

impl Peer {
    pub fn new(certificate: CertificateDer<'static>) -> Self {
        Self { certificate, user: OnceLock::new() }
    }

    /// Who the certificate says it is, read by `read` once for all requests of the connection.
    ///
    /// # Errors
    /// What `read` said of it.
    pub fn user(&self, read: impl FnOnce(&CertificateDer<'static>) -> Result<Identity, Status>) -> Result<Arc<Identity>, Status> {
        self.user.get_or_init(|| read(&self.certificate).map(Arc::new)).clone()
    }
}

/// Finds out who asks, from the TLS peer certificate and the request's headers.
pub trait Authenticate: Send + Sync + 'static {
    /// `None` when the request carries no credentials: it goes on as `system:anonymous`.
    ///
    /// # Errors
    /// `Unauthorized` when credentials are there and are wrong.
    fn authenticate(&self, peer: Option<&Peer>, headers: &HeaderMap) -> Result<Option<Arc<Identity>>, Status>;

    /// The public keys of the tokens that it issues and accepts, as a JSON Web Key Set (RFC 7517), if there are any.
    fn keys(&self) -> Option<serde_json::Value> {
        None
    }
}

/// The identity of a request without credentials.
pub(crate) fn anonymous() -> Identity {
    Identity { username: "system:anonymous".to_owned(), groups: vec!["system:unauthenticated".to_owned()], ..Identity::default() }
}
