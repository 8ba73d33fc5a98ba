//! Objects created at an even pace, whatever the server makes of it.

use std::ops::Range;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::https::Endpoint;

/// How many objects a pace makes in a time.
pub(crate) fn objects(per_second: usize, time: Duration) -> usize {
    (time.as_secs_f64() * per_second as f64) as usize
}

/// Creates one object for each number, spread evenly over time; says for each when it was asked for. Where a client was still
/// waiting for another answer then, that is when it should have asked.
///
/// # Errors
/// The first request that failed.
pub(crate) async fn create(
    endpoint: &Endpoint,
    clients: usize,
    per_second: usize,
    numbers: Range<usize>,
    object: impl Fn(usize) -> Value + Clone + Send + 'static,
) -> anyhow::Result<Vec<Instant>> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(endpoint.connect().await?);
    }
    let (first, count, begin) = (numbers.start, numbers.len(), Instant::now());
    let mut tasks = tokio::task::JoinSet::new();
    for (client, mut connection) in connections.into_iter().enumerate() {
        let object = object.clone();
        tasks.spawn(async move {
            let mut asked = Vec::new();
            for place in (client..count).step_by(clients) {
                let body = object(first + place).to_string();
                let due = begin + Duration::from_secs_f64(place as f64 / per_second as f64);
                let is_late = Instant::now() >= due;
                if !is_late {
                    tokio::time::sleep_until(due.into()).await;
                }
                asked.push((place, if is_late { due } else { Instant::now() }));
                connection.create(crate::fill::PODS, body.as_bytes()).await?;
            }
            Ok::<_, anyhow::Error>(asked)
        });
    }
    let mut when = vec![begin; count];
    while let Some(asked) = tasks.join_next().await {
        for (place, at) in asked?? {
            when[place] = at;
        }
    }
    Ok(when)
}
