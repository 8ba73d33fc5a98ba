//! Says on the Node where its proxy is reached. The control plane puts that into the status of ingresses.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use mizzen_api::ingress::ADDRESSES;
use mizzen_api::{Object, ObjectRef};
use mizzen_client::{Client, PatchKind};
use mizzen_reconcile::typed::{self, gvr};
use mizzen_reconcile::{Backoff, WatchCache, WatchSpec};
use mizzen_services::endpoints::Place;
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

const RETRY: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30));
/// Well-known label of a node.
const ZONE: &str = "topology.kubernetes.io/zone";

/// What of the proxy's own Node counts here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NodeView {
    announced: Option<String>,
    pub(crate) place: Place,
}

impl NodeView {
    fn of(node: &Node) -> Self {
        let metadata = &node.metadata;
        let zone = metadata.labels.as_ref().and_then(|labels| labels.get(ZONE).cloned());
        Self {
            announced: metadata.annotations.as_ref().and_then(|annotations| annotations.get(ADDRESSES).cloned()),
            place: Place { node: metadata.name.clone().unwrap_or_default(), zone },
        }
    }
}

/// Mirrors the proxy's own Node.
pub(crate) fn own_node(client: Arc<dyn Client>, name: &str, cancel: CancellationToken) -> Arc<WatchCache<NodeView>> {
    let own = WatchSpec::all(gvr::<Node>()).fields(&format!("metadata.name={name}"));
    WatchCache::projected(own, |object: &Arc<Object>| Some(NodeView::of(&*typed::view::<Node>(object).ok()?)))
        .start(client, cancel)
}

/// Keeps the annotation as `reached` says once it says something, for ever; there is none for `None`. The Node may come later,
/// and go and come back.
pub(crate) async fn keep(
    client: Arc<dyn Client>,
    name: &str,
    nodes: Arc<WatchCache<NodeView>>,
    mut reached: watch::Receiver<Option<String>>,
) {
    let changed = Arc::new(Notify::new());
    let wake = changed.clone();
    nodes.on_change(move |_| wake.notify_one());
    let key = ObjectRef::cluster(name);
    let mut failures = 0;
    // What an earlier process has said stays until this one knows better.
    if reached.changed().await.is_err() {
        return std::future::pending().await;
    }
    loop {
        let wanted = reached.borrow_and_update().clone();
        if let Some(node) = nodes.get(&key)
            && node.announced != wanted
        {
            let annotation = json!({"metadata": {"annotations": {ADDRESSES: wanted}}});
            if let Err(error) = typed::patch::<Node>(&*client, "", name, "", PatchKind::Merge, annotation).await {
                tracing::warn!(%error, "the node does not say where ingresses are served; this is tried again");
                tokio::time::sleep(RETRY.delay(failures)).await;
                failures = failures.saturating_add(1);
                continue;
            }
        }
        failures = 0;
        tokio::select! {
            () = changed.notified() => {}
            // Nothing comes from a proxy that has ended.
            Ok(()) = reached.changed() => {}
        }
    }
}
