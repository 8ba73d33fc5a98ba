//! Where pods go, and what is said of those that wait.

use std::collections::BTreeMap;
use std::time::Duration;

use mizzen_client::{ApiRequest, ListOptions, PatchKind};
use serde_json::{Value, json};

use crate::world::{World, gvr, no_victims, node, not_helpful, pod};

#[tokio::test(start_paused = true)]
async fn a_pod_without_room_says_why_and_is_bound_when_a_node_comes() {
    let world = World::start().await;
    world.create("pods", "default", pod("a", "2")).await;
    world.unschedulable("a", "no nodes available to schedule pods").await;
    world.add_node(node("small", "1")).await;
    let message = not_helpful("0/1 nodes are available: 1 Insufficient cpu.", 1);
    world.unschedulable("a", &message).await;
    world.event("FailedScheduling", &message).await;
    world.add_node(node("large", "4")).await;
    assert_eq!(world.node_of("a").await, "large");
    world.event("Scheduled", "Successfully assigned default/a to large").await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_another_one_to_leave() {
    let world = World::start().await;
    world.add_node(node("n1", "1")).await;
    world.create("pods", "default", pod("first", "800m")).await;
    assert_eq!(world.node_of("first").await, "n1");
    world.create("pods", "default", pod("second", "800m")).await;
    world.unschedulable("second", &no_victims("0/1 nodes are available: 1 Insufficient cpu.", 1)).await;
    world.delete("pods", "default", "first").await;
    assert_eq!(world.node_of("second").await, "n1");
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_pods_never_overfills_a_node_and_spreads() {
    let world = World::start().await;
    for name in ["n1", "n2", "n3"] {
        world.add_node(node(name, "2")).await;
    }
    for number in 0..65 {
        world.create("pods", "default", pod(&format!("p{number}"), "100m")).await;
    }
    let count = || async {
        let pods = world.client.list(&gvr("pods"), "default", &ListOptions::default()).await.expect("lists");
        let mut per_node = BTreeMap::new();
        for pod in &pods.items {
            if let Some(node) = pod.value().expect("is JSON").pointer("/spec/nodeName").and_then(Value::as_str) {
                *per_node.entry(node.to_owned()).or_insert(0) += 1;
            }
        }
        per_node
    };
    let full = BTreeMap::from(["n1", "n2", "n3"].map(|name| (name.to_owned(), 20)));
    world.until("the nodes are full", || async { (count().await == full).then_some(()) }).await;
    tokio::time::sleep(Duration::from_secs(400)).await;
    assert_eq!(count().await, full, "five pods go on waiting");
}

#[tokio::test(start_paused = true)]
async fn taints_selectors_and_cordons_keep_pods_off_and_are_named() {
    let world = World::start().await;
    let mut tainted = node("tainted", "4");
    tainted["spec"] = json!({"taints": [{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]});
    let mut cordoned = node("cordoned", "4");
    cordoned["spec"] = json!({"unschedulable": true});
    world.add_node(tainted).await;
    world.add_node(cordoned).await;
    world.add_node(node("plain", "4")).await;
    let mut picky = pod("picky", "1");
    picky["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    world.create("pods", "default", picky).await;
    let message = "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, \
                   1 node(s) had untolerated taint {dedicated: db}, 1 node(s) were unschedulable.";
    world.unschedulable("picky", &not_helpful(message, 3)).await;
    let label = json!({"metadata": {"labels": {"disk": "ssd"}}});
    world.client.write(ApiRequest::patch(&gvr("nodes"), "", "plain", PatchKind::Merge, label)).await.expect("labels");
    assert_eq!(world.node_of("picky").await, "plain");
    let mut db = pod("db", "1");
    db["spec"]["tolerations"] = json!([{"key": "dedicated", "operator": "Exists"}]);
    db["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": "tainted"});
    world.create("pods", "default", db).await;
    assert_eq!(world.node_of("db").await, "tainted");
}

#[tokio::test(start_paused = true)]
async fn pods_of_another_scheduler_and_gated_pods_are_left_alone() {
    let world = World::start().await;
    world.add_node(node("n1", "4")).await;
    let mut other = pod("other", "1");
    other["spec"]["schedulerName"] = json!("custom");
    world.create("pods", "default", other).await;
    let mut gated = pod("gated", "1");
    gated["spec"]["schedulingGates"] = json!([{"name": "example.com/wait"}]);
    world.create("pods", "default", gated).await;
    world.create("pods", "default", pod("mine", "1")).await;
    world.node_of("mine").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    for name in ["other", "gated"] {
        assert_eq!(world.pod(name).await["spec"].get("nodeName"), None, "{name}");
    }
    let open = json!({"spec": {"schedulingGates": null}});
    world
        .client
        .write(ApiRequest::patch(&gvr("pods"), "default", "gated", PatchKind::Merge, open))
        .await
        .expect("opens the gate");
    assert_eq!(world.node_of("gated").await, "n1");
}
