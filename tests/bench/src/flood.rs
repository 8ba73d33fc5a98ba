//! One client that floods, and what others feel of it: where both share the machine with the server, and where the server has
//! a processor for itself.

use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use mizzen_tests::Cluster;
use serde_json::{Value, json};

use crate::fill;
use crate::https::{Endpoint, Https, Request};
use crate::list::pod;
use crate::load::{self, Caller, Load};
use crate::processors::{self, Apart};
use crate::table::Table;

const TIME: Duration = Duration::from_secs(5);
const OBJECTS: usize = 1000;
/// Connections of the client that floods.
const FLOOD: usize = 64;
const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const POD: &str = "/api/v1/namespaces/default/pods/pod-1";
const FLOODS: [(&str, &str); 2] = [("gets", POD), ("lists of 1,000 pods", fill::PODS)];
const GOAL: &str = "p99 twice the idle one";

pub(crate) async fn measure(table: &mut Table) -> anyhow::Result<()> {
    let cluster = Cluster::up();
    let endpoint = Endpoint::of(&cluster)?;
    fill::create(&endpoint, 4, fill::PODS, 0..OBJECTS, pod).await?;
    let mut admin = endpoint.connect().await?;
    let quiet = endpoint.with_token(&account(&mut admin, "quiet").await?);
    let loud = endpoint.with_token(&account(&mut admin, "loud").await?);
    all(table, "all processors shared", &cluster, (&quiet, &loud)).await?;
    let server = cluster.pid().context("the server runs")?;
    if let Some(_apart) = Apart::keep(server)? {
        all(table, "the server on one processor, clients on the others", &cluster, (&quiet, &loud)).await?;
    }
    Ok(())
}

async fn all(table: &mut Table, place: &str, cluster: &Cluster, (quiet, loud): (&Endpoint, &Endpoint)) -> anyhow::Result<()> {
    let idle = others(cluster, quiet).await?;
    let what = format!("fairness, {place}: p50 / p99 of another client's gets, nobody floods");
    table.row(&what, idle.latencies.summary(), "", idle.cpu);
    for (name, path) in FLOODS {
        let mut flood = Vec::<Box<dyn Caller>>::new();
        for _ in 0..FLOOD {
            flood.push(Box::new(Getter { connection: loud.connect().await?, path, pause: Duration::ZERO }));
        }
        let flood = tokio::spawn(load::run(flood, TIME + Duration::from_secs(2), cluster.pid()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let felt = others(cluster, quiet).await?;
        let flood = flood.await??;
        let what = format!("fairness, {place}: the same beside {FLOOD} connections of one client that floods with {name}");
        let measured = format!("{}; the flood {:.0}/s", felt.latencies.summary(), flood.per_second);
        table.row(&what, measured, GOAL, felt.cpu);
    }
    Ok(())
}

/// Four connections of a client that asks now and then, in a thread of its own that comes before all others: what it waits for is
/// the server, and neither the tasks nor the threads of the client that floods.
async fn others(cluster: &Cluster, quiet: &Endpoint) -> anyhow::Result<Load> {
    let (server, quiet) = (cluster.pid(), quiet.clone());
    let asking = async move {
        let mut callers = Vec::<Box<dyn Caller>>::new();
        for _ in 0..4 {
            let pause = Duration::from_millis(5);
            callers.push(Box::new(Getter { connection: quiet.connect().await?, path: POD, pause }));
        }
        load::run(callers, TIME, server).await
    };
    let thread = std::thread::spawn(move || {
        processors::before_all_others()?;
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(asking)
    });
    tokio::task::spawn_blocking(move || thread.join()).await?.map_err(|_| anyhow::anyhow!("the client that asks panicked"))?
}

struct Getter {
    connection: Https,
    path: &'static str,
    pause: Duration,
}

#[async_trait]
impl Caller for Getter {
    async fn call(&mut self, _turn: usize) -> anyhow::Result<bool> {
        self.connection.get(self.path).await?;
        Ok(true)
    }

    async fn rest(&mut self) {
        if !self.pause.is_zero() {
            tokio::time::sleep(self.pause).await;
        }
    }
}

/// The token of a new service account that may read pods.
async fn account(admin: &mut Https, name: &str) -> anyhow::Result<String> {
    let account = json!({"metadata": {"name": name}});
    admin.create(ACCOUNTS, account.to_string().as_bytes()).await?;
    let binding = json!({
        "metadata": {"name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    admin.create(bindings, binding.to_string().as_bytes()).await?;
    let body = json!({"spec": {"expirationSeconds": 3600}}).to_string();
    let path = format!("{ACCOUNTS}/{name}/token");
    let request = Request { method: "POST", path: &path, content_type: "application/json", body: body.as_bytes() };
    let answer: Value = serde_json::from_slice(&admin.send(&request).await?)?;
    Ok(answer["status"]["token"].as_str().context("the answer has a token")?.to_owned())
}
