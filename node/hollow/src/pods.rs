//! Takes the pods of all hollow nodes from step to step.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use mizzen_api::{ObjectRef, Reason};
use mizzen_client::{DeleteOptions, PatchKind};
use mizzen_reconcile::typed::{self, gvr};
use mizzen_reconcile::{Action, Backoff, Controller, Error, Queue, Reconciler, WatchCache, WatchSpec};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::AT_ONCE;
use crate::nodes::{Nodes, address};
use crate::pod::{HollowPod, Step};

const RETRY: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(10));

struct Pods {
    nodes: Arc<Nodes>,
    pods: Arc<WatchCache<HollowPod>>,
}

/// Works until `cancel`.
pub(crate) async fn run(nodes: Arc<Nodes>, cancel: CancellationToken) {
    let ours = nodes.clone();
    // Those that wait for a node are not even sent, pods elsewhere are not kept.
    let spec = WatchSpec::all(gvr::<Pod>()).fields("spec.nodeName!=");
    let of = move |object: &_| HollowPod::of(object).filter(|pod| ours.number(&pod.node).is_some());
    let pods = WatchCache::projected(spec, of).start(nodes.client.clone(), cancel.child_token());
    let queue = Queue::new(RETRY);
    pods.enqueue(&queue);
    Controller::new("hollow", queue, Arc::new(Pods { nodes, pods })).workers(AT_ONCE).run(cancel).await;
}

#[async_trait]
impl Reconciler for Pods {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let Some(pod) = self.pods.get(&key) else { return Ok(Action::Done) };
        let Some(number) = self.nodes.number(&pod.node) else { return Ok(Action::Done) };
        let rule = self.nodes.profile.rule(&pod);
        match pod.step(&rule, address(number), self.nodes.clock.now()) {
            Step::Nothing => Ok(Action::Done),
            Step::Wait(left) => Ok(Action::RequeueAfter(left)),
            Step::Write(status) => self.write(&pod, status).await,
            Step::Delete => self.delete(&pod).await,
        }
    }
}

impl Pods {
    /// The change comes back by the watch, and with it the next step.
    async fn write(&self, pod: &HollowPod, status: Value) -> Result<Action, Error> {
        let mut patch = json!({"metadata": {"uid": pod.uid}});
        patch["status"] = status;
        let (namespace, name) = (&pod.key.namespace, &pod.key.name);
        let written = typed::patch::<Pod>(self.nodes.client.as_ref(), namespace, name, "status", PatchKind::Strategic, patch);
        match written.await {
            Ok(_) => Ok(Action::Done),
            // It went away, and the watch will say so.
            Err(error) if error.is(Reason::NotFound) || error.is(Reason::Conflict) => Ok(Action::Done),
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, pod: &HollowPod) -> Result<Action, Error> {
        let options = DeleteOptions { grace_period_seconds: Some(0), uid: Some(pod.uid.clone()), ..DeleteOptions::default() };
        typed::delete::<Pod>(self.nodes.client.as_ref(), &pod.key.namespace, &pod.key.name, options).await?;
        Ok(Action::Done)
    }
}
