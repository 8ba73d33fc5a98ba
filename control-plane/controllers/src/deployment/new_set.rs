//! The ReplicaSet of the present template: its making, and the numbering of revisions.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::decide::Command;
use super::world::{self, DESIRED, MAX, REVISION, REVISION_HISTORY, World};
use crate::hash::template_hash;
use crate::template::HASH_LABEL;

/// Annotations of a Deployment that are not its ReplicaSets'.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

/// Creates the ReplicaSet of the present template.
pub(super) fn create(world: &World<'_>, replicas: i32) -> Command {
    let deployment = world.deployment;
    let hash = template_hash(&world.template, deployment.status.collision_count.unwrap_or(0));
    let name = format!("{}-{hash}", deployment.key.name);
    let mut template = deployment.template.clone();
    template["metadata"]["labels"][HASH_LABEL] = json!(hash);
    let mut selector = deployment.selector_document.clone();
    selector["matchLabels"][HASH_LABEL] = json!(hash);
    let mut annotations = copied(world);
    annotations.insert(REVISION.to_owned(), next_revision(world).to_string());
    annotations.extend(size_annotations(world).map(|(key, value)| (key.to_owned(), value)));
    let document = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": name, "namespace": deployment.key.namespace,
            "labels": template["metadata"]["labels"], "annotations": annotations,
            "ownerReferences": [deployment.reference_for_owned()],
        },
        "spec": {
            "replicas": replicas, "minReadySeconds": deployment.min_ready_seconds,
            "selector": selector, "template": template,
        },
    });
    Command::CreateReplicaSet { name, document }
}

/// Brings revision, copied annotations and `minReadySeconds` of the present ReplicaSet up to date, and the
/// Deployment's own revision.
pub(super) fn follow_up(world: &World<'_>) -> Vec<Command> {
    let Some(new) = &world.new else { return Vec::new() };
    let deployment = world.deployment;
    let mut changes = Vec::new();
    let (current, next) = (world::revision(new), next_revision(world));
    if current < next {
        changes.push((REVISION, next.to_string()));
        if current > 0 {
            let history = new.annotations.get(REVISION_HISTORY).filter(|history| !history.is_empty());
            changes.push((REVISION_HISTORY, history.map_or_else(|| current.to_string(), |h| format!("{h},{current}"))));
        }
    }
    let revision = next.max(current).to_string();
    let stale = |(key, value): &(String, String)| new.annotations.get(key) != Some(value);
    let copied_changed = copied(world).into_iter().any(|entry| stale(&entry));
    let mut commands = Vec::new();
    if !changes.is_empty() || copied_changed || new.min_ready_seconds != deployment.min_ready_seconds {
        let set = new.clone();
        commands.push(Command::Annotate { set, annotations: changes, min_ready_seconds: deployment.min_ready_seconds });
    }
    if deployment.annotations.get(REVISION) != Some(&revision) {
        commands.push(Command::SetRevision(revision));
    }
    commands
}

/// What a ReplicaSet takes over from its Deployment's annotations.
pub(super) fn copied(world: &World<'_>) -> BTreeMap<String, String> {
    let all = world.deployment.annotations.iter();
    all.filter(|(key, _)| !NOT_COPIED.contains(&key.as_str())).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// What a ReplicaSet remembers of the Deployment's size when it was last scaled.
pub(super) fn size_annotations(world: &World<'_>) -> impl Iterator<Item = (&'static str, String)> {
    let deployment = world.deployment;
    [(DESIRED, deployment.replicas.to_string()), (MAX, (deployment.replicas + deployment.max_surge).to_string())].into_iter()
}

fn next_revision(world: &World<'_>) -> i64 {
    world.old.iter().map(|set| world::revision(set)).max().unwrap_or(0) + 1
}

/// Whether a ReplicaSet that already has the name is the one that was to be created.
pub(super) fn is_same(document: &Value, owner_uid: &str, world: &World<'_>) -> bool {
    let owners = document.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let mine = owners.into_iter().flatten().any(|owner| owner["controller"] == true && owner["uid"] == owner_uid);
    mine && document.pointer("/spec/template").is_some_and(|t| crate::template::normalized(t) == world.template)
}
