//! What the kinds have in common.

use mizzen_api::schema::{Shape, builtin};
use serde_json::{Value, json};

/// The part of a spec that says what is loaded, and what it may do.
pub(super) fn plugin_spec(is_for_cluster: bool, deadline: u64) -> Value {
    let mut secret = json!({"type": "object", "required": ["name"],
        "description": "A secret of type kubernetes.io/dockerconfigjson with the registry's login.",
        "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 253, "description": "Its name."}}});
    if is_for_cluster {
        secret["required"] = json!(["name", "namespace"]);
        secret["properties"]["namespace"] =
            json!({"type": "string", "minLength": 1, "maxLength": 63, "description": "Its namespace."});
    }
    json!({"type": "object", "description": "What is loaded, and when it is asked.", "required": ["image"], "properties": {
        "image": {"type": "string", "maxLength": 1024, "pattern": r"^[^\s@]+(@sha256:[0-9a-f]{64})?$",
            "description": "The component in an OCI registry: registry/repository:tag, or with @sha256:… exactly that one. A tag is \
                            looked at again every refreshSeconds."},
        "pullSecret": secret,
        "refreshSeconds": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 86_400, "default": 300,
            "description": "After how many seconds the registry is asked again which component the tag is."},
        "settings": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "description": "What the component is configured with; it says itself whether they are right."},
        "capabilities": {"type": "array", "x-kubernetes-list-type": "set", "maxItems": 64,
            "items": {"type": "string", "maxLength": 253, "pattern": r"^([a-z][a-z0-9-]*(:[a-z0-9-]+(/[a-z0-9-]+)?)?|[a-z]+(/[a-z0-9_]+)*/(\*|[a-z0-9_]+))$"},
            "description": "What the component may do besides computing, logging, reading clocks and random numbers: context (to ask \
                            for objects of the cluster), host capabilities of Kubewarden such as net/v1/dns_lookup_host or oci/*, or imports \
                            by name. A component that imports anything else is not loaded."},
        "limits": {"type": "object", "default": {}, "description": "What the component may use.", "properties": {
            "memory": {"x-kubernetes-int-or-string": true, "default": "128Mi", "description": "Memory of one instance."},
            "deadlineMilliseconds": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 30_000, "default": deadline,
                "description": "How long one call may take."},
        }},
    }})
}

/// As Kubernetes' `matchConstraints`.
pub(super) fn match_constraints() -> Value {
    let texts = |description: &str| json!({"type": "array", "items": {"type": "string"}, "description": description});
    let of_rule = |field: &str, description: &str| {
        let mut list = texts(description);
        list["minItems"] = json!(1);
        list["maxItems"] = json!(64);
        list["x-kubernetes-list-type"] = json!("atomic");
        (field.to_owned(), list)
    };
    let mut properties: serde_json::Map<String, Value> = [
        of_rule("apiGroups", "The groups of the resources; '*' is all."),
        of_rule("apiVersions", "Their versions; '*' is all."),
        of_rule("operations", "CREATE, UPDATE, DELETE, CONNECT, or '*' for all."),
        of_rule("resources", "Resources, or resource/subresource; '*' is all resources, '*/*' all subresources too."),
    ]
    .into_iter()
    .collect();
    properties["operations"]["items"]["enum"] = json!(["*", "CONNECT", "CREATE", "DELETE", "UPDATE"]);
    let mut names = texts("Names of objects; without any, all.");
    names["maxItems"] = json!(1024);
    properties.insert("resourceNames".to_owned(), names);
    properties.insert(
        "scope".to_owned(),
        json!({"type": "string", "enum": ["*", "Cluster", "Namespaced"], "default": "*",
            "description": "Whether only resources of the cluster or of namespaces are meant."}),
    );
    let rule =
        json!({"type": "object", "required": ["apiGroups", "apiVersions", "operations", "resources"], "properties": properties});
    let rules = |description: &str| json!({"type": "array", "maxItems": 256, "x-kubernetes-list-type": "atomic", "items": rule, "description": description});
    let mut included = rules("What the policy is asked about: requests that fit one of these.");
    included["minItems"] = json!(1);
    json!({"type": "object", "required": ["resourceRules"], "description": "Which requests the policy is asked about.", "properties": {
        "resourceRules": included,
        "excludeResourceRules": rules("Requests that fit one of these are not asked about, whatever resourceRules say."),
        "matchPolicy": {"type": "string", "enum": ["Exact", "Equivalent"], "default": "Equivalent",
            "description": "Whether a rule holds for other versions of the resources that it names too."},
        "namespaceSelector": selector("The labels of the object's namespace, or of the namespace itself."),
        "objectSelector": selector("The labels of the object, before or after the request."),
    }})
}

pub(super) fn match_conditions() -> Value {
    json!({"type": "array", "maxItems": 64, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
    "description": "Expressions (CEL) that must all be true for the policy to be asked. They see object, oldObject, request, \
                    namespaceObject and authorizer.",
    "items": {"type": "object", "required": ["name", "expression"], "properties": {
        "name": {"type": "string", "description": "What messages call the condition."},
        "expression": {"type": "string", "description": "The expression."},
    }}})
}

fn selector(description: &str) -> Value {
    let expression = json!({"type": "object", "required": ["key", "operator"], "properties": {
        "key": {"type": "string", "description": "The label."},
        "operator": {"type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"], "description": "How it is looked at."},
        "values": {"type": "array", "x-kubernetes-list-type": "atomic", "items": {"type": "string"},
            "description": "Its values, of In and NotIn."},
    }});
    json!({"type": "object", "x-kubernetes-map-type": "atomic", "default": {}, "description": description, "properties": {
        "matchLabels": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Labels with their values."},
        "matchExpressions": {"type": "array", "x-kubernetes-list-type": "atomic", "items": expression,
            "description": "Requirements, all of which must hold."},
    }})
}

pub(super) fn status() -> Value {
    let count = |description: &str| json!({"type": "integer", "format": "int64", "description": description});
    let text = |description: &str| json!({"type": "string", "description": description});
    let condition_field = |field: &str| json!({"type": "string", "description": described("Condition", field)});
    json!({"type": "object", "description": "What the server made of it.", "properties": {
        "digest": text("The component that is at work (sha256 of its bytes)."),
        "manifestDigest": text("The manifest in the registry that it came from."),
        "observedGeneration": count("The generation of the object that conditions are about."),
        "conditions": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
            "description": "Loaded: a component is at work. Ready: it is the one that the object asks for, with its settings.",
            "items": {"type": "object", "required": ["type", "status", "lastTransitionTime", "reason", "message"], "properties": {
                "type": condition_field("type"),
                "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": described("Condition", "status")},
                "observedGeneration": count("The generation of the object that the condition is about."),
                "lastTransitionTime": {"type": "string", "format": "date-time", "description": described("Condition", "lastTransitionTime")},
                "reason": condition_field("reason"),
                "message": condition_field("message"),
            }}},
        "calls": count("Calls of the component since it was loaded."),
        "errors": count("Calls of these that failed."),
        "latency": {"type": "object", "description": "How long calls took.", "properties": {
            "p50Microseconds": count("Half of the calls took no longer."),
            "p99Microseconds": count("99 of 100 calls took no longer."),
        }},
        "memoryBytes": count("Memory that the component's instances hold."),
    }})
}

/// What Kubernetes says of a field of `meta/v1`.
fn described(kind: &str, field: &str) -> String {
    let schema = builtin().get(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}"));
    let text = schema.and_then(|schema| match &schema.shape {
        Shape::Object(object) => object.fields.get(field)?.schema.description.as_deref(),
        _ => None,
    });
    text.unwrap_or_default().to_owned()
}
