//! Admission policies: what they add to requests, how soon a new one is at work, and what it holds.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mizzen_tests::executables::guest;
use mizzen_tests::{Cluster, Registry, images};
use serde_json::{Value, json};

use crate::api::{Client, Operation};
use crate::cpu::{Used, of_server_each};
use crate::https::{Endpoint, Https, Request};
use crate::load::{self, Caller};
use crate::memory::{self, megabytes};
use crate::samples::{Samples, show};
use crate::table::Table;

/// Requests of each measurement, one after the other on one connection.
const REQUESTS: usize = 2_000;
const MANY: usize = 100;
/// Clients that keep the policy's code and memory in the processors' caches, and for how long they create.
const CLIENTS: usize = 64;
const BUSY: Duration = Duration::from_secs(5);
/// Objects that a context-aware policy knows of.
const CONTEXT: usize = 10_000;
/// Policies whose memory is measured.
const HELD: usize = 50;
/// Components that nobody has compiled yet.
const NEW: usize = 7;
const LOOK: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(120);
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const POLICIES: &str = "/apis/mizzen.dev/v1alpha1/clusteradmissionpolicies";

pub(crate) async fn measure(table: &mut Table) -> anyhow::Result<()> {
    let registry = Registry::start();
    let cluster = Cluster::server();
    let mut connection = Endpoint::of(&cluster)?.connect().await?;
    let image = images::wasm(&registry, "policy_v1", "bench:v1");
    create_with_policies(table, &cluster, &mut connection, &image).await?;
    busy(table, &cluster, &mut connection, &image).await?;
    with_context(table, &mut connection, &image).await?;
    load_to_live(table, &registry, &mut connection).await?;
    memory_held(table, &cluster, &mut connection, &image).await
}

/// One policy about ConfigMaps that is not asked about what is stored.
fn policy(name: &str, image: &str, settings: &Value, resource: &str) -> Value {
    let rule = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": [resource]});
    json!({"apiVersion": "mizzen.dev/v1alpha1", "kind": "ClusterAdmissionPolicy", "metadata": {"name": name}, "spec": {
        "image": image, "settings": settings, "capabilities": ["context"], "backgroundAudit": false,
        "matchConstraints": {"resourceRules": [rule]},
    }})
}

async fn post(connection: &mut Https, path: &str, object: &Value) -> anyhow::Result<()> {
    connection.create(path, object.to_string().as_bytes()).await
}

async fn delete(connection: &mut Https, path: &str) -> anyhow::Result<()> {
    let request = Request { method: "DELETE", path, content_type: "application/json", body: &[] };
    connection.send(&request).await.map(drop)
}

async fn object(connection: &mut Https, path: &str) -> anyhow::Result<Value> {
    Ok(serde_json::from_slice(&connection.get(path).await?)?)
}

/// Waits until the policy of the name is at work.
async fn ready(connection: &mut Https, name: &str) -> anyhow::Result<()> {
    let begin = Instant::now();
    loop {
        let policy = object(connection, &format!("{POLICIES}/{name}")).await?;
        let mut conditions = policy["status"]["conditions"].as_array().into_iter().flatten();
        if conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True") {
            return Ok(());
        }
        ensure!(begin.elapsed() < PATIENCE, "not at work: {policy}");
        tokio::time::sleep(LOOK).await;
    }
}

/// How long it takes to create so many ConfigMaps of 1 kB, each by itself.
async fn creates(connection: &mut Https, prefix: &str) -> anyhow::Result<Samples> {
    let mut samples = Samples::default();
    for number in 0..REQUESTS {
        let name = format!("{prefix}-{number}");
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"team": "a"}},
            "data": {"key": name, "text": "x".repeat(1000)}});
        let body = map.to_string();
        let begin = Instant::now();
        connection.create(MAPS, body.as_bytes()).await?;
        samples.push(begin.elapsed());
    }
    Ok(samples)
}

/// Percentiles of a policy's reviews as the server has measured them, once so many are counted.
async fn reviews(connection: &mut Https, name: &str, count: usize) -> anyhow::Result<String> {
    let begin = Instant::now();
    loop {
        let policy = object(connection, &format!("{POLICIES}/{name}")).await?;
        let status = &policy["status"];
        if status["calls"].as_u64().unwrap_or_default() >= count as u64 {
            let micros = |field: &str| status["latency"][field].as_u64().unwrap_or_default();
            return Ok(format!("{} µs / {} µs", micros("p50Microseconds"), micros("p99Microseconds")));
        }
        ensure!(begin.elapsed() < PATIENCE, "the status does not count all: {policy}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn create_with_policies(table: &mut Table, cluster: &Cluster, connection: &mut Https, image: &str) -> anyhow::Result<()> {
    // What is made at first is not what is measured.
    creates(connection, "warm-up").await?;
    let settings = json!({"labels": ["team"]});
    let mut none = Duration::ZERO;
    for (policies, goal) in [(0, ""), (1, ""), (MANY, "2 ms more than without")] {
        let present = if policies == MANY { 1 } else { 0 };
        for number in present..policies {
            post(connection, POLICIES, &policy(&format!("bench-{number}"), image, &settings, "configmaps")).await?;
        }
        for number in present..policies {
            ready(connection, &format!("bench-{number}")).await?;
        }
        let before = Used::now(cluster.pid());
        let samples = creates(connection, &format!("with-{policies}")).await?;
        let cpu = of_server_each(&Used::now(cluster.pid()), &before, REQUESTS);
        if policies == 0 {
            none = samples.median();
        }
        let more = samples.median().saturating_sub(none);
        let beside = format!("{} more at p50; CPU each: server {cpu}", show(more));
        let what = format!("create a ConfigMap of 1 kB, {policies} admission policies asked, 1 client (p50 / p99)");
        table.row(&what, samples.summary(), goal, beside);
        if policies == 1 {
            let measured = reviews(connection, "bench-0", REQUESTS).await?;
            table.row("review by 1 warm policy within the server, 1 client (p50 / p99)", measured, "10 µs / 1 ms", String::new());
        }
    }
    for number in 0..MANY {
        delete(connection, &format!("{POLICIES}/bench-{number}")).await?;
    }
    Ok(())
}

/// The same policy where many clients create at once.
async fn busy(table: &mut Table, cluster: &Cluster, connection: &mut Https, image: &str) -> anyhow::Result<()> {
    // A label that each of the clients' objects has.
    post(connection, POLICIES, &policy("busy", image, &json!({"labels": ["client"]}), "configmaps")).await?;
    ready(connection, "busy").await?;
    let endpoint = Endpoint::of(cluster)?;
    let mut writers: Vec<Box<dyn Caller>> = Vec::new();
    for client in 0..CLIENTS {
        writers.push(Box::new(Client::new(&endpoint, Operation::Create, &format!("busy-{client}"), 0).await?));
    }
    let load = load::run(writers, BUSY, cluster.pid()).await?;
    let measured = reviews(connection, "busy", load.latencies.count()).await?;
    let what = format!("review by 1 warm policy within the server, {CLIENTS} clients (p50 / p99)");
    table.row(&what, measured, "10 µs / 1 ms", load.summary());
    delete(connection, &format!("{POLICIES}/busy")).await
}

async fn with_context(table: &mut Table, connection: &mut Https, image: &str) -> anyhow::Result<()> {
    for number in 0..CONTEXT {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("context-{number}")},
            "data": {"key": format!("value-{number}"), "text": "x".repeat(1000)}});
        post(connection, MAPS, &map).await?;
    }
    let settings = json!({"unique": {"apiVersion": "v1", "kind": "ConfigMap", "path": "data.key"}});
    post(connection, POLICIES, &policy("unique", image, &settings, "configmaps")).await?;
    ready(connection, "unique").await?;
    creates(connection, "unique").await?;
    let measured = reviews(connection, "unique", REQUESTS).await?;
    let what = format!("review by a policy that looks among {CONTEXT} objects of the cluster (p50 / p99)");
    table.row(&what, measured, "p99 1 ms", String::new());
    delete(connection, &format!("{POLICIES}/unique")).await
}

/// Components that differ in a section that means nothing: each is compiled.
async fn load_to_live(table: &mut Table, registry: &Registry, connection: &mut Https) -> anyhow::Result<()> {
    let component = std::fs::read(guest("policy_v1")).context("read the component")?;
    let (mut new, mut known) = (Samples::default(), Samples::default());
    for number in 0..NEW {
        // A custom section (id 0) of 4 bytes: the length of its name, its name, and two bytes that make the difference.
        let mut bytes = component.clone();
        bytes.extend([0, 4, 1, b'n', b'0', u8::try_from(number)?]);
        let image = images::component(registry, &bytes, &format!("new-{number}:v1"));
        for (turn, samples) in [("new", &mut new), ("known", &mut known)] {
            let name = format!("{turn}-{number}");
            let begin = Instant::now();
            post(connection, POLICIES, &policy(&name, &image, &json!({}), "secrets")).await?;
            ready(connection, &name).await?;
            samples.push(begin.elapsed());
        }
    }
    let size = component.len() / 1000;
    let beside = format!("{} where another policy has the same component", known.summary());
    let what =
        format!("a policy's object applied until it is at work: a new component of {size} kB, compiled (p50 / max of {NEW})");
    table.row(&what, new.summary(), "200 ms", beside);
    for number in 0..NEW {
        for turn in ["new", "known"] {
            delete(connection, &format!("{POLICIES}/{turn}-{number}")).await?;
        }
    }
    Ok(())
}

async fn memory_held(table: &mut Table, cluster: &Cluster, connection: &mut Https, image: &str) -> anyhow::Result<()> {
    let held = || cluster.pid().and_then(memory::of).context("the server runs");
    let settings = json!({"labels": ["team"]});
    // The first one's code is that of all.
    post(connection, POLICIES, &policy("held-first", image, &settings, "configmaps")).await?;
    ready(connection, "held-first").await?;
    creates(connection, "before").await?;
    let before = held()?;
    for number in 0..HELD {
        post(connection, POLICIES, &policy(&format!("held-{number}"), image, &settings, "configmaps")).await?;
    }
    for number in 0..HELD {
        ready(connection, &format!("held-{number}")).await?;
    }
    // Each is asked, so that its memory is what it needs.
    for number in 0..10 {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("held-{number}"), "labels": {"team": "a"}}, "data": {"text": "x".repeat(1000)}});
        post(connection, MAPS, &map).await?;
    }
    let each = held()?.saturating_sub(before) / HELD as u64;
    let what = format!("memory of a loaded policy beyond its code, {HELD} loaded and asked (Pss)");
    table.row(&what, megabytes(each), "2 MB", String::new());
    Ok(())
}
