//! A watch's stream: one JSON frame on a line.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream;
use mizzen_api::{Object, Status};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Parts, answer};
use crate::{WatchEvent, WatchStream};

/// `meta/v1.WatchEvent`'s annotation on the bookmark that ends the initial events.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

#[derive(Deserialize)]
struct Frame<'a> {
    r#type: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

struct Lines {
    body: Parts,
    buffer: BytesMut,
    /// Up to here no line end was found.
    searched: usize,
}

impl Lines {
    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        loop {
            if let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + end + 1).freeze();
                self.searched = 0;
                return Some(Ok(line));
            }
            self.searched = self.buffer.len();
            match self.body.next().await? {
                Ok(bytes) => self.buffer.extend_from_slice(&bytes),
                Err(status) => return Some(Err(status)),
            }
        }
    }
}

/// The events of an answer, until it ends or fails.
pub(super) fn events(body: Parts) -> WatchStream {
    let lines = Lines { body, buffer: BytesMut::new(), searched: 0 };
    stream::unfold(Some(lines), async |lines| {
        let mut lines = lines?;
        match lines.next().await?.and_then(|line| event(&line)) {
            Ok(event) => Some((Ok(event), Some(lines))),
            Err(status) => Some((Err(status), None)),
        }
    })
    .boxed()
}

fn event(line: &Bytes) -> Result<WatchEvent, Status> {
    let frame: Frame<'_> =
        serde_json::from_slice(line).map_err(|error| Status::internal(format!("decode a watch event: {error}")))?;
    let bytes = line.slice_ref(frame.object.get().as_bytes());
    if frame.r#type == "ERROR" {
        return Err(answer::failure(500, &bytes));
    }
    let object = Arc::new(Object::received(bytes));
    Ok(match frame.r#type {
        "ADDED" => WatchEvent::Added(object),
        "MODIFIED" => WatchEvent::Modified(object),
        "DELETED" => WatchEvent::Deleted(object),
        "BOOKMARK" => WatchEvent::Bookmark { revision: object.revision(), initial_events_end: ends_initial_events(&object) },
        other => return Err(Status::internal(format!("a watch event of unknown type {other:?}"))),
    })
}

fn ends_initial_events(object: &Object) -> bool {
    let annotated = |value: serde_json::Value| {
        value.pointer("/metadata/annotations").is_some_and(|all| all.get(INITIAL_EVENTS_END).is_some())
    };
    object.value().is_ok_and(annotated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_events_and_errors_are_statuses() {
        let line = |text: &'static str| event(&Bytes::from_static(text.as_bytes()));
        let added = line("{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"5\"}}}\n");
        assert!(matches!(added, Ok(WatchEvent::Added(object)) if object.revision() == 5));
        let gone = line(
            "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"reason\":\"Expired\",\"code\":410,\"message\":\"old\"}}\n",
        );
        assert_eq!(gone.expect_err("is an error").code, 410);
        let end = line(
            "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"8\",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}\n",
        );
        assert!(matches!(end, Ok(WatchEvent::Bookmark { revision: 8, initial_events_end: true })));
    }
}
