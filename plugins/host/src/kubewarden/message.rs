//! Requests and answers as Kubewarden's policies have them (JSON).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::policy::{Decision, Denial, Operation, Request, Response};

#[derive(Serialize)]
struct ValidationRequest<'a> {
    request: AdmissionRequest<'a>,
    settings: &'a RawValue,
}

/// As in Kubernetes' `admission.k8s.io/v1`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionRequest<'a> {
    uid: &'a str,
    kind: Kind<'a>,
    resource: Resource<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_resource: Option<&'a str>,
    request_kind: Kind<'a>,
    request_resource: Resource<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_sub_resource: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    operation: &'static str,
    user_info: UserInfo<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_object: Option<&'a RawValue>,
    dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<&'a RawValue>,
}

#[derive(Clone, Copy, Serialize)]
struct Kind<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

#[derive(Clone, Copy, Serialize)]
struct Resource<'a> {
    group: &'a str,
    version: &'a str,
    resource: &'a str,
}

#[derive(Serialize)]
struct UserInfo<'a> {
    username: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
    groups: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<&'a str, &'a [String]>,
}

/// # Errors
/// When an object is not JSON.
pub(super) fn request(request: &Request, settings: &RawValue) -> Result<Vec<u8>, String> {
    fn raw<'a>(what: &str, text: Option<&'a String>) -> Result<Option<&'a RawValue>, String> {
        text.map(|text| serde_json::from_str(text).map_err(|error| format!("the request's {what} is not JSON: {error}")))
            .transpose()
    }
    let kind = Kind { group: &request.kind.group, version: &request.kind.version, kind: &request.kind.kind };
    let resource =
        Resource { group: &request.resource.group, version: &request.resource.version, resource: &request.resource.resource };
    let user = &request.user;
    let request = AdmissionRequest {
        uid: &request.uid,
        kind,
        resource,
        sub_resource: request.subresource.as_deref(),
        request_kind: kind,
        request_resource: resource,
        request_sub_resource: request.subresource.as_deref(),
        name: &request.name,
        namespace: &request.namespace,
        operation: match request.operation {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        },
        user_info: UserInfo {
            username: &user.name,
            uid: &user.uid,
            groups: &user.groups,
            extra: user.extra.iter().map(|(key, values)| (key.as_str(), values.as_slice())).collect(),
        },
        object: raw("object", request.object.as_ref())?,
        old_object: raw("old object", request.old_object.as_ref())?,
        dry_run: request.dry_run,
        options: raw("options", request.options.as_ref())?,
    };
    serde_json::to_vec(&ValidationRequest { request, settings }).map_err(|error| error.to_string())
}

#[derive(Deserialize)]
struct ValidationResponse {
    accepted: bool,
    message: Option<String>,
    code: Option<u16>,
    mutated_object: Option<Value>,
    audit_annotations: Option<BTreeMap<String, String>>,
    warnings: Option<Vec<String>>,
}

/// # Errors
/// When it is no answer to this request.
pub(super) fn response(answer: &[u8], request: &Request) -> Result<Response, String> {
    let answer: ValidationResponse =
        serde_json::from_slice(answer).map_err(|error| format!("it is no ValidationResponse: {error}"))?;
    let decision = match (answer.accepted, answer.mutated_object) {
        (false, _) => Decision::Deny(Denial {
            code: answer.code.unwrap_or_default(),
            reason: String::new(),
            message: answer.message.unwrap_or_default(),
        }),
        (true, None) => Decision::Allow,
        (true, Some(changed)) => {
            let Some(object) = &request.object else {
                return Err("it changes an object that the request does not bring".to_owned());
            };
            // Many answer the object whether they changed it or not.
            match serde_json::from_str::<Value>(object).is_ok_and(|object| object == changed) {
                true => Decision::Allow,
                false => Decision::Replace(changed.to_string()),
            }
        }
    };
    Ok(Response {
        decision,
        warnings: answer.warnings.unwrap_or_default(),
        audit_annotations: answer.audit_annotations.unwrap_or_default().into_iter().collect(),
    })
}

/// The answer to `validate_settings`.
///
/// # Errors
/// Why they are not valid.
pub(super) fn settings(answer: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    struct SettingsValidationResponse {
        valid: bool,
        message: Option<String>,
    }
    let answer: SettingsValidationResponse =
        serde_json::from_slice(answer).map_err(|error| format!("the policy's answer about them cannot be read: {error}"))?;
    match answer.valid {
        true => Ok(()),
        false => Err(answer.message.unwrap_or_else(|| "the policy does not say why".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::{GroupVersionKind, GroupVersionResource, User};

    fn asked() -> Request {
        Request {
            uid: "u".into(),
            kind: GroupVersionKind { group: "apps".into(), version: "v1".into(), kind: "Deployment".into() },
            resource: GroupVersionResource { group: "apps".into(), version: "v1".into(), resource: "deployments".into() },
            subresource: None,
            name: "web".into(),
            namespace: "default".into(),
            operation: Operation::Update,
            user: User {
                name: "ann".into(),
                uid: String::new(),
                groups: vec!["devs".into()],
                extra: vec![("scopes".into(), vec!["a".into()])],
            },
            dry_run: false,
            object: Some(r#"{"kind":"Deployment","n":1.0}"#.into()),
            old_object: None,
            options: Some(r#"{"kind":"UpdateOptions"}"#.into()),
        }
    }

    #[test]
    fn a_request_is_an_admission_request_with_the_settings() {
        let settings = RawValue::from_string(r#"{"a":[1]}"#.to_owned()).unwrap();
        let sent: Value = serde_json::from_slice(&request(&asked(), &settings).unwrap()).unwrap();
        let wanted = json!({
            "request": {
                "uid": "u", "name": "web", "namespace": "default", "operation": "UPDATE", "dryRun": false,
                "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
                "requestKind": {"group": "apps", "version": "v1", "kind": "Deployment"},
                "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
                "requestResource": {"group": "apps", "version": "v1", "resource": "deployments"},
                "userInfo": {"username": "ann", "groups": ["devs"], "extra": {"scopes": ["a"]}},
                "object": {"kind": "Deployment", "n": 1.0}, "options": {"kind": "UpdateOptions"},
            },
            "settings": {"a": [1]},
        });
        assert_eq!(sent, wanted);
        let broken = Request { object: Some("{".into()), ..asked() };
        assert!(request(&broken, &settings).unwrap_err().contains("object is not JSON"));
    }

    #[test]
    fn answers_become_decisions() {
        let decided = |answer: Value| response(answer.to_string().as_bytes(), &asked()).map(|response| response.decision);
        assert_eq!(decided(json!({"accepted": true})), Ok(Decision::Allow));
        assert_eq!(decided(json!({"accepted": true, "mutated_object": null})), Ok(Decision::Allow));
        let same = json!({"accepted": true, "mutated_object": {"n": 1.0, "kind": "Deployment"}});
        assert_eq!(decided(same), Ok(Decision::Allow), "it changed nothing");
        let changed = decided(json!({"accepted": true, "mutated_object": {"n": 2}}));
        assert_eq!(changed, Ok(Decision::Replace(r#"{"n":2}"#.to_owned())));
        let denied = Denial { code: 422, reason: String::new(), message: "no".to_owned() };
        assert_eq!(decided(json!({"accepted": false, "message": "no", "code": 422})), Ok(Decision::Deny(denied)));
        assert!(decided(json!({"allowed": true})).unwrap_err().contains("ValidationResponse"));
        let nothing = Request { object: None, ..asked() };
        let changed = json!({"accepted": true, "mutated_object": {"n": 2}}).to_string();
        assert!(response(changed.as_bytes(), &nothing).unwrap_err().contains("does not bring"));
        let more = json!({"accepted": true, "warnings": ["old"], "audit_annotations": {"a": "b"}}).to_string();
        let more = response(more.as_bytes(), &asked()).unwrap();
        assert_eq!((more.warnings, more.audit_annotations), (vec!["old".to_owned()], vec![("a".to_owned(), "b".to_owned())]));
    }

    #[test]
    fn settings_are_valid_or_there_is_a_reason() {
        assert_eq!(settings(br#"{"valid":true}"#), Ok(()));
        assert_eq!(settings(br#"{"valid":false,"message":"no labels"}"#), Err("no labels".to_owned()));
        assert!(settings(br#"{"valid":false}"#).unwrap_err().contains("does not say"));
        assert!(settings(b"").unwrap_err().contains("cannot be read"));
    }
}
