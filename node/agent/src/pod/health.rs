//! What probes make of containers.

use k8s_openapi::api::core::v1::{Container, ContainerStatus as ApiStatus, Pod};

use super::containers::containers;
use super::labels;
use super::memory::Health;
use super::status::container_id;
use super::worker::Worker;
use crate::probes::{ProbeKind, watch};
use crate::shared::about;

/// Sees to it that exactly the containers that run are probed.
pub(super) fn watch_probes(worker: &mut Worker) {
    let pod = worker.pod.clone();
    let views = worker.memory.views(&pod);
    for container in containers(&pod) {
        let container = container.as_ref();
        // Not before its postStart hook is done.
        let up = views.get(&container.name).filter(|view| !view.is_coming_up());
        let running = up.and_then(|view| view.current.as_ref()).filter(|current| current.is_running());
        let Some(memory) = worker.memory.containers.get_mut(&container.name) else { continue };
        let Some(current) = running else {
            memory.health = None;
            continue;
        };
        let health = match &mut memory.health {
            Some(health) if health.id == current.id => health,
            other => other.insert(begin(&pod, container, &current.id)),
        };
        let address = worker.memory.ready.as_ref().and_then(|ready| ready.network.addresses.first().copied());
        if health.watching.is_some() || (address.is_none() && needs_address(container)) {
            continue;
        }
        let wasm = worker.memory.known.get(&current.id).is_some_and(labels::is_wasm);
        let target =
            watch::Target { container: container.clone(), id: current.id.clone(), wasm, address, started: health.started };
        health.watching = Some(watch::start(&worker.shared, target, worker.sender.clone()));
    }
}

/// How a container that has just been seen to run is: as the API was told of this very one, if an earlier agent did so.
fn begin(pod: &Pod, container: &Container, id: &str) -> Health {
    let told = told(pod, id);
    Health {
        id: id.to_owned(),
        started: container.startup_probe.is_none() || told.is_some_and(|status| status.started == Some(true)),
        ready: container.readiness_probe.is_none() || told.is_some_and(|status| status.ready),
        unhealthy: None,
        watching: None,
    }
}

fn needs_address(container: &Container) -> bool {
    let probes = [&container.startup_probe, &container.readiness_probe, &container.liveness_probe];
    probes.into_iter().flatten().any(|probe| probe.exec.is_none())
}

/// What the API was told of this very container before.
fn told<'a>(pod: &'a Pod, id: &str) -> Option<&'a ApiStatus> {
    let status = pod.status.as_ref()?;
    let all = status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
    let id = container_id(id);
    all.into_iter().find(|status| status.container_id.as_deref() == Some(&id))
}

pub(super) fn probed(
    worker: &mut Worker,
    id: &str,
    container: &str,
    kind: ProbeKind,
    verdict: Option<bool>,
    message: Option<String>,
    grace: Option<i64>,
) {
    if let Some(message) = message {
        let about = about(&worker.pod, Some(container));
        worker.shared.recorder.warning(&about, "Unhealthy", format!("{} probe failed: {message}", kind.as_str()));
    }
    let restarts = worker.pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) != Some("Never");
    let health = worker.memory.containers.get_mut(container).and_then(|memory| memory.health.as_mut());
    let Some(health) = health.filter(|health| health.id == id) else { return };
    match (kind, verdict) {
        (_, None) | (ProbeKind::Liveness, Some(true)) => {}
        (ProbeKind::Startup, Some(true)) => health.started = true,
        (ProbeKind::Readiness, Some(ready)) => health.ready = ready,
        (ProbeKind::Startup | ProbeKind::Liveness, Some(false)) => {
            let then = if restarts { ", will be restarted" } else { "" };
            let why = format!("Container {container} failed {} probe{then}", kind.as_str().to_ascii_lowercase());
            health.unhealthy = Some((why, grace));
        }
    }
}

/// A container whose postStart hook failed is ended. What the hook printed may be secret: it is told in the container's own
/// status, not in an event.
pub(super) fn hook_failed(worker: &mut Worker, container: &str, id: &str, why: &str) {
    let Some(memory) = worker.memory.containers.get_mut(container) else { return };
    memory.hook_failure = Some((id.to_owned(), format!("PostStartHook failed: {why}")));
    if let Some(health) = memory.health.as_mut().filter(|health| health.id == id) {
        health.unhealthy = Some(("FailedPostStartHook".to_owned(), None));
    }
}
