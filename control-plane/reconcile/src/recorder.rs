//! Tells people what happened, as `v1.Event` objects. Best effort: an event that cannot be sent is dropped.

mod event;
mod recent;
mod sending;
mod similar;

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use mizzen_client::Client;
use tokio::sync::mpsc;

use self::sending::Sending;
use crate::Clock;
use crate::typed::Kind;

/// Events waiting to be sent, half a kilobyte each; more are dropped.
const QUEUED: usize = 16_384;

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
        tokio::spawn(Sending::new(client, clock, component, host).run(receiver));
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
