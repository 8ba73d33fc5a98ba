//! Pod garbage collection: pods that nobody else will finish: on nodes that are gone or out of service, deleted before they
//! were scheduled, or finished and too many.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod};
use mizzen_api::ObjectRef;
use mizzen_client::{Client, DeleteOptions, PatchKind};
use mizzen_reconcile::{Clock, Error, WatchCache, typed};
use serde_json::json;

use crate::context::Context;
use crate::node::is_out_of_service;
use crate::pod_view::PodView;
use crate::time::whole_seconds;

const NAME: &str = "pod-garbage-collector";
const PERIOD: Duration = Duration::from_secs(20);
/// A node has to be missing for so long before its pods count as orphaned.
const QUARANTINE: SignedDuration = SignedDuration::from_secs(40);
/// More finished pods than this are not kept.
const FINISHED: usize = 12_500;

pub(crate) fn start(context: &Context) {
    let collector = PodGc {
        client: context.client(NAME),
        clock: context.clock.clone(),
        pods: context.caches.pods.clone(),
        nodes: context.caches.nodes.clone(),
    };
    let cancel = context.cancel.clone();
    context.spawn(async move {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = collector.run() => {}
        }
    });
}

struct PodGc {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    pods: Arc<WatchCache<PodView>>,
    nodes: Arc<WatchCache>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Its node is gone.
    Orphaned,
    /// It is being deleted, and its node does not answer and is said to be out of service.
    OutOfService,
    /// It is being deleted and has no node to end it.
    Unscheduled,
    /// It is finished and among the oldest of too many.
    TooMany,
}

impl PodGc {
    async fn run(self) {
        let mut missing = HashMap::new();
        loop {
            tokio::time::sleep(PERIOD).await;
            if let Err(error) = self.collect(&mut missing).await {
                tracing::warn!(%error, "pod garbage collection failed");
            }
        }
    }

    async fn collect(&self, missing: &mut HashMap<String, Timestamp>) -> Result<(), Error> {
        let pods = self.pods.list();
        let present: HashSet<String> = self.nodes.keys().into_iter().map(|key| key.name).collect();
        let now = self.clock.now();
        let mut gone = HashSet::new();
        for name in missing_for_long(&pods, &present, missing, now) {
            if typed::get_object::<Node>(self.client.as_ref(), "", &name).await?.is_none() {
                gone.insert(name);
            }
        }
        let lost = Lost { gone, out_of_service: self.out_of_service(&pods) };
        for (pod, why) in decide(&pods, &lost, FINISHED) {
            tracing::info!(pod = %pod.key, ?why, "collecting");
            self.delete(&pod, why, now).await?;
        }
        Ok(())
    }

    /// Names of nodes that pods which are being deleted are on and that will not end them.
    fn out_of_service(&self, pods: &[Arc<PodView>]) -> HashSet<String> {
        let asked: HashSet<&String> = pods.iter().filter(|pod| pod.terminating).map(|pod| &pod.node).collect();
        let is_out = |name: &&String| {
            let node = self.nodes.get(&ObjectRef::new("", name.as_str()));
            node.and_then(|node| node.decode::<Node>().ok()).is_some_and(|node| is_out_of_service(&node))
        };
        asked.into_iter().filter(is_out).cloned().collect()
    }

    /// A pod that others hold by finalizers is still there afterwards, and nobody else would say how it ended.
    async fn delete(&self, pod: &PodView, why: Why, now: Timestamp) -> Result<(), Error> {
        let (namespace, name) = (&pod.key.namespace, &pod.key.name);
        if !pod.is_finished() {
            let mut patch = json!({"metadata": {"uid": pod.uid}, "status": {"phase": "Failed"}});
            if why == Why::Orphaned {
                patch["status"]["conditions"] = json!([{
                    "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
                    "message": "PodGC: node no longer exists", "lastTransitionTime": whole_seconds(now).to_string(),
                }]);
            }
            match typed::patch::<Pod>(self.client.as_ref(), namespace, name, "status", PatchKind::Strategic, patch).await {
                Err(error) if !error.is_race() => return Err(error),
                _ => {}
            }
        }
        let options = DeleteOptions { uid: Some(pod.uid.clone()), grace_period_seconds: Some(0), ..DeleteOptions::default() };
        typed::delete::<Pod>(self.client.as_ref(), namespace, name, options).await.map(drop)
    }
}

/// Names of nodes that pods are on and that have been missing for the quarantine; `missing` remembers since when.
fn missing_for_long(
    pods: &[Arc<PodView>],
    present: &HashSet<String>,
    missing: &mut HashMap<String, Timestamp>,
    now: Timestamp,
) -> Vec<String> {
    let absent: HashSet<&String> = pods.iter().map(|pod| &pod.node).filter(|n| !n.is_empty() && !present.contains(*n)).collect();
    missing.retain(|name, _| absent.contains(name));
    for name in absent {
        missing.entry(name.clone()).or_insert(now);
    }
    missing.iter().filter(|(_, since)| now.duration_since(**since) >= QUARANTINE).map(|(name, _)| name.clone()).collect()
}

/// Names of nodes that end no pods any more.
#[derive(Default)]
struct Lost {
    gone: HashSet<String>,
    out_of_service: HashSet<String>,
}

/// Of too many finished pods those that were evicted go first, as no controller of theirs looks at them again.
fn decide(pods: &[Arc<PodView>], nodes: &Lost, keep_finished: usize) -> Vec<(Arc<PodView>, Why)> {
    let mut finished: Vec<_> = pods.iter().filter(|pod| pod.is_finished()).collect();
    finished.sort_by(|a, b| {
        let order = b.evicted.cmp(&a.evicted).then_with(|| a.created.cmp(&b.created));
        order.then_with(|| a.key.cmp(&b.key))
    });
    let too_many = finished.len().saturating_sub(keep_finished);
    let excess = finished.into_iter().take(too_many).map(|pod| (pod.clone(), Why::TooMany));
    let lost = pods.iter().filter_map(|pod| {
        let why = if nodes.gone.contains(&pod.node) {
            Why::Orphaned
        } else if pod.terminating && nodes.out_of_service.contains(&pod.node) {
            Why::OutOfService
        } else if pod.terminating && pod.node.is_empty() {
            Why::Unscheduled
        } else {
            return None;
        };
        Some((pod.clone(), why))
    });
    excess.chain(lost).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, node: &str, phase: &str, terminating: bool) -> Arc<PodView> {
        let key = ObjectRef::new("default", name);
        Arc::new(PodView { key: key.into(), node: node.into(), phase: phase.into(), terminating, ..PodView::default() })
    }

    #[test]
    fn only_pods_that_nobody_else_will_finish_are_collected() {
        let pods = [
            pod("runs", "n1", "Running", false),
            pod("ends", "n1", "Running", true),
            pod("orphan", "gone", "Running", false),
            pod("cut-off", "dark", "Running", true),
            pod("stays", "dark", "Running", false),
            pod("unscheduled", "", "Pending", true),
            pod("waits", "", "Pending", false),
            pod("done-1", "n1", "Succeeded", false),
            pod("done-2", "n1", "Failed", false),
        ];
        let nodes = Lost { gone: HashSet::from(["gone".to_owned()]), out_of_service: HashSet::from(["dark".to_owned()]) };
        let expected = [
            ("done-1", Why::TooMany),
            ("orphan", Why::Orphaned),
            ("cut-off", Why::OutOfService),
            ("unscheduled", Why::Unscheduled),
        ];
        assert_eq!(names(decide(&pods, &nodes, 1)), expected.map(|(name, why)| (name.to_owned(), why)));
    }

    fn names(decided: Vec<(Arc<PodView>, Why)>) -> Vec<(String, Why)> {
        decided.into_iter().map(|(pod, why)| (pod.key.name.clone(), why)).collect()
    }

    #[test]
    fn of_too_many_finished_pods_those_evicted_go_first() {
        let evicted = PodView { evicted: true, ..PodView::clone(&pod("z", "n1", "Failed", false)) };
        let pods = [pod("a", "n1", "Succeeded", false), evicted.into()];
        assert_eq!(names(decide(&pods, &Lost::default(), 1)), [("z".to_owned(), Why::TooMany)]);
    }

    #[test]
    fn a_node_counts_as_gone_after_the_quarantine_only() {
        let pods = [pod("a", "n1", "Running", false)];
        let (mut missing, none) = (HashMap::new(), HashSet::new());
        let at = |second| Timestamp::from_second(second).expect("in range");
        assert!(missing_for_long(&pods, &none, &mut missing, at(0)).is_empty());
        assert!(missing_for_long(&pods, &none, &mut missing, at(39)).is_empty());
        assert_eq!(missing_for_long(&pods, &none, &mut missing, at(40)), ["n1"]);
        assert!(missing_for_long(&pods, &HashSet::from(["n1".to_owned()]), &mut missing, at(41)).is_empty());
        assert!(missing_for_long(&pods, &none, &mut missing, at(42)).is_empty(), "the time starts anew");
    }
}
