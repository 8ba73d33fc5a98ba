//! The next step of a Deployment, with no effects.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::DeploymentStatus;
use serde_json::Value;

use super::world::{self, World};
use super::{conditions, new_set, progress, rolling, scale};
use crate::replicaset::RsView;

/// One thing to do. Every write is conditional on the version it was decided on.
pub(super) enum Command {
    CreateReplicaSet {
        name: String,
        document: Value,
    },
    /// Sets annotations and `minReadySeconds` of a ReplicaSet.
    Annotate {
        set: Arc<RsView>,
        annotations: Vec<(&'static str, String)>,
        min_ready_seconds: i32,
    },
    /// Sets a ReplicaSet's size, and remembers the Deployment's size in its annotations.
    Scale {
        set: Arc<RsView>,
        replicas: i32,
    },
    DeleteReplicaSet(Arc<RsView>),
    /// Sets the Deployment's own revision.
    SetRevision(String),
}

#[derive(Default)]
pub(super) struct Plan {
    pub(super) commands: Vec<Command>,
    pub(super) status: Option<DeploymentStatus>,
    /// Look again after so long, though nothing may have changed.
    pub(super) again: Option<Duration>,
}

pub(super) fn decide(world: &World<'_>) -> Plan {
    let deployment = world.deployment;
    if deployment.terminating {
        return Plan { status: Some(progress::status(world)), ..Plan::default() };
    }
    if let Some(status) = conditions::paused_or_resumed(world) {
        return Plan { status: Some(status), ..Plan::default() };
    }
    let mut commands = new_set::follow_up(world);
    if !commands.is_empty() {
        // The next step needs what this one writes; its writes wake the Deployment again.
        return Plan { commands, ..Plan::default() };
    }
    if deployment.paused {
        commands = scale::commands(world);
        commands.extend(history(world));
        return Plan { commands, status: Some(progress::status(world)), again: None };
    }
    if scale::is_due(world) {
        commands = scale::commands(world);
        if !commands.is_empty() {
            return Plan { commands, status: Some(progress::status(world)), again: None };
        }
    }
    commands = if deployment.recreate { recreate(world) } else { rollout(world) };
    if commands.is_empty() && progress::is_complete(world, &progress::counts(world)) {
        commands = history(world);
    }
    let created = commands.iter().find_map(|command| match command {
        Command::CreateReplicaSet { name, .. } => Some(name.clone()),
        _ => None,
    });
    let (status, again) = match created {
        Some(name) => (conditions::replica_set_created(world, &name), None),
        None => progress::rollout_status(world),
    };
    Plan { commands, status: Some(status), again }
}

fn rollout(world: &World<'_>) -> Vec<Command> {
    let Some(new) = &world.new else {
        return vec![new_set::create(world, rolling::new_size(world, None))];
    };
    let size = rolling::new_size(world, Some(new));
    if size != new.replicas {
        return vec![Command::Scale { set: new.clone(), replicas: size }];
    }
    rolling::scale_down_old(world)
}

fn recreate(world: &World<'_>) -> Vec<Command> {
    let down: Vec<_> =
        world.old.iter().filter(|set| set.replicas > 0).map(|set| Command::Scale { set: set.clone(), replicas: 0 }).collect();
    if !down.is_empty() || world.old_pods_run() {
        return down;
    }
    match &world.new {
        None => vec![new_set::create(world, world.deployment.replicas)],
        Some(new) if new.replicas != world.deployment.replicas => {
            vec![Command::Scale { set: new.clone(), replicas: world.deployment.replicas }]
        }
        Some(_) => Vec::new(),
    }
}

/// Deletes what goes beyond the history that the Deployment keeps, the oldest revisions first.
fn history(world: &World<'_>) -> Vec<Command> {
    let Some(limit) = world.deployment.history_limit else { return Vec::new() };
    let mut old: Vec<_> = world.old.iter().filter(|set| !set.owner.terminating).collect();
    let excess = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    old.sort_by_key(|set| world::revision(set));
    let unused = |set: &&Arc<RsView>| {
        set.replicas == 0 && set.status.replicas == 0 && set.owner.generation <= set.status.observed_generation.unwrap_or(0)
    };
    old.into_iter().take(excess).filter(unused).map(|set| Command::DeleteReplicaSet(set.clone())).collect()
}
