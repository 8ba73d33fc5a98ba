//! ServiceAccount: a pod runs as an account of its namespace, and gets its token, the cluster's root certificate and
//! the name of its namespace as files.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mizzen_api::Pointed as _;
use mizzen_api::{Object, Status};
use serde_json::{Value, json};

use super::{Attributes, Plugin};
use crate::errors;

pub(super) struct ServiceAccount;

const MIRROR: &str = "kubernetes.io/config.mirror";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// Seconds that a token lives before the node must have renewed it; 3607 marks it as one that was injected here.
const TOKEN_SECONDS: i64 = 3607;
/// A namespace's default account is made by a controller just after the namespace: so long a pod waits for it.
const WAIT_FOR_ACCOUNT: Duration = Duration::from_secs(1);
/// Controllers try again by themselves: they do not wait in the seat that the one who makes the account may need.
const CONTROLLERS: &str = "system:serviceaccount:kube-system:";

#[async_trait]
impl Plugin for ServiceAccount {
    async fn mutate(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Status> {
        // What a node shows of itself runs as nobody.
        if !attributes.creates_pod() || object.at("/metadata/annotations").is_some_and(|map| map.get(MIRROR).is_some()) {
            return Ok(());
        }
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
        let name = match spec.get("serviceAccountName").and_then(Value::as_str) {
            None | Some("") => "default".to_owned(),
            Some(name) => name.to_owned(),
        };
        spec.insert("serviceAccountName".to_owned(), json!(name));
        spec.insert("serviceAccount".to_owned(), json!(name));
        let account = find(attributes, &name).await?;
        let account = account.value().map_err(|error| Status::internal(format!("decode service account {name}: {error}")))?;
        if spec.get("imagePullSecrets").and_then(Value::as_array).is_none_or(Vec::is_empty)
            && let Some(secrets) = account.get("imagePullSecrets").and_then(Value::as_array).filter(|list| !list.is_empty())
        {
            spec.insert("imagePullSecrets".to_owned(), json!(secrets));
        }
        let wanted = |value: Option<&Value>| value.and_then(Value::as_bool);
        let automount = wanted(spec.get("automountServiceAccountToken"))
            .or_else(|| wanted(account.get("automountServiceAccountToken")))
            .unwrap_or(true);
        if automount {
            mount_token(spec);
        }
        Ok(())
    }
}

async fn find(attributes: &Attributes<'_>, name: &str) -> Result<Arc<Object>, Status> {
    let namespace = attributes.namespace();
    let lookup = || attributes.lookup("serviceaccounts", namespace, name);
    if let Some(account) = lookup() {
        return Ok(account);
    }
    let missing = || {
        attributes.forbid(&format!("error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"))
    };
    if attributes.identity.username.starts_with(CONTROLLERS) {
        return Err(missing());
    }
    let descriptor = attributes.registry.by_group_resource("", "serviceaccounts").ok_or_else(missing)?;
    let key = descriptor.key(namespace, name);
    let mut changes = attributes.store.watch(&key, attributes.store.revision()).map_err(errors::store)?;
    let waiting = async {
        loop {
            if let Some(account) = lookup() {
                return Ok(account);
            }
            changes.next().await.map_err(errors::store)?;
        }
    };
    tokio::time::timeout(WAIT_FOR_ACCOUNT, waiting).await.unwrap_or_else(|_| Err(missing()))
}

fn mount_token(spec: &mut serde_json::Map<String, Value>) {
    let mut needed = false;
    let named = |volume: &Value| volume.get("name").and_then(Value::as_str).is_some_and(|name| name.starts_with(VOLUME_PREFIX));
    let existing = spec
        .get("volumes")
        .and_then(Value::as_array)
        .and_then(|volumes| volumes.iter().find(|volume| named(volume)))
        .and_then(|volume| volume.get("name").and_then(Value::as_str).map(str::to_owned));
    let name = existing.clone().unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", crate::suffix::random()));
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(container) = container.as_object_mut() else { continue };
            let Some(mounts) = container.entry("volumeMounts").or_insert_with(|| json!([])).as_array_mut() else { continue };
            if mounts.iter().any(|mount| mount.get("mountPath").and_then(Value::as_str) == Some(MOUNT_PATH)) {
                continue;
            }
            mounts.push(json!({"name": name, "mountPath": MOUNT_PATH, "readOnly": true}));
            needed = true;
        }
    }
    if !needed || existing.is_some() {
        return;
    }
    if let Some(volumes) = spec.entry("volumes").or_insert_with(|| json!([])).as_array_mut() {
        volumes.push(json!({"name": name, "projected": {"defaultMode": 0o644, "sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
            ]}},
        ]}}));
    }
}
