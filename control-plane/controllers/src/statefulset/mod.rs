//! StatefulSet: keeps pods that are told apart by an ordinal, and brings and takes them in its order.

mod decide;
mod effects;
mod view;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use mizzen_api::ObjectRef;
use mizzen_client::Client;
use mizzen_reconcile::{Action, Clock, Controller, Error, Queue, Reconciler, Recorder, WatchCache, WatchSpec, typed};

use crate::claim_pods::Claimant;
use crate::context::Context;
use crate::expectations::Expectations;
use crate::observe_pods::observe_pods;
use crate::pod_view::PodView;
use crate::revisions::{HASH_LABEL, Owner, Present, REVISION_LABEL, Revisions};
use decide::Situation;
use effects::Templates;
use view::SsView;

const NAME: &str = "statefulset-controller";

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let sets = WatchCache::projected(WatchSpec::all(typed::gvr::<StatefulSet>()), SsView::of)
        .start(client.clone(), context.cancel.clone());
    let queue = Queue::default();
    sets.enqueue(&queue);
    // Its pods have names known in advance: one that is asked for twice is refused, and nothing need be expected.
    observe_pods("StatefulSet", &context.caches.pods, &sets, &queue, &Arc::new(Expectations::default()));
    let reconciler = StatefulSets {
        recorder: Recorder::start(client.clone(), context.clock.clone(), NAME, ""),
        clock: context.clock.clone(),
        revisions: Revisions::new(client.clone(), &context.caches.revisions, &sets, &queue),
        client,
        sets,
        pods: context.caches.pods.clone(),
    };
    context.run(Controller::new(NAME, queue, Arc::new(reconciler)).workers(5));
}

struct StatefulSets {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    sets: Arc<WatchCache<SsView>>,
    revisions: Revisions,
    pods: Arc<WatchCache<PodView>>,
}

#[async_trait]
impl Reconciler for StatefulSets {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let Some(set) = self.sets.get(&key) else { return Ok(Action::Done) };
        if set.owner.terminating {
            return Ok(Action::Done);
        }
        let fits = |pod: &PodView| set.ordinal(pod).is_some();
        let claimant = Claimant { owner: &set.owner, finalizer: None };
        let pods = claimant.pods::<StatefulSet>(self.client.as_ref(), &self.pods, fits).await?;
        let owner = owner_of_revisions(&set);
        let update = match self.revisions.present(&owner).await? {
            Present::Known(revision) => revision,
            Present::Written => return Ok(Action::Done),
            Present::Taken => {
                let mut status = set.status.clone();
                status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
                self.update_status(&set, &status).await?;
                return Ok(Action::Done);
            }
        };
        let all = self.revisions.of(&set.owner.uid);
        let current = set.status.current_revision.as_deref();
        let current = all.iter().find(|revision| Some(revision.key.name.as_str()) == current);
        let templates = Templates::new(&set, current.map(AsRef::as_ref), &update);
        let situation = Situation::new(&set, &pods, &templates.current.0, &update.key.name, self.clock.now());
        let done = self.carry_out(&set, &templates, &situation.plan()).await;
        let status = situation.status(set.status.collision_count);
        if status != set.status {
            self.update_status(&set, &status).await?;
        }
        done?;
        let used: BTreeSet<_> = pods.iter().filter_map(|pod| pod.labels.get(REVISION_LABEL)).map(String::as_str).collect();
        self.revisions.forget_old(&owner, &[&templates.current.0, &update.key.name], &used, set.history).await?;
        Ok(match situation.next_available() {
            Some(wait) => Action::RequeueAfter(wait.max(Duration::from_millis(100))),
            None => Action::Done,
        })
    }
}

impl StatefulSets {
    async fn update_status(&self, set: &SsView, status: &StatefulSetStatus) -> Result<(), Error> {
        typed::update_status::<StatefulSet>(self.client.as_ref(), &set.owner.object, status).await.map(drop)
    }
}

fn owner_of_revisions(set: &SsView) -> Owner<'_> {
    Owner {
        key: &set.owner.key,
        uid: &set.owner.uid,
        reference: set.owner.controls::<StatefulSet>(),
        template: &set.owner.template,
        collisions: set.status.collision_count.unwrap_or(0),
        hash_label: HASH_LABEL,
    }
}
