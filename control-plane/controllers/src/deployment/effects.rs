//! What the Deployment controller does to ReplicaSets.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use mizzen_api::{ObjectRef, Reason};
use mizzen_client::{ApiRequest, DeleteOptions, PatchKind};
use mizzen_reconcile::{Error, typed};
use serde_json::{Value, json};

use super::Deployments;
use super::conditions::{self, PROGRESSING, condition};
use super::decide::Command;
use super::world::{REVISION, World};
use super::{new_set, progress};
use crate::replicaset::RsView;

/// Reason of the event and of the Progressing condition when the new ReplicaSet cannot be created.
const CREATE_ERROR: &str = "ReplicaSetCreateError";

impl Deployments {
    pub(super) async fn patch_owner(&self, set: &RsView, patch: Value) -> Result<(), Error> {
        let (namespace, name) = (&set.owner.key.namespace, &set.owner.key.name);
        match typed::patch::<ReplicaSet>(self.client.as_ref(), namespace, name, "", PatchKind::Strategic, patch).await {
            Ok(_) => Ok(()),
            Err(error) if error.is(Reason::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn carry_out(&self, world: &World<'_>, command: Command) -> Result<(), Error> {
        let client = self.client.as_ref();
        match command {
            Command::CreateReplicaSet { name, document } => self.create(world, &name, document).await,
            Command::Annotate { set, annotations, min_ready_seconds } => {
                let copied = new_set::copied(world);
                typed::update::<ReplicaSet>(client, &set.owner.object, |document| {
                    for (key, value) in copied {
                        document["metadata"]["annotations"][key] = json!(value);
                    }
                    for (key, value) in annotations {
                        document["metadata"]["annotations"][key] = json!(value);
                    }
                    document["spec"]["minReadySeconds"] = json!(min_ready_seconds);
                })
                .await
                .map(drop)
            }
            Command::Scale { set, replicas } => {
                let size = new_set::size_annotations(world);
                typed::update::<ReplicaSet>(client, &set.owner.object, |document| {
                    for (key, value) in size {
                        document["metadata"]["annotations"][key] = json!(value);
                    }
                    document["spec"]["replicas"] = json!(replicas);
                })
                .await?;
                self.tell_scaled(world, &set.owner.key, set.replicas, replicas);
                Ok(())
            }
            Command::DeleteReplicaSet(set) => {
                let options = DeleteOptions { uid: Some(set.owner.uid.clone()), ..DeleteOptions::default() };
                typed::delete::<ReplicaSet>(client, &set.owner.key.namespace, &set.owner.key.name, options).await.map(drop)
            }
            Command::SetRevision(revision) => typed::update::<Deployment>(client, &world.deployment.object, |document| {
                document["metadata"]["annotations"][REVISION] = json!(revision);
            })
            .await
            .map(drop),
        }
    }

    async fn create(&self, world: &World<'_>, name: &str, document: Value) -> Result<(), Error> {
        let deployment = world.deployment;
        let replicas = document.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0);
        let key = ObjectRef::new(deployment.key.namespace.clone(), name);
        match self.client.write(ApiRequest::create(&typed::gvr::<ReplicaSet>(), &key.namespace, document)).await {
            Ok(_) => {
                if replicas > 0 {
                    self.tell_scaled(world, &key, 0, i32::try_from(replicas).unwrap_or(i32::MAX));
                }
                Ok(())
            }
            Err(status) if status.is(Reason::AlreadyExists) => self.resolve_collision(world, &key).await,
            Err(status) => {
                let message = format!("Failed to create new replica set \"{name}\": {status}");
                self.recorder.warning(&deployment.reference(), CREATE_ERROR, message.clone());
                self.tell_create_error(world, message).await?;
                Err(Error::api(format!("create replicasets {key}"), status))
            }
        }
    }

    async fn tell_create_error(&self, world: &World<'_>, message: String) -> Result<(), Error> {
        if world.deployment.progress_deadline.is_none() {
            return Ok(());
        }
        let mut status = progress::status(world);
        conditions::set(&mut status, condition(PROGRESSING, "False", CREATE_ERROR, message, world.now));
        if status == world.deployment.status {
            return Ok(());
        }
        typed::update_status::<Deployment>(self.client.as_ref(), &world.deployment.object, &status).await.map(drop)
    }

    /// The name is taken: by this Deployment's own set, which the cache does not know yet, or by a stranger, so that
    /// another name is needed.
    async fn resolve_collision(&self, world: &World<'_>, key: &ObjectRef) -> Result<(), Error> {
        let deployment = world.deployment;
        let present = typed::get_object::<ReplicaSet>(self.client.as_ref(), &key.namespace, &key.name).await?;
        let same = present.is_none_or(|object| object.value().is_ok_and(|v| new_set::is_same(&v, &deployment.uid, world)));
        if same {
            return Ok(());
        }
        let mut status = deployment.status.clone();
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        typed::update_status::<Deployment>(self.client.as_ref(), &deployment.object, &status).await?;
        Err(Error::Other(format!("the name of ReplicaSet {key} is taken; trying another")))
    }

    fn tell_scaled(&self, world: &World<'_>, key: &ObjectRef, from: i32, to: i32) {
        if from == to {
            return;
        }
        let direction = if to > from { "up" } else { "down" };
        let message = format!("Scaled {direction} replica set {} from {from} to {to}", key.name);
        self.recorder.normal(&world.deployment.reference(), "ScalingReplicaSet", message);
    }
}
