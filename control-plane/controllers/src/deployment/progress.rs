//! How far a rollout is: the status and its Progressing condition.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::DeploymentStatus;

use super::conditions::{self, COMPLETE, PROGRESSING, TIMED_OUT, condition};
use super::world::{World, available, replicas};

/// The status's counts, with the conditions as they stand.
pub(super) fn counts(world: &World<'_>) -> DeploymentStatus {
    let non_zero = |number: i32| (number != 0).then_some(number);
    let available = available(world.all());
    DeploymentStatus {
        observed_generation: Some(world.deployment.generation),
        replicas: non_zero(world.all().map(|set| set.status.replicas).sum()),
        updated_replicas: world.new.as_ref().and_then(|new| non_zero(new.status.replicas)),
        ready_replicas: non_zero(world.all().filter_map(|set| set.status.ready_replicas).sum()),
        available_replicas: non_zero(available),
        unavailable_replicas: non_zero((replicas(world.all()) - available).max(0)),
        terminating_replicas: None,
        collision_count: world.deployment.status.collision_count,
        conditions: world.deployment.status.conditions.clone(),
    }
}

/// The counts with the Available condition that follows from them.
pub(super) fn status(world: &World<'_>) -> DeploymentStatus {
    let mut status = counts(world);
    let enough = available(world.all()) >= world.deployment.replicas - world.deployment.max_unavailable;
    let (value, reason, message) = match enough {
        true => ("True", "MinimumReplicasAvailable", "Deployment has minimum availability."),
        false => ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."),
    };
    conditions::set(&mut status, condition("Available", value, reason, message.to_owned(), world.now));
    status
}

/// All pods are of the present template, available, and no old ones are left.
pub(super) fn is_complete(world: &World<'_>, status: &DeploymentStatus) -> bool {
    let wanted = world.deployment.replicas;
    [status.updated_replicas, status.replicas, status.available_replicas].iter().all(|count| count.unwrap_or(0) == wanted)
        && status.observed_generation >= Some(world.deployment.generation)
}

/// Whether more was reached than the last status said.
fn has_progressed(world: &World<'_>, now: &DeploymentStatus) -> bool {
    let before = &world.deployment.status;
    let of = |count: Option<i32>| count.unwrap_or(0);
    let old_pods = |status: &DeploymentStatus| of(status.replicas) - of(status.updated_replicas);
    of(now.updated_replicas) > of(before.updated_replicas)
        || old_pods(now) < old_pods(before)
        || of(now.ready_replicas) > of(before.ready_replicas)
        || of(now.available_replicas) > of(before.available_replicas)
}

/// The status while rolling out, and when the deadline strikes.
pub(super) fn rollout_status(world: &World<'_>) -> (DeploymentStatus, Option<Duration>) {
    let mut status = status(world);
    let deployment = world.deployment;
    follow_replica_failure(world, &mut status);
    let current = deployment.condition(PROGRESSING);
    let Some(deadline) = deployment.progress_deadline else {
        conditions::remove(&mut status, PROGRESSING);
        return (status, None);
    };
    let was_complete = status.replicas == status.updated_replicas
        && current.is_some_and(|condition| condition.reason.as_deref() == Some(COMPLETE));
    if was_complete {
        return (status, None);
    }
    let subject = world.new.as_ref().map_or_else(
        || format!("Deployment \"{}\"", deployment.key.name),
        |new| format!("ReplicaSet \"{}\"", new.owner.key.name),
    );
    if is_complete(world, &status) {
        let message = format!("{subject} has successfully progressed.");
        conditions::set(&mut status, condition(PROGRESSING, "True", COMPLETE, message, world.now));
        return (status, None);
    }
    if has_progressed(world, &status) {
        let message = format!("{subject} is progressing.");
        conditions::replace(&mut status, condition(PROGRESSING, "True", "ReplicaSetUpdated", message, world.now));
    } else if remaining(world, deadline).is_some_and(|left| left <= SignedDuration::ZERO) {
        let message = format!("{subject} has timed out progressing.");
        conditions::set(&mut status, condition(PROGRESSING, "False", TIMED_OUT, message, world.now));
    }
    let again = remaining(world, deadline).filter(|left| *left > SignedDuration::ZERO);
    (status, again.and_then(|left| Duration::try_from(left).ok()).map(|left| left + Duration::from_secs(1)))
}

/// What is left of the deadline; `None` where none runs (nothing rolls out, or it struck already).
fn remaining(world: &World<'_>, deadline: i32) -> Option<SignedDuration> {
    let condition = world.deployment.condition(PROGRESSING)?;
    if matches!(condition.reason.as_deref(), Some(COMPLETE | TIMED_OUT)) {
        return None;
    }
    let since = condition.last_update_time.as_ref()?.0;
    Some(SignedDuration::from_secs(deadline.into()) - world.now.duration_since(since))
}

/// A ReplicaSet that cannot create its pods says so on the Deployment, too.
fn follow_replica_failure(world: &World<'_>, status: &mut DeploymentStatus) {
    let failure = world.new.iter().chain(&world.old).flat_map(|set| set.status.conditions.iter().flatten());
    match failure.into_iter().find(|condition| condition.type_ == "ReplicaFailure") {
        Some(failure) => {
            let text = |part: &Option<String>| part.clone().unwrap_or_default();
            let reason = text(&failure.reason);
            let copy = condition("ReplicaFailure", &failure.status, &reason, text(&failure.message), world.now);
            conditions::set(status, copy);
        }
        None => conditions::remove(status, "ReplicaFailure"),
    }
}
