//! OpenAPI v3: an index with hashes, and one document for each group and version.

mod paths;
mod schemas;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use mizzen_api::Registry;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The documents of one state of the registry, made when first asked for.
pub(crate) struct OpenApi {
    registry: Arc<Registry>,
    made: Mutex<Option<Arc<Made>>>,
}

struct Made {
    /// Of which registry.
    snapshot: Arc<mizzen_api::registry::Snapshot>,
    documents: BTreeMap<String, Document>,
}

struct Document {
    json: Bytes,
    hash: String,
}

impl OpenApi {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Self { registry, made: Mutex::new(None) }
    }

    /// `/openapi/v3`.
    pub(crate) fn index(&self) -> Value {
        let made = self.made();
        let paths: serde_json::Map<String, Value> = made
            .documents
            .iter()
            .map(|(path, document)| {
                (path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={}", document.hash)}))
            })
            .collect();
        json!({"paths": paths})
    }

    /// `/openapi/v3/api/v1`, `/openapi/v3/apis/G/V`; `path` is what follows `/openapi/v3/`.
    pub(crate) fn document(&self, path: &str) -> Option<Bytes> {
        self.made().documents.get(path).map(|document| document.json.clone())
    }

    fn made(&self) -> Arc<Made> {
        let snapshot = self.registry.snapshot();
        let mut made = self.made.lock();
        if let Some(made) = made.as_ref().filter(|made| Arc::ptr_eq(&made.snapshot, &snapshot)) {
            return made.clone();
        }
        let fresh = Arc::new(Made { documents: make(&snapshot), snapshot });
        *made = Some(fresh.clone());
        fresh
    }
}

/// A resource in one of its versions.
type Served = (Arc<mizzen_api::ResourceDescriptor>, Arc<str>);

fn make(snapshot: &mizzen_api::registry::Snapshot) -> BTreeMap<String, Document> {
    let mut versions: BTreeMap<String, Vec<Served>> = BTreeMap::new();
    for descriptor in snapshot.iter() {
        for version in &descriptor.versions {
            let path = match &*descriptor.group {
                "" => format!("api/{version}"),
                group => format!("apis/{group}/{version}"),
            };
            versions.entry(path).or_default().push((descriptor.clone(), version.clone()));
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
            let json: Bytes = document.to_string().into();
            let hash = hex::encode_upper(Sha256::digest(&json));
            (path, Document { json, hash })
        })
        .collect()
}
