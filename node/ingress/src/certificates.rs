//! Certificates by the name that a client asks for (SNI).

use std::sync::Arc;

use arc_swap::ArcSwap;
use k8s_openapi::api::core::v1::Secret;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::table::ByHost;

/// The certificates that are shown from now on. What clients have agreed on before stays.
#[derive(Debug, Default)]
pub(crate) struct Certificates(ArcSwap<ByHost<Arc<CertifiedKey>>>);

impl Certificates {
    pub(crate) fn set(&self, certificates: ByHost<Arc<CertifiedKey>>) {
        self.0.store(Arc::new(certificates));
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().unwrap_or_default().to_ascii_lowercase();
        self.0.load().matching(&name).next().cloned()
    }
}

/// What a Secret of type `kubernetes.io/tls` holds.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn certified(secret: &Secret) -> Result<Arc<CertifiedKey>, String> {
    let part = |key: &str| {
        let data = secret.data.as_ref().and_then(|data| data.get(key));
        data.map(|bytes| bytes.0.as_slice()).ok_or_else(|| format!("it has no {key}"))
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(part("tls.crt")?).collect();
    let chain = chain.map_err(|error| format!("tls.crt: {error}"))?;
    if chain.is_empty() {
        return Err("tls.crt: it has no certificate".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(part("tls.key")?).map_err(|error| format!("tls.key: {error}"))?;
    let certified = CertifiedKey::from_der(chain, key, &default_provider());
    certified.map(Arc::new).map_err(|error| format!("tls.crt and tls.key: {error}"))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn secret(pairs: &[(&str, &str)]) -> Secret {
        let data = pairs.iter().map(|(key, text)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec()))).collect();
        Secret { data: Some(data), ..Secret::default() }
    }

    #[test]
    fn a_secret_holds_a_certificate_with_its_key_or_says_what_is_wrong() {
        let made = || rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).expect("signs");
        let (one, other) = (made(), made());
        let (certificate, key, others) = (one.cert.pem(), one.signing_key.serialize_pem(), other.signing_key.serialize_pem());
        assert!(certified(&secret(&[("tls.crt", &certificate), ("tls.key", &key)])).is_ok());
        for (pairs, why) in [
            (vec![("tls.key", key.as_str())], "it has no tls.crt"),
            (vec![("tls.crt", certificate.as_str())], "it has no tls.key"),
            (vec![("tls.crt", "nonsense"), ("tls.key", &key)], "tls.crt: it has no certificate"),
            (vec![("tls.crt", &certificate), ("tls.key", "nonsense")], "tls.key: "),
            (vec![("tls.crt", &certificate), ("tls.key", &others)], "tls.crt and tls.key: "),
        ] {
            let said = certified(&secret(&pairs)).expect_err("is wrong");
            assert!(said.starts_with(why), "{said}");
        }
    }
}
