//! What policies of Kubewarden may ask beside objects of the cluster, each only where its object grants it.

use std::net::IpAddr;
use std::time::Instant;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::certificates;
use crate::plugin::grants::Grants;

/// Those that are answered where they are granted (`namespace/operation`).
const OFFERED: &[&str] = &[
    "crypto/v1/is_certificate_trusted",
    "kubernetes/can_i",
    "net/v1/dns_lookup_host",
    "oci/v1/manifest_digest",
    "oci/v1/oci_manifest",
];

/// Answers for the host. Called on the thread of a review, which nobody else waits for; but no longer than until `until`.
pub trait Outside: Send + Sync + 'static {
    /// The status of a `SubjectAccessReview` (`authorization.k8s.io/v1`) with this spec.
    ///
    /// # Errors
    /// Why there is no answer.
    fn access(&self, spec: Value, until: Instant) -> Result<Value, String>;

    /// # Errors
    /// Why there is no answer.
    fn addresses(&self, host: &str, until: Instant) -> Result<Vec<IpAddr>, String>;

    /// The manifest or index that an image's reference leads to, and its digest.
    ///
    /// # Errors
    /// Why there is no answer.
    fn manifest(&self, reference: &str, until: Instant) -> Result<(String, Vec<u8>), String>;
}

/// Whether a capability can be granted, by its name or by a pattern such as `net/*`.
pub fn offers(pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => OFFERED.iter().any(|name| name.starts_with(prefix)),
        None => OFFERED.contains(&pattern),
    }
}

/// Whether it is granted, by its name or by a pattern.
pub(super) fn is_granted(grants: &Grants, name: &str) -> bool {
    grants.0.iter().any(|granted| granted.strip_suffix('*').map_or(granted == name, |prefix| name.starts_with(prefix)))
}

/// Of `kubernetes/can_i`.
#[derive(Deserialize)]
pub(super) struct CanI {
    #[serde(alias = "subjectAccessReview")]
    subject_access_review: Map<String, Value>,
}

impl CanI {
    /// In Kubernetes' words: what is null is left out, and names are in camel case.
    pub(super) fn spec(self) -> Value {
        Value::Object(in_camel_case(self.subject_access_review))
    }
}

fn in_camel_case(of: Map<String, Value>) -> Map<String, Value> {
    let field = |(name, value): (String, Value)| {
        let value = match value {
            Value::Null => return None,
            // Of these, names are those of the user's own.
            Value::Object(inner) if name != "extra" => Value::Object(in_camel_case(inner)),
            value => value,
        };
        let mut parts = name.split('_');
        let mut camel = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (first, rest) = part.split_at_checked(1).unwrap_or((part, ""));
            camel.push_str(&first.to_ascii_uppercase());
            camel.push_str(rest);
        }
        Some((camel, value))
    };
    of.into_iter().filter_map(field).collect()
}

/// The answer of an operation that is granted, as Kubewarden has it.
pub(super) fn answer(
    (outside, now): (&dyn Outside, Timestamp),
    name: &str,
    payload: &[u8],
    until: Instant,
) -> Result<Vec<u8>, String> {
    let wrong = |error: serde_json::Error| format!("{name}: {error}");
    let text = || serde_json::from_slice::<String>(payload).map_err(wrong);
    let value = match name {
        "crypto/v1/is_certificate_trusted" => return certificates::answer(payload, now).map_err(|why| format!("{name}: {why}")),
        "kubernetes/can_i" => {
            let asked: CanI = serde_json::from_slice(payload).map_err(wrong)?;
            outside.access(asked.spec(), until)?
        }
        "net/v1/dns_lookup_host" => {
            let addresses = outside.addresses(&text()?, until)?;
            json!({"ips": addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>()})
        }
        "oci/v1/manifest_digest" => json!({"digest": outside.manifest(&text()?, until)?.0}),
        "oci/v1/oci_manifest" => return Ok(outside.manifest(&text()?, until)?.1),
        _ => return Err(format!("the host capability {name} is not offered by this server")),
    };
    serde_json::to_vec(&value).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_is_offered_and_granted_is_so_by_name_or_pattern() {
        for name in ["kubernetes/can_i", "oci/*", "net/v1/*", "*", "oci/v1/oci_manifest"] {
            assert!(offers(name), "{name}");
        }
        for name in ["oci/v1/verify", "oci/v2/verify", "crypto/v2/*", "kubernetes/get_resource", "context", ""] {
            assert!(!offers(name), "{name}");
        }
        let grants = Grants(BTreeSet::from(["net/*".to_owned(), "oci/v1/manifest_digest".to_owned()]));
        assert!(is_granted(&grants, "net/v1/dns_lookup_host") && is_granted(&grants, "oci/v1/manifest_digest"));
        assert!(!is_granted(&grants, "oci/v1/oci_manifest") && !is_granted(&grants, "kubernetes/can_i"));
    }

    #[test]
    fn a_question_about_access_is_put_in_kubernetes_words() {
        let asked: CanI = serde_json::from_value(json!({"subject_access_review": {
            "user": "ann", "groups": null, "extra": {"a_b": ["c"]},
            "resource_attributes": {"verb": "create", "resource": "pods", "name": null, "field_selector": {"raw_selector": "a=b"}},
        }, "disable_cache": true}))
        .unwrap();
        let wanted = json!({
            "user": "ann", "extra": {"a_b": ["c"]},
            "resourceAttributes": {"verb": "create", "resource": "pods", "fieldSelector": {"rawSelector": "a=b"}},
        });
        assert_eq!(asked.spec(), wanted);
    }
}
