//! Pods that have a node, and wait for leave to be bound there.

use std::sync::Arc;

use async_trait::async_trait;
use mizzen_scheduler::framework::{Plugin, PluginError, Point, Points};
use mizzen_scheduler::pod::PodInfo;
use mizzen_scheduler::profile::Loaded;

use crate::world::{World, important, no_victims, node, pod};

/// Whoever is called `held…` gets no leave to be bound.
struct Held;

#[async_trait]
impl Plugin for Held {
    fn name(&self) -> &'static str {
        "held"
    }

    fn points(&self) -> Points {
        Points::of(&[Point::Permit])
    }

    async fn permit(&self, pod: &PodInfo, _: &str) -> Result<(), PluginError> {
        if pod.key.name.starts_with("held") {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

impl World {
    fn hold(&self) {
        let profiles = vec!["default-scheduler".to_owned()];
        let held = Loaded { plugin: Arc::new(Held), profiles, points: Points::of(&Point::ALL), weight: 0 };
        self.profiles.load(held).expect("is loaded");
    }
}

#[tokio::test(start_paused = true)]
async fn any_number_of_pods_waits_for_leave_and_holds_up_no_other_one() {
    let world = World::start().await;
    world.hold();
    for number in 0..3 {
        world.add_node(node(&format!("n{number}"), "8")).await;
    }
    for number in 0..300 {
        world.create("pods", "default", pod(&format!("held-{number}"), "1m")).await;
    }
    world.create("pods", "default", pod("other", "1m")).await;
    world.node_of("other").await;
    assert_eq!(world.pod("held-0").await["spec"].get("nodeName"), None);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_waits_for_leave_gives_its_node_to_a_more_important_one_and_stays() {
    let world = World::with_classes().await;
    world.hold();
    world.add_node(node("n1", "1")).await;
    world.create("pods", "default", pod("held", "1")).await;
    // It has the room, as another one of its priority finds.
    world.create("pods", "default", pod("second", "1")).await;
    world.unschedulable("second", &no_victims("0/1 nodes are available: 1 Insufficient cpu.", 1)).await;
    world.create("pods", "default", important("high", "1", "high")).await;
    assert_eq!(world.node_of("high").await, "n1");
    let high = world.pod("high").await;
    let by = high["metadata"]["uid"].as_str().expect("has a uid");
    world.event("Preempted", &format!("Preempted by pod {by} on node n1")).await;
    world.unschedulable("held", &no_victims("0/1 nodes are available: 1 Insufficient cpu.", 1)).await;
    assert_eq!(world.pod("held").await.pointer("/metadata/deletionTimestamp"), None);
}
