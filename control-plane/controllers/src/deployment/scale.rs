//! Changing a Deployment's size, also in the middle of a rollout, where the change is shared out in proportion.

use std::sync::Arc;

use super::decide::Command;
use super::world::{DESIRED, MAX, World, replicas};
use crate::replicaset::RsView;

fn number(set: &RsView, annotation: &str) -> Option<i32> {
    set.annotations.get(annotation).and_then(|text| text.parse().ok())
}

/// Whether the Deployment's size changed since its ReplicaSets were last scaled.
pub(super) fn is_due(world: &World<'_>) -> bool {
    let active = world.all().filter(|set| set.replicas > 0);
    active.filter_map(|set| number(set, DESIRED)).any(|desired| desired != world.deployment.replicas)
}

pub(super) fn commands(world: &World<'_>) -> Vec<Command> {
    let wanted = world.deployment.replicas;
    let active: Vec<_> = world.all().filter(|set| set.replicas > 0).cloned().collect();
    let only = match active.as_slice() {
        [] => world.new.as_ref().or(world.old.last()),
        [one] => Some(one),
        _ => None,
    };
    if let Some(only) = only {
        return to_size(only, wanted, only.replicas != wanted || (wanted > 0 && number(only, DESIRED) != Some(wanted)));
    }
    if world.new.as_ref().is_some_and(|new| is_saturated(new, wanted)) {
        let old = world.old.iter().filter(|set| set.replicas > 0);
        return old.map(|set| Command::Scale { set: set.clone(), replicas: 0 }).collect();
    }
    if world.deployment.recreate { Vec::new() } else { in_proportion(world, active) }
}

fn to_size(set: &Arc<RsView>, replicas: i32, needed: bool) -> Vec<Command> {
    if needed { vec![Command::Scale { set: set.clone(), replicas }] } else { Vec::new() }
}

/// The rollout to `set` is over but for the old sets' remains.
fn is_saturated(set: &RsView, wanted: i32) -> bool {
    set.replicas == wanted && number(set, DESIRED) == Some(wanted) && set.available() == wanted
}

fn in_proportion(world: &World<'_>, mut active: Vec<Arc<RsView>>) -> Vec<Command> {
    let deployment = world.deployment;
    let allowed = if deployment.replicas > 0 { deployment.replicas + deployment.max_surge } else { 0 };
    let to_add = allowed - replicas(&active);
    // The largest first; of equals the newer grows and the older shrinks first.
    active.sort_by(|a, b| {
        let by_age = if to_add > 0 { b.created.cmp(&a.created) } else { a.created.cmp(&b.created) };
        b.replicas.cmp(&a.replicas).then(by_age)
    });
    let mut added = 0;
    let mut sizes = Vec::with_capacity(active.len());
    for set in &active {
        let left = to_add - added;
        let share = if left == 0 { 0 } else { share(set, world) };
        let share = if to_add > 0 { share.min(left) } else { share.max(left) };
        added += share;
        sizes.push(set.replicas + share);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    active.into_iter().zip(sizes).map(|(set, replicas)| Command::Scale { set, replicas }).collect()
}

/// How far one ReplicaSet grows or shrinks when the Deployment's most goes from what it was to what it is.
fn share(set: &RsView, world: &World<'_>) -> i32 {
    let deployment = world.deployment;
    if deployment.replicas == 0 {
        return -set.replicas;
    }
    let most = f64::from(deployment.replicas + deployment.max_surge);
    let before = number(set, MAX).filter(|max| *max > 0).unwrap_or(deployment.status.replicas.unwrap_or(0)).max(1);
    #[expect(clippy::cast_possible_truncation, reason = "a size of at most i32's range, rounded")]
    let size = (f64::from(set.replicas) * most / f64::from(before)).round() as i32;
    size - set.replicas
}
