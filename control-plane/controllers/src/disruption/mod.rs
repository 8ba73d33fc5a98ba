//! PodDisruptionBudget status: how many pods may go now. Evictions take from it (`pods/eviction`).

mod decide;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use mizzen_api::registry::Registry;
use mizzen_api::{GroupVersionResource, LabelSelector, Object, ObjectRef, OwnerReference, Reason};
use mizzen_client::Client;
use mizzen_reconcile::{Action, Clock, Controller, Error, Queue, Reconciler, WatchCache, WatchSpec, typed};
use serde_json::Value;

use crate::context::Context;
use crate::pod_view::PodView;

const NAME: &str = "disruption-controller";

/// What it takes to know which pods a budget is about.
struct BudgetView {
    key: ObjectRef,
    /// `None` selects nothing.
    selector: Option<LabelSelector>,
}

impl BudgetView {
    fn of(object: &Arc<Object>) -> Option<Self> {
        let document = object.value().ok()?;
        let selector = document.pointer("/spec/selector").filter(|selector| !selector.is_null());
        let selector = selector.and_then(|selector| LabelSelector::from_document(Some(selector)).ok());
        Some(Self { key: object.head().object_ref(), selector })
    }

    fn selects(&self, pod: &PodView) -> bool {
        self.selector.as_ref().is_some_and(|selector| selector.matches(&pod.labels))
    }
}

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let queue = Queue::default();
    let budgets = WatchCache::projected(WatchSpec::all(typed::gvr::<PodDisruptionBudget>()), BudgetView::of)
        .start(client.clone(), context.cancel.clone());
    budgets.enqueue(&queue);
    let (of_pods, woken) = (budgets, queue.clone());
    context.caches.pods.on_change(move |change| {
        for budget in of_pods.in_namespace(&change.key.namespace) {
            if change.old.into_iter().chain(change.new).any(|pod| budget.selects(pod)) {
                woken.add(budget.key.clone());
            }
        }
    });
    let reconciler =
        Budgets { client, clock: context.clock.clone(), registry: context.registry.clone(), pods: context.caches.pods.clone() };
    context.run(Controller::new("disruption", queue, Arc::new(reconciler)).workers(2));
}

struct Budgets {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    registry: Registry,
    pods: Arc<WatchCache<PodView>>,
}

#[async_trait]
impl Reconciler for Budgets {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let client = self.client.as_ref();
        // The present one: an eviction may have taken from it since the cache saw it.
        let Some(stored) = typed::get_object::<PodDisruptionBudget>(client, &key.namespace, &key.name).await? else {
            return Ok(Action::Done);
        };
        let document =
            stored.value().map_err(|source| Error::Decode { operation: format!("decode disruption budget {key}"), source })?;
        let (generation, now) = (stored.head().generation, self.clock.now());
        let (spec, old) =
            (document.get("spec").cloned().unwrap_or_default(), document.get("status").cloned().unwrap_or_default());
        let pods = match BudgetView::of(&stored) {
            Some(budget) => self.pods.in_namespace(&key.namespace).into_iter().filter(|pod| budget.selects(pod)).collect(),
            None => Vec::new(),
        };
        let disrupted = decide::disrupted(&old, &pods, now);
        let scale = match decide::asks_for_scale(&spec) {
            true => self.scale(&key.namespace, &pods).await,
            false => Ok(i64::try_from(pods.len()).unwrap_or(i64::MAX)),
        };
        let (status, failure) = match scale {
            Ok(scale) => (decide::status(&old, generation, decide::expected(&spec, scale), &pods, &disrupted, now), None),
            Err(error) => (decide::failed(&old, generation, &error.to_string(), now), Some(error)),
        };
        if status != old {
            match typed::update_status::<PodDisruptionBudget>(client, &stored, &status).await {
                Err(error) if error.is(Reason::NotFound) => return Ok(Action::Done),
                done => done?,
            };
        }
        match (failure, decide::next_look(&disrupted, now)) {
            (Some(failure), _) => Err(failure),
            (None, Some(wait)) => Ok(Action::RequeueAfter(wait)),
            (None, None) => Ok(Action::Done),
        }
    }
}

impl Budgets {
    /// How many pods those who keep these pods are to keep. Pods that nobody keeps do not count.
    async fn scale(&self, namespace: &str, pods: &[Arc<PodView>]) -> Result<i64, Error> {
        let mut scales: BTreeMap<String, i64> = BTreeMap::new();
        for owner in pods.iter().filter_map(|pod| pod.owner.as_ref()) {
            if scales.contains_key(&owner.uid) {
                continue;
            }
            let (mut uid, mut scale, controller) = self.look_up(namespace, owner).await?;
            // A ReplicaSet that is being replaced is smaller than what its Deployment is to have.
            if let Some(deployment) = controller.filter(|_| owner.kind == "ReplicaSet") {
                (uid, scale, _) = self.look_up(namespace, &deployment).await?;
            }
            scales.insert(owner.uid.clone(), if uid == owner.uid { scale } else { 0 });
            scales.insert(uid, scale);
        }
        Ok(scales.values().sum())
    }

    /// Uid, number of replicas and controller of an owner; an owner that is gone keeps none.
    async fn look_up(&self, namespace: &str, owner: &OwnerReference) -> Result<(String, i64, Option<OwnerReference>), Error> {
        let (group, version) = owner.api_version.rsplit_once('/').unwrap_or(("", &owner.api_version));
        let operation = || format!("find the scale of {} {namespace}/{}", owner.kind, owner.name);
        let descriptor = self.registry.by_kind(group, version, &owner.kind);
        let Some((descriptor, paths)) = descriptor.and_then(|found| found.scale.clone().map(|scale| (found, scale))) else {
            return Err(Error::Other(format!("{}: it has none", operation())));
        };
        let resource = GroupVersionResource::new(group, version, &*descriptor.resource);
        let object = match self.client.get(&resource, namespace, &owner.name).await {
            Err(status) if status.is(Reason::NotFound) => return Ok((owner.uid.clone(), 0, None)),
            object => object.map_err(|status| Error::api(operation(), status))?,
        };
        let document = object.value().map_err(|source| Error::Decode { operation: operation(), source })?;
        let replicas = document.pointer(&paths.spec_replicas).and_then(Value::as_i64).unwrap_or(0);
        Ok((object.head().uid.clone(), replicas, object.head().controller().cloned()))
    }
}
