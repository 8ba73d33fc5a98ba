//! PolicyReport and ClusterPolicyReport (`wgpolicyk8s.io/v1alpha2`), the kinds of the Kubernetes Policy Working Group in which
//! tools say what policies make of what is stored.
//!
//! They are said as definitions of custom kinds are, and stand in the registry with the built-in kinds: who brings the working
//! group's own definitions along (many charts do) finds them served already.

use std::sync::{Arc, LazyLock};

use mizzen_api::ResourceDescriptor;
use serde_json::{Value, json};

use crate::custom::{Served, Source, served};

pub const GROUP: &str = "wgpolicyk8s.io";
pub const VERSION: &str = "v1alpha2";
pub const POLICY_REPORTS: &str = "policyreports";
pub const CLUSTER_POLICY_REPORTS: &str = "clusterpolicyreports";

/// What is served of the group in every cluster.
pub fn kinds() -> &'static Served {
    static KINDS: LazyLock<Served> = LazyLock::new(|| {
        let mut all = Served::default();
        for definition in [
            definition("PolicyReport", POLICY_REPORTS, "polr", "Namespaced", "objects of its namespace"),
            definition("ClusterPolicyReport", CLUSTER_POLICY_REPORTS, "cpolr", "Cluster", "objects of the cluster"),
        ] {
            let Served { descriptors, schemas, published } = served(&definition, &Source::of(&definition));
            let built_in =
                |kind: &Arc<ResourceDescriptor>| ResourceDescriptor { custom: None, ..ResourceDescriptor::clone(kind) };
            all.descriptors.extend(descriptors.iter().map(|kind| Arc::new(built_in(kind))));
            all.schemas.extend(schemas);
            all.published.extend(published);
        }
        all
    });
    &KINDS
}

fn definition(kind: &str, plural: &str, short: &str, scope: &str, about: &str) -> Value {
    let names = json!({"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase(),
        "shortNames": [short]});
    let column = |name: &str, path: &str, kind: &str, priority: i32| json!({"name": name, "jsonPath": path, "type": kind, "priority": priority});
    let description = format!("A {kind} says what policies make of {about}.");
    json!({
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {"group": GROUP, "scope": scope, "names": names, "versions": [{
            "name": VERSION, "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", "description": description, "properties": properties()}},
            "additionalPrinterColumns": [
                column("Kind", ".scope.kind", "string", 1),
                column("Name", ".scope.name", "string", 1),
                column("Pass", ".summary.pass", "integer", 0),
                column("Fail", ".summary.fail", "integer", 0),
                column("Warn", ".summary.warn", "integer", 0),
                column("Error", ".summary.error", "integer", 0),
                column("Skip", ".summary.skip", "integer", 0),
                column("Age", ".metadata.creationTimestamp", "date", 0),
            ],
        }]},
        "status": {"acceptedNames": names, "conditions": [{"type": "Established", "status": "True"}]},
    })
}

/// All that the working group's definition has, so that other tools can write their reports too.
fn properties() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let count = |description: &str| json!({"type": "integer", "description": description});
    let one_of = |values: &[&str], description: &str| json!({"type": "string", "enum": values, "description": description});
    let result = json!({"type": "object", "required": ["policy"], "description": "What one policy says.", "properties": {
        "source": text("The tool that asked the policy."),
        "policy": text("The policy's name."),
        "rule": text("The rule within the policy."),
        "category": text("What the policy is about."),
        "severity": one_of(&["critical", "high", "medium", "low", "info"], "How much a failure matters."),
        "result": one_of(&["pass", "fail", "warn", "error", "skip"], "How it went."),
        "scored": {"type": "boolean", "description": "Whether the result counts for a score."},
        "message": text("Why, for people."),
        "timestamp": {"type": "object", "required": ["seconds", "nanos"], "description": "When the result was found.", "properties": {
            "seconds": {"type": "integer", "format": "int64", "description": "Since 1970-01-01T00:00:00Z."},
            "nanos": {"type": "integer", "format": "int32", "description": "And so many nanoseconds."},
        }},
        "resources": {"type": "array", "items": reference(), "description": "The objects; without any, those of the report's scope."},
        "resourceSelector": selector("Selects the objects by their labels."),
        "properties": {"type": "object", "additionalProperties": {"type": "string"}, "description": "More of the tool's own."},
    }});
    json!({
        "scope": reference(),
        "scopeSelector": selector("Selects the objects that the report is about by their labels."),
        "summary": {"type": "object", "description": "How many results there are of each kind.", "properties": {
            "pass": count("Requirements are met."),
            "fail": count("Requirements are not met."),
            "warn": count("Something should be otherwise."),
            "error": count("The policy could not be asked."),
            "skip": count("The policy was not asked."),
        }},
        "results": {"type": "array", "items": result, "description": "What policies say."},
    })
}

fn reference() -> Value {
    let fields = ["apiVersion", "kind", "namespace", "name", "uid", "resourceVersion", "fieldPath"];
    let fields: serde_json::Map<String, Value> =
        fields.iter().map(|field| ((*field).to_owned(), json!({"type": "string"}))).collect();
    json!({"type": "object", "description": "An object, as meta/v1.ObjectReference.", "properties": fields})
}

fn selector(description: &str) -> Value {
    let expression = json!({"type": "object", "required": ["key", "operator"], "properties": {
        "key": {"type": "string"}, "operator": {"type": "string"}, "values": {"type": "array", "items": {"type": "string"}},
    }});
    json!({"type": "object", "description": description, "properties": {
        "matchLabels": {"type": "object", "additionalProperties": {"type": "string"}},
        "matchExpressions": {"type": "array", "items": expression},
    }})
}

#[cfg(test)]
mod tests {
    use mizzen_api::descriptor::Context;

    use super::*;

    #[test]
    fn a_list_shows_the_counts_of_each_report() {
        let kind = kinds().descriptors.iter().find(|kind| &*kind.resource == POLICY_REPORTS).expect("is served");
        assert!(kind.custom.is_none() && kind.subresources.is_empty());
        let report = json!({"metadata": {"name": "a", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "scope": {"kind": "Pod", "name": "web"}, "summary": {"pass": 2, "fail": 1, "warn": 0, "error": 0, "skip": 0},
            "results": [{"source": "mizzen", "policy": "team", "result": "fail", "message": "no team"}]});
        assert_eq!(kind.strategy.validate(&report), []);
        let names: Vec<&str> = kind.strategy.columns().iter().map(|column| &*column.name).collect();
        assert_eq!(names, ["Kind", "Name", "Pass", "Fail", "Warn", "Error", "Skip", "Age"]);
        let cells = kind.strategy.cells(&report, Context { now: jiff::Timestamp::UNIX_EPOCH });
        assert_eq!(cells[..4], [json!("Pod"), json!("web"), json!(2), json!(1)]);
    }

    #[test]
    fn a_result_is_one_of_five() {
        let kind = &kinds().descriptors[0];
        let report = json!({"metadata": {"name": "a"}, "results": [{"policy": "p", "result": "maybe"}, {"result": "pass"}]});
        let fields: Vec<String> = kind.strategy.validate(&report).into_iter().map(|cause| cause.field).collect();
        assert_eq!(fields, ["results[0].result", "results[1].policy"]);
    }
}
