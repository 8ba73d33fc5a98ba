//! What the sample says that it serves, in the older forms only.

use serde_json::{Value, json};

use super::{API_VERSION, GROUP, ROOT};

pub(super) fn group() -> Value {
    let version = json!({"groupVersion": API_VERSION, "version": "v1alpha1"});
    json!({"kind": "APIGroup", "apiVersion": "v1", "name": GROUP, "versions": [version], "preferredVersion": version})
}

pub(super) fn resources() -> Value {
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": API_VERSION, "resources": [
        {"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder", "shortNames": ["fl"],
            "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"]},
        {"name": "flunders/echo", "singularName": "", "namespaced": true, "kind": "Flunder", "verbs": ["get"]}]})
}

pub(super) fn swagger() -> Value {
    let kind = json!({"group": GROUP, "version": "v1alpha1", "kind": "Flunder"});
    let refers = |name: &str| json!({"$ref": format!("#/definitions/{name}")});
    let answers = |action: &str| {
        json!({"description": "list or read", "x-kubernetes-action": action, "x-kubernetes-group-version-kind": kind,
            "produces": ["application/json"],
            "responses": {"200": {"description": "OK", "schema": refers("com.example.wardle.v1alpha1.Flunder")}}})
    };
    let metadata = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    json!({"swagger": "2.0", "info": {"title": "sample", "version": "0.1.0"},
        "paths": {
            format!("{ROOT}/namespaces/{{namespace}}/flunders"): {"get": answers("list")},
            format!("{ROOT}/namespaces/{{namespace}}/flunders/{{name}}"): {"get": answers("get")}},
        "definitions": {
            "com.example.wardle.v1alpha1.Flunder": {
                "description": "A Flunder is what the sample is about.", "type": "object",
                "x-kubernetes-group-version-kind": [kind],
                "properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": refers(metadata),
                    "spec": {"description": "What it should be.", "$ref": "#/definitions/com.example.wardle.v1alpha1.FlunderSpec"}}},
            "com.example.wardle.v1alpha1.FlunderSpec": {"type": "object", "properties": {
                "reference": {"description": "The name of another flunder.", "type": "string"}}},
            // Older than the cluster's own.
            metadata: {"type": "object", "properties": {"name": {"type": "string"}, "clusterName": {"type": "string"}}}}})
}
