//! ReplicaSet: keeps as many pods of one template as asked for. A ReplicationController is worked on in the same way.

mod decide;
mod effects;
mod ranking;
mod view;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::apps::v1::ReplicaSet;
use mizzen_api::ObjectRef;
use mizzen_client::Client;
use mizzen_reconcile::typed::Kind;
use mizzen_reconcile::{Action, Clock, Controller, Error, Queue, Reconciler, Recorder, WatchCache, typed};

use crate::context::Context;
use crate::expectations::Expectations;
use crate::observe_pods::observe_pods;
use crate::pod_view::PodView;
pub(crate) use view::RsView;

const NAME: &str = "replicaset-controller";

pub(crate) fn start(context: &Context) {
    start_for::<ReplicaSet>(context, NAME, context.caches.replica_sets.clone());
}

/// The same for another kind that asks for a number of pods; `name` is its controller's and its account's.
pub(crate) fn start_for<K: Kind>(context: &Context, name: &'static str, sets: Arc<WatchCache<RsView>>) {
    let client = context.client(name);
    let pods = context.caches.pods.clone();
    let queue = Queue::default();
    let expectations = Arc::new(Expectations::default());
    sets.enqueue(&queue);
    observe_pods(K::KIND, &pods, &sets, &queue, &expectations);
    let reconciler = Replicas::<K> {
        recorder: Recorder::start(client.clone(), context.clock.clone(), name, ""),
        clock: context.clock.clone(),
        client,
        sets,
        pods,
        expectations,
        kind: PhantomData,
    };
    context.run(Controller::new(name, queue, Arc::new(reconciler)).workers(5));
}

struct Replicas<K> {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    sets: Arc<WatchCache<RsView>>,
    pods: Arc<WatchCache<PodView>>,
    expectations: Arc<Expectations>,
    kind: PhantomData<fn() -> K>,
}

#[async_trait]
impl<K: Kind> Reconciler for Replicas<K> {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let Some(set) = self.sets.get(&key) else {
            self.expectations.forget(&key);
            return Ok(Action::Done);
        };
        let met = self.expectations.are_met(&key);
        let mut pods = self.claimed(&set).await?;
        pods.retain(|pod| pod.is_active());
        let mut failure = None;
        if met && !set.owner.terminating {
            let ranks = ranking::ranks(&pods, &self.related(&set));
            let decision = decide::replicas(&set, &pods, &ranks, self.clock.now());
            failure = self.carry_out(&set, decision).await.err();
        }
        let now = self.clock.now();
        let status = decide::status(&set, &pods, failure.as_ref(), now);
        if status != set.status {
            match typed::update_status::<K>(self.client.as_ref(), &set.owner.object, &status).await {
                Ok(_) => {}
                Err(error) => return Err(failure.map_or(error, |failure| failure.error)),
            }
        }
        if let Some(failure) = failure {
            return Err(failure.error);
        }
        Ok(match decide::next_available(&set, &pods, now) {
            Some(wait) => Action::RequeueAfter(wait.max(Duration::from_millis(100))),
            None => Action::Done,
        })
    }
}

impl<K: Kind> Replicas<K> {
    /// The active pods of all sets with the same controller: what a node holds of the same application.
    fn related(&self, set: &RsView) -> BTreeMap<String, usize> {
        let siblings = self.sets.in_namespace(&set.owner.key.namespace);
        let siblings = siblings.iter().filter(|other| match (&set.controller, &other.controller) {
            (Some(mine), Some(theirs)) => mine.uid == theirs.uid,
            _ => other.owner.uid == set.owner.uid,
        });
        let mut per_node = BTreeMap::new();
        for pod in siblings.flat_map(|sibling| self.pods.by(crate::caches::BY_OWNER, &sibling.owner.uid)) {
            if pod.is_active() && !pod.node.is_empty() {
                *per_node.entry(pod.node.clone()).or_default() += 1;
            }
        }
        per_node
    }
}
