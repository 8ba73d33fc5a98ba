//! Tags become the digests that were approved for them.

use std::collections::BTreeMap;

use mizzen_policy_sdk::{Decision, Request, Value, json, policy};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Settings {
    /// The digest of each approved image: `nginx:1.27: sha256:0123…`.
    digests: BTreeMap<String, String>,
    /// Whether tags that are not approved are let through.
    #[serde(default)]
    allow_others: bool,
}

fn review(request: &Request, settings: &Settings) -> Decision {
    let mut patch = Vec::new();
    for (path, container) in request.containers() {
        let is_fixed = !path.starts_with("/spec/ephemeralContainers/") || request.old_object().pointer(&path).is_some();
        if request.subresource() == Some("ephemeralcontainers") && is_fixed {
            continue;
        }
        let Some(image) = container.get("image").and_then(Value::as_str) else { continue };
        if image.contains('@') {
            continue;
        }
        match settings.digests.get(image) {
            Some(digest) => {
                patch.push(json!({"op": "replace", "path": format!("{path}/image"), "value": format!("{image}@{digest}")}));
            }
            None if settings.allow_others => {}
            None => return Decision::deny(format!("image {image:?} has no approved digest")),
        }
    }
    if patch.is_empty() { Decision::Allow } else { Decision::Patch(Value::Array(patch)) }
}

policy!(mutating review);
