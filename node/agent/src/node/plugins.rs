//! The node's part in networks of CNI plugins: its configuration is followed, and what was attached is looked after.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use mizzen_network::PodRequest;

use crate::shared::Shared;

/// Between two looks at the configuration, and questions whether plugins are ready.
const LOOK: Duration = Duration::from_secs(5);
/// Between two looks at what is attached, the first of which is at the start.
const AUDIT: Duration = Duration::from_secs(300);

/// Runs for ever.
pub(crate) async fn run(shared: Arc<Shared>) {
    let looks = async {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            shared.network.look_at_plugins().await;
        }
    };
    let audits = async {
        let mut ticks = tokio::time::interval(AUDIT);
        loop {
            ticks.tick().await;
            audit(&shared).await;
        }
    };
    tokio::join!(looks, audits);
}

async fn audit(shared: &Shared) {
    if let Err(error) = shared.network.collect_attachments().await {
        tracing::warn!(%error, "CNI plugins could not take everything away that is left");
    }
    for (request, why) in shared.network.check_attachments().await {
        tracing::warn!(pod = request.name, namespace = request.namespace, why, "a pod is not attached as it was");
        let told = format!("The pod's network is not as CNI plugins made it: {why}");
        shared.recorder.warning(&about(&request), "NetworkCheckFailed", told);
    }
}

fn about(request: &PodRequest) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: Some(request.namespace.clone()),
        name: Some(request.name.clone()),
        uid: Some(request.uid.clone()),
        ..ObjectReference::default()
    }
}
