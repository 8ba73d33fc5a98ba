//! A list on its way out: stored bytes are copied into large chunks, and nothing is encoded again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use mizzen_api::Object;
use serde_json::json;

use crate::cbor::{self, CborError};
use crate::pipeline::Listed;
use crate::protobuf::{self, ProtobufError};

/// Bytes copied at a time: large enough that TLS records and system calls do not count, small enough for memory and for those who
/// wait for a turn.
const CHUNK: usize = 56 * 1024;

pub(super) struct ListBody {
    head: Bytes,
    items: Items,
    first: bool,
    /// A chunk was given out: others come first before the next one is.
    rests: bool,
    ended: bool,
    left: u64,
    /// What chunks were copied into, the older one first: memory that is asked for anew for each has to be cleared for each.
    buffers: [BytesMut; 2],
}

enum Items {
    Json(VecDeque<Arc<Object>>),
    Protobuf(VecDeque<Bytes>),
    Cbor(VecDeque<Bytes>),
}

const TAIL: &[u8] = b"]}";

impl ListBody {
    pub(super) fn json(listed: Listed) -> Self {
        let head = format!(
            "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{},\"items\":[",
            json!(listed.target.descriptor.list_kind()),
            json!(listed.target.api_version()),
            metadata(&listed),
        );
        let items: VecDeque<Arc<Object>> = listed.items.into();
        let content: usize = items.iter().map(|item| item.bytes().len()).sum();
        let commas = items.len().saturating_sub(1);
        let left = head.len() + content + commas + TAIL.len();
        Self::new(head, Items::Json(items), left)
    }

    /// # Errors
    /// For kinds that have no such encoding.
    pub(super) fn protobuf(listed: &Listed) -> Result<Self, ProtobufError> {
        let items: VecDeque<Bytes> =
            listed.items.iter().map(|item| protobuf::message_of(item)).collect::<Result<_, ProtobufError>>()?;
        let kind = format!("{}List", listed.target.descriptor.kind);
        let lengths = items.iter().map(Bytes::len);
        let head = protobuf::list_head(&listed.target.api_version(), &kind, &metadata(listed), lengths.clone());
        let content: usize = lengths.map(|length| protobuf::item_head(length).len() + length).sum();
        let left = head.len() + content + protobuf::ENVELOPE_TAIL.len();
        Ok(Self::new(head, Items::Protobuf(items), left))
    }

    /// # Errors
    /// When stored bytes are not JSON, which the store never holds.
    pub(super) fn cbor(listed: &Listed) -> Result<Self, CborError> {
        let item = |object: &Arc<Object>| {
            let value = object.value().map_err(|error| CborError::Encode(format!("decode {object:?}: {error}")))?;
            let mut item = Vec::with_capacity(object.bytes().len());
            cbor::put(&mut item, &value)?;
            Ok(item.into())
        };
        let items: VecDeque<Bytes> = listed.items.iter().map(item).collect::<Result<_, CborError>>()?;
        let descriptor = &listed.target.descriptor;
        let head = cbor::list_head(&descriptor.list_kind(), &listed.target.api_version(), &metadata(listed), items.len())?;
        let left = head.len() + items.iter().map(Bytes::len).sum::<usize>();
        Ok(Self::new(head, Items::Cbor(items), left))
    }

    fn new(head: impl Into<Bytes>, items: Items, left: usize) -> Self {
        let buffers = [BytesMut::new(), BytesMut::new()];
        Self { head: head.into(), items, first: true, rests: false, ended: false, left: left as u64, buffers }
    }

    /// Room for the next chunk: where the one before the last was, if it is sent.
    fn room(&mut self) -> BytesMut {
        let capacity = usize::try_from(self.left).unwrap_or(usize::MAX).min(CHUNK + CHUNK / 8);
        self.buffers.swap(0, 1);
        let mut buffer = std::mem::take(&mut self.buffers[1]);
        if buffer.try_reclaim(capacity) { buffer } else { BytesMut::with_capacity(capacity) }
    }

    /// Copies the next item, or the end; false after that.
    fn copy_next(&mut self, chunk: &mut BytesMut) -> bool {
        match &mut self.items {
            Items::Json(items) => {
                let Some(item) = items.pop_front() else {
                    chunk.extend_from_slice(TAIL);
                    return false;
                };
                if !std::mem::take(&mut self.first) {
                    chunk.put_u8(b',');
                }
                chunk.extend_from_slice(item.bytes());
            }
            Items::Protobuf(items) => {
                let Some(item) = items.pop_front() else {
                    chunk.extend_from_slice(protobuf::ENVELOPE_TAIL);
                    return false;
                };
                chunk.extend_from_slice(&protobuf::item_head(item.len()));
                chunk.extend_from_slice(&item);
            }
            Items::Cbor(items) => match items.pop_front() {
                Some(item) => chunk.extend_from_slice(&item),
                None => return false,
            },
        }
        true
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

    /// One chunk a turn: encrypting and sending one costs as much as several small requests, and a connection whose client
    /// reads fast would otherwise keep its thread until the list's end.
    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if std::mem::take(&mut self.rests) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.rests = true;
        let mut chunk = self.room();
        chunk.extend_from_slice(&std::mem::take(&mut self.head));
        while chunk.len() < CHUNK && !self.ended {
            self.ended = !self.copy_next(&mut chunk);
        }
        self.left = self.left.saturating_sub(chunk.len() as u64);
        let sent = chunk.split().freeze();
        self.buffers[1] = chunk;
        Poll::Ready(Some(Ok(Frame::data(sent))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
