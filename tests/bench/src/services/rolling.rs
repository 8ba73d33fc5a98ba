//! A Deployment whose pods are all replaced while clients ask it without rest, by its service and by an ingress.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::networking::v1::Ingress;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use mizzen_tests::eventually_async;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::world::World;
use crate::table::Table;

const NAME: &str = "rolling";
const HOST: &str = "rolling.example";
const REPLICAS: i32 = 3;
const UPDATES: usize = 2;
/// By each way.
const CLIENTS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn measure(table: &mut Table, world: &World, image: &str) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = Api::default_namespaced(world.client.clone());
    deployments.create(&PostParams::default(), &serde_json::from_value(deployment(image))?).await?;
    let ways = ways(world).await?;
    complete(&deployments).await;
    for (_, address) in &ways {
        eventually_async("it answers", async || ask(*address).await.map_err(|error| error.to_string())).await;
    }

    let done = Arc::new(AtomicBool::new(false));
    let load = ways.map(|(way, address)| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(ask_without_rest(address, done.clone()))).collect();
        (way, clients)
    });
    for update in 0..UPDATES {
        let template = json!({"spec": {"template": {"metadata": {"annotations": {"update": update.to_string()}}}}});
        deployments.patch(NAME, &PatchParams::default(), &Patch::Merge(&template)).await?;
        complete(&deployments).await;
    }
    done.store(true, Ordering::Relaxed);
    for (way, clients) in load {
        let (mut asked, mut failed) = (0, Vec::new());
        for client in clients {
            let (count, failures) = client.await?;
            asked += count;
            failed.extend(failures);
        }
        let what = format!("Service: {UPDATES} rolling updates of {REPLICAS} pods, {CLIENTS} clients by {way} (failed requests)");
        let why = failed.first().map(|why| format!(" ({why})")).unwrap_or_default();
        table.row(&what, format!("{} of {asked}{why}", failed.len()), "0", String::new());
    }
    Ok(())
}

/// By the service's address and by an ingress.
async fn ways(world: &World) -> anyhow::Result<[(&'static str, SocketAddr); 2]> {
    let (client, create) = (world.client.clone(), PostParams::default());
    let service = json!({
        "metadata": {"name": NAME},
        "spec": {"selector": {"app": NAME}, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    let service = Api::<Service>::default_namespaced(client.clone()).create(&create, &serde_json::from_value(service)?).await?;
    let ip: IpAddr = service.spec.and_then(|spec| spec.cluster_ip).context("a service has an address")?.parse()?;
    let backend = json!({"service": {"name": NAME, "port": {"number": 80}}});
    let rule = json!({"host": HOST, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}});
    let ingress = json!({"metadata": {"name": NAME}, "spec": {"ingressClassName": "mizzen", "rules": [rule]}});
    Api::<Ingress>::default_namespaced(client.clone()).create(&create, &serde_json::from_value(ingress)?).await?;
    let node = Api::<Node>::all(client).get("test-node").await?;
    let addresses = node.status.and_then(|status| status.addresses).unwrap_or_default();
    let door: IpAddr = addresses.first().context("the node has an address")?.address.parse()?;
    Ok([("ClusterIP", SocketAddr::new(ip, 80)), ("ingress", SocketAddr::new(door, 80))])
}

/// Pods that answer while they are ending.
fn deployment(image: &str) -> serde_json::Value {
    let probe = json!({"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1});
    let command = "echo hello > /tmp/index.html; exec httpd -f -p 8080 -h /tmp";
    let container = json!({"name": "main", "image": image, "command": ["/bin/sh", "-c", command], "readinessProbe": probe});
    json!({
        "metadata": {"name": NAME},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"app": NAME}},
            "template": {
                "metadata": {"labels": {"app": NAME}},
                "spec": {"terminationGracePeriodSeconds": 3, "containers": [container]},
            },
        },
    })
}

/// Waits until all pods are of the newest template, and no others are left.
async fn complete(deployments: &Api<Deployment>) {
    eventually_async("all pods are replaced", async || {
        let found = deployments.get(NAME).await.map_err(|error| error.to_string())?;
        let generation = found.metadata.generation;
        let status = found.status.unwrap_or_default();
        let all = Some(REPLICAS);
        let is_complete = status.observed_generation == generation
            && (status.updated_replicas, status.available_replicas, status.replicas) == (all, all, all);
        if is_complete { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
}

async fn ask_without_rest(address: SocketAddr, done: Arc<AtomicBool>) -> (usize, Vec<String>) {
    let (mut asked, mut failed) = (0, Vec::new());
    while !done.load(Ordering::Relaxed) {
        let answered = tokio::time::timeout(PATIENCE, ask(address)).await;
        asked += 1;
        match answered {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failed.push(error.to_string()),
            Err(_) => failed.push(format!("no answer within {PATIENCE:?}")),
        }
    }
    (asked, failed)
}

/// One request over a connection of its own.
async fn ask(address: SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let status = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    ensure!(status.ends_with(b"200 OK"), "{}", String::from_utf8_lossy(status));
    Ok(())
}
