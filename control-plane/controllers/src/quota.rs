//! ResourceQuota status: what is bounded and what is used of it.
//!
//! Admission adds to `used` in the transaction that stores an object. This controller counts anew when a quota changes,
//! when objects that it bounds go away, and every five minutes. It reads the quota first and the objects after that, and
//! writes on the condition that the quota is still the one it read: a charge in between makes it count again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::ResourceQuota;
use mizzen_api::pod_resources::Resources;
use mizzen_api::registry::Registry;
use mizzen_api::{GroupResource, GroupVersionResource, Object, ObjectRef, Reason, Scope, quota};
use mizzen_client::{Client, ListOptions};
use mizzen_reconcile::{Action, Controller, Error, Queue, Reconciler, WatchCache, WatchSpec, typed};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::context::Context;

const NAME: &str = "resourcequota-controller";
const PERIOD: Duration = Duration::from_secs(300);

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let queue = Queue::default();
    let quotas = WatchCache::objects(WatchSpec::all(typed::gvr::<ResourceQuota>())).start(client.clone(), context.cancel.clone());
    quotas.enqueue(&queue);
    let reconciler = Quotas {
        client,
        registry: context.registry.clone(),
        quotas,
        queue: queue.clone(),
        cancel: context.cancel.clone(),
        followed: Mutex::default(),
    };
    context.run(Controller::new("resourcequota", queue, Arc::new(reconciler)).workers(4));
}

struct Quotas {
    client: Arc<dyn Client>,
    registry: Registry,
    quotas: Arc<WatchCache>,
    queue: Queue,
    cancel: CancellationToken,
    /// The resources whose changes are followed: those that some quota has bounded.
    followed: Mutex<HashSet<GroupVersionResource>>,
}

#[async_trait]
impl Reconciler for Quotas {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let Some(stored) = typed::get_object::<ResourceQuota>(self.client.as_ref(), &key.namespace, &key.name).await? else {
            return Ok(Action::Done);
        };
        let document = stored.value().map_err(|source| Error::Decode {
            operation: format!("decode resource quota {}/{}", key.namespace, key.name),
            source,
        })?;
        let hard = quota::amounts(&document, "/spec/hard");
        let kinds: HashSet<GroupResource> = hard.keys().filter_map(|name| quota::counted(name)).collect();
        let mut counted = HashMap::new();
        for kind in kinds {
            let Some(resource) = self.served(&kind) else { continue };
            self.follow(&resource);
            let total = self.count(&document, &kind, &resource, &key.namespace).await?;
            counted.insert(kind, total);
        }
        let used: Resources = hard
            .keys()
            .filter_map(|name| {
                let total = counted.get(&quota::counted(name)?)?;
                Some((name.clone(), total.get(name).copied().unwrap_or_default()))
            })
            .collect();
        if quota::amounts(&document, "/status/hard") != hard || quota::amounts(&document, "/status/used") != used {
            let status = json!({"hard": document.pointer("/spec/hard").unwrap_or(&json!({})), "used": shown(&used)});
            match typed::update_status::<ResourceQuota>(self.client.as_ref(), &stored, &status).await {
                Err(error) if error.is(Reason::NotFound) => return Ok(Action::Done),
                done => done?,
            };
        }
        Ok(Action::RequeueAfter(PERIOD))
    }
}

fn shown(used: &Resources) -> Value {
    let amounts: Map<String, Value> = used.iter().map(|(name, amount)| (name.clone(), json!(amount.to_string()))).collect();
    Value::Object(amounts)
}

impl Quotas {
    fn served(&self, kind: &GroupResource) -> Option<GroupVersionResource> {
        let descriptor = self.registry.by_group_resource(&kind.group, &kind.resource)?;
        let countable = descriptor.scope == Scope::Namespaced && !descriptor.virtual_only;
        let version = descriptor.versions.first().filter(|_| countable)?;
        Some(GroupVersionResource::new(&*kind.group, &**version, &*kind.resource))
    }

    /// What the objects of a kind in the quota's scope take together.
    async fn count(
        &self,
        document: &Value,
        kind: &GroupResource,
        resource: &GroupVersionResource,
        namespace: &str,
    ) -> Result<Resources, Error> {
        let operation = || format!("list {} in {namespace}", resource.resource);
        let list = match self.client.list(resource, namespace, &ListOptions::default()).await {
            // The kind's definition went away.
            Err(status) if status.is(Reason::NotFound) => return Ok(Resources::new()),
            list => list.map_err(|status| Error::api(operation(), status))?,
        };
        let mut total = Resources::new();
        for object in &list.items {
            let object = object.value().map_err(|source| Error::Decode { operation: operation(), source })?;
            if quota::is_in_scope(document, kind, &object) {
                for (name, amount) in quota::usage(kind, &object) {
                    *total.entry(name).or_default() += amount;
                }
            }
        }
        Ok(total)
    }

    /// From now on a change of such an object counts the quotas of its namespace anew.
    fn follow(&self, resource: &GroupVersionResource) {
        if !self.followed.lock().insert(resource.clone()) {
            return;
        }
        let is_pod = resource.group.is_empty() && &*resource.resource == "pods";
        let cache = WatchCache::projected(WatchSpec::all(resource.clone()), move |object| Some(is_pod && is_finished(object)))
            .start(self.client.clone(), self.cancel.clone());
        let (quotas, queue) = (self.quotas.clone(), self.queue.clone());
        let grows = matches!(&*resource.resource, "services" | "persistentvolumeclaims") && resource.group.is_empty();
        cache.on_change(move |change| {
            // What comes has been charged already; what goes, ends or shrinks has to be released.
            let released = match (change.old, change.new) {
                (_, None) => true,
                (Some(old), Some(new)) => grows || old != new,
                (None, Some(_)) => false,
            };
            if released {
                for quota in quotas.in_namespace(&change.key.namespace) {
                    queue.add(quota.head().object_ref());
                }
            }
        });
    }
}

fn is_finished(pod: &Object) -> bool {
    let phase = pod.value().ok().and_then(|pod| Some(pod.pointer("/status/phase")?.as_str()?.to_owned()));
    matches!(phase.as_deref(), Some("Succeeded" | "Failed"))
}
