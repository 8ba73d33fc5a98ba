//! Kubernetes' protobuf encoding of built-in kinds (API concepts, "Kubernetes Protobuf encoding"). Documents stay JSON in
//! the store; a message is made when somebody first asks for it, and kept with the object.

mod absent;
mod decode;
mod encode;
mod fields;
mod layout;
pub(crate) mod wire;

pub(crate) use absent::leave_out;

use bytes::Bytes;
use mizzen_api::{GroupVersion, GroupVersionKind, Object};
use serde_json::{Value, json};

pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// What every encoded object begins with.
const MAGIC: &[u8] = b"k8s\0";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtobufError {
    #[error("decode a protobuf body: it does not begin with \"k8s\\0\"")]
    NoMagic,
    #[error("decode a protobuf body: {0} ends too early")]
    Truncated(&'static str),
    #[error("decode a protobuf body: {what} is not {wanted}")]
    Malformed { what: String, wanted: &'static str },
    #[error("decode a protobuf body: nothing is known of {kind} in {api_version:?}")]
    UnknownKind { api_version: String, kind: String },
    #[error("decode a protobuf body: it is nested too deep")]
    TooDeep,
    #[error("encode {kind} in {api_version:?} as protobuf: it has no such encoding")]
    NotEncodable { api_version: String, kind: String },
    #[error("encode an object as protobuf: {0}")]
    NotJson(String),
}

/// Decodes a whole body: the envelope (`runtime.Unknown`) and the object that it names.
///
/// # Errors
/// When the bytes are not such an encoding, or the kind is not known.
pub(crate) fn decode(body: &[u8]) -> Result<Value, ProtobufError> {
    let envelope = body.strip_prefix(MAGIC).ok_or(ProtobufError::NoMagic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in wire::Fields::new(envelope) {
        match field? {
            (1, wire::Wire::Bytes(type_meta)) => {
                for field in wire::Fields::new(type_meta) {
                    match field? {
                        (1, value) => value.text("apiVersion")?.clone_into(&mut api_version),
                        (2, value) => value.text("kind")?.clone_into(&mut kind),
                        _ => {}
                    }
                }
            }
            (2, wire::Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let Some(index) = layout::builtin().of_kind(&gvk(&api_version, &kind)) else {
        return Err(ProtobufError::UnknownKind { api_version, kind });
    };
    let mut value = decode::message(index, raw)?;
    if let Some(object) = value.as_object_mut() {
        object.insert("apiVersion".to_owned(), json!(api_version));
        object.insert("kind".to_owned(), json!(kind));
    }
    Ok(value)
}

fn gvk(api_version: &str, kind: &str) -> GroupVersionKind {
    let group_version = GroupVersion::parse(api_version);
    GroupVersionKind::new(group_version.group, group_version.version, kind)
}

/// Whether objects of a schema can be encoded: those of built-in kinds can.
pub(crate) fn is_encodable(schema: &str) -> bool {
    layout::builtin().named(schema).is_some()
}

/// Encodes any document that names its kind, envelope included.
///
/// # Errors
/// [`ProtobufError::NotEncodable`] for kinds that are not built in.
pub(crate) fn encode(document: &Value) -> Result<Bytes, ProtobufError> {
    let (api_version, kind, message) = message(document)?;
    Ok(wrapped(api_version, kind, &message))
}

fn message(document: &Value) -> Result<(&str, &str, Vec<u8>), ProtobufError> {
    let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    match (layout::builtin().of_kind(&gvk(api_version, kind)), document.as_object()) {
        (Some(index), Some(fields)) => Ok((api_version, kind, encode::message(index, fields))),
        _ => Err(ProtobufError::NotEncodable { api_version: api_version.to_owned(), kind: kind.to_owned() }),
    }
}

/// The same for an object, made once.
///
/// # Errors
/// As [`encode`], and when the object is not JSON, which the store never holds.
pub(crate) fn encode_object(object: &Object) -> Result<Bytes, ProtobufError> {
    object.encoded(|object| encode(&object.value().map_err(|error| ProtobufError::NotJson(error.to_string()))?))
}

/// The message of an object without its envelope: as it stands in a list.
///
/// # Errors
/// As [`encode_object`].
pub(crate) fn message_of(object: &Object) -> Result<Bytes, ProtobufError> {
    let whole = encode_object(object)?;
    for field in wire::Fields::new(&whole[MAGIC.len()..]) {
        if let (2, wire::Wire::Bytes(message)) = field? {
            return Ok(whole.slice_ref(message));
        }
    }
    Err(ProtobufError::Truncated("an envelope"))
}

fn wrapped(api_version: &str, kind: &str, message: &[u8]) -> Bytes {
    let mut out = envelope_head(api_version, kind, message.len());
    out.reserve(message.len() + ENVELOPE_TAIL.len());
    out.extend_from_slice(message);
    out.extend_from_slice(ENVELOPE_TAIL);
    out.into()
}

/// What stands before the `length` bytes of a message in its envelope.
fn envelope_head(api_version: &str, kind: &str, length: usize) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    wire::put_message(&mut out, 1, |out| {
        wire::put_bytes(out, 1, api_version.as_bytes());
        wire::put_bytes(out, 2, kind.as_bytes());
    });
    wire::put_head(&mut out, 2, length);
    out
}

/// The content encoding and type of an envelope, which are always empty.
pub(crate) const ENVELOPE_TAIL: &[u8] = &[0x1a, 0, 0x22, 0];

/// What stands before the items of a list: its envelope and its metadata. `items` are the lengths of the messages, each of
/// which follows after its [`item_head`]; the last is followed by [`ENVELOPE_TAIL`].
pub(crate) fn list_head(api_version: &str, kind: &str, metadata: &Value, items: impl Iterator<Item = usize>) -> Vec<u8> {
    let mut first = Vec::new();
    let list = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": metadata});
    if let Ok((.., message)) = message(&list) {
        // Every list has its metadata where this one has it.
        first = message;
    }
    let length = items.fold(first.len(), |sum, item| sum + item_head(item).len() + item);
    let mut out = envelope_head(api_version, kind, length);
    out.extend(first);
    out
}

/// What stands before one item of a list.
pub(crate) fn item_head(length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(8);
    wire::put_head(&mut out, 2, length);
    out
}

/// One event of a watch: its length in four bytes, then `meta/v1.WatchEvent` around the whole encoding of an object.
pub(crate) fn frame(out: &mut Vec<u8>, event: &str, object: &[u8]) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    wire::put_bytes(out, 1, event.as_bytes());
    wire::put_message(out, 2, |out| wire::put_bytes(out, 1, object));
    let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests;
