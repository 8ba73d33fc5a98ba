//! `status.conditions`, as the node sets them. Those that others set are kept.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::phase::Phase;
use super::view::{Prepared, View, is_sidecar};
use crate::node::room::Refusal;

/// Type, status, reason, message.
struct Wanted(&'static str, bool, Option<&'static str>, Option<String>);

pub(crate) fn of(view: &View<'_>, phase: Phase) -> Vec<PodCondition> {
    let containers_ready = containers_ready(view, phase);
    let ready = ready(view, &containers_ready);
    let prepared = matches!(view.prepared, Prepared::Addressed | Prepared::Yes);
    let wanted = [
        // What runs was prepared, even if by an agent before this one.
        Wanted("PodReadyToStartContainers", (prepared && !view.released) || view.any_running(), None, None),
        initialized(view, phase),
        ready,
        containers_ready,
    ];
    let before = view.pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let mut conditions: Vec<PodCondition> =
        wanted.into_iter().map(|wanted| condition(wanted, before, view.now, view.pod.metadata.generation)).collect();
    conditions.extend(resizes(view).into_iter().map(|wanted| condition(wanted, before, view.now, view.pod.metadata.generation)));
    let ours: Vec<String> = conditions.iter().map(|condition| condition.type_.clone()).collect();
    let is_ours = |kind: &String| ours.contains(kind) || RESIZES.contains(&kind.as_str());
    conditions.extend(before.iter().filter(|condition| !is_ours(&condition.type_)).cloned());
    if !conditions.iter().any(|condition| condition.type_ == "PodScheduled") {
        conditions.push(condition(Wanted("PodScheduled", true, None, None), before, view.now, view.pod.metadata.generation));
    }
    conditions
}

/// Conditions that are there only as long as a resize is not done.
pub(crate) const RESIZES: [&str; 2] = ["PodResizePending", "PodResizeInProgress"];

fn resizes(view: &View<'_>) -> Vec<Wanted> {
    let pending = view.pending().map(|pending| {
        let (reason, why) = match &pending.refusal {
            Refusal::Infeasible(why) => ("Infeasible", why),
            Refusal::Deferred(why) => ("Deferred", why),
        };
        Wanted(RESIZES[0], true, Some(reason), Some(why.clone()))
    });
    let mut resized = view.containers.values().filter(|container| container.is_to_be_resized()).peekable();
    let in_progress = resized.peek().is_some().then(|| {
        let error = resized.find_map(|container| container.resize_error());
        Wanted(RESIZES[1], true, error.map(|_| "Error"), error.map(str::to_owned))
    });
    pending.into_iter().chain(in_progress).collect()
}

fn condition(wanted: Wanted, before: &[PodCondition], now: Timestamp, generation: Option<i64>) -> PodCondition {
    let Wanted(type_, status, reason, message) = wanted;
    let status = if status { "True" } else { "False" };
    let since =
        before.iter().find(|old| old.type_ == type_ && old.status == status).and_then(|old| old.last_transition_time.clone());
    PodCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.map(str::to_owned),
        message,
        last_transition_time: Some(since.unwrap_or_else(|| whole_seconds(now))),
        last_probe_time: None,
        observed_generation: generation,
    }
}

/// `meta/v1.Time` is written in whole seconds.
pub(crate) fn whole_seconds(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

fn initialized(view: &View<'_>, phase: Phase) -> Wanted {
    if phase == Phase::Succeeded {
        return Wanted("Initialized", true, Some("PodCompleted"), None);
    }
    if view.initialized() {
        return Wanted("Initialized", true, None, None);
    }
    let waiting: Vec<&str> = view
        .init_containers()
        .iter()
        .filter(|container| !view.init_done(container))
        .map(|container| container.name.as_str())
        .collect();
    let message = format!("containers with incomplete status: [{}]", waiting.join(" "));
    Wanted("Initialized", false, Some("ContainersNotInitialized"), Some(message))
}

fn containers_ready(view: &View<'_>, phase: Phase) -> Wanted {
    match phase {
        Phase::Succeeded => return Wanted("ContainersReady", false, Some("PodCompleted"), None),
        Phase::Failed => return Wanted("ContainersReady", false, Some("PodFailed"), None),
        Phase::Pending | Phase::Running => {}
    }
    let sidecars = view.init_containers().iter().filter(|container| is_sidecar(container));
    let unready: Vec<&str> = sidecars
        .chain(view.main_containers())
        .filter(|container| !is_ready(view, container))
        .map(|container| container.name.as_str())
        .collect();
    if unready.is_empty() {
        return Wanted("ContainersReady", true, None, None);
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    Wanted("ContainersReady", false, Some("ContainersNotReady"), Some(message))
}

/// A main container or sidecar that runs and whose probes pass.
pub(crate) fn is_ready(view: &View<'_>, container: &Container) -> bool {
    view.container(&container.name)
        .is_some_and(|state| state.current.as_ref().is_some_and(super::view::Attempt::is_running) && state.started && state.ready)
}

fn ready(view: &View<'_>, containers: &Wanted) -> Wanted {
    let Wanted(_, true, ..) = containers else {
        return Wanted("Ready", false, containers.2, containers.3.clone());
    };
    let conditions = view.pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let gates = view.spec().and_then(|spec| spec.readiness_gates.as_deref()).unwrap_or_default();
    let closed = |gate: &&str| !conditions.iter().any(|condition| condition.type_ == **gate && condition.status == "True");
    let closed: Vec<&str> = gates.iter().map(|gate| gate.condition_type.as_str()).filter(closed).collect();
    match closed.first() {
        None => Wanted("Ready", true, None, None),
        Some(gate) => {
            let message = format!("corresponding condition of pod readiness gate \"{gate}\" does not exist or is not \"True\".");
            Wanted("Ready", false, Some("ReadinessGatesNotReady"), Some(message))
        }
    }
}
