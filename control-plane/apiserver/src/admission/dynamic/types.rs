//! Says in a policy's status what its expressions get wrong of the kinds that it names, when it is written.

use mizzen_api::GroupVersionKind;
use mizzen_extensions::policy::type_checking;
use serde_json::{Value, json};

use super::GROUP;
use crate::admission::{Attributes, Operation};

pub(super) fn is_checked(attributes: &Attributes<'_>) -> bool {
    attributes.group() == GROUP
        && attributes.resource() == "validatingadmissionpolicies"
        && attributes.subresource().is_empty()
        && matches!(attributes.operation, Operation::Create | Operation::Update)
}

pub(super) fn check(attributes: &Attributes<'_>, policy: &mut Value) {
    let snapshot = attributes.registry.snapshot();
    let set = snapshot.schemas();
    let of = |kind: GroupVersionKind| {
        let schema = set.get(set.name_of(&kind)?)?;
        Some((kind, &**schema))
    };
    let kind_of = |group: &str, version: &str, resource: &str| {
        let descriptor = attributes.registry.by_resource(group, version, resource)?;
        of(GroupVersionKind::new(group, version, descriptor.kind.clone()))
    };
    let named = |api_version: &str, kind: &str| {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        of(GroupVersionKind::new(group, version, kind))
    };
    let checked = type_checking(policy, set, kind_of, named);
    // What is written now is a generation of its own if it asks for something else.
    let generation = policy.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(1);
    let is_new = attributes.old.is_some_and(|old| old["spec"] != policy["spec"]);
    let Some(policy) = policy.as_object_mut() else { return };
    let status = policy.entry("status").or_insert_with(|| json!({}));
    status["typeChecking"] = checked;
    status["observedGeneration"] = json!(generation + i64::from(is_new));
}
