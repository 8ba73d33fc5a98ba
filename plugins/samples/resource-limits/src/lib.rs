//! Every container says how much it may take.

use mizzen_policy_sdk::{Decision, Request, Value, policy};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    resources: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { resources: vec!["cpu".to_owned(), "memory".to_owned()] }
    }
}

fn review(request: &Request, settings: &Settings) -> Decision {
    let mut missing = Vec::new();
    for (_, container) in request.containers() {
        let limits = container.pointer("/resources/limits");
        for resource in &settings.resources {
            if limits.and_then(|limits| limits.get(resource)).is_none() {
                let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
                missing.push(format!("{name}: {resource}"));
            }
        }
    }
    Decision::deny_if((!missing.is_empty()).then(|| format!("containers without a limit: {}", missing.join(", "))))
}

policy!(review);
