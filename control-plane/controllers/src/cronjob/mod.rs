//! CronJob: starts a job at each time of a schedule, and keeps the last few.

mod decide;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use mizzen_api::cron::Schedule;
use mizzen_api::{Object, ObjectRef, Reason};
use mizzen_client::{ApiRequest, Client, DeleteOptions, Propagation};
use mizzen_reconcile::{Action, Clock, Controller, Error, Queue, Reconciler, Recorder, WatchCache, WatchSpec, typed};
use serde_json::{Value, json};

use crate::caches::BY_OWNER;
use crate::claim::controller_reference;
use crate::context::Context;
use crate::job::{JobView, holds, is_finished};
use crate::namespaces::is_terminating_error;
use decide::{Decision, decide, next};

const NAME: &str = "cronjob-controller";
/// Annotation of a job: the time that it was started for.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let cron_jobs = WatchCache::objects(WatchSpec::all(typed::gvr::<CronJob>())).start(client.clone(), context.cancel.clone());
    let queue = Queue::default();
    cron_jobs.enqueue(&queue);
    context.caches.jobs.enqueue_mapped(&queue, |job| {
        let owner = job.controller.as_ref().filter(|owner| owner.kind == "CronJob");
        owner.map(|owner| ObjectRef::new(job.owner.key.namespace.clone(), owner.name.clone())).into_iter().collect()
    });
    let reconciler = CronJobs {
        recorder: Recorder::start(client.clone(), context.clock.clone(), NAME, ""),
        clock: context.clock.clone(),
        client,
        cron_jobs,
        jobs: context.caches.jobs.clone(),
    };
    context.run(Controller::new(NAME, queue, Arc::new(reconciler)).workers(2));
}

struct CronJobs {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    cron_jobs: Arc<WatchCache>,
    jobs: Arc<WatchCache<JobView>>,
}

/// One CronJob under work.
struct Work {
    object: Arc<Object>,
    key: ObjectRef,
    uid: String,
    typed: Arc<CronJob>,
    about: ObjectReference,
}

impl Work {
    fn status(&self) -> CronJobStatus {
        self.typed.status.clone().unwrap_or_default()
    }

    fn created(&self) -> Option<Timestamp> {
        self.object.head().creation_timestamp.as_deref()?.parse().ok()
    }
}

#[async_trait]
impl Reconciler for CronJobs {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let Some(object) = self.cron_jobs.get(&key).filter(|object| !object.head().is_terminating()) else {
            return Ok(Action::Done);
        };
        let typed = typed::view::<CronJob>(&object)?;
        let about = mizzen_reconcile::reference(typed.as_ref());
        let work = Work { key, uid: object.head().uid.clone(), object, typed, about };
        let jobs = self.jobs.by(BY_OWNER, &work.uid);
        let mut status = work.status();
        self.follow(&work, &jobs, &mut status).await?;
        self.tidy(&work, &jobs).await?;
        let started = self.start_next(&work, &mut status).await;
        if status != work.status() {
            typed::update_status::<CronJob>(self.client.as_ref(), &work.object, &status).await?;
        }
        Ok(started?.map_or(Action::Done, |wait| Action::RequeueAfter(wait + Duration::from_millis(100))))
    }
}

impl CronJobs {
    /// Brings the list of jobs that run up to date.
    async fn follow(&self, work: &Work, jobs: &[Arc<JobView>], status: &mut CronJobStatus) -> Result<(), Error> {
        let mut active = Vec::new();
        for known in status.active.take().unwrap_or_default() {
            let uid = known.uid.as_deref().unwrap_or_default();
            match jobs.iter().find(|job| job.owner.uid == uid) {
                Some(job) if is_finished(&job.status) => {
                    let end = if holds(&job.status, "Complete") { "Complete" } else { "Failed" };
                    let message = format!("Saw completed job: {}, condition: {end}", job.owner.key.name);
                    self.recorder.normal(&work.about, "SawCompletedJob", message);
                }
                Some(_) => active.push(known),
                // The cache may not have it yet, or not have it any more.
                None => {
                    let name = known.name.as_deref().unwrap_or_default();
                    let live = typed::get_object::<Job>(self.client.as_ref(), &work.key.namespace, name).await?;
                    if live.is_some_and(|live| live.head().uid == uid) {
                        active.push(known);
                    } else {
                        let message = format!("Active job went missing: {name}");
                        self.recorder.normal(&work.about, "MissingJob", message);
                    }
                }
            }
        }
        for job in jobs.iter().filter(|job| !is_finished(&job.status)) {
            if active.iter().all(|known| known.uid.as_deref() != Some(&job.owner.uid)) {
                active.push(reference(&job.owner.object));
            }
        }
        status.active = (!active.is_empty()).then_some(active);
        let ended = jobs.iter().filter(|job| holds(&job.status, "Complete"));
        let last = ended.filter_map(|job| job.status.completion_time.as_ref()).map(|time| time.0).max();
        if last > status.last_successful_time.as_ref().map(|time| time.0) {
            status.last_successful_time = last.map(Time);
        }
        Ok(())
    }

    /// Removes the oldest jobs that are over, beyond as many as are to be kept of those that succeeded and failed.
    async fn tidy(&self, work: &Work, jobs: &[Arc<JobView>]) -> Result<(), Error> {
        let spec = &work.typed.spec;
        for (end, limit) in [("Complete", spec.successful_jobs_history_limit), ("Failed", spec.failed_jobs_history_limit)] {
            let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { continue };
            let mut over: Vec<_> = jobs.iter().filter(|job| holds(&job.status, end) && !job.owner.terminating).collect();
            over.sort_by_key(|job| (job.status.start_time.as_ref().map(|time| time.0), job.owner.key.clone()));
            let many = over.len().saturating_sub(limit);
            for job in over.into_iter().take(many) {
                self.delete(work, &job.owner.key.name, &job.owner.uid).await?;
            }
        }
        Ok(())
    }

    async fn delete(&self, work: &Work, name: &str, uid: &str) -> Result<(), Error> {
        let options =
            DeleteOptions { uid: Some(uid.to_owned()), propagation: Some(Propagation::Background), ..DeleteOptions::default() };
        if typed::delete::<Job>(self.client.as_ref(), &work.key.namespace, name, options).await? {
            self.recorder.normal(&work.about, "SuccessfulDelete", format!("Deleted job {name}"));
        }
        Ok(())
    }

    /// Starts a job where it is time for one; says when it is time for the next.
    async fn start_next(&self, work: &Work, status: &mut CronJobStatus) -> Result<Option<Duration>, Error> {
        let spec = &work.typed.spec;
        let Some(created) = work.created() else { return Ok(None) };
        let zone = spec.time_zone.as_deref().map_or(Ok(TimeZone::UTC), TimeZone::get);
        let (schedule, zone) = match (Schedule::parse(&spec.schedule), zone) {
            (Ok(schedule), Ok(zone)) => (schedule, zone),
            (Err(why), _) => {
                let message = format!("unparseable schedule: \"{}\" : {why}", spec.schedule);
                self.recorder.warning(&work.about, "UnparseableSchedule", message);
                return Ok(None);
            }
            (_, Err(error)) => {
                self.recorder.warning(&work.about, "UnknownTimeZone", format!("invalid timeZone: {error}"));
                return Ok(None);
            }
        };
        let now = self.clock.now();
        let since = status.last_schedule_time.as_ref().map_or(created, |time| time.0);
        let busy = status.active.as_ref().is_some_and(|active| !active.is_empty());
        match decide(spec, &schedule, &zone, since, busy, now) {
            Decision::Wait(wait) => return Ok(wait),
            Decision::Missed(at) => {
                self.recorder.warning(&work.about, "MissSchedule", format!("Missed scheduled time to start a job: {at}"));
            }
            Decision::Held(_) => {
                let why = "Not starting job because prior execution is running and concurrency policy is Forbid";
                self.recorder.normal(&work.about, "JobAlreadyActive", why);
            }
            Decision::Start { at, replace } => {
                if replace {
                    for running in status.active.take().into_iter().flatten() {
                        let (name, uid) = (running.name.unwrap_or_default(), running.uid.unwrap_or_default());
                        self.delete(work, &name, &uid).await?;
                    }
                }
                if let Some(job) = self.create(work, at, &zone).await? {
                    status.active.get_or_insert_default().push(reference(&job));
                    status.last_schedule_time = Some(Time(at));
                }
            }
        }
        Ok(next(&schedule, &zone, now))
    }

    /// The job for a time, by whose name it is started only once; `None` where the name is another's.
    async fn create(&self, work: &Work, at: Timestamp, zone: &TimeZone) -> Result<Option<Arc<Object>>, Error> {
        let (namespace, name) = (&work.key.namespace, format!("{}-{}", work.key.name, at.as_second() / 60));
        let document = job_of(work, &name, &at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())?;
        match self.client.write(ApiRequest::create(&typed::gvr::<Job>(), namespace, document)).await {
            Ok(response) => {
                self.recorder.normal(&work.about, "SuccessfulCreate", format!("Created job {name}"));
                Ok(Some(response.object))
            }
            Err(status) if status.is(Reason::AlreadyExists) => {
                let found = typed::get_object::<Job>(self.client.as_ref(), namespace, &name).await?;
                Ok(found.filter(|job| job.head().controller().is_some_and(|owner| owner.uid == work.uid)))
            }
            Err(status) if is_terminating_error(&status) => Ok(None),
            Err(status) => {
                self.recorder.warning(&work.about, "FailedCreate", format!("Error creating job: {status}"));
                Err(Error::api(format!("create jobs {namespace}/{name}"), status))
            }
        }
    }
}

fn reference(job: &Object) -> ObjectReference {
    let head = job.head();
    ObjectReference {
        api_version: Some("batch/v1".to_owned()),
        kind: Some("Job".to_owned()),
        name: Some(head.name.clone()),
        namespace: Some(head.namespace.clone()),
        uid: Some(head.uid.clone()),
        resource_version: Some(head.resource_version.clone()),
        field_path: None,
    }
}

/// A job of the template, as stored, so that fields this build does not know reach it.
fn job_of(work: &Work, name: &str, scheduled: &str) -> Result<Value, Error> {
    let source =
        |source| Error::Decode { operation: format!("decode cronjobs {}/{}", work.key.namespace, work.key.name), source };
    let mut document = work.object.value().map_err(source)?;
    let mut template = document.pointer_mut("/spec/jobTemplate").map(Value::take).unwrap_or_default();
    let owner = controller_reference("batch/v1", "CronJob", &work.key.name, &work.uid);
    let mut metadata = json!({"name": name, "ownerReferences": [owner]});
    for field in ["labels", "annotations"] {
        if let Some(value) = template.pointer(&format!("/metadata/{field}")).filter(|value| !value.is_null()) {
            metadata[field] = value.clone();
        }
    }
    metadata["annotations"][SCHEDULED] = json!(scheduled);
    Ok(json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template.get_mut("spec").map(Value::take)}))
}
