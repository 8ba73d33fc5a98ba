//! Removes images that nothing on the node uses when the disk gets full, as the kubelet does: above the high threshold, the
//! least recently used first, until the use is below the low one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mizzen_images::{Collect, Image, ImageError};
use mizzen_runtime::RuntimeError;

use super::capacity;
use crate::pod::containers::containers;
use crate::pod::labels;
use crate::pod::manager::Pods;
use crate::shared::Shared;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(300);
/// An image is not removed before: somebody may have pulled it to use it.
const MINIMUM_AGE: Duration = Duration::from_secs(120);

/// Percents of the disk in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Above this, images go.
    pub high: u8,
    /// Until it is this.
    pub low: u8,
}

impl Default for Thresholds {
    /// The kubelet's.
    fn default() -> Self {
        Self { high: 85, low: 80 }
    }
}

impl Thresholds {
    /// How many bytes are to be freed of a file system with so many in all and so many free.
    fn excess(self, total: u64, free: u64) -> Option<u64> {
        let percent = |part: u64| u64::try_from(u128::from(part) * 100 / u128::from(total.max(1))).unwrap_or(100);
        if 100_u64.saturating_sub(percent(free)) < u64::from(self.high) {
            return None;
        }
        let wanted = u128::from(total) * u128::from(100 - self.low.min(100)) / 100;
        Some(u64::try_from(wanted).unwrap_or(u64::MAX).saturating_sub(free))
    }
}

#[derive(Debug, thiserror::Error)]
enum CollectError {
    #[error(transparent)]
    Images(#[from] ImageError),
    #[error("list the containers that use images: {0}")]
    List(#[source] RuntimeError),
    #[error("forget who pulled images that are gone: {0}")]
    Forget(#[source] std::io::Error),
    #[error("look at images: the worker thread panicked")]
    Worker,
}

/// Runs for ever.
pub(crate) async fn run(shared: Arc<Shared>, pods: Arc<Pods>) {
    // The images of pods that are not known yet would be nobody's.
    pods.known().await;
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if let Err(error) = look(&shared, &pods).await {
            tracing::warn!(%error, "images not collected");
            shared.recorder.warning(&super::about(&shared.node_name), "ImageGCFailed", error.to_string());
        }
    }
}

async fn look(shared: &Shared, pods: &Pods) -> Result<(), CollectError> {
    let in_use = Arc::new(in_use(shared, pods).await?);
    let now = SystemTime::from(shared.now());
    let (images, used) = (shared.images.clone(), in_use.clone());
    let note = move || {
        let used = |image: &Arc<Image>| used.contains(&image.id) || used.contains(&image.digest);
        images.list().iter().filter(|image| used(image)).try_for_each(|image| images.used(&image.reference, now))
    };
    // Reads every layer's folder.
    tokio::task::spawn_blocking(note).await.map_err(|_| CollectError::Worker)??;
    let Some((total, free)) = capacity::storage(shared.images.root()) else { return Ok(()) };
    let positive = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
    let Some(bytes) = shared.image_gc.excess(positive(total), positive(free)) else { return Ok(()) };
    let unused_since = now.checked_sub(MINIMUM_AGE).unwrap_or(SystemTime::UNIX_EPOCH);
    let in_use = Arc::unwrap_or_clone(in_use);
    let removed = shared.images.gc(Collect { in_use, bytes, unused_since }).await?;
    if !removed.images.is_empty() {
        forget(shared, now).await?;
    }
    tracing::info!(wanted = bytes, removed = removed.bytes, images = ?removed.images, "images collected");
    if removed.bytes < bytes {
        let message = format!(
            "Failed to garbage collect required amount of images. Attempted to free {bytes} bytes, but only found {} bytes eligible to free.",
            removed.bytes
        );
        shared.recorder.warning(&super::about(&shared.node_name), "FreeDiskSpaceFailed", message);
    }
    Ok(())
}

/// Who pulled an image is of no interest once it is gone.
async fn forget(shared: &Shared, begun: SystemTime) -> Result<(), CollectError> {
    let (images, pulled) = (shared.images.clone(), shared.pulled.clone());
    let prune = move || pulled.prune(|| images.list().iter().map(|image| image.id.clone()).collect(), begun);
    tokio::task::spawn_blocking(prune).await.map_err(|_| CollectError::Worker)?.map_err(CollectError::Forget)
}

/// Ids and digests of the images of every container there is, ended ones too, and of every pod that is to run here.
async fn in_use(shared: &Shared, pods: &Pods) -> Result<BTreeSet<String>, CollectError> {
    let pods: Vec<_> = pods.all().iter().map(|handle| handle.desired.borrow().pod.clone()).collect();
    let images = shared.images.clone();
    let of_pods = move || {
        let references = pods.iter().flat_map(|pod| {
            let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
            let of_volumes = volumes.filter_map(|volume| volume.image.as_ref()?.reference.clone());
            let asked = containers(pod).filter_map(|container| container.image.clone()).chain(of_volumes);
            asked.filter_map(|image| mizzen_images::normalize(&image).ok()).collect::<Vec<_>>()
        });
        references.filter_map(|reference| Some(images.get(&reference)?.id.clone())).collect::<BTreeSet<String>>()
    };
    let mut in_use = tokio::task::spawn_blocking(of_pods).await.map_err(|_| CollectError::Worker)?;
    // Listed last: a container that has just been started is of a pod that is known, or among these.
    for runtime in shared.runtimes.all() {
        let listed = runtime.list().await.map_err(CollectError::List)?;
        let digest = |id: &str| id.rsplit_once('@').map(|(_, digest)| digest.to_owned());
        in_use.extend(listed.iter().filter_map(|status| digest(labels::get(&status.labels, labels::IMAGE_ID))));
    }
    Ok(in_use)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn above_the_high_threshold_so_much_goes_that_the_low_one_is_reached() {
        let thresholds = Thresholds::default();
        assert_eq!(thresholds.excess(1000, 160), None);
        assert_eq!(thresholds.excess(1000, 150), Some(50));
        assert_eq!(thresholds.excess(1000, 0), Some(200));
        assert_eq!(thresholds.excess(0, 0), Some(0));
        assert_eq!(Thresholds { high: 0, low: 0 }.excess(10, 10), Some(0));
    }
}
