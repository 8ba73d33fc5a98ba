//! The real kinds, with what a real API server records for them.

use mizzen_api::schema::builtin;
use serde_json::json;

use crate::managed::{Context, extract, update};

#[test]
fn a_created_deployment_has_the_fields_that_kubernetes_records() {
    let mut deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "nginx", "namespace": "default", "annotations": {"a": "b"}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "nginx"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {
                "metadata": {"labels": {"app": "nginx"}},
                "spec": {
                    "containers": [{
                        "name": "nginx",
                        "image": "nginx:1.14.2",
                        "ports": [{"containerPort": 80, "protocol": "TCP"}],
                        "resources": {"limits": {"cpu": "1"}},
                    }],
                    "securityContext": {},
                },
            },
        },
    });
    let context = Context {
        set: builtin(),
        schema: "io.k8s.api.apps.v1.Deployment",
        api_version: "apps/v1",
        manager: "kubectl-client-side-apply",
        subresource: "",
        reset: &["status"],
        versions: None,
        now: jiff::Timestamp::UNIX_EPOCH,
    };
    update(&context, None, &mut deployment).unwrap();
    assert_eq!(
        deployment["metadata"]["managedFields"][0]["fieldsV1"],
        json!({
            "f:metadata": {"f:annotations": {".": {}, "f:a": {}}},
            "f:spec": {
                "f:replicas": {},
                "f:selector": {},
                "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}}, "f:type": {}},
                "f:template": {
                    "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                    "f:spec": {
                        "f:containers": {
                            "k:{\"name\":\"nginx\"}": {
                                ".": {},
                                "f:image": {},
                                "f:name": {},
                                "f:ports": {
                                    ".": {},
                                    "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}, "f:protocol": {}},
                                },
                                "f:resources": {".": {}, "f:limits": {".": {}, "f:cpu": {}}},
                            },
                        },
                        "f:securityContext": {},
                    },
                },
            },
        })
    );
}

#[test]
fn the_protocol_of_a_port_has_its_default() {
    let service = json!({"spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}});
    let owned = extract(builtin(), "io.k8s.api.core.v1.Service", &service).unwrap();
    assert_eq!(
        owned.to_json(),
        json!({"f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}, "f:selector": {}}})
    );
}
