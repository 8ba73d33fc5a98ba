//! `Pod.status`, from what is known of the pod.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState as ApiState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, HostIP, PodIP, PodStatus, ResourceRequirements,
};
use mizzen_runtime::{ContainerState, Exit};

use super::conditions::{self, whole_seconds};
use super::decide::SHOWN_AS_FAILED;
use super::phase::{self, Phase};
use super::view::{Attempt, ContainerView, Failure, ImageView, RestartPolicy, View, finished_at, is_sidecar};
use crate::duration;

/// Where container ids come from.
const RUNTIME: &str = "mizzen";

pub(crate) fn status(view: &View<'_>) -> PodStatus {
    let public = public(view);
    let view = public.as_ref().unwrap_or(view);
    let before = view.pod.status.clone().unwrap_or_default();
    let (phase, reason, message) = phase_of(view);
    // Nobody is to send anything to a pod that is being ended for its age.
    let conditions = conditions::of(view, if phase::overran(view) { Phase::Failed } else { phase });
    let addresses = |ips: &[IpAddr]| ips.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (pod_ip, pod_ips) = match addresses(view.addresses) {
        ips if ips.is_empty() => (before.pod_ip.clone(), before.pod_ips.clone()),
        ips => (ips.first().cloned(), Some(ips.into_iter().map(|ip| PodIP { ip }).collect())),
    };
    let host_ips = addresses(view.host_addresses);
    let statuses = |containers: &[Container], init: bool| {
        let statuses: Vec<_> = containers.iter().map(|container| container_status(view, container, init)).collect();
        (!statuses.is_empty()).then_some(statuses)
    };
    PodStatus {
        phase: Some(phase.as_str().to_owned()),
        reason,
        message,
        conditions: Some(conditions),
        init_container_statuses: statuses(view.init_containers(), true),
        container_statuses: statuses(view.main_containers(), false),
        ephemeral_container_statuses: ephemeral_statuses(view),
        host_ip: host_ips.first().cloned(),
        host_ips: Some(host_ips.into_iter().map(|ip| HostIP { ip }).collect()),
        pod_ip,
        pod_ips,
        start_time: Some(whole_seconds(view.start_time)),
        qos_class: before.qos_class.clone().or_else(|| Some(crate::spec::resources::qos(view.pod).as_str().to_owned())),
        observed_generation: view.pod.metadata.generation.or(before.observed_generation),
        ..before
    }
}

/// The same without attempts that are coming up: a container counts as running when its postStart hook is done. `None` where
/// there is none; when a pod ends, all that runs is told.
fn public<'a>(view: &View<'a>) -> Option<View<'a>> {
    let coming_up = view.containers.values().any(ContainerView::is_coming_up);
    if !coming_up || view.is_deleted() || phase::overran(view) {
        return None;
    }
    let told = |(name, known): (&String, &ContainerView)| {
        let known = known.clone();
        let known = match known.is_coming_up() {
            true => ContainerView { current: known.previous, previous: None, ..known },
            false => known,
        };
        (name.clone(), known)
    };
    Some(View {
        containers: view.containers.iter().map(told).collect(),
        prepared: view.prepared.clone(),
        rejected: view.rejected.clone(),
        finished: view.finished.clone(),
        ..*view
    })
}

/// Phase, reason and message. A final phase is only told when nothing runs any more.
fn phase_of(view: &View<'_>) -> (Phase, Option<String>, Option<String>) {
    let before = view.pod.status.as_ref();
    if let Some(finished) = &view.finished {
        let phase = if finished == "Succeeded" { Phase::Succeeded } else { Phase::Failed };
        return (phase, before.and_then(|s| s.reason.clone()), before.and_then(|s| s.message.clone()));
    }
    let is_final = |phase| matches!(phase, Phase::Succeeded | Phase::Failed);
    let present = phase::of_containers(view);
    let unfinished = match before.and_then(|status| status.phase.as_deref()) {
        Some("Running") => Phase::Running,
        _ if is_final(present) => Phase::Running,
        _ => present,
    };
    if let Some((reason, message)) = &view.rejected {
        return (Phase::Failed, Some(reason.clone()), Some(message.clone()));
    }
    if phase::overran(view) {
        if view.any_running() {
            return (unfinished, None, None);
        }
        let (reason, message) = phase::DEADLINE_EXCEEDED;
        return (Phase::Failed, Some(reason.to_owned()), Some(message.to_owned()));
    }
    let phase = match (view.any_running(), view.is_deleted()) {
        (true, _) if is_final(present) => unfinished,
        (true, _) => present,
        (false, true) => phase::when_ended(view),
        (false, false) => present,
    };
    (phase, None, None)
}

fn container_status(view: &View<'_>, container: &Container, init: bool) -> ContainerStatus {
    let nothing = ContainerView::default();
    let known = view.container(&container.name).unwrap_or(&nothing);
    if known.current.is_none()
        && view.finished.is_some()
        && let Some(told) = told(view, &container.name)
    {
        return told;
    }
    let asked = container.image.clone().unwrap_or_default();
    let (state, last_state) = states(view, container, known, init);
    let current = known.current.as_ref();
    let running = current.is_some_and(Attempt::is_running);
    let stays_up = !init || is_sidecar(container);
    let ready = match stays_up {
        true => conditions::is_ready(view, container),
        false => current.and_then(Attempt::exit).is_some_and(|exit| exit.code == 0),
    };
    // What it has, which may differ from what the pod asks for now.
    let amounts = if running { known.amounts() } else { None };
    let parse = |text: &str| serde_json::from_str::<ResourceRequirements>(text).unwrap_or_default();
    let (granted, amounts) = amounts.map(|amounts| (parse(&known.granted), parse(amounts))).unwrap_or_default();
    ContainerStatus {
        name: container.name.clone(),
        image: current.map(|attempt| attempt.image.clone()).filter(|image| !image.is_empty()).unwrap_or(asked),
        image_id: current.map(|attempt| attempt.image_id.clone()).unwrap_or_default(),
        container_id: current.map(|attempt| container_id(&attempt.id)),
        restart_count: current.and_then(|attempt| i32::try_from(attempt.number).ok()).unwrap_or(0),
        ready,
        started: Some(running && stays_up && known.started),
        state: Some(state),
        last_state: Some(last_state),
        allocated_resources: granted.requests,
        resources: (amounts != ResourceRequirements::default()).then_some(amounts),
        ..ContainerStatus::default()
    }
}

/// As of the others, but that nobody is told whether an ephemeral container is ready or how often it was started.
fn ephemeral_statuses(view: &View<'_>) -> Option<Vec<ContainerStatus>> {
    let of = |name: &str| {
        let all = view.spec()?.ephemeral_containers.as_ref()?;
        let image = all.iter().find(|container| container.name == name)?.image.clone();
        let container = Container { name: name.to_owned(), image, ..Container::default() };
        Some(ContainerStatus { ready: false, started: None, ..container_status(view, &container, false) })
    };
    let statuses: Vec<_> = view.ephemeral_containers().filter_map(of).collect();
    (!statuses.is_empty()).then_some(statuses)
}

/// What the API was told of a container before.
fn told(view: &View<'_>, name: &str) -> Option<ContainerStatus> {
    let status = view.pod.status.as_ref()?;
    let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().find(|status| status.name == name).cloned()
}

pub(crate) fn container_id(id: &str) -> String {
    format!("{RUNTIME}://{id}")
}

/// State and last state.
fn states(view: &View<'_>, container: &Container, known: &ContainerView, init: bool) -> (ApiState, ApiState) {
    let ended = |attempt: &Attempt| attempt.exit().map(|exit| terminated(&attempt.id, exit)).unwrap_or_default();
    let last = known.previous.as_ref().map(ended).unwrap_or_default();
    let is_ephemeral = view.ephemeral_containers().any(|name| name == container.name);
    match &known.current {
        None => (waiting_to_begin(view, container, known), last),
        Some(attempt) => match &attempt.state {
            ContainerState::Running { started_at, .. } => {
                let started_at = started_at.parse::<Timestamp>().ok().map(whole_seconds);
                (ApiState { running: Some(ContainerStateRunning { started_at }), ..ApiState::default() }, last)
            }
            ContainerState::Exited(_) if is_ephemeral => (ended(attempt), last),
            ContainerState::Exited(exit) => match waiting_to_restart(view, container, known, exit, init) {
                Some(waiting) => (waiting, ended(attempt)),
                None => (ended(attempt), last),
            },
        },
    }
}

fn terminated(id: &str, exit: &Exit) -> ApiState {
    let time = |text: &str| text.parse::<Timestamp>().ok().map(whole_seconds);
    let terminated = ContainerStateTerminated {
        exit_code: exit.code,
        signal: None,
        reason: Some(match (exit.reason.as_str(), exit.code) {
            ("", 0) => "Completed".to_owned(),
            ("", _) => "Error".to_owned(),
            (reason, _) => reason.to_owned(),
        }),
        message: (!exit.message.is_empty()).then(|| exit.message.clone()),
        started_at: time(&exit.started_at),
        finished_at: time(&exit.finished_at),
        container_id: Some(container_id(id)),
    };
    ApiState { terminated: Some(terminated), ..ApiState::default() }
}

fn waiting(reason: impl Into<String>, message: Option<String>) -> ApiState {
    ApiState { waiting: Some(ContainerStateWaiting { reason: Some(reason.into()), message }), ..ApiState::default() }
}

fn waiting_to_begin(view: &View<'_>, container: &Container, known: &ContainerView) -> ApiState {
    match (&known.image, &known.start_error) {
        (ImageView::Failed(failure), _) => image_failed(view, container, failure),
        (_, Some(error)) => waiting(error.reason.clone(), Some(error.message.clone())),
        _ if view.init_containers().is_empty() => waiting("ContainerCreating", None),
        _ => waiting("PodInitializing", None),
    }
}

fn image_failed(view: &View<'_>, container: &Container, failure: &Failure) -> ApiState {
    let backing_off = failure.at.checked_add(SHOWN_AS_FAILED).is_ok_and(|until| until <= view.now);
    match failure.reason.as_str() {
        "ErrImagePull" if backing_off => {
            let image = container.image.as_deref().unwrap_or_default();
            let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {}", failure.message);
            waiting("ImagePullBackOff", Some(message))
        }
        reason => waiting(reason, Some(failure.message.clone())),
    }
}

fn waiting_to_restart(
    view: &View<'_>,
    container: &Container,
    known: &ContainerView,
    exit: &Exit,
    init: bool,
) -> Option<ApiState> {
    let policy = match (init, is_sidecar(container), view.restart_policy()) {
        (true, true, _) => RestartPolicy::Always,
        (true, false, RestartPolicy::Always) => RestartPolicy::OnFailure,
        (_, _, policy) => policy,
    };
    if !known.comes_again(policy, exit) || view.is_deleted() || view.finished.is_some() || phase::overran(view) {
        return None;
    }
    if let Some(error) = known.start_error.as_ref() {
        return Some(waiting(error.reason.clone(), Some(error.message.clone())));
    }
    let due = finished_at(exit).checked_add(known.backoff).ok()?;
    (due > view.now).then(|| waiting("CrashLoopBackOff", Some(back_off_message(view, container, known))))
}

pub(crate) fn back_off_message(view: &View<'_>, container: &Container, known: &ContainerView) -> String {
    let metadata = &view.pod.metadata;
    let of = |field: &Option<String>| field.clone().unwrap_or_default();
    let (name, namespace, uid) = (of(&metadata.name), of(&metadata.namespace), of(&metadata.uid));
    let delay = duration::text(known.backoff.unsigned_abs());
    format!("back-off {delay} restarting failed container={} pod={name}_{namespace}({uid})", container.name)
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
