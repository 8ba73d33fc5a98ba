//! One list of 10,000 pods.

use std::time::Instant;

use anyhow::{Context, ensure};
use mizzen_tests::Cluster;
use serde_json::{Value, json};

use crate::cpu::Used;
use crate::fill;
use crate::https::Endpoint;
use crate::memory::{self, megabytes};
use crate::samples::{Samples, show};
use crate::table::Table;

const PODS: usize = 10_000;
const CLIENTS: usize = 16;
const LISTS: usize = 10;
const LIST: &str = "/api/v1/pods";
/// What a small pod lacks to 4.8 kB.
const NOTES: usize = 2300;

pub(crate) async fn measure(table: &mut Table) -> anyhow::Result<()> {
    let cluster = Cluster::up();
    let endpoint = Endpoint::of(&cluster)?;
    let begin = Instant::now();
    fill::create(&endpoint, CLIENTS, fill::PODS, 0..PODS, large_pod).await?;
    let filled = begin.elapsed();
    let per_second = PODS as f64 / filled.as_secs_f64();
    table.row(&format!("API: create {PODS} pods over TLS, {CLIENTS} clients"), format!("{per_second:.0}/s"), "", String::new());
    let before = cluster.pid().and_then(memory::of).context("mizzen up is running")?;

    let mut connection = endpoint.connect().await?;
    let body = connection.get(LIST).await?;
    let items = serde_json::from_slice::<Value>(&body)?["items"].as_array().map_or(0, Vec::len);
    ensure!(items == PODS, "the list has {items} pods");
    let size = body.len();
    drop(body);
    let (mut times, used) = (Samples::default(), Used::now(cluster.pid()));
    for _ in 0..LISTS {
        let start = Instant::now();
        let body = connection.get(LIST).await?;
        times.push(start.elapsed());
        ensure!(body.len() == size, "a list of the same pods has {} bytes", body.len());
    }
    let used = Used::now(cluster.pid()).each_since(&used, LISTS);
    let median = times.median();
    let rate = size as f64 / 1e6 / median.as_secs_f64();
    let what = format!("API: list of {PODS} pods over TLS, {:.1} MB (p50 of {LISTS})", size as f64 / 1e6);
    table.row(&what, format!("{} ({rate:.0} MB/s)", show(median)), "50 ms", used);
    let after = cluster.pid().and_then(memory::of).context("mizzen up is running")?;
    let measured = format!("{} / {}", megabytes(before), megabytes(after));
    table.row(&format!("memory of server and agent with {PODS} pods / after the lists (Pss)"), measured, "", String::new());
    Ok(())
}

/// A pod that no scheduler takes.
pub(crate) fn pod(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("pod-{number}"), "labels": {"app": "bench"}},
        "spec": {
            "schedulerName": "none",
            "containers": [{
                "name": "main", "image": "registry.example/bench:v1", "args": ["--serve"],
                "env": [{"name": "MODE", "value": "bench"}], "ports": [{"containerPort": 8080}],
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
            }],
        },
    })
}

/// The same with as many bytes as an ordinary pod that runs: 4.8 kB once it is stored.
pub(crate) fn large_pod(number: usize) -> Value {
    let mut large = pod(number);
    large["metadata"]["annotations"] = json!({"example.com/notes": "x".repeat(NOTES)});
    large
}
