//! TLS configurations of certificates that the cluster's own authority signed.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use mizzen_apiserver::auth::certificates::PemPair;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

#[derive(Debug, thiserror::Error)]
#[error("use the certificate of {subject}: {why}")]
pub struct TlsError {
    pub subject: String,
    pub why: String,
}

fn failed<E: std::fmt::Display>(subject: &str) -> impl Fn(E) -> TlsError {
    let subject = subject.to_owned();
    move |error| TlsError { subject: subject.clone(), why: error.to_string() }
}

/// What the API server shows; client certificates of this root are accepted and not required.
///
/// # Errors
/// When a certificate cannot be used.
pub fn api_server(root: &str, pair: &PemPair) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots(root)?)).allow_unauthenticated();
    let mut config = server("kube-apiserver", pair, verifier)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What the API of a node shows; client certificates of this root are accepted and not required, as tokens are.
///
/// # Errors
/// When a certificate cannot be used.
pub fn node_api(root: &str, shown: Arc<dyn ResolvesServerCert>) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    const SUBJECT: &str = "the node";
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots(root)?)).allow_unauthenticated();
    let verifier = verifier.build().map_err(failed(SUBJECT))?;
    let mut config = rustls::ServerConfig::builder().with_client_cert_verifier(verifier).with_cert_resolver(shown);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The certificate that a server shows, which may be replaced while it serves; while there is none, nobody gets through.
#[derive(Debug, Default)]
pub struct Shown(ArcSwapOption<CertifiedKey>);

impl Shown {
    /// # Errors
    /// When the certificate cannot be used, or the key is another one's.
    pub fn of(subject: &str, pair: &PemPair) -> Result<Arc<Self>, TlsError> {
        let shown = Arc::new(Self::default());
        shown.replace(subject, pair)?;
        Ok(shown)
    }

    /// # Errors
    /// As [`Shown::of`].
    pub fn replace(&self, subject: &str, pair: &PemPair) -> Result<(), TlsError> {
        let (certificates, key) = parse(subject, pair)?;
        let key = any_supported_type(&key).map_err(failed(subject))?;
        let key = CertifiedKey::new(certificates, key);
        key.keys_match().map_err(failed(subject))?;
        self.0.store(Some(Arc::new(key)));
        Ok(())
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

/// From when until when a certificate is valid.
///
/// # Errors
/// When it cannot be read.
pub fn validity(subject: &str, pem: &str) -> Result<(jiff::Timestamp, jiff::Timestamp), TlsError> {
    let der = certificate(subject, pem)?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(failed(subject))?;
    let moment = |time: x509_parser::time::ASN1Time| jiff::Timestamp::from_second(time.timestamp()).map_err(failed(subject));
    Ok((moment(parsed.validity().not_before)?, moment(parsed.validity().not_after)?))
}

/// What a client shows to servers of this root.
///
/// # Errors
/// When a certificate cannot be used.
pub fn client(subject: &str, root: &str, pair: &PemPair) -> Result<Arc<rustls::ClientConfig>, TlsError> {
    let (certificates, key) = parse(subject, pair)?;
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots(root)?)
        .with_client_auth_cert(certificates, key)
        .map_err(failed(subject))?;
    Ok(Arc::new(config))
}

/// Whether a client that trusts the root takes the pair for the server called `name`.
///
/// # Errors
/// What the client would say, or that the key is another certificate's.
pub fn check_server(name: &str, root: &str, pair: &PemPair, now: jiff::Timestamp) -> Result<(), TlsError> {
    let failed_with = |why: String| TlsError { subject: name.to_owned(), why };
    server(name, pair, WebPkiClientVerifier::builder(Arc::new(roots(root)?)))?;
    let (certificates, _) = parse(name, pair)?;
    let (certificate, chain) = certificates.split_first().ok_or_else(|| failed_with("there is none".into()))?;
    let verifier = WebPkiServerVerifier::builder(Arc::new(roots(root)?)).build().map_err(failed(name))?;
    let since_epoch = std::time::Duration::from_secs(now.as_second().try_into().unwrap_or(0));
    let server = server_name(name)?;
    verifier
        .verify_server_cert(certificate, chain, &server, &[], UnixTime::since_unix_epoch(since_epoch))
        .map(|_| ())
        .map_err(failed(name))
}

/// # Errors
/// When no certificate can carry the name.
pub fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(failed(name))
}

/// The first certificate of a PEM text.
///
/// # Errors
/// When there is none.
pub fn certificate(subject: &str, pem: &str) -> Result<CertificateDer<'static>, TlsError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(failed(subject))
}

fn roots(pem: &str) -> Result<RootCertStore, TlsError> {
    const SUBJECT: &str = "the cluster's root";
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(root.map_err(failed(SUBJECT))?).map_err(failed(SUBJECT))?;
    }
    Ok(roots)
}

fn server(
    subject: &str,
    pair: &PemPair,
    verifier: rustls::server::ClientCertVerifierBuilder,
) -> Result<rustls::ServerConfig, TlsError> {
    let (certificates, key) = parse(subject, pair)?;
    rustls::ServerConfig::builder()
        .with_client_cert_verifier(verifier.build().map_err(failed(subject))?)
        .with_single_cert(certificates, key)
        .map_err(failed(subject))
}

fn parse(subject: &str, pair: &PemPair) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let certificates = CertificateDer::pem_slice_iter(pair.certificate.as_bytes()).collect::<Result<_, _>>();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(failed(subject))?;
    Ok((certificates.map_err(failed(subject))?, key))
}
