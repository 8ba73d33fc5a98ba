//! Which containers a pod has.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Container, Pod};

/// Every container: init containers, main ones, and the ephemeral ones that were added since.
pub(crate) fn containers(pod: &Pod) -> impl Iterator<Item = Cow<'_, Container>> {
    lasting(pod).map(Cow::Borrowed).chain(ephemeral(pod).map(Cow::Owned))
}

/// Init containers and main ones.
pub(crate) fn lasting(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers))
}

/// Ephemeral containers as what they are otherwise.
fn ephemeral(pod: &Pod) -> impl Iterator<Item = Container> {
    let all = pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    // Its fields are a container's, but for the target.
    all.filter_map(|container| serde_json::from_value(serde_json::to_value(container).ok()?).ok())
}
