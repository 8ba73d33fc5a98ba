//! Decisions that are made for who wants to know why.

use std::sync::Arc;

use mizzen_scheduler::explain::ExplainError;
use mizzen_scheduler::framework::{Candidates, Plugin, PluginState, Point, Points};
use mizzen_scheduler::pod::PodInfo;
use mizzen_scheduler::profile::Loaded;
use mizzen_scheduler::snapshot::Snapshot;
use parking_lot::{Condvar, Mutex};

use crate::world::{World, node, pod};

/// A filter that takes until it is let go.
#[derive(Default)]
struct Slow {
    /// How many are in it, and whether they may go.
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Slow {
    fn wait_for(&self, is: impl Fn(&(usize, bool)) -> bool) {
        self.changed.wait_while(&mut self.state.lock(), |state| !is(state));
    }

    fn change(&self, change: impl FnOnce(&mut (usize, bool))) {
        change(&mut self.state.lock());
        self.changed.notify_all();
    }
}

impl Plugin for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn points(&self) -> Points {
        Points::of(&[Point::Filter])
    }

    fn filter(&self, _: &PodInfo, _: &Snapshot, _: &mut Candidates<'_>, _: &mut PluginState) {
        self.change(|(within, _)| *within += 1);
        self.wait_for(|(_, may_go)| *may_go);
    }
}

#[tokio::test]
async fn no_more_than_two_decisions_are_explained_at_a_time() {
    let world = World::start().await;
    world.add_node(node("n1", "8")).await;
    world.create("pods", "default", pod("a", "1")).await;
    assert_eq!(world.node_of("a").await, "n1");
    let (slow, profiles) = (Arc::new(Slow::default()), vec!["default-scheduler".to_owned()]);
    let loaded = Loaded { plugin: slow.clone(), profiles, points: Points::of(&Point::ALL), weight: 0 };
    world.profiles.load(loaded).expect("is loaded");
    let ask = || {
        let explainer = world.explainer.clone();
        tokio::spawn(async move { explainer.explain("default", "a").await.map(|explanation| explanation.best) })
    };
    let asked = [ask(), ask()];
    let within = slow.clone();
    tokio::task::spawn_blocking(move || within.wait_for(|(within, _)| *within == 2)).await.expect("both are made");
    assert!(matches!(world.explainer.explain("default", "a").await, Err(ExplainError::Busy)));
    slow.change(|(_, may_go)| *may_go = true);
    for asked in asked {
        assert_eq!(asked.await.expect("ends").expect("is explained"), ["n1"]);
    }
    assert_eq!(world.explainer.explain("default", "a").await.expect("there is room again").best, ["n1"]);
}
