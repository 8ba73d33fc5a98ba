//! What context-aware policies see of the cluster: mirrors of the kinds that they need, shared by all that need the same.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Weak};
use std::time::Duration;

use mizzen_api::{LabelSelector, Object, ObjectRef, Registry};
use mizzen_client::Client;
use mizzen_reconcile::{WatchCache, WatchSpec};
use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::refusal::Refusal;

/// An answer holds so many objects at most.
const MOST: usize = 1024;
/// A mirror that is not filled by then keeps a policy from being loaded.
const PATIENCE: Duration = Duration::from_secs(30);

const LABELS: &str = "labels";
const PATHS: &str = "paths";

/// Of which objects a policy wants to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Need {
    pub api_version: String,
    pub kind: String,
    /// Empty for all.
    pub namespace: String,
    pub label_selector: String,
    /// Fields by which they are found.
    pub indexes: Vec<String>,
}

/// The mirrors that there are.
pub(crate) struct Views {
    client: Arc<dyn Client>,
    registry: Registry,
    cancel: CancellationToken,
    shared: Mutex<HashMap<Need, Weak<View>>>,
}

/// One mirror. It ends with the last policy that needs it.
struct View {
    need: Need,
    objects: Arc<WatchCache>,
    _end: DropGuard,
}

impl Views {
    pub(crate) fn new(client: Arc<dyn Client>, registry: Registry, cancel: CancellationToken) -> Self {
        Self { client, registry, cancel, shared: Mutex::default() }
    }

    /// The mirrors of what is needed, once they are filled.
    ///
    /// # Errors
    /// When a kind is not served, a selector makes no sense, or the API does not answer.
    pub(crate) async fn of(&self, needs: Vec<Need>) -> Result<Seen, Refusal> {
        let views = needs.into_iter().map(|need| self.view(need)).collect::<Result<Vec<_>, _>>()?;
        for view in &views {
            let filled = tokio::time::timeout(PATIENCE, view.objects.synced()).await;
            filled.map_err(|_| refused(&view.need, format!("the API did not list them within {PATIENCE:?}")))?;
        }
        Ok(Seen(views))
    }

    fn view(&self, need: Need) -> Result<Arc<View>, Refusal> {
        let mut shared = self.shared.lock();
        shared.retain(|_, view| view.strong_count() > 0);
        if let Some(view) = shared.get(&need).and_then(Weak::upgrade) {
            return Ok(view);
        }
        let (group, version) = need.api_version.split_once('/').unwrap_or(("", &need.api_version));
        let descriptor = self.registry.by_kind(group, version, &need.kind);
        let descriptor = descriptor.ok_or_else(|| refused(&need, "the kind is not served".to_owned()))?;
        LabelSelector::parse(&need.label_selector).map_err(|error| refused(&need, error.to_string()))?;
        let cancel = self.cancel.child_token();
        let spec = WatchSpec::all(descriptor.gvr()).namespace(&need.namespace).labels(&need.label_selector);
        let paths = need.indexes.clone();
        let objects = WatchCache::objects(spec)
            .index(LABELS, |object: &Object| object.head().labels.iter().map(|(key, value)| pair(key, value)).collect())
            .index(PATHS, move |object: &Object| values(object, &paths))
            .start(self.client.clone(), cancel.clone());
        let view = Arc::new(View { need: need.clone(), objects, _end: cancel.drop_guard() });
        shared.insert(need, Arc::downgrade(&view));
        Ok(view)
    }
}

fn refused(need: &Need, why: String) -> Refusal {
    Refusal::new("ContextUnavailable", format!("it needs to know of {} {}: {why}", need.api_version, need.kind))
}

/// Keys have no zero bytes.
fn pair(key: &str, value: &str) -> String {
    format!("{key}\0{value}")
}

/// What an object has at each path; lists are found by each of their items.
fn values(object: &Object, paths: &[String]) -> Vec<String> {
    if paths.is_empty() {
        return Vec::new();
    }
    let Ok(document) = object.value() else { return Vec::new() };
    let mut found = Vec::new();
    for path in paths {
        let names: Vec<&str> = path.split('.').filter(|name| !name.is_empty()).collect();
        collect(&document, &names, &mut |value| found.push(pair(path, value)));
    }
    found
}

fn collect(value: &Value, names: &[&str], found: &mut impl FnMut(&str)) {
    match (value, names) {
        (Value::Array(items), names) => items.iter().for_each(|item| collect(item, names, found)),
        (Value::Object(fields), [name, rest @ ..]) => {
            if let Some(value) = fields.get(*name) {
                collect(value, rest, found);
            }
        }
        (Value::String(text), []) => found(text),
        (Value::Bool(_) | Value::Number(_), []) => found(&value.to_string()),
        _ => {}
    }
}

/// What one policy sees. Objects are JSON.
#[derive(Default)]
pub struct Seen(Vec<Arc<View>>);

impl Seen {
    fn view(&self, api_version: &str, kind: &str, namespace: &str) -> Option<&WatchCache> {
        let fits = |view: &&Arc<View>| {
            let need = &view.need;
            need.api_version == api_version
                && need.kind == kind
                && (namespace.is_empty() || need.namespace.is_empty() || need.namespace == namespace)
        };
        self.0.iter().find(fits).map(|view| &*view.objects)
    }

    pub fn get(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<String> {
        text(self.view(api_version, kind, namespace)?.get(&ObjectRef::new(namespace, name))?.as_ref()).map(str::to_owned)
    }

    pub fn by_label(&self, api_version: &str, kind: &str, namespace: &str, key: &str, value: &str) -> Vec<String> {
        let Some(objects) = self.view(api_version, kind, namespace) else { return Vec::new() };
        let found = objects.by(LABELS, &pair(key, value)).into_iter();
        let inside = found.filter(|object| namespace.is_empty() || object.head().namespace == namespace);
        inside.take(MOST).filter_map(|object| Some(text(&object)?.to_owned())).collect()
    }

    pub fn by_index(&self, api_version: &str, kind: &str, path: &str, value: &str) -> Vec<String> {
        let Some(objects) = self.view(api_version, kind, "") else { return Vec::new() };
        let found = objects.by(PATHS, &pair(path, value)).into_iter();
        found.take(MOST).filter_map(|object| Some(text(&object)?.to_owned())).collect()
    }

    pub fn count(&self, api_version: &str, kind: &str, namespace: &str) -> u64 {
        let Some(objects) = self.view(api_version, kind, namespace) else { return 0 };
        let count = if namespace.is_empty() { objects.len() } else { objects.in_namespace(namespace).len() };
        count as u64
    }

    /// Hands over all of them, of a namespace unless that is empty, until `take` breaks off; none is copied. `false` when the
    /// policy did not say that it needs this kind.
    pub fn list(&self, api_version: &str, kind: &str, namespace: &str, take: &mut dyn FnMut(&str) -> ControlFlow<()>) -> bool {
        let Some(objects) = self.view(api_version, kind, namespace) else { return false };
        let found = if namespace.is_empty() { objects.list() } else { objects.in_namespace(namespace) };
        // Where it breaks off is its own affair.
        let _ = found.iter().filter_map(|object| text(object)).try_for_each(take);
        true
    }
}

fn text(object: &Object) -> Option<&str> {
    std::str::from_utf8(object.bytes()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_are_found_by_texts_numbers_and_items_of_lists() {
        let object =
            Object::new(json!({"spec": {"host": "a", "ports": [{"number": 80}, {"number": 81}], "map": {}}}).to_string(), 1);
        let paths = ["spec.host", ".spec.ports.number", "spec.map", "spec.nothing"].map(str::to_owned);
        let wanted = ["spec.host\0a", ".spec.ports.number\x0080", ".spec.ports.number\x0081"];
        assert_eq!(values(&object, &paths), wanted);
        assert!(values(&object, &[]).is_empty());
    }
}
