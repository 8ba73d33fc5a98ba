//! The node's lease in `kube-node-lease`: proof of life every ten seconds.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use mizzen_client::{ApiRequest, PatchKind};
use mizzen_reconcile::typed::{self, gvr};
use serde_json::json;

use crate::shared::Shared;

const NAMESPACE: &str = "kube-node-lease";
const RENEW: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(1);
/// How long others wait before they think the node is gone.
const DURATION_SECONDS: i32 = 40;

/// Runs for ever.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut lost = false;
    loop {
        let wait = match renew(&shared).await {
            Ok(()) => {
                if std::mem::take(&mut lost) {
                    tracing::warn!("the API server is back");
                }
                RENEW
            }
            Err(error) => {
                // Of all that is tried while the server is away, this is what tells people of it: once.
                if !std::mem::replace(&mut lost, true) {
                    tracing::warn!(%error, "the API server is lost or refuses this node; its pods go on, and it is tried again");
                }
                RETRY
            }
        };
        tokio::time::sleep(wait).await;
    }
}

async fn renew(shared: &Shared) -> Result<(), mizzen_reconcile::Error> {
    let (client, name) = (shared.client.as_ref(), &shared.node_name);
    let now = shared.now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
    let spec = json!({"holderIdentity": name, "leaseDurationSeconds": DURATION_SECONDS, "renewTime": now});
    match typed::patch::<Lease>(client, NAMESPACE, name, "", PatchKind::Merge, json!({"spec": spec})).await {
        Err(error) if error.is(mizzen_api::Reason::NotFound) => {}
        result => return result.map(|_| ()),
    }
    let owner = typed::get::<Node>(client, "", name)
        .await?
        .map(|node| json!([{"apiVersion": "v1", "kind": "Node", "name": name, "uid": node.metadata.uid}]));
    let object = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": NAMESPACE, "ownerReferences": owner.unwrap_or_else(|| json!([]))},
        "spec": spec,
    });
    let request = ApiRequest::create(&gvr::<Lease>(), NAMESPACE, object).manager("kubelet");
    client
        .write(request)
        .await
        .map(|_| ())
        .map_err(|status| mizzen_reconcile::Error::api(format!("create leases {NAMESPACE}/{name}"), status))
}
