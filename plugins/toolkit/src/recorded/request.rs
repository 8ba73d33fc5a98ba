//! Requests: a whole AdmissionReview or AdmissionRequest as the API server sends them, or the few fields that matter.

use mizzen_plugins_host::policy::{GroupVersionKind, GroupVersionResource, Operation, Request, User};
use serde::Deserialize;
use serde_json::Value;

use super::text;

/// As in Kubernetes' `admission.k8s.io/v1`; what is left out follows from the object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "a request, or the name of a file with one")]
pub(crate) struct Recorded {
    /// Of an AdmissionReview.
    request: Option<Box<Recorded>>,
    uid: String,
    kind: Option<Kind>,
    resource: Option<Resource>,
    sub_resource: Option<String>,
    name: String,
    namespace: String,
    operation: String,
    user_info: UserInfo,
    dry_run: bool,
    object: Value,
    old_object: Value,
    options: Value,
}

/// A kind, or the `AdmissionReview` that says what the whole file is.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Kind {
    Of { group: String, version: String, kind: String },
    Review(#[allow(dead_code, reason = "read so that it is not taken for a wrong kind")] String),
}

#[derive(Clone, Debug, Deserialize)]
struct Resource {
    group: String,
    version: String,
    resource: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct UserInfo {
    username: String,
    uid: String,
    groups: Vec<String>,
    extra: std::collections::BTreeMap<String, Vec<String>>,
}

/// The request that was recorded.
pub(crate) fn request(recorded: Recorded) -> Request {
    if let Some(inner) = recorded.request {
        return request(*inner);
    }
    let json = |object: &Value| (!object.is_null()).then(|| object.to_string());
    let (object, old_object, options) = (json(&recorded.object), json(&recorded.old_object), json(&recorded.options));
    let operation = match (recorded.operation.to_ascii_uppercase().as_str(), &object, &old_object) {
        ("UPDATE", ..) | ("", Some(_), Some(_)) => Operation::Update,
        ("DELETE", ..) | ("", None, Some(_)) => Operation::Delete,
        ("CONNECT", ..) => Operation::Connect,
        _ => Operation::Create,
    };
    let any = if object.is_some() { &recorded.object } else { &recorded.old_object };
    let or = |given: String, pointer: &str| if given.is_empty() { text(any, pointer).to_owned() } else { given };
    let (group, version) = text(any, "/apiVersion").rsplit_once('/').unwrap_or(("", text(any, "/apiVersion")));
    let kind = match recorded.kind {
        Some(Kind::Of { group, version, kind }) => GroupVersionKind { group, version, kind },
        _ => GroupVersionKind { group: group.to_owned(), version: version.to_owned(), kind: text(any, "/kind").to_owned() },
    };
    let resource = match recorded.resource {
        Some(Resource { group, version, resource }) => GroupVersionResource { group, version, resource },
        None => GroupVersionResource {
            group: kind.group.clone(),
            version: kind.version.clone(),
            resource: plural(&kind.kind.to_ascii_lowercase()),
        },
    };
    Request {
        uid: recorded.uid,
        kind,
        resource,
        subresource: recorded.sub_resource,
        name: or(recorded.name, "/metadata/name"),
        namespace: or(recorded.namespace, "/metadata/namespace"),
        operation,
        user: User {
            name: recorded.user_info.username,
            uid: recorded.user_info.uid,
            groups: recorded.user_info.groups,
            extra: recorded.user_info.extra.into_iter().collect(),
        },
        dry_run: recorded.dry_run,
        object,
        old_object,
        options,
    }
}

/// As Kubernetes' kinds are named in the plural.
fn plural(kind: &str) -> String {
    match kind {
        "endpoints" => kind.to_owned(),
        _ if kind.ends_with(['s', 'x']) || kind.ends_with("ch") => format!("{kind}es"),
        _ if kind.ends_with('y') && !kind.ends_with("ay") => format!("{}ies", &kind[..kind.len() - 1]),
        _ => format!("{kind}s"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(recorded: Value) -> Request {
        request(serde_json::from_value(recorded).unwrap())
    }

    #[test]
    fn what_is_left_out_follows_from_the_object() {
        let object =
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "a", "namespace": "b"}});
        let created = of(json!({ "object": object }));
        assert_eq!(created.operation, Operation::Create);
        assert_eq!((created.name.as_str(), created.namespace.as_str()), ("a", "b"));
        assert_eq!(created.resource.resource, "networkpolicies");
        assert_eq!(created.kind.group, "networking.k8s.io");
        assert_eq!(of(json!({"object": object, "oldObject": object})).operation, Operation::Update);
        assert_eq!(of(json!({"oldObject": object})).operation, Operation::Delete);
    }

    #[test]
    fn an_admission_review_is_taken_as_the_api_server_sends_it() {
        let review = of(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u", "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"}, "subResource": "exec",
            "name": "p", "namespace": "n", "operation": "CONNECT", "userInfo": {"username": "ann", "groups": ["g"]},
            "object": {"kind": "PodExecOptions"}, "dryRun": true}}));
        assert_eq!(review.operation, Operation::Connect);
        assert_eq!((review.subresource.as_deref(), review.user.name.as_str(), review.dry_run), (Some("exec"), "ann", true));
    }
}
