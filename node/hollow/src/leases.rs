//! Proof of life: a lease for each node in `kube-node-lease`, renewed in turn.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use mizzen_api::Reason;
use mizzen_client::{ApiRequest, PatchKind};
use mizzen_reconcile::Error;
use mizzen_reconcile::typed::{self, gvr};
use serde_json::{Value, json};

use crate::nodes::{Nodes, in_turn};

const NAMESPACE: &str = "kube-node-lease";

/// For ever.
pub(crate) async fn run(nodes: Arc<Nodes>) {
    let round = Duration::from_secs(nodes.profile.nodes.lease_renew_seconds.into());
    in_turn(nodes, round, async |nodes, number| {
        let name = nodes.name(number);
        let patch = json!({"spec": {"renewTime": spec(&nodes, &name)["renewTime"]}});
        let renewed = typed::patch::<Lease>(nodes.client.as_ref(), NAMESPACE, &name, "", PatchKind::Merge, patch).await;
        if let Err(error) = renewed {
            tracing::debug!(node = name, %error, "lease not renewed");
        }
    })
    .await;
}

/// Makes the node's lease, or renews the one there is.
pub(crate) async fn create(nodes: &Nodes, number: usize, node_uid: &str) -> Result<(), Error> {
    let name = nodes.name(number);
    let spec = spec(nodes, &name);
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": name, "uid": node_uid}]);
    let object = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": NAMESPACE, "ownerReferences": owner}, "spec": spec,
    });
    match nodes.client.write(ApiRequest::create(&gvr::<Lease>(), NAMESPACE, object.clone()).manager("mizzen-hollow")).await {
        Ok(_) => Ok(()),
        // Of a node of this name that was there before, or is there again.
        Err(status) if status.is(Reason::AlreadyExists) => {
            typed::patch::<Lease>(nodes.client.as_ref(), NAMESPACE, &name, "", PatchKind::Merge, object).await.map(|_| ())
        }
        Err(status) => Err(Error::api(format!("create leases {NAMESPACE}/{name}"), status)),
    }
}

fn spec(nodes: &Nodes, name: &str) -> Value {
    let now = nodes.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
    let lasts = nodes.profile.nodes.lease_renew_seconds.saturating_mul(4);
    json!({"holderIdentity": name, "leaseDurationSeconds": lasts, "renewTime": now})
}
