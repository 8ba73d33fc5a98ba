//! A stored document: its JSON bytes, and the parts of it that are looked at often.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::pick::Pick;
use crate::recent::Recent;

/// Which object: namespace (empty for a cluster-scoped one) and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct ObjectRef {
    pub namespace: String,
    pub name: String,
}

impl ObjectRef {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    pub fn cluster(name: impl Into<String>) -> Self {
        Self::new("", name)
    }
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.namespace.as_str() {
            "" => f.write_str(&self.name),
            namespace => write!(f, "{namespace}/{}", self.name),
        }
    }
}

/// `metadata.ownerReferences[]` (`meta/v1.OwnerReference`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
}

/// The parts of an object's metadata that selectors, watches and controllers look at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Head {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub generation: i64,
    pub creation_timestamp: Option<String>,
    pub deletion_timestamp: Option<String>,
    pub deletion_grace_period_seconds: Option<i64>,
    pub finalizers: Vec<String>,
    /// Shared with what caches keep of the object, and with objects of the same labels.
    #[serde(deserialize_with = "labels")]
    pub labels: Arc<BTreeMap<String, String>>,
    pub owner_references: Vec<OwnerReference>,
    #[serde(skip)]
    key: OnceLock<Arc<ObjectRef>>,
}

fn labels<'de, D: Deserializer<'de>>(labels: D) -> Result<Arc<BTreeMap<String, String>>, D::Error> {
    thread_local! {
        static LABELS: Recent<BTreeMap<String, String>> = const { Recent::new() };
    }
    BTreeMap::deserialize(labels).map(|labels| Recent::share(&LABELS, labels))
}

impl Head {
    pub fn object_ref(&self) -> ObjectRef {
        ObjectRef::new(self.namespace.clone(), self.name.clone())
    }

    /// The same, made once for all that keep it.
    pub fn key(&self) -> &Arc<ObjectRef> {
        self.key.get_or_init(|| Arc::new(self.object_ref()))
    }

    pub fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == name)
    }

    pub fn is_terminating(&self) -> bool {
        self.deletion_timestamp.is_some()
    }

    /// The owner that controls this object, if one does.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|owner| owner.controller == Some(true))
    }
}

/// One version of one object. Cheap to share: watches, lists and in-process clients hold the same `Arc`.
pub struct Object {
    bytes: Bytes,
    revision: u64,
    head: OnceLock<Arc<Head>>,
    typed: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// Boxed: most objects are never asked for in another encoding.
    encoded: OnceLock<Box<Bytes>>,
}

impl Object {
    /// Wraps a document as it is stored and served. `bytes` is one JSON object whose `metadata.resourceVersion`
    /// already says `revision`.
    pub fn new(bytes: impl Into<Bytes>, revision: u64) -> Self {
        Self { bytes: bytes.into(), revision, head: OnceLock::new(), typed: OnceLock::new(), encoded: OnceLock::new() }
    }

    /// Wraps a document that came from a server: it says itself which revision it is.
    pub fn received(bytes: impl Into<Bytes>) -> Self {
        let mut object = Self::new(bytes, 0);
        object.revision = object.head().resource_version.parse().unwrap_or(0);
        object
    }

    /// The document, ready to be copied into a response.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The store's revision that wrote this version; 0 for an object that was never stored (a dry run).
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The metadata, parsed on first use. A document that has none (which the API never stores) has an empty head.
    pub fn head(&self) -> &Head {
        self.shared_head()
    }

    /// The metadata, for those who keep it and not the document.
    pub fn shared_head(&self) -> &Arc<Head> {
        #[derive(Deserialize)]
        struct OnlyMetadata {
            #[serde(default)]
            metadata: Head,
        }
        self.head
            .get_or_init(|| serde_json::from_slice::<OnlyMetadata>(&self.bytes).map(|o| o.metadata).unwrap_or_default().into())
    }

    /// Decodes the whole document.
    ///
    /// # Errors
    /// When the document does not fit `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.bytes)
    }

    /// The decoded view of the document, decoded once for the first type asked for and shared after that.
    ///
    /// # Errors
    /// When the document does not fit `T`.
    pub fn typed<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<T>, serde_json::Error> {
        if let Some(typed) = self.typed.get().and_then(|any| any.clone().downcast::<T>().ok()) {
            return Ok(typed);
        }
        let typed = Arc::new(self.decode::<T>()?);
        // A second type for the same document is decoded each time: callers of one process agree on one view.
        let _ = self.typed.set(typed.clone());
        Ok(typed)
    }

    /// The document in the API's other encoding, made by `encode` when it is first asked for and shared after that.
    ///
    /// # Errors
    /// Those of `encode`.
    pub fn encoded<E>(&self, encode: impl FnOnce(&Self) -> Result<Bytes, E>) -> Result<Bytes, E> {
        if let Some(encoded) = self.encoded.get() {
            return Ok(Bytes::clone(encoded));
        }
        let encoded = encode(self)?;
        Ok(Bytes::clone(self.encoded.get_or_init(|| Box::new(encoded))))
    }

    /// The document as a value, for patching.
    ///
    /// # Errors
    /// When the bytes are not JSON, which the API never stores.
    pub fn value(&self) -> Result<Value, serde_json::Error> {
        self.decode()
    }

    /// Some fields of the document.
    ///
    /// # Errors
    /// When the bytes are not JSON, which the API never stores.
    pub fn pick(&self, pick: &Pick) -> Result<Value, serde_json::Error> {
        pick.from_slice(&self.bytes)
    }
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Object({}@{})", self.head().object_ref(), self.revision)
    }
}

/// A document on its way to the store: the revision is not known before the write is applied, so the store
/// splices `"resourceVersion":"N",` in at [`Encoded::splice_at`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encoded {
    pub bytes: Bytes,
    /// Offset of the first byte after the opening brace of `metadata`.
    pub splice_at: u32,
}

impl Encoded {
    /// Encodes a document, leaving `metadata.resourceVersion` to the store. Whatever other fields there are, `apiVersion`
    /// comes first: a reader learns the version without decoding the rest. `None` when `value` is not an object with a
    /// non-empty `metadata` object.
    pub fn from_value(mut value: Value) -> Option<Self> {
        let document = value.as_object_mut()?;
        let metadata = document.get_mut("metadata")?.as_object_mut()?;
        metadata.remove("resourceVersion");
        if metadata.is_empty() {
            return None;
        }
        let mut bytes = Vec::with_capacity(2048);
        let mut splice_at = None;
        let (version, others): (Vec<_>, Vec<_>) = document.iter().partition(|(key, _)| *key == "apiVersion");
        for (index, (key, value)) in version.into_iter().chain(others).enumerate() {
            bytes.push(if index == 0 { b'{' } else { b',' });
            // Writing into a Vec cannot fail, and every key and value here came out of a parser.
            serde_json::to_writer(&mut bytes, key).ok()?;
            bytes.push(b':');
            if key == "metadata" {
                splice_at = Some(bytes.len() + 1);
            }
            serde_json::to_writer(&mut bytes, value).ok()?;
        }
        bytes.push(b'}');
        // The log keeps it for a while.
        bytes.shrink_to_fit();
        Some(Self { bytes: bytes.into(), splice_at: u32::try_from(splice_at?).ok()? })
    }

    /// The document with its revision, as it is stored and served.
    pub fn at_revision(&self, revision: u64) -> Bytes {
        let text = revision_member(revision);
        let at = (self.splice_at as usize).min(self.bytes.len());
        let mut bytes = Vec::with_capacity(self.bytes.len() + text.len());
        bytes.extend_from_slice(&self.bytes[..at]);
        bytes.extend_from_slice(text.as_bytes());
        bytes.extend_from_slice(&self.bytes[at..]);
        bytes.into()
    }
}

/// What the store puts at the beginning of a document's metadata.
pub(crate) fn revision_member(revision: u64) -> String {
    format!("\"resourceVersion\":\"{revision}\",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_store_splices_the_revision_into_metadata() {
        let encoded = Encoded::from_value(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"metadata": "{"},
            "metadata": {"name": "a", "resourceVersion": "3", "labels": {"x": "y"}}
        }))
        .expect("encodes");
        let object = Object::new(encoded.at_revision(42), 42);
        assert_eq!(object.head().resource_version, "42");
        assert_eq!(object.head().name, "a");
        assert_eq!(object.value().expect("is JSON")["data"]["metadata"], "{");
    }

    #[test]
    fn the_version_comes_first_whatever_the_names_of_other_fields() {
        let encoded = Encoded::from_value(json!({"access": [], "apiVersion": "example.com/v1", "metadata": {"name": "a"}}));
        let bytes = encoded.expect("encodes").at_revision(7);
        let wanted = r#"{"apiVersion":"example.com/v1","access":[],"metadata":{"resourceVersion":"7","name":"a"}}"#;
        assert_eq!(bytes, wanted);
    }
}
