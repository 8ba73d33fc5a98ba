//! A list on its way out: stored bytes are copied into large chunks, and nothing is encoded again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use mizzen_api::Object;
use serde_json::json;

use crate::pipeline::Listed;

/// Bytes copied at a time: large enough that TLS records and system calls do not count, small enough for memory.
const CHUNK: usize = 256 * 1024;

pub(super) struct ListBody {
    head: Bytes,
    items: VecDeque<Arc<Object>>,
    first: bool,
    ended: bool,
    left: u64,
}

const TAIL: &[u8] = b"]}";

impl ListBody {
    pub(super) fn new(listed: Listed) -> Self {
        let head = format!(
            "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{},\"items\":[",
            json!(format!("{}List", listed.target.descriptor.kind)),
            json!(listed.target.api_version()),
            metadata(&listed),
        );
        let items: VecDeque<Arc<Object>> = listed.items.into();
        let content: usize = items.iter().map(|item| item.bytes().len()).sum();
        let commas = items.len().saturating_sub(1);
        let left = (head.len() + content + commas + TAIL.len()) as u64;
        Self { head: head.into(), items, first: true, ended: false, left }
    }
}

/// `ListMeta` of an answer.
pub(super) fn metadata(listed: &Listed) -> serde_json::Value {
    let mut metadata = json!({"resourceVersion": listed.revision.to_string()});
    if let Some(token) = &listed.continue_token {
        metadata["continue"] = json!(token);
    }
    if let Some(remaining) = listed.remaining {
        metadata["remainingItemCount"] = json!(remaining);
    }
    metadata
}

impl Body for ListBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let capacity = usize::try_from(self.left).unwrap_or(usize::MAX).min(CHUNK + CHUNK / 8);
        let mut chunk = Vec::with_capacity(capacity);
        chunk.extend_from_slice(&std::mem::take(&mut self.head));
        while chunk.len() < CHUNK {
            let Some(item) = self.items.pop_front() else {
                chunk.extend_from_slice(TAIL);
                self.ended = true;
                break;
            };
            if !std::mem::take(&mut self.first) {
                chunk.push(b',');
            }
            chunk.extend_from_slice(item.bytes());
        }
        self.left = self.left.saturating_sub(chunk.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(chunk.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
