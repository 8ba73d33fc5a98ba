//! What may be wrong with a definition (`apiextensions-apiserver`, `apis/apiextensions/validation`).

use mizzen_api::status::Cause;
use mizzen_api::validate::{dns1123_subdomain, forbidden, immutable, invalid, invalid_text, not_supported, required};
use serde_json::Value;

use super::{is_true, list, names, storage_version, text, versions};
use crate::schema;

/// Groups whose kinds are Kubernetes' own business, unless somebody approved them.
const PROTECTED: [&str; 2] = ["k8s.io", "kubernetes.io"];
const APPROVAL: &str = "api-approved.kubernetes.io";

pub(super) fn definition(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (group, plural) = (text(object, "/spec/group"), text(object, "/spec/names/plural"));
    let name = text(object, "/metadata/name");
    if name != format!("{plural}.{group}") {
        causes.push(invalid_text("metadata.name", name, "must be spec.names.plural+\".\"+spec.group"));
    }
    causes.extend(group_name(group));
    causes.extend(approval(object, group));
    match text(object, "/spec/scope") {
        "" => causes.push(required("spec.scope", "")),
        "Cluster" | "Namespaced" => {}
        other => causes.push(not_supported("spec.scope", other, &["Cluster", "Namespaced"])),
    }
    if object.pointer("/spec/preserveUnknownFields") == Some(&Value::Bool(true)) {
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        causes.push(invalid("spec.preserveUnknownFields", &Value::Bool(true), why));
    }
    causes.extend(names::validate("spec.names", object.pointer("/spec/names").unwrap_or(&Value::Null)));
    causes.extend(versions::validate(object));
    causes.extend(conversion(object));
    causes
}

fn group_name(group: &str) -> Vec<Cause> {
    if group.is_empty() {
        return vec![required("spec.group", "")];
    }
    let wrong = dns1123_subdomain(group);
    if !wrong.is_empty() {
        return vec![invalid_text("spec.group", group, wrong.join(","))];
    }
    if !group.contains('.') {
        return vec![invalid_text("spec.group", group, "should be a domain with at least one dot")];
    }
    Vec::new()
}

fn approval(object: &Value, group: &str) -> Option<Cause> {
    let is_protected = PROTECTED.iter().any(|suffix| group == *suffix || group.ends_with(&format!(".{suffix}")));
    if !is_protected {
        return None;
    }
    let field = format!("metadata.annotations[{APPROVAL}]");
    let link = "see https://github.com/kubernetes/enhancements/pull/1111";
    let annotation = object.pointer("/metadata/annotations").and_then(|annotations| annotations.get(APPROVAL));
    match annotation.and_then(Value::as_str).unwrap_or("") {
        "" => {
            let why = format!("protected groups must have approval annotation \"{APPROVAL}\", {link}");
            Some(required(field, &why))
        }
        text if text.starts_with("unapproved") || text.starts_with("http://") || text.starts_with("https://") => None,
        text => {
            let why = format!(
                "protected groups must have approval annotation \"{APPROVAL}\" with either a URL or a reason starting with \
                 \"unapproved\", {link}"
            );
            Some(invalid_text(field, text, why))
        }
    }
}

fn conversion(object: &Value) -> Vec<Cause> {
    let path = "spec.conversion";
    let webhook = object.pointer("/spec/conversion/webhook").filter(|webhook| !webhook.is_null());
    match (text(object, "/spec/conversion/strategy"), webhook) {
        ("", _) => vec![required(format!("{path}.strategy"), "")],
        ("None", None) => Vec::new(),
        ("None", Some(_)) => {
            let why = "should not be set when strategy is not set to Webhook";
            vec![forbidden(format!("{path}.webhookClientConfig"), why)]
        }
        ("Webhook", webhook) => conversion_webhook(webhook.unwrap_or(&Value::Null)),
        (other, _) => vec![not_supported(format!("{path}.strategy"), other, &["None", "Webhook"])],
    }
}

fn conversion_webhook(webhook: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let path = "spec.conversion.webhookClientConfig";
    let (url, service) = (text(webhook, "/clientConfig/url"), webhook.pointer("/clientConfig/service"));
    match (url, service) {
        _ if webhook.get("clientConfig").is_none() => {
            causes.push(required(path, "required when strategy is set to Webhook"));
        }
        ("", None) | (_, Some(_)) if url.is_empty() != service.is_some() => {
            causes.push(required(path, "exactly one of url or service is required"));
        }
        (url, None) if !url.starts_with("https://") => {
            let why = format!("'https' is the only allowed URL scheme{}", "; desired format: https://host[/path]");
            causes.push(invalid_text(format!("{path}.url"), url, why));
        }
        (_, Some(service)) => {
            for field in ["namespace", "name"] {
                if text(service, &format!("/{field}")).is_empty() {
                    causes.push(required(format!("{path}.service.{field}"), &format!("service {field} is required")));
                }
            }
        }
        _ => {}
    }
    let versions = list(webhook, "/conversionReviewVersions");
    let field = "spec.conversion.conversionReviewVersions";
    if versions.is_empty() {
        causes.push(required(field, "required when strategy is set to Webhook"));
    } else if !versions.iter().any(|version| version == "v1" || version == "v1beta1") {
        let why = "must include at least one of v1, v1beta1";
        causes.push(invalid(field, &webhook["conversionReviewVersions"], why));
    }
    causes
}

/// What may not change once there are objects, and what never may.
pub(super) fn update(object: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let kept: &[&str] =
        if is_true(old, "Established") { &["scope", "names.kind", "group", "names.plural"] } else { &["group", "names.plural"] };
    for field in kept {
        let pointer = format!("/spec/{}", field.replace('.', "/"));
        causes.extend(immutable(format!("spec.{field}"), object.pointer(&pointer), old.pointer(&pointer)));
    }
    causes.extend(stored_versions(object));
    causes
}

/// Versions that documents are stored in cannot go.
pub(super) fn stored_versions(object: &Value) -> Vec<Cause> {
    let stored = list(object, "/status/storedVersions");
    let mut causes: Vec<Cause> = stored
        .iter()
        .enumerate()
        .filter(|(_, stored)| !list(object, "/spec/versions").iter().any(|version| version.get("name") == Some(stored)))
        .map(|(index, stored)| invalid(format!("status.storedVersions[{index}]"), stored, "must appear in spec.versions"))
        .collect();
    if stored.is_empty() {
        causes.push(invalid("status.storedVersions", &Value::Array(Vec::new()), "must have at least one stored version"));
        return causes;
    }
    if let Some(version) = storage_version(object).filter(|version| !stored.iter().any(|stored| *stored == **version)) {
        causes.push(invalid("status.storedVersions", &version.into(), format!("must have the storage version {version}")));
    }
    causes
}

/// Kubernetes keeps a schema that all versions share in one place, and names that place.
fn schema_path(object: &Value, index: usize) -> String {
    match hoisted(object, "/schema") {
        true => "spec.validation.openAPIV3Schema".to_owned(),
        false => format!("spec.versions[{index}].schema.openAPIV3Schema"),
    }
}

/// Whether all versions say the same at `pointer`.
pub(super) fn hoisted(object: &Value, pointer: &str) -> bool {
    let versions = list(object, "/spec/versions");
    versions.iter().all(|version| version.pointer(pointer) == versions[0].pointer(pointer))
}

pub(super) fn check_schema(object: &Value, index: usize, version: &Value) -> Vec<Cause> {
    let path = schema_path(object, index);
    match version.pointer("/schema/openAPIV3Schema") {
        None | Some(Value::Null) => {
            vec![required(format!("spec.versions[{index}].schema.openAPIV3Schema"), "schemas are required")]
        }
        // One place is checked once.
        Some(_) if index > 0 && hoisted(object, "/schema") => Vec::new(),
        Some(schema) => schema::check(&path, schema),
    }
}
