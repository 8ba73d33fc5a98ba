//! ReplicationControllers, with all controllers running.

mod support;

use mizzen_client::Propagation;
use serde_json::{Value, json};
use support::{World, condition};

fn controller(name: &str, replicas: u32) -> Value {
    json!({"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": {"app": name}, "template": {
        "metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": "example.com/a:1"}]}}}})
}

async fn pods_of(world: &World, name: &str) -> Vec<Value> {
    let pods = world.list("", "pods", "default").await;
    pods.into_iter().filter(|pod| pod.pointer("/metadata/labels/app") == Some(&json!(name))).collect()
}

#[tokio::test(start_paused = true)]
async fn it_keeps_as_many_pods_as_asked_for_and_tells_of_them() {
    let world = World::start().await;
    world.add_node("n1").await;
    world.create("", "replicationcontrollers", "default", controller("a", 3)).await;
    let status = |wanted: Value| {
        let world = &world;
        async move {
            let found = world.get("", "replicationcontrollers", "default", "a").await?;
            (found["status"] == wanted).then_some(found)
        }
    };
    let full =
        json!({"replicas": 3, "fullyLabeledReplicas": 3, "readyReplicas": 3, "availableReplicas": 3, "observedGeneration": 1});
    world.until("three ready pods", || status(full.clone())).await;
    let owner = pods_of(&world, "a").await[0]["metadata"]["ownerReferences"][0].clone();
    assert_eq!(
        (&owner["apiVersion"], &owner["kind"], &owner["controller"]),
        (&json!("v1"), &json!("ReplicationController"), &json!(true))
    );

    // A pod that matches no longer is let go and replaced.
    let name = pods_of(&world, "a").await[0]["metadata"]["name"].as_str().expect("a name").to_owned();
    world.patch("", "pods", "default", &name, json!({"metadata": {"labels": {"app": "other"}}})).await;
    world
        .until("its release", || async {
            let pod = world.get("", "pods", "default", &name).await?;
            pod.pointer("/metadata/ownerReferences").is_none().then_some(())
        })
        .await;
    world.until("a new third", || async { (pods_of(&world, "a").await.len() == 3).then_some(()) }).await;
}

#[tokio::test(start_paused = true)]
async fn an_exceeded_quota_shows_as_a_failure_until_less_is_asked_for() {
    let world = World::start().await;
    world.create("", "resourcequotas", "default", json!({"metadata": {"name": "two"}, "spec": {"hard": {"pods": "2"}}})).await;
    world
        .until("a counted quota", || async {
            world.get("", "resourcequotas", "default", "two").await.filter(|quota| quota["status"]["hard"]["pods"] == "2")
        })
        .await;
    world.create("", "replicationcontrollers", "default", controller("a", 3)).await;
    let failure = || async {
        let found = world.get("", "replicationcontrollers", "default", "a").await?;
        condition(&found, "ReplicaFailure").cloned()
    };
    let failure_shown = world.until("a failure", failure).await;
    assert_eq!((&failure_shown["status"], &failure_shown["reason"]), (&json!("True"), &json!("FailedCreate")));
    assert!(failure_shown["message"].as_str().expect("a message").contains("exceeded quota: two"), "{failure_shown}");
    world.patch("", "replicationcontrollers", "default", "a", json!({"spec": {"replicas": 2}})).await;
    world.until("no failure", || async { failure().await.is_none().then_some(()) }).await;
}

#[tokio::test(start_paused = true)]
async fn its_pods_go_with_it_or_stay_as_orphans_as_asked() {
    let world = World::start().await;
    for (name, propagation, left) in [
        ("gone", Some(Propagation::Background), 0),
        ("kept", Some(Propagation::Orphan), 2),
        ("first", Some(Propagation::Foreground), 0),
    ] {
        world.create("", "replicationcontrollers", "default", controller(name, 2)).await;
        world.until("two pods", || async { (pods_of(&world, name).await.len() == 2).then_some(()) }).await;
        world.delete("", "replicationcontrollers", "default", name, propagation).await;
        world
            .until("what is left", || async {
                let gone = world.get("", "replicationcontrollers", "default", name).await.is_none();
                let pods = pods_of(&world, name).await;
                let free = pods.iter().all(|pod| pod.pointer("/metadata/ownerReferences").is_none());
                (gone && pods.len() == left && free).then_some(())
            })
            .await;
    }
}
