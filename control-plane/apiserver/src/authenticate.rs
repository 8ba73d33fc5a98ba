//! Who sent a request over HTTPS.

use ::http::HeaderMap;
use mizzen_api::Status;
use rustls_pki_types::CertificateDer;

use crate::auth::Identity;

/// Finds out who asks, from the TLS peer certificate and the request's headers.
pub trait Authenticate: Send + Sync + 'static {
    /// `None` when the request carries no credentials: it goes on as `system:anonymous`.
    ///
    /// # Errors
    /// `Unauthorized` when credentials are there and are wrong.
    fn authenticate(&self, peer: Option<&CertificateDer<'static>>, headers: &HeaderMap) -> Result<Option<Identity>, Status>;
}

/// The identity of a request without credentials.
pub(crate) fn anonymous() -> Identity {
    Identity { username: "system:anonymous".to_owned(), groups: vec!["system:unauthenticated".to_owned()], ..Identity::default() }
}
