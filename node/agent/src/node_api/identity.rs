//! Who may ask a node. Every client certificate of the cluster gets through TLS; only the API server's is let on.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

const API_SERVER: &str = "kube-apiserver-kubelet-client";
const MASTERS: &str = "system:masters";

/// # Errors
/// Who it is instead.
pub(super) fn may_ask(certificate: Option<&CertificateDer<'_>>) -> Result<(), String> {
    let Some(certificate) = certificate else { return Err("no client certificate".into()) };
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Err("an unreadable certificate".into()) };
    let subject = certificate.subject();
    let name = subject.iter_common_name().find_map(|name| name.as_str().ok()).unwrap_or_default();
    let is_master = subject.iter_organization().any(|group| group.as_str() == Ok(MASTERS));
    if name == API_SERVER || is_master { Ok(()) } else { Err(format!("{name:?}")) }
}
