//! What resizes make of a pod, and the events that tell of them.

use jiff::Timestamp;

use super::allocation::{self, Amounts, Pending};
use super::view::{Resize, Resized};
use super::worker::Worker;
use crate::error::HookError;
use crate::node::room::Refusal;
use crate::shared::about;

/// The node has granted what was asked for, or has not.
pub(super) fn allocated(worker: &mut Worker, wanted: Amounts, answer: Result<(), Refusal>) {
    worker.succeeded("allocate");
    let (about, recorder) = (about(&worker.pod, None), &worker.shared.recorder);
    let Err(refusal) = answer else {
        recorder.normal(&about, "ResizeStarted", format!("Pod resize started: {}", allocation::summary(&worker.pod, None)));
        worker.memory.granted = wanted;
        worker.memory.pending = None;
        worker.memory.resizing = true;
        // What did not work was something else.
        worker.succeeded("resize");
        return;
    };
    let (reason, why) = match &refusal {
        Refusal::Infeasible(why) => ("Infeasible", why),
        Refusal::Deferred(why) => ("Deferred", why),
    };
    if worker.memory.pending.as_ref().is_none_or(|known| known.wanted != wanted || known.refusal != refusal) {
        let summary = allocation::summary(&worker.pod, Some(why));
        recorder.warning(&about, &format!("Resize{reason}"), format!("Pod resize {reason}: {summary}"));
    }
    worker.memory.pending = Some(Pending { wanted, refusal, again: false });
}

/// A container was given what it was granted, or was not.
pub(super) fn resized(worker: &mut Worker, container: String, resize: Resize, now: Timestamp) {
    let known = worker.memory.containers.get(&container);
    let is_told = known.is_some_and(|known| known.resizes.failed_as(&resize));
    match &resize.outcome {
        Resized::Done => worker.succeeded("resize"),
        Resized::Failed(why) => {
            if !is_told {
                let summary = allocation::summary(&worker.granted(), Some(why));
                worker.shared.recorder.warning(&about(&worker.pod, None), "ResizeError", format!("Pod resize error: {summary}"));
            }
            let (path, why) = (resize.id.clone(), why.clone());
            worker.failed("resize".into(), &HookError::Cgroup { path, why }, now);
        }
    }
    worker.memory.containers.entry(container).or_default().resizes.tried(resize);
}

/// To be called when every container has what it was granted.
pub(super) fn tell_completed(worker: &mut Worker) {
    if std::mem::take(&mut worker.memory.resizing) {
        let summary = allocation::summary(&worker.granted(), None);
        worker.shared.recorder.normal(&about(&worker.pod, None), "ResizeCompleted", format!("Pod resize completed: {summary}"));
    }
}
