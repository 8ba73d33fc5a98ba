//! The cluster's certificate authority: server certificates, and client certificates whose subject is the user
//! (common name) and its groups (organizations), as Kubernetes reads them.

use std::net::IpAddr;
use std::sync::Arc;

use mizzen_api::x509::Subject;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use sha2::{Digest as _, Sha256};

use super::Identity;
use crate::authenticate::Certified;

/// A node's user name begins so, and every node is in the group.
pub const NODE_USER: &str = "system:node:";
pub const NODE_GROUP: &str = "system:nodes";

const CA_YEARS: i16 = 10;
const LEAF_YEARS: i16 = 1;

#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("{operation} the certificate of {subject}: {source}")]
    Rcgen {
        operation: &'static str,
        subject: String,
        #[source]
        source: rcgen::Error,
    },
    #[error("sign the certificate that {subject:?} asks for: {why}")]
    Request { subject: String, why: String },
    #[error("the name {name:?} cannot stand in a certificate")]
    Name { name: String },
}

/// A certificate and its private key, both PEM.
#[derive(Clone)]
pub struct PemPair {
    pub certificate: String,
    pub key: String,
}

impl std::fmt::Debug for PemPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PemPair({} bytes of certificate, key hidden)", self.certificate.len())
    }
}

/// Signs with the cluster's own root.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: PemPair,
}

impl Authority {
    /// A new root, valid for ten years.
    ///
    /// # Errors
    /// When no key can be generated.
    pub fn generate(name: &str, now: jiff::Timestamp) -> Result<Self, CertificateError> {
        let failed = |operation| move |source| CertificateError::Rcgen { operation, subject: name.to_owned(), source };
        let key = KeyPair::generate().map_err(failed("generate"))?;
        let mut params = params(name, None, CA_YEARS, now);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).map_err(failed("sign"))?;
        let pem = PemPair { certificate: certificate.pem(), key: key.serialize_pem() };
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// The root that an earlier run saved.
    ///
    /// # Errors
    /// When the PEM is not a certificate with its key.
    pub fn load(pem: PemPair) -> Result<Self, CertificateError> {
        let failed = |source| CertificateError::Rcgen { operation: "load", subject: "the cluster's root".to_owned(), source };
        let key = KeyPair::from_pem(&pem.key).map_err(failed)?;
        Ok(Self { issuer: Issuer::from_ca_cert_pem(&pem.certificate, key).map_err(failed)?, pem })
    }

    pub fn pem(&self) -> &PemPair {
        &self.pem
    }

    pub(super) fn key(&self) -> &KeyPair {
        self.issuer.key()
    }

    /// A server certificate for these DNS names and addresses.
    ///
    /// # Errors
    /// When a name is no DNS name.
    pub fn server(
        &self,
        name: &str,
        dns: &[&str],
        addresses: &[IpAddr],
        now: jiff::Timestamp,
    ) -> Result<PemPair, CertificateError> {
        let mut params = params(name, None, LEAF_YEARS, now);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for dns in dns {
            let name = (*dns).try_into().map_err(|_| CertificateError::Name { name: (*dns).to_owned() })?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        params.subject_alt_names.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
        self.sign(name, params)
    }

    /// A client certificate for `user` in `group`. (rcgen's subject holds one organization, and no component needs more.)
    ///
    /// # Errors
    /// When signing fails.
    pub fn client(&self, user: &str, group: &str, now: jiff::Timestamp) -> Result<PemPair, CertificateError> {
        let mut params = params(user, Some(group), LEAF_YEARS, now);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(user, params)
    }

    /// A client certificate for `user` in no group.
    ///
    /// # Errors
    /// When signing fails.
    pub fn lone_client(&self, user: &str, now: jiff::Timestamp) -> Result<PemPair, CertificateError> {
        let mut params = params(user, None, LEAF_YEARS, now);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(user, params)
    }

    /// A node's certificate: its client certificate for the API and the server certificate of its own API in one.
    ///
    /// # Errors
    /// When the name is neither a DNS name nor an address.
    pub fn node(&self, name: &str, now: jiff::Timestamp) -> Result<PemPair, CertificateError> {
        let user = format!("{NODE_USER}{name}");
        let mut params = params(&user, Some(NODE_GROUP), LEAF_YEARS, now);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = vec![match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.try_into().map_err(|_| CertificateError::Name { name: name.to_owned() })?),
        }];
        self.sign(&user, params)
    }

    fn sign(&self, subject: &str, mut params: CertificateParams) -> Result<PemPair, CertificateError> {
        let failed = |operation| move |source| CertificateError::Rcgen { operation, subject: subject.to_owned(), source };
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().map_err(failed("generate"))?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed("sign"))?;
        Ok(PemPair { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// Valid from yesterday, so that a peer whose clock is a little behind accepts it.
fn params(common_name: &str, organization: Option<&str>, years: i16, now: jiff::Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.distinguished_name.push(DnType::CommonName, common_name);
    let from = now.to_zoned(jiff::tz::TimeZone::UTC).date().yesterday().unwrap_or(jiff::civil::Date::MIN);
    // The first of the month keeps 29 February out.
    params.not_before = date_time_ymd(from.year().into(), from.month() as u8, from.day() as u8);
    params.not_after = date_time_ymd((from.year() + years).into(), from.month() as u8, 1);
    params.use_authority_key_identifier_extension = true;
    params
}

/// The user and groups that a client certificate names.
///
/// # Errors
/// When the certificate cannot be parsed or has no common name; the text says which.
pub fn identity_of(certificate: &[u8]) -> Result<Identity, String> {
    certified(certificate).map(|certified| Identity::clone(&certified.identity))
}

/// The same, and until when the certificate says so.
///
/// # Errors
/// As [`identity_of`], and when the certificate ends at no time there is.
pub(super) fn certified(certificate: &[u8]) -> Result<Certified, String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|error| error.to_string())?;
    let Subject { common_name, organizations } = Subject::of(parsed.subject()).map_err(|error| error.to_string())?;
    if common_name.is_empty() {
        return Err("the client certificate has no common name".to_owned());
    }
    let groups: Vec<&str> = organizations.iter().map(String::as_str).collect();
    let not_after = parsed.validity().not_after.timestamp();
    let not_after = jiff::Timestamp::from_second(not_after).map_err(|error| error.to_string())?;
    let mut identity = Identity::component(&common_name, &groups);
    let digest = hex::encode(Sha256::digest(certificate));
    identity.extra.insert("authentication.kubernetes.io/credential-id".to_owned(), vec![format!("X509SHA256={digest}")]);
    Ok(Certified { identity: Arc::new(identity), not_after })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_certificate_names_its_user_and_group() {
        let now = "2026-02-28T12:00:00Z".parse().expect("is a time");
        let authority = Authority::generate("test", now).expect("generates");
        let reloaded = Authority::load(authority.pem().clone()).expect("loads");
        let pair = reloaded.client("alice", "devs", now).expect("signs");
        let der = rustls_pki_types::pem::PemObject::from_pem_slice(pair.certificate.as_bytes());
        let der: rustls_pki_types::CertificateDer<'_> = der.expect("is PEM");
        let identity = identity_of(&der).expect("has a name");
        assert_eq!(identity.username, "alice");
        assert_eq!(identity.groups, ["devs", "system:authenticated"]);
        let credential = &identity.extra["authentication.kubernetes.io/credential-id"][0];
        assert_eq!(credential.strip_prefix("X509SHA256=").map(str::len), Some(64), "{credential}");
    }
}
