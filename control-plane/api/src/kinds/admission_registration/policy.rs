//! `MutatingAdmissionPolicy` and `ValidatingAdmissionPolicy`: rules in CEL that the server itself asks.

use serde_json::{Value, json};

use super::super::builder::Describe;
use super::super::value::{absent, child, fill, list, set, text};
use super::extension;
use super::rules::{check_match, check_match_conditions, default_match};
use crate::descriptor::{Column, Context, ResourceDescriptor, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{Path, invalid_text, is_cel_identifier, one_of, required, required_one_of};

struct Policy {
    mutating: bool,
}

pub(super) fn mutating() -> ResourceDescriptor {
    extension("MutatingAdmissionPolicy", "mutatingadmissionpolicies", Policy { mutating: true })
}

pub(super) fn validating() -> ResourceDescriptor {
    extension("ValidatingAdmissionPolicy", "validatingadmissionpolicies", Policy { mutating: false }).status()
}

const MUTATING: &[Column] = &[
    Column::number("Mutations", "How many mutations there are."),
    Column::text("ParamKind", "The kind of the policy's parameters."),
    Column::AGE,
];
const VALIDATING: &[Column] = &[
    Column::number("Validations", "How many rules there are."),
    Column::text("ParamKind", "The kind of the policy's parameters."),
    Column::AGE,
];
const RULES: &[&str] = &["resourceRules", "excludeResourceRules"];

impl Strategy for Policy {
    fn updates_unconditionally(&self) -> bool {
        false
    }

    fn default(&self, object: &mut Value) {
        let Some(spec) = child(object, "spec") else { return };
        fill(spec, "failurePolicy", "Fail");
        if let Some(matching) = spec.get_mut("matchConstraints").filter(|matching| matching.is_object()) {
            default_match(matching, &["/resourceRules", "/excludeResourceRules"]);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        if !self.mutating {
            set(object, "status", json!({}));
        }
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let (at, spec) = (Path::root("spec"), object.get("spec").unwrap_or(&Value::Null));
        let mut causes = Vec::new();
        causes.extend(one_of(at.field("failurePolicy"), text(spec, "/failurePolicy"), &["Fail", "Ignore"]));
        if !absent(spec, "/paramKind") {
            let at = at.field("paramKind");
            for field in ["apiVersion", "kind"] {
                if text(spec, &format!("/paramKind/{field}")).is_empty() {
                    causes.push(required(at.field(field), ""));
                }
            }
        }
        let path = at.field("matchConstraints");
        match spec.get("matchConstraints").filter(|matching| matching.is_object()) {
            None => causes.push(required(path, "")),
            Some(matching) => {
                if list(matching, "/resourceRules").is_empty() {
                    causes.push(required(path.field("resourceRules"), ""));
                }
                check_match(matching, RULES, &path, &mut causes);
            }
        }
        check_match_conditions(spec, &at, &mut causes);
        check_expressions(spec, "variables", &at, &mut causes);
        if self.mutating {
            check_mutations(spec, &at, &mut causes)
        } else {
            check_validations(spec, &at, &mut causes)
        }
        causes
    }

    fn columns(&self) -> &'static [Column] {
        if self.mutating { MUTATING } else { VALIDATING }
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let count = list(object, if self.mutating { "/spec/mutations" } else { "/spec/validations" }).len();
        let kind = match object.pointer("/spec/paramKind") {
            None | Some(Value::Null) => "<unset>".to_owned(),
            Some(kind) => format!("{}/{}", text(kind, "/apiVersion"), text(kind, "/kind")),
        };
        vec![count.into(), kind.into(), age(object, context.now).into()]
    }
}

/// Entries with a name and an expression.
fn check_expressions(spec: &Value, field: &str, at: &Path, causes: &mut Vec<Cause>) {
    let path = at.field(field);
    for (index, entry) in list(spec, &format!("/{field}")).iter().enumerate() {
        let at = path.index(index);
        match text(entry, "/name") {
            "" => causes.push(required(at.field("name"), "name is not specified")),
            name if !is_cel_identifier(name) => {
                causes.push(invalid_text(at.field("name"), name, "name is not a valid CEL identifier"));
            }
            _ => {}
        }
        if text(entry, "/expression").trim().is_empty() {
            causes.push(required(at.field("expression"), "expression is not specified"));
        }
    }
}

fn check_validations(spec: &Value, at: &Path, causes: &mut Vec<Cause>) {
    const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
    let (validations, annotations) = (list(spec, "/validations"), list(spec, "/auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        let why = "validations or auditAnnotations must contain at least one item";
        causes.push(required(at.field("validations"), why));
        causes.push(required(at.field("auditAnnotations"), why));
    }
    let path = at.field("validations");
    for (index, validation) in validations.iter().enumerate() {
        let at = path.index(index);
        let (expression, message) = (text(validation, "/expression").trim(), text(validation, "/message"));
        if expression.is_empty() {
            causes.push(required(at.field("expression"), "expression is not specified"));
        }
        if !message.is_empty() && message.trim().is_empty() {
            causes.push(invalid_text(at.field("message"), message, "message must be non-empty if specified"));
        } else if message.trim().contains(['\n', '\r']) {
            causes.push(invalid_text(at.field("message"), message, "message must not contain line breaks"));
        }
        causes.extend(one_of(at.field("reason"), text(validation, "/reason"), REASONS));
    }
    let path = at.field("auditAnnotations");
    for (index, annotation) in annotations.iter().enumerate() {
        for field in ["key", "valueExpression"] {
            if text(annotation, &format!("/{field}")).trim().is_empty() {
                let at = path.index(index);
                causes.push(required(at.field(field), &format!("{field} is not specified")));
            }
        }
    }
}

fn check_mutations(spec: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let (mutations, path) = (list(spec, "/mutations"), at.field("mutations"));
    if mutations.is_empty() {
        causes.push(required(path, "mutations must contain at least one item"));
    }
    for (index, mutation) in mutations.iter().enumerate() {
        let at = path.index(index);
        let kind = text(mutation, "/patchType");
        causes.extend(required_one_of(at.field("patchType"), kind, &["ApplyConfiguration", "JSONPatch"]));
        let field = match kind {
            "ApplyConfiguration" => "applyConfiguration",
            "JSONPatch" => "jsonPatch",
            _ => continue,
        };
        if text(mutation, &format!("/{field}/expression")).trim().is_empty() {
            let at = at.field(field);
            causes.push(required(at.field("expression"), "expression is not specified"));
        }
    }
    let reinvoked = text(spec, "/reinvocationPolicy");
    causes.extend(required_one_of(at.field("reinvocationPolicy"), reinvoked, &["IfNeeded", "Never"]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_matches_something_and_says_something() {
        let rules = json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]);
        let mut right = json!({"spec": {"matchConstraints": {"resourceRules": rules}, "validations": [{"expression": "true"}],
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}});
        let policy = Policy { mutating: false };
        policy.default(&mut right);
        assert_eq!(policy.validate(&right), []);
        assert_eq!(policy.cells(&right, Context { now: jiff::Timestamp::UNIX_EPOCH })[..2], [json!(1), json!("v1/ConfigMap")]);
        let fields = |mutating: bool| -> Vec<String> {
            Policy { mutating }.validate(&json!({"spec": {}})).into_iter().map(|cause| cause.field).collect()
        };
        assert_eq!(fields(false), ["spec.matchConstraints", "spec.validations", "spec.auditAnnotations"]);
        let told = |spec: Value| -> Vec<String> {
            let causes = Policy { mutating: false }.validate(&json!({"spec": spec}));
            let about = causes.iter().filter(|cause| cause.field != "spec.matchConstraints");
            about.map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
        };
        let spec = json!({"variables": [{"name": "a b", "expression": "1"}, {"name": "_b1", "expression": "1"},
            {"name": "for", "expression": "1"}], "validations": [{"expression": "true", "message": "a\nb"},
            {"expression": "true\n||false"}, {"expression": "true", "message": " "}]});
        assert_eq!(
            told(spec),
            [
                "spec.variables[0].name: Invalid value: \"a b\": name is not a valid CEL identifier",
                "spec.variables[2].name: Invalid value: \"for\": name is not a valid CEL identifier",
                "spec.validations[0].message: Invalid value: \"a\\nb\": message must not contain line breaks",
                "spec.validations[2].message: Invalid value: \" \": message must be non-empty if specified",
            ]
        );
        assert_eq!(fields(true), ["spec.matchConstraints", "spec.mutations", "spec.reinvocationPolicy"]);
    }
}
