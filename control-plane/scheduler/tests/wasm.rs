//! Guests as plugins of the framework: what their failures come to, and what a new instance is told.

#[path = "../../../plugins/host/tests/plugins/component.rs"]
mod component;

use std::sync::Arc;
use std::time::Duration;

use mizzen_api::ObjectRef;
use mizzen_plugins_host::{Host, HostOptions, Limits, PluginOptions, SchedulerPlugin};
use mizzen_scheduler::Cycle;
use mizzen_scheduler::framework::{Candidates, Plugin, PluginState, Point, Scope};
use mizzen_scheduler::node::NodeInfo;
use mizzen_scheduler::pod::PodInfo;
use mizzen_scheduler::profile::{Loaded, Profile, Profiles};
use mizzen_scheduler::snapshot::Snapshot;
use mizzen_scheduler::wasm::{Component, FailurePolicy, Mode, ShadowCounts, WasmPlugin};
use rand::SeedableRng;
use rand::rngs::StdRng;

const ZEROS: &str = "(i32.const 0)";

/// What a guest does at each extension point, as instructions.
struct Guest<'a> {
    pre_filter: &'a str,
    filter: &'a str,
    permit: &'a str,
}

impl Default for Guest<'_> {
    fn default() -> Self {
        Self { pre_filter: ZEROS, filter: ZEROS, permit: ZEROS }
    }
}

impl Guest<'_> {
    /// With the points filter and permit.
    async fn plugin(&self, mode: Mode, failure: FailurePolicy) -> WasmPlugin {
        let text = include_str!("../../../plugins/host/tests/guests/scheduler.wat")
            .replace("DESCRIBE", "(i32.store8 (i32.const 256) (i32.const 65)) (i32.const 256)")
            .replace("PREFILTER", self.pre_filter)
            .replace("FILTER", self.filter)
            .replace("SCORE", ZEROS)
            .replace("PERMIT", self.permit);
        let bytes = component::component("scheduler/scheduler-plugin", &text);
        let artifact = Host::new(HostOptions::default()).load(bytes.into()).await.expect("it loads");
        let limits = Limits { failures: 100, ..Limits::default() };
        let guest = SchedulerPlugin::load(&artifact, PluginOptions { limits, ..PluginOptions::new("guest") }).expect("it starts");
        WasmPlugin::new(Component::new(guest).expect("its columns are known"), mode, failure)
    }
}

fn snapshot(nodes: u64) -> Snapshot {
    let node = |n: u64| NodeInfo { name: format!("n{n}"), generation: u64::MAX - n, allowed_pods: 10, ..NodeInfo::default() };
    Snapshot::of((0..nodes).map(node).map(Arc::new).collect())
}

fn pod() -> PodInfo {
    PodInfo { key: ObjectRef::new("default", "web").into(), uid: "u1".into(), ..PodInfo::default() }
}

/// Why each node is rejected; empty where it is not.
fn verdicts(plugin: &WasmPlugin, snapshot: &Snapshot, state: &mut PluginState) -> Vec<String> {
    let mut candidates = Candidates::new(&snapshot.nodes);
    plugin.filter(&pod(), snapshot, &mut candidates, state);
    let reasons = |rejection: Option<(usize, mizzen_scheduler::framework::Rejection)>| {
        rejection.map(|(_, why)| why.reasons.join(", ")).unwrap_or_default()
    };
    candidates.into_verdicts().map(|(_, rejection)| reasons(rejection)).collect()
}

fn begin(plugin: &WasmPlugin, snapshot: &Snapshot) -> PluginState {
    let mut state = PluginState::default();
    assert_eq!(plugin.pre_filter(&pod(), snapshot, &mut state), Ok(Scope::All));
    state
}

/// Rejects the first node, since its verdicts are the rows that came in, backwards. Not at 0, where other answers are zeros.
const REJECT_ROW_ONE: &str = "
    (i32.store (i32.const 3000) (local.get $nodes))
    (i32.store (i32.const 3004) (local.get $count))
    (i32.store (i32.const 3008) (i32.const 1216))
    (i32.store (i32.const 3012) (i32.const 1))
    (i32.const 3000)";

#[tokio::test]
async fn a_guests_verdicts_are_those_of_its_rows() {
    let plugin = Guest { filter: REJECT_ROW_ONE, ..Guest::default() }.plugin(Mode::Enforce, FailurePolicy::Closed).await;
    assert!(plugin.points().contains(Point::PreFilter) && plugin.points().contains(Point::Permit));
    assert!(!plugin.points().contains(Point::Score));
    let snapshot = snapshot(2);
    let mut state = begin(&plugin, &snapshot);
    assert_eq!(verdicts(&plugin, &snapshot, &mut state), ["", "hello"]);
    plugin.end(&pod());
    assert_eq!(plugin.component().plugin().status().errors, 0);
}

#[tokio::test]
async fn a_guest_that_fails_keeps_its_pods_waiting_or_is_left_out() {
    let guest = Guest { filter: "(unreachable)", ..Guest::default() };
    let snapshot = snapshot(2);
    for (failure, expected) in [(FailurePolicy::Closed, "the plugin failed (Trapped)"), (FailurePolicy::Open, "")] {
        let plugin = guest.plugin(Mode::Enforce, failure).await;
        let mut state = begin(&plugin, &snapshot);
        assert_eq!(verdicts(&plugin, &snapshot, &mut state), [expected; 2], "{failure:?}");
        assert_eq!(plugin.component().plugin().status().errors, 1);
    }
    let dead = Guest { pre_filter: "(unreachable)", ..Guest::default() };
    let mut state = PluginState::default();
    let open = dead.plugin(Mode::Enforce, FailurePolicy::Open).await;
    assert_eq!(open.pre_filter(&pod(), &snapshot, &mut state), Ok(Scope::Skip));
    let closed = dead.plugin(Mode::Enforce, FailurePolicy::Closed).await;
    let rejection = closed.pre_filter(&pod(), &snapshot, &mut state).unwrap_err();
    assert_eq!(rejection.reasons, ["the plugin failed (Trapped)"]);
    assert!(rejection.unresolvable && rejection.is_failure, "nobody leaves for it, and it is tried again by itself");
}

#[tokio::test]
async fn another_instance_in_the_middle_of_a_cycle_is_told_of_cluster_and_pod() {
    // Three nodes make it trap; one that knows no cluster or no cycle traps always.
    let filter = "
        (if (i32.or (i32.eq (local.get $count) (i32.const 3))
                    (i32.or (i32.eqz (global.get $updates)) (i32.eqz (global.get $cycles))))
          (then (unreachable)))
        (i32.const 0)";
    let plugin = Guest { filter, ..Guest::default() }.plugin(Mode::Enforce, FailurePolicy::Closed).await;
    let three = snapshot(3);
    let mut state = begin(&plugin, &three);
    assert_eq!(verdicts(&plugin, &three, &mut state), ["the plugin failed (Trapped)"; 3]);
    let mut candidates = Candidates::new(&three.nodes[..2]);
    plugin.filter(&pod(), &three, &mut candidates, &mut state);
    assert!(candidates.into_verdicts().all(|(_, rejection)| rejection.is_none()));
    assert_eq!(plugin.component().plugin().status().errors, 1);
}

/// The default profile with one plugin more.
fn profile(plugin: Arc<WasmPlugin>) -> Arc<Profile> {
    let profiles = Profiles::new(Vec::new()).expect("is valid");
    let points = plugin.points();
    let profile = "default-scheduler".to_owned();
    profiles.load(Loaded { plugin, profiles: vec![profile.clone()], points, weight: 1 }).expect("has a name of its own");
    profiles.get(&profile).expect("is there")
}

#[tokio::test]
async fn a_shadow_changes_nothing_and_counts_what_would_have_been_different() {
    let rejects_all = "
        (i32.store (i32.const 2000) (i32.const 1))
        (i32.store (i32.const 2004) (i32.const 1))
        (i32.store (i32.const 3000) (i32.const 2000))
        (i32.store (i32.const 3004) (local.get $count))
        (i32.store (i32.const 3008) (i32.const 1216))
        (i32.store (i32.const 3012) (i32.const 1))
        (i32.const 3000)";
    let two = snapshot(2);
    for (filter, failure, expected) in [
        (REJECT_ROW_ONE, FailurePolicy::Closed, ShadowCounts { rejected_nodes: 20, ..ShadowCounts::default() }),
        (rejects_all, FailurePolicy::Closed, ShadowCounts { rejected_nodes: 40, unplaced: 20, ..ShadowCounts::default() }),
        ("(unreachable)", FailurePolicy::Closed, ShadowCounts { rejected_nodes: 40, unplaced: 20, ..ShadowCounts::default() }),
        ("(unreachable)", FailurePolicy::Open, ShadowCounts::default()),
    ] {
        let plugin = Arc::new(Guest { filter, ..Guest::default() }.plugin(Mode::Shadow, failure).await);
        assert!(!plugin.points().contains(Point::Permit));
        let profile = profile(plugin.clone());
        let (mut cycle, mut random) = (Cycle::new(0), StdRng::seed_from_u64(1));
        let mut chosen = Vec::new();
        for _ in 0..20 {
            let decision = cycle.run(&profile, &pod(), &two, &mut random).expect("both nodes do");
            decision.show(&profile, &pod(), &two);
            chosen.push(decision.node().to_owned());
        }
        let elsewhere = if filter == REJECT_ROW_ONE { chosen.iter().filter(|node| *node == "n1").count() as u64 } else { 0 };
        assert!((1..20).contains(&chosen.iter().filter(|node| *node == "n1").count()), "it has no say: {chosen:?}");
        assert_eq!(plugin.component().shadow(), ShadowCounts { decisions: 20, nodes: 40, elsewhere, ..expected });
    }
}

#[tokio::test]
async fn a_copy_knows_nothing_of_pods_under_way_and_changes_nothing() {
    let plugin = Guest { filter: REJECT_ROW_ONE, ..Guest::default() }.plugin(Mode::Enforce, FailurePolicy::Closed).await;
    let snapshot = snapshot(2);
    let mut state = begin(&plugin, &snapshot);
    let asked = plugin.component().plugin().status().calls;
    let copy = plugin.aside().expect("starts").expect("is another one");
    let mut of_copy = PluginState::default();
    assert_eq!(copy.pre_filter(&pod(), &snapshot, &mut of_copy), Ok(Scope::All));
    copy.end(&pod());
    assert_eq!(plugin.component().plugin().status().calls, asked);
    assert_eq!(verdicts(&plugin, &snapshot, &mut state), ["", "hello"], "its cycle goes on");
}

#[tokio::test]
async fn a_permit_that_never_comes_ends_with_the_guests_patience() {
    // Wait: ask again within 10 ms, for 60 ms at most.
    let permit = "
        (i32.store8 (i32.const 512) (i32.const 1))
        (i32.store (i32.const 516) (i32.const 10))
        (i32.store (i32.const 520) (i32.const 60))
        (i32.const 512)";
    let plugin = Guest { permit, ..Guest::default() }.plugin(Mode::Enforce, FailurePolicy::Closed).await;
    let snapshot = snapshot(1);
    begin(&plugin, &snapshot);
    let asked = plugin.component().plugin().status().calls;
    let begun = std::time::Instant::now();
    let error = plugin.permit(&pod(), "n0").await.unwrap_err().to_string();
    assert_eq!(error, "guest: no permission within 60 ms (node n0)");
    assert!(begun.elapsed() >= Duration::from_millis(60));
    assert!(plugin.component().plugin().status().calls > asked + 1, "it is asked again");
    let willing = Guest::default().plugin(Mode::Enforce, FailurePolicy::Closed).await;
    begin(&willing, &snapshot);
    willing.permit(&pod(), "n0").await.unwrap();
}
