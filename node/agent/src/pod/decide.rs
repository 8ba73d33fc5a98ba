//! What to do next about a pod: a pure function of what is known.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Container;

use super::phase::{self, Phase};
use super::view::{Attempt, ContainerView, ImageView, Prepared, RestartPolicy, View, finished_at, is_sidecar};
use crate::spec::resources;

/// A step towards the desired state. Each is idempotent, and one that is under way is not begun again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Cgroup, network, volumes. `wasm` is what the images that were pulled say the pod is, all Wasm or not; while nobody
    /// knows, there is but an address.
    Prepare {
        wasm: Option<bool>,
    },
    /// Brings projected volumes up to date.
    Refresh,
    Pull {
        container: String,
        image: String,
    },
    Start {
        container: String,
        attempt: u32,
    },
    Stop {
        container: String,
        id: String,
        grace: i64,
        why: Why,
    },
    /// Asks the node for the amounts of CPU and memory that the manifest asks for now.
    Allocate,
    /// Gives a container that runs the amounts of CPU and memory that it was granted.
    Resize {
        container: String,
        id: String,
        amounts: String,
    },
    Remove {
        id: String,
    },
    /// Gives back network and volumes of a pod that is over.
    Release,
    /// Gives back everything; the containers are removed.
    Teardown,
    /// Removes the object from the API: nothing of the pod is left here.
    Delete,
    /// The worker's own end: nothing is left, and the API knows.
    Forget,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    PodEnds,
    Unhealthy(String),
    /// The manifest names another image.
    Changed,
    /// It cannot be given other amounts while it runs.
    Resized,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) commands: Vec<Command>,
    /// When to decide again though nothing has changed.
    pub(crate) wake_at: Option<Timestamp>,
}

impl Decision {
    fn add(&mut self, command: Command) {
        self.commands.push(command);
    }

    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// After this long a failed pull shows as a back-off.
pub(crate) const SHOWN_AS_FAILED: SignedDuration = SignedDuration::from_secs(3);

pub(crate) fn decide(view: &View<'_>) -> Decision {
    let mut decision = Decision::default();
    for view in view.containers.values() {
        decision.commands.extend(view.older.iter().map(|id| Command::Remove { id: id.clone() }));
    }
    if view.is_deleted() {
        end(view, &mut decision);
        return decision;
    }
    if is_over(view) {
        // Containers stay, with their logs and exit codes, until the pod is deleted.
        stop_all(view, &mut decision);
        if !view.any_running() && !view.released {
            decision.add(Command::Release);
        }
        return decision;
    }
    if let Some(deadline) = view.deadline() {
        decision.wake(deadline);
    }
    if view.asks_for_others() && view.pending().is_none_or(|pending| pending.again) {
        decision.add(Command::Allocate);
    }
    keep_running(view, &mut decision);
    decision
}

/// No container is to be started any more.
fn is_over(view: &View<'_>) -> bool {
    view.rejected.is_some()
        || view.finished.is_some()
        || view.deadline().is_some_and(|deadline| deadline <= view.now)
        || matches!(phase::of_containers(view), Phase::Succeeded | Phase::Failed)
}

fn end(view: &View<'_>, decision: &mut Decision) {
    stop_all(view, decision);
    if view.any_running() {
        return;
    }
    let before = decision.commands.len();
    for view in view.containers.values() {
        let ids = view.current.iter().chain(&view.previous).map(|attempt| attempt.id.clone());
        decision.commands.extend(ids.map(|id| Command::Remove { id }));
    }
    if decision.commands.len() > before {
        return;
    }
    decision.add(match (view.torn_down, view.gone) {
        (false, _) => Command::Teardown,
        (true, false) => Command::Delete,
        (true, true) => Command::Forget,
    });
}

/// Main and ephemeral containers first and together, then the sidecars from the last to the first.
fn stop_all(view: &View<'_>, decision: &mut Decision) {
    let runs = |name: &str| view.current(name).is_some_and(Attempt::is_running);
    let running = |container: &&Container| runs(&container.name);
    let stop = |decision: &mut Decision, name: &str| {
        if let Some(current) = view.current(name) {
            let (container, id) = (name.to_owned(), current.id.clone());
            decision.add(Command::Stop { container, id, grace: view.grace(), why: Why::PodEnds });
        }
    };
    let (sidecars, init): (Vec<_>, Vec<_>) = view.init_containers().iter().filter(running).partition(|c| is_sidecar(c));
    let first = view.main_containers().iter().filter(running).chain(init).map(|container| container.name.as_str());
    let first: Vec<&str> = first.chain(view.ephemeral_containers().filter(|name| runs(name))).collect();
    match first.is_empty() {
        false => first.into_iter().for_each(|name| stop(decision, name)),
        true => sidecars.last().into_iter().for_each(|container| stop(decision, &container.name)),
    }
}

fn keep_running(view: &View<'_>, decision: &mut Decision) {
    match &view.prepared {
        Prepared::Failed { retry_at } if *retry_at > view.now => return decision.wake(*retry_at),
        Prepared::No | Prepared::Failed { .. } => return decision.add(Command::Prepare { wasm: all_wasm(view) }),
        Prepared::Addressed => {
            keep_containers(view, decision);
            // Any container needs a network of the pod's own; Wasm does when nothing else is on its way.
            let pulling = decision.commands.iter().any(|command| matches!(command, Command::Pull { .. }));
            return match all_wasm(view) {
                Some(wasm) if !(wasm && pulling) => decision.add(Command::Prepare { wasm: Some(wasm) }),
                _ => {}
            };
        }
        Prepared::Yes if view.refresh_at <= view.now => decision.add(Command::Refresh),
        Prepared::Yes => decision.wake(view.refresh_at),
    }
    keep_containers(view, decision);
}

/// Images are asked for when their containers are about to start, not before: nobody waits for, or is told of, what a later
/// container needs.
fn keep_containers(view: &View<'_>, decision: &mut Decision) {
    let policy = view.restart_policy();
    if !view.initialized() {
        for container in view.init_containers() {
            let policy = match (is_sidecar(container), policy) {
                (true, _) => RestartPolicy::Always,
                // An init container that ended well is not run again.
                (false, RestartPolicy::Always) => RestartPolicy::OnFailure,
                (false, policy) => policy,
            };
            keep(view, container, policy, decision);
            if !view.init_done(container) {
                return;
            }
        }
    } else {
        for sidecar in view.init_containers().iter().filter(|container| is_sidecar(container)) {
            keep(view, sidecar, RestartPolicy::Always, decision);
        }
    }
    for container in view.main_containers() {
        match view.current(&container.name) {
            // Its image need not wait.
            None if !view.has_turn(container) => pull(view, &container.name, decision),
            _ => keep(view, container, policy, decision),
        }
    }
    // They run once: there is no second attempt, whatever the pod's policy is.
    for name in view.ephemeral_containers() {
        if let Some(state) = view.container(name).filter(|state| state.current.is_none()) {
            start(view, name, state, 0, decision);
        }
    }
}

/// Whether the containers whose images are known are all Wasm; `None` while none is. What is added for debugging makes the
/// pod no other.
fn all_wasm(view: &View<'_>) -> Option<bool> {
    let added: Vec<&str> = view.ephemeral_containers().collect();
    let lasting = view.containers.iter().filter(|(name, _)| !added.contains(&name.as_str()));
    let kinds = lasting.filter_map(|(_, view)| match view.image {
        ImageView::Ready { wasm } => Some(wasm),
        ImageView::Unknown | ImageView::Failed(_) => None,
    });
    kinds.reduce(|all, wasm| all && wasm)
}

fn pull(view: &View<'_>, name: &str, decision: &mut Decision) {
    let ask = || Command::Pull { container: name.to_owned(), image: view.image(name).to_owned() };
    match view.container(name).map(|view| &view.image) {
        None | Some(ImageView::Ready { .. }) => {}
        Some(ImageView::Unknown) => decision.add(ask()),
        Some(ImageView::Failed(failure)) if failure.retry_at <= view.now => decision.add(ask()),
        Some(ImageView::Failed(failure)) => {
            decision.wake(failure.retry_at);
            if let Ok(shown) = failure.at.checked_add(SHOWN_AS_FAILED)
                && shown > view.now
            {
                decision.wake(shown);
            }
        }
    }
}

fn keep(view: &View<'_>, container: &Container, policy: RestartPolicy, decision: &mut Decision) {
    let name = &container.name;
    let Some(state) = view.container(name) else { return };
    match &state.current {
        None => start(view, name, state, state.first, decision),
        Some(current) => match current.exit() {
            None if is_changed(view, container, current) => {
                decision.add(stop(view, container, &current.id, None, Why::Changed));
            }
            None if state.is_coming_up() => {}
            None => match &state.unhealthy {
                Some((why, grace)) => {
                    decision.add(stop(view, container, &current.id, *grace, Why::Unhealthy(why.clone())));
                }
                None => resize(view, container, state, &current.id, decision),
            },
            Some(exit) if !state.comes_again(policy, exit) => {}
            Some(exit) => {
                // What another image made of it says nothing of this one.
                let wait = if asks_for_another(container, current) { SignedDuration::ZERO } else { state.backoff };
                let due = finished_at(exit).checked_add(wait).unwrap_or(view.now);
                if due > view.now {
                    return decision.wake(due);
                }
                start(view, name, state, current.number.saturating_add(1), decision);
            }
        },
    }
}

/// Ordinary init containers run to their end as they began.
fn is_changed(view: &View<'_>, container: &Container, current: &Attempt) -> bool {
    let lasts = is_sidecar(container) || view.main_containers().iter().any(|main| main.name == container.name);
    lasts && asks_for_another(container, current)
}

/// The manifest names another image than the attempt was started with.
fn asks_for_another(container: &Container, attempt: &Attempt) -> bool {
    !attempt.asked_image.is_empty() && container.image.as_deref().is_some_and(|image| image != attempt.asked_image)
}

fn resize(view: &View<'_>, container: &Container, state: &ContainerView, id: &str, decision: &mut Decision) {
    let Some(before) = state.amounts().filter(|_| state.is_to_be_resized()) else { return };
    let (container, id, amounts) = match resources::restarts(container, before, &state.granted) {
        true => return decision.add(stop(view, container, id, None, Why::Resized)),
        false => (container.name.clone(), id.to_owned(), state.granted.clone()),
    };
    decision.add(Command::Resize { container, id, amounts });
}

/// Ends a container of a pod that goes on.
fn stop(view: &View<'_>, container: &Container, id: &str, grace: Option<i64>, why: Why) -> Command {
    let grace = grace.unwrap_or_else(|| view.own_grace()).max(0);
    Command::Stop { container: container.name.clone(), id: id.to_owned(), grace, why }
}

fn start(view: &View<'_>, name: &str, state: &ContainerView, attempt: u32, decision: &mut Decision) {
    if let Some(error) = &state.start_error
        && error.retry_at > view.now
    {
        return decision.wake(error.retry_at);
    }
    match state.image {
        ImageView::Ready { .. } if view.prepared == Prepared::Yes => {
            decision.add(Command::Start { container: name.to_owned(), attempt });
        }
        ImageView::Ready { .. } => {}
        ImageView::Unknown | ImageView::Failed(_) => pull(view, name, decision),
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
