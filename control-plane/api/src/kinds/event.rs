//! `Event`, stored as the core group has it and served in `events.k8s.io` too.

use std::sync::Arc;

use serde_json::Value;

use super::builder::{Describe, resource};
use super::event_form::{EventForm, NAMES};
use super::value::{int, text};
use crate::GroupVersionResource;
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::forms::OtherForm;
use crate::print::since;
use crate::status::Cause;
use crate::validate::{invalid_text, required};

struct Event;

/// The same objects, where `events.k8s.io` serves them.
struct EventInItsGroup;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("", "Event", "events", Scope::Namespaced, Event).short("ev")
}

pub(super) fn in_its_own_group() -> ResourceDescriptor {
    let mut descriptor = resource("events.k8s.io", "Event", "events", Scope::Namespaced, EventInItsGroup).short("ev");
    descriptor.stored_as = Some(GroupVersionResource::new("", "v1", "events"));
    let schema = descriptor.schema.clone();
    descriptor.other_forms = vec![OtherForm { version: "v1".into(), schema, form: Arc::new(EventForm) }];
    descriptor
}

const COLUMNS: &[Column] = &[
    Column::text("Last Seen", "How long ago the event was last seen."),
    Column::text("Type", "Normal or Warning."),
    Column::text("Reason", "Why the event was written, in one word."),
    Column::text("Object", "What the event is about."),
    Column::wide("Subobject", "The part of the object that the event is about."),
    Column::wide("Source", "Who reported the event."),
    Column::text("Message", "What happened."),
    Column::wide("First Seen", "How long ago the event was first seen."),
    Column::wide("Count", "How often the event was seen."),
    Column::wide_named("Name", "The event's own name."),
];

const SELECTABLE: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

/// The first of several fields that is set.
fn first<'a>(event: &'a Value, pointers: &[&str]) -> &'a str {
    pointers.iter().map(|pointer| text(event, pointer)).find(|text| !text.is_empty()).unwrap_or("")
}

impl Strategy for Event {
    fn prepare_create(&self, _object: &mut Value) {}

    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let (own, involved) = (text(object, "/metadata/namespace"), text(object, "/involvedObject/namespace"));
        let mut causes = Vec::new();
        // Events about cluster-scoped objects live in `default`.
        let right = if involved.is_empty() { matches!(own, "default" | "kube-system" | "") } else { own == involved };
        if !right {
            causes.push(invalid_text("involvedObject.namespace", involved, "does not match event.namespace"));
        }
        if object.get("eventTime").is_some_and(|time| !time.is_null()) {
            if text(object, "/reportingComponent").is_empty() {
                causes.push(required("reportingController", ""));
            }
            if text(object, "/action").is_empty() {
                causes.push(required("action", ""));
            }
            if text(object, "/reason").is_empty() {
                causes.push(required("reason", ""));
            }
        }
        causes
    }

    fn is_new_generation(&self, _object: &Value, _old: &Value) -> bool {
        false
    }

    fn selectable(&self, object: &Value, path: &str) -> Option<String> {
        match path {
            "source" => Some(first(object, &["/source/component", "/reportingComponent"]).to_owned()),
            path if SELECTABLE.contains(&path) => Some(text(object, &format!("/{}", path.replace('.', "/"))).to_owned()),
            _ => None,
        }
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        SELECTABLE
    }

    fn name_comes_first(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let count = int(object, "/series/count").or_else(|| int(object, "/count")).unwrap_or(1).max(1);
        let kind = text(object, "/involvedObject/kind").to_lowercase();
        let source = match (first(object, &["/source/component", "/reportingComponent"]), text(object, "/source/host")) {
            (component, "") => component.to_owned(),
            (component, host) => format!("{component}, {host}"),
        };
        [
            since(first(object, &["/series/lastObservedTime", "/lastTimestamp", "/eventTime"]), context.now),
            text(object, "/type").to_owned(),
            text(object, "/reason").to_owned(),
            format!("{kind}/{}", text(object, "/involvedObject/name")),
            text(object, "/involvedObject/fieldPath").to_owned(),
            source,
            text(object, "/message").trim().to_owned(),
            since(first(object, &["/firstTimestamp", "/eventTime"]), context.now),
            count.to_string(),
            text(object, "/metadata/name").to_owned(),
        ]
        .into_iter()
        .map(Value::String)
        .collect()
    }
}

/// Fields that selectors may name in `events.k8s.io`.
const SELECTABLE_THERE: &[&str] = &[
    "regarding.kind",
    "regarding.namespace",
    "regarding.name",
    "regarding.uid",
    "regarding.apiVersion",
    "regarding.resourceVersion",
    "regarding.fieldPath",
    "reason",
    "reportingController",
    "type",
];

impl Strategy for EventInItsGroup {
    fn selectable(&self, object: &Value, path: &str) -> Option<String> {
        let (first, rest) = path.split_at(path.find('.').unwrap_or(path.len()));
        let stored = NAMES.iter().find(|(new, _)| *new == first).map_or(first, |(_, old)| old);
        Event.selectable(object, &format!("{stored}{rest}"))
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        SELECTABLE_THERE
    }

    fn name_comes_first(&self) -> bool {
        Event.name_comes_first()
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        Event.cells(object, context)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> Value {
        json!({
            "metadata": {"name": "a.1", "namespace": "ns"}, "type": "Warning", "reason": "BackOff", "message": " back-off ", "count": 3,
            "involvedObject": {"kind": "Pod", "name": "a", "namespace": "ns", "fieldPath": "spec.containers{c}"},
            "source": {"component": "kubelet", "host": "n"},
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:01:00Z",
        })
    }

    #[test]
    fn an_event_shows_when_what_and_whom() {
        let now = "2026-01-01T00:01:30Z".parse().expect("a timestamp");
        let cells = Event.cells(&event(), Context { now });
        assert_eq!(cells.len(), COLUMNS.len());
        let expected = ["30s", "Warning", "BackOff", "pod/a", "spec.containers{c}", "kubelet, n", "back-off", "90s", "3", "a.1"];
        assert_eq!(cells, expected.map(Value::from));
    }

    #[test]
    fn events_are_selected_by_what_they_are_about() {
        let event = event();
        assert_eq!(Event.selectable(&event, "involvedObject.name").as_deref(), Some("a"));
        assert_eq!(Event.selectable(&event, "source").as_deref(), Some("kubelet"));
        assert_eq!(Event.selectable(&event, "message"), None);
    }

    #[test]
    fn an_event_lives_beside_its_object() {
        let mut object = event();
        assert_eq!(Event.validate(&object), []);
        object["metadata"]["namespace"] = json!("other");
        assert_eq!(Event.validate(&object)[0].message, "Invalid value: \"ns\": does not match event.namespace");
    }
}
