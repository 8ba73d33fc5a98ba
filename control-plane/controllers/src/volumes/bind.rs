//! What is written of a decision: each part only where it is not there yet, so that a step that was broken off is finished.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use mizzen_api::{Object, ObjectRef};
use mizzen_reconcile::{Error, EventType, reference, typed};
use serde_json::{Map, Value, json};

use super::Binder;
use super::decide::{ForClaim, ForVolume, for_claim, for_volume};
use super::view::{BIND_COMPLETED, BOUND_BY_CONTROLLER, Claim, Volume};

/// Who is to make a volume for a claim; the second is for provisioners that are older.
pub(super) const PROVISIONER: [&str; 2] =
    ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];
/// The node on which the claim is used.
pub(super) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

impl Binder {
    pub(super) async fn claim(&self, key: &ObjectRef) -> Result<(), Error> {
        let Some(stored) = self.stored_claim(key).await? else { return Ok(()) };
        let claim = Claim::of(&stored)?;
        if stored.head().is_terminating() && claim.volume.is_empty() {
            return Ok(());
        }
        let volumes = self.all_volumes()?;
        let consumer = self.consumer(key);
        match for_claim(&claim, &volumes, &self.class(&claim)?, consumer.as_ref()) {
            ForClaim::Bind(name) => match volumes.iter().find(|volume| volume.name == name) {
                Some(volume) => self.bind(stored, &claim, volume).await,
                None => Ok(()),
            },
            ForClaim::Wait { warning, reason, message } => {
                let kind = if warning { EventType::Warning } else { EventType::Normal };
                self.tell(&stored, kind, reason, message)?;
                self.claim_phase(&stored, "Pending").await
            }
            ForClaim::Provision { provisioner, node } => self.ask_for(&stored, &provisioner, node.as_deref()).await,
            ForClaim::Lost { reason, message } => {
                if phase_of(&document(&stored)?) != "Lost" {
                    self.tell(&stored, EventType::Warning, reason, message.to_owned())?;
                }
                self.claim_phase(&stored, "Lost").await
            }
        }
    }

    /// The volume says whose it is first: whoever comes second finds it taken.
    async fn bind(&self, stored: Arc<Object>, claim: &Claim, volume: &Volume) -> Result<(), Error> {
        let taken = match volume.claim.as_ref().is_some_and(|reference| reference.uid == claim.uid) {
            true => volume.object.clone(),
            false => {
                let of = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim.key.namespace,
                    "name": claim.key.name, "uid": claim.uid, "resourceVersion": stored.head().resource_version});
                let chosen = volume.claim.is_none();
                typed::update::<PersistentVolume>(self.client.as_ref(), &volume.object, |document| {
                    document["spec"]["claimRef"] = of;
                    if chosen {
                        annotate(document, BOUND_BY_CONTROLLER, "yes");
                    }
                })
                .await?
            }
        };
        self.volume_phase(&taken, "Bound", None).await?;
        let stored = match claim.completed && claim.volume == volume.name {
            true => stored,
            false => {
                let chosen = claim.volume.is_empty();
                typed::update::<PersistentVolumeClaim>(self.client.as_ref(), &stored, |document| {
                    document["spec"]["volumeName"] = volume.name.as_str().into();
                    annotate(document, BIND_COMPLETED, "yes");
                    if chosen {
                        annotate(document, BOUND_BY_CONTROLLER, "yes");
                    }
                })
                .await?
            }
        };
        let (before, of) = (document(&stored)?, document(&taken)?);
        let mut status = status_of(&before);
        status.insert("phase".to_owned(), "Bound".into());
        status.insert("accessModes".to_owned(), of["spec"]["accessModes"].clone());
        // A claim that grows says itself how large its volume is.
        if phase_of(&before) != "Bound" || !status.contains_key("capacity") {
            status.insert("capacity".to_owned(), of["spec"]["capacity"].clone());
        }
        self.claim_status(&stored, &before, status).await
    }

    /// Marks a claim for whoever makes volumes of its class.
    async fn ask_for(&self, stored: &Arc<Object>, provisioner: &str, node: Option<&str>) -> Result<(), Error> {
        let message = format!(
            "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system \
             administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
        );
        self.tell(stored, EventType::Normal, "ExternalProvisioning", message)?;
        let claim = document(stored)?;
        let marks: Vec<_> =
            PROVISIONER.map(|key| (key, provisioner)).into_iter().chain(node.map(|node| (SELECTED_NODE, node))).collect();
        let is_there = |(key, value): &(&str, &str)| claim["metadata"]["annotations"][key] == *value;
        let stored = match marks.iter().all(is_there) {
            true => stored.clone(),
            false => {
                typed::update::<PersistentVolumeClaim>(self.client.as_ref(), stored, |document| {
                    marks.iter().for_each(|(key, value)| annotate(document, key, value));
                })
                .await?
            }
        };
        self.claim_phase(&stored, "Pending").await
    }

    pub(super) async fn volume(&self, name: &str) -> Result<(), Error> {
        let Some(stored) = typed::get_object::<PersistentVolume>(self.client.as_ref(), "", name).await? else { return Ok(()) };
        let volume = Volume::of(&stored)?;
        let claim = match &volume.claim {
            Some(reference) if !reference.uid.is_empty() => self.stored_claim(&reference.key).await?,
            _ => None,
        };
        let claim = claim.as_deref().map(Claim::of).transpose()?;
        match for_volume(&volume, claim.as_ref()) {
            ForVolume::Leave => Ok(()),
            ForVolume::Phase(phase) => self.volume_phase(&stored, phase, None).await,
            ForVolume::NotDeleted => {
                let message = "error getting deleter volume plugin for volume: no volume plugin matched";
                self.recorder.warning(
                    &reference(typed::view::<PersistentVolume>(&stored)?.as_ref()),
                    "VolumeFailedDelete",
                    message,
                );
                self.volume_phase(&stored, "Failed", Some(message)).await
            }
            ForVolume::Free => {
                let freed = typed::update::<PersistentVolume>(self.client.as_ref(), &stored, |document| {
                    match volume.bound_here {
                        true => drop(document["spec"].as_object_mut().and_then(|spec| spec.remove("claimRef"))),
                        false => document["spec"]["claimRef"]["uid"] = "".into(),
                    }
                    if let Some(annotations) = document.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
                        annotations.remove(BOUND_BY_CONTROLLER);
                    }
                })
                .await?;
                self.volume_phase(&freed, "Available", None).await
            }
        }
    }

    async fn volume_phase(&self, stored: &Object, phase: &str, message: Option<&str>) -> Result<(), Error> {
        let before = document(stored)?;
        if phase_of(&before) == phase {
            return Ok(());
        }
        let mut status = status_of(&before);
        status.insert("phase".to_owned(), phase.into());
        match message {
            Some(message) => status.insert("message".to_owned(), message.into()),
            None => status.remove("message"),
        };
        typed::update_status::<PersistentVolume>(self.client.as_ref(), stored, &status).await.map(drop)
    }

    async fn claim_phase(&self, stored: &Object, phase: &str) -> Result<(), Error> {
        let before = document(stored)?;
        let mut status = status_of(&before);
        status.insert("phase".to_owned(), phase.into());
        self.claim_status(stored, &before, status).await
    }

    async fn claim_status(&self, stored: &Object, before: &Value, status: Map<String, Value>) -> Result<(), Error> {
        if before.get("status").and_then(Value::as_object) == Some(&status) {
            return Ok(());
        }
        typed::update_status::<PersistentVolumeClaim>(self.client.as_ref(), stored, &status).await.map(drop)
    }

    fn tell(&self, stored: &Object, kind: EventType, reason: &str, message: String) -> Result<(), Error> {
        let view = typed::view::<PersistentVolumeClaim>(stored)?;
        self.recorder.event(&reference(view.as_ref()), kind, reason, message);
        Ok(())
    }
}

fn document(stored: &Object) -> Result<Value, Error> {
    stored.value().map_err(|source| Error::Decode { operation: "decode a volume or its claim".to_owned(), source })
}

fn phase_of(document: &Value) -> &str {
    document.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default()
}

fn status_of(document: &Value) -> Map<String, Value> {
    document.get("status").and_then(Value::as_object).cloned().unwrap_or_default()
}

fn annotate(document: &mut Value, key: &str, value: &str) {
    document["metadata"]["annotations"][key] = value.into();
}
