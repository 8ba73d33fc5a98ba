//! When the conditions of a request were said, where who says them leaves it to the server.

use async_trait::async_trait;
use mizzen_api::Status;
use serde_json::{Value, json};

use super::super::{Attributes, Plugin};

pub(in crate::admission) struct CertificateConditions;

#[async_trait]
impl Plugin for CertificateConditions {
    async fn mutate(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Status> {
        if super::is_updated(attributes, "approval") || super::is_updated(attributes, "status") {
            let now = attributes.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let old = attributes.old.and_then(|old| old.pointer("/status/conditions")).and_then(Value::as_array);
            let old = old.map(Vec::as_slice).unwrap_or_default();
            let conditions = object.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
            conditions.into_iter().flatten().for_each(|condition| stamp(condition, old, &now));
        }
        Ok(())
    }
}

fn stamp(condition: &mut Value, old: &[Value], now: &str) {
    let unset = |condition: &Value, field: &str| condition.get(field).is_none_or(Value::is_null);
    let same = |other: &&Value, field: &str| other.get(field) == condition.get(field);
    let before = old.iter().find(|other| same(other, "type") && same(other, "status"));
    let since = before.and_then(|before| before.get("lastTransitionTime")).filter(|time| !time.is_null()).cloned();
    let Some(fields) = condition.is_object().then_some(condition) else { return };
    if unset(fields, "lastUpdateTime") {
        fields["lastUpdateTime"] = json!(now);
    }
    if unset(fields, "lastTransitionTime") {
        fields["lastTransitionTime"] = since.unwrap_or_else(|| json!(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_times_and_gets_those_it_lacks() {
        let old = [json!({"type": "A", "status": "True", "lastTransitionTime": "then"})];
        let stamped = |mut condition: Value| {
            stamp(&mut condition, &old, "now");
            (condition["lastUpdateTime"].clone(), condition["lastTransitionTime"].clone())
        };
        assert_eq!(stamped(json!({"type": "A", "status": "True"})), (json!("now"), json!("then")));
        assert_eq!(stamped(json!({"type": "A", "status": "False"})), (json!("now"), json!("now")));
        let own = json!({"type": "B", "status": "True", "lastUpdateTime": "x", "lastTransitionTime": "y"});
        assert_eq!(stamped(own), (json!("x"), json!("y")));
    }
}
