//! Everything put together.

use std::path::Path;
use std::sync::Arc;

use mizzen_api::{GroupVersionResource, ObjectRef, Registry};
use mizzen_client::Client;
use mizzen_extensions::plugins::{ADMISSION_POLICIES, CLUSTER_ADMISSION_POLICIES, GROUP, Policies, Policy, VERSION};
use mizzen_reconcile::{Clock, Controller, Queue, Recorder, WatchCache, WatchSpec};
use parking_lot::Mutex;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::context::Views;
use crate::fetch::Registries;
use crate::policies::{LoadedPolicy, PolicyEngine, PolicyLoader};
use crate::reconcile::{Keeper, Kind, Loading};
use crate::table::Table;
use crate::trust::Trust;

const COMPONENT: &str = "mizzen-plugins";

/// The policies that are at work, for those who ask them. Empty until [`Plugins::open`] has filled it.
#[derive(Default)]
pub struct PolicyTables {
    cluster: Arc<Table<LoadedPolicy>>,
    namespaced: Arc<Table<LoadedPolicy>>,
}

impl Policies for PolicyTables {
    fn find(&self, object: &ObjectRef) -> Option<Arc<dyn Policy>> {
        let table = if object.namespace.is_empty() { &self.cluster } else { &self.namespaced };
        table.get(object).map(|live| live.plugin.clone() as Arc<dyn Policy>)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PluginsError {
    #[error("open the plugins' images: {0}")]
    Images(#[from] mizzen_images::ImageError),
    #[error("open the plugins' records: {0}")]
    Records(#[from] std::io::Error),
}

/// Keeps the plugins of a server. An engine that runs components is given to it, so that this crate links none.
pub struct Plugins {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    policies: [(Kind, Arc<Keeper<PolicyLoader>>); 2],
}

impl Plugins {
    /// Takes up what was at work when the last server ended, from `folder`, so that nothing passes unseen when the API is
    /// served after this.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub async fn open(
        folder: &Path,
        trust: Trust,
        tables: &PolicyTables,
        engine: Arc<dyn PolicyEngine>,
        client: Arc<dyn Client>,
        registry: Registry,
        clock: Arc<dyn Clock>,
        cancel: CancellationToken,
    ) -> Result<Self, PluginsError> {
        let fetch = Arc::new(Registries::open(folder, trust)?);
        let loader = PolicyLoader { engine, views: Arc::new(Views::new(client.clone(), registry, cancel)) };
        let keeper = |resource: &str, table: &Arc<Table<LoadedPolicy>>| {
            let records = folder.join("live").join(resource);
            Keeper::open(&records, fetch.clone(), loader.clone(), table.clone()).map(Arc::new)
        };
        let kind = |resource: &str, name| Kind { resource: GroupVersionResource::new(GROUP, VERSION, resource), name };
        let policies = [
            (kind(CLUSTER_ADMISSION_POLICIES, "ClusterAdmissionPolicy"), keeper(CLUSTER_ADMISSION_POLICIES, &tables.cluster)?),
            (kind(ADMISSION_POLICIES, "AdmissionPolicy"), keeper(ADMISSION_POLICIES, &tables.namespaced)?),
        ];
        for (kind, keeper) in &policies {
            Loading::restore(kind, &*client, keeper).await;
        }
        Ok(Self { client, clock, policies })
    }

    /// Follows the objects until `cancel`.
    pub fn start(self, cancel: CancellationToken) -> JoinHandle<()> {
        let recorder = Recorder::start(self.client.clone(), self.clock.clone(), COMPONENT, "");
        let mut running = JoinSet::new();
        for (kind, keeper) in self.policies {
            let queue = Queue::default();
            let objects = WatchCache::objects(WatchSpec::all(kind.resource.clone())).start(self.client.clone(), cancel.clone());
            objects.enqueue(&queue);
            let (client, clock, recorder) = (self.client.clone(), self.clock.clone(), recorder.clone());
            let loading = Loading { kind, client, clock, recorder, objects, keeper, tries: Mutex::default() };
            running.spawn(Controller::new("plugins", queue, Arc::new(loading)).run(cancel.clone()));
        }
        tokio::spawn(async move { while running.join_next().await.is_some() {} })
    }
}
