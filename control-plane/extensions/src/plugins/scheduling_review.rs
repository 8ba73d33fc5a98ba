//! `SchedulingReview`: to create one is to ask the scheduler why a pod goes where it goes. Nothing is stored.

use serde_json::{Value, json};

use super::{GROUP, SCHEDULING_REVIEWS, VERSION};

const REVIEW: &str = "A SchedulingReview asks for a whole scheduling decision about a pod, made over the cluster as it is now and \
                      carried out by nobody. Nothing is stored.";

pub(super) fn definition() -> Value {
    let names = json!({"kind": "SchedulingReview", "listKind": "SchedulingReviewList", "plural": SCHEDULING_REVIEWS,
        "singular": "schedulingreview", "shortNames": [], "categories": []});
    json!({
        "metadata": {"name": format!("{SCHEDULING_REVIEWS}.{GROUP}")},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [{
            "name": VERSION, "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", "description": REVIEW, "required": ["spec"],
                "properties": {"spec": spec(), "status": status()}}},
        }]},
        "status": {"acceptedNames": names, "conditions": [{"type": "Established", "status": "True"}]},
    })
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn texts(description: &str) -> Value {
    json!({"type": "array", "items": {"type": "string"}, "description": description})
}

fn number(description: &str) -> Value {
    json!({"type": "integer", "format": "int64", "description": description})
}

fn list(description: &str, properties: Value) -> Value {
    json!({"type": "array", "description": description, "items": {"type": "object", "properties": properties}})
}

fn spec() -> Value {
    json!({"type": "object", "description": "What is asked.", "required": ["podName"], "properties": {
        "podName": {"type": "string", "minLength": 1, "maxLength": 253,
            "description": "The pod, of the review's namespace. One that has a node is looked at as if it had none yet."},
    }})
}

fn status() -> Value {
    let on_node = json!({
        "name": text("The plugin."),
        "verdict": text("Passed or Rejected, of plugins that filter."),
        "reasons": texts("Why it rejects the node."),
        "score": number("From 0 to 100, before it is multiplied by the plugin's weight; of feasible nodes."),
    });
    let node = json!({
        "name": text("The node."),
        "feasible": {"type": "boolean", "description": "Whether no plugin rejects it."},
        "total": number("The sum of all scores, each multiplied by its plugin's weight; of feasible nodes."),
        "plugins": list("The plugins that have something to say of it.", on_node),
    });
    let plugin = json!({
        "name": text("The plugin."),
        "kind": text("native or wasm."),
        "mode": text("enforce, or shadow for a plugin whose answers count for nothing."),
        "extensionPoints": texts("Where the profile asks it."),
        "weight": number("By what its scores are multiplied."),
        "verdict": text("Considered, Skipped where it has nothing to say of such a pod, Rejected for every node, or Failed."),
        "reasons": texts("Why it rejects the pod, or failed."),
    });
    json!({"type": "object", "description": "The decision.", "properties": {
        "schedulerName": text("The profile that decides."),
        "node": text("Where the pod is; empty while it waits."),
        "best": texts("The nodes with the highest total, one of which the pod goes to; none when it fits nowhere."),
        "message": text("Why it fits nowhere."),
        "plugins": list("What each plugin says of the pod, in the order of the profile.", plugin),
        "nodes": list("What becomes of each node.", node),
    }})
}
