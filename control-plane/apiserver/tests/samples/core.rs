//! The core group.

use serde_json::json;

use super::{Sample, bad_label, other_uid, sample, template};

pub(super) fn samples() -> Vec<Sample> {
    let subsets = json!([{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]);
    let pod = json!({"spec": {"containers": [{"name": "c", "image": "i"}]}});
    vec![
        sample("", "namespaces", json!({}), bad_label(), other_uid()),
        sample(
            "",
            "nodes",
            json!({}),
            (json!({"spec": {"taints": [{"key": "a", "effect": "No"}]}}), "spec.taints[0].effect"),
            other_uid(),
        ),
        sample("", "pods", pod, (json!({"spec": {"containers": []}}), "spec.containers"), json!({"spec": {"hostNetwork": true}})),
        sample(
            "",
            "events",
            json!({"involvedObject": {"namespace": "default", "kind": "Pod", "name": "x"}}),
            (json!({"involvedObject": {"namespace": "other"}}), "involvedObject.namespace"),
            other_uid(),
        ),
        sample(
            "",
            "configmaps",
            json!({"immutable": true, "data": {"a": "1"}}),
            (json!({"data": {"a/b": ""}}), "data[a/b]"),
            json!({"data": {"a": "2"}}),
        ),
        sample(
            "",
            "secrets",
            json!({"type": "Opaque"}),
            (json!({"data": {"a/b": ""}}), "data[a/b]"),
            json!({"type": "kubernetes.io/tls"}),
        ),
        sample("", "serviceaccounts", json!({}), bad_label(), other_uid()),
        sample(
            "",
            "services",
            json!({"spec": {"ports": [{"port": 80}]}}),
            (json!({"spec": {"ports": [{"port": 0}]}}), "spec.ports[0].port"),
            other_uid(),
        ),
        sample(
            "",
            "podtemplates",
            json!({"template": template()}),
            (json!({"template": {"spec": null}}), "template.spec.containers"),
            other_uid(),
        ),
        sample(
            "",
            "limitranges",
            json!({"spec": {"limits": [{"type": "Pod", "max": {"cpu": "1"}}]}}),
            (json!({"spec": {"limits": [{"type": "Pod", "default": {"cpu": "1"}}]}}), "spec.limits[0].default"),
            other_uid(),
        ),
        sample(
            "",
            "resourcequotas",
            json!({"spec": {"hard": {"pods": "1"}, "scopes": ["Terminating"]}}),
            (json!({"spec": {"hard": {"pods": "-1"}}}), "spec.hard[pods]"),
            json!({"spec": {"scopes": ["NotTerminating"]}}),
        ),
        sample("", "endpoints", json!({"subsets": subsets}), (json!({"subsets": [{}]}), "subsets[0]"), other_uid()),
        sample(
            "",
            "replicationcontrollers",
            json!({"spec": {"template": template()}}),
            (json!({"spec": {"replicas": -1}}), "spec.replicas"),
            json!({"spec": {"selector": {"a": "c"}}}),
        ),
        sample(
            "",
            "persistentvolumes",
            json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/v"}}}),
            (json!({"spec": {"capacity": null}}), "spec.capacity"),
            json!({"spec": {"hostPath": {"path": "/w"}}}),
        ),
        sample(
            "",
            "persistentvolumeclaims",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
            (json!({"spec": {"resources": null}}), "spec.resources[storage]"),
            json!({"spec": {"accessModes": ["ReadWriteMany"]}}),
        ),
    ]
}
