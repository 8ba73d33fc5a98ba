//! `crypto/v1/is_certificate_trusted`: whether a certificate for signing code comes from a chain, as Kubewarden's host judges it.
//! It reaches nothing.

use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use serde::{Deserialize, Serialize};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::parse_x509_certificate;

/// `id-kp-codeSigning` (RFC 5280), as DER has the content of an object identifier.
const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];

#[derive(Deserialize)]
struct Asked {
    cert: Certificate,
    /// Those between first, the root last. Without one, nothing is to be proved.
    cert_chain: Option<Vec<Certificate>>,
    /// The certificate must be good until then; without it, that it has expired does not matter.
    not_after: Option<String>,
}

#[derive(Deserialize)]
struct Certificate {
    encoding: Encoding,
    data: Vec<u8>,
}

#[derive(Deserialize)]
enum Encoding {
    Der,
    Pem,
}

#[derive(Serialize)]
struct Answer {
    trusted: bool,
    reason: String,
}

impl Certificate {
    fn der(self) -> Result<CertificateDer<'static>, String> {
        match self.encoding {
            Encoding::Der => Ok(self.data.into()),
            Encoding::Pem => {
                CertificateDer::from_pem_slice(&self.data).map_err(|error| format!("a certificate is not PEM: {error}"))
            }
        }
    }
}

/// # Errors
/// When the question cannot be read; that a certificate is not trusted is an answer.
pub(super) fn answer(payload: &[u8], now: Timestamp) -> Result<Vec<u8>, String> {
    let asked: Asked = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
    let reason = judge(asked, now)?.err().unwrap_or_default();
    serde_json::to_vec(&Answer { trusted: reason.is_empty(), reason }).map_err(|error| error.to_string())
}

/// Why it is not trusted.
fn judge(asked: Asked, now: Timestamp) -> Result<Result<(), String>, String> {
    let der = asked.cert.der()?;
    let end = EndEntityCert::try_from(&der).map_err(|error| format!("the certificate cannot be read: {error}"))?;
    let (_, parsed) = parse_x509_certificate(&der).map_err(|error| format!("the certificate cannot be read: {error}"))?;
    let until = asked.not_after.map(|text| text.parse::<Timestamp>()).transpose();
    let until = until.map_err(|error| format!("not_after is no time of RFC 3339: {error}"))?;
    let validity = parsed.validity();
    if until.is_some_and(|until| validity.not_after.timestamp() < until.as_second()) {
        return Ok(Err("Certificate is being used after its expiration date".to_owned()));
    }
    if validity.not_before.timestamp() > now.as_second() {
        return Ok(Err("Certificate is being used before its validity date".to_owned()));
    }
    let Some(chain) = asked.cert_chain else { return Ok(Ok(())) };
    let mut between = chain.into_iter().map(Certificate::der).collect::<Result<Vec<_>, _>>()?;
    let root = between.pop();
    let anchor = root.as_ref().map(webpki::anchor_from_trusted_cert).transpose();
    let anchors: Vec<TrustAnchor<'_>> =
        anchor.map_err(|error| format!("the root cannot be read: {error}"))?.into_iter().collect();
    let at = u64::try_from(until.unwrap_or(now).as_second()).unwrap_or(0);
    let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
    let usage = KeyUsage::required(CODE_SIGNING);
    let verified = end.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &between, at, usage, None, None);
    Ok(verified.map(drop).map_err(|error| match error {
        webpki::Error::InvalidSignatureForPublicKey => "Certificate is not trusted by the provided cert chain".to_owned(),
        error => format!("Certificate not trusted: {error}"),
    }))
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
    use serde_json::{Value, json};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn params(name: &str, is_ca: bool) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        params.is_ca = if is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::NoCa };
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        params
    }

    /// A certificate, and the chain that it comes from.
    fn made() -> (Value, Value) {
        let pem = |text: String| json!({"encoding": "Pem", "data": text.into_bytes()});
        let root = CertifiedIssuer::self_signed(params("root", true), KeyPair::generate().unwrap()).unwrap();
        let between = CertifiedIssuer::signed_by(params("between", true), KeyPair::generate().unwrap(), &root).unwrap();
        let issuer: &Issuer<'_, KeyPair> = &between;
        let end = params("end", false).signed_by(&KeyPair::generate().unwrap(), issuer).unwrap();
        (json!({"encoding": "Der", "data": end.der().to_vec()}), json!([pem(between.pem()), pem(root.pem())]))
    }

    fn ask(question: &Value, now: &str) -> (bool, String) {
        let answer: Value = serde_json::from_slice(&answer(question.to_string().as_bytes(), at(now)).unwrap()).unwrap();
        (answer["trusted"].as_bool().unwrap(), answer["reason"].as_str().unwrap().to_owned())
    }

    #[test]
    fn a_certificate_is_trusted_by_its_own_chain_while_it_is_good() {
        let ((cert, chain), (_, other)) = (made(), made());
        let now = "2026-06-01T00:00:00Z";
        assert_eq!(ask(&json!({"cert": cert, "cert_chain": chain}), now), (true, String::new()));
        assert_eq!(ask(&json!({"cert": cert}), "2028-01-01T00:00:00Z"), (true, String::new()), "nothing is to be proved");
        assert!(!ask(&json!({"cert": cert, "cert_chain": other}), now).0);
        assert!(!ask(&json!({"cert": cert, "cert_chain": []}), now).0);
        let (trusted, reason) = ask(&json!({"cert": cert, "cert_chain": chain, "not_after": "2027-06-01T00:00:00Z"}), now);
        assert_eq!((trusted, reason.as_str()), (false, "Certificate is being used after its expiration date"));
        let (trusted, reason) = ask(&json!({"cert": cert, "cert_chain": chain}), "2025-06-01T00:00:00Z");
        assert_eq!((trusted, reason.as_str()), (false, "Certificate is being used before its validity date"));
    }

    #[test]
    fn what_is_no_certificate_or_no_time_is_told() {
        let (cert, _) = made();
        let now = at("2026-06-01T00:00:00Z");
        for (question, wanted) in [
            (json!({"cert": {"encoding": "Pem", "data": [1, 2]}}), "not PEM"),
            (json!({"cert": {"encoding": "Der", "data": [1, 2]}}), "cannot be read"),
            (json!({"cert": cert, "not_after": "soon"}), "RFC 3339"),
            (json!({}), "cert"),
        ] {
            let why = answer(question.to_string().as_bytes(), now).unwrap_err();
            assert!(why.contains(wanted), "{why}");
        }
    }
}
