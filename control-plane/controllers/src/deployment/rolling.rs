//! The arithmetic of a rolling update: never more than replicas + maxSurge pods, never fewer than replicas -
//! maxUnavailable available ones.

use super::decide::Command;
use super::world::{World, available, replicas};
use crate::replicaset::RsView;

/// The size that the ReplicaSet of the present template may have now; `new` is `None` before it is created.
pub(super) fn new_size(world: &World<'_>, new: Option<&RsView>) -> i32 {
    let deployment = world.deployment;
    if deployment.recreate {
        return deployment.replicas;
    }
    let present = new.map_or(0, |set| set.replicas);
    if present >= deployment.replicas {
        return deployment.replicas;
    }
    let room = deployment.replicas.saturating_add(deployment.max_surge) - replicas(world.all());
    present + room.min(deployment.replicas - present).max(0)
}

/// Shrinks old ReplicaSets: first by pods that are not available anyway, then as far as availability allows.
pub(super) fn scale_down_old(world: &World<'_>) -> Vec<Command> {
    let Some(new) = &world.new else { return Vec::new() };
    let deployment = world.deployment;
    let least_available = deployment.replicas - deployment.max_unavailable;
    let new_unavailable = new.replicas - new.available();
    let mut may_go = replicas(world.all()) - least_available - new_unavailable;
    if may_go <= 0 || replicas(&world.old) == 0 {
        return Vec::new();
    }
    let mut sizes: Vec<i32> = world.old.iter().map(|set| set.replicas).collect();
    for (set, size) in world.old.iter().zip(&mut sizes) {
        let unhealthy = (set.replicas - set.available()).clamp(0, may_go);
        *size -= unhealthy;
        may_go -= unhealthy;
    }
    let mut spare = available(world.all()) - least_available;
    for size in &mut sizes {
        let goes = (*size).min(spare).max(0);
        *size -= goes;
        spare -= goes;
    }
    let changed = world.old.iter().zip(sizes).filter(|(set, size)| set.replicas != *size);
    changed.map(|(set, size)| Command::Scale { set: set.clone(), replicas: size }).collect()
}
