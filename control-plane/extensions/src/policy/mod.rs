//! `ValidatingAdmissionPolicy` and `MutatingAdmissionPolicy`: compiled once, asked for every request that they match.

mod annotation;
mod check;
mod conditions;
mod mutation;
mod program;
mod shapes;
mod types;
mod validation;

use serde_json::Value;

pub use annotation::AuditAnnotation;
pub use check::check;
pub use conditions::{Conditions, Met};
pub use mutation::{Mutation, Patch};
pub use program::Program;
pub use types::type_checking;
pub use validation::{Denial, Validation};

use crate::cel::Scope;
use crate::matching::Matching;

/// What expressions of policies may name.
pub const VARIABLES: &[&str] =
    &["object", "oldObject", "request", "params", "namespaceObject", "authorizer", crate::cel::REQUEST_RESOURCE, "variables"];

/// `spec.paramKind`.
#[derive(Debug)]
pub struct ParamKind {
    pub group: String,
    pub version: String,
    pub kind: String,
}

#[derive(Debug)]
pub struct Policy {
    pub name: String,
    pub ignores_failures: bool,
    pub matching: Matching,
    pub param_kind: Option<ParamKind>,
    pub conditions: Conditions,
    variables: Vec<(String, Program)>,
    pub validations: Vec<Validation>,
    pub audit_annotations: Vec<AuditAnnotation>,
    pub mutations: Vec<Mutation>,
    /// `reinvocationPolicy: IfNeeded`.
    pub is_reinvoked: bool,
}

impl Policy {
    pub fn parse(document: &Value) -> Self {
        let spec = &document["spec"];
        let param_kind = spec["paramKind"]["kind"].as_str().map(|kind| {
            let api_version = spec["paramKind"]["apiVersion"].as_str().unwrap_or_default();
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            ParamKind { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
        });
        let variables = items(spec, "variables").map(|variable| {
            let name = variable["name"].as_str().unwrap_or_default().to_owned();
            (name, Program::of(variable, "expression"))
        });
        Self {
            name: document["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            ignores_failures: spec["failurePolicy"] == "Ignore",
            matching: Matching::parse(&spec["matchConstraints"], "resourceRules", false),
            param_kind,
            conditions: Conditions::parse(spec),
            variables: variables.collect(),
            validations: items(spec, "validations").map(Validation::parse).collect(),
            audit_annotations: items(spec, "auditAnnotations").map(AuditAnnotation::parse).collect(),
            mutations: items(spec, "mutations").filter_map(Mutation::parse).collect(),
            is_reinvoked: spec["reinvocationPolicy"] == "IfNeeded",
        }
    }

    /// Evaluates the variables in their order, each of which may use those before it.
    pub fn define_variables(&self, scope: &mut Scope) {
        for (name, program) in &self.variables {
            if let Ok(program) = program.compiled() {
                scope.define(name, program);
            }
        }
    }

    /// What the validations object to.
    pub fn denials(&self, scope: &mut Scope) -> Vec<Denial> {
        let validations = self.validations.iter().enumerate();
        let denial = |(index, validation): (usize, &Validation)| Some((index, validation.denial(scope, self.ignores_failures)?));
        validations.filter_map(denial).map(|(index, denial)| Denial { index, ..denial }).collect()
    }
}

fn items<'a>(document: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    document[field].as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn denials(spec: Value, object: &Value) -> Vec<String> {
        let policy = Policy::parse(&json!({"metadata": {"name": "p"}, "spec": spec}));
        let mut scope = Scope::default();
        for name in ["oldObject", "params", "namespaceObject"] {
            scope.set(name, None);
        }
        scope.set("object", Some(object));
        scope.set("request", Some(&json!({"namespace": "n", "operation": "CREATE"})));
        policy.define_variables(&mut scope);
        policy.denials(&mut scope).into_iter().map(|denial| denial.message).collect()
    }

    #[test]
    fn validations_see_the_object_and_variables_that_build_on_each_other() {
        let spec = json!({
            "variables": [
                {"name": "replicas", "expression": "object.spec.replicas"},
                {"name": "odd", "expression": "variables.replicas % 2 == 1"},
                {"name": "broken", "expression": "object.nothing.here"},
            ],
            "validations": [
                {"expression": "variables.odd"},
                {"expression": "variables.replicas > 1", "messageExpression": "'only ' + string(variables.replicas)"},
                {"expression": "request.namespace == 'n' && object.metadata.namespace == 'n'", "message": "wrong place"},
                {"expression": "object.metadata.labels['a.b/c'] == 'd'"},
            ],
        });
        let object =
            |replicas: i64| json!({"metadata": {"namespace": "n", "labels": {"a.b/c": "d"}}, "spec": {"replicas": replicas}});
        assert_eq!(denials(spec.clone(), &object(3)), [""; 0]);
        assert_eq!(denials(spec.clone(), &object(2)), ["failed expression: variables.odd"]);
        assert_eq!(denials(spec, &object(1)), ["only 1"]);
    }

    #[test]
    fn errors_deny_unless_they_are_to_be_ignored() {
        let spec = |failure: &str| json!({"failurePolicy": failure, "validations": [{"expression": "object.a.b == 1"}]});
        assert_eq!(denials(spec("Fail"), &json!({})), ["expression 'object.a.b == 1' resulted in error: no such key: a"]);
        assert_eq!(denials(spec("Ignore"), &json!({})), [""; 0]);
    }

    #[test]
    fn mutations_build_objects_and_patches() {
        let policy = Policy::parse(&json!({"spec": {"mutations": [
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
                "Object{metadata: Object.metadata{labels: {'a.b/c': 'd'}}, spec: Object.spec{replicas: object.spec.replicas + 1}}"}},
            {"patchType": "JSONPatch", "jsonPatch": {"expression":
                "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('x/y'), value: 'z'}]"}},
        ]}}));
        let mut scope = Scope::default();
        scope.set("object", Some(&json!({"spec": {"replicas": 1}})));
        let patches: Vec<Patch> = policy.mutations.iter().map(|mutation| mutation.patch(&mut scope).expect("a patch")).collect();
        assert_eq!(
            patches,
            [
                Patch::Apply(json!({"metadata": {"labels": {"a.b/c": "d"}}, "spec": {"replicas": 2}})),
                Patch::Json(json!([{"op": "add", "path": "/metadata/labels/x~1y", "value": "z"}])),
            ]
        );
    }
}
