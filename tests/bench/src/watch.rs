//! What watchers get: 1,000 of them, on all pods or each on those of one node.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use mizzen_tests::Cluster;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::cpu::Used;
use crate::fill;
use crate::https::{Endpoint, Watching};
use crate::list::pod;
use crate::pace;
use crate::samples::Samples;
use crate::table::Table;

const WATCHERS: usize = 1000;
/// Pods created as fast as possible, by so many clients.
const BURST: usize = 1000;
const CLIENTS: usize = 16;
/// Pods a second that are tried one after the other with watchers of all pods, and how long each pace is kept.
const PACES: [usize; 9] = [100, 200, 300, 350, 400, 450, 500, 600, 1000];
const KEPT: Duration = Duration::from_secs(4);
/// What p99 must stay under.
const LIMIT: Duration = Duration::from_millis(50);
/// Pods a second with watchers of one node each.
const CHANGES: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn measure(table: &mut Table) -> anyhow::Result<()> {
    of_all_pods(table).await?;
    of_one_node_each(table).await
}

async fn of_all_pods(table: &mut Table) -> anyhow::Result<()> {
    let cluster = Cluster::up();
    let endpoint = Endpoint::of(&cluster)?;
    let mut watchers = Watchers::default();
    watchers.add(&endpoint, "", true).await?;
    for _ in 1..WATCHERS {
        watchers.add(&endpoint, "", false).await?;
    }

    let (begin, before) = (Instant::now(), Used::now(cluster.pid()));
    fill::create(&endpoint, CLIENTS, fill::PODS, 0..BURST, pod).await?;
    watchers.all_have(BURST * WATCHERS).await?;
    let (took, after) = (begin.elapsed(), Used::now(cluster.pid()));
    let deliveries = BURST * WATCHERS;
    let what = format!("watch: deliveries to {WATCHERS} watchers of pods while {CLIENTS} clients create {BURST}");
    let measured = format!("{:.0}/s", deliveries as f64 / took.as_secs_f64());
    table.row(&what, measured, "500,000/s", after.each_since(&before, deliveries));

    // The pace with its delays, and what it costs; the fastest of those under the limit.
    let (mut next, mut fastest) = (BURST, None);
    for rate in PACES {
        let before = Used::now(cluster.pid());
        let numbers = next..next + pace::objects(rate, KEPT);
        next = numbers.end;
        let events = numbers.len() * WATCHERS;
        let lags = watchers.lags_at(&endpoint, rate, numbers, events, pod).await?;
        let cost = Used::now(cluster.pid()).each_since(&before, events);
        let what = format!("watch: create to event at one of {WATCHERS} watchers of pods, {rate} pods/s (p50 / p99)");
        table.row(&what, lags.summary(), "p99 50 ms", cost);
        if lags.percentile(0.99) >= LIMIT {
            break;
        }
        fastest = Some(rate);
    }
    let measured = fastest.map_or_else(|| "none".to_owned(), |rate| format!("{rate} pods/s, {} deliveries/s", rate * WATCHERS));
    let what = format!("watch: highest of these paces with p99 under 50 ms at one of {WATCHERS} watchers of pods");
    table.row(&what, measured, "1,000 objects/s", String::new());
    Ok(())
}

/// As nodes watch: each watcher its own pods, and every change concerns one of them.
async fn of_one_node_each(table: &mut Table) -> anyhow::Result<()> {
    let cluster = Cluster::up();
    let endpoint = Endpoint::of(&cluster)?;
    let mut watchers = Watchers::default();
    for node in 0..WATCHERS {
        watchers.add(&endpoint, &format!("&fieldSelector=spec.nodeName%3D{}", node_name(node)), true).await?;
    }
    let numbers = 0..pace::objects(CHANGES, KEPT);
    let (before, events) = (Used::now(cluster.pid()), numbers.len());
    let placed = |number| {
        let mut placed = pod(number);
        placed["spec"]["nodeName"] = Value::String(node_name(number % WATCHERS));
        placed
    };
    let lags = watchers.lags_at(&endpoint, CHANGES, numbers, events, placed).await?;
    let cost = Used::now(cluster.pid()).each_since(&before, events);
    let what = format!("watch: create to event, {WATCHERS} watchers of one node's pods each, {CHANGES} pods/s (p50 / p99)");
    table.row(&what, lags.summary(), "p99 50 ms", cost);
    Ok(())
}

/// None is a part of another: they are found in events as they stand.
fn node_name(number: usize) -> String {
    format!("bench-{number:04}")
}

#[derive(Default)]
struct Watchers {
    /// Events that came, over all watchers.
    events: Arc<AtomicUsize>,
    expected: usize,
    /// Which pod came when, at those watchers that are looked at.
    arrivals: Option<mpsc::UnboundedReceiver<(usize, Instant)>>,
    arrived: Option<mpsc::UnboundedSender<(usize, Instant)>>,
    tasks: tokio::task::JoinSet<anyhow::Result<()>>,
}

impl Watchers {
    async fn add(&mut self, endpoint: &Endpoint, selected: &str, is_looked_at: bool) -> anyhow::Result<()> {
        let watching = endpoint.connect().await?.watch(&format!("{}?watch=1{selected}", fill::PODS)).await?;
        let events = self.events.clone();
        if is_looked_at {
            let arrived = match &self.arrived {
                Some(arrived) => arrived.clone(),
                None => {
                    let (arrived, arrivals) = mpsc::unbounded_channel();
                    self.arrivals = Some(arrivals);
                    self.arrived.insert(arrived).clone()
                }
            };
            self.tasks.spawn(look_at(watching, events, arrived));
        } else {
            self.tasks.spawn(count(watching, events));
        }
        Ok(())
    }

    /// Waits until so many events more have come, over all watchers.
    async fn all_have(&mut self, more: usize) -> anyhow::Result<()> {
        self.expected += more;
        let deadline = Instant::now() + PATIENCE;
        while self.events.load(Ordering::Relaxed) < self.expected {
            if let Some(ended) = self.tasks.try_join_next() {
                ended??;
            }
            anyhow::ensure!(Instant::now() < deadline, "the watchers did not see all events in {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// From when a pod was to be created until it came, at an even pace.
    async fn lags_at(
        &mut self,
        endpoint: &Endpoint,
        rate: usize,
        numbers: std::ops::Range<usize>,
        events: usize,
        object: impl Fn(usize) -> Value + Clone + Send + 'static,
    ) -> anyhow::Result<Samples> {
        let first = numbers.start;
        let due = pace::create(endpoint, CLIENTS, rate, numbers, object).await?;
        self.all_have(events).await?;
        let arrivals = self.arrivals.as_mut().context("somebody is looked at")?;
        let mut came = vec![None; due.len()];
        while came.contains(&None) {
            let arrival = tokio::time::timeout(PATIENCE, arrivals.recv()).await?;
            let (number, when) = arrival.context("those that are looked at run")?;
            // One of before is nobody's any more, and of one pod the first event counts.
            if let Some(place) = number.checked_sub(first).and_then(|place| came.get_mut(place)) {
                place.get_or_insert(when);
            }
        }
        let mut lags = Samples::default();
        for (came, due) in came.into_iter().flatten().zip(due) {
            lags.push(came.saturating_duration_since(due));
        }
        Ok(lags)
    }
}

async fn count(mut watching: Watching, events: Arc<AtomicUsize>) -> anyhow::Result<()> {
    loop {
        events.fetch_add(watching.events().await?, Ordering::Relaxed);
    }
}

async fn look_at(
    mut watching: Watching,
    events: Arc<AtomicUsize>,
    arrived: mpsc::UnboundedSender<(usize, Instant)>,
) -> anyhow::Result<()> {
    loop {
        let lines = watching.lines().await?;
        let now = Instant::now();
        for line in &lines {
            arrived.send((number_of(line)?, now))?;
        }
        // Told when all are sent, or somebody would look for them too soon.
        events.fetch_add(lines.len(), Ordering::Relaxed);
    }
}

/// The number of the pod that an event is about.
fn number_of(event: &[u8]) -> anyhow::Result<usize> {
    const NAME: &[u8] = br#""name":"pod-"#;
    let begin = memchr::memmem::find(event, NAME).context("an event names its pod")? + NAME.len();
    let digits = event[begin..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    Ok(std::str::from_utf8(&event[begin..begin + digits])?.parse()?)
}
