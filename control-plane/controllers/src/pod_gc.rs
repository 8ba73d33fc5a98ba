//! Pod garbage collection: pods that nobody else will finish: on nodes that are gone, deleted before they were
//! scheduled, or finished and too many.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod};
use mizzen_client::{Client, DeleteOptions, PatchKind};
use mizzen_reconcile::{Clock, Error, WatchCache, typed};
use serde_json::json;

use crate::context::Context;
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
        for (pod, why) in decide(&pods, &gone, FINISHED) {
            tracing::info!(pod = %pod.key, ?why, "collecting");
            self.delete(&pod, why, now).await?;
        }
        Ok(())
    }

    async fn delete(&self, pod: &PodView, why: Why, now: Timestamp) -> Result<(), Error> {
        let (namespace, name) = (&pod.key.namespace, &pod.key.name);
        if why == Why::Orphaned && !pod.is_finished() {
            let condition = json!({
                "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
                "message": "PodGC: node no longer exists", "lastTransitionTime": whole_seconds(now).to_string(),
            });
            let patch = json!({"metadata": {"uid": pod.uid}, "status": {"phase": "Failed", "conditions": [condition]}});
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

fn decide(pods: &[Arc<PodView>], gone: &HashSet<String>, keep_finished: usize) -> Vec<(Arc<PodView>, Why)> {
    let mut finished: Vec<_> = pods.iter().filter(|pod| pod.is_finished()).collect();
    finished.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.key.cmp(&b.key)));
    let too_many = finished.len().saturating_sub(keep_finished);
    let excess = finished.into_iter().take(too_many).map(|pod| (pod.clone(), Why::TooMany));
    let lost = pods.iter().filter_map(|pod| {
        let why = if gone.contains(&pod.node) {
            Why::Orphaned
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
    use mizzen_api::ObjectRef;

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
            pod("unscheduled", "", "Pending", true),
            pod("waits", "", "Pending", false),
            pod("done-1", "n1", "Succeeded", false),
            pod("done-2", "n1", "Failed", false),
        ];
        let decided: Vec<_> = decide(&pods, &HashSet::from(["gone".to_owned()]), 1)
            .into_iter()
            .map(|(pod, why)| (pod.key.name.clone(), why))
            .collect();
        let expected = [("done-1", Why::TooMany), ("orphan", Why::Orphaned), ("unscheduled", Why::Unscheduled)];
        assert_eq!(decided, expected.map(|(name, why)| (name.to_owned(), why)));
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
