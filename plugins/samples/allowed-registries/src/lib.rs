//! Images come from the registries that are allowed, and from nowhere else.

use mizzen_policy_sdk::{Decision, Request, policy};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Registries, or paths within them, such as `registry.k8s.io` or `ghcr.io/our-team`.
    registries: Vec<String>,
}

fn review(request: &Request, settings: &Settings) -> Decision {
    let images = request.containers().into_iter().filter_map(|(_, container)| container.get("image")?.as_str());
    let allowed = |image: &str| settings.registries.iter().any(|registry| is_within(&full(image), registry));
    let wrong = images.into_iter().find(|image| !allowed(image));
    Decision::deny_if(wrong.map(|image| format!("image {image:?} is not from an allowed registry")))
}

/// The image with the registry and path that short names leave out.
fn full(image: &str) -> String {
    match image.split_once('/') {
        None => format!("docker.io/library/{image}"),
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => image.to_owned(),
        Some(_) => format!("docker.io/{image}"),
    }
}

/// Whole parts of the path only: `ghcr.io/team` does not allow `ghcr.io/teammate`.
fn is_within(image: &str, registry: &str) -> bool {
    let registry = registry.trim_end_matches('/');
    image.strip_prefix(registry).is_some_and(|rest| rest.starts_with(['/', ':', '@']))
}

policy!(review);
