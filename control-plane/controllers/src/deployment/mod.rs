//! Deployment: moves pods from one template to the next by scaling ReplicaSets.

mod conditions;
mod decide;
mod effects;
mod new_set;
mod progress;
mod rolling;
mod scale;
#[cfg(test)]
mod tests;
mod view;
mod world;

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::apps::v1::Deployment;
use mizzen_api::{ObjectRef, OwnerReference};
use mizzen_client::Client;
use mizzen_reconcile::{Action, Clock, Controller, Error, Queue, Reconciler, Recorder, WatchCache, WatchSpec, typed};

use crate::caches::BY_OWNER;
use crate::claim::{self, Claim};
use crate::context::Context;
use crate::pod_view::PodView;
use crate::replicaset::RsView;
use view::DeploymentView;
use world::World;

const NAME: &str = "deployment-controller";

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let queue = Queue::default();
    let deployments = WatchCache::projected(WatchSpec::all(typed::gvr::<Deployment>()), DeploymentView::of)
        .start(client.clone(), context.cancel.clone());
    deployments.enqueue(&queue);
    let (sets, pods) = (context.caches.replica_sets.clone(), context.caches.pods.clone());
    wake_by_replica_sets(&sets, &deployments, &queue);
    wake_by_pods(&pods, &sets, &deployments, &queue);
    let reconciler = Deployments {
        recorder: Recorder::start(client.clone(), context.clock.clone(), NAME, ""),
        clock: context.clock.clone(),
        client,
        deployments,
        sets,
        pods,
    };
    context.run(Controller::new("deployment", queue, Arc::new(reconciler)).workers(5));
}

fn deployment_of(owner: Option<&OwnerReference>, namespace: &str) -> Option<ObjectRef> {
    owner.filter(|owner| owner.kind == "Deployment").map(|owner| ObjectRef::new(namespace, owner.name.clone()))
}

fn wake_by_replica_sets(sets: &WatchCache<RsView>, deployments: &Arc<WatchCache<DeploymentView>>, queue: &Queue) {
    let deployments = deployments.clone();
    sets.enqueue_mapped(queue, move |set| match &set.controller {
        Some(owner) => deployment_of(Some(owner), &set.owner.key.namespace).into_iter().collect(),
        None => {
            let all = deployments.in_namespace(&set.owner.key.namespace);
            all.iter().filter(|d| d.selector.matches(&set.labels)).map(|d| d.key.clone()).collect()
        }
    });
}

/// A Deployment that recreates waits for its last old pod to be gone.
fn wake_by_pods(
    pods: &WatchCache<PodView>,
    sets: &Arc<WatchCache<RsView>>,
    deployments: &Arc<WatchCache<DeploymentView>>,
    queue: &Queue,
) {
    let (sets, deployments, queue) = (sets.clone(), deployments.clone(), queue.clone());
    pods.on_change(move |change| {
        let gone = change.new.is_none_or(|pod| pod.is_finished());
        let Some(owner) = change.old.and_then(|pod| pod.owner.as_ref()).filter(|_| gone) else { return };
        let namespace = &change.key.namespace;
        if let Some(set) = sets.get(&ObjectRef::new(namespace.clone(), owner.name.clone()))
            && let Some(key) = deployment_of(set.controller.as_ref(), namespace)
            && deployments.get(&key).is_some_and(|deployment| deployment.recreate)
        {
            queue.add(key);
        }
    });
}

struct Deployments {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    deployments: Arc<WatchCache<DeploymentView>>,
    sets: Arc<WatchCache<RsView>>,
    pods: Arc<WatchCache<PodView>>,
}

#[async_trait]
impl Reconciler for Deployments {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let Some(deployment) = self.deployments.get(&key) else { return Ok(Action::Done) };
        let sets = self.claimed(&deployment).await?;
        let pods_of = |set: &RsView| self.pods.by(BY_OWNER, &set.owner.uid).iter().filter(|pod| !pod.is_finished()).count();
        let running = sets.iter().map(|set| (set.owner.uid.clone(), pods_of(set))).collect();
        let world = World::new(&deployment, sets, running, self.clock.now());
        let plan = decide::decide(&world);
        for command in plan.commands {
            self.carry_out(&world, command).await?;
        }
        if let Some(status) = plan.status.filter(|status| *status != deployment.status) {
            typed::update_status::<Deployment>(self.client.as_ref(), &deployment.object, &status).await?;
        }
        Ok(plan.again.map_or(Action::Done, Action::RequeueAfter))
    }
}

impl Deployments {
    /// The Deployment's ReplicaSets, after adopting and releasing.
    async fn claimed(&self, deployment: &DeploymentView) -> Result<Vec<Arc<RsView>>, Error> {
        let mut mine = Vec::new();
        for set in self.sets.in_namespace(&deployment.key.namespace) {
            let (uid, gone) = (&deployment.uid, deployment.terminating);
            match claim::claim(uid, gone, &deployment.selector, &set.labels, set.controller.as_ref(), set.owner.terminating) {
                Claim::NotMine => {}
                Claim::Mine => mine.push(set),
                Claim::Release => self.patch_owner(&set, claim::release(uid, &set.owner.uid)).await?,
                Claim::Adopt if self.is_alive(deployment).await? => {
                    let patch = claim::adoption(&deployment.reference_for_owned(), &set.owner.uid);
                    // Its next version, with the reference, comes by the cache and wakes this Deployment again.
                    self.patch_owner(&set, patch).await?;
                }
                Claim::Adopt => {}
            }
        }
        Ok(mine)
    }

    async fn is_alive(&self, deployment: &DeploymentView) -> Result<bool, Error> {
        let live = typed::get_object::<Deployment>(self.client.as_ref(), &deployment.key.namespace, &deployment.key.name).await?;
        Ok(live.is_some_and(|live| live.head().uid == deployment.uid && !live.head().is_terminating()))
    }
}
