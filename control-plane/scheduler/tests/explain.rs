//! Explanations say what cycles do.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Taint;
use mizzen_api::ObjectRef;
use mizzen_scheduler::Cycle;
use mizzen_scheduler::explain::{Explanation, PluginOnNode, evaluate};
use mizzen_scheduler::framework::{Candidates, Plugin, PluginState, Point, Points, Rejection};
use mizzen_scheduler::node::NodeInfo;
use mizzen_scheduler::pod::PodInfo;
use mizzen_scheduler::profile::{Loaded, Profile, Profiles};
use mizzen_scheduler::resources::Amounts;
use mizzen_scheduler::snapshot::Snapshot;
use rand::SeedableRng;
use rand::rngs::StdRng;

fn amounts(milli_cpu: i64) -> Amounts {
    Amounts { milli_cpu, memory: milli_cpu << 20, ..Amounts::default() }
}

fn node(name: &str, milli_cpu: i64) -> NodeInfo {
    let labels = BTreeMap::from([("kubernetes.io/hostname".to_owned(), name.to_owned())]);
    NodeInfo {
        name: name.into(),
        labels: labels.into(),
        allocatable: amounts(milli_cpu),
        allowed_pods: 10,
        ..NodeInfo::default()
    }
}

fn tainted(name: &str, milli_cpu: i64) -> NodeInfo {
    let taint = Taint { key: "db".into(), effect: "NoSchedule".into(), ..Taint::default() };
    NodeInfo { taints: Arc::new([taint].into_iter().collect()), ..node(name, milli_cpu) }
}

fn pod(milli_cpu: i64) -> PodInfo {
    let (key, requests) = (ObjectRef::new("d", "web"), amounts(milli_cpu));
    PodInfo { key: key.into(), uid: "u".into(), scoring: (requests.milli_cpu, requests.memory), requests, ..PodInfo::default() }
}

/// Rejects nodes whose names begin so, and prefers long names.
struct Picky {
    name: &'static str,
    prefix: &'static str,
    is_shadow: bool,
}

impl Plugin for Picky {
    fn name(&self) -> &str {
        self.name
    }

    fn points(&self) -> Points {
        Points::of(&[Point::Filter, Point::Score])
    }

    fn is_shadow(&self) -> bool {
        self.is_shadow
    }

    fn filter(&self, _: &PodInfo, _: &Snapshot, candidates: &mut Candidates<'_>, _: &mut PluginState) {
        candidates.check(|node| if node.name.starts_with(self.prefix) { Err(Rejection::new("not liked")) } else { Ok(()) });
    }

    fn score(&self, _: &PodInfo, _: &Snapshot, nodes: &[Arc<NodeInfo>], _: &mut PluginState) -> Option<Vec<i64>> {
        Some(nodes.iter().map(|node| node.name.len() as i64).collect())
    }
}

fn profile(picky: Picky) -> Arc<Profile> {
    let profiles = Profiles::new(Vec::new()).expect("is valid");
    let points = picky.points();
    let loaded = Loaded { plugin: Arc::new(picky), profiles: vec!["default-scheduler".into()], points, weight: 7 };
    profiles.load(loaded).expect("has a name of its own");
    profiles.get("default-scheduler").expect("is there")
}

fn snapshot(nodes: Vec<NodeInfo>) -> Snapshot {
    Snapshot::of(nodes.into_iter().map(Arc::new).collect())
}

fn of<'a>(explanation: &'a Explanation, node: &str, plugin: &str) -> &'a PluginOnNode {
    let node = explanation.nodes.iter().find(|answer| answer.name == node).expect("is one of them");
    node.plugins.iter().find(|answer| answer.name == plugin).expect("has something to say")
}

#[test]
fn every_plugin_is_asked_about_every_node_and_totals_are_the_weighted_sum() {
    let profile = profile(Picky { name: "picky", prefix: "b", is_shadow: false });
    let snapshot = snapshot(vec![node("a", 1000), node("aa", 1000), node("b", 100), tainted("bb", 1000)]);
    let explanation = evaluate(&profile, &pod(500), &snapshot);
    assert_eq!((explanation.best.as_slice(), explanation.message.as_str()), (&["aa".to_owned()][..], ""));
    for (node, plugin, reasons) in [
        ("b", "picky", &["not liked"][..]),
        ("b", "NodeResourcesFit", &["Insufficient cpu", "Insufficient memory"][..]),
        ("bb", "picky", &["not liked"][..]),
        ("bb", "TaintToleration", &["node(s) had untolerated taint {db: }"][..]),
        ("a", "picky", &[][..]),
    ] {
        let answer = of(&explanation, node, plugin);
        assert_eq!(answer.reasons, reasons, "{plugin} of {node}");
        assert_eq!(answer.verdict, Some(if reasons.is_empty() { "Passed" } else { "Rejected" }));
    }
    assert_eq!(of(&explanation, "aa", "picky").score, Some(2));
    let answer = explanation.nodes.iter().find(|node| node.name == "aa").expect("is there");
    let weight = |name: &str| explanation.plugins.iter().find(|plugin| plugin.name == name).expect("is there").weight;
    let sum: i64 = answer.plugins.iter().filter_map(|plugin| Some(plugin.score? * weight(&plugin.name))).sum();
    assert_eq!((answer.total, weight("picky")), (Some(sum), 7));
}

#[test]
fn a_cycle_chooses_one_of_the_best_and_says_the_same_of_a_pod_that_fits_nowhere() {
    let profile = profile(Picky { name: "picky", prefix: "b", is_shadow: false });
    let snapshot = snapshot(vec![node("a", 1000), node("aa", 2000), node("b", 4000), tainted("c", 4000)]);
    let mut random = StdRng::seed_from_u64(1);
    for milli_cpu in [100, 900, 1500] {
        let chosen = Cycle::new(0).run(&profile, &pod(milli_cpu), &snapshot, &mut random).expect("there is room");
        assert!(
            evaluate(&profile, &pod(milli_cpu), &snapshot).best.iter().any(|best| best == chosen.node()),
            "{milli_cpu}: {chosen:?}"
        );
    }
    let why = Cycle::new(0).run(&profile, &pod(3000), &snapshot, &mut random).expect_err("is too large").message();
    let message = evaluate(&profile, &pod(3000), &snapshot).message;
    assert!(why.starts_with(&message), "{why} and {message}");
    assert!(message.contains("1 picky: not liked"), "{message}");
}

#[test]
fn one_that_only_looks_on_is_heard_and_does_not_count() {
    let profile = profile(Picky { name: "picky", prefix: "a", is_shadow: true });
    let snapshot = snapshot(vec![node("a", 1000), node("bbb", 1000)]);
    let explanation = evaluate(&profile, &pod(500), &snapshot);
    assert_eq!(explanation.best, ["a", "bbb"]);
    assert_eq!(of(&explanation, "a", "picky").verdict, Some("Rejected"));
    assert_eq!(of(&explanation, "bbb", "picky").score, Some(3));
    let picky = explanation.plugins.iter().find(|plugin| plugin.name == "picky").expect("is there");
    assert_eq!((picky.kind, picky.mode, picky.extension_points.as_slice()), ("wasm", "shadow", &["filter", "score"][..]));
}
