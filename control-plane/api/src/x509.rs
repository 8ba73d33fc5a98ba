//! What is read from certificates (RFC 5280) and from requests for them (RFC 2986).

use std::net::IpAddr;

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::error::PEMError;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

/// Certificates and requests in PEM form are headed by one of these.
const REQUEST: &str = "CERTIFICATE REQUEST";
const CERTIFICATE: &str = "CERTIFICATE";

/// Why bytes are not what they should be, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct X509Error(String);

fn failed(why: impl ToString) -> X509Error {
    X509Error(why.to_string())
}

/// Who a certificate names, as Kubernetes reads it: a user and its groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Empty when there is none.
    pub common_name: String,
    pub organizations: Vec<String>,
}

impl Subject {
    /// # Errors
    /// When there are two common names, or a name is in a form that holds no text: who cannot be read must not be taken for somebody else.
    pub fn of(name: &X509Name<'_>) -> Result<Self, X509Error> {
        let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            attribute.as_str().map(str::to_owned).map_err(|error| failed(format!("a name that is no text: {error}")))
        };
        if name.iter_common_name().count() > 1 {
            // One reader takes the first and another the last.
            return Err(failed("more than one common name"));
        }
        Ok(Self {
            common_name: name.iter_common_name().next().map(text).transpose()?.unwrap_or_default(),
            organizations: name.iter_organization().map(text).collect::<Result<_, _>>()?,
        })
    }
}

/// A request for a certificate, with what the certificate takes from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    pub subject: Subject,
    pub dns_names: Vec<String>,
    pub ip_addresses: Vec<IpAddr>,
    pub email_addresses: Vec<String>,
    pub uris: Vec<String>,
    /// DER of the subject (`Name`).
    pub subject_der: Vec<u8>,
    /// DER of the public key (`SubjectPublicKeyInfo`).
    pub public_key_der: Vec<u8>,
    der: Vec<u8>,
}

impl CertificateRequest {
    /// Reads `spec.request` of a CertificateSigningRequest: PEM.
    ///
    /// # Errors
    /// When it is no request, or asks for something in a form that cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<Self, X509Error> {
        let block = Pem::iter_from_buffer(pem).next();
        let block = block.and_then(Result::ok).filter(|block| block.label == REQUEST);
        let block = block.ok_or_else(|| failed("PEM block type must be CERTIFICATE REQUEST"))?;
        let (rest, request) = X509CertificationRequest::from_der(&block.contents).map_err(failed)?;
        if !rest.is_empty() {
            return Err(failed("trailing data after the request"));
        }
        let info = &request.certification_request_info;
        let mut read = Self {
            subject: Subject::of(&info.subject)?,
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            email_addresses: Vec::new(),
            uris: Vec::new(),
            subject_der: info.subject.as_raw().to_vec(),
            public_key_der: info.subject_pki.raw.to_vec(),
            der: block.contents.clone(),
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            match extension {
                ParsedExtension::SubjectAlternativeName(names) => {
                    names.general_names.iter().try_for_each(|name| read.add(name))?;
                }
                ParsedExtension::ParseError { error } => return Err(failed(format!("a requested extension: {error}"))),
                _ => {}
            }
        }
        Ok(read)
    }

    fn add(&mut self, name: &GeneralName<'_>) -> Result<(), X509Error> {
        match name {
            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
            GeneralName::RFC822Name(name) => self.email_addresses.push((*name).to_owned()),
            GeneralName::URI(uri) => self.uris.push((*uri).to_owned()),
            GeneralName::IPAddress(bytes) => {
                let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
                self.ip_addresses.push(address.map_err(|_| failed(format!("an IP address of {} bytes", bytes.len())))?);
            }
            // Kubernetes leaves names of other kinds out of what it signs.
            _ => {}
        }
        Ok(())
    }

    /// Whether who asks holds the key that the certificate would be for.
    ///
    /// # Errors
    /// When the signature is another key's, or of a kind that is not known.
    pub fn check_signature(&self) -> Result<(), X509Error> {
        let (_, request) = X509CertificationRequest::from_der(&self.der).map_err(failed)?;
        request.verify_signature().map_err(failed)
    }
}

/// Until when the first certificate of a PEM text is valid, in seconds since 1970.
///
/// # Errors
/// When there is none.
pub fn not_after(pem: &[u8]) -> Result<i64, X509Error> {
    let block = Pem::iter_from_buffer(pem).next().ok_or_else(|| failed("no PEM block"))?.map_err(failed)?;
    let certificate = block.parse_x509().map_err(failed)?;
    Ok(certificate.validity().not_after.timestamp())
}

/// Whether a text is certificates in PEM form, one at least, and nothing else.
///
/// # Errors
/// What else there is.
pub fn check_certificates(pem: &[u8]) -> Result<(), X509Error> {
    let mut found = false;
    for block in Pem::iter_from_buffer(pem) {
        let block = match block {
            // Text after the last block is as good as none.
            Err(PEMError::MissingHeader) => break,
            block => block.map_err(failed)?,
        };
        if block.label != CERTIFICATE {
            return Err(failed(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label)));
        }
        block.parse_x509().map_err(failed)?;
        found = true;
    }
    match found {
        true => Ok(()),
        false => Err(failed("must contain at least one CERTIFICATE PEM block")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = include_str!("../testdata/request.pem");

    #[test]
    fn a_request_is_read_with_all_groups_and_names() {
        let request = CertificateRequest::from_pem(format!("a comment\n{PEM}\n").as_bytes()).expect("is a request");
        request.check_signature().expect("is its own key's");
        assert_eq!(
            (request.subject.common_name.as_str(), request.subject.organizations.as_slice()),
            ("jane", &["devs".into(), "ops".into()][..])
        );
        assert_eq!((request.dns_names, request.email_addresses), (vec!["a.example".into()], vec!["a@example.com".into()]));
        assert_eq!((request.uris, request.ip_addresses), (vec!["spiffe://a/b".into()], vec![IpAddr::from([10, 0, 0, 1])]));
    }

    #[test]
    fn what_is_no_request_is_said_to_be_none() {
        for (text, why) in [
            ("", "PEM block type must be CERTIFICATE REQUEST"),
            (&PEM.replace("CERTIFICATE REQUEST", "CERTIFICATE"), "PEM block type must be CERTIFICATE REQUEST"),
            ("-----BEGIN CERTIFICATE REQUEST-----\nMA==\n-----END CERTIFICATE REQUEST-----\n", ""),
        ] {
            let refused = CertificateRequest::from_pem(text.as_bytes()).expect_err("is refused").to_string();
            assert!(refused.contains(why), "{refused}");
        }
        let refused = check_certificates(PEM.as_bytes()).expect_err("is a request");
        assert_eq!(refused.to_string(), "only CERTIFICATE PEM blocks are allowed, found \"CERTIFICATE REQUEST\"");
        assert!(check_certificates(b"\n").is_err());
    }
}
