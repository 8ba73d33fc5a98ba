//! Watch events as JSON frames: each batch of events is one chunk, and the objects' stored bytes are copied as they are.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use mizzen_api::{Object, Status};
use mizzen_client::WatchEvent;
use serde_json::{Value, json};

use super::accept::Shape;
use crate::pipeline::{Target, WatchItem};
use crate::table::{self, IncludeObject};

/// How objects look in the frames of one watch.
pub(super) struct Frames {
    pub(super) target: Target,
    pub(super) shape: Shape,
    pub(super) include: IncludeObject,
    pub(super) clock: crate::auth::Clock,
    /// Only the first table names its columns.
    pub(super) columns_sent: bool,
}

pub(super) fn body(batches: impl Stream<Item = WatchItem> + Send + 'static, mut frames: Frames) -> Body {
    let chunks = batches.map(move |batch| {
        let mut chunk = Vec::new();
        match batch {
            Ok(events) => {
                chunk.reserve_exact(events.iter().map(size).sum());
                events.iter().for_each(|event| frames.write(&mut chunk, event));
            }
            Err(status) => error(&mut chunk, &status),
        }
        Ok::<Bytes, Infallible>(chunk.into())
    });
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

fn error(chunk: &mut Vec<u8>, status: &Status) {
    frame(chunk, "ERROR", status.to_json().to_string().as_bytes());
}

fn frame(chunk: &mut Vec<u8>, kind: &str, object: &[u8]) {
    chunk.reserve(object.len() + FRAME);
    chunk.extend_from_slice(b"{\"type\":\"");
    chunk.extend_from_slice(kind.as_bytes());
    chunk.extend_from_slice(b"\",\"object\":");
    chunk.extend_from_slice(object);
    chunk.extend_from_slice(b"}\n");
}

impl Frames {
    fn write(&mut self, chunk: &mut Vec<u8>, event: &WatchEvent) {
        match event {
            WatchEvent::Added(object) => self.object(chunk, "ADDED", object),
            WatchEvent::Modified(object) => self.object(chunk, "MODIFIED", object),
            WatchEvent::Deleted(object) => self.object(chunk, "DELETED", object),
            WatchEvent::Bookmark { revision, initial_events_end } => {
                let bookmark = self.bookmark(*revision, *initial_events_end);
                frame(chunk, "BOOKMARK", bookmark.to_string().as_bytes());
            }
        }
    }

    fn object(&mut self, chunk: &mut Vec<u8>, kind: &str, object: &Arc<Object>) {
        if self.shape == Shape::Object {
            return frame(chunk, kind, object.bytes());
        }
        match self.shown(object) {
            Ok(shown) => frame(chunk, kind, shown.to_string().as_bytes()),
            Err(status) => error(chunk, &status),
        }
    }

    fn shown(&mut self, object: &Object) -> Result<Value, Status> {
        if self.shape != Shape::Table {
            return table::only_metadata(object);
        }
        let value = object.value().map_err(|error| Status::internal(format!("decode {object:?}: {error}")))?;
        let columns = !std::mem::replace(&mut self.columns_sent, true);
        Ok(table::of_event(&self.target.descriptor, &value, (self.clock)(), self.include, columns))
    }

    fn bookmark(&self, revision: u64, initial_events_end: bool) -> Value {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_events_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        match self.shape {
            Shape::Table => json!({
                "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": revision.to_string()},
                "columnDefinitions": null, "rows": [{"cells": [], "object": {
                    "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                }}],
            }),
            Shape::PartialMetadata | Shape::PartialMetadataList => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            Shape::Object => {
                json!({"kind": self.target.descriptor.kind, "apiVersion": self.target.api_version(), "metadata": metadata})
            }
        }
    }
}
