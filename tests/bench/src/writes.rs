//! Writes per second: through the API, in the store alone, and of etcd.

use std::time::Duration;

use mizzen_raft::{RaftConfig, RaftStore};
use mizzen_tests::Cluster;

use crate::api::{Client, Operation};
use crate::etcd::Etcd;
use crate::https::Endpoint;
use crate::load::{self, CLIENTS, Caller};
use crate::table::Table;
use crate::{disk, machine, raft};

const TIME: Duration = Duration::from_secs(5);

pub(crate) async fn measure(table: &mut Table) -> anyhow::Result<()> {
    let appends = tokio::task::spawn_blocking(|| disk::appends(Duration::from_secs(2))).await??;
    let per_second = appends.count() as f64 / 2.0;
    table.row("bare disk: append 1 kB and fdatasync, one after another", format!("{per_second:.0}/s"), "", String::new());

    let mut etcd = Vec::new();
    if machine::has("etcd") {
        let server = Etcd::start()?;
        for clients in CLIENTS {
            etcd.push(load::run(server.writers(clients).await?, TIME, Some(server.pid())).await?);
        }
    } else {
        table.note("etcd-server is not installed: nothing beside the writes.".to_owned());
    }
    let etcd = |index: usize| etcd.get(index).map_or_else(String::new, |load| format!("etcd {}; {}", load.summary(), load.cpu));

    let dir = tempfile::tempdir()?;
    let store = RaftStore::open(RaftConfig::new(dir.path(), 1)).await?;
    for (index, clients) in CLIENTS.into_iter().enumerate() {
        let load = load::run(raft::writers(&store, clients), TIME, None).await?;
        let what = format!("store alone, fsync, 1 kB, {clients} clients (p50 / p99)");
        table.row(&what, format!("{}; {}", load.summary(), load.cpu), "ahead of etcd", etcd(index));
    }
    store.shutdown().await;

    let cluster = Cluster::up();
    let endpoint = Endpoint::of(&cluster)?;
    for (index, clients) in CLIENTS.into_iter().enumerate() {
        let mut writers: Vec<Box<dyn Caller>> = Vec::new();
        for client in 0..clients {
            writers.push(Box::new(Client::new(&endpoint, Operation::Create, &format!("{clients}-{client}"), 0).await?));
        }
        let load = load::run(writers, TIME, cluster.pid()).await?;
        let what = format!("API: create ConfigMaps of 1 kB over TLS, fsync, {clients} clients (p50 / p99)");
        table.row(&what, format!("{}; {}", load.summary(), load.cpu), "ahead of etcd", etcd(index));
    }
    Ok(())
}
