//! `AdmissionReview`: what is sent to a webhook, and what comes back.

use std::time::Duration;

use mizzen_api::{Reason, Status};
use serde_json::{Value, json};

use super::hooks::{Hook, shown};
use super::request::Request;
use crate::webhook::{self, WebhookError};

/// The response of the webhook, or why there is none.
///
/// # Errors
/// When the objects cannot be shown in the version that the webhook wants.
pub(super) async fn ask(hook: &Hook, request: &Request<'_>, version: &str) -> Result<Result<Value, String>, Status> {
    let uid = crate::uid::new();
    let mut about = request.describe(&uid, version);
    about["object"] = shown(request, version, request.object).await?;
    about["oldObject"] = shown(request, version, request.attributes.old).await?;
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
        Ok(answer) => accept(answer, &uid, hook.review_version),
        Err(error) => Err(format!("failed to call webhook: {error}")),
    })
}

fn accept(mut answer: Value, uid: &str, version: &str) -> Result<Value, String> {
    if answer["kind"] != "AdmissionReview" || answer["apiVersion"] != version {
        let (wanted, given) = (format!("{version}, Kind=AdmissionReview"), &answer["apiVersion"]);
        return Err(format!("expected webhook response of {wanted}, got {given}, Kind={}", answer["kind"]));
    }
    let response = answer["response"].take();
    if !response.is_object() {
        return Err("webhook response was absent".to_owned());
    }
    // The first version of reviews had no identifier to repeat.
    if response["uid"] != uid && version == "admission.k8s.io/v1" {
        return Err(format!("expected response.uid={uid:?}, got {}", response["uid"]));
    }
    Ok(response)
}

/// A refusal in the words of who refused, with `usual` as code where it says none.
pub(super) fn refusal(who: &str, result: &Value, usual: u16) -> Status {
    let denied = format!("admission {who} denied the request");
    let text = |field: &str| result[field].as_str().filter(|text| !text.is_empty());
    let message = match text("message").or_else(|| text("reason")) {
        Some(why) => format!("{denied}: {why}"),
        None => format!("{denied} without explanation"),
    };
    let code = result["code"].as_u64().and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code));
    let code = code.unwrap_or(usual);
    let reason = text("reason").and_then(|reason| serde_json::from_value(json!(reason)).ok()).unwrap_or(match code {
        400 => Reason::BadRequest,
        403 => Reason::Forbidden,
        404 => Reason::NotFound,
        409 => Reason::Conflict,
        422 => Reason::Invalid,
        500 => Reason::InternalError,
        _ => Reason::Unknown,
    });
    let mut status = Status::new(reason, message);
    status.code = code;
    if let Some(details) = result.get("details").and_then(|details| serde_json::from_value(details.clone()).ok()) {
        status.details = details;
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }

    #[test]
    fn an_answer_belongs_to_its_question() {
        let answer = |uid: &str| json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": {"uid": uid, "allowed": true}});
        assert!(accept(answer("a"), "a", "admission.k8s.io/v1").is_ok());
        assert!(accept(answer("b"), "a", "admission.k8s.io/v1").is_err());
        assert!(accept(json!({}), "a", "admission.k8s.io/v1").is_err());
    }
}
