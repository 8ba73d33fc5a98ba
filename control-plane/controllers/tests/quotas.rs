//! Quotas through the real pipeline: admission charges, the controller counts.

mod support;

use serde_json::{Value, json};
use support::World;

async fn quota(world: &World, name: &str, spec: Value) {
    world.create("", "resourcequotas", "default", json!({"metadata": {"name": name}, "spec": spec})).await;
}

async fn used(world: &World, name: &str, wanted: Value) {
    world
        .until(&format!("{name} uses {wanted}"), || async {
            let quota = world.get("", "resourcequotas", "default", name).await?;
            (quota["status"]["used"] == wanted && quota["status"]["hard"] == quota["spec"]["hard"]).then_some(())
        })
        .await;
}

fn pod(name: &str, spec: &Value) -> Value {
    let mut pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "a:1"}]}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        pod["spec"][field] = value.clone();
    }
    pod
}

#[tokio::test(start_paused = true)]
async fn a_quota_counts_what_is_there_and_releases_what_goes() {
    let world = World::start().await;
    world.create("", "secrets", "default", json!({"metadata": {"name": "before"}})).await;
    let hard = json!({"secrets": "2", "resourcequotas": "1", "count/replicasets.apps": "3", "count/nothing.example.com": "1"});
    quota(&world, "q", json!({"hard": hard})).await;
    let with = |secrets: &str| json!({"secrets": secrets, "resourcequotas": "1", "count/replicasets.apps": "0"});
    used(&world, "q", with("1")).await;
    world.create("", "secrets", "default", json!({"metadata": {"name": "second"}})).await;
    used(&world, "q", with("2")).await;
    world.delete("", "secrets", "default", "before", None).await;
    used(&world, "q", with("1")).await;
    world.patch("", "resourcequotas", "default", "q", json!({"spec": {"hard": {"secrets": "9"}}})).await;
    used(&world, "q", with("1")).await;
}

#[tokio::test(start_paused = true)]
async fn scopes_divide_pods_and_a_finished_pod_is_released() {
    let world = World::start().await;
    for scope in ["BestEffort", "NotBestEffort", "Terminating", "NotTerminating"] {
        quota(&world, &scope.to_lowercase(), json!({"hard": {"pods": "5"}, "scopes": [scope]})).await;
        used(&world, &scope.to_lowercase(), json!({"pods": "0"})).await;
    }
    let one = json!({"pods": "1"});
    let none = json!({"pods": "0"});
    world.create("", "pods", "default", pod("plain", &json!({}))).await;
    for (name, wanted) in [("besteffort", &one), ("notbesteffort", &none), ("terminating", &none), ("notterminating", &one)] {
        used(&world, name, wanted.clone()).await;
    }
    let resources = json!({"requests": {"cpu": "1"}});
    let ends = json!({"activeDeadlineSeconds": 60, "containers": [{"name": "main", "image": "a:1", "resources": resources}]});
    world.create("", "pods", "default", pod("ends", &ends)).await;
    for name in ["besteffort", "notbesteffort", "terminating", "notterminating"] {
        used(&world, name, one.clone()).await;
    }
    let done = mizzen_client::ApiRequest::patch(
        &support::gvr("", "pods"),
        "default",
        "ends",
        mizzen_client::PatchKind::Merge,
        json!({"status": {"phase": "Succeeded"}}),
    );
    world.client.write(done.subresource("status")).await.expect("the node reports");
    for (name, wanted) in [("besteffort", &one), ("notbesteffort", &none), ("terminating", &none), ("notterminating", &one)] {
        used(&world, name, wanted.clone()).await;
    }
}
