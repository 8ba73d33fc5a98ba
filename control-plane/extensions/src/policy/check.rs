//! What is wrong with the expressions of a policy or a webhook configuration when it is written.

use mizzen_api::schema::builtin;
use mizzen_api::status::Cause;
use mizzen_api::validate::{Path, invalid_text};
use serde_json::Value;

use super::{VARIABLES, items, shapes};
use crate::cel::{Mistyped, Objects, Plain, REQUEST_RESOURCE, Typed, check_types, compile_with};
use crate::schema::Structural;

/// Webhooks have no parameters, and do not see the namespace.
const OF_WEBHOOKS: &[&str] = &["object", "oldObject", "authorizer", REQUEST_RESOURCE];

const FLAG: &[Plain] = &[Plain::Bool];
const TEXT: &[Plain] = &[Plain::Text];
const TEXT_OR_NOTHING: &[Plain] = &[Plain::Text, Plain::Null];

/// Every expression of an object of `admissionregistration.k8s.io` that cannot be compiled or is of the wrong type. Those
/// that the object had before are let be.
pub fn check(object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    policy(&object["spec"], &mut causes);
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

fn policy(spec: &Value, causes: &mut Vec<Cause>) {
    let at = Path::root("spec");
    // Without a kind of parameters there are none to name.
    let has_params = spec["paramKind"].is_object();
    let names = |name: &&str| !matches!(*name, "request" | "variables") && (has_params || *name != "params");
    let names: Vec<&str> = VARIABLES.iter().copied().filter(names).collect();
    // They come before the variables.
    conditions(spec, &at, &names, causes);
    let list = at.field("variables");
    let mut variables = shapes::variables();
    for (index, variable) in items(spec, "variables").enumerate() {
        // Each may name those before it.
        let given = Given { names: &names, variables: Some(&variables) };
        let at = list.index(index);
        given.check(variable.get("expression"), &at.field("expression"), (Objects::None, &[]), causes);
        if let Some(name) = variable["name"].as_str() {
            variables.properties.insert(name.to_owned(), Structural::default());
        }
    }
    let given = Given { names: &names, variables: Some(&variables) };
    let unauthorized: Vec<&str> = names.iter().copied().filter(|name| !name.starts_with("authorizer")).collect();
    let for_messages = Given { names: &unauthorized, ..given };
    for (field, expression, given, wanted) in [
        ("validations", "expression", given, FLAG),
        ("validations", "messageExpression", for_messages, TEXT),
        ("auditAnnotations", "valueExpression", given, TEXT_OR_NOTHING),
    ] {
        let list = at.field(field);
        for (index, item) in items(spec, field).enumerate() {
            let at = list.index(index);
            given.check(item.get(expression), &at.field(expression), (Objects::None, wanted), causes);
        }
    }
    let list = at.field("mutations");
    for (index, item) in items(spec, "mutations").enumerate() {
        let at = list.index(index);
        for field in ["applyConfiguration", "jsonPatch"] {
            let at = at.field(field);
            given.check(item[field].get("expression"), &at.field("expression"), (Objects::Built, &[]), causes);
        }
    }
}

fn conditions(document: &Value, at: &Path, names: &[&str], causes: &mut Vec<Cause>) {
    let (list, given) = (at.field("matchConditions"), Given { names, variables: None });
    for (index, condition) in items(document, "matchConditions").enumerate() {
        let at = list.index(index);
        given.check(condition.get("expression"), &at.field("expression"), (Objects::None, FLAG), causes);
    }
}

/// What an expression may name, besides the request.
#[derive(Clone, Copy)]
struct Given<'a> {
    names: &'a [&'a str],
    variables: Option<&'a Structural>,
}

impl Given<'_> {
    fn check(&self, expression: Option<&Value>, at: &Path, (objects, wanted): (Objects, &[Plain]), causes: &mut Vec<Cause>) {
        // An empty one is refused by the kind's own checks where it is needed.
        let Some(source) = expression.and_then(Value::as_str).filter(|source| !source.trim().is_empty()) else { return };
        let mut shaped = vec![("request", shapes::request())];
        shaped.extend(self.variables.map(|variables| ("variables", variables)));
        let given = Typed { set: builtin(), typed: &[], shaped: &shaped, untyped: self.names };
        let checked =
            compile_with(source, objects).map_err(Mistyped::Unread).and_then(|program| check_types(&program, &given, wanted));
        match checked {
            Ok(()) => {}
            Err(wrong @ Mistyped::Outcome(_)) => causes.push(invalid_text(at, source, wrong.to_string())),
            Err(wrong) => causes.push(invalid_text(at, source, format!("compilation failed: {wrong}"))),
        }
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
            "variables": [{"name": "y", "expression": "1"}],
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

    #[test]
    fn conditions_are_flags_and_name_what_there_is() {
        let told = |object: Value| -> Vec<String> { check(&object, None).into_iter().map(|cause| cause.message).collect() };
        let hook = |source: &str| told(json!({"webhooks": [{"matchConditions": [{"name": "a", "expression": source}]}]}));
        for source in [
            "request.dryRun",
            "object",
            "!('system:nodes' in request.userInfo.groups)",
            "request.options.force && request.resource.resource != 'leases'",
            "authorizer.group('').resource('pods').namespace('a').check('create').allowed()",
            "has(request.userInfo.extra) && request.userInfo.extra['a'].exists(v, v == 'b')",
        ] {
            assert_eq!(hook(source), [""; 0], "{source}");
        }
        for source in ["1", "request.name", "[object]", "'x' + request.operation"] {
            assert_eq!(hook(source), [format!("Invalid value: {source:?}: must evaluate to bool")]);
        }
        assert!(hook("request.object.x == 1")[0].ends_with("compilation failed: ERROR: <input>: undefined field 'object'"));
        let policy = |spec: Value| told(json!({ "spec": spec }));
        let flag = json!({"expression": "variables.a == 1 && params.x == 2"});
        let variables = json!([{"name": "a", "expression": "1"}, {"name": "b", "expression": "variables.a"}]);
        let param_kind = json!({"apiVersion": "v1", "kind": "ConfigMap"});
        assert_eq!(policy(json!({"paramKind": param_kind, "variables": variables, "validations": [flag]})), [""; 0]);
        for (spec, wrong) in [
            (json!({"variables": variables, "validations": [flag]}), "undeclared reference to 'params' (in container '')"),
            (json!({"paramKind": param_kind, "validations": [flag]}), "undefined field 'a'"),
            (json!({"variables": [{"name": "a", "expression": "variables.a"}]}), "undefined field 'a'"),
            (json!({"validations": [{"expression": "1"}]}), "must evaluate to bool"),
            (json!({"validations": [{"expression": "true", "messageExpression": "1"}]}), "must evaluate to string"),
            (
                json!({"validations": [{"expression": "true", "messageExpression": "string(authorizer)"}]}),
                "undeclared reference to 'authorizer' (in container '')",
            ),
            (json!({"auditAnnotations": [{"valueExpression": "1"}]}), "must evaluate to one of [string null_type]"),
        ] {
            let told = policy(spec.clone());
            assert!(told.len() == 1 && told[0].ends_with(wrong), "{spec}: {told:?}");
        }
        assert_eq!(policy(json!({"auditAnnotations": [{"valueExpression": "null"}]})), [""; 0]);
    }
}
