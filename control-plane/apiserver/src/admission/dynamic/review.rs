//! `AdmissionReview`: what is sent to a webhook, and what comes back.

use std::time::Duration;

use mizzen_api::{GroupVersion, Status};
use serde_json::{Value, json};

use super::hooks::{Hook, shown};
use super::request::Request;
use crate::webhook::{self, WebhookError};

pub(super) const V1: &str = "admission.k8s.io/v1";

/// The response of the webhook, or why there is none.
///
/// # Errors
/// When the objects cannot be shown in the version that the webhook wants.
pub(super) async fn ask(hook: &Hook, request: &Request<'_>, form: &GroupVersion) -> Result<Result<Value, String>, Status> {
    let uid = crate::uid::new();
    let mut about = request.describe(&uid, form);
    about["object"] = shown(request, form, request.object).await?;
    about["oldObject"] = shown(request, form, request.attributes.old).await?;
    let review = json!({"kind": "AdmissionReview", "apiVersion": hook.review_version, "request": about});
    let answered = async {
        let mut place = webhook::place(request.attributes.store, &hook.client)?;
        let seconds = hook.timeout_seconds;
        place.give(seconds);
        let asking = webhook::ask(&place, &hook.client, &review);
        let late = |_| WebhookError::Timeout { url: place.url() };
        tokio::time::timeout(Duration::from_secs(seconds), asking).await.map_err(late)?
    };
    Ok(match answered.await {
        Ok(answer) => accept(answer, &uid, hook).map_err(|why| format!("received invalid webhook response: {why}")),
        Err(error) => Err(format!("failed to call webhook: {error}")),
    })
}

fn accept(mut answer: Value, uid: &str, hook: &Hook) -> Result<Value, String> {
    let response = answer["response"].take();
    if !response.is_object() {
        return Err("webhook response was absent".to_owned());
    }
    // The first version of reviews had no identifier to repeat, and asked nothing of the rest.
    if hook.review_version != V1 {
        return Ok(response);
    }
    if answer["kind"] != "AdmissionReview" || answer["apiVersion"] != V1 {
        let (version, kind) = (text(&answer, "apiVersion"), text(&answer, "kind"));
        return Err(format!("expected webhook response of {V1}, Kind=AdmissionReview, got {version}, Kind={kind}"));
    }
    if response["uid"] != uid {
        return Err(format!("expected response.uid={uid:?}, got {:?}", text(&response, "uid")));
    }
    let (patch, kind) = (!text(&response, "patch").is_empty(), response["patchType"].as_str());
    match (hook.is_mutating, patch, kind) {
        (false, true, _) => Err("validating webhook may not return response.patch".to_owned()),
        (false, false, Some(_)) => Err("validating webhook may not return response.patchType".to_owned()),
        (true, true, None) => Err("webhook returned response.patch but not response.patchType".to_owned()),
        (true, false, Some(_)) => Err("webhook returned response.patchType but not response.patch".to_owned()),
        (true, true, Some(kind)) if kind != "JSONPatch" => {
            Err(format!("webhook returned invalid response.patchType of {kind:?}"))
        }
        _ => Ok(response),
    }
}

fn text<'a>(document: &'a Value, field: &str) -> &'a str {
    document[field].as_str().unwrap_or_default()
}

/// A refusal in the words of who refused, with `usual` as code where it says none. Its reason is theirs, where the API knows it.
pub(super) fn refusal(who: &str, result: &Value, usual: u16) -> Status {
    let denied = format!("admission {who} denied the request");
    let text = |field: &str| result[field].as_str().filter(|text| !text.is_empty());
    let message = match text("message").or_else(|| text("reason")) {
        Some(why) => format!("{denied}: {why}"),
        None => format!("{denied} without explanation"),
    };
    let code = result["code"].as_u64().and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code));
    let reason = text("reason").and_then(|reason| serde_json::from_value(json!(reason)).ok()).unwrap_or_default();
    let mut status = Status::new(reason, message);
    status.code = code.unwrap_or(usual);
    if let Some(details) = result.get("details").and_then(|details| serde_json::from_value(details.clone()).ok()) {
        status.details = details;
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(version: &str, is_mutating: bool) -> Hook {
        Hook::parse(&"c".into(), &json!({"name": "a.b.c", "admissionReviewVersions": [version]}), is_mutating)
    }

    #[test]
    fn a_refusal_is_told_in_kubernetes_words_with_an_error_code() {
        let cases = [
            (json!(null), 400, "admission webhook \"a.b.c\" denied the request without explanation"),
            (json!({"code": 200, "reason": "no"}), 400, "admission webhook \"a.b.c\" denied the request: no"),
            (json!({"code": 403, "message": "not you"}), 403, "admission webhook \"a.b.c\" denied the request: not you"),
        ];
        for (result, code, message) in cases {
            let status = refusal("webhook \"a.b.c\"", &result, 400);
            assert_eq!((status.code, status.message.as_str()), (code, message));
        }
        let reason = |result: Value| refusal("webhook \"a.b.c\"", &result, 400).to_json()["reason"].clone();
        assert_eq!(reason(json!({"code": 403})), Value::Null);
        assert_eq!(reason(json!({"reason": "Conflict"})), "Conflict");
    }

    #[test]
    fn a_patch_comes_with_its_type_and_from_who_may_change_something() {
        let answer = |patch: Value| {
            let mut response = json!({"uid": "a", "allowed": true});
            response.as_object_mut().expect("an object").extend(patch.as_object().cloned().expect("an object"));
            json!({"kind": "AdmissionReview", "apiVersion": V1, "response": response})
        };
        let whole = json!({"patch": "W10=", "patchType": "JSONPatch"});
        assert!(accept(answer(whole.clone()), "a", &hook("v1", true)).is_ok());
        assert!(accept(answer(whole), "a", &hook("v1", false)).is_err());
        for half in [json!({"patch": "W10="}), json!({"patchType": "JSONPatch"}), json!({"patch": "W10=", "patchType": "Merge"})]
        {
            assert!(accept(answer(half.clone()), "a", &hook("v1", true)).is_err(), "{half}");
            assert!(accept(answer(half), "a", &hook("v1beta1", true)).is_ok());
        }
    }

    #[test]
    fn an_answer_belongs_to_its_question() {
        let answer = |uid: &str| json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": {"uid": uid, "allowed": true}});
        assert!(accept(answer("a"), "a", &hook("v1", false)).is_ok());
        assert!(accept(answer("b"), "a", &hook("v1", false)).is_err());
        assert!(accept(json!({}), "a", &hook("v1", false)).is_err());
    }
}
