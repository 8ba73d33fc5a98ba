//! What is written of an occurrence.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::{EventType, Occurrence};

/// What makes two occurrences similar: all but their messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Subject {
    /// Kind, namespace, name, uid and field path of what it is about.
    about: [String; 5],
    kind: EventType,
    reason: String,
}

impl Subject {
    pub(super) fn of(occurrence: &Occurrence) -> Self {
        let about = &occurrence.about;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Self {
            about: [&about.kind, &about.namespace, &about.name, &about.uid, &about.field_path].map(text),
            kind: occurrence.kind,
            reason: occurrence.reason.clone(),
        }
    }
}

/// An event that was not written yet. Those about cluster-scoped objects live in `default`, as Kubernetes has it.
pub(super) struct NewEvent<'a> {
    pub(super) occurrence: &'a Occurrence,
    pub(super) message: &'a str,
    pub(super) count: i32,
    pub(super) component: &'a str,
    pub(super) host: &'a str,
    pub(super) at: Timestamp,
}

impl NewEvent<'_> {
    pub(super) fn namespace(&self) -> &str {
        self.occurrence.about.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or("default")
    }

    pub(super) fn name(&self) -> String {
        format!("{}.{:x}", self.occurrence.about.name.as_deref().unwrap_or_default(), self.at.as_nanosecond())
    }

    pub(super) fn document(&self) -> Value {
        let Self { occurrence, component, host, .. } = self;
        let mut source = json!({"component": component});
        if !host.is_empty() {
            source["host"] = json!(host);
        }
        let namespace = Some(self.namespace().to_owned());
        let metadata = ObjectMeta { name: Some(self.name()), namespace, ..ObjectMeta::default() };
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": metadata,
            "involvedObject": occurrence.about,
            "type": occurrence.kind.as_str(), "reason": occurrence.reason, "message": self.message,
            "source": source, "reportingComponent": component, "reportingInstance": host,
            "firstTimestamp": seconds(self.at), "lastTimestamp": seconds(self.at), "count": self.count,
        })
    }
}

/// RFC 3339 in whole seconds, as `meta/v1.Time` is written.
pub(super) fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
