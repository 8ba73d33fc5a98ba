//! One client that floods, and what others feel of it: where both share the machine with the server, and where the server has
//! a processor for itself.

use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
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
const WATCH: &str = "/api/v1/namespaces/default/pods?watch=true";
const LARGE: &str = "/api/v1/namespaces/default/configmaps/large";
/// Bytes of the document that is written again and again.
const DOCUMENT: usize = 100_000;
const GOAL: &str = "p99 twice the idle one";

/// What the client that floods does without a pause on each of its connections.
#[derive(Clone, Copy)]
enum Flood {
    Gets,
    Lists,
    Connections,
    Watches,
    Writes,
}

impl Flood {
    const ALL: [Self; 5] = [Self::Gets, Self::Lists, Self::Connections, Self::Watches, Self::Writes];

    fn name(self) -> &'static str {
        match self {
            Self::Gets => "gets",
            Self::Lists => "lists of 1,000 pods",
            Self::Connections => "new connections and a get on each",
            Self::Watches => "new connections and a watch of 1,000 pods on each",
            Self::Writes => "updates of a ConfigMap of 100 kB",
        }
    }

    async fn caller(self, loud: &Endpoint) -> anyhow::Result<Box<dyn Caller>> {
        Ok(match self {
            Self::Gets => Box::new(Getter { connection: loud.connect().await?, path: POD, pause: Duration::ZERO }),
            Self::Lists => Box::new(Getter { connection: loud.connect().await?, path: fill::PODS, pause: Duration::ZERO }),
            Self::Connections => Box::new(Newcomer { endpoint: loud.clone(), watches: false }),
            Self::Watches => Box::new(Newcomer { endpoint: loud.clone(), watches: true }),
            Self::Writes => Box::new(Writer { connection: loud.connect().await?, body: document().into() }),
        })
    }
}

pub(crate) async fn measure(table: &mut Table) -> anyhow::Result<()> {
    all(table, "all processors shared", Cluster::up()).await?;
    if let Some((_apart, cluster)) = Apart::start(Cluster::up)? {
        all(table, "the server on one processor, clients on the others", cluster).await?;
    }
    Ok(())
}

async fn all(table: &mut Table, place: &str, cluster: Cluster) -> anyhow::Result<()> {
    let endpoint = Endpoint::of(&cluster)?;
    fill::create(&endpoint, 4, fill::PODS, 0..OBJECTS, pod).await?;
    let mut admin = endpoint.connect().await?;
    admin.create(LARGE.trim_end_matches("/large"), document().as_bytes()).await?;
    let quiet = endpoint.with_token(&account(&mut admin, "quiet").await?);
    let loud = endpoint.with_token(&account(&mut admin, "loud").await?);
    let idle = others(&cluster, &quiet).await?;
    let what = format!("fairness, {place}: p50 / p99 of another client's gets, nobody floods");
    table.row(&what, idle.latencies.summary(), "", idle.cpu);
    for flood in Flood::ALL {
        let mut callers = Vec::new();
        for _ in 0..FLOOD {
            callers.push(flood.caller(&loud).await?);
        }
        let asking = tokio::spawn(load::run(callers, TIME + Duration::from_secs(2), cluster.pid()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let felt = others(&cluster, &quiet).await?;
        let asked = asking.await??;
        let name = flood.name();
        let what = format!("fairness, {place}: the same beside {FLOOD} connections of one client that floods with {name}");
        let measured = format!("{}; the flood {:.0}/s", felt.latencies.summary(), asked.per_second);
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

/// Comes anew for each request.
struct Newcomer {
    endpoint: Endpoint,
    watches: bool,
}

#[async_trait]
impl Caller for Newcomer {
    async fn call(&mut self, _turn: usize) -> anyhow::Result<bool> {
        let mut connection = self.endpoint.connect().await?;
        if self.watches {
            connection.watch(WATCH).await?.events().await?;
        } else {
            connection.get(POD).await?;
        }
        Ok(true)
    }
}

struct Writer {
    connection: Https,
    body: Bytes,
}

#[async_trait]
impl Caller for Writer {
    async fn call(&mut self, _turn: usize) -> anyhow::Result<bool> {
        let request = Request { method: "PUT", path: LARGE, content_type: "application/json", body: &self.body };
        self.connection.send(&request).await?;
        Ok(true)
    }
}

fn document() -> String {
    json!({"metadata": {"name": "large"}, "data": {"text": "x".repeat(DOCUMENT)}}).to_string()
}

/// The token of a new service account that may read and write what its namespace has.
async fn account(admin: &mut Https, name: &str) -> anyhow::Result<String> {
    let account = json!({"metadata": {"name": name}});
    admin.create(ACCOUNTS, account.to_string().as_bytes()).await?;
    let binding = json!({
        "metadata": {"name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    admin.create(bindings, binding.to_string().as_bytes()).await?;
    let body = json!({"spec": {"expirationSeconds": 3600}}).to_string();
    let path = format!("{ACCOUNTS}/{name}/token");
    let request = Request { method: "POST", path: &path, content_type: "application/json", body: body.as_bytes() };
    let answer: Value = serde_json::from_slice(&admin.send(&request).await?)?;
    Ok(answer["status"]["token"].as_str().context("the answer has a token")?.to_owned())
}
