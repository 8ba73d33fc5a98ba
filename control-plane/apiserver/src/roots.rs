//! The certificates by which a server that others run is believed.

use std::sync::{Arc, LazyLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

#[derive(Debug)]
pub(crate) struct Roots {
    anchors: RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
}

impl Roots {
    pub(crate) fn empty() -> Self {
        Self { anchors: RootCertStore::empty(), certificates: Vec::new() }
    }

    /// The authorities that the machine trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` take the place of its store), as they
    /// were when this process first asked, like other servers' and Kubernetes' own.
    pub(crate) fn of_the_machine() -> Self {
        static STORE: LazyLock<Vec<CertificateDer<'static>>> = LazyLock::new(|| rustls_native_certs::load_native_certs().certs);
        let mut roots = Self::empty();
        for certificate in STORE.iter() {
            // Stores have old certificates in them that nobody can use.
            let _ = roots.add(certificate.clone());
        }
        roots
    }

    /// # Errors
    /// When it is no certificate.
    pub(crate) fn add(&mut self, certificate: CertificateDer<'static>) -> Result<(), Error> {
        self.anchors.add(certificate.clone())?;
        self.certificates.push(certificate);
        Ok(())
    }

    /// TLS to whom one of the roots has certified, or who shows one of them; who asks is left open.
    ///
    /// # Errors
    /// When the provider has no TLS version.
    pub(crate) fn into_config(self) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        if self.anchors.is_empty() {
            return Ok(builder.with_root_certificates(self.anchors));
        }
        let verifier = Verifier::new(self, provider)?;
        Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)))
    }
}

/// Believes a certificate that is a root itself, as Go does and so Kubernetes: `openssl req -x509` makes it an authority
/// unless told otherwise, webhooks and API servers serve with such ones, and rustls takes none from an authority.
#[derive(Debug)]
struct Verifier {
    certified: Arc<WebPkiServerVerifier>,
    roots: Vec<CertificateDer<'static>>,
}

impl Verifier {
    fn new(roots: Roots, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let certified = WebPkiServerVerifier::builder_with_provider(Arc::new(roots.anchors), provider);
        let certified = certified.build().map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { certified, roots: roots.certificates })
    }
}

/// What remains to be checked of a certificate that is trusted as it is: its name, its time and what it is for.
fn check(shown: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
    verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
    let (_, parsed) = X509Certificate::from_der(shown).map_err(|_| CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < parsed.validity().not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > parsed.validity().not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    let usage = parsed.extended_key_usage().map_err(|_| CertificateError::BadEncoding)?;
    match usage.is_none_or(|usage| usage.value.any || usage.value.server_auth) {
        true => Ok(()),
        false => Err(CertificateError::InvalidPurpose.into()),
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.roots.iter().any(|root| root == end_entity) {
            return check(end_entity, server_name, now).map(|()| ServerCertVerified::assertion());
        }
        self.certified.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.certified.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.certified.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.certified.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd};

    use super::*;

    const IN_2030: Duration = Duration::from_secs(1_900_000_000);

    /// An authority that serves with its own certificate.
    fn authority(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["hook.example.com".to_owned(), "127.0.0.1".to_owned()]).expect("names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2036, 1, 1));
        change(&mut params);
        params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").der().clone()
    }

    fn verdict(root: &CertificateDer<'static>, shown: &CertificateDer<'static>, name: &'static str) -> Result<(), Error> {
        let mut roots = Roots::empty();
        roots.add(root.clone())?;
        let verifier = Verifier::new(roots, Arc::new(rustls::crypto::ring::default_provider()))?;
        let name = ServerName::try_from(name).expect("a name");
        verifier.verify_server_cert(shown, &[], &name, &[], UnixTime::since_unix_epoch(IN_2030)).map(drop)
    }

    #[test]
    fn a_root_proves_itself_by_name_and_by_address() {
        let root = authority(|_| {});
        assert_eq!(verdict(&root, &root, "hook.example.com"), Ok(()));
        assert_eq!(verdict(&root, &root, "127.0.0.1"), Ok(()));
        assert!(verdict(&root, &root, "other.example.com").is_err());
    }

    #[test]
    fn a_root_that_is_not_in_the_bundle_proves_nothing() {
        assert!(verdict(&authority(|_| {}), &authority(|_| {}), "hook.example.com").is_err());
    }

    #[test]
    fn a_root_is_believed_in_its_time_and_for_its_purpose() {
        let past = authority(|params| params.not_after = date_time_ymd(2027, 1, 1));
        assert_eq!(verdict(&past, &past, "hook.example.com"), Err(CertificateError::Expired.into()));
        let future = authority(|params| params.not_before = date_time_ymd(2035, 1, 1));
        assert_eq!(verdict(&future, &future, "hook.example.com"), Err(CertificateError::NotValidYet.into()));
        let client = authority(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
        assert_eq!(verdict(&client, &client, "hook.example.com"), Err(CertificateError::InvalidPurpose.into()));
    }
}
