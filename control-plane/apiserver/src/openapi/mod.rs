//! OpenAPI v3: an index with hashes, and one document for each group and version; and v2, one document over all.

mod foreign;
mod from_v2;
mod general;
mod message;
mod operation;
#[cfg(test)]
mod oracle;
mod packed;
mod parameters;
mod paths;
mod published;
mod schemas;
mod service;
mod v2;
mod v2_message;
mod v3_message;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use mizzen_api::Registry;
use mizzen_api::schema::SchemaSet;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::aggregation::Published;
use foreign::Merged;
use packed::Packed;
use service::Service;

/// The documents of one state of the registry, made when first asked for.
pub(crate) struct OpenApi {
    registry: Arc<Registry>,
    made: Mutex<Option<Arc<Made>>>,
    merged: Mutex<Option<Arc<Merged>>>,
}

struct Made {
    /// Of which registry.
    snapshot: Arc<mizzen_api::registry::Snapshot>,
    documents: BTreeMap<String, Described>,
    index: Document,
    /// As JSON and as protobuf; few clients ask for it.
    v2: OnceLock<[Document; 2]>,
}

/// A document, and what it was made of.
struct Described {
    resources: Vec<Served>,
    document: Arc<Document>,
}

/// Clients ask for each once and keep it.
struct Document {
    packed: Packed,
    hash: String,
    /// The same as protobuf, of a document of OpenAPI v3; few clients ask for it.
    message: OnceLock<Packed>,
}

impl Document {
    fn new(bytes: &[u8]) -> Self {
        Self { hash: hex::encode_upper(Sha256::digest(bytes)), packed: Packed::new(bytes), message: OnceLock::new() }
    }

    fn of(value: &Value) -> Self {
        Self::new(value.to_string().as_bytes())
    }

    /// Where it is, below `/openapi/v3/`.
    fn url(&self, path: &str) -> String {
        format!("/openapi/v3/{path}?hash={}", self.hash)
    }

    fn value(&self) -> Option<Value> {
        serde_json::from_slice(&self.packed.bytes()).ok()
    }

    fn with_hash(&self) -> (Bytes, String) {
        (self.packed.bytes(), self.hash.clone())
    }

    /// A document of OpenAPI v3 in the form that is asked for. Both have the hash that the index tells.
    fn in_form(&self, protobuf: bool) -> (Bytes, String) {
        if !protobuf {
            return self.with_hash();
        }
        let made = || Packed::new(&v3_message::document(&self.value().unwrap_or_default()));
        (self.message.get_or_init(made).bytes(), self.hash.clone())
    }
}

impl Made {
    /// What did not change since `before` is not made again.
    fn new(snapshot: Arc<mizzen_api::registry::Snapshot>, before: Option<&Self>) -> Self {
        let documents = make(&snapshot, before);
        let index = Document::of(&json!({"paths": paths(&documents)}));
        Self { snapshot, documents, index, v2: OnceLock::new() }
    }

    fn paths(&self) -> serde_json::Map<String, Value> {
        paths(&self.documents)
    }

    fn v2_value(&self) -> Value {
        let parsed = self.documents.values().filter_map(|described| described.document.value());
        v2::document(parsed, |name| self.snapshot.schemas().published(name).is_some())
    }

    fn v2(&self) -> &[Document; 2] {
        self.v2.get_or_init(|| {
            let document = self.v2_value();
            [Document::of(&document), Document::new(&v2_message::document(&document))]
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
        foreign.or_else(|| self.made().documents.get(path).map(|described| in_form(&described.document)))
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
        let fresh = Arc::new(Made::new(snapshot, made.as_deref()));
        *made = Some(fresh.clone());
        fresh
    }
}

/// Where each document is.
fn paths(documents: &BTreeMap<String, Described>) -> serde_json::Map<String, Value> {
    let url = |path: &str, described: &Described| json!({"serverRelativeURL": described.document.url(path)});
    documents.iter().map(|(path, described)| (path.clone(), url(path, described))).collect()
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

fn make(snapshot: &mizzen_api::registry::Snapshot, before: Option<&Made>) -> BTreeMap<String, Described> {
    let mut versions: BTreeMap<String, Vec<Served>> = BTreeMap::new();
    for descriptor in snapshot.iter() {
        for version in &descriptor.versions {
            versions.entry(path_of(&descriptor.group, version)).or_default().push((descriptor.clone(), version.clone()));
        }
    }
    let is_same = |old: &Served, new: &Served| Arc::ptr_eq(&old.0, &new.0) && old.1 == new.1;
    let known = |path: &str, resources: &[Served]| {
        let known = before?.documents.get(path)?;
        let same = known.resources.len() == resources.len() && known.resources.iter().zip(resources).all(|(a, b)| is_same(a, b));
        same.then(|| known.document.clone())
    };
    // Of groups that definitions make there is none.
    let groups: BTreeSet<&str> = snapshot
        .iter()
        .filter(|descriptor| descriptor.custom.is_none() && !descriptor.group.is_empty())
        .map(|descriptor| &*descriptor.group)
        .collect();
    let general = general::everywhere().chain(groups.into_iter().map(general::group));
    let mut made: BTreeMap<String, Described> = general
        .map(|(path, paths)| {
            let document = known(&path, &[]).unwrap_or_else(|| Arc::new(document(snapshot.schemas(), paths, "", "v1")));
            (path, Described { resources: Vec::new(), document })
        })
        .collect();
    made.extend(versions.into_iter().map(|(path, resources)| {
        let document = known(&path, &resources).unwrap_or_else(|| Arc::new(of_version(snapshot.schemas(), &resources)));
        (path, Described { resources, document })
    }));
    made
}

fn of_version(schemas: &SchemaSet, resources: &[Served]) -> Document {
    let Some((first, version)) = resources.first() else { return document(schemas, json!({}), "", "v1") };
    let service = Service::new(&first.group, version);
    let mut all = serde_json::Map::new();
    if resources.iter().any(|(descriptor, _)| descriptor.custom.is_none()) {
        all.extend([general::resources(&service)]);
    }
    resources.iter().for_each(|(descriptor, version)| paths::add(&mut all, &service, descriptor, version, schemas));
    document(schemas, all.into(), &first.group, version)
}

fn document(set: &SchemaSet, paths: Value, group: &str, version: &str) -> Document {
    let bearer = json!({"type": "apiKey", "in": "header", "name": "authorization", "description": "Bearer Token authentication"});
    let mut components = json!({"securitySchemes": {"BearerToken": bearer}});
    let schemas = schemas::reachable(set, &paths, group, version);
    if !schemas.is_empty() {
        components["schemas"] = json!(schemas);
    }
    Document::of(&json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": crate::version::GIT_VERSION},
        "paths": paths, "components": components,
    }))
}
