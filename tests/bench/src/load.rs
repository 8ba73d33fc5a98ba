//! A closed loop: each client asks again when it is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::cpu::Used;
use crate::samples::Samples;

/// Clients at once, as the goals for writes name them.
pub(crate) const CLIENTS: [usize; 3] = [1, 16, 256];
/// Bytes of each document's text.
pub(crate) const DOCUMENT: usize = 1000;

/// One client.
#[async_trait]
pub(crate) trait Caller: Send + 'static {
    /// One request, its answer awaited; `turn` counts this client's. `false` when there is nothing left to ask for.
    async fn call(&mut self, turn: usize) -> anyhow::Result<bool>;

    /// Between two requests; nobody measures it.
    async fn rest(&mut self) {}
}

pub(crate) struct Load {
    pub(crate) per_second: f64,
    pub(crate) latencies: Samples,
    /// Processor time of each request.
    pub(crate) cpu: String,
}

impl Load {
    pub(crate) fn summary(&self) -> String {
        format!("{:.0}/s ({})", self.per_second, self.latencies.summary())
    }
}

/// Lets all clients ask for so long, or until they have nothing left. `server` is the process that answers, if it is not
/// this one.
///
/// # Errors
/// The first request that failed.
pub(crate) async fn run(callers: Vec<Box<dyn Caller>>, time: Duration, server: Option<u32>) -> anyhow::Result<Load> {
    let stop = Arc::new(AtomicBool::new(false));
    let (begin, before) = (Instant::now(), Used::now(server));
    let mut tasks = Vec::new();
    for mut caller in callers {
        let stop = stop.clone();
        tasks.push(tokio::spawn(async move {
            let mut latencies = Samples::default();
            while !stop.load(Ordering::Relaxed) {
                let start = Instant::now();
                if !caller.call(latencies.count()).await? {
                    break;
                }
                latencies.push(start.elapsed());
                caller.rest().await;
            }
            Ok::<_, anyhow::Error>(latencies)
        }));
    }
    let mut all = futures::future::try_join_all(tasks);
    let ended = match tokio::time::timeout(time, &mut all).await {
        Ok(ended) => ended?,
        Err(_) => {
            stop.store(true, Ordering::Relaxed);
            all.await?
        }
    };
    let (took, after) = (begin.elapsed(), Used::now(server));
    let mut latencies = Samples::default();
    for client in ended {
        latencies.extend(client?);
    }
    let count = latencies.count();
    Ok(Load { per_second: count as f64 / took.as_secs_f64(), latencies, cpu: after.each_since(&before, count) })
}
