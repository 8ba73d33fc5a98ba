//! Keeping the condition `Available` of all APIServices: every server does, and all see the same.

use std::sync::Arc;
use std::time::Duration;

use mizzen_api::api_services::{self, Availability};
use mizzen_api::{Object, Status};
use mizzen_client::{ApiRequest, Client};
use mizzen_store::RangeOptions;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Aggregation, availability, prefix};
use crate::auth::Clock;

/// Between two looks at servers that are well: their network may break without a sign.
const EVERY: Duration = Duration::from_secs(30);
/// After a failed look, and after many.
const RETRY: Duration = Duration::from_millis(500);

/// Tells of every APIService whether it is available, as `client` (a member of `system:masters`), until `shutdown`.
pub(crate) async fn run(aggregation: Arc<Aggregation>, client: Arc<dyn Client>, clock: Clock, shutdown: CancellationToken) {
    let keeping = async {
        let mut failures: u32 = 0;
        loop {
            let is_well = round(&aggregation, &*client, &clock).await;
            failures = if is_well { 0 } else { failures + 1 };
            let wait = if is_well { EVERY } else { RETRY.saturating_mul(1 << failures.min(6)).min(EVERY) };
            tokio::select! {
                () = aggregation.changed.notified() => failures = 0,
                () = tokio::time::sleep(wait) => {}
            }
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = keeping => {}
    }
}

/// Looks at all once. False when one is not available, or could not be told of.
async fn round(aggregation: &Aggregation, client: &dyn Client, clock: &Clock) -> bool {
    let range = match aggregation.store.range(&prefix(), &RangeOptions::default()) {
        Ok(range) => range,
        Err(error) => {
            tracing::warn!(%error, "read the APIServices, trying again");
            return false;
        }
    };
    let looks = range.items.iter().map(|(_, object)| look(aggregation, client, clock, object));
    futures::future::join_all(looks).await.into_iter().all(|is_well| is_well)
}

async fn look(aggregation: &Aggregation, client: &dyn Client, clock: &Clock, object: &Object) -> bool {
    let Ok(value) = object.value() else { return true };
    let remote = aggregation.remote_of(object, &aggregation.remotes.load());
    let availability = match remote {
        None => Availability::local(),
        Some(remote) => availability::check(&remote).await,
    };
    let is_available = availability.status == "True";
    match tell(client, clock, value, &availability).await {
        Ok(()) => is_available,
        Err(status) => {
            tracing::debug!(api_service = object.head().name, %status, "tell whether it is available, trying again");
            false
        }
    }
}

/// Writes the condition if it is not what the object says already.
async fn tell(client: &dyn Client, clock: &Clock, value: Value, availability: &Availability) -> Result<(), Status> {
    let mut document = value.clone();
    // Kubernetes' times have whole seconds.
    let now = jiff::Timestamp::from_second(clock().as_second()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    availability.write(&mut document, &now.to_string());
    if document == value {
        return Ok(());
    }
    let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    tracing::info!(api_service = name, status = availability.status, reason = availability.reason, "APIService availability");
    let request = ApiRequest::update(&api_services::resource(), "", &name, document).subresource("status");
    client.write(request.manager("kube-aggregator")).await.map(drop)
}
