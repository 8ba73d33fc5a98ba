//! What the watches bring: taken over into the cluster, and told to the queue.

use std::sync::Arc;

use mizzen_reconcile::WatchCache;

use super::Scheduler;
use crate::budget::Budget;
use crate::framework::ClusterEvent;
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::volumes::VolumeCaches;

impl Scheduler {
    pub(super) fn observe_pods(self: &Arc<Self>) {
        let scheduler = Arc::downgrade(self);
        self.pods.on_change(move |change| {
            let Some(scheduler) = scheduler.upgrade() else { return };
            let events = scheduler.cluster.lock().set_pod(change.key, change.old, change.new);
            events.into_iter().for_each(|event| scheduler.queue.on_event(event));
            if let Some(old) = change.old.filter(|old| change.new.is_none_or(|new| new.uid != old.uid || new.terminating)) {
                scheduler.waiting.reject(&old.uid);
            }
            let waits = |pod: &PodInfo| waits(pod) && scheduler.profiles.has(&pod.scheduler);
            match change.new.filter(|pod| waits(pod)) {
                // Its own status tells of failures: only a change of what scheduling looks at is worth another try.
                Some(pod) if change.old.is_none_or(|old| old.uid != pod.uid || !waits(old) || differ(old, pod)) => {
                    scheduler.queue.add(change.key, pod.priority, pod.created);
                }
                Some(_) => {}
                None => scheduler.queue.remove(change.key),
            }
        });
    }

    pub(super) fn observe_nodes(self: &Arc<Self>, nodes: &WatchCache<NodeInfo>) {
        let scheduler = Arc::downgrade(self);
        nodes.on_change(move |change| {
            let Some(scheduler) = scheduler.upgrade() else { return };
            let event = scheduler.cluster.lock().set_node(&change.key.name, change.new);
            if let Some(event) = event {
                scheduler.queue.on_event(event);
            }
        });
    }

    pub(super) fn observe_budgets(self: &Arc<Self>, budgets: &WatchCache<Budget>) {
        let scheduler = Arc::downgrade(self);
        budgets.on_change(move |change| {
            if let Some(scheduler) = scheduler.upgrade() {
                scheduler.cluster.lock().set_budget(change.key, change.new);
            }
        });
    }

    pub(super) fn observe_volumes(self: &Arc<Self>, caches: &VolumeCaches) {
        let scheduler = Arc::downgrade(self);
        caches.tell(self.cluster.lock().volumes(), move || {
            if let Some(scheduler) = scheduler.upgrade() {
                scheduler.queue.on_event(ClusterEvent::VolumesChanged);
            }
        });
    }
}

/// Whether a pod is to be placed.
pub(super) fn waits(pod: &PodInfo) -> bool {
    pod.node.is_empty() && !pod.gated && !pod.terminating && !pod.finished
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
