//! What everybody uses at one moment.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use mizzen_runtime::{ContainerState, ContainerStatus};

use super::super::State;
use super::machine::{self, Machine, MachineError};
use crate::cgroups;
use crate::node::capacity;
use crate::pod::handle::Handle;
use crate::pod::labels;

/// How many containers are asked at once.
const AT_ONCE: usize = 16;
/// How long one is waited for: whoever scrapes does not wait for one that hangs, and hears of all others.
const ANSWER: Duration = Duration::from_secs(2);
/// Under which the node's own pace is kept; no container has such an id.
const NODE: &str = "";

#[derive(Debug, thiserror::Error)]
pub(super) enum SampleError {
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error("read what the machine uses: {0}")]
    Join(#[from] tokio::task::JoinError),
}

#[derive(Debug)]
pub(super) struct Sample {
    pub(super) at: Timestamp,
    pub(super) machine: Machine,
    pub(super) node_pace: Option<u64>,
    /// Total and available bytes of the file system with images and pods.
    pub(super) disk: Option<(i64, i64)>,
    pub(super) pods: Vec<PodUse>,
}

#[derive(Debug, Default)]
pub(super) struct PodUse {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) started: Option<Timestamp>,
    /// Nanoseconds since its first container, whichever run now.
    pub(super) cpu: u64,
    pub(super) containers: Vec<ContainerUse>,
}

#[derive(Debug)]
pub(super) struct ContainerUse {
    pub(super) name: String,
    pub(super) id: String,
    /// It runs in its host's cgroup, which is not the pod's.
    pub(super) is_wasm: bool,
    pub(super) started: Option<Timestamp>,
    /// Nanoseconds since its start.
    pub(super) cpu: u64,
    /// Billionths of a processor; not known before it was asked for twice.
    pub(super) pace: Option<u64>,
    /// Bytes that could not be given back at once.
    pub(super) memory: u64,
}

impl PodUse {
    pub(super) fn memory(&self) -> u64 {
        self.containers.iter().map(|container| container.memory).sum()
    }

    /// `None` while some container's is not known.
    pub(super) fn pace(&self) -> Option<u64> {
        self.containers.iter().map(|container| container.pace).sum()
    }
}

pub(super) async fn take(state: &State) -> Result<Sample, SampleError> {
    let data_dir = state.shared.data_dir.clone();
    let cluster = state.shared.cluster.clone();
    let read = move || (machine::read(), capacity::storage(&data_dir), cgroups::processor_times(&cluster));
    let (machine, disk, of_cgroups) = tokio::task::spawn_blocking(read).await?;
    let machine = machine?;
    let handles = state.pods.all();
    let mut found = of_containers(state, &handles).await;
    // Of a pod that does not run there is nothing to tell.
    let mut pods: Vec<PodUse> = handles.iter().filter_map(|handle| of_pod(handle, &mut found)).collect();
    let present: HashSet<String> = handles.iter().map(|handle| uid(handle)).collect();
    state.spent.count(&mut pods, &present, &of_cgroups);
    pods.sort_by(|a, b| (&a.namespace, &a.name, &a.uid).cmp(&(&b.namespace, &b.name, &b.uid)));
    let at = state.shared.now();
    let all = pods.iter().flat_map(|pod| &pod.containers);
    let counters = std::iter::once((NODE, machine.cpu)).chain(all.map(|container| (container.id.as_str(), container.cpu)));
    let mut paces = state.paces.take_in(at, counters).into_iter();
    let node_pace = paces.next().flatten();
    for (container, pace) in pods.iter_mut().flat_map(|pod| &mut pod.containers).zip(paces) {
        container.pace = pace;
    }
    Ok(Sample { at, machine, node_pace, disk, pods })
}

/// By the uid of their pod.
async fn of_containers(state: &State, handles: &[Arc<Handle>]) -> HashMap<String, Vec<ContainerUse>> {
    let statuses = handles.iter().flat_map(|handle| {
        let uid = uid(handle);
        let latest: Vec<ContainerStatus> = handle.latest.borrow().values().cloned().collect();
        latest.into_iter().map(move |status| (uid.clone(), status))
    });
    let asked: Vec<_> = statuses.map(async |(uid, status)| Some((uid, of_container(state, status).await?))).collect();
    let mut found: HashMap<String, Vec<ContainerUse>> = HashMap::new();
    let mut answers = futures::stream::iter(asked).buffer_unordered(AT_ONCE);
    while let Some(answer) = answers.next().await {
        if let Some((uid, container)) = answer {
            found.entry(uid).or_default().push(container);
        }
    }
    found
}

fn uid(handle: &Handle) -> String {
    handle.desired.borrow().pod.metadata.uid.clone().unwrap_or_default()
}

fn of_pod(handle: &Handle, found: &mut HashMap<String, Vec<ContainerUse>>) -> Option<PodUse> {
    let pod = handle.desired.borrow().pod.clone();
    let mut containers = found.remove(pod.metadata.uid.as_deref().unwrap_or_default())?;
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    Some(PodUse { started: started(&pod), containers, ..named(&pod) })
}

fn named(pod: &Pod) -> PodUse {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    PodUse {
        namespace: text(&pod.metadata.namespace),
        name: text(&pod.metadata.name),
        uid: text(&pod.metadata.uid),
        ..PodUse::default()
    }
}

fn started(pod: &Pod) -> Option<Timestamp> {
    Some(pod.status.as_ref()?.start_time.as_ref()?.0)
}

/// Nothing of a container that does not run, or whose runtime cannot tell.
async fn of_container(state: &State, status: ContainerStatus) -> Option<ContainerUse> {
    let ContainerState::Running { started_at, .. } = &status.state else { return None };
    let is_wasm = labels::is_wasm(&status);
    let runtime = state.shared.runtime(is_wasm)?;
    let stats = tokio::time::timeout(ANSWER, runtime.stats(&status.id)).await;
    let stats = stats.inspect_err(|_| tracing::debug!(container = %status.id, "does not say in time what it uses")).ok()?;
    let stats = stats.inspect_err(|error| tracing::debug!(container = %status.id, %error, "use is not known")).ok()?;
    Some(ContainerUse {
        name: labels::get(&status.labels, labels::CONTAINER).to_owned(),
        is_wasm,
        started: started_at.parse().ok(),
        cpu: stats.cpu,
        pace: None,
        memory: stats.memory,
        id: status.id,
    })
}

#[cfg(test)]
pub(super) mod fixtures {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a time")
    }

    pub(in super::super) fn container(name: &str, cpu: u64, pace: Option<u64>, memory: u64) -> ContainerUse {
        let started = Some(at(1_600_000_000));
        ContainerUse { name: name.to_owned(), id: name.to_owned(), is_wasm: false, started, cpu, pace, memory }
    }

    /// A pod of two containers; of the second nobody knows the pace yet.
    pub(in super::super) fn sample() -> Sample {
        let text = str::to_owned;
        let containers = vec![container("app", 2_500_000_000, Some(7), 1000), container("side", 500_000_000, None, 2000)];
        let started = Some(at(1_500_000_000));
        Sample {
            at: at(1_700_000_000),
            machine: Machine {
                booted: at(1_400_000_000),
                cpu: 100_000_000_000,
                memory_used: 600_000,
                working_set: 500_000,
                memory_available: 400_000,
            },
            node_pace: Some(5),
            disk: Some((100, 60)),
            pods: vec![PodUse { namespace: text("n"), name: text("p"), uid: text("u"), started, cpu: 3_000_000_000, containers }],
        }
    }
}
