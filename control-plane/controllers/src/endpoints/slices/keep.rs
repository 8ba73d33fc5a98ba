//! Brings the slices of one service to what they should be.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use mizzen_api::{Object, ObjectRef};
use mizzen_client::{ApiRequest, Client, DeleteOptions, ListOptions};
use mizzen_reconcile::{Error, Queue, WatchCache, typed};
use serde_json::{Value, json};

use super::super::{SERVICE_NAME, SLICE_MANAGED_BY, slice_index, trigger_time};
use super::plan::{self, Group, Plan, Present};
use crate::caches::BY_SERVICE;
use crate::namespaces::is_terminating_error;

/// Keeps the slices of one manager.
pub(in super::super) struct Keeper {
    pub(in super::super) client: Arc<dyn Client>,
    pub(in super::super) slices: Arc<WatchCache>,
    pub(in super::super) manager: &'static str,
    pub(in super::super) max_endpoints: usize,
}

/// What all slices of a service have.
pub(in super::super) struct Meta {
    pub(in super::super) labels: BTreeMap<String, String>,
    pub(in super::super) annotations: BTreeMap<String, String>,
    pub(in super::super) owner: Value,
    /// The change that a write follows, where it is to be noted.
    pub(in super::super) trigger: Option<Timestamp>,
}

/// Puts the services into `queue` whose slices of this manager change.
pub(in super::super) fn wake_by_slices(slices: &WatchCache, queue: &Queue, manager: &'static str) {
    slices.enqueue_mapped(queue, move |slice| {
        let head = slice.head();
        let mine = head.labels.get(SLICE_MANAGED_BY).is_some_and(|name| name == manager);
        let service = head.labels.get(SERVICE_NAME).filter(|_| mine);
        service.map(|service| ObjectRef::new(head.namespace.clone(), service.clone())).into_iter().collect()
    });
}

impl Keeper {
    /// Makes the slices of the service `key` those of `groups`.
    pub(in super::super) async fn keep(&self, key: &ObjectRef, meta: &Meta, groups: &[Group]) -> Result<(), Error> {
        let cached = self.slices.by(BY_SERVICE, &slice_index(&key.namespace, &key.name, self.manager));
        if self.plan(cached, meta, groups)?.is_empty() {
            return Ok(());
        }
        // The cache may not know yet what was written last: what is made twice would be told twice.
        let live = self.live(key).await?;
        let plan = self.plan(live, meta, groups)?;
        self.carry_out(key, meta, plan).await
    }

    /// Removes all slices of the service `key`.
    pub(in super::super) async fn clear(&self, key: &ObjectRef) -> Result<(), Error> {
        for slice in self.slices.by(BY_SERVICE, &slice_index(&key.namespace, &key.name, self.manager)) {
            self.delete(&slice).await?;
        }
        Ok(())
    }

    fn plan(&self, slices: Vec<Arc<Object>>, meta: &Meta, groups: &[Group]) -> Result<Plan, Error> {
        let present = slices.into_iter().filter(|slice| !slice.head().is_terminating()).map(|object| {
            let slice = typed::view::<EndpointSlice>(&object)?;
            Ok(Present { mislabelled: meta.differs(&object, &slice), object, slice })
        });
        Ok(plan::plan(&present.collect::<Result<Vec<_>, Error>>()?, groups, self.max_endpoints))
    }

    async fn live(&self, key: &ObjectRef) -> Result<Vec<Arc<Object>>, Error> {
        let label_selector = format!("{SERVICE_NAME}={},{SLICE_MANAGED_BY}={}", key.name, self.manager);
        let options = ListOptions { label_selector, ..ListOptions::default() };
        let listed = self.client.list(&typed::gvr::<EndpointSlice>(), &key.namespace, &options).await;
        Ok(listed.map_err(|status| Error::api(format!("list endpointslices of {key}"), status))?.items)
    }

    async fn carry_out(&self, key: &ObjectRef, meta: &Meta, plan: Plan) -> Result<(), Error> {
        for (present, group) in plan.update {
            let annotations = meta.annotations(present.slice.metadata.annotations.as_ref());
            typed::update::<EndpointSlice>(self.client.as_ref(), &present.object, |document| {
                document["endpoints"] = json!(group.endpoints);
                document["ports"] = json!(group.ports);
                document["metadata"]["labels"] = json!(meta.labels);
                document["metadata"]["annotations"] = json!(annotations);
                document["metadata"]["ownerReferences"] = json!([meta.owner]);
            })
            .await?;
        }
        for group in plan.create {
            let metadata = json!({"generateName": format!("{}-", key.name), "labels": meta.labels,
                "annotations": meta.annotations(None), "ownerReferences": [meta.owner]});
            let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
                "addressType": group.address_type, "endpoints": group.endpoints, "ports": group.ports});
            let request = ApiRequest::create(&typed::gvr::<EndpointSlice>(), &key.namespace, slice);
            match self.client.write(request).await {
                Err(status) if is_terminating_error(&status) => return Ok(()),
                Err(status) => return Err(Error::api(format!("create endpointslices {key}-"), status)),
                Ok(_) => {}
            }
        }
        for present in plan.delete {
            self.delete(&present.object).await?;
        }
        Ok(())
    }

    async fn delete(&self, slice: &Object) -> Result<(), Error> {
        let head = slice.head();
        let options = DeleteOptions { uid: Some(head.uid.clone()), ..DeleteOptions::default() };
        typed::delete::<EndpointSlice>(self.client.as_ref(), &head.namespace, &head.name, options).await.map(|_| ())
    }
}

impl Meta {
    fn annotations(&self, present: Option<&BTreeMap<String, String>>) -> BTreeMap<String, String> {
        trigger_time::annotate(self.annotations.clone(), present, self.trigger)
    }

    fn differs(&self, object: &Object, slice: &EndpointSlice) -> bool {
        let owned = slice.metadata.owner_references.iter().flatten().any(|owner| self.owner["uid"] == owner.uid.as_str());
        let others = |annotations| match self.trigger {
            Some(_) => trigger_time::others(annotations),
            None => annotations.cloned().unwrap_or_default(),
        };
        !owned
            || *object.head().labels != self.labels
            || others(slice.metadata.annotations.as_ref()) != others(Some(&self.annotations))
    }
}
