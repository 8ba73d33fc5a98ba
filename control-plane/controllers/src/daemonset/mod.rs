//! DaemonSet: keeps one pod of a template on every node that fits.

mod decide;
mod effects;
mod nodes;
mod view;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::Node;
use mizzen_api::ObjectRef;
use mizzen_client::Client;
use mizzen_reconcile::{Action, Clock, Controller, Error, Queue, Reconciler, Recorder, WatchCache, WatchSpec, typed};

use crate::claim_pods::Claimant;
use crate::context::Context;
use crate::expectations::Expectations;
use crate::observe_pods::observe_pods;
use crate::pod_view::PodView;
use crate::revisions::{Owner, Present, REVISION_LABEL, Revisions};
use decide::{Nodes, Situation};
use nodes::Demands;
use view::DsView;

const NAME: &str = "daemon-set-controller";

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let sets = WatchCache::projected(WatchSpec::all(typed::gvr::<DaemonSet>()), DsView::of)
        .start(client.clone(), context.cancel.clone());
    let (queue, expectations) = (Queue::default(), Arc::new(Expectations::default()));
    let revisions = Revisions::new(client.clone(), &context.caches.revisions, &sets, &queue);
    sets.enqueue(&queue);
    observe_pods("DaemonSet", &context.caches.pods, &sets, &queue, &expectations);
    wake_by_nodes(&context.caches.nodes, &sets, &queue);
    let reconciler = DaemonSets {
        recorder: Recorder::start(client.clone(), context.clock.clone(), NAME, ""),
        clock: context.clock.clone(),
        client,
        sets,
        revisions,
        pods: context.caches.pods.clone(),
        nodes: context.caches.nodes.clone(),
        expectations,
    };
    context.run(Controller::new(NAME, queue, Arc::new(reconciler)).workers(2));
}

/// Whether a set has a pod on a node depends on the node's labels and taints.
fn wake_by_nodes(nodes: &WatchCache, sets: &Arc<WatchCache<DsView>>, queue: &Queue) {
    let (sets, queue) = (sets.clone(), queue.clone());
    nodes.on_change(move |change| {
        let taints = |node: &Node| node.spec.as_ref().and_then(|spec| spec.taints.clone());
        let same = change.old.zip(change.new).is_some_and(|(old, new)| {
            old.head().labels == new.head().labels
                && typed::view::<Node>(old).ok().map(|node| taints(&node))
                    == typed::view::<Node>(new).ok().map(|node| taints(&node))
        });
        if !same {
            sets.keys().into_iter().for_each(|set| queue.add(set));
        }
    });
}

struct DaemonSets {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    sets: Arc<WatchCache<DsView>>,
    revisions: Revisions,
    pods: Arc<WatchCache<PodView>>,
    nodes: Arc<WatchCache>,
    expectations: Arc<Expectations>,
}

#[async_trait]
impl Reconciler for DaemonSets {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let Some(set) = self.sets.get(&key) else {
            self.expectations.forget(&key);
            return Ok(Action::Done);
        };
        if set.owner.terminating {
            return Ok(Action::Done);
        }
        // Before the pods: what was asked for and is met must be among them.
        let met = self.expectations.are_met(&key);
        let claimant = Claimant { owner: &set.owner, finalizer: None };
        let pods = claimant.pods::<DaemonSet>(self.client.as_ref(), &self.pods, |_| true).await?;
        let owner = owner_of_revisions(&set);
        let revision = match self.revisions.present(&owner).await? {
            Present::Known(revision) => revision,
            Present::Written => return Ok(Action::Done),
            Present::Taken => {
                let mut status = set.status.clone();
                status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
                update_status(self.client.as_ref(), &set, &status).await?;
                return Ok(Action::Done);
            }
        };
        let hash = revision.hash.as_str();
        let (nodes, now) = (self.fits(&set)?, self.clock.now());
        let situation = Situation::new(&set, &nodes, &pods, hash, now);
        let plan = situation.plan();
        let done = if met { self.carry_out(&set, hash, &plan).await } else { Ok(()) };
        let status = situation.status(set.status.collision_count);
        if status != set.status {
            update_status(self.client.as_ref(), &set, &status).await?;
        }
        done?;
        let used: BTreeSet<_> = pods.iter().filter_map(|pod| pod.labels.get(REVISION_LABEL)).map(String::as_str).collect();
        self.revisions.forget_old(&owner, &[&revision.key.name], &used, set.history).await?;
        Ok(match plan.again.into_iter().chain(situation.next_available()).min() {
            Some(wait) => Action::RequeueAfter(wait.max(Duration::from_millis(100))),
            None => Action::Done,
        })
    }
}

impl DaemonSets {
    fn fits(&self, set: &DsView) -> Result<Nodes, Error> {
        let demands = Demands::of(&set.owner.template);
        let fit = |node: &Arc<mizzen_api::Object>| Ok((node.head().name.clone(), demands.fit(&*typed::view::<Node>(node)?)));
        self.nodes.list().iter().map(fit).collect()
    }
}

fn owner_of_revisions(set: &DsView) -> Owner<'_> {
    Owner {
        key: &set.owner.key,
        uid: &set.owner.uid,
        reference: set.owner.controls::<DaemonSet>(),
        template: &set.owner.template,
        collisions: set.status.collision_count.unwrap_or(0),
        hash_label: REVISION_LABEL,
    }
}

async fn update_status(client: &dyn Client, set: &DsView, status: &DaemonSetStatus) -> Result<(), Error> {
    typed::update_status::<DaemonSet>(client, &set.owner.object, status).await.map(drop)
}
