//! Gets a container's image, with the events that the kubelet writes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::core::v1::{Container, ImageVolumeSource, Pod};
use mizzen_images::{Credentials, Image, ImageError, ImageKind};

use super::credentials;
use crate::duration;
use crate::pulled::{Asked, PullSecret, Pulled, Verdict};
use crate::shared::{Shared, about};

/// Reason (as the container's waiting reason) and message.
#[derive(Clone, Debug)]
pub(crate) struct PullError {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl From<ImageError> for PullError {
    fn from(error: ImageError) -> Self {
        Self { reason: error.reason(), message: error.to_string() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    Always,
    IfNotPresent,
    Never,
}

/// `imagePullPolicy`; without one, `Always` for `:latest`.
pub(crate) fn policy(container: &Container, normalized: &str) -> Policy {
    match container.image_pull_policy.as_deref() {
        Some("Always") => Policy::Always,
        Some("IfNotPresent") => Policy::IfNotPresent,
        Some("Never") => Policy::Never,
        _ if normalized.ends_with(":latest") => Policy::Always,
        _ => Policy::IfNotPresent,
    }
}

pub(crate) async fn pull(shared: &Shared, pod: &Pod, container: &Container) -> Result<Arc<Image>, PullError> {
    let result = get(shared, pod, container).await;
    let about = about(pod, Some(&container.name));
    match &result {
        Ok(image) if matches!(image.kind, ImageKind::Wasm(_)) && shared.runtimes.wasm.is_none() => {
            let message = format!("image {} is Wasm, and this node has no Wasm runtime", image.reference);
            shared.recorder.warning(&about, "Failed", message.clone());
            return Err(PullError { reason: "CreateContainerError", message });
        }
        Ok(_) => {}
        Err(error) => shared.recorder.warning(&about, "Failed", format!("Error: {}", error.reason)),
    }
    result
}

/// The directories of the image that a volume is made of, the lowest first.
pub(crate) async fn pull_volume(shared: &Shared, pod: &Pod, source: &ImageVolumeSource) -> Result<Vec<PathBuf>, PullError> {
    let (image, image_pull_policy) = (source.reference.clone(), source.pull_policy.clone());
    let image = get(shared, pod, &Container { image, image_pull_policy, ..Container::default() }).await?;
    match &image.kind {
        ImageKind::Container(container) => Ok(container.layers.clone()),
        ImageKind::Wasm(_) => {
            let message = format!("image {} is a Wasm module, not files", image.reference);
            Err(PullError { reason: "ErrImagePull", message })
        }
    }
}

/// A container without a name stands for a volume of the pod.
async fn get(shared: &Shared, pod: &Pod, container: &Container) -> Result<Arc<Image>, PullError> {
    let asked = container.image.as_deref().unwrap_or_default();
    let about = about(pod, Some(container.name.as_str()).filter(|name| !name.is_empty()));
    let normalized = mizzen_images::normalize(asked).map_err(|error| {
        let message = format!("Failed to apply default image tag \"{asked}\": {error}");
        shared.recorder.warning(&about, "InspectFailed", message.clone());
        PullError { reason: "InvalidImageName", message }
    })?;
    let policy = policy(container, &normalized);
    if policy != Policy::Always
        && let Some(image) = usable(shared, pod, &normalized).await
    {
        let message = format!("Container image \"{asked}\" already present on machine and can be accessed by the pod");
        shared.recorder.normal(&about, "Pulled", message);
        if let Err(error) = shared.images.used(&image.reference, shared.now().into()) {
            tracing::warn!(image = image.reference, %error, "use of the image not noted");
        }
        return Ok(image);
    }
    if policy == Policy::Never {
        let message = format!("Container image \"{asked}\" is not present with pull policy of Never");
        shared.recorder.warning(&about, "ErrImageNeverPull", message.clone());
        return Err(PullError { reason: "ErrImageNeverPull", message });
    }
    shared.recorder.normal(&about, "Pulling", format!("Pulling image \"{asked}\""));
    let begun = Instant::now();
    let image = noted(shared, pod, &normalized).await.inspect_err(|error| {
        shared.recorder.warning(&about, "Failed", format!("Failed to pull image \"{asked}\": {}", error.message));
    })?;
    let took = duration::text(begun.elapsed());
    let message =
        format!("Successfully pulled image \"{asked}\" in {took} ({took} including waiting). Image size: {} bytes.", image.size);
    shared.recorder.normal(&about, "Pulled", message);
    Ok(image)
}

/// The image, when it is here and the pod may have it without asking the registry.
async fn usable(shared: &Shared, pod: &Pod, reference: &str) -> Option<Arc<Image>> {
    let (images, pulled, wanted) = (shared.images.clone(), shared.pulled.clone(), reference.to_owned());
    // Looks at the folders of its layers.
    let look = move || {
        let image = images.get(&wanted)?;
        let asked = asked(&wanted, &image);
        let verdict = pulled.look(&asked);
        Some((image, asked, verdict))
    };
    let (image, asked, verdict) = tokio::task::spawn_blocking(look).await.ok().flatten()?;
    match verdict {
        Ok(Verdict::Free) => return Some(image),
        Ok(Verdict::Restricted) => {}
        Err(error) => tracing::warn!(reference, %error, "who pulled the image is not known"),
    }
    let secrets: Vec<_> = credentials::find(shared, pod, reference).await.into_iter().map(|login| login.secret).collect();
    let pulled = shared.pulled.clone();
    match tokio::task::spawn_blocking(move || pulled.admits(&asked, &secrets)).await.ok()? {
        Ok(true) => Some(image),
        Ok(false) => None,
        Err(error) => {
            tracing::warn!(reference, %error, "who pulled the image is not known");
            None
        }
    }
}

fn asked(reference: &str, image: &Image) -> Asked {
    let repository = mizzen_images::repository(reference).to_owned();
    Asked { reference: reference.to_owned(), repository, image: image.id.clone() }
}

/// Pulls, and notes as whom.
async fn noted(shared: &Shared, pod: &Pod, reference: &str) -> Result<Arc<Image>, PullError> {
    let failed =
        |error: io::Error| PullError { reason: "ErrImagePull", message: format!("who pulls the image is not noted: {error}") };
    let whole = reference.to_owned();
    note(shared, move |pulled| pulled.begin(&whole)).await.map_err(failed)?;
    let fetched = fetch(shared, pod, reference).await;
    let whole = reference.to_owned();
    match fetched {
        Ok((image, by)) => {
            let asked = asked(reference, &image);
            note(shared, move |pulled| pulled.succeeded(&asked, by.as_ref())).await.map_err(failed)?;
            Ok(image)
        }
        Err(error) => {
            if let Err(error) = note(shared, move |pulled| pulled.failed(&whole)).await {
                tracing::warn!(reference, %error, "the end of a pull is not noted");
            }
            Err(error.into())
        }
    }
}

/// Writes a note, which waits for the disk.
async fn note(shared: &Shared, work: impl FnOnce(&Pulled) -> io::Result<()> + Send + 'static) -> io::Result<()> {
    let pulled = shared.pulled.clone();
    let noted = tokio::task::spawn_blocking(move || work(&pulled)).await;
    noted.unwrap_or_else(|_| Err(io::Error::other("the worker thread panicked")))
}

/// The image, and by which secret it came if it was by one.
async fn fetch(shared: &Shared, pod: &Pod, reference: &str) -> Result<(Arc<Image>, Option<PullSecret>), ImageError> {
    let mut last = None;
    for login in credentials::find(shared, pod, reference).await {
        match shared.images.pull(reference, &login.credentials, None).await {
            // Another secret may know better.
            Err(error @ ImageError::Unauthorized { .. }) => last = Some(error),
            result => return result.map(|image| (image, Some(login.secret))),
        }
    }
    match last {
        Some(error) => Err(error),
        None => shared.images.pull(reference, &Credentials::Anonymous, None).await.map(|image| (image, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_defaults_by_tag() {
        let of = |policy: Option<&str>| Container { image_pull_policy: policy.map(str::to_owned), ..Container::default() };
        assert_eq!(policy(&of(None), "docker.io/library/nginx:latest"), Policy::Always);
        assert_eq!(policy(&of(None), "docker.io/library/nginx:1.27"), Policy::IfNotPresent);
        assert_eq!(policy(&of(Some("Never")), "docker.io/library/nginx:latest"), Policy::Never);
        assert_eq!(policy(&of(Some("IfNotPresent")), "docker.io/library/nginx:latest"), Policy::IfNotPresent);
    }
}
