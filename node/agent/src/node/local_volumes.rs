//! Removes volumes that are folders of this node once their claims are gone, where they are to be removed then.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolume;
use mizzen_api::local_path::{PROVISIONED_BY, PROVISIONER, volume_of};
use mizzen_client::DeleteOptions;
use mizzen_reconcile::{reference, typed};

use crate::shared::Shared;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
enum RemoveError {
    #[error(transparent)]
    Api(#[from] mizzen_reconcile::Error),
    #[error("{operation} {}: {source}", path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("remove a volume: the worker thread panicked")]
    Worker,
}

/// Runs for ever.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let folders = match folders(shared.volumes_dir()).await {
            Ok(folders) => folders,
            Err(error) => {
                tracing::warn!(%error, "volumes of this node are not looked at");
                continue;
            }
        };
        for folder in folders {
            let name = folder.file_name().and_then(|name| name.to_str()).map(volume_of).unwrap_or_default();
            // Not found, refused, or the server is away: what somebody may want yet stays.
            let Ok(Some(volume)) = typed::get::<PersistentVolume>(shared.client.as_ref(), "", name).await else { continue };
            if !is_to_go(&volume) {
                continue;
            }
            if let Err(error) = remove(&shared, name, &volume, folder.clone()).await {
                shared.recorder.warning(&reference(volume.as_ref()), "VolumeFailedDelete", error.to_string());
            }
        }
    }
}

/// That a volume is gone is no sign: the server may have lost it.
fn is_to_go(volume: &PersistentVolume) -> bool {
    let annotations = volume.metadata.annotations.as_ref();
    let ours = annotations.and_then(|all| all.get(PROVISIONED_BY)).is_some_and(|by| by == PROVISIONER);
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    ours && policy == Some("Delete") && phase == Some("Released")
}

/// The files go first: a volume whose files are left is looked at again.
async fn remove(shared: &Shared, name: &str, volume: &PersistentVolume, folder: PathBuf) -> Result<(), RemoveError> {
    blocking(folder, "remove", |path| std::fs::remove_dir_all(path)).await?;
    let options = DeleteOptions { uid: volume.metadata.uid.clone(), ..DeleteOptions::default() };
    typed::delete::<PersistentVolume>(shared.client.as_ref(), "", name, options).await?;
    Ok(())
}

async fn folders(of: PathBuf) -> Result<Vec<PathBuf>, RemoveError> {
    blocking(of, "list", |path| match std::fs::read_dir(path) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        // Made with the first volume.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    })
    .await
}

async fn blocking<T: Send + 'static>(
    path: PathBuf,
    operation: &'static str,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, RemoveError> {
    let done = tokio::task::spawn_blocking(move || work(&path).map_err(|source| RemoveError::Io { operation, path, source }));
    done.await.map_err(|_| RemoveError::Worker)?
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_volumes_of_this_kind_that_are_released_and_not_to_be_kept_go() {
        let volume = |by: &str, policy: &str, phase: &str| {
            let document = json!({"metadata": {"annotations": {PROVISIONED_BY: by}},
                "spec": {"persistentVolumeReclaimPolicy": policy}, "status": {"phase": phase}});
            serde_json::from_value::<PersistentVolume>(document).expect("is one")
        };
        assert!(is_to_go(&volume(PROVISIONER, "Delete", "Released")));
        assert!(!is_to_go(&volume(PROVISIONER, "Delete", "Bound")));
        assert!(!is_to_go(&volume(PROVISIONER, "Retain", "Released")));
        assert!(!is_to_go(&volume("example.com/other", "Delete", "Released")));
    }
}
