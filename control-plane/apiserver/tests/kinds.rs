//! Each built-in kind through the pipeline: an unknown field is kept, and an update rule refuses.

mod support;

use mizzen_api::{Reason, Registry};
use mizzen_client::{ApiRequest, PatchKind};
use serde_json::{Value, json};
use support::{gvr, pod, server};

fn template() -> Value {
    json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

fn role_ref() -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"})
}

/// A valid document of each stored kind, and a merge patch that its update rules refuse.
fn samples() -> Vec<(&'static str, &'static str, Value, Value)> {
    const RBAC: &str = "rbac.authorization.k8s.io";
    let workload = json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template()}});
    let other_selector = json!({"spec": {"selector": {"matchLabels": {"a": "c"}}}});
    // Every kind refuses another uid; some have rules of their own.
    let uid = || json!({"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}});
    vec![
        ("", "namespaces", json!({}), uid()),
        ("", "nodes", json!({}), uid()),
        ("", "pods", pod("x"), json!({"spec": {"hostNetwork": true}})),
        ("", "events", json!({"involvedObject": {"namespace": "default", "kind": "Pod", "name": "x"}}), uid()),
        ("", "configmaps", json!({"immutable": true, "data": {"a": "1"}}), json!({"data": {"a": "2"}})),
        ("", "secrets", json!({"type": "Opaque"}), json!({"type": "kubernetes.io/tls"})),
        ("", "serviceaccounts", json!({}), uid()),
        ("coordination.k8s.io", "leases", json!({"spec": {}}), uid()),
        ("", "services", json!({"spec": {"ports": [{"port": 80}]}}), uid()),
        ("discovery.k8s.io", "endpointslices", json!({"addressType": "IPv4", "endpoints": []}), json!({"addressType": "IPv6"})),
        ("apps", "replicasets", workload.clone(), other_selector.clone()),
        ("apps", "deployments", workload, other_selector),
        (RBAC, "roles", json!({"rules": []}), uid()),
        (RBAC, "clusterroles", json!({"rules": []}), uid()),
        (RBAC, "rolebindings", json!({"roleRef": role_ref()}), json!({"roleRef": {"name": "other"}})),
        (RBAC, "clusterrolebindings", json!({"roleRef": role_ref()}), json!({"roleRef": {"name": "other"}})),
    ]
}

#[tokio::test]
async fn every_stored_kind_has_a_sample_here() {
    let samples = samples();
    for descriptor in Registry::builtin().iter().filter(|descriptor| !descriptor.virtual_only) {
        let known =
            samples.iter().any(|(group, resource, ..)| **group == *descriptor.group && **resource == *descriptor.resource);
        assert!(known, "no sample of {}", descriptor.group_resource());
    }
}

#[tokio::test]
async fn an_unknown_field_is_kept_and_an_update_rule_refuses() {
    let (_server, client) = server().await;
    for (group, resource, mut document, refused) in samples() {
        let descriptor = Registry::builtin().by_group_resource(group, resource).unwrap_or_else(|| panic!("{resource} is served"));
        let gvr = gvr(group, descriptor.storage_version(), resource);
        let namespace = match descriptor.scope {
            mizzen_api::Scope::Cluster => "",
            mizzen_api::Scope::Namespaced => "default",
        };
        document["metadata"] = json!({"name": "x"});
        document["unknownField"] = json!({"kept": [1, "two"]});
        let created = client
            .write(ApiRequest::create(&gvr, namespace, document))
            .await
            .unwrap_or_else(|status| panic!("{resource}: {status}"));
        assert_eq!(created.warnings, ["unknown field \"unknownField\""], "{resource}");
        let label = json!({"metadata": {"labels": {"l": "1"}}});
        let labelled = client
            .write(ApiRequest::patch(&gvr, namespace, "x", PatchKind::Merge, label))
            .await
            .unwrap_or_else(|status| panic!("{resource}: {status}"));
        let value = labelled.object.value().expect("JSON");
        assert_eq!(value["unknownField"], json!({"kept": [1, "two"]}), "{resource}");
        assert_eq!(value["metadata"]["labels"]["l"], "1", "{resource}");

        let status = client.write(ApiRequest::patch(&gvr, namespace, "x", PatchKind::Merge, refused)).await.expect_err(resource);
        assert_eq!((status.code, status.reason), (422, Reason::Invalid), "{resource}: {status}");
        assert!(!status.details.causes.is_empty(), "{resource}: {status}");
    }
}
