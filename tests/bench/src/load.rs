//! A closed loop: each client writes its next document when the last one is acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::samples::Samples;

/// Clients at once, as the goals name them.
pub(crate) const CLIENTS: [usize; 3] = [1, 16, 256];
/// Bytes of each document's text.
pub(crate) const DOCUMENT: usize = 1000;

/// One client.
#[async_trait]
pub(crate) trait Writer: Send + 'static {
    /// Writes a document of [`DOCUMENT`] bytes under a name that was not used before.
    async fn write(&mut self, name: &str) -> anyhow::Result<()>;
}

pub(crate) struct Load {
    pub(crate) per_second: f64,
    pub(crate) latencies: Samples,
}

impl Load {
    pub(crate) fn summary(&self) -> String {
        format!("{:.0}/s ({})", self.per_second, self.latencies.summary())
    }
}

/// Lets all clients write for so long.
///
/// # Errors
/// The first write that failed.
pub(crate) async fn run(writers: Vec<Box<dyn Writer>>, time: Duration) -> anyhow::Result<Load> {
    let stop = Arc::new(AtomicBool::new(false));
    let clients = writers.len();
    let begin = Instant::now();
    let mut tasks = Vec::new();
    for (client, mut writer) in writers.into_iter().enumerate() {
        let stop = stop.clone();
        tasks.push(tokio::spawn(async move {
            let mut latencies = Samples::default();
            while !stop.load(Ordering::Relaxed) {
                let name = format!("{clients}-{client}-{}", latencies.count());
                let start = Instant::now();
                writer.write(&name).await?;
                latencies.push(start.elapsed());
            }
            Ok::<_, anyhow::Error>(latencies)
        }));
    }
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let mut latencies = Samples::default();
    for task in tasks {
        latencies.extend(task.await??);
    }
    Ok(Load { per_second: latencies.count() as f64 / begin.elapsed().as_secs_f64(), latencies })
}
