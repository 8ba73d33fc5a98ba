//! What is wrong with the expressions of a policy or a webhook configuration when it is written.

use mizzen_api::status::Cause;
use mizzen_api::validate::{Path, invalid_text};
use serde_json::Value;

use super::{VARIABLES, items};
use crate::cel::{Objects, check_names, compile_with};

/// What conditions may name: they come before parameters' variables.
const OF_CONDITIONS: &[&str] =
    &["object", "oldObject", "request", "params", "namespaceObject", "authorizer", crate::cel::REQUEST_RESOURCE];
/// Webhooks have no parameters, and do not see the namespace.
const OF_WEBHOOKS: &[&str] = &["object", "oldObject", "request", "authorizer", crate::cel::REQUEST_RESOURCE];

/// Every expression of an object of `admissionregistration.k8s.io` that cannot be compiled. Those that the object had before
/// are let be.
pub fn check(object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let spec = &object["spec"];
    let at = Path::root("spec");
    conditions(spec, &at, OF_CONDITIONS, &mut causes);
    for (field, expression) in [
        ("variables", "expression"),
        ("validations", "expression"),
        ("validations", "messageExpression"),
        ("auditAnnotations", "valueExpression"),
    ] {
        let list = at.field(field);
        for (index, item) in items(spec, field).enumerate() {
            let at = list.index(index);
            one(item.get(expression), &at.field(expression), VARIABLES, Objects::None, &mut causes);
        }
    }
    let list = at.field("mutations");
    for (index, item) in items(spec, "mutations").enumerate() {
        let at = list.index(index);
        for field in ["applyConfiguration", "jsonPatch"] {
            let at = at.field(field);
            one(item[field].get("expression"), &at.field("expression"), VARIABLES, Objects::Built, &mut causes);
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

fn conditions(document: &Value, at: &Path, variables: &[&str], causes: &mut Vec<Cause>) {
    let list = at.field("matchConditions");
    for (index, condition) in items(document, "matchConditions").enumerate() {
        let at = list.index(index);
        one(condition.get("expression"), &at.field("expression"), variables, Objects::None, causes);
    }
}

fn one(expression: Option<&Value>, at: &Path, variables: &[&str], objects: Objects, causes: &mut Vec<Cause>) {
    // An empty one is refused by the kind's own checks where it is needed.
    let Some(source) = expression.and_then(Value::as_str).filter(|source| !source.trim().is_empty()) else { return };
    if let Err(error) = compile_with(source, objects).and_then(|program| check_names(&program, variables)) {
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
        let hook = json!({"webhooks": [{"matchConditions": [{"name": "a", "expression": "request.name != 'x' &&& true"}]}]});
        assert!(check(&hook, None)[0].message.contains("compilation failed"));
    }
}
