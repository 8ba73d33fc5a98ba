//! When a request is of no use to anybody any more.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use mizzen_api::x509;

use super::{condition, has_certificate};

/// So long who asked has time to fetch the answer.
const ANSWERED: SignedDuration = SignedDuration::from_hours(1);
/// So long somebody has time to decide.
const PENDING: SignedDuration = SignedDuration::from_hours(24);

/// The time from which the request may go; `None` for one that is approved and waits for its signer.
pub(super) fn due(request: &CertificateSigningRequest) -> Option<Timestamp> {
    let after = |time: Option<Timestamp>, wait| time.and_then(|time| time.checked_add(wait).ok());
    let said = |kind: &str| condition(request, kind);
    let issued = said("Approved").filter(|_| has_certificate(request)).and_then(|time| after(time, ANSWERED));
    let refused = ["Denied", "Failed"].into_iter().filter_map(|kind| after(said(kind)?, ANSWERED));
    let decided = ["Approved", "Denied", "Failed"].into_iter().any(|kind| said(kind).is_some());
    let created = request.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let pending = after(created, PENDING).filter(|_| !decided);
    issued.into_iter().chain(refused).chain(pending).chain(expired(request)).min()
}

/// When the certificate itself ends.
fn expired(request: &CertificateSigningRequest) -> Option<Timestamp> {
    let certificate = request.status.as_ref()?.certificate.as_ref()?;
    x509::not_after(&certificate.0).ok().and_then(|seconds| Timestamp::from_second(seconds).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_answered_stays_an_hour_and_what_is_not_a_day() {
        let at = |hour: &str| format!("2026-01-01T{hour}:00:00Z");
        let due = |status: Value| -> Option<String> {
            let request = json!({"metadata": {"name": "a", "creationTimestamp": at("00")}, "status": status,
                "spec": {"request": "", "signerName": "a.io/b"}});
            due(&serde_json::from_value(request).expect("fits")).map(|time| time.to_string())
        };
        let said = |kind: &str| json!([{"type": kind, "status": "True", "lastUpdateTime": at("05")}]);
        assert_eq!(due(json!({})).as_deref(), Some("2026-01-02T00:00:00Z"));
        assert_eq!(due(json!({"conditions": said("Denied")})), Some(at("06")));
        assert_eq!(due(json!({"conditions": said("Failed")})), Some(at("06")));
        assert_eq!(due(json!({"conditions": said("Approved")})), None, "its signer may still come");
        assert_eq!(due(json!({"conditions": said("Approved"), "certificate": "eA=="})), Some(at("06")));
    }
}
