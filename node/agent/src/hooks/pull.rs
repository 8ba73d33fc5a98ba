//! Gets a container's image, with the events that the kubelet writes.

use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::core::v1::{Container, Pod};
use mizzen_images::{Credentials, Image, ImageError, ImageKind};

use super::credentials;
use crate::duration;
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

async fn get(shared: &Shared, pod: &Pod, container: &Container) -> Result<Arc<Image>, PullError> {
    let asked = container.image.as_deref().unwrap_or_default();
    let about = about(pod, Some(&container.name));
    let normalized = mizzen_images::normalize(asked).map_err(|error| {
        let message = format!("Failed to apply default image tag \"{asked}\": {error}");
        shared.recorder.warning(&about, "InspectFailed", message.clone());
        PullError { reason: "InvalidImageName", message }
    })?;
    let (images, wanted) = (shared.images.clone(), normalized.clone());
    // Looks at the folders of its layers.
    let present = tokio::task::spawn_blocking(move || images.get(&wanted)).await.ok().flatten();
    match (policy(container, &normalized), present) {
        (Policy::IfNotPresent | Policy::Never, Some(image)) => {
            let message = format!("Container image \"{asked}\" already present on machine and can be accessed by the pod");
            shared.recorder.normal(&about, "Pulled", message);
            if let Err(error) = shared.images.used(&image.reference, shared.now().into()) {
                tracing::warn!(image = image.reference, %error, "use of the image not noted");
            }
            return Ok(image);
        }
        (Policy::Never, None) => {
            let message = format!("Container image \"{asked}\" is not present with pull policy of Never");
            shared.recorder.warning(&about, "ErrImageNeverPull", message.clone());
            return Err(PullError { reason: "ErrImageNeverPull", message });
        }
        _ => {}
    }
    shared.recorder.normal(&about, "Pulling", format!("Pulling image \"{asked}\""));
    let begun = Instant::now();
    let image = fetch(shared, pod, &normalized).await.map_err(|error| {
        shared.recorder.warning(&about, "Failed", format!("Failed to pull image \"{asked}\": {error}"));
        PullError::from(error)
    })?;
    let took = duration::text(begun.elapsed());
    let message =
        format!("Successfully pulled image \"{asked}\" in {took} ({took} including waiting). Image size: {} bytes.", image.size);
    shared.recorder.normal(&about, "Pulled", message);
    Ok(image)
}

async fn fetch(shared: &Shared, pod: &Pod, reference: &str) -> Result<Arc<Image>, ImageError> {
    let mut last = None;
    for credentials in credentials::find(shared, pod, reference).await {
        match shared.images.pull(reference, &credentials, None).await {
            // Another secret may know better.
            Err(error @ ImageError::Unauthorized { .. }) => last = Some(error),
            result => return result,
        }
    }
    match last {
        Some(error) => Err(error),
        None => shared.images.pull(reference, &Credentials::Anonymous, None).await,
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
