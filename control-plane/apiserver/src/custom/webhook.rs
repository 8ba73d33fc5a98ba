//! Conversion by a service (`apiextensions.k8s.io/v1.ConversionReview`).

use std::time::Duration;

use mizzen_api::{ResourceDescriptor, Status};
use mizzen_store::Store;
use serde_json::{Value, json};

use crate::webhook::{WebhookError, ask, place};

/// How long a webhook may take, as Kubernetes gives it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Asks the webhook for the documents in the version `wanted`.
pub(super) async fn convert(
    store: &dyn Store,
    config: &Value,
    wanted: &str,
    descriptor: &ResourceDescriptor,
    documents: &[Value],
) -> Result<Vec<Value>, Status> {
    let converted = async {
        let place = place(store, &config["clientConfig"])?;
        let uid = uuid::Uuid::new_v4().to_string();
        let review = json!({
            "kind": "ConversionReview", "apiVersion": review_version(config),
            "request": {"uid": uid, "desiredAPIVersion": wanted, "objects": documents},
        });
        let asking = ask(&place, &config["clientConfig"], &review);
        let answer = tokio::time::timeout(TIMEOUT, asking)
            .await
            .map_err(|_| WebhookError::Timeout { address: place.address.clone() })??;
        accept(answer, &uid, wanted, documents)
    };
    converted.await.map_err(|error: WebhookError| {
        let from = documents.first().and_then(|document| document["apiVersion"].as_str()).unwrap_or_default();
        Status::internal(format!("conversion webhook for {from}, Kind={} failed: {error}", descriptor.kind))
    })
}

fn review_version(config: &Value) -> &'static str {
    let known = config["conversionReviewVersions"].as_array().into_iter().flatten().filter_map(Value::as_str);
    match known.into_iter().find(|version| ["v1", "v1beta1"].contains(version)) {
        Some("v1beta1") => "apiextensions.k8s.io/v1beta1",
        _ => "apiextensions.k8s.io/v1",
    }
}

/// What the webhook may have changed: all but the metadata, save labels and annotations.
fn accept(mut answer: Value, uid: &str, wanted: &str, sent: &[Value]) -> Result<Vec<Value>, WebhookError> {
    let wrong = |why: String| Err(WebhookError::Review(why));
    let response = answer["response"].take();
    if response["uid"] != uid {
        return wrong(format!("expected response.uid={uid:?}, got {}", response["uid"]));
    }
    if response["result"]["status"] != "Success" {
        let why = response["result"]["message"].as_str().unwrap_or("no message");
        return wrong(why.to_owned());
    }
    let Some(mut converted) = response.get("convertedObjects").and_then(Value::as_array).cloned() else {
        return wrong("the answer has no objects".to_owned());
    };
    if converted.len() != sent.len() {
        return wrong(format!("expected {} converted objects, got {}", sent.len(), converted.len()));
    }
    for (index, (new, old)) in converted.iter_mut().zip(sent).enumerate() {
        if new["apiVersion"] != wanted {
            return wrong(format!("response.convertedObjects[{index}].apiVersion is {}, expected {wanted:?}", new["apiVersion"]));
        }
        if new["kind"] != old["kind"] {
            return wrong(format!("response.convertedObjects[{index}].kind is {}, expected {}", new["kind"], old["kind"]));
        }
        let mut metadata = old["metadata"].clone();
        let Some(kept) = metadata.as_object_mut() else { continue };
        for field in ["labels", "annotations"] {
            match new["metadata"].get(field) {
                Some(value) if !value.is_null() => kept.insert(field.to_owned(), value.clone()),
                _ => kept.remove(field),
            };
        }
        new["metadata"] = metadata;
    }
    Ok(converted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_changes_no_more_metadata_than_labels_and_annotations() {
        let sent = [json!({"apiVersion": "a/v1", "kind": "A", "metadata": {"name": "x", "uid": "1", "labels": {"a": "b"}}})];
        let object = json!({"apiVersion": "a/v2", "kind": "A", "metadata": {"name": "y", "labels": {"c": "d"}}, "spec": {}});
        let answer = json!({"response": {"uid": "u", "result": {"status": "Success"}, "convertedObjects": [object]}});
        let converted = accept(answer.clone(), "u", "a/v2", &sent).expect("is accepted");
        assert_eq!(converted[0]["metadata"], json!({"name": "x", "uid": "1", "labels": {"c": "d"}}));
        assert!(accept(answer.clone(), "other", "a/v2", &sent).is_err());
        assert!(accept(answer, "u", "a/v3", &sent).is_err());
    }
}
