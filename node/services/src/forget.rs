//! Connections that lead nowhere, until the kernel has forgotten them: of UDP to endpoints that have left, and any that began
//! while there were no rules.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mizzen_network::Subnet;
use mizzen_reconcile::Backoff;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use crate::endpoints::Backend;

const RETRY: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30));

/// Has the kernel forget connections; answers how many. May block.
pub type Forget = Arc<dyn Fn(&Stale) -> io::Result<usize> + Send + Sync>;

/// Which connections lead nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stale {
    /// Those of UDP that lead to endpoints that have left.
    pub gone: BTreeSet<Backend>,
    /// After the rules have been away, or nobody has minded them, when nobody knows who has left meanwhile.
    pub strays: Option<Strays>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strays {
    /// Connections of UDP that lead from these to none of `endpoints` are stale,
    pub services: BTreeSet<IpAddr>,
    pub endpoints: BTreeSet<Backend>,
    /// and so is what asks for an address of these and is led nowhere, over whatever protocol.
    pub ranges: Vec<Subnet>,
}

impl Stale {
    pub fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.strays.is_none()
    }

    /// Whether a connection from a client to `address` that the kernel leads to `backend` is among them.
    pub fn has(&self, is_udp: bool, address: IpAddr, backend: &Backend) -> bool {
        let strays = self.strays.as_ref();
        // What goes to the endpoint by its own address was led by nobody.
        if address == backend.0 {
            return strays.is_some_and(|strays| strays.ranges.iter().any(|range| range.contains(address)));
        }
        let is_stray = |strays: &Strays| strays.services.contains(&address) && !strays.endpoints.contains(backend);
        is_udp && (self.gone.contains(backend) || strays.is_some_and(is_stray))
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
                    tracing::debug!(forgotten, "connections that lead nowhere");
                    failures = 0;
                }
                Err(error) => {
                    tracing::warn!(%error, "clients that go on may be led nowhere; this is tried again");
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
