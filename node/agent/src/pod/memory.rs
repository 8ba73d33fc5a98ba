//! What a pod's worker knows. It can be lost at any moment: what matters is in the runtime, on disk or in the API.

mod container;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use mizzen_runtime::{ContainerState, ContainerStatus, Exit};

pub(crate) use self::container::{ContainerMemory, Health};
use super::allocation::{self, Amounts, Pending, Record};
use super::containers::containers;
use super::labels;
use super::view::{Attempt, ContainerView, Prepared, Resize, Resized};
use crate::hooks::prepare::Ready;
use crate::logs;
use crate::node::room::Refusal;

/// How often projected volumes are brought up to date though nothing told of a change: tokens become old.
const REFRESH: SignedDuration = SignedDuration::from_secs(60);

pub(crate) struct Memory {
    pub(crate) start_time: Timestamp,
    pub(crate) ready: Option<Ready>,
    prepare_failures: u32,
    prepare_retry_at: Option<Timestamp>,
    pub(crate) refresh_at: Timestamp,
    /// What volumes are made from has changed since it was last read for them.
    sources_changed: bool,
    pub(crate) containers: BTreeMap<String, ContainerMemory>,
    /// By id, as the runtime last said.
    pub(crate) known: BTreeMap<String, ContainerStatus>,
    /// Ids that the runtime has listed: one that is missing later was lost.
    listed: HashSet<String>,
    removed: HashSet<String>,
    pub(crate) rejected: Option<(String, String)>,
    pub(crate) deadline_told: bool,
    /// What the pod's containers are to have of CPU and memory.
    pub(crate) granted: Amounts,
    pub(crate) pending: Option<Pending>,
    /// A resize has begun, and nobody was told that it is done.
    pub(crate) resizing: bool,
    pub(crate) released: bool,
    pub(crate) torn_down: bool,
}

impl Memory {
    pub(crate) fn new(pod: &Pod, now: Timestamp) -> Self {
        let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
        Self {
            start_time: started.unwrap_or(now),
            ready: None,
            prepare_failures: 0,
            prepare_retry_at: None,
            refresh_at: now,
            sources_changed: false,
            containers: names(pod).map(|name| (name, ContainerMemory::default())).collect(),
            known: BTreeMap::new(),
            listed: HashSet::new(),
            removed: HashSet::new(),
            rejected: None,
            deadline_told: false,
            granted: allocation::wanted(pod),
            pending: None,
            resizing: false,
            released: false,
            torn_down: false,
        }
    }

    /// Takes up what an earlier agent granted the pod.
    pub(crate) fn take_up(&mut self, pod: &Pod, record: Option<Record>, listed: &[ContainerStatus]) {
        self.granted = allocation::found(pod, record.as_ref(), listed);
        let given = record.map(|record| record.given).unwrap_or_default();
        for status in listed {
            if let Some(amounts) = given.get(&status.id) {
                let container = self.containers.entry(labels::get(&status.labels, labels::CONTAINER).to_owned()).or_default();
                let (id, amounts) = (status.id.clone(), amounts.clone());
                container.resizes.tried(Resize { id, amounts, outcome: Resized::Done });
            }
        }
    }

    /// Takes up what logs tell of earlier attempts: as many restarts go on being counted.
    pub(crate) async fn count_attempts(&mut self, logs: &Path) {
        for (name, container) in &mut self.containers {
            container.first = logs::attempts(&logs.join(name)).await.pop().map_or(0, |last| last.saturating_add(1));
        }
    }

    /// To be called when other pods have less than before.
    pub(crate) fn room_appeared(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.again = matches!(pending.refusal, Refusal::Deferred(_));
        }
    }

    /// What an agent must know that comes after this one.
    pub(crate) fn record(&self) -> Record {
        let given = |memory: &ContainerMemory| {
            let (id, amounts) = memory.resizes.done()?;
            self.known.contains_key(id).then(|| (id.to_owned(), amounts.to_owned()))
        };
        Record { granted: self.granted.clone(), given: self.containers.values().filter_map(given).collect() }
    }

    /// Takes in what the runtimes list; answers the ids that were newly seen to have exited.
    pub(crate) fn observe(&mut self, listed: &[ContainerStatus], now: Timestamp) -> Vec<String> {
        let mut exited = Vec::new();
        for status in listed {
            exited.extend(self.see(status.clone()));
            self.listed.insert(status.id.clone());
        }
        let present: HashSet<&str> = listed.iter().map(|status| status.id.as_str()).collect();
        let lost: Vec<String> = self.listed.iter().filter(|id| !present.contains(id.as_str())).cloned().collect();
        for id in lost {
            self.listed.remove(&id);
            if let Some(status) = self.known.get(&id)
                && let ContainerState::Running { started_at, .. } = &status.state
            {
                let exit = Exit {
                    code: 137,
                    reason: "ContainerStatusUnknown".into(),
                    message: "The container could not be located when the pod was looked at".into(),
                    started_at: started_at.clone(),
                    finished_at: now.to_string(),
                    ..Exit::default()
                };
                let status = ContainerStatus { state: ContainerState::Exited(exit), ..status.clone() };
                exited.extend(self.see(status));
            }
        }
        exited
    }

    /// Takes in one container; `Some` when it is news that it exited. An exit is final.
    pub(crate) fn see(&mut self, status: ContainerStatus) -> Option<String> {
        if self.removed.contains(&status.id) {
            return None;
        }
        let before = self.known.get(&status.id);
        if before.is_some_and(|before| matches!(before.state, ContainerState::Exited(_))) {
            return None;
        }
        let exited = matches!(status.state, ContainerState::Exited(_)).then(|| status.id.clone());
        self.known.insert(status.id.clone(), status);
        exited
    }

    pub(crate) fn removed(&mut self, id: &str) {
        self.known.remove(id);
        self.removed.insert(id.to_owned());
    }

    pub(crate) fn prepared(&mut self, ready: Ready, now: Timestamp) {
        self.ready = Some(ready);
        self.prepare_failures = 0;
        self.prepare_retry_at = None;
        self.refreshed(now);
    }

    pub(crate) fn refreshed(&mut self, now: Timestamp) {
        let wait = if self.sources_changed { SignedDuration::ZERO } else { REFRESH };
        self.refresh_at = now.checked_add(wait).unwrap_or(now);
    }

    /// To be called when a volume's source may have changed.
    pub(crate) fn sources_changed(&mut self, now: Timestamp) {
        self.sources_changed = true;
        self.refresh_at = now;
        self.prepare_retry_at = self.prepare_retry_at.map(|_| now);
    }

    /// Whether a container waits for what its environment is to be made from.
    pub(crate) fn lacks_configuration(&self) -> bool {
        self.containers.values().any(ContainerMemory::lacks_configuration)
    }

    /// To be called when what such a container waits for may have come.
    pub(crate) fn configuration_changed(&mut self, now: Timestamp) {
        self.containers.values_mut().for_each(|memory| memory.configuration_changed(now));
    }

    /// To be called before volumes are made or brought up to date.
    pub(crate) fn sources_are_read(&mut self) {
        self.sources_changed = false;
    }

    pub(crate) fn prepare_failed(&mut self, now: Timestamp) {
        // Half a second, doubling to two minutes, as volumes are retried.
        let wait = SignedDuration::from_millis(500)
            .saturating_mul(1 << self.prepare_failures.min(8))
            .min(SignedDuration::from_secs(122));
        self.prepare_failures = self.prepare_failures.saturating_add(1);
        self.prepare_retry_at = now.checked_add(wait).ok();
    }

    pub(crate) fn view_prepared(&self) -> Prepared {
        match (&self.ready, self.prepare_retry_at) {
            (Some(ready), _) if ready.wasm.is_some() => Prepared::Yes,
            (_, Some(retry_at)) => Prepared::Failed { retry_at },
            (Some(_), None) => Prepared::Addressed,
            (None, None) => Prepared::No,
        }
    }

    /// The newest attempt of a container.
    pub(crate) fn latest(&self, name: &str) -> Option<&ContainerStatus> {
        let attempts = self.known.values().filter(|status| labels::get(&status.labels, labels::CONTAINER) == name);
        attempts.max_by_key(|status| labels::attempt(status))
    }

    /// Every container as the decisions see it.
    pub(crate) fn views(&mut self, pod: &Pod) -> BTreeMap<String, ContainerView> {
        names(pod).map(|name| (name.clone(), self.view(&name))).collect()
    }

    fn view(&mut self, name: &str) -> ContainerView {
        let mut attempts: Vec<Attempt> =
            self.known.values().filter(|status| labels::get(&status.labels, labels::CONTAINER) == name).map(attempt).collect();
        attempts.sort_by_key(|attempt| attempt.number);
        let current = attempts.pop();
        let previous = attempts.pop();
        // What is added for debugging is never resized.
        let started_with = || current.as_ref().map(|attempt| attempt.amounts.clone()).unwrap_or_default();
        let granted = self.granted.get(name).cloned().unwrap_or_else(started_with);
        let older = attempts.into_iter().map(|attempt| attempt.id).collect();
        self.containers.entry(name.to_owned()).or_default().view(current, previous, older, granted)
    }

    pub(crate) fn names_images(&mut self, pod: &Pod) {
        for container in containers(pod) {
            self.containers.entry(container.name.clone()).or_default().names_image(container.image.as_deref());
        }
    }
}

fn attempt(status: &ContainerStatus) -> Attempt {
    Attempt {
        number: labels::attempt(status),
        id: status.id.clone(),
        state: status.state.clone(),
        image: labels::get(&status.labels, labels::IMAGE).to_owned(),
        asked_image: labels::get(&status.labels, labels::ASKED_IMAGE).to_owned(),
        image_id: labels::get(&status.labels, labels::IMAGE_ID).to_owned(),
        amounts: labels::get(&status.labels, labels::AMOUNTS).to_owned(),
    }
}

fn names(pod: &Pod) -> impl Iterator<Item = String> {
    containers(pod).map(|container| container.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_lacks_its_configuration_is_tried_again_when_that_changes_and_seldom_else() {
        let now = Timestamp::UNIX_EPOCH;
        let mut memory = Memory::new(&Pod::default(), now);
        let waits = |memory: &Memory| memory.containers["a"].start_failure.as_ref().map(|failure| failure.retry_at.as_second());
        memory.containers.entry("a".into()).or_default();
        for wait in [10, 20, 40, 60, 60] {
            let container = memory.containers.get_mut("a").expect("is there");
            container.start_failed("CreateContainerConfigError", "why".into(), now);
            assert_eq!(waits(&memory), Some(wait));
        }
        assert!(memory.lacks_configuration());
        memory.configuration_changed(now);
        assert_eq!(waits(&memory), Some(0));
        memory.containers.get_mut("a").expect("is there").start_failed("RunContainerError", "why".into(), now);
        assert!(!memory.lacks_configuration());
    }

    #[test]
    fn a_pull_that_failed_delays_no_other_image() {
        let pod = |image: &str| -> Pod {
            let document = serde_json::json!({"spec": {"containers": [{"name": "a", "image": image}]}});
            serde_json::from_value(document).expect("is a pod")
        };
        let mut memory = Memory::new(&pod("i:1"), Timestamp::UNIX_EPOCH);
        let fails = |memory: &Memory| memory.containers["a"].image_failure().is_some();
        memory.names_images(&pod("i:1"));
        memory.containers.entry("a".into()).or_default().pull_failed("ErrImagePull", "why".into(), Timestamp::UNIX_EPOCH);
        memory.names_images(&pod("i:1"));
        assert!(fails(&memory));
        memory.names_images(&pod("i:2"));
        assert!(!fails(&memory));
    }

    #[test]
    fn a_source_that_changes_while_it_is_read_is_read_again() {
        let now = Timestamp::UNIX_EPOCH;
        let mut memory = Memory::new(&Pod::default(), now);
        memory.sources_are_read();
        memory.refreshed(now);
        assert_eq!(memory.refresh_at.as_second(), 60);
        memory.sources_changed(now);
        assert_eq!(memory.refresh_at, now);
        memory.sources_are_read();
        memory.sources_changed(now);
        memory.refreshed(now);
        assert_eq!(memory.refresh_at, now);
    }
}
