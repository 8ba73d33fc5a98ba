//! TLS to servers that others run: whom this one believes there, and what it shows.

use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::auth::certificates::PemPair;
use crate::roots::Roots;

/// The client certificate that is shown, and its key.
pub(crate) struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Shown {
    /// # Errors
    /// What is wrong with the PEM texts.
    pub(crate) fn read(pair: &PemPair) -> Result<Self, rustls_pki_types::pem::Error> {
        let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes()).collect::<Result<_, _>>()?;
        Ok(Self { chain, key: PrivateKeyDer::from_pem_slice(pair.key.as_bytes())? })
    }
}

type NeedsClientAuth = rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert>;

fn with(builder: NeedsClientAuth, shown: Option<&Shown>) -> Result<Arc<rustls::ClientConfig>, rustls::Error> {
    Ok(Arc::new(match shown {
        Some(shown) => builder.with_client_auth_cert(shown.chain.clone(), shown.key.clone_key())?,
        None => builder.with_no_client_auth(),
    }))
}

/// Believes everybody.
///
/// # Errors
/// When what is shown cannot be used.
pub(crate) fn anybody(shown: Option<&Shown>) -> Result<Arc<rustls::ClientConfig>, rustls::Error> {
    with(mizzen_client::unverified(Arc::new(rustls::crypto::ring::default_provider()))?, shown)
}

/// Believes whom the roots prove.
///
/// # Errors
/// When what is shown cannot be used.
pub(crate) fn roots(roots: Roots, shown: Option<&Shown>) -> Result<Arc<rustls::ClientConfig>, rustls::Error> {
    with(roots.into_config()?, shown)
}
