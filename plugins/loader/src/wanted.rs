//! What an object asks for.

use std::collections::BTreeSet;
use std::time::Duration;

use mizzen_api::{Object, ObjectRef, Quantity};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an object says of the component that is to be loaded for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub uid: String,
    pub generation: i64,
    /// As it was written.
    pub image: String,
    pub pull_secret: Option<ObjectRef>,
    /// How long a tag is believed to be the same image.
    pub refresh: Duration,
    pub terms: Terms,
}

/// What a loaded component works under. With other terms it is loaded anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// JSON.
    pub settings: String,
    /// What it may do besides what every plugin may.
    pub capabilities: BTreeSet<String>,
    /// Of one instance, in bytes.
    pub memory: u64,
    /// Of one call, in milliseconds.
    pub deadline: u64,
}

impl Wanted {
    /// Of an object whose fields were defaulted and checked when it was written; `None` when it is not JSON.
    pub fn of(object: &Object) -> Option<Self> {
        let document = object.value().ok()?;
        let (head, spec) = (object.head(), &document["spec"]);
        let secret = spec["pullSecret"]["name"].as_str().map(|name| {
            let namespace = spec["pullSecret"]["namespace"].as_str().unwrap_or(&head.namespace);
            ObjectRef::new(namespace, name)
        });
        let capabilities = spec["capabilities"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let memory = Quantity::from_value(&spec["limits"]["memory"]).map_or(0, Quantity::value);
        Some(Self {
            uid: head.uid.clone(),
            generation: head.generation,
            image: spec["image"].as_str().unwrap_or_default().to_owned(),
            pull_secret: secret,
            refresh: Duration::from_secs(spec["refreshSeconds"].as_u64().unwrap_or(300)),
            terms: Terms {
                settings: spec.get("settings").map_or_else(|| "{}".to_owned(), Value::to_string),
                capabilities: capabilities.map(str::to_owned).collect(),
                memory: u64::try_from(memory).unwrap_or_default(),
                deadline: spec["limits"]["deadlineMilliseconds"].as_u64().unwrap_or_default(),
            },
        })
    }

    /// Whether the image cannot change: it is named by its digest.
    pub fn is_pinned(&self) -> bool {
        self.image.contains('@')
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_namespaced_object_looks_for_its_login_in_its_own_namespace() {
        let of = |document: Value| Wanted::of(&Object::new(document.to_string(), 1)).expect("is JSON");
        let wanted = of(json!({"metadata": {"name": "a", "namespace": "n", "uid": "u", "generation": 3}, "spec": {
            "image": "example.com/a:v1", "refreshSeconds": 5, "pullSecret": {"name": "login"}, "capabilities": ["context"],
            "settings": {"a": 1}, "limits": {"memory": "64Mi", "deadlineMilliseconds": 20}}}));
        assert_eq!(wanted.pull_secret, Some(ObjectRef::new("n", "login")));
        assert_eq!((wanted.refresh, wanted.generation), (Duration::from_secs(5), 3));
        let capabilities = BTreeSet::from(["context".to_owned()]);
        let terms = Terms { settings: r#"{"a":1}"#.to_owned(), capabilities, memory: 64 << 20, deadline: 20 };
        assert_eq!(wanted.terms, terms);
        let wanted =
            of(json!({"metadata": {"name": "a"}, "spec": {"image": "a", "pullSecret": {"name": "l", "namespace": "x"}}}));
        assert_eq!(wanted.pull_secret, Some(ObjectRef::new("x", "l")));
        assert_eq!(wanted.terms.settings, "{}");
    }
}
