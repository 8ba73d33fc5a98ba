//! `ResourceClaim` and `ResourceClaimTemplate`.

use serde_json::{Value, json};

use super::super::builder::{Describe, resource};
use super::super::value::{absent, list, set, text};
use super::GROUP;
use super::requests::{check_requests, default_requests};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{Path, duplicate, immutable, invalid, required, too_many, validate_labels};

struct Claim;

struct Template;

/// So many pods can share a claim.
const MAX_CONSUMERS: usize = 256;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource(GROUP, "ResourceClaim", "resourceclaims", Scope::Namespaced, Claim).status()
}

pub(super) fn template() -> ResourceDescriptor {
    resource(GROUP, "ResourceClaimTemplate", "resourceclaimtemplates", Scope::Namespaced, Template)
}

const COLUMNS: &[Column] = &[Column::text("State", "Whether the claim has its devices, and pods use them."), Column::AGE];

fn same_spec(object: &Value, old: &Value) -> Vec<Cause> {
    immutable("spec", object.get("spec"), old.get("spec")).into_iter().collect()
}

impl Strategy for Claim {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = object.get_mut("spec") {
            default_requests(spec);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({}));
    }

    fn has_generation(&self, _object: &Value) -> bool {
        false
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        check_requests(object.get("spec").unwrap_or(&Value::Null), &Path::root("spec"), &mut causes);
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        same_spec(object, old)
    }

    fn validate_subresource_update(&self, _subresource: &str, object: &Value, old: &Value) -> Vec<Cause> {
        let at = Path::root("status");
        let (users, path) = (list(object, "/status/reservedFor"), at.field("reservedFor"));
        let mut causes = Vec::new();
        if users.len() > MAX_CONSUMERS {
            causes.push(too_many(path, users.len(), MAX_CONSUMERS));
        }
        for (index, user) in users.iter().enumerate() {
            let at = path.index(index);
            for field in ["resource", "name", "uid"] {
                if text(user, &format!("/{field}")).is_empty() {
                    causes.push(required(at.field(field), ""));
                }
            }
            if users[..index].iter().any(|other| text(other, "/uid") == text(user, "/uid")) {
                causes.push(duplicate(at.field("uid"), &text(user, "/uid").into()));
            }
        }
        let (now, before) = (object.pointer("/status/allocation"), old.pointer("/status/allocation"));
        if !users.is_empty() && now.is_none() {
            causes.push(invalid(path, &users.into(), "may not be specified when `allocated` is not set"));
        }
        if let (Some(now), Some(before)) = (now, before) {
            causes.extend(immutable(at.field("allocation"), Some(now), Some(before)));
        }
        causes
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let deleted = !absent(object, "/metadata/deletionTimestamp");
        let allocated = !absent(object, "/status/allocation");
        let states: Vec<&str> = [
            (deleted, "deleted"),
            (allocated, "allocated"),
            (!allocated && !deleted, "pending"),
            (!list(object, "/status/reservedFor").is_empty(), "reserved"),
        ]
        .iter()
        .filter(|(holds, _)| *holds)
        .map(|(_, state)| *state)
        .collect();
        vec![states.join(",").into(), age(object, context.now).into()]
    }
}

impl Strategy for Template {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = object.pointer_mut("/spec/spec") {
            default_requests(spec);
        }
    }

    fn has_generation(&self, _object: &Value) -> bool {
        false
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = validate_labels("spec.metadata.labels", object.pointer("/spec/metadata/labels"));
        check_requests(object.pointer("/spec/spec").unwrap_or(&Value::Null), &Path::root("spec.spec"), &mut causes);
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        same_spec(object, old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(requests: Value) -> Value {
        let mut object = json!({"spec": {"devices": {"requests": requests}}});
        Claim.default(&mut object);
        object
    }

    #[test]
    fn a_claim_is_for_one_device_unless_told_otherwise() {
        let mut object = claim(json!([{"name": "gpu", "exactly": {"deviceClassName": "gpu.example.com"}}]));
        let exact = &object["spec"]["devices"]["requests"][0]["exactly"];
        assert_eq!((&exact["allocationMode"], &exact["count"]), (&json!("ExactCount"), &json!(1)));
        assert_eq!(Claim.validate(&object), []);
        let context = Context { now: jiff::Timestamp::UNIX_EPOCH };
        assert_eq!(Claim.cells(&object, context)[0], "pending");
        object["status"] = json!({"allocation": {}, "reservedFor": [{"resource": "pods", "name": "a", "uid": "1"}]});
        assert_eq!(Claim.cells(&object, context)[0], "allocated,reserved");
        assert_eq!(Claim.validate_update(&claim(json!([])), &object)[0].field, "spec");
    }

    #[test]
    fn wrong_requests_are_named() {
        for (request, field) in [
            (json!({"name": "a"}), "spec.devices.requests[0]"),
            (json!({"name": "A", "exactly": {"deviceClassName": "c"}}), "spec.devices.requests[0].name"),
            (json!({"name": "a", "exactly": {}}), "spec.devices.requests[0].exactly.deviceClassName"),
            (
                json!({"name": "a", "exactly": {"deviceClassName": "c", "allocationMode": "All", "count": 2}}),
                "spec.devices.requests[0].exactly.count",
            ),
        ] {
            let causes = Claim.validate(&claim(json!([request])));
            assert_eq!(causes.iter().map(|cause| cause.field.as_str()).collect::<Vec<_>>(), [field]);
        }
    }
}
