//! What the expressions of a policy get wrong of the kinds that it names (`status.typeChecking`). A policy with such mistakes
//! is stored all the same: it may be meant for kinds that are to come.

use mizzen_api::GroupVersionKind;
use mizzen_api::schema::{Schema, SchemaSet};
use serde_json::{Value, json};

use super::{VARIABLES, items};
use crate::cel::{Plain, Typed, check_types, compile};

/// So many kinds are looked at, as in Kubernetes.
const MAX_KINDS: usize = 10;

/// A kind and its schema.
pub type Kind<'a> = (GroupVersionKind, &'a Schema);

/// `status.typeChecking` of a `ValidatingAdmissionPolicy`. `kind_of` tells which kind a group, version and resource is;
/// `named` finds the kind of an `apiVersion` and `kind`.
pub fn type_checking<'a>(
    policy: &Value,
    set: &SchemaSet,
    kind_of: impl Fn(&str, &str, &str) -> Option<Kind<'a>>,
    named: impl Fn(&str, &str) -> Option<Kind<'a>>,
) -> Value {
    let spec = &policy["spec"];
    let kinds = kinds(&spec["matchConstraints"], kind_of);
    let text = |field: &str| spec["paramKind"][field].as_str().unwrap_or_default();
    let params = named(text("apiVersion"), text("kind")).map(|(_, schema)| schema);
    let mut warnings = Vec::new();
    for (index, validation) in items(spec, "validations").enumerate() {
        for (field, wanted) in [("expression", Plain::Bool), ("messageExpression", Plain::Text)] {
            let Some(source) = validation[field].as_str().filter(|source| !source.trim().is_empty()) else { continue };
            // What cannot be compiled is refused elsewhere.
            let Ok(program) = compile(source) else { continue };
            let wrong: Vec<String> = kinds
                .iter()
                .filter_map(|(kind, schema)| {
                    let mut typed = vec![("object", *schema), ("oldObject", *schema)];
                    typed.extend(params.map(|schema| ("params", schema)));
                    let why =
                        check_types(&program, &Typed { set, typed: &typed, shaped: &[], untyped: VARIABLES }, &[wanted]).err()?;
                    Some(format!("{}, Kind={}: {why}", kind.group_version(), kind.kind))
                })
                .collect();
            if !wrong.is_empty() {
                let place = format!("spec.validations[{index}].{field}");
                warnings.push(json!({"fieldRef": place, "warning": wrong.join("\n")}));
            }
        }
    }
    if warnings.is_empty() { json!({}) } else { json!({"expressionWarnings": warnings}) }
}

/// The kinds that the rules name; rules for anything name none.
fn kinds<'a>(constraints: &Value, kind_of: impl Fn(&str, &str, &str) -> Option<Kind<'a>>) -> Vec<Kind<'a>> {
    let mut kinds: Vec<Kind<'a>> = Vec::new();
    for rule in items(constraints, "resourceRules") {
        let list = |field: &str| rule[field].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
        let (groups, versions, resources) = (list("apiGroups"), list("apiVersions"), list("resources"));
        if [&groups, &versions, &resources].iter().any(|list| list.iter().any(|item| item.contains('*'))) {
            continue;
        }
        for group in &groups {
            for version in &versions {
                for resource in resources.iter().filter(|resource| !resource.contains('/')) {
                    let Some(found) = kind_of(group, version, resource) else { continue };
                    if !kinds.iter().any(|(known, _)| *known == found.0) {
                        kinds.push(found);
                    }
                }
            }
        }
    }
    kinds.sort_by_key(|(kind, _)| (kind.group.clone(), kind.version.clone(), kind.kind.clone()));
    kinds.truncate(MAX_KINDS);
    kinds
}

#[cfg(test)]
mod tests {
    use mizzen_api::schema::builtin;

    use super::*;

    #[test]
    fn expressions_are_held_against_the_kinds_that_the_rules_name() {
        let schema = |name: &str| &**builtin().get(name).expect("is built in");
        let kind_of = |group: &str, version: &str, resource: &str| match (group, version, resource) {
            ("apps", "v1", "deployments") => {
                Some((GroupVersionKind::new("apps", "v1", "Deployment"), schema("io.k8s.api.apps.v1.Deployment")))
            }
            ("", "v1", "pods") => Some((GroupVersionKind::new("", "v1", "Pod"), schema("io.k8s.api.core.v1.Pod"))),
            _ => None,
        };
        let named = |version: &str, kind: &str| {
            ((version, kind) == ("v1", "ConfigMap"))
                .then(|| (GroupVersionKind::new("", "v1", "ConfigMap"), schema("io.k8s.api.core.v1.ConfigMap")))
        };
        let told = |rules: Value, validations: Value| {
            let policy = json!({"spec": {"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
                "matchConstraints": {"resourceRules": rules}, "validations": validations}});
            type_checking(&policy, builtin(), kind_of, named)
        };
        let rules =
            json!([{"apiGroups": ["apps", ""], "apiVersions": ["v1"], "resources": ["deployments", "pods", "pods/status"]}]);
        let validations = json!([
            {"expression": "object.metadata.name != params.data.name"},
            {"expression": "object.spec.replicas > 1", "messageExpression": "object.spec.replicas"},
            {"expression": "params.nothing == 1"},
        ]);
        let replicas = "v1, Kind=Pod: ERROR: <input>: undefined field 'replicas'";
        let both = "v1, Kind=Pod: ERROR: <input>: undefined field 'nothing'\n\
                    apps/v1, Kind=Deployment: ERROR: <input>: undefined field 'nothing'";
        let wanted = json!({"expressionWarnings": [
            {"fieldRef": "spec.validations[1].expression", "warning": replicas},
            {"fieldRef": "spec.validations[1].messageExpression",
             "warning": format!("{replicas}\napps/v1, Kind=Deployment: must evaluate to string")},
            {"fieldRef": "spec.validations[2].expression", "warning": both},
        ]});
        assert_eq!(told(rules, validations.clone()), wanted);
        let any = json!([{"apiGroups": ["*"], "apiVersions": ["v1"], "resources": ["pods"]}]);
        assert_eq!(told(any, validations), json!({}));
    }
}
