//! What readers wait for, in process: a list of 10,000 objects, a write until each of many watchers has it, and opening
//! the same folder again.

use std::time::Instant;

use mizzen_api::object::Encoded;
use mizzen_raft::{RaftConfig, RaftStore};
use mizzen_store::{RangeOptions, Store, Txn};
use serde_json::json;

const OBJECTS: usize = 10_000;
const WATCHERS: usize = 1_000;
const WRITES: u64 = 200;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let store = RaftStore::open(RaftConfig::new(dir.path(), 1)).await?;
    let document = Encoded::from_value(json!({"metadata": {"name": "bench"}, "data": "x".repeat(1000)})).ok_or("encodes")?;
    let put = |key: String| Txn { puts: vec![(key, document.clone())], ..Txn::default() };
    let start = Instant::now();
    futures::future::try_join_all((0..OBJECTS).map(|index| store.txn(put(format!("/pods/{index}"))))).await?;
    println!("{OBJECTS} objects written at once: {:?}", start.elapsed());

    let start = Instant::now();
    let items = store.range("/pods/", &RangeOptions::default())?.items.len();
    println!("list of {items}: {:?}", start.elapsed());

    let mut watchers = tokio::task::JoinSet::new();
    for _ in 0..WATCHERS {
        let mut watch = store.watch("/pods/", store.revision())?;
        watchers.spawn(async move {
            let mut seen = 0;
            while seen < WRITES {
                seen += watch.next().await?.len() as u64;
            }
            Ok::<_, mizzen_store::StoreError>(())
        });
    }
    let start = Instant::now();
    for index in 0..WRITES {
        store.txn(put(format!("/pods/{index}"))).await?;
    }
    while let Some(watcher) = watchers.join_next().await {
        watcher??;
    }
    let deliveries = (WRITES * WATCHERS as u64) as f64 / start.elapsed().as_secs_f64();
    println!("{WRITES} writes one by one to {WATCHERS} watchers: {:?}, {deliveries:.0} deliveries/s", start.elapsed());

    store.shutdown().await;
    drop(store);
    let start = Instant::now();
    let store = RaftStore::open(RaftConfig::new(dir.path(), 1)).await?;
    println!("opened again with {OBJECTS} objects: {:?}", start.elapsed());
    store.shutdown().await;
    Ok(())
}
