//! A large cluster's objects: 150,000 pods and 5,000 nodes that nobody runs.

use std::time::Instant;

use anyhow::Context;
use mizzen_tests::Cluster;
use serde_json::{Value, json};

use crate::fill;
use crate::https::Endpoint;
use crate::list::large_pod;
use crate::memory::{self, megabytes};
use crate::samples::{Samples, show};
use crate::table::Table;

const PODS: usize = 150_000;
const NODES: usize = 5_000;
const CLIENTS: usize = 16;
const LISTS: usize = 3;

pub(crate) async fn measure(table: &mut Table) -> anyhow::Result<()> {
    let cluster = Cluster::up();
    let endpoint = Endpoint::of(&cluster)?;
    fill::create(&endpoint, CLIENTS, fill::NODES, 0..NODES, node).await?;
    let begin = Instant::now();
    fill::create(&endpoint, CLIENTS, fill::PODS, 0..PODS, large_pod).await?;
    let per_second = PODS as f64 / begin.elapsed().as_secs_f64();
    let what = format!("API: create {PODS} pods of 4.8 kB beside {NODES} nodes, {CLIENTS} clients");
    table.row(&what, format!("{per_second:.0}/s"), "", String::new());

    let memory = || cluster.pid().and_then(memory::of).context("mizzen up is running");
    let before = memory()?;
    let (mut times, mut size) = (Samples::default(), 0);
    let mut connection = endpoint.connect().await?;
    for _ in 0..LISTS {
        let start = Instant::now();
        size = connection.get("/api/v1/pods").await?.len();
        times.push(start.elapsed());
    }
    let median = times.median();
    let rate = size as f64 / 1e9 / median.as_secs_f64();
    let what = format!("API: list of {PODS} pods, {} (p50 of {LISTS})", megabytes(size as u64));
    table.row(&what, format!("{} ({rate:.2} GB/s)", show(median)), "1 GB/s", String::new());

    let after = memory()?;
    let times = |bytes: u64| format!("{} ({:.1} times)", megabytes(bytes), bytes as f64 / size as f64);
    let what = format!("memory of server and agent with {PODS} pods and {NODES} nodes / after the lists (Pss)");
    table.row(&what, format!("{} / {}", times(before), times(after)), "3 times the JSON", String::new());
    Ok(())
}

/// Cordoned, and without a kubelet: nothing is scheduled to it.
fn node(number: usize) -> Value {
    let amounts = json!({"cpu": "8", "memory": "32Gi", "pods": "110"});
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": format!("node-{number}"), "labels": {"kubernetes.io/hostname": format!("node-{number}")}},
        "spec": {"unschedulable": true},
        "status": {"capacity": amounts, "allocatable": amounts},
    })
}
