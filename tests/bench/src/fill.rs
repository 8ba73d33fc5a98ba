//! Many objects, created by several clients at once.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::https::Endpoint;

pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
pub(crate) const NODES: &str = "/api/v1/nodes";

/// Creates one object for each number, as fast as the server answers.
///
/// # Errors
/// The first request that failed.
pub(crate) async fn create(
    endpoint: &Endpoint,
    clients: usize,
    path: &'static str,
    numbers: Range<usize>,
    object: impl Fn(usize) -> Value + Clone + Send + 'static,
) -> anyhow::Result<()> {
    let next = Arc::new(AtomicUsize::new(numbers.start));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let (mut connection, next, object) = (endpoint.connect().await?, next.clone(), object.clone());
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= numbers.end {
                    return Ok::<_, anyhow::Error>(());
                }
                connection.create(path, object(number).to_string().as_bytes()).await?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}
