//! What became of the steps that a pod's loop has begun.

use jiff::SignedDuration;
use mizzen_runtime::ContainerState;

use super::Worker;
use crate::error::HookError;
use crate::hooks::start::StartError;
use crate::pod::outcome::Outcome;
use crate::pod::{act, health, labels, last_words, resizing};
use crate::shared::about;

/// A deletion that the API has taken and not carried out is asked for again after this.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(30);

impl Worker {
    pub(super) async fn apply(&mut self, outcome: Outcome) {
        let now = self.shared.now();
        match outcome {
            Outcome::Prepared(Ok(ready)) => self.memory.prepared(ready, now),
            Outcome::Prepared(Err(error)) => {
                act::tell_prepare_failed(&self.shared, &self.pod, &error);
                self.memory.prepare_failed(now);
            }
            Outcome::Refreshed(result) => {
                if let Err(error) = result {
                    act::tell_prepare_failed(&self.shared, &self.pod, &error);
                }
                self.memory.refreshed(now);
            }
            Outcome::Pulled { container, image, result } => {
                let memory = self.memory.containers.entry(container).or_default();
                match result {
                    _ if memory.image_named != image => {}
                    Ok(image) => memory.pulled(image),
                    Err(error) => memory.pull_failed(error.reason, error.message, now),
                }
            }
            Outcome::Started { container, result } => {
                let memory = self.memory.containers.entry(container.clone()).or_default();
                memory.starting = None;
                match result {
                    Ok(started) => {
                        memory.started();
                        let (id, exited) = (started.status.id.clone(), self.memory.see(started.status));
                        self.note_exits(exited.into_iter().collect()).await;
                        health::watch_probes(self);
                        if let Some(why) = started.hook_failed {
                            health::hook_failed(self, &container, &id, &why);
                        }
                    }
                    Err(StartError { ended: Some(status), .. }) => {
                        // A program that cannot be run counts as one that ended at once.
                        memory.started();
                        self.memory.see(status);
                    }
                    Err(error) => memory.start_failed(&error.reason, error.message, now),
                }
            }
            Outcome::Stopped { id, result } => match result {
                Ok(status) => {
                    self.succeeded(&format!("stop {id}"));
                    let exited = self.memory.see(status);
                    self.note_exits(exited.into_iter().collect()).await;
                }
                Err(error) => self.failed(format!("stop {id}"), &error, now),
            },
            Outcome::Allocated { wanted, result: Ok(answer) } => resizing::allocated(self, wanted, answer),
            Outcome::Allocated { result: Err(error), .. } => self.failed("allocate".into(), &error, now),
            Outcome::Resized { container, resize } => resizing::resized(self, container, resize, now),
            Outcome::Removed { id, result } => match result {
                Ok(()) => self.memory.removed(&id),
                Err(error) => self.failed(format!("remove {id}"), &error, now),
            },
            Outcome::Released(Ok(())) => {
                self.shared.room.leave(self.pod.metadata.uid.as_deref().unwrap_or_default());
                self.memory.released = true;
                self.memory.ready = None;
            }
            Outcome::TornDown(Ok(())) => {
                self.shared.room.leave(self.pod.metadata.uid.as_deref().unwrap_or_default());
                self.memory.torn_down = true;
            }
            // That it is gone is heard of. While finalizers hold it, asking again would change nothing.
            Outcome::Deleted(Ok(())) => self.retries.entry("delete".into()).or_default().at = now.checked_add(ASK_AGAIN).ok(),
            Outcome::Released(Err(error)) => {
                if let HookError::Network(network) = &error {
                    self.shared.recorder.warning(
                        &about(&self.pod, None),
                        "FailedKillPod",
                        format!("error killing pod: {network}"),
                    );
                }
                self.failed("release".into(), &error, now);
            }
            Outcome::TornDown(Err(error)) => self.failed("teardown".into(), &error, now),
            Outcome::Deleted(Err(error)) => self.failed("delete".into(), &error, now),
            Outcome::Probe { id, container, kind, verdict, message, grace } => {
                health::probed(self, &id, &container, kind, verdict, message, grace);
            }
        }
    }

    /// The last words of containers that have just ended.
    pub(super) async fn note_exits(&mut self, ids: Vec<String>) {
        for id in ids {
            if let Some(status) = self.memory.known.get_mut(&id) {
                last_words::read(&self.shared, &self.pod, status).await;
                let name = labels::get(&status.labels, labels::CONTAINER);
                let failed = self.memory.containers.get(name).and_then(|memory| memory.hook_failure.as_ref());
                if let ContainerState::Exited(exit) = &mut status.state
                    && let Some((_, why)) = failed.filter(|(failed, _)| *failed == id)
                    && exit.message.is_empty()
                {
                    exit.message.clone_from(why);
                }
            }
        }
    }
}
