//! Who sent a request over HTTPS.

use std::sync::{Arc, OnceLock};

use ::http::HeaderMap;
use mizzen_api::Status;
use rustls_pki_types::CertificateDer;

use crate::auth::Identity;

/// The client's certificate of one connection, which TLS has checked.
pub struct Peer {
    certificate: CertificateDer<'static>,
    user: OnceLock<Result<Certified, Status>>,
}

/// Who a certificate names, and until when it does.
#[derive(Clone)]
pub struct Certified {
    pub identity: Arc<Identity>,
    pub not_after: jiff::Timestamp,
}

impl Peer {
    pub fn new(certificate: CertificateDer<'static>) -> Self {
        Self { certificate, user: OnceLock::new() }
    }

    /// What the certificate says, read by `read` once for all requests of the connection. TLS looked at its times when the
    /// connection, or the session that it resumes, began: whoever trusts it later looks at [`Certified::not_after`].
    ///
    /// # Errors
    /// What `read` said of it.
    pub fn user(&self, read: impl FnOnce(&CertificateDer<'static>) -> Result<Certified, Status>) -> Result<Certified, Status> {
        self.user.get_or_init(|| read(&self.certificate)).clone()
    }

    /// Until when the certificate holds, once it was read.
    pub(crate) fn not_after(&self) -> Option<jiff::Timestamp> {
        Some(self.user.get()?.as_ref().ok()?.not_after)
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
