//! Puts per second of documents of 1 kB, fsync on, at 1, 16 and 256 clients: `puts [seconds] [folder]`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mizzen_api::object::Encoded;
use mizzen_raft::{RaftConfig, RaftStore};
use mizzen_store::{Store, Txn};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let seconds: u64 = args.next().map_or(Ok(3), |text| text.parse())?;
    let scratch = tempfile::tempdir()?;
    let dir = args.next().map_or_else(|| scratch.path().to_owned(), Into::into);
    println!("| clients | puts/s | p50 µs | p99 µs |\n| --- | --- | --- | --- |");
    for clients in [1, 16, 256] {
        let store = RaftStore::open(RaftConfig::new(dir.join(clients.to_string()), 1)).await?;
        let (count, mut latencies) = load(&store, clients, Duration::from_secs(seconds)).await?;
        latencies.sort_unstable();
        let at = |share: f64| latencies.get((latencies.len() as f64 * share) as usize).copied().unwrap_or_default();
        println!("| {clients} | {} | {} | {} |", count / seconds, at(0.5), at(0.99));
        store.shutdown().await;
    }
    Ok(())
}

async fn load(store: &Arc<RaftStore>, clients: u64, time: Duration) -> Result<(u64, Vec<u64>), Box<dyn std::error::Error>> {
    let document = Encoded::from_value(json!({"metadata": {"name": "bench"}, "data": "x".repeat(1000)})).ok_or("encodes")?;
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for client in 0..clients {
        let (store, stop, count, document) = (store.clone(), stop.clone(), count.clone(), document.clone());
        tasks.push(tokio::spawn(async move {
            let (mut latencies, mut put) = (Vec::new(), 0_u64);
            while !stop.load(Ordering::Relaxed) {
                put += 1;
                let key = format!("/bench/{client}/{}", put % 1000);
                let start = Instant::now();
                store.txn(Txn { puts: vec![(key, document.clone())], ..Txn::default() }).await?;
                latencies.push(start.elapsed().as_micros() as u64);
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, mizzen_store::StoreError>(latencies)
        }));
    }
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let counted = count.load(Ordering::Relaxed);
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    Ok((counted, latencies))
}
