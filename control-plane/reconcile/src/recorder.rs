//! Tells people what happened, as `v1.Event` objects. Best effort: an event that cannot be sent is dropped.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mizzen_client::{ApiRequest, Client, PatchKind};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::Clock;
use crate::typed::{Kind, gvr};

/// Events waiting to be sent; more are dropped.
const QUEUED: usize = 1000;
/// Recent events remembered, so that a repetition counts up instead of making a new one.
const REMEMBERED: usize = 2000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// What an event is about.
pub fn reference<T: Kind>(object: &T) -> ObjectReference {
    let metadata = object.metadata();
    ObjectReference {
        api_version: Some(T::API_VERSION.to_owned()),
        kind: Some(T::KIND.to_owned()),
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        uid: metadata.uid.clone(),
        resource_version: metadata.resource_version.clone(),
        field_path: None,
    }
}

/// Sends events from a task of its own; clones share it. The task ends with the last clone.
#[derive(Clone)]
pub struct Recorder {
    sender: mpsc::Sender<Occurrence>,
}

struct Occurrence {
    about: ObjectReference,
    kind: EventType,
    reason: String,
    message: String,
}

impl Recorder {
    /// `component` is the reporter's name (`source.component`), `host` the node's name or empty.
    pub fn start(client: Arc<dyn Client>, clock: Arc<dyn Clock>, component: &str, host: &str) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUED);
        let sending = Sending {
            client,
            clock,
            component: component.to_owned(),
            host: host.to_owned(),
            known: HashMap::new(),
            order: VecDeque::new(),
        };
        tokio::spawn(sending.run(receiver));
        Self { sender }
    }

    /// Records an event. Never blocks; when too many wait, the event is dropped.
    pub fn event(&self, about: &ObjectReference, kind: EventType, reason: &str, message: impl Into<String>) {
        let occurrence = Occurrence { about: about.clone(), kind, reason: reason.to_owned(), message: message.into() };
        if self.sender.try_send(occurrence).is_err() {
            tracing::debug!(reason, "event dropped");
        }
    }

    pub fn normal(&self, about: &ObjectReference, reason: &str, message: impl Into<String>) {
        self.event(about, EventType::Normal, reason, message);
    }

    pub fn warning(&self, about: &ObjectReference, reason: &str, message: impl Into<String>) {
        self.event(about, EventType::Warning, reason, message);
    }
}

/// What makes two occurrences the same event.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Identity {
    uid: String,
    field_path: String,
    name: String,
    kind: EventType,
    reason: String,
    message: String,
}

struct Known {
    namespace: String,
    name: String,
    count: i32,
}

struct Sending {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    component: String,
    host: String,
    known: HashMap<Identity, Known>,
    order: VecDeque<Identity>,
}

impl Sending {
    async fn run(mut self, mut receiver: mpsc::Receiver<Occurrence>) {
        while let Some(occurrence) = receiver.recv().await {
            self.send(occurrence).await;
        }
    }

    async fn send(&mut self, occurrence: Occurrence) {
        let identity = Identity {
            uid: occurrence.about.uid.clone().unwrap_or_default(),
            field_path: occurrence.about.field_path.clone().unwrap_or_default(),
            name: occurrence.about.name.clone().unwrap_or_default(),
            kind: occurrence.kind,
            reason: occurrence.reason.clone(),
            message: occurrence.message.clone(),
        };
        let now = self.clock.now();
        if let Some(known) = self.known.get_mut(&identity) {
            known.count = known.count.saturating_add(1);
            let patch = json!({"count": known.count, "lastTimestamp": seconds(now)});
            let request = ApiRequest::patch(&gvr::<Event>(), &known.namespace, &known.name, PatchKind::Merge, patch);
            match self.client.write(request).await {
                Ok(_) => return,
                // The event has expired or could not be patched: make a new one.
                Err(status) => tracing::debug!(%status, "event not patched"),
            }
        }
        let (namespace, name, event) = self.new_event(occurrence, now);
        match self.client.write(ApiRequest::create(&gvr::<Event>(), &namespace, event)).await {
            Ok(_) => self.remember(identity, Known { namespace, name, count: 1 }),
            Err(status) => tracing::debug!(%status, "event not created"),
        }
    }

    fn remember(&mut self, identity: Identity, known: Known) {
        if self.known.insert(identity.clone(), known).is_none() {
            self.order.push_back(identity);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    fn new_event(&self, occurrence: Occurrence, now: Timestamp) -> (String, String, Value) {
        // Events about cluster-scoped objects live in `default`, as Kubernetes has it.
        let namespace = occurrence.about.namespace.clone().filter(|n| !n.is_empty()).unwrap_or_else(|| "default".to_owned());
        let about_name = occurrence.about.name.as_deref().unwrap_or_default();
        let name = format!("{about_name}.{:x}", now.as_nanosecond());
        let mut source = json!({"component": self.component});
        if !self.host.is_empty() {
            source["host"] = json!(self.host);
        }
        let metadata = ObjectMeta { name: Some(name.clone()), namespace: Some(namespace.clone()), ..ObjectMeta::default() };
        let event = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": metadata,
            "involvedObject": occurrence.about,
            "type": occurrence.kind.as_str(), "reason": occurrence.reason, "message": occurrence.message,
            "source": source, "reportingComponent": self.component, "reportingInstance": self.host,
            "firstTimestamp": seconds(now), "lastTimestamp": seconds(now), "count": 1,
        });
        (namespace, name, event)
    }
}

/// RFC 3339 in whole seconds, as `meta/v1.Time` is written.
fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
