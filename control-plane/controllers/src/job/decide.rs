//! What a job needs next: which pods come and go, what is counted, and whether it is over. Pure.
//!
//! A pod of a job has a finalizer until it is counted, so that none ends unseen: its uid is first written into the status
//! (`uncountedTerminatedPods`), then the finalizer goes, and only then the uid becomes a number. An indexed job counts a
//! success by the index itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{JobCondition, JobStatus, UncountedTerminatedPods};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::indexes;
use super::policies::{Verdict, satisfied, verdict};
use super::view::{JobView, holds, is_finished};
use crate::pod_view::{JobPod, PodView};
use crate::time::whole_seconds;

/// The first wait after a pod failed; it doubles with each that fails after it.
const FIRST_WAIT: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_WAIT: SignedDuration = SignedDuration::from_mins(10);
/// At most so many pods are created or deleted in one go, and so many wait to be counted.
const BURST: usize = 500;

/// A pod to be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) index: Option<i32>,
    /// How often the index failed before, where that is limited.
    pub(super) failures: Option<i32>,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) status: JobStatus,
    pub(super) create: Vec<Wanted>,
    pub(super) delete: Vec<Arc<PodView>>,
    /// Pods that lose the finalizer once the status is written.
    pub(super) count: Vec<Arc<PodView>>,
    /// When to look again, though nothing changes until then.
    pub(super) again: Option<Duration>,
}

impl Plan {
    fn look_again(&mut self, wait: SignedDuration) {
        let wait = Duration::try_from(wait).unwrap_or_default();
        self.again = Some(self.again.map_or(wait, |again| again.min(wait)));
    }
}

struct Situation<'a> {
    job: &'a JobView,
    now: Timestamp,
    active: Vec<&'a Arc<PodView>>,
    /// On their way out and still running.
    terminating: Vec<&'a Arc<PodView>>,
    /// Those that failed, with what they are to the job.
    failed: Vec<(&'a Arc<PodView>, &'a JobPod)>,
    completed: BTreeSet<i32>,
    failed_indexes: BTreeSet<i32>,
    succeeded: i32,
    /// Also those that are not counted yet.
    failures: i32,
    fatal: Option<String>,
}

/// `pods` are the job's, those that ended too.
pub(super) fn plan(job: &JobView, pods: &[Arc<PodView>], now: Timestamp) -> Plan {
    let mut plan = Plan { status: job.status.clone(), ..Plan::default() };
    if is_finished(&job.status) {
        plan.count = pods.iter().filter(|pod| pod.is_tracked()).cloned().collect();
        plan.delete = pods.iter().filter(|pod| pod.is_active()).cloned().collect();
        return plan;
    }
    if plan.status.start_time.is_none() && !job.is_suspended() {
        plan.status.start_time = Some(Time(whole_seconds(now)));
    }
    let mut situation = Situation::new(job, pods, now);
    situation.count(pods, &mut plan);
    let ending = situation.ending(&mut plan);
    if ending {
        plan.delete = situation.active.iter().map(|pod| (*pod).clone()).collect();
    } else {
        situation.suspend(&mut plan);
        if job.is_suspended() {
            plan.delete = situation.active.iter().map(|pod| (*pod).clone()).collect();
        } else if job.is_indexed() {
            situation.indexed(&mut plan);
        } else {
            situation.counted(&mut plan);
        }
    }
    situation.report(&mut plan);
    if ending && situation.active.is_empty() && situation.terminating.is_empty() && plan.count.is_empty() {
        end(&mut plan.status, now);
    }
    plan
}

impl<'a> Situation<'a> {
    fn new(job: &'a JobView, pods: &'a [Arc<PodView>], now: Timestamp) -> Self {
        let end = job.spec.completions.unwrap_or(0);
        let parsed = |text: &Option<String>| indexes::parse(text.as_deref().unwrap_or_default(), end);
        let has_failed = |pod: &PodView| match pod.phase.as_str() {
            "Failed" => true,
            "Succeeded" => false,
            // What no node has ever seen ends without a phase.
            _ => pod.terminating && (!job.replaces_only_failed() || pod.node.is_empty()),
        };
        Self {
            job,
            now,
            active: pods.iter().filter(|pod| pod.is_active()).collect(),
            terminating: pods.iter().filter(|pod| pod.terminating && !pod.is_finished()).collect(),
            failed: pods.iter().filter(|pod| has_failed(pod)).filter_map(|pod| Some((pod, pod.job.as_deref()?))).collect(),
            completed: parsed(&job.status.completed_indexes),
            failed_indexes: parsed(&job.status.failed_indexes),
            succeeded: 0,
            failures: 0,
            fatal: None,
        }
    }

    /// Takes what ended into the status.
    fn count(&mut self, pods: &[Arc<PodView>], plan: &mut Plan) {
        let status = &mut plan.status;
        let before = status.uncounted_terminated_pods.take().unwrap_or_default();
        let tracked: BTreeSet<&str> = pods.iter().filter(|pod| pod.is_tracked()).map(|pod| pod.uid.as_str()).collect();
        let settle = |uids: Option<Vec<String>>, counted: &mut Option<i32>| {
            let (waiting, done): (Vec<_>, Vec<_>) = uids.into_iter().flatten().partition(|uid| tracked.contains(uid.as_str()));
            let done = i32::try_from(done.len()).unwrap_or(i32::MAX);
            if done > 0 {
                *counted = Some(counted.unwrap_or(0).saturating_add(done));
            }
            waiting
        };
        let mut succeeded = settle(before.succeeded, &mut status.succeeded);
        let mut failed = settle(before.failed, &mut status.failed);
        for pod in pods.iter().filter(|pod| pod.is_tracked() && pod.phase == "Succeeded") {
            if succeeded.len() >= BURST {
                break;
            }
            if self.job.is_indexed() {
                let within = |index: &i32| *index < self.job.spec.completions.unwrap_or(0);
                self.completed.extend(pod.job.as_ref().and_then(|of_job| of_job.index).filter(within));
            } else if !succeeded.contains(&pod.uid) {
                succeeded.push(pod.uid.clone());
            }
            plan.count.push(pod.clone());
        }
        for (pod, of_job) in self.failed.iter().filter(|(pod, _)| pod.is_tracked()) {
            if failed.len() >= BURST {
                break;
            }
            let verdict = verdict(self.job, pod, of_job);
            let ignored = verdict == Verdict::Ignore;
            if !ignored && !failed.contains(&pod.uid) {
                failed.push(pod.uid.clone());
            }
            let past = self.job.spec.backoff_limit_per_index.is_some_and(|limit| !ignored && of_job.index_failures >= limit);
            if past || verdict == Verdict::FailIndex {
                self.failed_indexes.extend(of_job.index.filter(|index| !self.completed.contains(index)));
            }
            if let Verdict::FailJob(why) = verdict {
                self.fatal.get_or_insert(why);
            }
            plan.count.push((*pod).clone());
        }
        let waiting = |uids: &[String]| i32::try_from(uids.len()).unwrap_or(i32::MAX);
        self.failures = status.failed.unwrap_or(0).saturating_add(waiting(&failed));
        self.succeeded = status.succeeded.unwrap_or(0).saturating_add(waiting(&succeeded));
        let some = |uids: Vec<String>| (!uids.is_empty()).then_some(uids);
        status.uncounted_terminated_pods = Some(UncountedTerminatedPods { failed: some(failed), succeeded: some(succeeded) });
        if self.job.is_indexed() {
            self.succeeded = i32::try_from(self.completed.len()).unwrap_or(i32::MAX);
            status.succeeded = Some(self.succeeded).filter(|number| *number > 0);
            status.completed_indexes = Some(indexes::format(&self.completed)).filter(|text| !text.is_empty());
            if self.job.spec.backoff_limit_per_index.is_some() {
                status.failed_indexes = Some(indexes::format(&self.failed_indexes));
            }
        }
    }

    /// Whether the job is to end, which its conditions say first.
    fn ending(&self, plan: &mut Plan) -> bool {
        if holds(&plan.status, "SuccessCriteriaMet") || holds(&plan.status, "FailureTarget") {
            return true;
        }
        let verdict = self.failure(plan).map(|(reason, message)| ("FailureTarget", reason, message));
        let verdict = verdict.or_else(|| self.success().map(|(reason, message)| ("SuccessCriteriaMet", reason, message)));
        let Some((kind, reason, message)) = verdict else { return false };
        set(&mut plan.status, kind, "True", reason, &message, self.now);
        true
    }

    fn failure(&self, plan: &mut Plan) -> Option<(&'static str, String)> {
        if let Some(why) = &self.fatal {
            return Some(("PodFailurePolicy", why.clone()));
        }
        let spec = &self.job.spec;
        let limit = spec.backoff_limit.unwrap_or(6);
        let restarts: i32 = self.active.iter().filter_map(|pod| pod.job.as_ref()).map(|pod| pod.restarts).sum();
        let past_restarts = self.job.restarts_in_place() && if limit == 0 { restarts > 0 } else { restarts >= limit };
        if self.failures > limit || past_restarts {
            return Some(("BackoffLimitExceeded", "Job has reached the specified backoff limit".to_owned()));
        }
        if let (Some(seconds), Some(start), false) =
            (spec.active_deadline_seconds, &plan.status.start_time, self.job.is_suspended())
        {
            let left = SignedDuration::from_secs(seconds) - self.now.duration_since(start.0);
            if left <= SignedDuration::ZERO {
                return Some(("DeadlineExceeded", "Job was active longer than specified deadline".to_owned()));
            }
            plan.look_again(left);
        }
        let number = |set: &BTreeSet<i32>| i32::try_from(set.len()).unwrap_or(i32::MAX);
        let failed = number(&self.failed_indexes);
        if spec.max_failed_indexes.is_some_and(|most| failed > most) {
            let why = "Job has exceeded the specified maximal number of failed indexes";
            return Some(("MaxFailedIndexesExceeded", why.to_owned()));
        }
        let all = spec.completions.is_some_and(|all| failed > 0 && failed.saturating_add(number(&self.completed)) >= all);
        all.then(|| ("FailedIndexes", "Job has failed indexes".to_owned()))
    }

    fn success(&self) -> Option<(&'static str, String)> {
        let spec = &self.job.spec;
        if let Some(policy) = &spec.success_policy
            && let Some(rule) = satisfied(&policy.rules, &self.completed, spec.completions.unwrap_or(0))
        {
            return Some(("SuccessPolicy", format!("Matched rules at index {rule}")));
        }
        let done = match spec.completions {
            // As soon as one is through, no more come, and the others are waited for.
            None => self.succeeded > 0 && self.active.is_empty(),
            Some(wanted) => self.succeeded >= wanted,
        };
        done.then(|| ("CompletionsReached", "Reached expected number of succeeded pods".to_owned()))
    }

    fn suspend(&self, plan: &mut Plan) {
        if self.job.is_suspended() {
            plan.status.start_time = None;
            set(&mut plan.status, "Suspended", "True", "JobSuspended", "Job suspended", self.now);
        } else if holds(&plan.status, "Suspended") {
            plan.status.start_time = Some(Time(whole_seconds(self.now)));
            set(&mut plan.status, "Suspended", "False", "JobResumed", "Job resumed", self.now);
        }
    }

    /// Pods that take a place: also those on their way out, where only what failed is replaced.
    fn places(&self) -> usize {
        self.active.len() + if self.job.replaces_only_failed() { self.terminating.len() } else { 0 }
    }

    fn parallelism(&self) -> usize {
        usize::try_from(self.job.spec.parallelism.unwrap_or(1)).unwrap_or(0)
    }

    fn counted(&self, plan: &mut Plan) {
        let wanted = match self.job.spec.completions {
            None if self.succeeded > 0 => self.active.len().min(self.parallelism()),
            None => self.parallelism(),
            Some(completions) => self.parallelism().min(usize::try_from(completions - self.succeeded).unwrap_or(0)),
        };
        if self.active.len() > wanted {
            plan.delete = first_to_go(&self.active, self.active.len() - wanted);
        } else if self.places() < wanted {
            match self.wait(self.failed.iter().copied()) {
                Some(left) => plan.look_again(left),
                None => plan.create = vec![Wanted::default(); (wanted - self.places()).min(BURST)],
            }
        }
    }

    fn indexed(&self, plan: &mut Plan) {
        let end = self.job.spec.completions.unwrap_or(0);
        let mut taken: BTreeMap<i32, &Arc<PodView>> = BTreeMap::new();
        for pod in &self.active {
            let index = pod.job.as_ref().and_then(|of_job| of_job.index);
            match index.filter(|index| *index < end && !self.failed_indexes.contains(index) && !taken.contains_key(index)) {
                Some(index) => {
                    taken.insert(index, pod);
                }
                None => plan.delete.push((*pod).clone()),
            }
        }
        let pending = usize::try_from(end).unwrap_or(0).saturating_sub(self.completed.len() + self.failed_indexes.len());
        let wanted = self.parallelism().min(pending);
        if taken.len() > wanted {
            let kept: Vec<_> = taken.into_values().collect();
            plan.delete.extend(first_to_go(&kept, kept.len() - wanted));
            return;
        }
        let leaving: BTreeSet<i32> = match self.job.replaces_only_failed() {
            true => self.terminating.iter().filter_map(|pod| pod.job.as_ref()?.index).collect(),
            false => BTreeSet::new(),
        };
        let per_index = self.job.spec.backoff_limit_per_index.is_some();
        if taken.len() + leaving.len() >= wanted {
            return;
        }
        if !per_index && let Some(left) = self.wait(self.failed.iter().copied()) {
            return plan.look_again(left);
        }
        let mut room = (wanted - taken.len() - leaving.len()).min(BURST);
        for index in 0..end {
            let busy = taken.contains_key(&index) || leaving.contains(&index);
            if room == 0 {
                break;
            }
            if busy || self.completed.contains(&index) || self.failed_indexes.contains(&index) {
                continue;
            }
            room -= 1;
            let failed = || self.failed.iter().copied().filter(|(_, of_job)| of_job.index == Some(index));
            if !per_index {
                plan.create.push(Wanted { index: Some(index), failures: None });
            } else if let Some(left) = self.wait(failed()) {
                plan.look_again(left);
            } else {
                let counts = |(pod, of_job): (&Arc<PodView>, &JobPod)| {
                    of_job.index_failures + i32::from(verdict(self.job, pod, of_job) != Verdict::Ignore)
                };
                plan.create.push(Wanted { index: Some(index), failures: Some(failed().map(counts).max().unwrap_or(0)) });
            }
        }
    }

    /// How long to hold back the next pod after those that failed since the last success.
    fn wait<'b>(&self, failed: impl Iterator<Item = (&'b Arc<PodView>, &'b JobPod)>) -> Option<SignedDuration> {
        let at: Vec<Timestamp> = failed.filter_map(|(_, of_job)| of_job.finished).collect();
        let last = at.iter().max()?;
        let doublings = u32::try_from(at.len() - 1).unwrap_or(u32::MAX).min(10);
        let wait = (FIRST_WAIT * 2_i32.pow(doublings)).min(LONGEST_WAIT);
        Some(wait - self.now.duration_since(*last)).filter(|left| *left > SignedDuration::ZERO)
    }

    fn report(&self, plan: &mut Plan) {
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let status = &mut plan.status;
        status.active = Some(number(self.active.len())).filter(|count| *count > 0);
        status.ready = Some(number(self.active.iter().filter(|pod| pod.ready).count()));
        status.terminating = Some(number(self.terminating.len()));
    }
}

/// Those that have come least far, the youngest first.
fn first_to_go(pods: &[&Arc<PodView>], many: usize) -> Vec<Arc<PodView>> {
    let mut pods: Vec<_> = pods.iter().map(|pod| (*pod).clone()).collect();
    pods.sort_by_key(|pod| (pod.phase == "Running", pod.ready, std::cmp::Reverse(pod.created)));
    pods.truncate(many);
    pods
}

/// The last word, once no pod is left: what the job was to end as.
fn end(status: &mut JobStatus, now: Timestamp) {
    let target = status.conditions.iter().flatten().find(|condition| {
        condition.status == "True" && matches!(condition.type_.as_str(), "SuccessCriteriaMet" | "FailureTarget")
    });
    let Some(target) = target.cloned() else { return };
    let kind = if target.type_ == "FailureTarget" { "Failed" } else { "Complete" };
    if kind == "Complete" {
        status.completion_time = Some(Time(whole_seconds(now)));
    }
    set(status, kind, "True", target.reason.as_deref().unwrap_or_default(), target.message.as_deref().unwrap_or_default(), now);
}

fn set(status: &mut JobStatus, kind: &str, is: &str, reason: &str, message: &str, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    let known = conditions.iter().position(|condition| condition.type_ == kind);
    if known.is_some_and(|known| conditions[known].status == is) {
        return;
    }
    let at = Some(Time(whole_seconds(now)));
    let condition = JobCondition {
        type_: kind.to_owned(),
        status: is.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: at.clone(),
        last_transition_time: at,
    };
    match known {
        Some(known) => conditions[known] = condition,
        None => conditions.push(condition),
    }
}
