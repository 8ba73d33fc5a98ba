//! The condition `Dangling` of flow schemas: whether the level that they name exists.

use std::collections::BTreeSet;

use mizzen_api::{GroupVersionResource, Reason, Status, Verb};
use mizzen_client::{ApiRequest, Client, ListOptions};
use serde_json::{Value, json};

use super::bootstrap::GROUP;

const MANAGER: &str = "api-priority-and-fairness-config-consumer-v1";

/// The conditions that a schema should have; `None` when they are right.
fn conditions(schema: &Value, levels: &BTreeSet<String>, now: jiff::Timestamp) -> Option<Value> {
    let level = schema["spec"]["priorityLevelConfiguration"]["name"].as_str().unwrap_or_default();
    let named = format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?}");
    let (status, reason, message) = match levels.contains(level) {
        true => ("False", "Found", format!("{named} and it exists")),
        false => ("True", "NotFound", format!("{named} but there is no such object")),
    };
    let mut all = schema["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let at = all.iter().position(|condition| condition["type"] == "Dangling");
    let before = at.map(|at| all.remove(at)).unwrap_or_default();
    if before["status"] == status && before["reason"] == reason && before["message"] == message.as_str() {
        return None;
    }
    let since = match before["status"] == status {
        true => before["lastTransitionTime"].clone(),
        false => json!(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
    };
    all.push(json!({"type": "Dangling", "status": status, "reason": reason, "message": message, "lastTransitionTime": since}));
    Some(Value::Array(all))
}

/// Says of every schema whether its level exists.
///
/// # Errors
/// The first request that fails for another reason than that somebody else was faster.
pub(super) async fn tell(client: &dyn Client, now: jiff::Timestamp) -> Result<(), Status> {
    let kind = |resource: &str| GroupVersionResource::new(GROUP, "v1", resource);
    let levels = client.list(&kind("prioritylevelconfigurations"), "", &ListOptions::default()).await?;
    let levels: BTreeSet<String> = levels.items.iter().map(|level| level.head().name.clone()).collect();
    let schemas = kind("flowschemas");
    for object in client.list(&schemas, "", &ListOptions::default()).await?.items {
        let mut schema = object.value().map_err(Status::internal)?;
        let Some(conditions) = conditions(&schema, &levels, now) else { continue };
        schema["status"]["conditions"] = conditions;
        let mut request = ApiRequest::new(Verb::Update, &schemas, "", &object.head().name).subresource("status").manager(MANAGER);
        request.body = mizzen_client::Body::Value(schema);
        match client.write(request).await {
            // What changed it wakes us again.
            Err(status) if !status.is(Reason::Conflict) && !status.is(Reason::NotFound) => return Err(status),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_dangles_while_its_level_is_missing() {
        let mut schema = json!({"spec": {"priorityLevelConfiguration": {"name": "low"}}});
        let (none, low) = (BTreeSet::new(), BTreeSet::from(["low".to_owned()]));
        let now = jiff::Timestamp::UNIX_EPOCH;
        let dangling = conditions(&schema, &none, now).expect("is new");
        assert_eq!((&dangling[0]["status"], &dangling[0]["reason"]), (&json!("True"), &json!("NotFound")));
        schema["status"]["conditions"] = dangling;
        assert_eq!(conditions(&schema, &none, now), None);
        let found = conditions(&schema, &low, now).expect("changes");
        let message = "This FlowSchema references the PriorityLevelConfiguration object named \"low\" and it exists";
        assert_eq!((&found[0]["status"], &found[0]["message"]), (&json!("False"), &json!(message)));
    }
}
