//! A certificate authority that nobody trusts by default.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    /// Its certificate is `ca.crt` in the folder.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signs");
        let file = folder.join("ca.crt");
        std::fs::write(&file, issuer.pem()).expect("writes");
        Self { issuer, file }
    }

    /// The file with its certificate.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Its certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Certificate and key of a server at an address, as PEM.
    ///
    /// # Panics
    /// When it cannot be signed.
    pub fn issue(&self, server: IpAddr) -> (String, String) {
        self.sign(SanType::IpAddress(server))
    }

    /// The same for a server by its name.
    ///
    /// # Panics
    /// When it cannot be signed.
    pub fn issue_to_name(&self, server: &str) -> (String, String) {
        self.sign(SanType::DnsName(server.try_into().expect("a name")))
    }

    fn sign(&self, server: SanType) -> (String, String) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![server];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signs");
        (certificate.pem(), key.serialize_pem())
    }
}
