//! What garbage collection asks of the API. Every write is conditional on the version it was decided on.

use mizzen_api::{GroupVersion, Head, OwnerReference, Reason, Scope};
use mizzen_client::{ApiRequest, DeleteOptions, PatchKind, Propagation};
use mizzen_reconcile::Error;
use serde_json::{Value, json};

use super::Collector;
use super::decide::OwnerState;
use super::graph::{Monitor, waits_for_dependents};

impl Collector {
    /// Asks the API about an owner that the graph does not know: it may be newer than the graph.
    pub(super) async fn look_up(&self, item: &Head, owner: &OwnerReference) -> Result<OwnerState, Error> {
        let version = GroupVersion::parse(&owner.api_version);
        let served = self.graph.served();
        let Some(served) = served.by_kind(&version, &owner.kind) else {
            // Nobody can tell whether it exists; deleting is the mistake that cannot be undone.
            tracing::debug!(object = %item.key(), kind = owner.kind, "owner of an unknown kind");
            return Ok(OwnerState::Solid);
        };
        let namespace = match served.scope {
            Scope::Cluster => "",
            Scope::Namespaced if item.namespace.is_empty() => {
                tracing::debug!(object = %item.key(), owner = owner.name, "a cluster-scoped object cannot have a namespaced owner");
                return Ok(OwnerState::Solid);
            }
            Scope::Namespaced => &item.namespace,
        };
        match self.client.get(&served.resource, namespace, &owner.name).await {
            Ok(live) if live.head().uid == owner.uid => {
                let waits = waits_for_dependents(live.head());
                Ok(if waits { OwnerState::Waiting } else { OwnerState::Solid })
            }
            Ok(_) => Ok(OwnerState::Absent),
            Err(status) if status.is(Reason::NotFound) => Ok(OwnerState::Absent),
            Err(status) => Err(Error::api(format!("get {} {namespace}/{}", served.resource.resource, owner.name), status)),
        }
    }

    pub(super) async fn delete(&self, item: &Head, propagation: Propagation) -> Result<(), Error> {
        let options = DeleteOptions {
            uid: Some(item.uid.clone()),
            resource_version: Some(item.resource_version.clone()),
            propagation: Some(propagation),
            ..DeleteOptions::default()
        };
        let request = ApiRequest::delete(&self.monitor.resource, &item.namespace, &item.name, options);
        self.send("delete", &self.monitor, item, request).await
    }

    pub(super) async fn drop_references(&self, monitor: &Monitor, item: &Head, uids: &[String]) -> Result<(), Error> {
        let kept: Vec<_> = item.owner_references.iter().filter(|owner| !uids.contains(&owner.uid)).collect();
        let patch = json!({"metadata": {"resourceVersion": item.resource_version, "uid": item.uid, "ownerReferences": kept}});
        self.send("drop owners of", monitor, item, merge_patch(monitor, item, patch)).await
    }

    pub(super) async fn remove_finalizer(&self, item: &Head, finalizer: &str) -> Result<(), Error> {
        let (resource, key) = (&self.monitor.resource, item.key());
        let live = match self.client.get(resource, &key.namespace, &key.name).await {
            Ok(live) if live.head().uid == item.uid => live,
            Ok(_) => return Ok(()),
            Err(status) if status.is(Reason::NotFound) => return Ok(()),
            Err(status) => return Err(Error::api(format!("get {} {key}", resource.resource), status)),
        };
        let left: Vec<_> = live.head().finalizers.iter().filter(|name| *name != finalizer).collect();
        let patch = json!({"metadata": {
            "resourceVersion": live.head().resource_version, "uid": item.uid, "finalizers": left,
        }});
        self.send("remove the finalizer of", &self.monitor, item, merge_patch(&self.monitor, item, patch)).await
    }

    async fn send(&self, verb: &str, monitor: &Monitor, item: &Head, request: ApiRequest) -> Result<(), Error> {
        match self.client.write(request).await {
            Ok(_) => Ok(()),
            Err(status) if status.is(Reason::NotFound) => Ok(()),
            Err(status) => Err(Error::api(format!("{verb} {} {}", monitor.resource.resource, item.key()), status)),
        }
    }
}

fn merge_patch(monitor: &Monitor, item: &Head, patch: Value) -> ApiRequest {
    ApiRequest::patch(&monitor.resource, &item.namespace, &item.name, PatchKind::Merge, patch)
}
