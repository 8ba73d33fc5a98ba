//! What watchers get: 1,000 of them on all pods.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use mizzen_tests::Cluster;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::cpu::Used;
use crate::fill;
use crate::https::Endpoint;
use crate::list::pod;
use crate::samples::Samples;
use crate::table::Table;

const WATCHERS: usize = 1000;
/// Pods created as fast as possible, by so many clients.
const BURST: usize = 1000;
const CLIENTS: usize = 16;
/// Pods created at an even pace, one each so often.
const PACED: usize = 500;
const PACE: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn measure(table: &mut Table) -> anyhow::Result<()> {
    let cluster = Cluster::up();
    let endpoint = Endpoint::of(&cluster)?;
    let mut watchers = Watchers::open(&endpoint).await?;

    let (begin, before) = (Instant::now(), Used::now(cluster.pid()));
    fill::create(&endpoint, CLIENTS, fill::PODS, 0..BURST, pod).await?;
    watchers.all_have(BURST).await?;
    let (took, after) = (begin.elapsed(), Used::now(cluster.pid()));
    let deliveries = BURST * WATCHERS;
    let what = format!("watch: deliveries to {WATCHERS} watchers of pods while {CLIENTS} clients create {BURST}");
    let measured = format!("{:.0}/s", deliveries as f64 / took.as_secs_f64());
    table.row(&what, measured, "500,000/s", after.each_since(&before, deliveries));

    let before = Used::now(cluster.pid());
    let lags = paced(&endpoint, &mut watchers).await?;
    let after = Used::now(cluster.pid());
    let what = format!("watch: create to event at one watcher beside {WATCHERS}, 100 pods/s (p50 / p99)");
    table.row(&what, lags.summary(), "p99 50 ms", after.each_since(&before, PACED * WATCHERS));
    Ok(())
}

struct Watchers {
    /// Events that came, over all watchers.
    events: Arc<AtomicUsize>,
    expected: usize,
    /// When each event came at the first watcher.
    first: mpsc::UnboundedReceiver<Instant>,
    tasks: tokio::task::JoinSet<anyhow::Result<()>>,
}

impl Watchers {
    async fn open(endpoint: &Endpoint) -> anyhow::Result<Self> {
        let (seen, first) = mpsc::unbounded_channel();
        let (events, mut tasks) = (Arc::new(AtomicUsize::new(0)), tokio::task::JoinSet::new());
        for watcher in 0..WATCHERS {
            let mut watching = endpoint.connect().await?.watch(&format!("{}?watch=1", fill::PODS)).await?;
            let (events, seen) = (events.clone(), (watcher == 0).then(|| seen.clone()));
            tasks.spawn(async move {
                loop {
                    let count = watching.events().await?;
                    events.fetch_add(count, Ordering::Relaxed);
                    for _ in 0..count {
                        if let Some(seen) = &seen {
                            seen.send(Instant::now())?;
                        }
                    }
                }
            });
        }
        Ok(Self { events, expected: 0, first, tasks })
    }

    /// Waits until every watcher has seen so many events more.
    async fn all_have(&mut self, more: usize) -> anyhow::Result<()> {
        self.expected += more * WATCHERS;
        let deadline = Instant::now() + PATIENCE;
        while self.events.load(Ordering::Relaxed) < self.expected {
            if let Some(ended) = self.tasks.try_join_next() {
                ended??;
            }
            anyhow::ensure!(Instant::now() < deadline, "the watchers did not see all events in {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        while self.first.try_recv().is_ok() {}
        Ok(())
    }
}

async fn paced(endpoint: &Endpoint, watchers: &mut Watchers) -> anyhow::Result<Samples> {
    let mut connection = endpoint.connect().await?;
    let mut ticks = tokio::time::interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut lags = Samples::default();
    for number in BURST..BURST + PACED {
        ticks.tick().await;
        let begin = Instant::now();
        connection.create(fill::PODS, pod(number).to_string().as_bytes()).await?;
        let seen = tokio::time::timeout(PATIENCE, watchers.first.recv()).await?.context("the first watcher runs")?;
        lags.push(seen.saturating_duration_since(begin));
    }
    watchers.all_have(PACED).await?;
    Ok(lags)
}
