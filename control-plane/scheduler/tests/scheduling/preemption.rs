//! Pods that make others leave.

use std::sync::Arc;
use std::time::Duration;

use mizzen_scheduler::framework::{Plugin, PluginState, Point, Points, Rejection, Scope};
use mizzen_scheduler::pod::PodInfo;
use mizzen_scheduler::profile::Loaded;
use mizzen_scheduler::snapshot::Snapshot;
use serde_json::{Value, json};

use crate::world::{World, important, no_victims, node, not_helpful, pod};

#[tokio::test(start_paused = true)]
async fn a_pod_of_a_higher_priority_makes_others_leave_and_takes_their_place() {
    let world = World::with_classes().await;
    world.add_node(node("n1", "2")).await;
    for name in ["low", "also-low"] {
        world.create("pods", "default", pod(name, "1")).await;
        world.node_of(name).await;
    }
    world.create("pods", "default", important("high", "1", "high")).await;
    let victim = world
        .until("one of them ends", || async {
            for name in ["low", "also-low"] {
                let pod = world.pod(name).await;
                if pod.pointer("/metadata/deletionTimestamp").is_some() {
                    return Some(pod);
                }
            }
            None
        })
        .await;
    let conditions = victim["status"]["conditions"].as_array().expect("has conditions").clone();
    let condition = conditions.iter().find(|condition| condition["type"] == "DisruptionTarget").expect("is told why");
    assert_eq!(condition["reason"], "PreemptionByScheduler");
    assert_eq!(condition["message"], "default-scheduler: preempting to accommodate a higher priority pod");
    assert_eq!(victim["metadata"]["deletionGracePeriodSeconds"], 30, "with its own grace");
    let high = world
        .until("its place is reserved", || async {
            let high = world.pod("high").await;
            (high["status"]["nominatedNodeName"] == "n1").then_some(high)
        })
        .await;
    let by = high["metadata"]["uid"].as_str().expect("has a uid");
    world.event("Preempted", &format!("Preempted by pod {by} on node n1")).await;
    // Its room is kept for it, whoever comes meanwhile.
    world.create("pods", "default", pod("late", "1")).await;
    world.unschedulable("late", &no_victims("0/1 nodes are available: 1 Insufficient cpu.", 1)).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.delete("pods", "default", victim["metadata"]["name"].as_str().expect("has a name")).await;
    assert_eq!(world.node_of("high").await, "n1");
    let left = if victim["metadata"]["name"] == "low" { "also-low" } else { "low" };
    assert_eq!(world.pod(left).await.pointer("/metadata/deletionTimestamp"), None, "one was enough");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_never_preempts_waits() {
    let world = World::with_classes().await;
    world.add_node(node("n1", "1")).await;
    world.create("pods", "default", pod("low", "1")).await;
    world.node_of("low").await;
    world.create("pods", "default", important("polite", "1", "never")).await;
    let message = "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.";
    world.unschedulable("polite", message).await;
    assert_eq!(world.pod("low").await.pointer("/metadata/deletionTimestamp"), None);
}

#[tokio::test(start_paused = true)]
async fn a_nominated_pod_gives_way_to_one_of_a_higher_priority() {
    let world = World::with_classes().await;
    world.add_node(node("n1", "1")).await;
    world.create("pods", "default", pod("low", "1")).await;
    world.node_of("low").await;
    world.create("pods", "default", important("middle", "1", "middle")).await;
    world.until_terminating("low").await;
    world.create("pods", "default", important("high", "1", "high")).await;
    let nominated = |name: &'static str, node: Value| {
        let world = &world;
        async move {
            world
                .until("the nomination", || async {
                    (world.pod(name).await["status"]["nominatedNodeName"] == node).then_some(())
                })
                .await;
        }
    };
    nominated("high", json!("n1")).await;
    nominated("middle", Value::Null).await;
    world.delete("pods", "default", "low").await;
    assert_eq!(world.node_of("high").await, "n1");
    // That nobody is in its way it says only when it has looked at the node with high on it.
    world.unschedulable("middle", &no_victims("0/1 nodes are available: 1 Insufficient cpu.", 1)).await;
    assert_eq!(world.pod("middle").await["spec"].get("nodeName"), None);
}

/// Refuses every pod before nodes are asked about.
struct Closed;

impl Plugin for Closed {
    fn name(&self) -> &'static str {
        "closed"
    }

    fn points(&self) -> Points {
        Points::of(&[Point::PreFilter])
    }

    fn pre_filter(&self, _: &PodInfo, _: &Snapshot, _: &mut PluginState) -> Result<Scope, Rejection> {
        Err(Rejection::new("not today"))
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_preempted_for_a_pod_that_is_refused_as_a_whole() {
    let world = World::with_classes().await;
    world.add_node(node("n1", "1")).await;
    world.create("pods", "default", pod("low", "1")).await;
    world.node_of("low").await;
    let profiles = vec!["default-scheduler".to_owned()];
    let closed = Loaded { plugin: Arc::new(Closed), profiles, points: Points::of(&Point::ALL), weight: 0 };
    world.profiles.load(closed).expect("is loaded");
    world.create("pods", "default", important("high", "1", "high")).await;
    world.unschedulable("high", &not_helpful("0/1 nodes are available: closed: not today.", 1)).await;
    assert_eq!(world.pod("low").await.pointer("/metadata/deletionTimestamp"), None);
}
