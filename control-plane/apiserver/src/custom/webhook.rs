//! Conversion by a service (`apiextensions.k8s.io/v1.ConversionReview`).

use std::time::Duration;

use mizzen_api::{Reason, Status};
use mizzen_store::Store;
use serde_json::{Value, json};

use crate::webhook::{WebhookError, ask, place};

/// How long a webhook may take, as Kubernetes gives it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Asks the webhook for the documents in the version `wanted`.
///
/// # Errors
/// A `Status` without a reason, in the words of Kubernetes: the webhook could not be asked, or converts as it must not.
pub(super) async fn convert(store: &dyn Store, config: &Value, wanted: &str, documents: &[Value]) -> Result<Vec<Value>, Status> {
    let told = |error: Wrong| {
        let first = documents.first().unwrap_or(&Value::Null);
        let text = |field: &str| first[field].as_str().unwrap_or_default();
        Status::new(Reason::Unknown, format!("conversion webhook for {}, Kind={} {error}", text("apiVersion"), text("kind")))
    };
    let uid = crate::uid::new();
    let version = review_version(config);
    let answer = asked(store, config, &uid, (version, wanted), documents).await;
    let answer = answer.map_err(|error| told(Wrong::Failed(error.to_string())))?;
    let converted = response(answer, &uid, version).and_then(|objects| accept(objects, wanted, documents));
    converted.map_err(told)
}

/// Why an answer is not taken.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error("failed: {0}")]
    Failed(String),
    #[error("returned {given} objects, expected {expected}")]
    Count { given: usize, expected: usize },
    #[error("returned invalid converted object at index {index}: {why}")]
    Object { index: usize, why: String },
    #[error("returned invalid metadata in object at index {index}: {why}")]
    Metadata { index: usize, why: String },
}

async fn asked(
    store: &dyn Store,
    config: &Value,
    uid: &str,
    (version, wanted): (&str, &str),
    documents: &[Value],
) -> Result<Value, WebhookError> {
    let mut place = place(store, &config["clientConfig"])?;
    place.give(TIMEOUT.as_secs());
    let review = json!({
        "kind": "ConversionReview", "apiVersion": version,
        "request": {"uid": uid, "desiredAPIVersion": wanted, "objects": documents},
    });
    let asking = ask(&place, &config["clientConfig"], &review);
    tokio::time::timeout(TIMEOUT, asking).await.map_err(|_| WebhookError::Timeout { url: place.url() })?
}

fn review_version(config: &Value) -> &'static str {
    let known = config["conversionReviewVersions"].as_array().into_iter().flatten().filter_map(Value::as_str);
    match known.into_iter().find(|version| ["v1", "v1beta1"].contains(version)) {
        Some("v1beta1") => V1BETA1,
        _ => V1,
    }
}

const V1: &str = "apiextensions.k8s.io/v1";
const V1BETA1: &str = "apiextensions.k8s.io/v1beta1";

/// The objects that a review answers with.
fn response(mut answer: Value, uid: &str, version: &str) -> Result<Vec<Value>, Wrong> {
    let failed = |why: String| Err(Wrong::Failed(why));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if answer["kind"] != "ConversionReview" || answer["apiVersion"] != version {
        let given = format!("{}, Kind={}", text(&answer["apiVersion"]), text(&answer["kind"]));
        return failed(format!("expected webhook response of {version}, Kind=ConversionReview, got {given}"));
    }
    let mut response = answer["response"].take();
    if !response.is_object() {
        return failed("no response provided".to_owned());
    }
    // The first version of reviews had no identifier to repeat.
    if version == V1 && response["uid"] != uid {
        return failed(format!("expected response.uid={uid:?}, got {:?}", text(&response["uid"])));
    }
    let result = &response["result"];
    if result["status"] != "Success" {
        return match text(&result["message"]) {
            message if message.is_empty() => {
                failed(format!("response.result.status was '{}', not 'Success'", text(&result["status"])))
            }
            message => failed(message),
        };
    }
    match response["convertedObjects"].take() {
        Value::Array(objects) => Ok(objects),
        _ => Ok(Vec::new()),
    }
}

/// What the webhook may have changed: all but the metadata, save labels and annotations.
fn accept(mut converted: Vec<Value>, wanted: &str, sent: &[Value]) -> Result<Vec<Value>, Wrong> {
    if converted.len() != sent.len() {
        return Err(Wrong::Count { given: converted.len(), expected: sent.len() });
    }
    for (index, (new, old)) in converted.iter_mut().zip(sent).enumerate() {
        is_the_same(new, old, wanted).map_err(|why| Wrong::Object { index, why })?;
        new["metadata"] = metadata(new, old).map_err(|why| Wrong::Metadata { index, why })?;
    }
    Ok(converted)
}

/// Whether an object is what was sent, in the version that was asked for.
fn is_the_same(new: &Value, old: &Value, wanted: &str) -> Result<(), String> {
    let text = |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let given = text(new, "/apiVersion");
    if given != wanted {
        return Err(format!("invalid groupVersion (expected {wanted}, received {given})"));
    }
    let (kind, given) = (text(old, "/kind"), text(new, "/kind"));
    if kind != given {
        return Err(format!("invalid kind (expected {kind}, received {given})"));
    }
    for (field, pointer) in [("name", "/metadata/name"), ("namespace", "/metadata/namespace"), ("UID", "/metadata/uid")] {
        let (before, after) = (text(old, pointer), text(new, pointer));
        if before != after {
            return Err(format!("must have the same {field}: {before} != {after}"));
        }
    }
    Ok(())
}

/// The metadata that was sent, with the labels and annotations of the answer.
fn metadata(new: &Value, old: &Value) -> Result<Value, String> {
    let Some(given) = new.get("metadata") else { return Err("missing metadata in converted object".to_owned()) };
    if !given.is_object() {
        return Err("invalid metadata in converted object".to_owned());
    }
    let mut kept = old["metadata"].as_object().cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        match given.get(field) {
            None | Some(Value::Null) => kept.remove(field),
            Some(Value::Object(pairs)) => {
                if let Some((key, _)) = pairs.iter().find(|(_, value)| !value.is_string()) {
                    return Err(format!("invalid metadata.{field}[{key:?}] in converted object: it is no text"));
                }
                kept.insert(field.to_owned(), Value::Object(pairs.clone()))
            }
            Some(_) => return Err(format!("invalid metadata.{field} in converted object: it is no map")),
        };
    }
    let wrong = mizzen_api::validate::validate_labels("metadata.labels", kept.get("labels"));
    match wrong.first() {
        Some(cause) if old["metadata"].get("labels") != kept.get("labels") => Err(format!("{}: {}", cause.field, cause.message)),
        _ => Ok(Value::Object(kept)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(version: &str, metadata: Value) -> Value {
        json!({"apiVersion": format!("a/{version}"), "kind": "A", "metadata": metadata, "spec": {}})
    }

    fn told(new: Value) -> Result<Value, String> {
        let sent = [object("v1", json!({"name": "x", "uid": "1", "generation": 3, "labels": {"a": "b"}}))];
        let mut converted = accept(vec![new], "a/v2", &sent).map_err(|error| error.to_string())?;
        Ok(converted.remove(0)["metadata"].take())
    }

    #[test]
    fn a_webhook_changes_no_more_metadata_than_labels_and_annotations() {
        let changed = json!({"name": "x", "uid": "1", "generation": 9, "finalizers": ["f"], "labels": {"c": "d"}});
        assert_eq!(
            told(object("v2", changed)).expect("is taken"),
            json!({"name": "x", "uid": "1", "generation": 3, "labels": {"c": "d"}})
        );
        let bare = json!({"name": "x", "uid": "1"});
        assert_eq!(told(object("v2", bare)).expect("is taken"), json!({"name": "x", "uid": "1", "generation": 3}));
    }

    #[test]
    fn an_object_that_is_another_is_refused_in_kubernetes_words() {
        let at = "returned invalid converted object at index 0";
        let metadata = json!({"name": "x", "uid": "1"});
        let mut other = object("v2", metadata.clone());
        other["kind"] = json!("B");
        let mut bare = object("v2", json!({"name": "x", "uid": "1"}));
        bare["metadata"]["labels"] = json!({"a": 1});
        for (new, why) in [
            (object("v3", metadata), format!("{at}: invalid groupVersion (expected a/v2, received a/v3)")),
            (object("v2", json!({"name": "y", "uid": "1"})), format!("{at}: must have the same name: x != y")),
            (object("v2", json!({"name": "x", "uid": "2"})), format!("{at}: must have the same UID: 1 != 2")),
            (other, format!("{at}: invalid kind (expected A, received B)")),
            (
                bare,
                "returned invalid metadata in object at index 0: invalid metadata.labels[\"a\"] in converted object: it is no text"
                    .to_owned(),
            ),
        ] {
            assert_eq!(told(new), Err(why));
        }
        let none = accept(Vec::new(), "a/v2", &[json!({})]).expect_err("one is missing");
        assert_eq!(none.to_string(), "returned 0 objects, expected 1");
    }

    #[test]
    fn an_answer_belongs_to_its_question() {
        let answer = |response: Value| json!({"kind": "ConversionReview", "apiVersion": V1, "response": response});
        let refused = |answer: Value| response(answer, "u", V1).expect_err("is refused").to_string();
        let fine = json!({"uid": "u", "result": {"status": "Success"}, "convertedObjects": [1]});
        assert_eq!(response(answer(fine.clone()), "u", V1).expect("is taken"), [json!(1)]);
        let other = json!({"uid": "v", "result": {"status": "Success"}});
        assert_eq!(refused(answer(other)), "failed: expected response.uid=\"u\", got \"v\"");
        assert_eq!(refused(answer(Value::Null)), "failed: no response provided");
        let failure = json!({"uid": "u", "result": {"status": "Failure", "message": "no way"}});
        assert_eq!(refused(answer(failure)), "failed: no way");
        let failure = json!({"uid": "u", "result": {"status": "Failure"}});
        assert_eq!(refused(answer(failure)), "failed: response.result.status was 'Failure', not 'Success'");
        let old = json!({"kind": "ConversionReview", "apiVersion": V1BETA1, "response": fine});
        let wanted = "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview";
        assert_eq!(refused(old), format!("failed: {wanted}, got {V1BETA1}, Kind=ConversionReview"));
    }
}
