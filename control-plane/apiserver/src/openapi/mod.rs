//! OpenAPI v3: an index with hashes, and one document for each group and version; and v2, one document over all.

mod foreign;
mod from_v2;
mod message;
mod paths;
mod schemas;
mod v2;
mod v2_message;
mod v3_message;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use mizzen_api::Registry;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::aggregation::Published;
use foreign::Merged;

/// The documents of one state of the registry, made when first asked for.
pub(crate) struct OpenApi {
    registry: Arc<Registry>,
    made: Mutex<Option<Arc<Made>>>,
    merged: Mutex<Option<Arc<Merged>>>,
}

struct Made {
    /// Of which registry.
    snapshot: Arc<mizzen_api::registry::Snapshot>,
    documents: BTreeMap<String, Document>,
    index: Document,
    /// As JSON and as protobuf; few clients ask for it.
    v2: OnceLock<[Document; 2]>,
}

struct Document {
    bytes: Bytes,
    hash: String,
    /// The same as protobuf, of a document of OpenAPI v3; few clients ask for it.
    message: OnceLock<Bytes>,
}

impl Document {
    fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { hash: hex::encode_upper(Sha256::digest(&bytes)), bytes, message: OnceLock::new() }
    }

    /// Where it is, below `/openapi/v3/`.
    fn url(&self, path: &str) -> String {
        format!("/openapi/v3/{path}?hash={}", self.hash)
    }

    fn with_hash(&self) -> (Bytes, String) {
        (self.bytes.clone(), self.hash.clone())
    }

    /// A document of OpenAPI v3 in the form that is asked for. Both have the hash that the index tells.
    fn in_form(&self, protobuf: bool) -> (Bytes, String) {
        if !protobuf {
            return self.with_hash();
        }
        let made = || v3_message::document(&serde_json::from_slice(&self.bytes).unwrap_or_default()).into();
        (self.message.get_or_init(made).clone(), self.hash.clone())
    }
}

impl Made {
    fn new(snapshot: Arc<mizzen_api::registry::Snapshot>) -> Self {
        let documents = make(&snapshot);
        let index = Document::new(json!({"paths": paths(&documents)}).to_string());
        Self { snapshot, documents, index, v2: OnceLock::new() }
    }

    fn paths(&self) -> serde_json::Map<String, Value> {
        paths(&self.documents)
    }

    fn v2_value(&self) -> Value {
        let parsed = self.documents.values().filter_map(|document| serde_json::from_slice(&document.bytes).ok());
        v2::document(parsed, |name| self.snapshot.schemas().published(name).is_some())
    }

    fn v2(&self) -> &[Document; 2] {
        self.v2.get_or_init(|| {
            let document = self.v2_value();
            [Document::new(document.to_string()), Document::new(v2_message::document(&document))]
        })
    }
}

impl OpenApi {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Self { registry, made: Mutex::new(None), merged: Mutex::new(None) }
    }

    /// `/openapi/v3`, and its hash; with the documents that other servers have, at their addresses here.
    pub(crate) fn index(&self, published: &Arc<Published>) -> (Bytes, String) {
        match self.merged(published) {
            Some(merged) => merged.index.with_hash(),
            None => self.made().index.with_hash(),
        }
    }

    /// `/openapi/v3/api/v1`, `/openapi/v3/apis/G/V` and its hash; `path` is what follows `/openapi/v3/`.
    pub(crate) fn document(&self, path: &str, protobuf: bool, published: &Arc<Published>) -> Option<(Bytes, String)> {
        let in_form = |document: &Document| document.in_form(protobuf);
        let foreign = self.merged(published).and_then(|merged| merged.documents.get(path).map(in_form));
        foreign.or_else(|| self.made().documents.get(path).map(in_form))
    }

    /// `/openapi/v2` and its hash.
    pub(crate) fn v2(&self, protobuf: bool, published: &Arc<Published>) -> (Bytes, String) {
        let (merged, made) = (self.merged(published), self.made());
        let [json, message] = merged.as_ref().map_or_else(|| made.v2(), |merged| merged.v2());
        if protobuf { message.with_hash() } else { json.with_hash() }
    }

    /// With what other servers say, if there are any.
    fn merged(&self, published: &Arc<Published>) -> Option<Arc<Merged>> {
        if published.versions.is_empty() {
            return None;
        }
        let made = self.made();
        let mut merged = self.merged.lock();
        if let Some(merged) = merged.as_ref().filter(|merged| merged.is_of(&made, published)) {
            return Some(merged.clone());
        }
        let fresh = Arc::new(Merged::new(made, published.clone()));
        *merged = Some(fresh.clone());
        Some(fresh)
    }

    fn made(&self) -> Arc<Made> {
        let snapshot = self.registry.snapshot();
        let mut made = self.made.lock();
        if let Some(made) = made.as_ref().filter(|made| Arc::ptr_eq(&made.snapshot, &snapshot)) {
            return made.clone();
        }
        let fresh = Arc::new(Made::new(snapshot));
        *made = Some(fresh.clone());
        fresh
    }
}

/// Where each document is.
fn paths(documents: &BTreeMap<String, Document>) -> serde_json::Map<String, Value> {
    documents.iter().map(|(path, document)| (path.clone(), json!({"serverRelativeURL": document.url(path)}))).collect()
}

/// The name of a group version's document.
fn path_of(group: &str, version: &str) -> String {
    match group {
        "" => format!("api/{version}"),
        group => format!("apis/{group}/{version}"),
    }
}

/// A resource in one of its versions.
type Served = (Arc<mizzen_api::ResourceDescriptor>, Arc<str>);

fn make(snapshot: &mizzen_api::registry::Snapshot) -> BTreeMap<String, Document> {
    let mut versions: BTreeMap<String, Vec<Served>> = BTreeMap::new();
    for descriptor in snapshot.iter() {
        for version in &descriptor.versions {
            versions.entry(path_of(&descriptor.group, version)).or_default().push((descriptor.clone(), version.clone()));
        }
    }
    versions
        .into_iter()
        .map(|(path, resources)| {
            let mut all = serde_json::Map::new();
            let mut roots = Vec::new();
            for (descriptor, version) in &resources {
                paths::add(&mut all, descriptor, version, snapshot.schemas());
                roots.push(descriptor.schema_of(version).clone());
                roots.extend(paths::list_schema(descriptor, version, snapshot.schemas()));
                roots.extend(
                    descriptor.subresources.iter().filter_map(|sub| snapshot.schemas().name_of(sub.kind.as_ref()?).cloned()),
                );
            }
            let document = json!({
                "openapi": "3.0.0",
                "info": {"title": "Kubernetes", "version": crate::version::GIT_VERSION},
                "paths": all,
                "components": {"schemas": schemas::reachable(snapshot.schemas(), &roots)},
            });
            (path, Document::new(document.to_string()))
        })
        .collect()
}
