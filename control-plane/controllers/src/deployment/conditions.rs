//! Conditions of a Deployment, with the reasons that `kubectl rollout` reads.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::progress;
use super::world::World;
use crate::time::whole_seconds;

pub(super) const PROGRESSING: &str = "Progressing";
pub(super) const TIMED_OUT: &str = "ProgressDeadlineExceeded";
pub(super) const COMPLETE: &str = "NewReplicaSetAvailable";
const PAUSED: &str = "DeploymentPaused";

pub(super) fn condition(kind: &str, status: &str, reason: &str, message: String, now: Timestamp) -> DeploymentCondition {
    let now = Some(Time(whole_seconds(now)));
    DeploymentCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: now.clone(),
        last_transition_time: now,
    }
}

/// Sets a condition, unless it stands with the same status and reason; the transition time changes with the status.
pub(super) fn set(status: &mut DeploymentStatus, condition: DeploymentCondition) {
    let present = status.conditions.iter().flatten().find(|present| present.type_ == condition.type_);
    if present.is_some_and(|present| present.status == condition.status && present.reason == condition.reason) {
        return;
    }
    replace(status, condition);
}

/// Sets a condition also where only its message or update time is new.
pub(super) fn replace(status: &mut DeploymentStatus, mut condition: DeploymentCondition) {
    let all = status.conditions.get_or_insert_default();
    if let Some(at) = all.iter().position(|present| present.type_ == condition.type_) {
        if all[at].status == condition.status {
            condition.last_transition_time.clone_from(&all[at].last_transition_time);
        }
        all[at] = condition;
    } else {
        all.push(condition);
    }
}

pub(super) fn remove(status: &mut DeploymentStatus, kind: &str) {
    if let Some(all) = &mut status.conditions {
        all.retain(|condition| condition.type_ != kind);
    }
}

/// The status to write when the Deployment was just paused or resumed. Paused time must not count against the deadline.
pub(super) fn paused_or_resumed(world: &World<'_>) -> Option<DeploymentStatus> {
    let deployment = world.deployment;
    deployment.progress_deadline?;
    let reason = deployment.condition(PROGRESSING).and_then(|condition| condition.reason.as_deref());
    if reason == Some(TIMED_OUT) {
        return None;
    }
    let (reason, message) = match (deployment.paused, reason == Some(PAUSED)) {
        (true, false) => (PAUSED, "Deployment is paused"),
        (false, true) => ("DeploymentResumed", "Deployment is resumed"),
        _ => return None,
    };
    let mut status = progress::status(world);
    set(&mut status, condition(PROGRESSING, "Unknown", reason, message.to_owned(), world.now));
    Some(status)
}

/// The status to write together with a new ReplicaSet: the deadline starts to count.
pub(super) fn replica_set_created(world: &World<'_>, name: &str) -> DeploymentStatus {
    let mut status = progress::status(world);
    if world.deployment.progress_deadline.is_some() {
        let message = format!("Created new replica set \"{name}\"");
        set(&mut status, condition(PROGRESSING, "True", "NewReplicaSetCreated", message, world.now));
    }
    status
}
