//! What a watch cache holds: the entries and their indices.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use mizzen_api::ObjectRef;

/// Gives the index keys of an object.
pub(crate) type IndexFn<T> = Box<dyn Fn(&T) -> Vec<String> + Send + Sync>;

pub(crate) struct Index<T> {
    name: &'static str,
    keys_of: IndexFn<T>,
    /// Most values find one object: a set of one is cheap, and shares its key with the entries.
    entries: HashMap<String, BTreeSet<Arc<ObjectRef>>>,
}

impl<T> Index<T> {
    pub(crate) fn new(name: &'static str, keys_of: IndexFn<T>) -> Self {
        Self { name, keys_of, entries: HashMap::new() }
    }

    fn replace(&mut self, key: &Arc<ObjectRef>, old: Option<&Arc<T>>, new: Option<&Arc<T>>) {
        let values = |object: Option<&Arc<T>>| object.map(|object| (self.keys_of)(object)).unwrap_or_default();
        let (before, after) = (values(old), values(new));
        // Few changes move an object to another place.
        if before == after {
            return;
        }
        for value in before {
            if let Some(set) = self.entries.get_mut(&value) {
                set.remove(key);
                if set.is_empty() {
                    self.entries.remove(&value);
                }
            }
        }
        for value in after {
            self.entries.entry(value).or_default().insert(key.clone());
        }
    }
}

pub(crate) struct Store<T> {
    pub(crate) objects: BTreeMap<Arc<ObjectRef>, Arc<T>>,
    indices: Vec<Index<T>>,
}

impl<T> Store<T> {
    pub(crate) fn new(indices: Vec<Index<T>>) -> Self {
        Self { objects: BTreeMap::new(), indices }
    }

    /// Sets or removes an entry; answers what was there.
    pub(crate) fn put(&mut self, key: &ObjectRef, new: Option<Arc<T>>) -> Option<Arc<T>> {
        let known = self.objects.get_key_value(key).map(|(key, _)| key.clone());
        let key = known.unwrap_or_else(|| Arc::new(key.clone()));
        let old = match &new {
            Some(new) => self.objects.insert(key.clone(), new.clone()),
            None => self.objects.remove(&key),
        };
        for index in &mut self.indices {
            index.replace(&key, old.as_ref(), new.as_ref());
        }
        old
    }

    /// The objects under one index key, in the order of their names.
    pub(crate) fn by(&self, index: &str, value: &str) -> Vec<Arc<T>> {
        let keys = self.indices.iter().find(|known| known.name == index).and_then(|index| index.entries.get(value));
        keys.into_iter().flatten().filter_map(|key| self.objects.get(key).cloned()).collect()
    }

    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        self.objects
            .range(ObjectRef::new(namespace, "")..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| object.clone())
            .collect()
    }
}
