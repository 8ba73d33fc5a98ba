//! The scheduling loop: takes the next pod, decides, assumes, and binds while the next one is already decided on.

mod observe;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use mizzen_api::{Object, ObjectRef};
use mizzen_client::Client;
use mizzen_reconcile::typed::gvr;
use mizzen_reconcile::{Clock, Recorder, WatchCache, WatchSpec};
use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::observe::waits;
use crate::binding::{Binder, Nominated};
use crate::budget::Budget;
use crate::cluster::{Cluster, Follower};
use crate::cycle::{Cycle, Decision};
use crate::diagnosis::Diagnosis;
use crate::explain::Explainer;
use crate::framework::{ALL_EVENTS, ClusterEvent, PluginError, Point};
use crate::node::NodeInfo;
use crate::onlookers::Onlookers;
use crate::permit::WaitingPods;
use crate::pod::PodInfo;
use crate::profile::{Profile, Profiles};
use crate::queue::SchedulingQueue;
use crate::snapshot::Snapshot;
use crate::volumes::VolumeCaches;

/// As tools that look at the process show it.
const THREAD: &str = "scheduler";
/// Decisions that are being carried out at a time.
const UNDER_WAY: usize = 256;

pub struct SchedulerConfig {
    /// The API as seen by `system:kube-scheduler`.
    pub client: Arc<dyn Client>,
    pub clock: Arc<dyn Clock>,
    pub cancel: CancellationToken,
    /// Which pods are this scheduler's, by `spec.schedulerName`, and which plugins decide about them.
    pub profiles: Arc<Profiles>,
    /// How many feasible nodes of a hundred are enough to choose from; 0 for a share by the size of the cluster.
    pub percentage_of_nodes_to_score: u8,
    /// Fixes the choice among equally good nodes.
    pub seed: u64,
    /// Answers for this scheduler from now on.
    pub explainer: Explainer,
}

pub struct Scheduler {
    pods: Arc<WatchCache<PodInfo>>,
    pub(crate) profiles: Arc<Profiles>,
    pub(crate) cluster: Mutex<Cluster>,
    pub(crate) queue: SchedulingQueue,
    pub(crate) binder: Binder,
    /// They hold up nobody else, however many they are and however long it takes.
    pub(crate) waiting: WaitingPods,
    onlookers: Onlookers,
    under_way: Arc<Semaphore>,
}

/// What only the loop has.
struct Loop {
    cycle: Cycle,
    snapshot: Snapshot,
    follower: Follower,
    random: StdRng,
}

impl Scheduler {
    /// Starts to schedule once the caches have synced; the handle ends after `cancel`.
    pub fn start(config: SchedulerConfig) -> JoinHandle<()> {
        let running = async move {
            let cancel = config.cancel.clone();
            tokio::select! {
                () = cancel.cancelled() => {}
                () = run(config) => {}
            }
        };
        let runtime = Handle::current();
        match runtime.runtime_flavor() {
            // Decisions take long, by a component as long as it may: on a thread of their own they hold up nobody.
            RuntimeFlavor::MultiThread => {
                let (running_still, ended) = oneshot::channel::<()>();
                let thread = std::thread::Builder::new().name(THREAD.to_owned()).spawn(move || {
                    runtime.block_on(running);
                    drop(running_still);
                });
                tokio::spawn(async move {
                    match thread {
                        // That it is dropped is what is waited for.
                        Ok(_) => drop(ended.await),
                        Err(error) => tracing::error!(%error, "the scheduler has no thread"),
                    }
                })
            }
            _ => tokio::spawn(running),
        }
    }

    /// All nodes as they are now, as if the pod had none.
    pub(crate) fn without(&self, pod: &PodInfo) -> Snapshot {
        let view = self.cluster.lock().view();
        view.without(pod)
    }

    async fn schedule(self: &Arc<Self>, key: ObjectRef, own: &mut Loop) {
        let pod = self.pods.get(&key).filter(|pod| pod.node.is_empty() && !pod.terminating);
        let profile = pod.as_ref().and_then(|pod| self.profiles.get(&pod.scheduler));
        let (Some(mut pod), Some(profile)) = (pod, profile) else {
            self.queue.remove(&key);
            return;
        };
        {
            let mut cluster = self.cluster.lock();
            if cluster.is_placed(&pod) {
                return;
            }
            // The API may not have shown it yet.
            if let Some(nominated) = cluster.nomination(&pod.uid) {
                Arc::make_mut(&mut pod).nominated_node.clone_from(&nominated.nominated_node);
            }
            cluster.refresh(&own.follower, &mut own.snapshot);
        }
        match own.cycle.run(&profile, &pod, &own.snapshot, &mut own.random) {
            Ok(decision) => self.assume_and_bind(profile, pod, decision).await,
            Err(diagnosis) => {
                profile.end(&pod);
                self.leave_waiting(&pod, *diagnosis).await;
            }
        }
    }

    async fn leave_waiting(self: &Arc<Self>, pod: &Arc<PodInfo>, diagnosis: Diagnosis) {
        let message = diagnosis.message();
        tracing::debug!(pod = %pod.key, message, "unschedulable");
        if let Some(to) = &diagnosis.nomination {
            if !self.keep_room(pod, &to.node) {
                return self.queue.unschedulable(&pod.key, wakes_on(&diagnosis));
            }
            let (scheduler, pod, to, wakes_on) = (self.clone(), pod.clone(), to.clone(), wakes_on(&diagnosis));
            return self.carry_out(async move { scheduler.make_room(&pod, &to, &message, wakes_on).await }).await;
        }
        let mut nominated = Nominated::AsItIs;
        if diagnosis.clears_nomination && self.forget_nomination(pod) {
            nominated = Nominated::Nowhere;
        }
        if diagnosis.has_failure {
            self.queue.failed(&pod.key);
        } else {
            self.queue.unschedulable(&pod.key, wakes_on(&diagnosis));
        }
        let (scheduler, pod) = (self.clone(), pod.clone());
        self.carry_out(async move {
            scheduler.binder.tell_failure(&pod, "Unschedulable", &message, nominated).await;
        })
        .await;
    }

    /// Whether the pod is still there and to be placed.
    pub(crate) fn is_waiting(&self, pod: &PodInfo) -> bool {
        self.pods.get(&pod.key).is_some_and(|present| present.uid == pod.uid && waits(&present))
    }

    /// Nominates a pod; answers whether it is still there.
    fn keep_room(&self, pod: &PodInfo, node: &str) -> bool {
        let is_moved = self.cluster.lock().nominate(pod, node);
        if is_moved {
            self.queue.on_event(ClusterEvent::PodLeft);
        }
        // The cache changes before anybody is told: either it shows here that the pod is gone, or the change is yet to come.
        let is_waiting = self.is_waiting(pod);
        if !is_waiting {
            self.forget_nomination(pod);
        }
        is_waiting
    }

    /// Gives up the room that is kept for a pod; answers whether there was any.
    pub(crate) fn forget_nomination(&self, pod: &PodInfo) -> bool {
        let had = self.cluster.lock().forget_nomination(pod);
        if had {
            self.queue.on_event(ClusterEvent::PodLeft);
        }
        had
    }

    /// Talks to the API while the next pod is decided on; waits while too much is under way.
    async fn carry_out(&self, work: impl Future<Output = ()> + Send + 'static) {
        // The semaphore is never closed.
        let permit = self.under_way.clone().acquire_owned().await;
        tokio::spawn(async move {
            let _permit = permit;
            work.await;
        });
    }

    async fn assume_and_bind(self: &Arc<Self>, profile: Arc<Profile>, pod: Arc<PodInfo>, decision: Decision) {
        let node = decision.node().to_owned();
        if profile.shadows().next().is_some() {
            self.onlookers.show(self, &profile, &pod, decision);
        }
        let is_freed = self.cluster.lock().assume(&pod, &node);
        if is_freed {
            self.queue.on_event(ClusterEvent::PodLeft);
        }
        let reserving: Vec<_> = profile.at(Point::Reserve).map(|(_, plugin)| plugin.clone()).collect();
        for (at, plugin) in reserving.iter().enumerate() {
            if let Err(error) = plugin.reserve(&pod, &node) {
                reserving[..=at].iter().rev().for_each(|plugin| plugin.unreserve(&pod, &node));
                profile.end(&pod);
                self.take_back(&pod);
                let scheduler = self.clone();
                return self.carry_out(async move { scheduler.tell_error(&pod, &error.to_string()).await }).await;
            }
        }
        let scheduler = self.clone();
        if profile.at(Point::Permit).next().is_none() {
            return self.carry_out(async move { scheduler.bind(&profile, &pod, &node).await }).await;
        }
        let rejected = self.waiting.begin(&pod.uid);
        // One that left during its cycle is not told of any more.
        if !self.is_waiting(&pod) {
            rejected.cancel();
        }
        // Before it takes a seat: others get theirs meanwhile.
        tokio::spawn(async move {
            let leave = async {
                for (_, plugin) in profile.at(Point::Permit) {
                    plugin.permit(&pod, &node).await?;
                }
                Ok(())
            };
            let given = scheduler.waiting.wait(&pod.uid, rejected, leave).await;
            let of = scheduler.clone();
            match given {
                Ok(()) => scheduler.carry_out(async move { of.bind(&profile, &pod, &node).await }).await,
                Err(error) => {
                    scheduler.give_back(&profile, &pod, &node, &error);
                    scheduler.carry_out(async move { of.tell_error(&pod, &error.to_string()).await }).await;
                }
            }
        });
    }

    async fn bind(&self, profile: &Profile, pod: &PodInfo, node: &str) {
        match self.binder.bind(profile, pod, node).await {
            Ok(()) => profile.end(pod),
            Err(error) => {
                self.give_back(profile, pod, node, &error);
                self.tell_error(pod, &error.to_string()).await;
            }
        }
    }

    /// The pod does not get its node, what plugins reserved included.
    fn give_back(&self, profile: &Profile, pod: &PodInfo, node: &str, error: &PluginError) {
        tracing::debug!(pod = %pod.key, %error, "binding failed");
        profile.at(Point::Reserve).rev().for_each(|(_, plugin)| plugin.unreserve(pod, node));
        profile.end(pod);
        self.take_back(pod);
    }

    fn take_back(&self, pod: &PodInfo) {
        self.cluster.lock().forget(pod);
        self.queue.failed(&pod.key);
        self.queue.on_event(ClusterEvent::PodLeft);
    }

    async fn tell_error(&self, pod: &PodInfo, error: &str) {
        // A pod that went away meanwhile is no failure to tell of.
        if self.is_waiting(pod) {
            self.binder.tell_failure(pod, "SchedulerError", error, Nominated::AsItIs).await;
        }
    }
}

async fn run(config: SchedulerConfig) {
    let (client, cancel, clock) = (config.client, config.cancel, config.clock);
    let profiles = config.profiles;
    let asked = profiles.clone();
    let seen = move |object: &Arc<Object>| PodInfo::of(object).filter(|pod| matters(pod, &asked));
    let pods = WatchCache::projected(WatchSpec::all(gvr::<Pod>()), seen).start(client.clone(), cancel.child_token());
    let nodes = WatchCache::projected(WatchSpec::all(gvr::<Node>()), NodeInfo::of).start(client.clone(), cancel.child_token());
    let budgets = WatchCache::projected(WatchSpec::all(gvr::<PodDisruptionBudget>()), Budget::of);
    let budgets = budgets.start(client.clone(), cancel.child_token());
    let volumes = VolumeCaches::start(&client, &cancel);
    nodes.synced().await;
    pods.synced().await;
    budgets.synced().await;
    volumes.synced().await;
    let recorder = |name: &str| (name.to_owned(), Recorder::start(client.clone(), clock.clone(), name, ""));
    let recorders: HashMap<String, Recorder> = profiles.names().map(recorder).collect();
    let mut plugin_changes = profiles.changes();
    let scheduler = Arc::new(Scheduler {
        pods,
        profiles,
        cluster: Mutex::new(Cluster::default()),
        queue: SchedulingQueue::default(),
        binder: Binder { client, clock, recorders },
        waiting: WaitingPods::default(),
        onlookers: Onlookers::default(),
        under_way: Arc::new(Semaphore::new(UNDER_WAY)),
    });
    config.explainer.answer_for(&scheduler);
    scheduler.observe_budgets(&budgets);
    scheduler.observe_volumes(&volumes);
    scheduler.observe_nodes(&nodes);
    scheduler.observe_pods();
    let mut own = Loop {
        cycle: Cycle::new(config.percentage_of_nodes_to_score),
        snapshot: Snapshot::default(),
        follower: scheduler.cluster.lock().follow(),
        random: StdRng::seed_from_u64(config.seed),
    };
    loop {
        tokio::select! {
            biased;
            // The sender lives in the profiles, so that this cannot fail.
            Ok(()) = plugin_changes.changed() => scheduler.queue.on_event(ClusterEvent::PluginsChanged),
            key = scheduler.queue.next() => scheduler.schedule(key, &mut own).await,
        }
    }
}

/// Whether a pod takes room on a node, has room kept for it, or may come to be placed here. A pod that has ended does none of it, and
/// what other schedulers are to place does not yet.
fn matters(pod: &PodInfo, profiles: &Profiles) -> bool {
    !pod.finished && (!pod.node.is_empty() || !pod.nominated_node.is_empty() || profiles.has(&pod.scheduler))
}

fn wakes_on(diagnosis: &Diagnosis) -> HashSet<ClusterEvent> {
    let mut events = diagnosis.wakes_on().cloned().unwrap_or_else(|| ALL_EVENTS.iter().copied().collect());
    events.insert(ClusterEvent::PluginsChanged);
    if diagnosis.nomination.is_some() {
        events.insert(ClusterEvent::PodLeft);
    }
    events
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use mizzen_api::{GroupVersionResource, Object, Reason, Status};
    use mizzen_client::{ApiRequest, ApiResponse, ListOptions, ObjectList, WatchOptions, WatchStream};
    use mizzen_reconcile::SystemClock;

    use super::*;

    /// An API that has nothing.
    struct Nothing;

    fn nothing<T>() -> Result<T, Status> {
        Err(Status::new(Reason::NotFound, "there is nothing"))
    }

    #[async_trait]
    impl Client for Nothing {
        async fn get(&self, _: &GroupVersionResource, _: &str, _: &str) -> Result<Arc<Object>, Status> {
            nothing()
        }

        async fn list(&self, _: &GroupVersionResource, _: &str, _: &ListOptions) -> Result<ObjectList, Status> {
            nothing()
        }

        async fn watch(&self, _: &GroupVersionResource, _: &str, _: &WatchOptions) -> Result<WatchStream, Status> {
            nothing()
        }

        async fn write(&self, _: ApiRequest) -> Result<ApiResponse, Status> {
            nothing()
        }

        async fn discover(&self) -> Result<Arc<mizzen_client::Discovery>, Status> {
            nothing()
        }
    }

    #[tokio::test]
    async fn no_room_is_kept_for_a_pod_that_left_during_its_cycle() {
        let client: Arc<dyn Client> = Arc::new(Nothing);
        let cancel = CancellationToken::new();
        let pods = WatchCache::projected(WatchSpec::all(gvr::<Pod>()), PodInfo::of).start(client.clone(), cancel.clone());
        let scheduler = Scheduler {
            pods,
            profiles: Profiles::new(Vec::new()).expect("is valid"),
            cluster: Mutex::default(),
            queue: SchedulingQueue::default(),
            binder: Binder { client, clock: Arc::new(SystemClock), recorders: HashMap::new() },
            waiting: WaitingPods::default(),
            onlookers: Onlookers::default(),
            under_way: Arc::new(Semaphore::new(1)),
        };
        let gone = PodInfo { key: ObjectRef::new("d", "gone").into(), uid: "u1".into(), ..PodInfo::default() };
        assert!(!scheduler.keep_room(&gone, "n1"));
        assert!(scheduler.cluster.lock().nomination("u1").is_none());
        cancel.cancel();
    }
}
