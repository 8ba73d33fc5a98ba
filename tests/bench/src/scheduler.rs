//! Scheduling at 5,000 hollow nodes: through the real API with everything on, and the decision alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mizzen_api::ObjectRef;
use mizzen_scheduler::Cycle;
use mizzen_scheduler::node::NodeInfo;
use mizzen_scheduler::pod::PodInfo;
use mizzen_scheduler::profile::Profiles;
use mizzen_scheduler::resources::Amounts;
use mizzen_scheduler::snapshot::Snapshot;
use mizzen_tests::Cluster;
use mizzen_tests::hollow::Hollow;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::cpu::{Used, of_server_each};
use crate::https::Endpoint;
use crate::memory::{self, megabytes};
use crate::samples::show;
use crate::table::Table;

const NODES: usize = 5_000;
const PODS: usize = 10_000;
const CLIENTS: usize = 16;
const ZONES: usize = 3;
const LOOK: Duration = Duration::from_millis(100);

pub(crate) async fn measure(table: &mut Table) -> anyhow::Result<()> {
    decide(table)?;
    let cluster = Cluster::server();
    let nodes = NODES.to_string();
    let begin = Instant::now();
    let mut hollow = Hollow::start(&cluster, &["--nodes", &nodes], &format!("nodes: {{zones: {ZONES}}}\n"));
    let took = begin.elapsed();
    table.row(&format!("`mizzen hollow --nodes {NODES}` until all are registered"), show(took), "", String::new());
    let endpoint = Endpoint::of(&cluster)?;
    // The taint of a new node goes once its status is seen.
    until(&endpoint, "/api/v1/nodes", |nodes| nodes.iter().all(|node| node["spec"].get("taints").is_none())).await?;
    let idle = (Used::now(cluster.pid()), Used::now(hollow.pid()));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let per_second = |before: &Used, pid| of_server_each(&Used::now(pid), before, 10);
    table.note(format!(
        "with {NODES} hollow nodes and no pods, each second takes processor time: server {}, hollow nodes {}",
        per_second(&idle.0, cluster.pid()),
        per_second(&idle.1, hollow.pid())
    ));

    let (begin, server, nodes) = (Instant::now(), Used::now(cluster.pid()), Used::now(hollow.pid()));
    create(&endpoint).await?;
    let created = begin.elapsed();
    until(&endpoint, "/api/v1/pods?fieldSelector=spec.nodeName%3D&limit=1", <[Value]>::is_empty).await?;
    let bound = begin.elapsed();
    let (server, nodes) =
        (of_server_each(&Used::now(cluster.pid()), &server, PODS), of_server_each(&Used::now(hollow.pid()), &nodes, PODS));
    let rate = |time: Duration| format!("{:.0}/s", PODS as f64 / time.as_secs_f64());
    let what =
        format!("pods scheduled over {NODES} hollow nodes, native profile, created with {CLIENTS} clients over TLS ({PODS})");
    table.row(
        &what,
        rate(bound),
        "4,000/s",
        format!("created at {}; CPU each: server {server}, hollow nodes {nodes}", rate(created)),
    );
    let held = cluster.pid().and_then(memory::of).context("the server runs")?;
    let hollow_held = hollow.pid().and_then(memory::of).context("the hollow nodes run")?;
    let what = format!("memory of the server with {NODES} nodes and {PODS} pods / of the hollow nodes (Pss)");
    table.row(&what, format!("{} / {}", megabytes(held), megabytes(hollow_held)), "", String::new());
    hollow.abandon();
    Ok(())
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
        ensure!(begin.elapsed() < Duration::from_secs(600), "not within ten minutes: {path}");
        tokio::time::sleep(LOOK).await;
    }
}

async fn create(endpoint: &Endpoint) -> anyhow::Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for _ in 0..CLIENTS {
        let (mut connection, next) = (endpoint.connect().await?, next.clone());
        tasks.push(tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= PODS {
                    return Ok::<_, anyhow::Error>(());
                }
                connection.create("/api/v1/namespaces/default/pods", pod(number).to_string().as_bytes()).await?;
            }
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

fn pod(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("pod-{number}"), "labels": {"app": "bench"}},
        "spec": {"containers": [{
            "name": "main", "image": "registry.example/bench:v1",
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
        }]},
    })
}

/// The decision alone, with no API: filter, score and choose, the chosen node changed each time.
fn decide(table: &mut Table) -> anyhow::Result<()> {
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
    let mut snapshot = Snapshot::of((0..NODES).map(node).collect());
    let profile = Profiles::new(Vec::new())?.get("default-scheduler").context("is the default")?;
    let (mut cycle, mut random) = (Cycle::new(0), StdRng::seed_from_u64(1));
    let begin = Instant::now();
    for number in 0..PODS {
        let pod = PodInfo {
            key: ObjectRef::new("default", format!("pod-{number}")),
            uid: format!("uid-{number}"),
            owner: format!("owner-{}", number % 100).into(),
            requests: amounts(100, 64 << 20),
            scoring: (100, 64 << 20),
            ..PodInfo::default()
        };
        let chosen = cycle.run(&profile, &pod, &snapshot, &mut random).ok().context("there is room")?;
        let place = snapshot.position(&chosen).context("is one of them")?;
        let mut node = NodeInfo::clone(&snapshot.nodes[place]);
        node.add_pod(Arc::new(pod));
        snapshot.update([Arc::new(node)]);
    }
    let took = begin.elapsed();
    let measured = format!("{:.0}/s ({:.0} µs each)", PODS as f64 / took.as_secs_f64(), took.as_secs_f64() * 1e6 / PODS as f64);
    table.row(&format!("scheduling decisions alone, {NODES} nodes, native profile, 1 thread"), measured, "", String::new());
    Ok(())
}
