//! Other objects, as far as the policy's description says that it needs them. In unit tests, those of
//! [`crate::testing::context`].

use serde_json::Value;

/// One object by name; the namespace is empty for kinds that stand in none.
pub fn get(api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<Value> {
    #[cfg(target_family = "wasm")]
    return parse(&host::get(api_version, kind, namespace, name)?);
    #[cfg(not(target_family = "wasm"))]
    native::find(api_version, kind, namespace, |object| native::text(object, "metadata.name") == Some(name)).pop()
}

/// Those with a label of this value, at most 1,024.
pub fn by_label(api_version: &str, kind: &str, namespace: &str, key: &str, value: &str) -> Vec<Value> {
    #[cfg(target_family = "wasm")]
    return host::by_label(api_version, kind, namespace, key, value).iter().filter_map(|json| parse(json)).collect();
    #[cfg(not(target_family = "wasm"))]
    native::find(api_version, kind, namespace, |object| object["metadata"]["labels"][key].as_str() == Some(value))
}

/// Those with this value in a field that the description names as an index, at most 1,024.
pub fn by_index(api_version: &str, kind: &str, path: &str, value: &str) -> Vec<Value> {
    #[cfg(target_family = "wasm")]
    return host::by_index(api_version, kind, path, value).iter().filter_map(|json| parse(json)).collect();
    #[cfg(not(target_family = "wasm"))]
    native::find(api_version, kind, "", |object| native::text(object, path) == Some(value))
}

/// The namespace of the request under review, with its labels; the description need not name it.
pub fn namespace(name: &str) -> Option<Value> {
    #[cfg(target_family = "wasm")]
    return parse(&host::namespace(name)?);
    #[cfg(not(target_family = "wasm"))]
    get("v1", "Namespace", "", name)
}

/// How many there are; of every namespace where it is empty.
pub fn count(api_version: &str, kind: &str, namespace: &str) -> u64 {
    #[cfg(target_family = "wasm")]
    return host::count(api_version, kind, namespace);
    #[cfg(not(target_family = "wasm"))]
    return native::find(api_version, kind, namespace, |_| true).len() as u64;
}

#[cfg(target_family = "wasm")]
use crate::bindings::mizzen::policy::context as host;

#[cfg(target_family = "wasm")]
fn parse(json: &str) -> Option<Value> {
    serde_json::from_str(json).ok()
}

#[cfg(not(target_family = "wasm"))]
pub(crate) mod native {
    use std::cell::RefCell;

    use serde_json::Value;

    thread_local! {
        pub static OBJECTS: RefCell<Vec<Value>> = const { RefCell::new(Vec::new()) };
    }

    pub fn find(api_version: &str, kind: &str, namespace: &str, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        OBJECTS.with_borrow(|objects| {
            let right = |object: &&Value| {
                text(object, "apiVersion") == Some(api_version)
                    && text(object, "kind") == Some(kind)
                    && (namespace.is_empty() || text(object, "metadata.namespace") == Some(namespace))
                    && wanted(object)
            };
            objects.iter().filter(right).cloned().collect()
        })
    }

    pub fn text<'a>(object: &'a Value, path: &str) -> Option<&'a str> {
        path.split('.').try_fold(object, |value, field| value.get(field))?.as_str()
    }
}
