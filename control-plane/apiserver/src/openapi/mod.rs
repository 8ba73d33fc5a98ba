//! OpenAPI v3: an index with hashes, and one document for each group and version; and v2, one document over all.

mod paths;
mod schemas;
mod v2;
mod v2_message;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use mizzen_api::Registry;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::aggregation::Published;

/// The documents of one state of the registry, made when first asked for.
pub(crate) struct OpenApi {
    registry: Arc<Registry>,
    made: Mutex<Option<Arc<Made>>>,
}

struct Made {
    /// Of which registry.
    snapshot: Arc<mizzen_api::registry::Snapshot>,
    documents: BTreeMap<String, Document>,
    index: Document,
    /// As JSON and as protobuf; few clients ask for it.
    v2: OnceLock<[Document; 2]>,
}

#[derive(Clone)]
struct Document {
    bytes: Bytes,
    hash: String,
}

impl Document {
    fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { hash: hex::encode_upper(Sha256::digest(&bytes)), bytes }
    }

    fn with_hash(&self) -> (Bytes, String) {
        (self.bytes.clone(), self.hash.clone())
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

    fn v2(&self) -> &[Document; 2] {
        self.v2.get_or_init(|| {
            let parsed = self.documents.values().filter_map(|document| serde_json::from_slice(&document.bytes).ok());
            let document = v2::document(parsed, |name| self.snapshot.schemas().published(name).is_some());
            [Document::new(document.to_string()), Document::new(v2_message::document(&document))]
        })
    }
}

impl OpenApi {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Self { registry, made: Mutex::new(None) }
    }

    /// `/openapi/v3`, and its hash; with the documents that other servers have, at their addresses here.
    pub(crate) fn index(&self, published: &Published) -> (Bytes, String) {
        let made = self.made();
        let foreign: Vec<_> =
            published.versions.iter().filter_map(|version| Some((version, version.openapi.as_ref()?))).collect();
        if foreign.is_empty() {
            return made.index.with_hash();
        }
        let mut paths = made.paths();
        for (version, url) in foreign {
            paths.insert(path_of(&version.group, &version.version), json!({"serverRelativeURL": url}));
        }
        Document::new(json!({"paths": paths}).to_string()).with_hash()
    }

    /// `/openapi/v3/api/v1`, `/openapi/v3/apis/G/V` and its hash; `path` is what follows `/openapi/v3/`.
    pub(crate) fn document(&self, path: &str) -> Option<(Bytes, String)> {
        self.made().documents.get(path).map(Document::with_hash)
    }

    /// `/openapi/v2` and its hash.
    pub(crate) fn v2(&self, protobuf: bool) -> (Bytes, String) {
        let made = self.made();
        let [json, message] = made.v2();
        if protobuf { message.with_hash() } else { json.with_hash() }
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
    let url = |path: &str, document: &Document| format!("/openapi/v3/{path}?hash={}", document.hash);
    documents.iter().map(|(path, document)| (path.clone(), json!({"serverRelativeURL": url(path, document)}))).collect()
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
