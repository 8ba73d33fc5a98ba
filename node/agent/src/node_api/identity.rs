//! Who may ask a node. Every client certificate of the cluster gets through TLS; only the API server's is let on.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Common names of the API server's client certificates.
const ALLOWED: [&str; 1] = ["kube-apiserver-kubelet-client"];

/// # Errors
/// Who it is instead.
pub(super) fn may_ask(certificate: Option<&CertificateDer<'_>>) -> Result<(), String> {
    let Some(certificate) = certificate else { return Err("no client certificate".into()) };
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Err("an unreadable certificate".into()) };
    let name = certificate.subject().iter_common_name().find_map(|name| name.as_str().ok()).unwrap_or_default();
    if ALLOWED.contains(&name) { Ok(()) } else { Err(format!("{name:?}")) }
}
