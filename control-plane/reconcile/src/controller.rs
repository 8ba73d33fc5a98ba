//! Runs a reconciler over a queue.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use mizzen_api::ObjectRef;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Error, Queue};

/// When to look at the key again, changes aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Done,
    RequeueAfter(Duration),
}

/// Reads the present state of one object and moves it one step towards the desired one. Must be idempotent: it runs
/// again after errors, restarts and for no reason at all.
#[async_trait]
pub trait Reconciler: Send + Sync + 'static {
    /// # Errors
    /// Any; the key is tried again with backoff.
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error>;
}

pub struct Controller {
    name: &'static str,
    queue: Queue,
    reconciler: Arc<dyn Reconciler>,
    workers: usize,
}

impl Controller {
    pub fn new(name: &'static str, queue: Queue, reconciler: Arc<dyn Reconciler>) -> Self {
        Self { name, queue, reconciler, workers: 1 }
    }

    /// Its name and its queue, for metrics.
    pub fn known_as(&self) -> (&'static str, Queue) {
        (self.name, self.queue.clone())
    }

    /// How many keys are worked on at a time.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// Works until `cancel`; a reconciliation under way is dropped at its next await, as a crash would.
    pub async fn run(self, cancel: CancellationToken) {
        let mut workers = JoinSet::new();
        for _ in 0..self.workers {
            workers.spawn(work(self.name, self.queue.clone(), self.reconciler.clone()));
        }
        cancel.cancelled().await;
        self.queue.close();
        workers.shutdown().await;
    }
}

async fn work(name: &'static str, queue: Queue, reconciler: Arc<dyn Reconciler>) {
    while let Some(key) = queue.next().await {
        let outcome = AssertUnwindSafe(reconciler.reconcile(key.clone())).catch_unwind().await;
        match outcome {
            Ok(Ok(Action::Done)) => queue.forget(&key),
            Ok(Ok(Action::RequeueAfter(delay))) => {
                queue.forget(&key);
                queue.add_after(key.clone(), delay);
            }
            Ok(Err(error)) => {
                if error.is_race() {
                    tracing::debug!(controller = name, %key, %error, "lost a race, trying again");
                } else {
                    tracing::warn!(controller = name, %key, %error, "reconciliation failed");
                }
                queue.retry(key.clone());
            }
            Err(_panic) => {
                // The panic hook has told where; one bad object must not stop the others.
                tracing::error!(controller = name, %key, "reconciliation panicked");
                queue.retry(key.clone());
            }
        }
        queue.done(&key);
    }
}
