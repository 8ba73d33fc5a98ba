//! `status.phase`, from the containers as they are.

use super::view::{Attempt, ContainerView, RestartPolicy, View, finished_at, is_sidecar};

/// Reason and message of a pod that ran longer than its `activeDeadlineSeconds`.
pub(crate) const DEADLINE_EXCEEDED: (&str, &str) =
    ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

impl Phase {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

/// The phase that init and main containers amount to. Sidecars do not count: they end with the others.
pub(crate) fn of_containers(view: &View<'_>) -> Phase {
    let policy = view.restart_policy();
    if !view.initialized() {
        let failed = view.init_containers().iter().filter(|container| !is_sidecar(container)).any(|container| {
            let exit = view.current(&container.name).and_then(Attempt::exit);
            exit.is_some_and(|exit| exit.code != 0)
        });
        return if failed && policy == RestartPolicy::Never { Phase::Failed } else { Phase::Pending };
    }
    let states: Vec<_> = view.main_containers().iter().map(|container| view.container(&container.name)).collect();
    let attempts: Vec<_> = states.iter().flatten().filter_map(|state| Some((*state, state.current.as_ref()?))).collect();
    if attempts.len() < states.len() {
        return Phase::Pending;
    }
    let goes_on =
        |(state, attempt): &(&ContainerView, &Attempt)| attempt.exit().is_none_or(|exit| state.comes_again(policy, exit));
    if attempts.iter().any(goes_on) {
        return Phase::Running;
    }
    let mut exits = attempts.iter().filter_map(|(_, attempt)| attempt.exit());
    if exits.all(|exit| exit.code == 0) { Phase::Succeeded } else { Phase::Failed }
}

/// `activeDeadlineSeconds` is over, and the pod had not ended by then: it fails as soon as nothing of it runs any more.
pub(crate) fn overran(view: &View<'_>) -> bool {
    let Some(deadline) = view.deadline().filter(|deadline| *deadline <= view.now) else { return false };
    if view.finished.is_some() || view.rejected.is_some() {
        return false;
    }
    let lasting = view.init_containers().iter().filter(|container| !is_sidecar(container)).chain(view.main_containers());
    let mut exits = lasting.filter_map(|container| view.current(&container.name)?.exit());
    let in_time =
        matches!(of_containers(view), Phase::Succeeded | Phase::Failed) && exits.all(|exit| finished_at(exit) <= deadline);
    !in_time
}

/// The phase of a pod that was ended from outside, when all its containers are down.
pub(crate) fn when_ended(view: &View<'_>) -> Phase {
    let mut attempts = view.main_containers().iter().map(|container| view.current(&container.name));
    let well = attempts.all(|attempt| attempt.and_then(Attempt::exit).is_some_and(|exit| exit.code == 0));
    if well { Phase::Succeeded } else { Phase::Failed }
}
