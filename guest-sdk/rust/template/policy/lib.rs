use mizzen_policy_sdk::{Decision, Request, policy};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The labels that every object must have.
    labels: Vec<String>,
}

fn review(request: &Request, settings: &Settings) -> Decision {
    let missing = settings.labels.iter().filter(|label| request.label(label).is_none_or(str::is_empty));
    let missing: Vec<&str> = missing.map(String::as_str).collect();
    match missing.is_empty() {
        true => Decision::Allow,
        false => Decision::deny(format!("missing labels: {}", missing.join(", "))),
    }
}

policy!(review);

#[cfg(test)]
mod tests {
    use mizzen_policy_sdk::{json, testing};

    use super::*;

    #[test]
    fn an_object_without_the_label_is_denied() {
        let settings = Settings { labels: vec!["team".to_owned()] };
        let with =
            |labels| testing::create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": labels}}));
        assert_eq!(review(&with(json!({"team": "shop"})), &settings), Decision::Allow);
        assert_eq!(review(&with(json!({})), &settings).message(), Some("missing labels: team"));
    }
}
