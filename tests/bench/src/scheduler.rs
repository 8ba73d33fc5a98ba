//! Scheduling over thousands of hollow nodes: through the real API with everything on, by native plugins and by components that
//! SchedulerPlugin objects bring, and the decision alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mizzen_api::ObjectRef;
use mizzen_scheduler::Cycle;
use mizzen_scheduler::node::NodeInfo;
use mizzen_scheduler::pod::PodInfo;
use mizzen_scheduler::profile::Profiles;
use mizzen_scheduler::resources::Amounts;
use mizzen_scheduler::snapshot::Snapshot;
use mizzen_tests::hollow::Hollow;
use mizzen_tests::{Cluster, Registry, images};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::cpu::{Used, each, of_server_each, of_threads};
use crate::fill;
use crate::https::{Endpoint, Request, Watching};
use crate::memory::{self, megabytes};
use crate::samples::show;
use crate::table::Table;

/// For each node.
const PODS: usize = 2;
const CLIENTS: usize = 16;
const ZONES: usize = 3;
/// The server's, on which it decides.
const THREAD: &str = "scheduler";
const LOOK: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(600);
/// Each pod is added when it is created, and deleted when it is bound.
const WAITING: &str = "/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3D";
const STARTING: &str = "/api/v1/pods?limit=1&fieldSelector=status.phase%3DPending";
/// Five thousand nodes that renew every ten seconds are as much work as all else.
const LEASE: u32 = 60;
const PLUGINS: &str = "/apis/mizzen.dev/v1alpha1/schedulerplugins";

const CONFIG: &str = "scheduler:
  profiles:
  - {}
  - schedulerName: one-component
  - schedulerName: ported
    plugins:
      multiPoint:
        disabled: [{name: NodeResourcesFit}, {name: TaintToleration}, {name: NodeResourcesBalancedAllocation}]
";

/// A profile that is measured.
struct Run {
    scheduler: &'static str,
    what: &'static str,
    goal: &'static str,
    /// Samples that are put into the profile, with the weights of their scores.
    samples: &'static [(&'static str, u32)],
}

const RUNS: [Run; 4] = [
    Run { scheduler: "default-scheduler", what: "native plugins", goal: "4,000/s", samples: &[] },
    Run {
        scheduler: "one-component",
        what: "native plugins and one component that filters and scores",
        goal: "90 % of native",
        samples: &[("spot-first", 1)],
    },
    Run {
        scheduler: "ported",
        what: "three native plugins replaced by their ports as components",
        goal: "70 % of native",
        samples: &[("node-resources-fit", 1), ("taint-toleration", 3), ("balanced-allocation", 1)],
    },
    // What thousands of pods that came and went leave behind is no component's doing: this says how much it is.
    Run { scheduler: "default-scheduler", what: "native plugins again after all that", goal: "", samples: &[] },
];

pub(crate) async fn measure(table: &mut Table, nodes: usize) -> anyhow::Result<()> {
    decide(table, nodes)?;
    let cluster = Cluster::server_configured(CONFIG);
    let registry = Registry::start();
    let endpoint = Endpoint::of(&cluster)?;
    let begin = Instant::now();
    let count = nodes.to_string();
    let profile = format!("nodes: {{zones: {ZONES}, leaseRenewSeconds: {LEASE}}}\n");
    let mut hollow = Hollow::start(&cluster, &["--nodes", &count], &profile);
    let took = begin.elapsed();
    table.row(&format!("`mizzen hollow --nodes {nodes}` until all are registered"), show(took), "", String::new());
    // The taint of a new node goes once its status is seen.
    until(&endpoint, fill::NODES, |nodes| nodes.iter().all(|node| node["spec"]["taints"].as_array().is_none_or(Vec::is_empty)))
        .await?;
    let idle = (Used::now(cluster.pid()), Used::now(hollow.pid()));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let per_second = |before: &Used, pid| of_server_each(&Used::now(pid), before, 10);
    table.note(format!(
        "with {nodes} hollow nodes (leases renewed every {LEASE} s) and no pods, each second takes processor time: server {}, \
         hollow nodes {}",
        per_second(&idle.0, cluster.pid()),
        per_second(&idle.1, hollow.pid())
    ));
    let pods = PODS * nodes;
    let mut native = None;
    for (number, run) in RUNS.iter().enumerate() {
        run.load(&endpoint, &registry).await?;
        let events_before = events(&endpoint).await?;
        let (begin, server, node) = (Instant::now(), Used::now(cluster.pid()), Used::now(hollow.pid()));
        let thread = of_threads(cluster.pid(), THREAD);
        let scheduler = run.scheduler;
        let waiting = tokio::spawn(all_come_and_go(endpoint.connect().await?.watch(WAITING).await?, pods));
        fill::create(&endpoint, CLIENTS, fill::PODS, 0..pods, move |number| pod(number, scheduler)).await?;
        let created = begin.elapsed();
        let bound = waiting.await??.duration_since(begin);
        let decided = each(of_threads(cluster.pid(), THREAD), thread, pods);
        // What a pod costs is all until it runs, also what comes after the last one has its node.
        until(&endpoint, STARTING, <[Value]>::is_empty).await?;
        let ran = begin.elapsed();
        let told = events(&endpoint).await?.saturating_sub(events_before);
        let server = of_server_each(&Used::now(cluster.pid()), &server, pods);
        let node = of_server_each(&Used::now(hollow.pid()), &node, pods);
        let rate = |time: Duration| pods as f64 / time.as_secs_f64();
        let of_native = rate(bound) / *native.get_or_insert(rate(bound)) * 100.0;
        let what =
            format!("pods scheduled over {nodes} hollow nodes, {}, created with {CLIENTS} clients over TLS ({pods})", run.what);
        let beside = format!(
            "created at {:.0}/s, running at {:.0}/s; CPU each until it runs: server {server}, of it the scheduler's thread {decided}; \
             hollow nodes {node}; {told} events by then",
            rate(created),
            rate(ran)
        );
        let measured = format!("{:.0}/s ({of_native:.0} % of native)", rate(bound));
        table.row(&what, measured, run.goal, beside);
        for line in run.told(&endpoint).await? {
            table.note(line);
        }
        if number == 0 {
            let held = cluster.pid().and_then(memory::of).context("the server runs")?;
            let hollow_held = hollow.pid().and_then(memory::of).context("the hollow nodes run")?;
            let what = format!("memory of the server with {nodes} nodes and {pods} pods / of the hollow nodes (Pss)");
            table.row(&what, format!("{} / {}", megabytes(held), megabytes(hollow_held)), "", String::new());
        }
        let mut connection = endpoint.connect().await?;
        let all = Request { method: "DELETE", path: fill::PODS, content_type: "application/json", body: &[] };
        connection.send(&all).await?;
        until(&endpoint, "/api/v1/pods?limit=1", <[Value]>::is_empty).await?;
    }
    hollow.abandon();
    Ok(())
}

/// When all pods have come to wait and got their node. To ask for those that wait would cost the server more than to tell of
/// them.
async fn all_come_and_go(mut waiting: Watching, pods: usize) -> anyhow::Result<Instant> {
    let mut events = 0;
    while events < 2 * pods {
        events += tokio::time::timeout(PATIENCE, waiting.events()).await.context("pods wait for a node")??;
    }
    Ok(Instant::now())
}

impl Run {
    /// Puts the components to work.
    async fn load(&self, endpoint: &Endpoint, registry: &Registry) -> anyhow::Result<()> {
        let mut connection = endpoint.connect().await?;
        for (sample, weight) in self.samples {
            let image = images::sample(registry, sample, &format!("{sample}:v1"));
            let points = json!([{"name": "filter"}, {"name": "preScore"}, {"name": "score", "weight": weight}]);
            let object = json!({
                "apiVersion": "mizzen.dev/v1alpha1", "kind": "SchedulerPlugin", "metadata": {"name": sample},
                "spec": {"image": image, "schedulerNames": [self.scheduler], "extensionPoints": points},
            });
            connection.create(PLUGINS, object.to_string().as_bytes()).await?;
        }
        until(endpoint, PLUGINS, |plugins| plugins.iter().all(|plugin| plugin["status"]["digest"].is_string())).await
    }

    /// How the components did.
    async fn told(&self, endpoint: &Endpoint) -> anyhow::Result<Vec<String>> {
        let mut connection = endpoint.connect().await?;
        let mut lines = Vec::new();
        for (sample, _) in self.samples {
            let counted = |plugins: &[Value]| {
                let plugin = plugins.iter().find(|plugin| plugin["metadata"]["name"] == *sample);
                plugin.is_some_and(|plugin| plugin["status"]["calls"].as_u64() > Some(0))
            };
            until(endpoint, PLUGINS, counted).await?;
            let plugin: Value = serde_json::from_slice(&connection.get(&format!("{PLUGINS}/{sample}")).await?)?;
            let status = &plugin["status"];
            ensure!(status["errors"] == 0, "{sample} failed {} times", status["errors"]);
            let (latency, memory) = (&status["latency"], status["memoryBytes"].as_u64().unwrap_or(0));
            lines.push(format!(
                "{sample}: calls p50 {} µs, p99 {} µs, {} of memory",
                latency["p50Microseconds"],
                latency["p99Microseconds"],
                megabytes(memory)
            ));
        }
        Ok(lines)
    }
}

/// Asks until the list is as wanted.
async fn until(endpoint: &Endpoint, path: &str, is: impl Fn(&[Value]) -> bool) -> anyhow::Result<()> {
    let mut connection = endpoint.connect().await?;
    let begin = Instant::now();
    loop {
        let list: Value = serde_json::from_slice(&connection.get(path).await?)?;
        if is(list["items"].as_array().context("is a list")?) {
            return Ok(());
        }
        ensure!(begin.elapsed() < PATIENCE, "not within ten minutes: {path}");
        tokio::time::sleep(LOOK).await;
    }
}

/// How many there are: of each pod that it places the scheduler tells, as far as it comes to it.
async fn events(endpoint: &Endpoint) -> anyhow::Result<u64> {
    let list: Value = serde_json::from_slice(&endpoint.connect().await?.get("/api/v1/events?limit=1").await?)?;
    let first = list["items"].as_array().map_or(0, Vec::len) as u64;
    Ok(first + list["metadata"]["remainingItemCount"].as_u64().unwrap_or(0))
}

fn pod(number: usize, scheduler: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("pod-{number}"), "labels": {"app": "bench"}},
        "spec": {"schedulerName": scheduler, "terminationGracePeriodSeconds": 0, "containers": [{
            "name": "main", "image": "registry.example/bench:v1",
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
        }]},
    })
}

/// The decision alone, with no API: filter, score and choose, the chosen node changed each time.
fn decide(table: &mut Table, nodes: usize) -> anyhow::Result<()> {
    let pods = PODS * nodes;
    let amounts = |milli_cpu, memory| Amounts { milli_cpu, memory, ..Amounts::default() };
    let node = |number: usize| {
        let name = format!("hollow-{number:05}");
        let labels = [
            ("kubernetes.io/hostname".to_owned(), name.clone()),
            ("topology.kubernetes.io/zone".to_owned(), format!("zone-{}", number % ZONES)),
        ];
        let labels = Arc::new(BTreeMap::from(labels));
        Arc::new(NodeInfo { name, labels, allocatable: amounts(32_000, 256 << 30), allowed_pods: 110, ..NodeInfo::default() })
    };
    let mut snapshot = Snapshot::of((0..nodes).map(node).collect());
    let profile = Profiles::new(Vec::new())?.get("default-scheduler").context("is the default")?;
    let (mut cycle, mut random) = (Cycle::new(0), StdRng::seed_from_u64(1));
    let (begin, used) = (Instant::now(), Used::now(None));
    for number in 0..pods {
        let pod = PodInfo {
            key: ObjectRef::new("default", format!("pod-{number}")).into(),
            uid: format!("uid-{number}"),
            owner: format!("owner-{}", number % 100).into(),
            requests: amounts(100, 64 << 20),
            scoring: (100, 64 << 20),
            ..PodInfo::default()
        };
        let chosen = cycle.run(&profile, &pod, &snapshot, &mut random).ok().context("there is room")?;
        let place = snapshot.position(chosen.node()).context("is one of them")?;
        let mut node = NodeInfo::clone(&snapshot.nodes[place]);
        node.add_pod(Arc::new(pod));
        snapshot.update([Arc::new(node)]);
    }
    let took = begin.elapsed();
    let cpu = Used::now(None).each_since(&used, pods);
    let measured = format!("{:.0}/s ({:.0} µs each)", pods as f64 / took.as_secs_f64(), took.as_secs_f64() * 1e6 / pods as f64);
    table.row(&format!("scheduling decisions alone, {nodes} nodes, native profile, 1 thread"), measured, "", cpu);
    Ok(())
}
