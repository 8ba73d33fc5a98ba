//! Bundles of Sigstore with an envelope (DSSE) around a statement of in-toto, which is what `cosign sign` makes from version 3
//! on, or when it is told to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Form, Signed};

/// Its version stands behind.
pub(super) const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle";

const STATEMENT: &str = "application/vnd.in-toto+json";
/// Attestations are in bundles too: what a build was made of is no word of trust.
const SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    dsse_envelope: Option<Envelope>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    predicate_type: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: Digests,
}

#[derive(Deserialize)]
struct Digests {
    sha256: Option<String>,
}

/// The signatures in a bundle; none where it is of something else than a statement about an image's signature.
pub(super) fn signed(bytes: &[u8]) -> Vec<Signed> {
    let Ok(Bundle { dsse_envelope: Some(envelope) }) = serde_json::from_slice(bytes) else { return Vec::new() };
    let payload = STANDARD.decode(&envelope.payload).ok().and_then(|payload| String::from_utf8(payload).ok());
    let is_statement = |payload: &String| envelope.payload_type == STATEMENT && is_of_an_image(payload);
    let Some(payload) = payload.filter(is_statement) else { return Vec::new() };
    let signed = |signature: Signature| Signed { payload: payload.clone(), signature: signature.sig, form: Form::Statement };
    envelope.signatures.into_iter().map(signed).collect()
}

fn is_of_an_image(payload: &str) -> bool {
    serde_json::from_str::<Statement>(payload).is_ok_and(|statement| statement.predicate_type == SIGNATURE)
}

/// What is signed: the "pre-authentication encoding" of DSSE, version 1.
pub(super) fn signed_bytes(payload: &str) -> Vec<u8> {
    format!("DSSEv1 {} {STATEMENT} {} {payload}", STATEMENT.len(), payload.len()).into_bytes()
}

/// # Errors
/// When it is for something else than the image with this digest.
pub(super) fn check(payload: &str, digest: &str) -> Result<(), String> {
    let statement: Statement = serde_json::from_str(payload).map_err(|error| format!("its statement cannot be read: {error}"))?;
    if statement.kind != "https://in-toto.io/Statement/v1" || statement.predicate_type != SIGNATURE {
        return Err(format!("it is a statement of the type {:?}", statement.predicate_type));
    }
    let of: Vec<&str> = statement.subject.iter().filter_map(|subject| subject.digest.sha256.as_deref()).collect();
    if !of.iter().any(|hex| digest.strip_prefix("sha256:") == Some(hex)) {
        return Err(format!("it is of sha256:{}", of.join(", sha256:")));
    }
    Ok(())
}

/// As cosign writes it.
#[cfg(test)]
pub(super) fn statement(digest: &str) -> String {
    let hex = digest.trim_start_matches("sha256:");
    serde_json::json!({
        "_type": "https://in-toto.io/Statement/v1", "subject": [{"digest": {"sha256": hex}, "annotations": {}}],
        "predicateType": SIGNATURE, "predicate": {},
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn bundle(payload: &str, payload_type: &str) -> Value {
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": "a"}},
            "dsseEnvelope": {
                "payload": STANDARD.encode(payload), "payloadType": payload_type,
                "signatures": [{"sig": "AAAA", "keyid": ""}, {"sig": "BBBB"}],
            },
        })
    }

    #[test]
    fn a_bundle_gives_the_signatures_of_a_statement_and_of_nothing_else() {
        let payload = statement("sha256:12");
        let found = signed(bundle(&payload, STATEMENT).to_string().as_bytes());
        assert_eq!(found.iter().map(|one| one.signature.as_str()).collect::<Vec<_>>(), ["AAAA", "BBBB"]);
        assert!(found.iter().all(|one| one.payload == payload));
        let attestation = payload.replace(SIGNATURE, "https://slsa.dev/provenance/v1");
        for other in [
            bundle(&payload, "text/plain"),
            bundle(&attestation, STATEMENT),
            bundle("no JSON", STATEMENT),
            json!({"messageSignature": {"signature": "AAAA"}}),
            json!([]),
        ] {
            assert!(signed(other.to_string().as_bytes()).is_empty(), "{other}");
        }
    }

    #[test]
    fn what_is_signed_is_the_encoding_that_dsse_says() {
        let encoded = signed_bytes("{}");
        assert_eq!(String::from_utf8(encoded).unwrap(), "DSSEv1 28 application/vnd.in-toto+json 2 {}");
    }

    #[test]
    fn a_statement_is_for_its_subjects() {
        let payload = statement("sha256:12");
        assert_eq!(check(&payload, "sha256:12"), Ok(()));
        assert!(check(&payload, "sha256:1").unwrap_err().contains("sha256:12"));
        assert!(check(&payload, "12").is_err());
        assert!(check(&payload.replace("cosign/sign", "cosign/other"), "sha256:12").unwrap_err().contains("other"));
        assert!(check("{}", "sha256:12").is_err());
    }
}
