//! Namespaces that hold their pods to a standard.

mod support;

use std::sync::Arc;

use mizzen_api::Status;
use mizzen_client::{ApiRequest, Client, PatchKind};
use serde_json::{Value, json};
use support::{gvr, pod, server};

/// The warnings that a write gave.
async fn write(client: &Arc<dyn Client>, request: ApiRequest) -> Result<Vec<String>, Status> {
    client.write(request).await.map(|response| response.warnings)
}

async fn create(client: &Arc<dyn Client>, group: &str, resource: &str, object: Value) -> Result<Vec<String>, Status> {
    write(client, ApiRequest::create(&gvr(group, "v1", resource), "default", object)).await
}

async fn label(client: &Arc<dyn Client>, labels: &[(&str, &str)]) -> Result<Vec<String>, Status> {
    let labels: serde_json::Map<String, Value> =
        labels.iter().map(|(mode, value)| (format!("pod-security.kubernetes.io/{mode}"), json!(value))).collect();
    let patch = json!({"metadata": {"labels": labels}});
    write(client, ApiRequest::patch(&gvr("", "v1", "namespaces"), "", "default", PatchKind::Merge, patch)).await
}

fn privileged(name: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    pod
}

#[tokio::test]
async fn what_is_enforced_keeps_pods_out_and_warns_of_workloads() {
    let (_server, client) = server().await;
    assert_eq!(create(&client, "", "pods", privileged("before")).await.expect("nothing is asked yet"), [""; 0]);
    let warnings = label(&client, &[("enforce", "baseline")]).await.expect("is a level");
    assert_eq!(
        warnings,
        [
            "existing pods in namespace \"default\" violate the new PodSecurity enforce level \"baseline:latest\"",
            "before: privileged"
        ]
    );
    let refused = create(&client, "", "pods", privileged("after")).await.expect_err("is refused");
    let detail = "privileged (container \"main\" must not set securityContext.privileged=true)";
    let why = format!("pods \"after\" is forbidden: violates PodSecurity \"baseline:latest\": {detail}");
    assert_eq!((refused.code, refused.message), (403, why));
    create(&client, "", "pods", pod("plain")).await.expect("does nothing special");

    let labels = json!({"app": "a"});
    let template = json!({"metadata": {"labels": labels}, "spec": privileged("x")["spec"]});
    let spec = json!({"selector": {"matchLabels": labels}, "template": template});
    let deployment = json!({"metadata": {"name": "d"}, "spec": spec});
    let warned = create(&client, "apps", "deployments", deployment).await.expect("is not a pod");
    assert_eq!(warned, [format!("would violate PodSecurity \"baseline:latest\": {detail}")]);
    let job = json!({"metadata": {"name": "c"}, "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {
        "template": {"spec": {"restartPolicy": "Never", "hostNetwork": true, "containers": [{"name": "c", "image": "i"}]}}}}}});
    let warned = create(&client, "batch", "cronjobs", job).await.expect("is not a pod");
    assert_eq!(warned, ["would violate PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)"]);
}

#[tokio::test]
async fn pods_that_are_there_go_on_unless_they_come_to_run_something_else() {
    let (_server, client) = server().await;
    create(&client, "", "pods", privileged("p")).await.expect("nothing is asked yet");
    label(&client, &[("enforce", "baseline"), ("enforce-version", "v1.30")]).await.expect("is a level");
    let patch = |kind, patch| write(&client, ApiRequest::patch(&gvr("", "v1", "pods"), "default", "p", kind, patch));
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    patch(PatchKind::Merge, label).await.expect("changes nothing that matters");
    let other = json!([{"op": "replace", "path": "/spec/containers/0/image", "value": "example.com/b:1"}]);
    let refused = patch(PatchKind::Json, other).await.expect_err("runs something else");
    assert!(refused.message.contains("violates PodSecurity \"baseline:v1.30\""), "{}", refused.message);
}

#[tokio::test]
async fn warnings_alone_let_everything_in_and_labels_have_to_be_right() {
    let (_server, client) = server().await;
    label(&client, &[("warn", "restricted")]).await.expect("is a level");
    let warned = create(&client, "", "pods", pod("p")).await.expect("is only warned of");
    assert!(
        warned.len() == 1 && warned[0].starts_with("would violate PodSecurity \"restricted:latest\": allowPriv"),
        "{warned:?}"
    );
    let refused = label(&client, &[("enforce", "strict")]).await.expect_err("is no level");
    assert_eq!(
        (refused.code, refused.details.causes[0].field.as_str()),
        (422, "metadata.labels[pod-security.kubernetes.io/enforce]")
    );
    assert!(refused.message.contains("must be one of privileged, baseline, restricted"), "{}", refused.message);
}
