//! Requests: a whole AdmissionReview or AdmissionRequest as the API server sends them, or the few fields that matter.

use mizzen_plugins_host::policy::{GroupVersionKind, GroupVersionResource, Operation, Request, User};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::text;

/// Fields of Kubernetes' `AdmissionRequest` that policies are not told.
const UNTOLD: [&str; 3] = ["requestKind", "requestResource", "requestSubResource"];

/// A request, alone or in an AdmissionReview.
#[derive(Clone, Debug)]
pub(crate) struct Recorded(Fields);

/// As in Kubernetes' `admission.k8s.io/v1`; what is left out follows from the object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase", expecting = "a request, or the name of a file with one")]
struct Fields {
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

/// A field that is misspelt would be one that is left out, and the case would ask something else than its author meant.
impl<'de> Deserialize<'de> for Recorded {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(from)?;
        let mut at = "";
        if let Some(review) = value.as_object_mut()
            && let Some(request) = review.remove("request")
        {
            let known = |field: &str| matches!(field, "apiVersion" | "kind" | "response");
            if let Some(other) = review.keys().find(|field| !known(field)) {
                return Err(D::Error::custom(format!("unknown field `{other}` beside the `request` of an AdmissionReview")));
            }
            (value, at) = (request, "request: ");
        }
        if let Some(fields) = value.as_object_mut() {
            fields.retain(|field, _| !UNTOLD.contains(&field.as_str()));
        }
        Fields::deserialize(value).map(Self).map_err(|error| D::Error::custom(format!("{at}{error}")))
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "group, version and kind")]
struct Kind {
    group: String,
    version: String,
    kind: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "group, version and resource")]
struct Resource {
    group: String,
    version: String,
    resource: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "username, uid, groups and extra")]
struct UserInfo {
    username: String,
    uid: String,
    groups: Vec<String>,
    extra: std::collections::BTreeMap<String, Vec<String>>,
}

/// The request that was recorded.
pub(crate) fn request(Recorded(recorded): Recorded) -> Request {
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
        Some(Kind { group, version, kind }) => GroupVersionKind { group, version, kind },
        None => GroupVersionKind { group: group.to_owned(), version: version.to_owned(), kind: text(any, "/kind").to_owned() },
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
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"}, "requestSubResource": "exec", "oldObject": null,
            "object": {"kind": "PodExecOptions"}, "dryRun": true}}));
        assert_eq!(review.operation, Operation::Connect);
        assert_eq!((review.subresource.as_deref(), review.user.name.as_str(), review.dry_run), (Some("exec"), "ann", true));
    }

    #[test]
    fn a_field_that_no_request_has_is_refused_and_named() {
        for (recorded, named) in [
            (json!({"objekt": {}}), "unknown field `objekt`, expected one of"),
            (json!({"userInfo": {"name": "ann"}}), "unknown field `name`, expected one of `username`"),
            (json!({"kind": {"group": "", "versions": "v1", "kind": "Pod"}}), "unknown field `versions`"),
            (json!({"request": {"operatoin": "CREATE"}}), "request: unknown field `operatoin`"),
            (json!({"request": {}, "object": {}}), "unknown field `object` beside the `request`"),
        ] {
            let error = serde_json::from_value::<Recorded>(recorded).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        let table = "- {name: a, request: {object: {}}}\n- name: b\n  request: {objekt: {}}\n";
        let error = serde_yaml_ng::from_str::<Vec<InTable>>(table).unwrap_err().to_string();
        assert!(error.contains("[1]: unknown field `objekt`") && error.contains("at line 2"), "the place: {error}");
    }

    #[derive(Debug, Deserialize)]
    struct InTable {
        #[serde(rename = "request")]
        _request: crate::recorded::Source<Recorded>,
    }
}
