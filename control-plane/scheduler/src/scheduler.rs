//! The scheduling loop: takes the next pod, decides, assumes, and binds while the next one is already decided on.

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use mizzen_api::ObjectRef;
use mizzen_client::Client;
use mizzen_reconcile::typed::gvr;
use mizzen_reconcile::{Clock, Recorder, WatchCache, WatchSpec};
use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::binding::Binder;
use crate::cluster::Cluster;
use crate::cycle::Cycle;
use crate::diagnosis::Diagnosis;
use crate::framework::{ALL_EVENTS, ClusterEvent, Plugin};
use crate::node::NodeInfo;
use crate::plugins;
use crate::pod::PodInfo;
use crate::queue::SchedulingQueue;

/// Bindings under way at a time.
const BINDING: usize = 64;

pub struct SchedulerConfig {
    /// The API as seen by `system:kube-scheduler`.
    pub client: Arc<dyn Client>,
    pub clock: Arc<dyn Clock>,
    pub cancel: CancellationToken,
    /// Which pods are this scheduler's: `spec.schedulerName`, most often `default-scheduler`.
    pub name: String,
    /// Fixes the choice among equally good nodes.
    pub seed: u64,
    /// Asked after the native plugins.
    pub more_plugins: Vec<Arc<dyn Plugin>>,
}

impl SchedulerConfig {
    /// The default scheduler, with the native plugins only.
    pub fn new(client: Arc<dyn Client>, clock: Arc<dyn Clock>, cancel: CancellationToken, seed: u64) -> Self {
        Self { client, clock, cancel, name: "default-scheduler".to_owned(), seed, more_plugins: Vec::new() }
    }
}

pub struct Scheduler {
    pods: Arc<WatchCache<PodInfo>>,
    cluster: Mutex<Cluster>,
    queue: SchedulingQueue,
    binder: Binder,
    bindings: Arc<Semaphore>,
}

impl Scheduler {
    /// Starts to schedule once the caches have synced; the handle ends after `cancel`.
    pub fn start(config: SchedulerConfig) -> JoinHandle<()> {
        tokio::spawn(async move {
            let cancel = config.cancel.clone();
            tokio::select! {
                () = cancel.cancelled() => {}
                () = run(config) => {}
            }
        })
    }

    fn observe_pods(self: &Arc<Self>, name: String) {
        let scheduler = Arc::downgrade(self);
        self.pods.on_change(move |change| {
            let Some(scheduler) = scheduler.upgrade() else { return };
            let event = scheduler.cluster.lock().set_pod(change.key, change.new);
            if let Some(event) = event {
                scheduler.queue.on_event(event);
            }
            match change.new.filter(|pod| waits(pod, &name)) {
                // Its own status tells of failures: only a change of what scheduling looks at is worth another try.
                Some(pod) if change.old.is_none_or(|old| old.uid != pod.uid || !waits(old, &name) || differ(old, pod)) => {
                    scheduler.queue.add(change.key, pod.priority, pod.created);
                }
                Some(_) => {}
                None => scheduler.queue.remove(change.key),
            }
        });
    }

    fn observe_nodes(self: &Arc<Self>, nodes: &WatchCache<NodeInfo>) {
        let scheduler = Arc::downgrade(self);
        nodes.on_change(move |change| {
            let Some(scheduler) = scheduler.upgrade() else { return };
            let event = scheduler.cluster.lock().set_node(&change.key.name, change.new);
            if let Some(event) = event {
                scheduler.queue.on_event(event);
            }
        });
    }

    async fn schedule(self: &Arc<Self>, key: ObjectRef, cycle: &mut Cycle, random: &mut StdRng) {
        let Some(pod) = self.pods.get(&key).filter(|pod| pod.node.is_empty() && !pod.terminating) else {
            self.queue.remove(&key);
            return;
        };
        let snapshot = {
            let mut cluster = self.cluster.lock();
            if cluster.is_placed(&pod) {
                return;
            }
            cluster.snapshot()
        };
        match cycle.run(&pod, &snapshot, random) {
            Ok(node) => self.assume_and_bind(pod, node).await,
            Err(diagnosis) => {
                self.queue.unschedulable(&key, wakes_on(cycle.plugins(), &diagnosis));
                let message = diagnosis.message();
                tracing::debug!(pod = %key, message, "unschedulable");
                self.binder.tell_failure(&pod, "Unschedulable", &message).await;
            }
        }
    }

    async fn assume_and_bind(self: &Arc<Self>, pod: Arc<PodInfo>, node: String) {
        self.cluster.lock().assume(&pod, &node);
        for (at, plugin) in self.binder.plugins.iter().enumerate() {
            if let Err(error) = plugin.reserve(&pod, &node) {
                self.binder.plugins[..=at].iter().rev().for_each(|plugin| plugin.unreserve(&pod, &node));
                return self.take_back(&pod, &error.to_string()).await;
            }
        }
        let permit = self.bindings.clone().acquire_owned().await;
        let scheduler = self.clone();
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = scheduler.binder.bind(&pod, &node).await {
                tracing::debug!(pod = %pod.key, %error, "binding failed");
                scheduler.take_back(&pod, &error.to_string()).await;
            }
        });
    }

    async fn take_back(&self, pod: &PodInfo, error: &str) {
        self.cluster.lock().forget(pod);
        self.queue.failed(&pod.key);
        self.queue.on_event(ClusterEvent::PodLeft);
        // A pod that went away meanwhile is no failure to tell of.
        if self.pods.get(&pod.key).is_some_and(|present| present.uid == pod.uid && present.node.is_empty()) {
            self.binder.tell_failure(pod, "SchedulerError", error).await;
        }
    }
}

async fn run(config: SchedulerConfig) {
    let mut all_plugins = plugins::all();
    all_plugins.extend(config.more_plugins);
    let (client, cancel) = (config.client, config.cancel);
    let pods = WatchCache::projected(WatchSpec::all(gvr::<Pod>()), PodInfo::of).start(client.clone(), cancel.child_token());
    let nodes = WatchCache::projected(WatchSpec::all(gvr::<Node>()), NodeInfo::of).start(client.clone(), cancel.child_token());
    nodes.synced().await;
    pods.synced().await;
    let binder = Binder {
        recorder: Recorder::start(client.clone(), config.clock.clone(), &config.name, ""),
        clock: config.clock,
        client,
        plugins: all_plugins.clone(),
    };
    let scheduler = Arc::new(Scheduler {
        pods,
        cluster: Mutex::new(Cluster::default()),
        queue: SchedulingQueue::default(),
        binder,
        bindings: Arc::new(Semaphore::new(BINDING)),
    });
    scheduler.observe_nodes(&nodes);
    scheduler.observe_pods(config.name);
    let mut cycle = Cycle::new(all_plugins);
    let mut random = StdRng::seed_from_u64(config.seed);
    loop {
        let key = scheduler.queue.next().await;
        scheduler.schedule(key, &mut cycle, &mut random).await;
    }
}

/// Whether a pod is this scheduler's to place.
fn waits(pod: &PodInfo, scheduler: &str) -> bool {
    pod.node.is_empty() && pod.scheduler == scheduler && !pod.gated && !pod.terminating && !pod.finished
}

/// Whether something that scheduling looks at is different.
fn differ(old: &PodInfo, new: &PodInfo) -> bool {
    old.labels != new.labels
        || old.requests != new.requests
        || old.tolerations != new.tolerations
        || old.node_selector != new.node_selector
        || old.affinity != new.affinity
        || old.priority != new.priority
}

fn wakes_on(plugins: &[Arc<dyn Plugin>], diagnosis: &Diagnosis) -> HashSet<ClusterEvent> {
    if diagnosis.plugins.is_empty() {
        return ALL_EVENTS.iter().copied().collect();
    }
    let rejecting = plugins.iter().filter(|plugin| diagnosis.plugins.contains(plugin.name()));
    rejecting.flat_map(|plugin| plugin.wakes_on()).copied().collect()
}
