//! Hollow nodes: simulated nodes that register with a real server, renew their leases, and say of the pods bound to them
//! that they run, fail and finish, as a profile has it. Nothing is started. Thousands share one process.
//!
//! One watch of pods serves all nodes; a pod's next step follows from its document and its rule alone ([`pod`]), so that
//! hollow nodes can be restarted at any time.

mod leases;
mod nodes;
pub mod pod;
mod pods;
pub mod profile;

use std::sync::Arc;

use mizzen_client::Client;
use mizzen_reconcile::Clock;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use profile::{Profile, ProfileError};

use crate::nodes::Nodes;

/// Requests under way at a time, of each kind.
const AT_ONCE: usize = 64;

pub struct HollowConfig {
    /// Has to be allowed to act for all the nodes, as an administrator is.
    pub client: Arc<dyn Client>,
    pub clock: Arc<dyn Clock>,
    /// How many nodes.
    pub count: usize,
    /// Nodes are called `PREFIX-NUMBER`, from 0 on.
    pub prefix: String,
    pub profile: Profile,
}

/// Nodes that it acts for from [`Hollow::start`] on.
pub struct Hollow {
    nodes: Arc<Nodes>,
    tasks: JoinSet<()>,
    cancel: CancellationToken,
}

impl Hollow {
    pub fn new(config: HollowConfig) -> Self {
        let HollowConfig { client, clock, count, prefix, profile } = config;
        let nodes = Arc::new(Nodes { client, clock, prefix, count, profile: Arc::new(profile) });
        Self { nodes, tasks: JoinSet::new(), cancel: CancellationToken::new() }
    }

    /// Registers the nodes, or takes up those that are there; they live when this returns. When it is given up or fails, some
    /// may be there: [`Hollow::remove`] takes them away.
    ///
    /// # Errors
    /// What the server answered to the first one that it refused.
    pub async fn start(&mut self) -> Result<(), mizzen_reconcile::Error> {
        let Self { nodes, tasks, cancel } = self;
        nodes.register().await?;
        tasks.spawn(leases::run(nodes.clone()));
        tasks.spawn(nodes::heartbeats(nodes.clone()));
        tasks.spawn(pods::run(nodes.clone(), cancel.clone()));
        Ok(())
    }

    /// Stops to act for the nodes, which the server will find NotReady, and deletes them; their pods and leases are collected
    /// after them. Answers how many could not be deleted.
    pub async fn remove(mut self) -> usize {
        self.cancel.cancel();
        self.tasks.shutdown().await;
        self.nodes.delete().await
    }
}
