//! The kinds as definitions.

use serde_json::{Value, json};

use super::schema::{match_conditions, match_constraints, plugin_spec, status};
use super::{ADMISSION_POLICIES, CLUSTER_ADMISSION_POLICIES, GROUP, SCHEDULER_PLUGINS, VERSION};

pub(super) fn all() -> [Value; 3] {
    [
        definition(
            &Names { kind: "SchedulerPlugin", plural: SCHEDULER_PLUGINS, short: "schedplug" },
            "Cluster",
            SCHEDULER,
            (scheduler_spec(), scheduler_status()),
        ),
        definition(
            &Names { kind: "ClusterAdmissionPolicy", plural: CLUSTER_ADMISSION_POLICIES, short: "cap" },
            "Cluster",
            CLUSTER_POLICY,
            (policy_spec(true), status()),
        ),
        definition(
            &Names { kind: "AdmissionPolicy", plural: ADMISSION_POLICIES, short: "ap" },
            "Namespaced",
            POLICY,
            (policy_spec(false), status()),
        ),
    ]
}

const SCHEDULER: &str = "A SchedulerPlugin is a Wasm component that takes part in the choice of nodes for pods.";
const CLUSTER_POLICY: &str = "A ClusterAdmissionPolicy is a Wasm component that allows, refuses or changes requests to the API.";
const POLICY: &str =
    "An AdmissionPolicy is a Wasm component that allows, refuses or changes requests about objects of its own namespace.";

struct Names {
    kind: &'static str,
    plural: &'static str,
    short: &'static str,
}

fn definition(names: &Names, scope: &str, description: &str, (spec, status): (Value, Value)) -> Value {
    let Names { kind, plural, short } = names;
    let names = json!({"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase(),
        "shortNames": [short], "categories": ["mizzen"]});
    let column = |name: &str, path: &str, description: &str| json!({"name": name, "type": "string", "jsonPath": path, "description": description});
    json!({
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {"group": GROUP, "scope": scope, "names": names, "versions": [{
            "name": VERSION, "served": true, "storage": true, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "description": description, "required": ["spec"],
                "properties": {"spec": spec, "status": status}}},
            "additionalPrinterColumns": [
                column("Image", ".spec.image", "Where the component comes from."),
                column("Mode", ".spec.mode", "What its decisions do."),
                column("Loaded", ".status.conditions[?(@.type==\"Loaded\")].status", "Whether a component is at work."),
                column("Digest", ".status.digest", "The component that is at work."),
                {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp",
                 "description": "Time since the object was created."},
            ],
        }]},
        "status": {"acceptedNames": names, "conditions": [{"type": "Established", "status": "True"}]},
    })
}

fn scheduler_spec() -> Value {
    let mut spec = plugin_spec(true, 100);
    let points = ["preFilter", "filter", "postFilter", "preScore", "score", "reserve", "permit", "preBind"];
    let properties = &mut spec["properties"];
    properties["mode"] = json!({"type": "string", "enum": ["enforce", "shadow"], "default": "enforce",
        "description": "With shadow the plugin is asked and its answers are counted, and change nothing."});
    properties["failurePolicy"] = json!({"type": "string", "enum": ["Fail", "Ignore"], "default": "Ignore",
        "description": "What a call that fails does: with Ignore the plugin is left out of the decision, with Fail the pod is not \
                        scheduled."});
    properties["schedulerNames"] = json!({"type": "array", "x-kubernetes-list-type": "set", "default": ["default-scheduler"],
        "minItems": 1, "maxItems": 64, "items": {"type": "string", "minLength": 1, "maxLength": 253},
        "description": "The profiles (a pod's spec.schedulerName) in which the plugin takes part."});
    properties["extensionPoints"] = json!({
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "maxItems": points.len(),
        "description": "Where the plugin takes part; without any, wherever it says that it can.",
        "items": {"type": "object", "required": ["name"], "properties": {
            "name": {"type": "string", "enum": points, "description": "The extension point."},
            "weight": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 100, "default": 1,
                "description": "By what the plugin's scores are multiplied; of score only."},
        }},
    });
    spec
}

fn scheduler_status() -> Value {
    let count = |description: &str| json!({"type": "integer", "format": "int64", "description": description});
    let mut all = status();
    all["properties"]["shadow"] = json!({"type": "object",
    "description": "What would have been different about pods that were placed while the plugin's mode was shadow, since it was loaded.",
    "properties": {
        "decisions": count("Pods that were placed while it looked on."),
        "elsewhere": count("Pods of these that would have gone to another node."),
        "unplaced": count("Pods of these that would have waited."),
        "nodes": count("Nodes that the other plugins found feasible."),
        "rejectedNodes": count("Nodes of these that it would have rejected."),
    }});
    all
}

fn policy_spec(is_for_cluster: bool) -> Value {
    let mut spec = plugin_spec(is_for_cluster, 1000);
    spec["required"] = json!(["image", "matchConstraints"]);
    let properties = &mut spec["properties"];
    properties["mode"] = json!({"type": "string", "enum": ["enforce", "warn", "audit"], "default": "enforce",
        "description": "With enforce a denial refuses the request. With warn the client is warned, with audit the denial is noted \
                        in the audit log, and in both the request goes on as it was."});
    properties["failurePolicy"] = json!({"type": "string", "enum": ["Fail", "Ignore"], "default": "Fail",
        "description": "What a policy that fails (traps, takes too long, was lost) does to the request: Fail refuses it, Ignore \
                        goes on. A policy that was never loaded yet is not asked."});
    properties["mutating"] = json!({"type": "boolean", "default": false,
        "description": "Whether the policy may change what it is asked about."});
    properties["reinvocationPolicy"] = json!({"type": "string", "enum": ["Never", "IfNeeded"], "default": "Never",
        "description": "Whether a mutating policy is asked again when others changed the object after it."});
    properties["backgroundAudit"] = json!({"type": "boolean", "default": true,
        "description": "Whether the policy is asked, again and again, about what is already stored, as if it were created; \
                        PolicyReports and ClusterPolicyReports say what it answers."});
    properties["severity"] = json!({"type": "string", "enum": ["critical", "high", "medium", "low", "info"],
        "description": "How much a failure matters, for those who read the reports."});
    properties["category"] = json!({"type": "string", "maxLength": 253,
        "description": "What the policy is about, for those who read the reports."});
    properties["matchConstraints"] = match_constraints();
    properties["matchConditions"] = match_conditions();
    properties["matchPluginObjects"] = json!({"type": "boolean", "default": false,
        "description": "Whether rules that name the group mizzen.dev hold for its objects. Unless they are asked for, these pass: a \
                        policy that denies everything can always be changed and deleted."});
    spec
}
