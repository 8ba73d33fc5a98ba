//! Everything put together.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use mizzen_api::{GroupVersionResource, ObjectRef, Registry};
use mizzen_client::Client;
use mizzen_extensions::plugins::{
    ADMISSION_POLICIES, CLUSTER_ADMISSION_POLICIES, GROUP, Policies, Policy, SCHEDULER_PLUGINS, VERSION,
};
use mizzen_reconcile::{Clock, Controller, Queue, Recorder, WatchCache, WatchSpec};
use parking_lot::Mutex;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::context::Views;
use crate::fetch::Registries;
use crate::loads::Loads;
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

/// Keeps the plugins of a server. Engines that run components are given to it, so that this crate links none.
pub struct Plugins {
    folder: PathBuf,
    fetch: Arc<Registries>,
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    kept: Vec<Follow>,
}

/// What those have in common who follow the objects of a kind.
struct Following {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    cancel: CancellationToken,
}

type Follow = Box<dyn FnOnce(&Following) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

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
        let mut plugins = Self { folder: folder.to_owned(), fetch, client, clock, kept: Vec::new() };
        plugins.keep(CLUSTER_ADMISSION_POLICIES, "ClusterAdmissionPolicy", loader.clone(), &tables.cluster).await?;
        plugins.keep(ADMISSION_POLICIES, "AdmissionPolicy", loader, &tables.namespaced).await?;
        Ok(plugins)
    }

    /// Keeps scheduler plugins, too, and takes up those that were at work.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub async fn keep_schedulers<L: Loads>(&mut self, loads: L) -> Result<(), PluginsError> {
        self.keep(SCHEDULER_PLUGINS, "SchedulerPlugin", loads, &Arc::default()).await
    }

    async fn keep<L: Loads>(
        &mut self,
        resource: &str,
        name: &'static str,
        loads: L,
        table: &Arc<Table<L::Plugin>>,
    ) -> Result<(), PluginsError> {
        let kind = Kind { resource: GroupVersionResource::new(GROUP, VERSION, resource), name };
        let records = self.folder.join("live").join(resource);
        let keeper = Arc::new(Keeper::open(&records, self.fetch.clone(), loads, table.clone())?);
        Loading::restore(&kind, &*self.client, &keeper).await;
        self.kept.push(Box::new(move |following: &Following| {
            let Following { client, clock, recorder, cancel } = following;
            let queue = Queue::default();
            let objects = WatchCache::objects(WatchSpec::all(kind.resource.clone())).start(client.clone(), cancel.clone());
            objects.enqueue(&queue);
            let (client, clock, recorder) = (client.clone(), clock.clone(), recorder.clone());
            let loading = Loading { kind, client, clock, recorder, objects, keeper, tries: Mutex::default() };
            Box::pin(Controller::new("plugins", queue, Arc::new(loading)).run(cancel.clone()))
        }));
        Ok(())
    }

    /// Follows the objects until `cancel`.
    pub fn start(self, cancel: CancellationToken) -> JoinHandle<()> {
        let Self { client, clock, kept, .. } = self;
        let recorder = Recorder::start(client.clone(), clock.clone(), COMPONENT, "");
        let following = Following { client, clock, recorder, cancel };
        let mut running: JoinSet<()> = kept.into_iter().map(|follow| follow(&following)).collect();
        tokio::spawn(async move { while running.join_next().await.is_some() {} })
    }
}
