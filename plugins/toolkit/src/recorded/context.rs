//! Recorded objects as what a context-aware policy asks of.

use mizzen_plugins_host::policy::{Context, Take};
use serde_json::Value;

use super::text;

pub(crate) struct Objects(pub Vec<Value>);

impl Objects {
    fn of<'a>(&'a self, api_version: &'a str, kind: &'a str, namespace: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |object| {
            text(object, "/apiVersion") == api_version
                && text(object, "/kind") == kind
                && (namespace.is_empty() || text(object, "/metadata/namespace") == namespace)
        })
    }
}

impl Context for Objects {
    fn get(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<String> {
        let mut found = self.of(api_version, kind, namespace).filter(|object| text(object, "/metadata/name") == name);
        Some(found.next()?.to_string())
    }

    fn by_label(&self, api_version: &str, kind: &str, namespace: &str, key: &str, value: &str, most: usize) -> Vec<String> {
        let has = |object: &&Value| object["metadata"]["labels"][key] == value;
        self.of(api_version, kind, namespace).filter(has).take(most).map(Value::to_string).collect()
    }

    fn by_index(&self, api_version: &str, kind: &str, path: &str, value: &str, most: usize) -> Vec<String> {
        let field =
            |object: &Value| path.split('.').try_fold(object, |value, name| value.get(name)).is_some_and(|it| it == value);
        self.of(api_version, kind, "").filter(|object| field(object)).take(most).map(Value::to_string).collect()
    }

    fn count(&self, api_version: &str, kind: &str, namespace: &str) -> u64 {
        self.of(api_version, kind, namespace).count() as u64
    }

    fn list(&self, api_version: &str, kind: &str, namespace: &str, take: Take<'_>) -> bool {
        // Where it breaks off is its own affair.
        let _ = self.of(api_version, kind, namespace).try_for_each(|object| take(&object.to_string()));
        true
    }

    fn namespace(&self, name: &str) -> Option<String> {
        self.get("v1", "Namespace", "", name)
    }
}
