//! UDP connections that lead to endpoints that have left, until the kernel has forgotten them.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mizzen_reconcile::Backoff;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use crate::endpoints::Backend;

const RETRY: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30));

/// Has the kernel forget connections; answers how many. May block.
pub type Forget = Arc<dyn Fn(&Stale) -> io::Result<usize> + Send + Sync>;

/// Which UDP connections lead nowhere any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stale {
    /// Those that lead to endpoints that have left.
    pub gone: BTreeSet<Backend>,
    /// After a start, when nobody knows who has left meanwhile: those that lead from a service's address to no endpoint.
    pub strays: Option<Strays>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strays {
    pub services: BTreeSet<IpAddr>,
    pub endpoints: BTreeSet<Backend>,
}

impl Stale {
    pub fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.strays.is_none()
    }

    /// Whether a connection from a client to `address` that the kernel leads to `backend` is among them.
    pub fn has(&self, address: IpAddr, backend: &Backend) -> bool {
        // What goes to the endpoint by its own address was led by nobody.
        let is_led = address != backend.0;
        let is_stray = |strays: &Strays| strays.services.contains(&address) && !strays.endpoints.contains(backend);
        is_led && (self.gone.contains(backend) || self.strays.as_ref().is_some_and(is_stray))
    }

    fn add(&mut self, more: Self) {
        self.gone.extend(more.gone);
        self.strays = more.strays.or(self.strays.take());
    }
}

/// What is to be forgotten still.
pub(crate) struct Forgetter {
    forget: Forget,
    stale: Mutex<Stale>,
    wake: Notify,
}

impl Forgetter {
    pub(crate) fn new(forget: Forget) -> Self {
        Self { forget, stale: Mutex::default(), wake: Notify::new() }
    }

    pub(crate) fn add(&self, stale: Stale) {
        self.stale.lock().add(stale);
        self.wake.notify_one();
    }

    /// Never ends. Reading all of the kernel's connections can take long, and holds no rules up.
    pub(crate) async fn run(&self) {
        let mut failures = 0;
        loop {
            let stale = std::mem::take(&mut *self.stale.lock());
            if stale.is_empty() {
                self.wake.notified().await;
                continue;
            }
            let (forget, asked) = (self.forget.clone(), stale.clone());
            match spawn_blocking(move || forget(&asked)).await.unwrap_or_else(|error| Err(io::Error::other(error))) {
                Ok(forgotten) => {
                    tracing::debug!(forgotten, "UDP connections to endpoints that are gone");
                    failures = 0;
                }
                Err(error) => {
                    tracing::warn!(%error, "UDP clients that go on stay with endpoints that are gone; this is tried again");
                    // What was learnt since stands.
                    let since = std::mem::replace(&mut *self.stale.lock(), stale);
                    self.stale.lock().add(since);
                    tokio::time::sleep(RETRY.delay(failures)).await;
                    failures = failures.saturating_add(1);
                }
            }
        }
    }
}
