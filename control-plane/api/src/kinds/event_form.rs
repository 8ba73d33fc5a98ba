//! `Event` of `events.k8s.io`: the core group's events under other names.

use serde_json::Value;

use super::value::{absent, text};
use crate::forms::Form;
use crate::status::Cause;
use crate::validate::{Path, complaints, invalid_text, one_of, qualified_name, required};

pub(super) struct EventForm;

/// Fields of `events.k8s.io/v1`, and what the core group calls them.
pub(super) const NAMES: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];
const MAX_TEXT: usize = 128;
const MAX_NOTE: usize = 1024;

impl Form for EventForm {
    fn store(&self, object: &mut Value) {
        NAMES.iter().for_each(|(new, old)| rename(object, new, old));
    }

    fn show(&self, object: &mut Value) {
        NAMES.iter().for_each(|(new, old)| rename(object, old, new));
    }

    fn validate_new(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        if absent(object, "/eventTime") {
            causes.push(required("eventTime", ""));
        }
        let controller = text(object, "/reportingController");
        if controller.is_empty() {
            causes.push(required("reportingController", ""));
        } else {
            causes.extend(complaints("reportingController", controller, qualified_name(controller)));
        }
        for field in ["reportingInstance", "action", "reason"] {
            match text(object, &format!("/{field}")) {
                "" => causes.push(required(field, "")),
                text => causes.extend(too_long(field, text, MAX_TEXT)),
            }
        }
        causes.extend(too_long("note", text(object, "/note"), MAX_NOTE));
        match text(object, "/type") {
            "" => causes.push(required("type", "")),
            kind => causes.extend(one_of("type", kind, &["Normal", "Warning"])),
        }
        for field in ["deprecatedFirstTimestamp", "deprecatedLastTimestamp"] {
            if !absent(object, &format!("/{field}")) {
                causes.push(invalid_text(Path::root(field), text(object, &format!("/{field}")), "needs to be unset"));
            }
        }
        causes
    }
}

fn too_long(field: &str, text: &str, limit: usize) -> Option<Cause> {
    (text.len() > limit).then(|| invalid_text(field, "", format!("can have at most {limit} characters")))
}

fn rename(object: &mut Value, from: &str, to: &str) {
    if let Some(object) = object.as_object_mut()
        && let Some(value) = object.remove(from)
    {
        object.insert(to.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_keeps_everything_under_its_two_names() {
        let new = json!({"eventTime": "2026-01-01T00:00:00.000000Z", "regarding": {"kind": "Pod"}, "note": "n", "reason": "R",
            "reportingController": "example.com/c", "reportingInstance": "i", "action": "A", "type": "Normal", "unknown": 1});
        let mut stored = new.clone();
        EventForm.store(&mut stored);
        assert_eq!(
            (&stored["message"], &stored["involvedObject"]["kind"], &stored["unknown"]),
            (&json!("n"), &json!("Pod"), &json!(1))
        );
        assert_eq!(EventForm.validate_new(&new), []);
        EventForm.show(&mut stored);
        assert_eq!(stored, new);
        let fields: Vec<String> = EventForm.validate_new(&json!({"type": "Odd"})).into_iter().map(|cause| cause.field).collect();
        assert_eq!(fields, ["eventTime", "reportingController", "reportingInstance", "action", "reason", "type"]);
    }
}
