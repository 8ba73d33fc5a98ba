//! Profiles, and plugins that come and go at run time.

use std::sync::Arc;

use mizzen_client::{ApiRequest, PatchKind};
use mizzen_scheduler::framework::{Candidates, Plugin, PluginState, Point, Points, Rejection};
use mizzen_scheduler::pod::PodInfo;
use mizzen_scheduler::profile::Loaded;
use mizzen_scheduler::snapshot::Snapshot;
use serde_json::json;

use crate::world::{World, gvr, no_victims, node, pod};

/// A filter that is loaded at run time: nodes have to have a label.
struct Wants {
    name: String,
    label: &'static str,
}

impl Plugin for Wants {
    fn name(&self) -> &str {
        &self.name
    }

    fn points(&self) -> Points {
        Points::of(&[Point::Filter])
    }

    fn filter(&self, _: &PodInfo, _: &Snapshot, candidates: &mut Candidates<'_>, _: &mut PluginState) {
        let (places, nodes) = candidates.left();
        for (at, _) in places.into_iter().zip(nodes).filter(|(_, node)| !node.labels.contains_key(self.label)) {
            candidates.reject(at, Rejection::new(format!("no {}", self.label)));
        }
    }
}

fn wants(label: &'static str, profiles: &[&str]) -> Loaded {
    let plugin = Arc::new(Wants { name: "label".to_owned(), label });
    let profiles = profiles.iter().map(|name| (*name).to_owned()).collect();
    Loaded { plugin, profiles, points: Points::of(&Point::ALL), weight: 0 }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_is_loaded_swapped_and_unloaded_while_pods_wait() {
    let world = World::start().await;
    world.add_node(node("n1", "8")).await;
    world.profiles.load(wants("gpu", &["default-scheduler"])).expect("is loaded");
    world.create("pods", "default", pod("a", "1")).await;
    world.unschedulable("a", &no_victims("0/1 nodes are available: 1 label: no gpu.", 1)).await;
    world.profiles.load(wants("disk", &["default-scheduler"])).expect("is swapped");
    world.unschedulable("a", &no_victims("0/1 nodes are available: 1 label: no disk.", 1)).await;
    world.profiles.load(wants("kubernetes.io/hostname", &["default-scheduler"])).expect("is swapped");
    assert_eq!(world.node_of("a").await, "n1");
    world.profiles.load(wants("gpu", &["default-scheduler"])).expect("is swapped");
    world.create("pods", "default", pod("b", "1")).await;
    world.unschedulable("b", &no_victims("0/1 nodes are available: 1 label: no gpu.", 1)).await;
    assert!(world.profiles.unload("label"));
    assert_eq!(world.node_of("b").await, "n1");
}

#[tokio::test(start_paused = true)]
async fn a_profile_is_chosen_by_scheduler_name_and_waits_for_plugins_that_it_names() {
    let profiles = json!([{}, {"schedulerName": "picky", "plugins": {"filter": {"enabled": [{"name": "label"}]}}}]);
    let world = World::with(serde_json::from_value(profiles).expect("is valid")).await;
    world.add_node(node("n1", "8")).await;
    let mut picky = pod("picky", "1");
    picky["spec"]["schedulerName"] = json!("picky");
    world.create("pods", "default", picky).await;
    world.unschedulable("picky", "0/1 nodes are available: plugin \"label\" is not loaded.").await;
    world.create("pods", "default", pod("plain", "1")).await;
    assert_eq!(world.node_of("plain").await, "n1", "the other profile does not name it");
    world.profiles.load(wants("gpu", &[])).expect("is loaded");
    let message = no_victims("0/1 nodes are available: 1 label: no gpu.", 1);
    world.unschedulable("picky", &message).await;
    world.event("FailedScheduling", &message).await;
    let label = json!({"metadata": {"labels": {"gpu": "yes"}}});
    world.client.write(ApiRequest::patch(&gvr("nodes"), "", "n1", PatchKind::Merge, label)).await.expect("labels");
    assert_eq!(world.node_of("picky").await, "n1");
}
