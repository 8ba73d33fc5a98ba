//! Job: runs pods until as many have succeeded as asked for, or too many have failed.

mod decide;
mod effects;
mod indexes;
mod policies;
mod view;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use mizzen_api::ObjectRef;
use mizzen_client::{Client, DeleteOptions, Propagation};
use mizzen_reconcile::{Action, Clock, Controller, Error, Queue, Reconciler, Recorder, WatchCache, typed};

use crate::claim_pods::Claimant;
use crate::context::Context;
use crate::expectations::Expectations;
use crate::observe_pods::observe_pods;
use crate::pod_view::{JOB_TRACKING, PodView};
pub(crate) use view::{JobView, holds, is_finished};

const NAME: &str = "job-controller";
/// The label of a job's pods that names it.
const JOB_NAME: &str = "batch.kubernetes.io/job-name";

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let jobs = context.caches.jobs.clone();
    let (queue, expectations) = (Queue::default(), Arc::new(Expectations::default()));
    jobs.enqueue(&queue);
    observe_pods("Job", &context.caches.pods, &jobs, &queue, &expectations);
    wake_by_orphans(&context.caches.pods, &queue);
    let reconciler = Jobs {
        recorder: Recorder::start(client.clone(), context.clock.clone(), NAME, ""),
        clock: context.clock.clone(),
        client,
        jobs,
        pods: context.caches.pods.clone(),
        expectations,
    };
    context.run(Controller::new(NAME, queue, Arc::new(reconciler)).workers(5));
}

/// A pod that has lost its job and not its finalizer.
fn wake_by_orphans(pods: &WatchCache<PodView>, queue: &Queue) {
    let queue = queue.clone();
    pods.on_change(move |change| {
        if let Some(pod) = change.new.filter(|pod| pod.owner.is_none() && pod.is_tracked())
            && let Some(job) = pod.labels.get(JOB_NAME)
        {
            queue.add(ObjectRef::new(change.key.namespace.clone(), job.clone()));
        }
    });
}

struct Jobs {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    jobs: Arc<WatchCache<JobView>>,
    pods: Arc<WatchCache<PodView>>,
    expectations: Arc<Expectations>,
}

#[async_trait]
impl Reconciler for Jobs {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let job = self.jobs.get(&key).filter(|job| !job.owner.terminating);
        let Some(job) = job else {
            self.expectations.forget(&key);
            self.untrack(&self.orphans(&key)).await?;
            return Ok(Action::Done);
        };
        if job.is_managed_elsewhere() {
            return Ok(Action::Done);
        }
        let now = self.clock.now();
        // Before the pods: what was asked for and is met must be among them.
        let met = self.expectations.are_met(&key);
        let claimant = Claimant { owner: &job.owner, finalizer: Some(JOB_TRACKING) };
        let pods = claimant.pods::<Job>(self.client.as_ref(), &self.pods, PodView::is_active).await?;
        let plan = decide::plan(&job, &pods, now);
        if plan.status != job.status {
            typed::update_status::<Job>(self.client.as_ref(), &job.owner.object, &plan.status).await?;
            self.tell(&job, &plan.status);
        }
        if met {
            self.carry_out(&job, &plan).await?;
        }
        self.untrack(&plan.count).await?;
        if is_finished(&plan.status) {
            return self.expire(&job, &plan.status, now).await;
        }
        Ok(plan.again.map_or(Action::Done, |wait| Action::RequeueAfter(wait.max(Duration::from_millis(100)))))
    }
}

impl Jobs {
    /// Pods with the finalizer whose job is gone or going.
    fn orphans(&self, job: &ObjectRef) -> Vec<Arc<PodView>> {
        let of_job = |pod: &PodView| match &pod.owner {
            Some(owner) => owner.kind == "Job" && owner.name == job.name,
            None => pod.labels.get(JOB_NAME) == Some(&job.name),
        };
        self.pods.in_namespace(&job.namespace).into_iter().filter(|pod| pod.is_tracked() && of_job(pod)).collect()
    }

    fn tell(&self, job: &JobView, status: &k8s_openapi::api::batch::v1::JobStatus) {
        let about = job.owner.reference::<Job>();
        let became = |kind| holds(status, kind) && !holds(&job.status, kind);
        if became("Complete") {
            self.recorder.normal(&about, "Completed", "Job completed");
        }
        if became("Failed")
            && let Some(failed) = status.conditions.iter().flatten().find(|condition| condition.type_ == "Failed")
        {
            let (reason, message) = (failed.reason.as_deref(), failed.message.as_deref());
            self.recorder.warning(&about, reason.unwrap_or_default(), message.unwrap_or_default());
        }
        if became("Suspended") {
            self.recorder.normal(&about, "Suspended", "Job suspended");
        }
        if holds(&job.status, "Suspended") && !holds(status, "Suspended") {
            self.recorder.normal(&about, "Resumed", "Job resumed");
        }
    }

    /// Deletes a job that has been over for as long as it is to be kept.
    async fn expire(
        &self,
        job: &JobView,
        status: &k8s_openapi::api::batch::v1::JobStatus,
        now: Timestamp,
    ) -> Result<Action, Error> {
        let over = status
            .conditions
            .iter()
            .flatten()
            .find(|condition| matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True");
        let since = over.and_then(|condition| condition.last_transition_time.as_ref());
        let (Some(kept), Some(since)) = (job.spec.ttl_seconds_after_finished, since) else { return Ok(Action::Done) };
        let left = SignedDuration::from_secs(kept.into()) - now.duration_since(since.0);
        if let Ok(left) = Duration::try_from(left)
            && !left.is_zero()
        {
            return Ok(Action::RequeueAfter(left));
        }
        let options = DeleteOptions {
            uid: Some(job.owner.uid.clone()),
            propagation: Some(Propagation::Foreground),
            ..DeleteOptions::default()
        };
        typed::delete::<Job>(self.client.as_ref(), &job.owner.key.namespace, &job.owner.key.name, options).await?;
        Ok(Action::Done)
    }
}
