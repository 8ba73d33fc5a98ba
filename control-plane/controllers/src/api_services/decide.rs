//! What becomes of one APIService, by what is there and what the server would have.

use mizzen_api::api_services::{self, MANAGED_LABEL, Priority};
use serde_json::{Value, json};

/// What the server would have.
pub(super) struct Wanted {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) priority: Priority,
    /// The value of the label: [`api_services::ON_START`] or [`api_services::ALWAYS`].
    pub(super) managed: &'static str,
}

impl Wanted {
    pub(super) fn spec(&self) -> Value {
        json!({"group": self.group, "version": self.version, "groupPriorityMinimum": self.priority.group,
            "versionPriority": self.priority.version})
    }
}

/// What there is.
pub(super) struct Present<'a> {
    pub(super) value: &'a Value,
    /// It was there when the controllers started.
    pub(super) was_there: bool,
}

#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Nothing,
    Create(Value),
    /// The whole of `spec`.
    Update(Value),
    Delete,
}

/// `was_settled`: it was in order once since the controllers started.
pub(super) fn step(present: Option<Present<'_>>, wanted: Option<&Wanted>, was_settled: bool) -> Step {
    let on_start = |managed: &str| managed == api_services::ON_START;
    match (present, wanted) {
        (None, None) => Step::Nothing,
        // Once is enough: who deletes or changes it later means it.
        (_, Some(wanted)) if on_start(wanted.managed) && was_settled => Step::Nothing,
        (None, Some(wanted)) => Step::Create(json!({
            "metadata": {
                "name": api_services::name(&wanted.group, &wanted.version), "labels": {MANAGED_LABEL: wanted.managed},
            },
            "spec": wanted.spec(),
        })),
        (Some(present), wanted) => {
            let managed = present.value["metadata"]["labels"][MANAGED_LABEL].as_str().unwrap_or_default();
            let is_ours = on_start(managed) || managed == api_services::ALWAYS;
            if !is_ours || (on_start(managed) && (!present.was_there || was_settled)) {
                return Step::Nothing;
            }
            match wanted {
                None => Step::Delete,
                Some(wanted) if present.value["spec"] == wanted.spec() => Step::Nothing,
                Some(wanted) => Step::Update(wanted.spec()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(managed: &'static str) -> Wanted {
        Wanted { group: "apps".to_owned(), version: "v1".to_owned(), priority: Priority { group: 17_800, version: 15 }, managed }
    }

    fn present(managed: &str, priority: i64) -> Value {
        let mut spec = wanted(api_services::ALWAYS).spec();
        spec["versionPriority"] = priority.into();
        json!({"metadata": {"name": "v1.apps", "labels": {MANAGED_LABEL: managed}}, "spec": spec})
    }

    fn after(value: &Value, wanted: Option<&Wanted>, was_there: bool, was_settled: bool) -> Step {
        step(Some(Present { value, was_there }), wanted, was_settled)
    }

    #[test]
    fn what_is_missing_is_made_and_a_built_in_one_only_once() {
        let builtin = wanted(api_services::ON_START);
        let Step::Create(object) = step(None, Some(&builtin), false) else { panic!("is made") };
        assert_eq!(object["metadata"]["name"], "v1.apps");
        assert_eq!(object["metadata"]["labels"][MANAGED_LABEL], "onstart");
        assert_eq!(step(None, Some(&builtin), true), Step::Nothing);
        assert!(matches!(step(None, Some(&wanted(api_services::ALWAYS)), true), Step::Create(_)));
        assert_eq!(step(None, None, false), Step::Nothing);
    }

    #[test]
    fn what_was_changed_is_put_back_unless_the_label_is_gone() {
        let custom = wanted(api_services::ALWAYS);
        assert_eq!(after(&present("true", 1), Some(&custom), false, true), Step::Update(custom.spec()));
        assert_eq!(after(&present("true", 15), Some(&custom), false, true), Step::Nothing);
        assert_eq!(after(&present("", 1), Some(&custom), true, false), Step::Nothing);
        let builtin = wanted(api_services::ON_START);
        assert_eq!(after(&present("onstart", 1), Some(&builtin), true, false), Step::Update(builtin.spec()));
        assert_eq!(after(&present("onstart", 1), Some(&builtin), true, true), Step::Nothing);
    }

    #[test]
    fn what_nobody_serves_any_more_goes() {
        assert_eq!(after(&present("true", 15), None, false, true), Step::Delete);
        assert_eq!(after(&present("onstart", 15), None, true, false), Step::Delete);
        assert_eq!(after(&present("onstart", 15), None, false, false), Step::Nothing);
        assert_eq!(after(&present("", 15), None, true, false), Step::Nothing);
    }
}
