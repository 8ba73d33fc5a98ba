//! Writes through subresources that are a part of the object: each changes its own part, by its own rules.

mod support;

use std::sync::Arc;

use mizzen_api::{GroupVersionResource, Status};
use mizzen_client::{ApiRequest, ApiResponse, Client, DeleteOptions, PatchKind};
use serde_json::{Value, json};
use support::{gvr, pod, server};

async fn patch(
    client: &Arc<dyn Client>,
    (resource, namespace, name): (&GroupVersionResource, &str, &str),
    subresource: &str,
    patch: Value,
) -> Result<ApiResponse, Status> {
    client.write(ApiRequest::patch(resource, namespace, name, PatchKind::Strategic, patch).subresource(subresource)).await
}

fn pods() -> GroupVersionResource {
    gvr("", "v1", "pods")
}

#[tokio::test]
async fn ephemeral_containers_are_added_through_their_subresource_and_never_removed() {
    let (_server, client) = server().await;
    let pods = pods();
    client.write(ApiRequest::create(&pods, "default", pod("p"))).await.expect("creates");
    let target = (&pods, "default", "p");
    let debugger = json!({"name": "debugger", "image": "example.com/debug:1"});
    let added = json!({
        "metadata": {"labels": {"a": "b"}},
        "spec": {"ephemeralContainers": [debugger], "containers": [{"name": "main", "image": "example.com/other:1"}]},
    });
    let refused = patch(&client, target, "", added.clone()).await.expect_err("the pod itself takes none");
    assert_eq!(refused.code, 422);

    let written = patch(&client, target, "ephemeralcontainers", added).await.expect("adds");
    let value = written.object.value().expect("JSON");
    assert_eq!(value["spec"]["ephemeralContainers"][0]["name"], "debugger");
    assert_eq!(value["spec"]["containers"][0]["image"], "example.com/a:1", "only ephemeral containers change");
    assert_eq!(value["metadata"]["labels"], Value::Null, "the metadata stays");
    assert_eq!(value["metadata"]["generation"], 2, "an ephemeral container is a new generation");

    let mut without = value;
    without["spec"]["ephemeralContainers"] = json!([]);
    let update = ApiRequest::update(&pods, "default", "p", without).subresource("ephemeralcontainers");
    let refused = client.write(update).await.expect_err("what runs cannot be taken away");
    assert_eq!((refused.code, refused.details.causes.len()), (422, 1), "{}", refused.message);
    assert!(refused.message.contains("existing ephemeral containers \"debugger\" may not be removed"), "{}", refused.message);
}

#[tokio::test]
async fn a_pods_status_changes_labels_and_annotations_but_neither_its_class_nor_its_spec() {
    let (_server, client) = server().await;
    let pods = pods();
    client.write(ApiRequest::create(&pods, "default", pod("p"))).await.expect("creates");
    let reported = json!({
        "metadata": {"labels": {"a": "b"}, "annotations": {"seen": "yes"}, "finalizers": ["example.com/x"]},
        "spec": {"nodeName": "elsewhere"},
        "status": {"phase": "Running", "qosClass": "Guaranteed"},
    });
    let written = patch(&client, (&pods, "default", "p"), "status", reported).await.expect("reports");
    let value = written.object.value().expect("JSON");
    assert_eq!(value["status"], json!({"phase": "Running", "qosClass": "BestEffort"}));
    assert_eq!(value["spec"].get("nodeName"), None);
    let metadata = &value["metadata"];
    assert_eq!((&metadata["labels"], metadata.get("finalizers")), (&json!({"a": "b"}), None));
    assert_eq!((&metadata["annotations"]["seen"], &metadata["generation"]), (&json!("yes"), &json!(1)));
}

#[tokio::test]
async fn a_deployments_status_takes_annotations_and_no_labels() {
    let (_server, client) = server().await;
    let deployments = gvr("apps", "v1", "deployments");
    let labels = json!({"app": "a"});
    let template =
        json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "example.com/a:1"}]}});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": {"state": "updated"}},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    });
    client.write(ApiRequest::create(&deployments, "default", deployment)).await.expect("creates");
    let reported = json!({
        "metadata": {"labels": {"state": "patched-status"}, "annotations": {"seen": "yes"}},
        "status": {"observedGeneration": 1},
    });
    let written = patch(&client, (&deployments, "default", "d"), "status", reported).await.expect("reports");
    let value = written.object.value().expect("JSON");
    assert_eq!(value["metadata"]["labels"], json!({"state": "updated"}));
    assert_eq!(value["metadata"]["annotations"], json!({"seen": "yes"}));
    assert_eq!(value["status"]["observedGeneration"], 1);
}

#[tokio::test]
async fn a_namespaces_phase_follows_its_deletion() {
    let (_server, client) = server().await;
    let namespaces = gvr("", "v1", "namespaces");
    let target = (&namespaces, "", "default");
    for (phase, why) in [
        ("Terminating", "may only be 'Active' if `deletionTimestamp` is empty"),
        ("Sleeping", "Unsupported value: \"Sleeping\": supported values: \"Active\", \"Terminating\""),
    ] {
        let refused = patch(&client, target, "status", json!({"status": {"phase": phase}})).await.expect_err("is refused");
        assert!(refused.code == 422 && refused.message.ends_with(why), "{}", refused.message);
    }
    patch(&client, target, "status", json!({"status": {"conditions": []}})).await.expect("other fields may change");

    let value = client.get(&namespaces, "", "default").await.expect("is there").value().expect("JSON");
    let mut finalized = value.clone();
    finalized["spec"]["finalizers"] = json!(["example.com/x"]);
    finalized["status"] = json!({"phase": "Terminating"});
    let finalize = ApiRequest::update(&namespaces, "", "default", finalized.clone()).subresource("finalize");
    let written = client.write(finalize).await.expect("finalizes").object.value().expect("JSON");
    assert_eq!((&written["spec"]["finalizers"], &written["status"]["phase"]), (&json!(["example.com/x"]), &json!("Active")));
    let nonsense = json!({"metadata": {"name": "default"}, "spec": {"finalizers": ["nonsense"]}});
    let finalize = ApiRequest::update(&namespaces, "", "default", nonsense).subresource("finalize");
    let refused = client.write(finalize).await.expect_err("no such finalizer");
    assert!(refused.message.contains("spec.finalizers[0]"), "{}", refused.message);
}

#[tokio::test]
async fn wrong_metadata_is_refused_in_kubernetes_words() {
    let (_server, client) = server().await;
    for (metadata, message) in [
        (
            json!({"name": "A"}),
            "Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters",
        ),
        (json!({"name": "a", "labels": {"x": "no good"}}), "metadata.labels: Invalid value: \"no good\": a valid label must"),
        (json!({"name": "a", "finalizers": ["x"]}), "metadata.finalizers[0]: Invalid value: \"x\": name is neither"),
        (json!({}), "metadata.name: Required value: name or generateName is required"),
    ] {
        let document = json!({"metadata": metadata});
        let create = ApiRequest::create(&gvr("", "v1", "configmaps"), "default", document);
        let refused = client.write(create).await.expect_err("is refused");
        assert!(refused.code == 422 && refused.message.contains(message), "{}", refused.message);
    }
}

#[tokio::test]
async fn a_certificate_request_says_who_asked_and_is_decided_through_approval_only() {
    let (_server, client) = server().await;
    let requests = gvr("certificates.k8s.io", "v1", "certificatesigningrequests");
    let target = (&requests, "", "a");
    let pem = support::certificate_request();
    let spec = json!({"request": pem, "signerName": "example.com/a", "usages": ["client auth"], "username": "somebody"});
    let created = client.write(ApiRequest::create(&requests, "", json!({"metadata": {"name": "a"}, "spec": spec}))).await;
    let created = created.expect("creates").object.value().expect("JSON");
    assert_ne!(created["spec"]["username"], "somebody", "nobody asks in another's name");

    let approved = json!({"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "Test"}]}});
    let refused = patch(&client, target, "status", approved.clone()).await.expect_err("a signer does not decide");
    assert_eq!((refused.code, refused.details.causes[0].field.as_str()), (422, "status.conditions"));
    let written = patch(&client, target, "approval", approved).await.expect("approves").object.value().expect("JSON");
    assert_eq!((&written["status"]["conditions"][0]["type"], &written["spec"]), (&json!("Approved"), &created["spec"]));
}

#[tokio::test]
async fn a_job_leaves_its_pods_unless_told_otherwise() {
    let (_server, client) = server().await;
    let jobs = gvr("batch", "v1", "jobs");
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]});
    let job = json!({"metadata": {"name": "j"}, "spec": {"template": {"spec": spec}}});
    client.write(ApiRequest::create(&jobs, "default", job)).await.expect("creates");
    let deleted = client.write(ApiRequest::delete(&jobs, "default", "j", DeleteOptions::default())).await.expect("deletes");
    assert_eq!(deleted.object.value().expect("JSON")["metadata"]["finalizers"], json!(["orphan"]));
}

#[tokio::test]
async fn a_pod_is_resized_through_its_subresource_alone() {
    let (_server, client) = server().await;
    let pods = pods();
    let mut asked = pod("p");
    asked["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1"}});
    client.write(ApiRequest::create(&pods, "default", asked)).await.expect("creates");
    let target = (&pods, "default", "p");
    let amounts = |requests: Value| json!({"spec": {"containers": [{"name": "main", "resources": {"requests": requests}}]}});
    let refused = patch(&client, target, "", amounts(json!({"cpu": "200m"}))).await.expect_err("not of the pod itself");
    assert!(refused.message.contains("pod updates may not change fields other than"), "{refused}");

    let mut bigger = amounts(json!({"cpu": "200m"}));
    bigger["spec"]["containers"][0]["image"] = json!("example.com/other:1");
    let resized = patch(&client, target, "resize", bigger).await.expect("resizes").object.value().expect("JSON");
    let wanted = json!({"requests": {"cpu": "200m", "memory": "64Mi"}, "limits": {"cpu": "1"}});
    assert_eq!(resized["spec"]["containers"][0]["resources"], wanted);
    assert_eq!(resized["spec"]["containers"][0]["image"], "example.com/a:1", "only resources change");
    assert_eq!(resized["metadata"]["generation"], 2);
    let owners = resized["metadata"]["managedFields"].as_array().expect("owners");
    assert!(owners.iter().any(|owner| owner["subresource"] == "resize"), "{owners:?}");

    let refused = patch(&client, target, "resize", amounts(json!({"memory": null}))).await.expect_err("requests stay");
    assert!(refused.message.contains("resource requests cannot be removed"), "{refused}");
    let mut guaranteed = amounts(json!({"cpu": "1", "memory": "1Gi"}));
    guaranteed["spec"]["containers"][0]["resources"]["limits"] = json!({"memory": "1Gi"});
    let refused = patch(&client, target, "resize", guaranteed).await.expect_err("the class stays");
    assert!(
        refused.message.ends_with("spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_pod_is_bound_by_a_binding_on_its_own() {
    let (_server, client) = server().await;
    client.write(ApiRequest::create(&pods(), "default", pod("p"))).await.expect("creates");
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    let bindings = gvr("", "v1", "bindings");
    let bound = client.write(ApiRequest::create(&bindings, "default", binding.clone())).await.expect("binds");
    assert_eq!(bound.object.value().expect("JSON")["status"], "Success");
    let stored = client.get(&pods(), "default", "p").await.expect("is there").value().expect("JSON");
    assert_eq!(stored["spec"]["nodeName"], "n1");
    let again = client.write(ApiRequest::create(&bindings, "default", binding)).await.expect_err("is bound already");
    assert_eq!(again.code, 409);
}
