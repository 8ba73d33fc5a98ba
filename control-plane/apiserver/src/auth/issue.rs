//! Certificates for those who made their key themselves and sent a request (RFC 5280, RFC 2986).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use mizzen_api::x509::CertificateRequest;
use rand::Rng as _;
use rcgen::SigningKey as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::pem::Pem;
use yasna::models::{GeneralizedTime, ObjectIdentifier, UTCTime};
use yasna::{DERWriter, DERWriterSeq, Tag, construct_der};

use super::certificates::{Authority, CertificateError};

/// A certificate is valid from a little while ago, so that a peer whose clock is behind accepts it.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);
/// One for a shorter time than this is not shortened by that.
const SHORT: SignedDuration = SignedDuration::from_hours(8);

const KEY_IDENTIFIER: &[u64] = &[2, 5, 29, 35];
const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const ALTERNATIVE_NAMES: &[u64] = &[2, 5, 29, 17];
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];

/// The bits of a key usage, by what the API calls them.
const USAGES: &[(&str, usize)] = &[
    ("signing", 0),
    ("digital signature", 0),
    ("content commitment", 1),
    ("key encipherment", 2),
    ("data encipherment", 3),
    ("key agreement", 4),
    ("cert sign", 5),
    ("crl sign", 6),
    ("encipher only", 7),
    ("decipher only", 8),
];

/// The same of extended key usages.
const EXTENDED_USAGES: &[(&str, &[u64])] = &[
    ("any", &[2, 5, 29, 37, 0]),
    ("server auth", &[1, 3, 6, 1, 5, 5, 7, 3, 1]),
    ("client auth", &[1, 3, 6, 1, 5, 5, 7, 3, 2]),
    ("code signing", &[1, 3, 6, 1, 5, 5, 7, 3, 3]),
    ("email protection", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
    ("s/mime", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
    ("ipsec end system", &[1, 3, 6, 1, 5, 5, 7, 3, 5]),
    ("ipsec tunnel", &[1, 3, 6, 1, 5, 5, 7, 3, 6]),
    ("ipsec user", &[1, 3, 6, 1, 5, 5, 7, 3, 7]),
    ("timestamping", &[1, 3, 6, 1, 5, 5, 7, 3, 8]),
    ("ocsp signing", &[1, 3, 6, 1, 5, 5, 7, 3, 9]),
    ("microsoft sgc", &[1, 3, 6, 1, 4, 1, 311, 10, 3, 3]),
    ("netscape sgc", &[2, 16, 840, 1, 113_730, 4, 1]),
];

impl Authority {
    /// Signs what is asked for `lifetime`, but never for longer than the authority itself is valid. The usages are in the
    /// API's words, those of `CertificateSigningRequestSpec`.
    ///
    /// # Errors
    /// When the request is not signed with its own key, a usage is unknown or the authority is no longer valid.
    pub fn issue(
        &self,
        request: &CertificateRequest,
        usages: &[String],
        lifetime: SignedDuration,
        now: Timestamp,
    ) -> Result<String, CertificateError> {
        let failed = |why: String| CertificateError::Request { subject: request.subject.common_name.clone(), why };
        request.check_signature().map_err(|error| failed(format!("unable to verify certificate request signature: {error}")))?;
        let pem = Pem::iter_from_buffer(self.pem().certificate.as_bytes()).next().and_then(Result::ok);
        let pem = pem.ok_or_else(|| failed("the authority's certificate is no PEM".to_owned()))?;
        let root = pem.parse_x509().map_err(|error| failed(error.to_string()))?;
        let validity = validity(&root, lifetime, now).map_err(failed)?;
        let usages = Usages::of(usages).map_err(failed)?;
        let signed = construct_der(|writer| {
            writer.write_sequence(|writer| body(writer, &root, request, validity, &usages));
        });
        let signature = self.key().sign(&signed).map_err(|error| failed(error.to_string()))?;
        Ok(to_pem(&construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_der(&signed);
                algorithm(writer.next(), &root);
                writer.next().write_bitvec_bytes(&signature, signature.len() * 8);
            });
        })))
    }
}

fn validity(root: &X509Certificate<'_>, lifetime: SignedDuration, now: Timestamp) -> Result<(Timestamp, Timestamp), String> {
    let last = Timestamp::from_second(root.validity().not_after.timestamp()).map_err(|error| error.to_string())?;
    if now >= last {
        return Err(format!("the signer has expired: NotAfter={last}"));
    }
    let from = now.checked_sub(BACKDATE).map_err(|error| error.to_string())?;
    let start = if lifetime < SHORT { now } else { from };
    let until = start.checked_add(lifetime).map_err(|error| error.to_string())?;
    Ok((from, until.min(last)))
}

struct Usages {
    bits: [u8; 2],
    extended: Vec<&'static [u64]>,
}

impl Usages {
    fn of(names: &[String]) -> Result<Self, String> {
        let mut usages = Self { bits: [0; 2], extended: Vec::new() };
        for name in names {
            if let Some((_, bit)) = USAGES.iter().find(|(known, _)| known == name) {
                usages.bits[bit / 8] |= 0x80 >> (bit % 8);
            } else if let Some((_, oid)) = EXTENDED_USAGES.iter().find(|(known, _)| known == name) {
                if !usages.extended.contains(oid) {
                    usages.extended.push(oid);
                }
            } else {
                return Err(format!("unrecognized usage: {name:?}"));
            }
        }
        Ok(usages)
    }
}

/// `TBSCertificate`.
fn body(
    writer: &mut DERWriterSeq<'_>,
    root: &X509Certificate<'_>,
    request: &CertificateRequest,
    (from, until): (Timestamp, Timestamp),
    usages: &Usages,
) {
    writer.next().write_tagged(Tag::context(0), |writer| writer.write_u8(2));
    let mut serial: [u8; 16] = rand::rng().random();
    // Positive, and of the same length for all.
    serial[0] = serial[0] & 0x7f | 0x40;
    writer.next().write_bigint_bytes(&serial, true);
    algorithm(writer.next(), root);
    writer.next().write_der(root.subject().as_raw());
    writer.next().write_sequence(|writer| {
        time(writer.next(), from);
        time(writer.next(), until);
    });
    writer.next().write_der(&request.subject_der);
    writer.next().write_der(&request.public_key_der);
    writer.next().write_tagged(Tag::context(3), |writer| {
        writer.write_sequence(|writer| extensions(writer, root, request, usages));
    });
}

/// The key that signs is the one that signed the root: as it did then.
fn algorithm(writer: DERWriter<'_>, root: &X509Certificate<'_>) {
    writer.write_sequence(|writer| {
        let parts: Vec<u64> = root.signature_algorithm.algorithm.iter().into_iter().flatten().collect();
        oid(writer.next(), &parts);
        if root.signature_algorithm.parameters.is_some() {
            writer.next().write_null();
        }
    });
}

fn oid(writer: DERWriter<'_>, parts: &[u64]) {
    writer.write_oid(&ObjectIdentifier::from_slice(parts));
}

/// Years from 2050 on need four digits.
fn time(writer: DERWriter<'_>, at: Timestamp) {
    let short = at.strftime("%y%m%d%H%M%SZ").to_string();
    let long = at.strftime("%Y%m%d%H%M%SZ").to_string();
    let is_short = at.to_zoned(jiff::tz::TimeZone::UTC).year() < 2050;
    if let Some(time) = UTCTime::parse(short.as_bytes()).filter(|_| is_short) {
        writer.write_utctime(&time);
    } else if let Some(time) = GeneralizedTime::parse(long.as_bytes()) {
        writer.write_generalized_time(&time);
    }
}

fn extensions(writer: &mut DERWriterSeq<'_>, root: &X509Certificate<'_>, request: &CertificateRequest, usages: &Usages) {
    if usages.bits != [0; 2] {
        // A bit string of named bits ends with its last one.
        let length = 16 - u16::from_be_bytes(usages.bits).trailing_zeros() as usize;
        let bits = construct_der(|writer| writer.write_bitvec_bytes(&usages.bits[..length.div_ceil(8)], length));
        extension(writer, KEY_USAGE, true, &bits);
    }
    if !usages.extended.is_empty() {
        let listed = construct_der(|writer| {
            writer.write_sequence(|writer| usages.extended.iter().for_each(|usage| oid(writer.next(), usage)));
        });
        extension(writer, EXTENDED_KEY_USAGE, false, &listed);
    }
    extension(writer, BASIC_CONSTRAINTS, true, &construct_der(|writer| writer.write_sequence(|_| ())));
    let identifier = root.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0),
        _ => None,
    });
    if let Some(identifier) = identifier {
        let named = construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_tagged_implicit(Tag::context(0), |writer| writer.write_bytes(identifier));
            });
        });
        extension(writer, KEY_IDENTIFIER, false, &named);
    }
    let names = names(request);
    if !names.is_empty() {
        let listed = construct_der(|writer| {
            writer.write_sequence(|writer| {
                for (kind, name) in &names {
                    writer.next().write_tagged_implicit(Tag::context(*kind), |writer| writer.write_bytes(name));
                }
            });
        });
        // Where the subject is empty, they alone say who it is.
        extension(writer, ALTERNATIVE_NAMES, request.subject_der.len() <= 2, &listed);
    }
}

/// The alternative names, each with its number in `GeneralName`.
fn names(request: &CertificateRequest) -> Vec<(u64, Vec<u8>)> {
    let texts = |kind: u64, list: &[String]| -> Vec<(u64, Vec<u8>)> {
        list.iter().map(|name| (kind, name.clone().into_bytes())).collect()
    };
    let addresses = request.ip_addresses.iter().map(|address| match address {
        std::net::IpAddr::V4(address) => (7, address.octets().to_vec()),
        std::net::IpAddr::V6(address) => (7, address.octets().to_vec()),
    });
    let mut names = texts(2, &request.dns_names);
    names.extend(texts(1, &request.email_addresses));
    names.extend(addresses);
    names.extend(texts(6, &request.uris));
    names
}

fn extension(writer: &mut DERWriterSeq<'_>, kind: &[u64], critical: bool, value: &[u8]) {
    writer.next().write_sequence(|writer| {
        oid(writer.next(), kind);
        if critical {
            writer.next().write_bool(true);
        }
        writer.next().write_bytes(value);
    });
}

fn to_pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::super::certificates::{PemPair, identity_of};
    use super::*;

    const REQUEST: &[u8] = include_bytes!("../../../api/testdata/request.pem");

    fn now() -> Timestamp {
        "2026-02-28T12:00:00Z".parse().expect("is a time")
    }

    fn issued(usages: &[&str], lifetime: SignedDuration) -> Result<Vec<u8>, CertificateError> {
        let authority = Authority::generate("test", now()).and_then(|root| Authority::load(PemPair::clone(root.pem())));
        let authority = authority.expect("generates");
        let request = CertificateRequest::from_pem(REQUEST).expect("is a request");
        let usages: Vec<String> = usages.iter().map(|usage| (*usage).to_owned()).collect();
        let pem = authority.issue(&request, &usages, lifetime, now())?;
        let root = Pem::iter_from_buffer(authority.pem().certificate.as_bytes()).next().expect("one").expect("is PEM");
        let root = root.parse_x509().expect("parses");
        let issued = Pem::iter_from_buffer(pem.as_bytes()).next().expect("one").expect("is PEM");
        let parsed = issued.parse_x509().expect("parses");
        parsed.verify_signature(Some(root.public_key())).expect("is the authority's");
        assert_eq!(parsed.issuer().as_raw(), root.subject().as_raw());
        Ok(issued.contents)
    }

    #[test]
    fn a_certificate_says_what_was_asked_and_is_nobodys_authority() {
        let der = issued(&["client auth", "digital signature", "decipher only"], SignedDuration::from_hours(1)).expect("signs");
        let identity = identity_of(&der).expect("names a user");
        assert_eq!((identity.username.as_str(), &identity.groups[..2]), ("jane", &["devs".to_owned(), "ops".to_owned()][..]));
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).expect("parses");
        let usage = parsed.key_usage().expect("parses").expect("is there").value;
        assert!(usage.digital_signature() && usage.decipher_only() && !usage.key_encipherment() && !usage.key_cert_sign());
        let extended = parsed.extended_key_usage().expect("parses").expect("is there").value;
        assert!(extended.client_auth && !extended.server_auth);
        assert!(!parsed.basic_constraints().expect("parses").expect("is there").value.ca);
        let names = &parsed.subject_alternative_name().expect("parses").expect("is there").value.general_names;
        assert_eq!(names.len(), 4, "{names:?}");
        let seconds = |time: x509_parser::time::ASN1Time| time.timestamp() - now().as_second();
        assert_eq!((seconds(parsed.validity().not_before), seconds(parsed.validity().not_after)), (-300, 3600));
    }

    #[test]
    fn nothing_outlives_the_authority_or_has_an_unknown_use() {
        let der = issued(&["any"], SignedDuration::from_hours(24 * 365 * 20)).expect("signs");
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).expect("parses");
        assert_eq!(
            parsed.validity().not_after.timestamp(),
            "2036-02-01T00:00:00Z".parse::<Timestamp>().expect("is a time").as_second()
        );
        let refused = issued(&["flying"], SignedDuration::from_hours(1)).expect_err("is refused").to_string();
        assert!(refused.contains("unrecognized usage: \"flying\""), "{refused}");
    }
}
