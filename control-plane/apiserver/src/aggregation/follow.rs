//! Following what decides who answers for which group versions, and where: APIServices, services and their endpoints.

use std::sync::Arc;
use std::time::Duration;

use mizzen_api::Object;
use mizzen_store::{Event, StoreError};
use tokio_util::sync::CancellationToken;

use super::backend::ServiceKey;
use super::resolve::{SERVICE_LABEL, SERVICES, SLICES};
use super::{Aggregation, prefix};

/// Between two tries to follow a store that fails.
const RETRY: Duration = Duration::from_millis(250);

/// Takes over every change until `shutdown`, one after the other.
pub(super) async fn run(aggregation: Arc<Aggregation>, shutdown: CancellationToken) {
    let following = async {
        loop {
            match changes(&aggregation).await {
                StoreError::Compacted { .. } => {}
                error => {
                    tracing::debug!(%error, "following APIServices and their services");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = following => {}
    }
}

async fn changes(aggregation: &Aggregation) -> StoreError {
    let store = &*aggregation.store;
    let (revision, own) = (store.revision(), prefix());
    let open = || Ok((store.watch(&own, revision)?, store.watch(SERVICES, revision)?, store.watch(SLICES, revision)?));
    let (mut claims, mut services, mut slices) = match open() {
        Ok(watches) => watches,
        Err(error) => return error,
    };
    // What came before.
    aggregation.load();
    aggregation.resolve(|_| true);
    aggregation.changed.notify_one();
    loop {
        let concerns = tokio::select! {
            events = claims.next() => events.map(|events| {
                aggregation.load();
                events.iter().any(asks_something_else)
            }),
            events = services.next() => events.map(|events| {
                aggregation.resolve(|service| events.iter().any(|event| is_of(event, SERVICES, service)))
            }),
            events = slices.next() => events.map(|events| {
                aggregation.resolve(|service| events.iter().any(|event| is_slice_of(event, service)))
            }),
        };
        match concerns {
            Ok(true) => aggregation.changed.notify_one(),
            Ok(false) => {}
            Err(error) => return error,
        }
    }
}

/// What an APIService says of itself was written by a server as this one is: it would wake itself.
fn asks_something_else(event: &Event) -> bool {
    let spec = |object: &Option<Arc<Object>>| {
        object.as_ref().and_then(|object| object.value().ok()).map(|mut value| value["spec"].take())
    };
    spec(&event.object) != spec(&event.previous)
}

fn is_of(event: &Event, prefix: &str, service: &ServiceKey) -> bool {
    let named = event.key.strip_prefix(prefix).and_then(|rest| rest.split_once('/'));
    named == Some((service.namespace.as_str(), service.name.as_str()))
}

fn is_slice_of(event: &Event, service: &ServiceKey) -> bool {
    event.object.iter().chain(&event.previous).any(|slice| {
        let head = slice.head();
        head.namespace == service.namespace && head.labels.get(SERVICE_LABEL).is_some_and(|name| *name == service.name)
    })
}
