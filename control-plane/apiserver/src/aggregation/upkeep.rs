//! Keeping the condition `Available` of all APIServices: every server does, and all see the same.

use std::sync::Arc;
use std::time::Duration;

use mizzen_api::api_services::{self, Availability};
use mizzen_api::{Object, Status};
use mizzen_client::{ApiRequest, Client};
use mizzen_store::{Event, RangeOptions};
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Aggregation, Remote, availability, prefix};
use crate::auth::Clock;

/// Between two looks at servers that are well: their network may break without a sign.
const EVERY: Duration = Duration::from_secs(30);
/// After a failed look, and after many.
const RETRY: Duration = Duration::from_millis(500);
const SERVICES: &str = "/registry//services/";
const SLICES: &str = "/registry/discovery.k8s.io/endpointslices/";
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Tells of every APIService whether it is available, as `client` (a member of `system:masters`), until `shutdown`.
pub(crate) async fn run(aggregation: Arc<Aggregation>, client: Arc<dyn Client>, clock: Clock, shutdown: CancellationToken) {
    let (changed, own) = (Notify::new(), prefix());
    let keeping = async {
        let mut failures: u32 = 0;
        loop {
            let is_well = round(&aggregation, &*client, &clock).await;
            failures = if is_well { 0 } else { failures + 1 };
            let wait = if is_well { EVERY } else { RETRY.saturating_mul(1 << failures.min(6)).min(EVERY) };
            tokio::select! {
                () = changed.notified() => failures = 0,
                () = tokio::time::sleep(wait) => {}
            }
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = keeping => {}
        () = watch(&aggregation, &own, asks_something_else, &changed) => {}
        () = watch(&aggregation, SERVICES, |event| is_service_of_one(&aggregation, event), &changed) => {}
        () = watch(&aggregation, SLICES, |event| is_slice_of_one(&aggregation, event), &changed) => {}
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
    let availability = match Remote::read(object, aggregation.shown.as_ref()) {
        None => Availability::local(),
        Some(remote) => availability::check(aggregation, &remote).await,
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

/// Wakes for every change under a prefix that `concerns`.
async fn watch(aggregation: &Aggregation, prefix: &str, concerns: impl Fn(&Event) -> bool, changed: &Notify) {
    loop {
        if let Ok(mut watch) = aggregation.store.watch(prefix, aggregation.store.revision()) {
            // What came before is looked at now.
            changed.notify_one();
            while let Ok(events) = watch.next().await {
                if events.iter().any(&concerns) {
                    changed.notify_one();
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// What an APIService says of itself was written by a server as this one is: it would wake itself.
fn asks_something_else(event: &Event) -> bool {
    let spec = |object: &Option<Arc<Object>>| {
        object.as_ref().and_then(|object| object.value().ok()).map(|mut value| value["spec"].take())
    };
    spec(&event.object) != spec(&event.previous)
}

fn is_service_of_one(aggregation: &Aggregation, event: &Event) -> bool {
    let Some((namespace, name)) = event.key.strip_prefix(SERVICES).and_then(|rest| rest.split_once('/')) else { return false };
    is_of_one(aggregation, namespace, name)
}

fn is_slice_of_one(aggregation: &Aggregation, event: &Event) -> bool {
    event.object.iter().chain(&event.previous).any(|slice| {
        let head = slice.head();
        head.labels.get(SERVICE_LABEL).is_some_and(|service| is_of_one(aggregation, &head.namespace, service))
    })
}

fn is_of_one(aggregation: &Aggregation, namespace: &str, name: &str) -> bool {
    let remotes = aggregation.remotes.load();
    remotes.iter().any(|remote| remote.service.namespace == namespace && remote.service.name == name)
}
