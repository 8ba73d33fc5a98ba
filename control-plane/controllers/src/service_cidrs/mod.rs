//! ServiceCIDR: a range is Ready until it is deleted, and stays as long as addresses are in no other range (KEP-1880).

mod repair;

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use mizzen_api::{ObjectRef, Reason, ServiceRange};
use mizzen_client::{Client, ListOptions};
use mizzen_reconcile::{Action, Clock, Controller, Error, Queue, Reconciler, WatchCache, WatchSpec, typed};
use serde_json::{Value, json};

use crate::context::Context;
use crate::time::whole_seconds;

const NAME: &str = "service-cidrs-controller";
const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
const STILL_USED: &str =
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let queue = Queue::default();
    let ranges = WatchCache::objects(WatchSpec::all(typed::gvr::<ServiceCIDR>())).start(client.clone(), context.cancel.clone());
    let addresses = WatchCache::objects(WatchSpec::all(typed::gvr::<IPAddress>())).start(client.clone(), context.cancel.clone());
    ranges.enqueue(&queue);
    // What goes, or another range that comes, lets those go that wait for it.
    wake_waiting(&addresses, &ranges, &queue);
    wake_waiting(&ranges, &ranges, &queue);
    repair::start(context, addresses);
    context.run(Controller::new(NAME, queue, Arc::new(ServiceCidrs { client, clock: context.clock.clone() })));
}

fn wake_waiting<T: Send + Sync + 'static>(changes: &WatchCache<T>, ranges: &Arc<WatchCache>, queue: &Queue) {
    let (ranges, queue) = (Arc::downgrade(ranges), queue.clone());
    changes.on_change(move |change| {
        if change.old.is_some() && change.new.is_some() {
            return;
        }
        for range in ranges.upgrade().into_iter().flat_map(|ranges| ranges.list()) {
            if range.head().is_terminating() {
                queue.add(range.head().object_ref());
            }
        }
    });
}

struct ServiceCidrs {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Reconciler for ServiceCidrs {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let client = self.client.as_ref();
        let Some(stored) = typed::get_object::<ServiceCIDR>(client, "", &key.name).await? else { return Ok(Action::Done) };
        let view = typed::view::<ServiceCIDR>(&stored)?;
        let held = stored.head().finalizers.iter().any(|finalizer| finalizer == FINALIZER);
        let done = if !stored.head().is_terminating() {
            let stored = if held { stored } else { self.with_finalizers(&stored, true).await? };
            self.tell(&stored, "True", "", "Kubernetes Service CIDR is ready").await
        } else if !held {
            Ok(())
        } else if self.is_needed(&view).await? {
            self.tell(&stored, "False", "Terminating", STILL_USED).await
        } else {
            self.with_finalizers(&stored, false).await.map(drop)
        };
        match done {
            Err(error) if error.is(Reason::NotFound) => Ok(Action::Done),
            done => done.map(|()| Action::Done),
        }
    }
}

impl ServiceCidrs {
    async fn with_finalizers(&self, stored: &mizzen_api::Object, held: bool) -> Result<Arc<mizzen_api::Object>, Error> {
        let mut finalizers: Vec<&str> = stored.head().finalizers.iter().map(String::as_str).collect();
        finalizers.retain(|finalizer| *finalizer != FINALIZER);
        finalizers.extend(held.then_some(FINALIZER));
        let finalizers = json!(finalizers);
        typed::update::<ServiceCIDR>(self.client.as_ref(), stored, |document| document["metadata"]["finalizers"] = finalizers)
            .await
    }

    /// Whether an address of the range is in no other one.
    async fn is_needed(&self, range: &ServiceCIDR) -> Result<bool, Error> {
        let (client, all) = (self.client.as_ref(), ListOptions::default());
        let others = typed::list::<ServiceCIDR>(client, "", &all).await?;
        let staying = others.iter().filter(|other| other.metadata.deletion_timestamp.is_none());
        let others: Vec<ServiceRange> = staying.flat_map(|other| parsed(other)).collect();
        let own = parsed(range);
        let addresses = typed::list::<IPAddress>(client, "", &all).await?;
        let names = addresses.iter().filter_map(|address| address.metadata.name.as_deref()?.parse().ok());
        let contain = |ranges: &[ServiceRange], address| ranges.iter().any(|range| range.contains(address));
        Ok(names.into_iter().any(|address| contain(&own, address) && !contain(&others, address)))
    }

    async fn tell(&self, stored: &mizzen_api::Object, status: &str, reason: &str, message: &str) -> Result<(), Error> {
        let document =
            stored.value().map_err(|source| Error::Decode { operation: "decode a service CIDR".to_owned(), source })?;
        let mut conditions = document.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        if conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == status) {
            return Ok(());
        }
        conditions.retain(|condition| condition["type"] != "Ready");
        let now = whole_seconds(self.clock.now());
        conditions
            .push(json!({"type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": now}));
        let status = json!({"conditions": conditions});
        typed::update_status::<ServiceCIDR>(self.client.as_ref(), stored, &status).await.map(drop)
    }
}

fn parsed(range: &ServiceCIDR) -> Vec<ServiceRange> {
    range.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten()).filter_map(|cidr| cidr.parse().ok()).collect()
}
