//! Bodies in Kubernetes' protobuf encoding, turned into documents: kubectl's typed commands send them
//! (API concepts, "Kubernetes Protobuf encoding"). Answers are JSON, which every client that sends protobuf accepts.

mod decode;
mod fields;
mod wire;

use mizzen_api::schema::SchemaSet;
use mizzen_api::{GroupVersion, GroupVersionKind};
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
}

/// Decodes a whole body: the envelope (`runtime.Unknown`) and the object that it names.
///
/// # Errors
/// When the bytes are not such an encoding, or the kind is not known.
pub(crate) fn decode(schemas: &SchemaSet, body: &[u8]) -> Result<Value, ProtobufError> {
    let envelope = body.strip_prefix(MAGIC).ok_or(ProtobufError::NoMagic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in wire::Fields::new(envelope) {
        match field? {
            (1, wire::Wire::Bytes(type_meta)) => {
                for field in wire::Fields::new(type_meta) {
                    match field? {
                        (1, value) => api_version = value.text("apiVersion")?.to_owned(),
                        (2, value) => kind = value.text("kind")?.to_owned(),
                        _ => {}
                    }
                }
            }
            (2, wire::Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let group_version = GroupVersion::parse(&api_version);
    let gvk = GroupVersionKind::new(group_version.group, group_version.version, kind.as_str());
    let meta = || format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}");
    let name = match schemas.name_of(&gvk) {
        Some(name) => name.to_string(),
        // Options exist in every group.
        None if kind.ends_with("Options") && schemas.get(&meta()).is_some() => meta(),
        None => return Err(ProtobufError::UnknownKind { api_version, kind }),
    };
    let mut value = decode::message(schemas, &name, raw)?;
    if let Some(object) = value.as_object_mut() {
        object.insert("apiVersion".to_owned(), json!(api_version));
        object.insert("kind".to_owned(), json!(kind));
    }
    Ok(value)
}

#[cfg(test)]
mod tests;
