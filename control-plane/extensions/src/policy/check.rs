//! What is wrong with the expressions of a policy or a webhook configuration when it is written.

use mizzen_api::status::Cause;
use mizzen_api::validate::{Path, invalid_text};
use serde_json::Value;

use super::items;
use crate::cel::{Names, Objects, Plain, check_names, compile_with};

/// What everything in a policy may name besides its variables.
const OF_POLICIES: &[&str] =
    &["object", "oldObject", "request", "params", "namespaceObject", "authorizer", crate::cel::REQUEST_RESOURCE];
/// Webhooks have no parameters, and do not see the namespace.
const OF_WEBHOOKS: &[&str] = &["object", "oldObject", "request", "authorizer", crate::cel::REQUEST_RESOURCE];

/// What a variable may be.
const ANY: &[Plain] = &[Plain::Bool, Plain::Int, Plain::Double, Plain::Text, Plain::List, Plain::Map];

/// Every expression of an object of `admissionregistration.k8s.io` that cannot be compiled. Those that the object had before
/// are let be.
pub fn check(object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let spec = &object["spec"];
    let at = Path::root("spec");
    // They come before the variables.
    conditions(spec, &at, OF_POLICIES, &mut causes);
    let variables: Vec<&str> = items(spec, "variables").filter_map(|variable| variable["name"].as_str()).collect();
    let list = at.field("variables");
    for (index, item) in items(spec, "variables").enumerate() {
        // One may use those before it.
        let names = Names { documents: OF_POLICIES, variables: Some(variables.get(..index).unwrap_or_default()) };
        let at = list.index(index);
        one(item.get("expression"), &at.field("expression"), &names, ANY, Objects::None, &mut causes);
    }
    let names = Names { documents: OF_POLICIES, variables: Some(&variables) };
    for (field, expression, wanted) in [
        ("validations", "expression", Plain::Bool),
        ("validations", "messageExpression", Plain::Text),
        ("auditAnnotations", "valueExpression", Plain::Text),
    ] {
        let list = at.field(field);
        for (index, item) in items(spec, field).enumerate() {
            let at = list.index(index);
            one(item.get(expression), &at.field(expression), &names, &[wanted], Objects::None, &mut causes);
        }
    }
    let list = at.field("mutations");
    for (index, item) in items(spec, "mutations").enumerate() {
        let at = list.index(index);
        for (field, wanted) in [("applyConfiguration", Plain::Map), ("jsonPatch", Plain::List)] {
            let at = at.field(field);
            one(item[field].get("expression"), &at.field("expression"), &names, &[wanted], Objects::Built, &mut causes);
        }
    }
    let hooks = Path::root("webhooks");
    for (index, hook) in items(object, "webhooks").enumerate() {
        conditions(hook, &hooks.index(index), OF_WEBHOOKS, &mut causes);
    }
    if causes.is_empty() {
        return causes;
    }
    let before = old.map(|old| check(old, None)).unwrap_or_default();
    causes.retain(|cause| !before.iter().any(|known| known.message == cause.message));
    causes
}

fn conditions(document: &Value, at: &Path, documents: &[&str], causes: &mut Vec<Cause>) {
    let names = Names { documents, variables: None };
    let list = at.field("matchConditions");
    for (index, condition) in items(document, "matchConditions").enumerate() {
        let at = list.index(index);
        one(condition.get("expression"), &at.field("expression"), &names, &[Plain::Bool], Objects::None, causes);
    }
}

fn one(expression: Option<&Value>, at: &Path, names: &Names<'_>, wanted: &[Plain], objects: Objects, causes: &mut Vec<Cause>) {
    // An empty one is refused by the kind's own checks where it is needed.
    let Some(source) = expression.and_then(Value::as_str).filter(|source| !source.trim().is_empty()) else { return };
    if let Err(error) = compile_with(source, objects).and_then(|program| check_names(&program, names, wanted)) {
        causes.push(invalid_text(at, source, format!("compilation failed: {error}")));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn expressions_that_cannot_be_compiled_are_named() {
        let object = json!({"spec": {
            "matchConditions": [{"name": "a", "expression": "object.x == "}, {"name": "b", "expression": "variables.x == 1"}],
            "variables": [{"name": "y", "expression": "object.y"}],
            "validations": [{"expression": "objekt.x == 1"}, {"expression": "object.list.all(x, x > variables.y)"}],
        }});
        let fields = |object: &Value, old: Option<&Value>| -> Vec<String> {
            check(object, old).into_iter().map(|cause| cause.field).collect()
        };
        assert_eq!(
            fields(&object, None),
            ["spec.matchConditions[0].expression", "spec.matchConditions[1].expression", "spec.validations[0].expression"]
        );
        assert_eq!(fields(&object, Some(&object)), [""; 0]);
        let wrong = json!({"spec": {
            "variables": [{"name": "a", "expression": "variables.b"}, {"name": "b", "expression": "variables.a"}],
            "validations": [
                {"expression": "1"},
                {"expression": "variables.c"},
                {"expression": "variables.b == 1", "messageExpression": "1 + 1"},
                {"expression": "has(variables.a) && variables.?a.hasValue()", "messageExpression": "variables.b"},
            ],
            "auditAnnotations": [{"valueExpression": "true"}, {"valueExpression": "object.x ? 'y' : null"}],
            "mutations": [
                {"jsonPatch": {"expression": "'x'"}, "applyConfiguration": {"expression": "true"}},
                {"jsonPatch": {"expression": "[JSONPatch{op: 'add'}]"}, "applyConfiguration": {"expression": "Object{spec: 1}"}},
            ],
        }});
        assert_eq!(
            fields(&wrong, None),
            [
                "spec.variables[0].expression",
                "spec.validations[0].expression",
                "spec.validations[1].expression",
                "spec.validations[2].messageExpression",
                "spec.auditAnnotations[0].valueExpression",
                "spec.mutations[0].applyConfiguration.expression",
                "spec.mutations[0].jsonPatch.expression",
            ]
        );
        let hook = json!({"webhooks": [{"matchConditions": [{"name": "a", "expression": "1 + 1"}]}]});
        assert!(check(&hook, None)[0].message.contains("must evaluate to bool"));
        let hook = json!({"webhooks": [{"matchConditions": [{"name": "a", "expression": "request.name != 'x' &&& true"}]}]});
        assert!(check(&hook, None)[0].message.contains("compilation failed"));
    }
}
