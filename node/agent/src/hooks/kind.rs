//! Which network a pod needs: one of its own, or a place in the one that the node's Wasm pods share. The images say it; those
//! that are here already can be asked before any is pulled.

use k8s_openapi::api::core::v1::Pod;
use mizzen_images::ImageKind;

use super::pull::{Policy, policy};
use crate::pod::containers::lasting;
use crate::shared::Shared;

/// What the node has of one container's image.
struct Stored {
    wasm: Option<bool>,
    /// The registry is asked again, and may have something else by now.
    may_change: bool,
}

/// Whether all of the pod's containers are Wasm; `None` while that is not known. `pulled` is what the images say that were
/// pulled for it.
pub(crate) async fn find(shared: &Shared, pod: &Pod, pulled: Option<bool>) -> Option<bool> {
    if pulled == Some(false) {
        return pulled;
    }
    if pulled.is_none()
        && let Some(wasm) = remembered(shared, pod).await
    {
        return Some(wasm);
    }
    let wanted: Vec<(String, bool)> = lasting(pod)
        .map(|container| {
            let reference = mizzen_images::normalize(container.image.as_deref().unwrap_or_default()).unwrap_or_default();
            let may_change = policy(container, &reference) == Policy::Always;
            (reference, may_change)
        })
        .collect();
    let images = shared.images.clone();
    let look = move || -> Vec<Stored> {
        let of = |(reference, may_change): (String, bool)| {
            let image = images.get(&reference);
            Stored { wasm: image.map(|image| matches!(image.kind, ImageKind::Wasm(_))), may_change }
        };
        wanted.into_iter().map(of).collect()
    };
    decide(pulled, &tokio::task::spawn_blocking(look).await.unwrap_or_default())
}

fn decide(pulled: Option<bool>, stored: &[Stored]) -> Option<bool> {
    // Where Wasm was pulled for what comes first, the rest can only be guessed: what is here is the best guess.
    let counts = |stored: &&Stored| pulled.is_some() || !stored.may_change;
    if stored.iter().filter(counts).any(|stored| stored.wasm == Some(false)) {
        return Some(false);
    }
    let all_known = !stored.is_empty() && stored.iter().all(|stored| stored.wasm.is_some() && !stored.may_change);
    pulled.or(all_known.then_some(true))
}

/// Written beside the pod's volumes, for an agent that is restarted.
pub(crate) async fn remember(shared: &Shared, pod: &Pod, wasm: bool) {
    let path = file(shared, pod);
    if let Err(error) = tokio::fs::write(&path, if wasm { "wasm" } else { "container" }).await {
        tracing::warn!(path = %path.display(), %error, "kind of pod not written");
    }
}

async fn remembered(shared: &Shared, pod: &Pod) -> Option<bool> {
    Some(tokio::fs::read_to_string(file(shared, pod)).await.ok()? == "wasm")
}

fn file(shared: &Shared, pod: &Pod) -> std::path::PathBuf {
    shared.volumes.pod_dir(pod.metadata.uid.as_deref().unwrap_or_default()).join("kind")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_that_are_here_say_what_a_pod_is_unless_the_registry_may_say_otherwise() {
        let of = |wasm: Option<bool>, may_change: bool| Stored { wasm, may_change };
        let (container, module, absent) = (Some(false), Some(true), None);
        for (pulled, stored, kind) in [
            (None, vec![of(container, false), of(absent, false)], Some(false)),
            (None, vec![of(module, false), of(module, false)], Some(true)),
            (None, vec![of(module, false), of(absent, false)], None),
            (None, vec![of(container, true)], None),
            (None, vec![of(module, true)], None),
            (Some(true), vec![of(module, true), of(absent, false)], Some(true)),
            (Some(true), vec![of(module, false), of(container, true)], Some(false)),
        ] {
            assert_eq!(decide(pulled, &stored), kind);
        }
    }
}
