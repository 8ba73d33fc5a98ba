//! Gives back what a pod had of its node. Repeatable at any point.

use k8s_openapi::api::core::v1::Pod;

use super::processes;
use crate::cgroups;
use crate::error::HookError;
use crate::shared::Shared;
use crate::spec::resources;

/// Network and volumes of a pod whose containers are down but may still be asked for their logs.
pub(crate) async fn release(shared: &Shared, uid: &str) -> Result<(), HookError> {
    processes::release(shared, uid).await?;
    shared.network.remove_pod(uid).await?;
    shared.policies.release(uid);
    shared.volumes.teardown(uid).await?;
    Ok(())
}

/// Everything, logs included; the containers are removed.
pub(crate) async fn teardown(shared: &Shared, pod: &Pod) -> Result<(), HookError> {
    let of = |field: &Option<String>| field.clone().unwrap_or_default();
    let uid = of(&pod.metadata.uid);
    release(shared, &uid).await?;
    remove_cgroup(cgroups::pod_path(&shared.cluster, resources::qos(pod), &uid)).await?;
    let logs = shared.log_dir(&of(&pod.metadata.namespace), &of(&pod.metadata.name), &uid);
    match tokio::fs::remove_dir_all(&logs).await {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(HookError::Io { operation: "remove", path: logs, source })
        }
        _ => Ok(()),
    }
}

pub(crate) async fn remove_cgroup(path: String) -> Result<(), HookError> {
    let removed = path.clone();
    tokio::task::spawn_blocking(move || cgroups::remove(&removed))
        .await
        .map_err(|_| HookError::Worker)?
        .map_err(|error| HookError::Cgroup { path, why: error.to_string() })
}

/// The logs of a pod of which only the uid is known.
pub(crate) async fn remove_logs_of(shared: &Shared, uid: &str) {
    let Ok(mut entries) = tokio::fs::read_dir(shared.data_dir.join("pods")).await else { return };
    let suffix = format!("_{uid}");
    while let Ok(Some(entry)) = entries.next_entry().await {
        if entry.file_name().to_string_lossy().ends_with(&suffix)
            && let Err(error) = tokio::fs::remove_dir_all(entry.path()).await
        {
            tracing::warn!(path = %entry.path().display(), %error, "left-over logs not removed");
        }
    }
}
