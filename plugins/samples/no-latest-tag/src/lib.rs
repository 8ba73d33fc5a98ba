//! Images say which version they mean.

use mizzen_policy_sdk::{Decision, Request, policy};
use serde::Deserialize;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

fn review(request: &Request, _: &Settings) -> Decision {
    let images = request.containers().into_iter().filter_map(|(_, container)| container.get("image")?.as_str());
    let wrong = images.into_iter().find(|image| is_latest(image));
    Decision::deny_if(wrong.map(|image| format!("image {image:?} means whatever is newest: name a version or a digest")))
}

fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    // A colon before the last slash belongs to the registry's port.
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

policy!(review);
