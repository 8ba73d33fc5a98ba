//! The `IPAddress` of every service's address. The API server writes and removes it with the service; what was taken away
//! by hand, or never was there, is put back here, and what no service has any more is removed.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::IPAddress;
use mizzen_api::{Object, ObjectRef};
use mizzen_client::{ApiRequest, Client, DeleteOptions};
use mizzen_reconcile::{Action, Controller, Error, Queue, Reconciler, WatchCache, typed};
use serde_json::{Value, json};

use super::NAME;
use crate::caches::BY_ADDRESS;
use crate::context::Context;
use crate::endpoints::ServiceView;

const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const MANAGER: &str = "ipallocator.k8s.io";

pub(super) fn start(context: &Context, addresses: Arc<WatchCache>) {
    let queue = Queue::default();
    addresses.enqueue(&queue);
    let woken = queue.clone();
    context.caches.services.on_change(move |change| {
        for service in change.old.into_iter().chain(change.new) {
            service.addresses().into_iter().for_each(|address| woken.add(ObjectRef::cluster(address)));
        }
    });
    let reconciler = Repair { client: context.client(NAME), services: context.caches.services.clone(), addresses };
    context.run(Controller::new("service-address-repair", queue, Arc::new(reconciler)));
}

struct Repair {
    client: Arc<dyn Client>,
    services: Arc<WatchCache<ServiceView>>,
    addresses: Arc<WatchCache>,
}

#[async_trait]
impl Reconciler for Repair {
    /// The key is an address.
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        self.addresses.synced().await;
        let services = self.services.by(BY_ADDRESS, &key.name);
        let done = match (self.addresses.get(&key), services.first()) {
            (Some(object), _) => self.remove_unless_had(&object, &services).await,
            (None, Some(service)) => self.put_back(&key.name, &service.key).await,
            (None, None) => Ok(()),
        };
        match done {
            // Somebody else was quicker.
            Err(error) if error.is_race() => Ok(Action::Done),
            done => done.map(|()| Action::Done),
        }
    }
}

impl Repair {
    async fn remove_unless_had(&self, object: &Object, services: &[Arc<ServiceView>]) -> Result<(), Error> {
        let address = typed::view::<IPAddress>(object)?;
        let name = object.head().name.as_str();
        let parent = &address.spec.parent_ref;
        let parent = ObjectRef::new(parent.namespace.clone().unwrap_or_default(), parent.name.clone());
        let by_hand = object.head().labels.get(MANAGED_BY).map(String::as_str) != Some(MANAGER);
        // The service may be newer than what the cache has of it.
        if by_hand || services.iter().any(|service| service.key == parent) || self.has(&parent, name).await? {
            return Ok(());
        }
        let head = object.head();
        let (uid, resource_version) = (Some(head.uid.clone()), Some(head.resource_version.clone()));
        let options = DeleteOptions { uid, resource_version, ..DeleteOptions::default() };
        typed::delete::<IPAddress>(self.client.as_ref(), "", name, options).await.map(drop)
    }

    async fn put_back(&self, name: &str, service: &ObjectRef) -> Result<(), Error> {
        if typed::get_object::<IPAddress>(self.client.as_ref(), "", name).await?.is_some() || !self.has(service, name).await? {
            return Ok(());
        }
        let family = if name.contains(':') { "IPv6" } else { "IPv4" };
        let object = json!({
            "metadata": {"name": name, "labels": {"ipaddress.kubernetes.io/ip-family": family, MANAGED_BY: MANAGER}},
            "spec": {"parentRef": {"resource": "services", "namespace": service.namespace, "name": service.name}},
        });
        let request = ApiRequest::create(&typed::gvr::<IPAddress>(), "", object);
        let failed = |status| Error::api(format!("put back IP address {name} of {service}"), status);
        self.client.write(request).await.map(drop).map_err(failed)
    }

    /// Whether a service has the address at this moment.
    async fn has(&self, service: &ObjectRef, address: &str) -> Result<bool, Error> {
        let stored = typed::get_object::<Service>(self.client.as_ref(), &service.namespace, &service.name).await?;
        let document = stored.and_then(|stored| stored.value().ok());
        Ok(document.is_some_and(|document| {
            let all = document.pointer("/spec/clusterIPs").and_then(Value::as_array).into_iter().flatten();
            all.chain(document.pointer("/spec/clusterIP")).any(|own| own == address)
        }))
    }
}
