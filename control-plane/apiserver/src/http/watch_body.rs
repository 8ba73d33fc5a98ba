//! Watch events as frames: each batch of events is one chunk, and the objects' bytes are copied as they are.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use mizzen_api::{Object, Status};
use mizzen_client::WatchEvent;
use serde_json::{Value, json};

use super::accept::{Accepted, Format, Shape};
use crate::cbor;
use crate::metrics::{Gauge, Streams};
use crate::pipeline::{Next, Target, WatchItem, events};
use crate::protobuf;
use crate::table::{self, IncludeObject, View};

/// How objects look in the frames of one watch.
pub(super) struct Frames {
    pub(super) target: Target,
    pub(super) accepted: Accepted,
    pub(super) include: IncludeObject,
    pub(super) clock: crate::auth::Clock,
    /// Only the first table names its columns.
    pub(super) columns_sent: bool,
    /// An event could not be shown: to go on would be to leave it out.
    pub(super) failed: bool,
    /// Counts the watch as open.
    pub(super) open: Gauge<Streams>,
}

/// What the frames are, for the header of the answer.
pub(super) fn content_type(format: Format) -> &'static str {
    match format {
        Format::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        // What a client that asked for one document gets as well: it understands.
        Format::Cbor => cbor::SEQUENCE,
        Format::Json | Format::Yaml => "application/json",
    }
}

pub(super) fn body(batches: impl Stream<Item = WatchItem> + Send + 'static, frames: Frames) -> Body {
    let chunks = batches
        .scan(frames, |frames, batch| std::future::ready((!frames.failed).then(|| Ok::<Bytes, Infallible>(frames.chunk(batch)))));
    Body::from_stream(chunks)
}

/// Bytes of the frame of a whole object; about as many as a smaller shape takes at most.
fn size(event: &WatchEvent) -> usize {
    match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => object.bytes().len() + FRAME,
        WatchEvent::Bookmark { .. } => 256,
    }
}

/// Bytes of a frame around its object, at most.
const FRAME: usize = 40;

/// The only frame of a watch that cannot begin.
pub(super) fn refusal(format: Format, status: &Status) -> Vec<u8> {
    let mut chunk = Vec::new();
    value_frame(&mut chunk, format, "ERROR", &status.to_json());
    chunk
}

fn value_frame(chunk: &mut Vec<u8>, format: Format, kind: &str, object: &Value) {
    match format {
        Format::Json | Format::Yaml => json_frame(chunk, kind, object.to_string().as_bytes()),
        Format::Protobuf => match protobuf::encode(object) {
            Ok(object) => protobuf::frame(chunk, kind, &object),
            Err(error) => tracing::warn!(%error, "an event of a watch is left out"),
        },
        Format::Cbor => match cbor::encode(object) {
            Ok(object) => cbor::frame(chunk, kind, &object),
            Err(error) => tracing::warn!(%error, "an event of a watch is left out"),
        },
    }
}

fn json_frame(chunk: &mut Vec<u8>, kind: &str, object: &[u8]) {
    chunk.reserve(object.len() + FRAME);
    chunk.extend_from_slice(b"{\"type\":\"");
    chunk.extend_from_slice(kind.as_bytes());
    chunk.extend_from_slice(b"\",\"object\":");
    chunk.extend_from_slice(object);
    chunk.extend_from_slice(b"}\n");
}

impl Frames {
    fn chunk(&mut self, next: WatchItem) -> Bytes {
        match next {
            Ok(Next::All(batch)) => {
                self.open.sent(batch.len());
                // Whole objects look the same to all watchers: one of them makes the frames.
                let made = self.shared_form().and_then(|form| batch.made(form, |changes| self.all(&events(changes))));
                made.unwrap_or_else(|| self.of(&events(&batch)))
            }
            Ok(Next::Events(events)) => {
                self.open.sent(events.len());
                self.of(&events)
            }
            Err(status) => {
                let mut chunk = Vec::new();
                value_frame(&mut chunk, self.accepted.format, "ERROR", &status.to_json());
                chunk.into()
            }
        }
    }

    /// The name of the form in which frames depend on nothing but the changes.
    fn shared_form(&self) -> Option<&'static str> {
        match (self.accepted.shape, self.accepted.format) {
            (Shape::Object, Format::Json | Format::Yaml) => Some("json frames"),
            (Shape::Object, Format::Protobuf) => Some("protobuf frames"),
            _ => None,
        }
    }

    /// The frames of whole objects; `None` when one of them cannot be shown.
    fn all(&mut self, events: &[WatchEvent]) -> Option<Bytes> {
        let chunk = self.of(events);
        (!std::mem::take(&mut self.failed)).then_some(chunk)
    }

    /// The frames of events, up to the first that cannot be shown.
    fn of(&mut self, events: &[WatchEvent]) -> Bytes {
        let mut chunk = Vec::with_capacity(events.iter().map(size).sum());
        for event in events {
            self.write(&mut chunk, event);
            if self.failed {
                break;
            }
        }
        chunk.into()
    }

    fn write(&mut self, chunk: &mut Vec<u8>, event: &WatchEvent) {
        match event {
            WatchEvent::Added(object) => self.object(chunk, "ADDED", object),
            WatchEvent::Modified(object) => self.object(chunk, "MODIFIED", object),
            WatchEvent::Deleted(object) => self.object(chunk, "DELETED", object),
            WatchEvent::Bookmark { revision, initial_events_end } => {
                let bookmark = self.bookmark(*revision, *initial_events_end);
                value_frame(chunk, self.accepted.format, "BOOKMARK", &bookmark);
            }
        }
    }

    fn object(&mut self, chunk: &mut Vec<u8>, kind: &str, object: &Arc<Object>) {
        let format = self.accepted.format;
        let failed = match (self.accepted.shape, format) {
            (Shape::Object, Format::Json | Format::Yaml) => return json_frame(chunk, kind, object.bytes()),
            (Shape::Object, Format::Protobuf) => match protobuf::encode_object(object) {
                Ok(object) => return protobuf::frame(chunk, kind, &object),
                Err(error) => Status::internal(error),
            },
            (Shape::Object, Format::Cbor) => match object.value() {
                Ok(object) => return value_frame(chunk, format, kind, &object),
                Err(error) => Status::internal(format!("decode {object:?}: {error}")),
            },
            _ => match self.shown(object) {
                Ok(shown) => return value_frame(chunk, format, kind, &shown),
                Err(status) => status,
            },
        };
        self.failed = true;
        value_frame(chunk, format, "ERROR", &failed.to_json());
    }

    fn view(&self) -> View {
        View { version: self.accepted.version, include: self.include, now: (self.clock)() }
    }

    fn shown(&mut self, object: &Object) -> Result<Value, Status> {
        if self.accepted.shape != Shape::Table {
            return table::only_metadata(object, self.accepted.version);
        }
        let columns = !std::mem::replace(&mut self.columns_sent, true);
        table::of_event(&self.target.descriptor, object, self.view(), columns)
    }

    fn bookmark(&self, revision: u64, initial_events_end: bool) -> Value {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_events_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let version = self.accepted.version;
        match self.accepted.shape {
            Shape::Table => table::of_bookmark(metadata, version),
            Shape::PartialMetadata | Shape::PartialMetadataList => table::partial_metadata(metadata, version),
            Shape::Object => {
                json!({"kind": self.target.descriptor.kind, "apiVersion": self.target.api_version(), "metadata": metadata})
            }
        }
    }
}
