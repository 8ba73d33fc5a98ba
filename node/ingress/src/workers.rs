//! Threads that each serve their share of the connections, with a reactor of their own: a client's connection and those to
//! backends that it uses stay on one thread. On a runtime with several threads each event may wake another of them, which costs
//! more than the request itself.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The threads go on until this is dropped, and end without a last look at what they serve.
pub(crate) struct Workers {
    all: Vec<Worker>,
    _end: DropGuard,
}

struct Worker {
    runtime: Handle,
    busy: Arc<AtomicUsize>,
}

/// Counts as long as it lives.
struct Busy(Arc<AtomicUsize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// One for each processor.
    ///
    /// # Errors
    /// When a thread or its reactor cannot be had.
    pub(crate) fn start() -> io::Result<Self> {
        let end = CancellationToken::new();
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let all = (0..count).map(|_| Worker::start(end.clone())).collect::<io::Result<_>>()?;
        Ok(Self { all, _end: end.drop_guard() })
    }

    /// Has the thread with the least to serve run this until it ends.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let Some(worker) = self.all.iter().min_by_key(|worker| worker.busy.load(Ordering::Relaxed)) else { return };
        worker.busy.fetch_add(1, Ordering::Relaxed);
        let busy = Busy(worker.busy.clone());
        worker.runtime.spawn(async move {
            work.await;
            drop(busy);
        });
    }
}

impl Worker {
    fn start(end: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new().name("ingress".to_owned()).spawn(move || runtime.block_on(end.cancelled()))?;
        Ok(Self { runtime: handle, busy: Arc::default() })
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_is_served_is_shared_out_and_stays_where_it_is() {
        let workers = Workers::start().expect("has threads");
        let mut told = Vec::new();
        let mut ends = Vec::new();
        for _ in 0..2 * workers.all.len() {
            let ((tell, where_it_runs), (end, ended)) = (oneshot::channel(), oneshot::channel::<()>());
            workers.spawn(async move {
                let before = Handle::current().id();
                let _ = tell.send(before);
                let _ = ended.await;
                assert_eq!(Handle::current().id(), before);
            });
            told.push(where_it_runs.await.expect("runs"));
            ends.push(end);
        }
        for worker in &workers.all {
            let served = told.iter().filter(|id| **id == worker.runtime.id()).count();
            assert_eq!(served, 2, "each has as many as the others");
        }
    }
}
