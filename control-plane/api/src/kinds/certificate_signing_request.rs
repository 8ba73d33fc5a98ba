//! `CertificateSigningRequest`.

use serde_json::{Value, json};

use super::builder::{Describe, resource};
use super::value::{absent, int, list, set, text};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy, Verb, keep_all_but};
use crate::print::{age, human_duration, or_none};
use crate::status::Cause;
use crate::validate::{
    NameRule, Path, base64, complaints, dns1123_subdomain, duplicate, forbidden, invalid, invalid_text, not_supported, required,
};
use crate::x509::{self, CertificateRequest};

struct Request;

/// What old versions of the API gave to requests that named no signer.
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
const LEAST_SECONDS: i64 = 600;
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
/// Conditions that only the subresource `approval` sets.
const DECISIONS: &[&str] = &["Approved", "Denied"];

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("certificates.k8s.io", "CertificateSigningRequest", "certificatesigningrequests", Scope::Cluster, Request)
        .short("csr")
        .subresource("approval", None, &[Verb::Get, Verb::Patch, Verb::Update])
        .status()
}

const COLUMNS: &[Column] = &[
    Column::AGE,
    Column::text("SignerName", "Who is to sign."),
    Column::text("Requestor", "Who asked."),
    Column::text("RequestedDuration", "How long the certificate is to be valid."),
    Column::text("Condition", "What was decided."),
];

impl Strategy for Request {
    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({}));
    }

    /// What was asked never changes, and who asked neither.
    fn prepare_update(&self, object: &mut Value, old: &Value) {
        keep_all_but(&["apiVersion", "kind", "metadata"], object, old);
    }

    fn prepare_subresource_update(&self, subresource: &str, object: &mut Value, old: &Value) {
        match subresource {
            "approval" => {
                let conditions = object.pointer("/status/conditions").cloned();
                keep_all_but(&["metadata"], object, old);
                if let Some(object) = object.as_object_mut() {
                    let status = object.entry("status").or_insert_with(|| json!({}));
                    match conditions {
                        Some(conditions) => set(status, "conditions", conditions),
                        None => {
                            status.as_object_mut().and_then(|status| status.remove("conditions"));
                        }
                    }
                }
            }
            _ => keep_all_but(&["metadata", "status"], object, old),
        }
    }

    fn has_generation(&self, _object: &Value) -> bool {
        false
    }

    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let at = Path::root("spec");
        let request = text(object, "/spec/request");
        match base64(request).ok().filter(|request| !request.is_empty()) {
            None => causes.push(required(at.field("request"), "")),
            Some(pem) => {
                let why = CertificateRequest::from_pem(&pem).err();
                causes.extend(why.map(|why| invalid_text(at.field("request"), request, why)));
            }
        }
        check_usages(list(object, "/spec/usages"), &at.field("usages"), &mut causes);
        check_signer(text(object, "/spec/signerName"), &at.field("signerName"), &mut causes);
        if let Some(seconds) = int(object, "/spec/expirationSeconds").filter(|seconds| *seconds < LEAST_SECONDS) {
            let why = format!("may not specify a duration less than {LEAST_SECONDS} seconds (10 minutes)");
            causes.push(invalid(at.field("expirationSeconds"), &seconds.into(), why));
        }
        if text(object, "/spec/signerName") == LEGACY_SIGNER {
            let why = "the legacy signerName is not allowed via this API version";
            causes.push(invalid_text(at.field("signerName"), LEGACY_SIGNER, why));
        }
        causes
    }

    fn validate_subresource_update(&self, subresource: &str, object: &Value, old: &Value) -> Vec<Cause> {
        let conditions = list(object, "/status/conditions");
        let at = Path::root("status.conditions");
        let mut causes = Vec::new();
        for (index, condition) in conditions.iter().enumerate() {
            let (at, kind) = (at.index(index), text(condition, "/type"));
            if kind.is_empty() {
                causes.push(required(at.field("type"), ""));
            }
            if DECISIONS.contains(&kind) || kind == "Failed" {
                match text(condition, "/status") {
                    "" => causes.push(required(at.field("status"), "")),
                    "True" => {}
                    other => causes.push(not_supported(at.field("status"), other, &["True"])),
                }
            }
            if conditions[..index].iter().any(|other| text(other, "/type") == kind) {
                causes.push(duplicate(at.field("type"), &kind.into()));
            }
        }
        if DECISIONS.iter().all(|decision| conditions.iter().any(|condition| text(condition, "/type") == *decision)) {
            causes.push(invalid(at, &conditions.into(), "Approved and Denied conditions are mutually exclusive"));
        }
        let decided = |object: &Value, kind: &str| -> Option<Value> {
            list(object, "/status/conditions").iter().find(|condition| text(condition, "/type") == kind).cloned()
        };
        for kind in DECISIONS.iter().chain(&["Failed"]) {
            let (now, before) = (decided(object, kind), decided(old, kind));
            if before.is_some() && now.is_none() {
                causes.push(forbidden(at, &format!("updates may not remove a condition of type {kind:?}")));
            } else if before.is_none() && now.is_some() && subresource == "status" && DECISIONS.contains(kind) {
                causes.push(forbidden(at, &format!("updates may not add a condition of type {kind:?}")));
            }
        }
        let (before, certificate) = (text(old, "/status/certificate"), text(object, "/status/certificate"));
        if !before.is_empty() && certificate != before {
            let why = "updates may not set certificate content to a different value";
            causes.push(forbidden("status.certificate", why));
        } else if certificate != before {
            let wrong = base64(certificate).map_err(|_| "not base64".to_owned());
            let wrong = wrong.and_then(|pem| x509::check_certificates(&pem).map_err(|why| why.to_string())).err();
            causes.extend(wrong.map(|why| invalid_text("status.certificate", "<certificate data>", why)));
        }
        causes
    }

    fn selectable(&self, object: &Value, path: &str) -> Option<String> {
        (path == "spec.signerName").then(|| text(object, "/spec/signerName").to_owned())
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["spec.signerName"]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let duration = int(object, "/spec/expirationSeconds").map_or_else(|| "<none>".to_owned(), human_duration);
        vec![
            age(object, context.now).into(),
            or_none(text(object, "/spec/signerName")).into(),
            text(object, "/spec/username").into(),
            duration.into(),
            condition(object).into(),
        ]
    }
}

fn condition(object: &Value) -> String {
    let has = |kind: &str| list(object, "/status/conditions").iter().any(|condition| text(condition, "/type") == kind);
    let mut shown = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_owned();
    if has("Failed") {
        shown.push_str(",Failed");
    }
    if !absent(object, "/status/certificate") && !text(object, "/status/certificate").is_empty() {
        shown.push_str(",Issued");
    }
    shown
}

fn check_usages(usages: &[Value], at: &Path, causes: &mut Vec<Cause>) {
    if usages.is_empty() {
        causes.push(required(at, ""));
    }
    for (index, usage) in usages.iter().enumerate() {
        let name = usage.as_str().unwrap_or("");
        if !USAGES.contains(&name) {
            causes.push(not_supported(at.index(index), name, USAGES));
        }
        if usages[..index].contains(usage) {
            causes.push(duplicate(at.index(index), usage));
        }
    }
}

/// `domain/path`, the domain with at least one dot.
fn check_signer(name: &str, at: &Path, causes: &mut Vec<Cause>) {
    const MAX_PATH: usize = 253 + 1 + 63;
    if name.is_empty() {
        causes.push(required(at, ""));
        return;
    }
    let Some((domain, path)) = name.split_once('/').filter(|(_, path)| !path.contains('/')) else {
        causes.push(invalid_text(at, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'"));
        return;
    };
    causes.extend(complaints(at, domain, dns1123_subdomain(domain)));
    if !domain.contains('.') {
        causes.push(invalid_text(at, domain, "should be a domain with at least two segments separated by dots"));
    }
    if path.len() > MAX_PATH || !path.split('.').all(|part| dns1123_subdomain(part).is_empty()) {
        let why = "must be of the form 'signer-name' or 'name.signer-name'";
        causes.push(invalid_text(at, path, why));
    }
}

#[cfg(test)]
mod tests {
    use ::base64::Engine as _;
    use ::base64::engine::general_purpose::STANDARD;

    use super::*;

    fn request() -> Value {
        let pem = STANDARD.encode(include_bytes!("../../testdata/request.pem"));
        json!({"spec": {"request": pem, "signerName": "example.com/tests", "usages": ["client auth"], "username": "jane"}})
    }

    #[test]
    fn a_request_names_its_signer_and_usages() {
        assert_eq!(Request.validate(&request()), []);
        let fields: Vec<String> = Request
            .validate(&json!({"spec": {"signerName": "a", "usages": ["x"], "expirationSeconds": 1}}))
            .into_iter()
            .map(|c| c.field)
            .collect();
        assert_eq!(fields, ["spec.request", "spec.usages[0]", "spec.signerName", "spec.expirationSeconds"]);
    }

    #[test]
    fn decisions_come_through_approval_and_stay() {
        let (old, mut new) = (request(), request());
        new["spec"]["username"] = json!("other");
        new["status"] = json!({"conditions": [{"type": "Approved", "status": "True"}], "certificate": "x"});
        let mut approved = new.clone();
        Request.prepare_subresource_update("approval", &mut approved, &old);
        assert_eq!((&approved["spec"], approved["status"].get("certificate")), (&old["spec"], None));
        assert_eq!(Request.validate_subresource_update("approval", &approved, &old), []);
        assert_eq!(Request.validate_subresource_update("status", &approved, &old)[0].field, "status.conditions");
        assert_eq!(Request.validate_subresource_update("approval", &old, &approved).len(), 1);
        let cells = Request.cells(&approved, Context { now: jiff::Timestamp::UNIX_EPOCH });
        assert_eq!(cells[1..], ["example.com/tests", "jane", "<none>", "Approved"].map(Value::from));
    }
}
