//! What a watch cache holds: the entries and their indices.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use mizzen_api::ObjectRef;

/// Gives the index keys of an object.
pub(crate) type IndexFn<T> = Box<dyn Fn(&T) -> Vec<String> + Send + Sync>;

pub(crate) struct Index<T> {
    pub(crate) name: &'static str,
    pub(crate) keys_of: IndexFn<T>,
    entries: HashMap<String, HashSet<ObjectRef>>,
}

impl<T> Index<T> {
    pub(crate) fn new(name: &'static str, keys_of: IndexFn<T>) -> Self {
        Self { name, keys_of, entries: HashMap::new() }
    }
}

pub(crate) struct Store<T> {
    pub(crate) objects: BTreeMap<ObjectRef, Arc<T>>,
    indices: Vec<Index<T>>,
}

impl<T> Store<T> {
    pub(crate) fn new(indices: Vec<Index<T>>) -> Self {
        Self { objects: BTreeMap::new(), indices }
    }

    /// Sets or removes an entry; answers what was there.
    pub(crate) fn put(&mut self, key: &ObjectRef, new: Option<Arc<T>>) -> Option<Arc<T>> {
        let old = match &new {
            Some(new) => self.objects.insert(key.clone(), new.clone()),
            None => self.objects.remove(key),
        };
        for index in &mut self.indices {
            for value in old.iter().flat_map(|old| (index.keys_of)(old)) {
                if let Some(set) = index.entries.get_mut(&value) {
                    set.remove(key);
                    if set.is_empty() {
                        index.entries.remove(&value);
                    }
                }
            }
            for value in new.iter().flat_map(|new| (index.keys_of)(new)) {
                index.entries.entry(value).or_default().insert(key.clone());
            }
        }
        old
    }

    /// The objects under one index key, in the order of their names.
    pub(crate) fn by(&self, index: &str, value: &str) -> Vec<Arc<T>> {
        let Some(keys) = self.indices.iter().find(|i| i.name == index).and_then(|i| i.entries.get(value)) else {
            return Vec::new();
        };
        let mut keys: Vec<_> = keys.iter().collect();
        keys.sort();
        keys.into_iter().filter_map(|key| self.objects.get(key).cloned()).collect()
    }

    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        self.objects
            .range(ObjectRef::new(namespace, "")..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| object.clone())
            .collect()
    }
}
