//! The ports of native plugins in `plugins/samples` decide as the native ones do, over random clusters that change.

#![allow(clippy::unwrap_used, reason = "a fixture that fails ends the test, and says where")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, LazyLock};

use k8s_openapi::api::core::v1::{Taint, Toleration};
use mizzen_api::ObjectRef;
use mizzen_plugins_host::{Artifact, Host, HostOptions, PluginOptions, SchedulerPlugin};
use mizzen_scheduler::framework::{Candidates, Plugin, PluginState, Rejection};
use mizzen_scheduler::node::NodeInfo;
use mizzen_scheduler::plugins;
use mizzen_scheduler::pod::PodInfo;
use mizzen_scheduler::resources::Amounts;
use mizzen_scheduler::snapshot::Snapshot;
use mizzen_scheduler::wasm::{Component, FailurePolicy, Mode, WasmPlugin};
use proptest::prelude::*;
use wit_component::ComponentEncoder;

/// The native plugin and the sample that is its port.
const PORTS: [(&str, &str); 3] = [
    ("NodeResourcesFit", "node-resources-fit"),
    ("TaintToleration", "taint-toleration"),
    ("NodeResourcesBalancedAllocation", "balanced-allocation"),
];

static ARTIFACTS: LazyLock<Vec<Arc<Artifact>>> = LazyLock::new(|| {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates stand two folders deep");
    // target/PROFILE/deps/TEST
    let test = std::env::current_exe().expect("a test knows itself");
    let target = test.ancestors().nth(3).expect("tests stand in a target folder").join("plugin-projects/samples");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--locked", "--release", "--target", "wasm32-unknown-unknown", "--manifest-path"]);
    cargo.arg(repository.join("plugins/samples/Cargo.toml")).env("CARGO_TARGET_DIR", &target);
    for (_, sample) in PORTS {
        cargo.args(["--package", sample]);
    }
    assert!(cargo.status().expect("cargo runs").success(), "the samples do not build");
    let host = Host::new(HostOptions::default());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let load = |(_, sample): &(&str, &str)| {
        let module = target.join(format!("wasm32-unknown-unknown/release/{}.wasm", sample.replace('-', "_")));
        let module = std::fs::read(module).unwrap();
        let component = ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap();
        runtime.block_on(host.load(component.into())).unwrap()
    };
    PORTS.iter().map(load).collect()
});

/// Each native plugin with its port.
fn pairs() -> Vec<(Arc<dyn Plugin>, WasmPlugin)> {
    let pair = |((native, sample), artifact): (&(&str, &str), &Arc<Artifact>)| {
        let native = plugins::all().into_iter().find(|plugin| plugin.name() == *native).expect("it is native");
        let guest = SchedulerPlugin::load(artifact, PluginOptions::new(*sample)).unwrap();
        (native, WasmPlugin::new(Component::new(guest).unwrap(), Mode::Enforce, FailurePolicy::Closed))
    };
    PORTS.iter().zip(ARTIFACTS.iter()).map(pair).collect()
}

#[derive(Debug, PartialEq)]
struct Decision {
    rejections: Vec<Option<Rejection>>,
    scores: Option<Vec<i64>>,
}

/// What the plugin says of the nodes, and of those that `feasible` leaves.
fn decide(plugin: &dyn Plugin, pod: &PodInfo, snapshot: &Snapshot, feasible: &[Arc<NodeInfo>]) -> Decision {
    let mut state = PluginState::default();
    plugin.pre_filter(pod, snapshot, &mut state).unwrap();
    let mut candidates = Candidates::new(&snapshot.nodes);
    plugin.filter(pod, snapshot, &mut candidates, &mut state);
    let rejections = candidates.into_verdicts().map(|(_, rejection)| rejection.map(|(_, why)| why)).collect();
    // Nobody is asked to score no nodes.
    let scores = (!feasible.is_empty()).then(|| {
        plugin.pre_score(pod, feasible, snapshot, &mut state);
        let mut scores = plugin.score(pod, snapshot, feasible, &mut state)?;
        plugin.normalize(&mut scores);
        Some(scores)
    });
    plugin.end(pod);
    Decision { rejections, scores: scores.flatten() }
}

fn amounts(cpu: u8, memory: u8, gpus: u8) -> Amounts {
    let others = (gpus > 0).then(|| ("example.com/gpu".to_owned(), i64::from(gpus))).into_iter().collect();
    Amounts { milli_cpu: i64::from(cpu) * 100, memory: i64::from(memory) << 20, others, ..Amounts::default() }
}

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

fn node() -> impl Strategy<Value = NodeInfo> {
    let taints = prop::collection::vec((0..3_u8, 0..3_u8, 0..3_usize), 0..3);
    (any::<u8>(), any::<u8>(), 0..3_u8, 0..5_usize, taints).prop_map(|(cpu, memory, gpus, allowed_pods, taints)| {
        let taint = |(key, value, effect): (u8, u8, usize)| Taint {
            key: format!("k{key}"),
            value: (value > 0).then(|| format!("v{value}")),
            effect: EFFECTS[effect].to_owned(),
            ..Taint::default()
        };
        let taints = Arc::new(taints.into_iter().map(taint).collect());
        NodeInfo { allocatable: amounts(cpu, memory, gpus), allowed_pods, taints, ..NodeInfo::default() }
    })
}

fn pod() -> impl Strategy<Value = PodInfo> {
    let toleration = (0..4_u8, any::<bool>(), 0..3_u8, 0..4_usize);
    let tolerations = prop::collection::vec(toleration, 0..3);
    (0..80_u8, 0..80_u8, 0..2_u8, tolerations).prop_map(|(cpu, memory, gpus, tolerations)| {
        let toleration = |(key, exists, value, effect): (u8, bool, u8, usize)| Toleration {
            key: (key < 3).then(|| format!("k{key}")),
            operator: exists.then(|| "Exists".to_owned()),
            value: (value > 0 && !exists).then(|| format!("v{value}")),
            effect: EFFECTS.get(effect).map(|effect| (*effect).to_owned()),
            ..Toleration::default()
        };
        let requests = amounts(cpu, memory, gpus);
        let scoring = (requests.milli_cpu.max(100), requests.memory.max(1 << 20));
        PodInfo { requests, scoring, tolerations: tolerations.into_iter().map(toleration).collect(), ..PodInfo::default() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn native_plugins_and_their_ports_decide_alike(
        nodes in prop::collection::vec(node(), 1..12),
        pods in prop::collection::vec(pod(), 1..12),
    ) {
        let pairs = pairs();
        let mut by_name: BTreeMap<String, NodeInfo> = BTreeMap::new();
        for (number, node) in nodes.into_iter().enumerate() {
            let (name, generation) = (format!("n{number:02}"), u64::MAX - number as u64);
            by_name.insert(name.clone(), NodeInfo { name, generation, ..node });
        }
        let mut snapshot = Snapshot::of(by_name.into_values().map(Arc::new).collect());
        for (number, pod) in pods.into_iter().enumerate() {
            let uid = format!("u{number}");
            let pod = Arc::new(PodInfo { key: ObjectRef::new("default", &uid).into(), uid, ..pod });
            let mut totals: BTreeMap<&str, i64> = BTreeMap::new();
            let rejects = |plugin: &dyn Plugin| decide(plugin, &pod, &snapshot, &[]).rejections;
            let verdicts: Vec<_> = pairs.iter().map(|(native, _)| rejects(native.as_ref())).collect();
            let fits = |at: usize| verdicts.iter().all(|verdicts| verdicts[at].is_none());
            let feasible: Vec<_> = snapshot.nodes.iter().enumerate().filter(|(at, _)| fits(*at)).map(|(_, node)| node.clone()).collect();
            for (native, port) in &pairs {
                let decision = decide(native.as_ref(), &pod, &snapshot, &feasible);
                prop_assert_eq!(&decide(port, &pod, &snapshot, &feasible), &decision, "{}", native.name());
                for (node, score) in feasible.iter().zip(decision.scores.into_iter().flatten()) {
                    *totals.entry(&node.name).or_default() += score;
                }
            }
            // The best node takes the pod, so that the next decision is on another cluster.
            let best = feasible.iter().max_by_key(|node| totals.get(node.name.as_str()).copied().unwrap_or(0)).cloned();
            if let Some(mut node) = best {
                Arc::make_mut(&mut node).add_pod(pod);
                snapshot.update([node]);
            }
        }
        for (_, port) in &pairs {
            prop_assert_eq!(port.component().plugin().status().errors, 0);
        }
    }
}
