//! What a watch cache holds: the entries and their indices.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use mizzen_api::ObjectRef;

/// Gives the index keys of an object.
pub(crate) type IndexFn<T> = Box<dyn Fn(&T) -> Vec<String> + Send + Sync>;

/// The objects under one index key. Most keys find one: a set of its own would cost more than all else about it.
enum Keys {
    One(Arc<ObjectRef>),
    Many(BTreeSet<Arc<ObjectRef>>),
}

impl Keys {
    fn insert(&mut self, key: &Arc<ObjectRef>) {
        match self {
            Self::One(known) if *known == *key => {}
            Self::One(known) => *self = Self::Many([known.clone(), key.clone()].into()),
            Self::Many(keys) => {
                keys.insert(key.clone());
            }
        }
    }

    /// Answers whether none is left.
    fn remove(&mut self, key: &ObjectRef) -> bool {
        match self {
            Self::One(known) => **known == *key,
            Self::Many(keys) => {
                keys.remove(key);
                keys.is_empty()
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Arc<ObjectRef>> {
        let (one, many) = match self {
            Self::One(key) => (Some(key), None),
            Self::Many(keys) => (None, Some(keys)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

pub(crate) struct Index<T> {
    name: &'static str,
    keys_of: IndexFn<T>,
    entries: HashMap<Box<str>, Keys>,
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
            if self.entries.get_mut(&*value).is_some_and(|keys| keys.remove(key)) {
                self.entries.remove(&*value);
            }
        }
        for value in after {
            self.entries.entry(value.into()).and_modify(|keys| keys.insert(key)).or_insert_with(|| Keys::One(key.clone()));
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

    /// Sets an entry; answers what was there.
    pub(crate) fn put(&mut self, key: &Arc<ObjectRef>, new: &Arc<T>) -> Option<Arc<T>> {
        // The key that is there already is shared with the indices.
        let key = self.objects.get_key_value(&**key).map_or(key, |(known, _)| known).clone();
        let old = self.objects.insert(key.clone(), new.clone());
        self.indices.iter_mut().for_each(|index| index.replace(&key, old.as_ref(), Some(new)));
        old
    }

    /// Removes an entry; answers what was there.
    pub(crate) fn remove(&mut self, key: &ObjectRef) -> Option<Arc<T>> {
        let (key, old) = self.objects.remove_entry(key)?;
        self.indices.iter_mut().for_each(|index| index.replace(&key, Some(&old), None));
        Some(old)
    }

    /// The objects under one index key, in the order of their names.
    pub(crate) fn by(&self, index: &str, value: &str) -> Vec<Arc<T>> {
        let keys = self.indices.iter().find(|known| known.name == index).and_then(|index| index.entries.get(value));
        keys.into_iter().flat_map(Keys::iter).filter_map(|key| self.objects.get(key).cloned()).collect()
    }

    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        self.objects
            .range(ObjectRef::new(namespace, "")..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| object.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn under(store: &Store<Vec<String>>, value: &str) -> Vec<Vec<String>> {
        store.by("words", value).iter().map(|found| (**found).clone()).collect()
    }

    #[test]
    fn an_index_finds_one_object_and_many_and_forgets_them() {
        let mut store = Store::new(vec![Index::new("words", Box::new(|words: &Vec<String>| words.clone()))]);
        let words = |text: &str| Arc::new(text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let [a, b] = ["a", "b"].map(|name| Arc::new(ObjectRef::cluster(name)));
        assert_eq!(store.put(&b, &words("x y")), None);
        assert_eq!(under(&store, "x"), [["x", "y"]]);
        assert_eq!(store.put(&a, &words("x x")), None);
        assert_eq!(under(&store, "x"), [["x", "x"], ["x", "y"]]);
        // Another key with the same names is the same.
        assert_eq!(store.put(&Arc::new((*b).clone()), &words("z y")), Some(words("x y")));
        assert_eq!(
            (under(&store, "x"), under(&store, "y"), under(&store, "z").len()),
            (vec![vec!["x".into(); 2]], under(&store, "z"), 1)
        );
        assert!(Arc::ptr_eq(store.objects.keys().nth(1).expect("b is there"), &b));
        assert_eq!((store.remove(&a), store.remove(&a)), (Some(words("x x")), None));
        assert_eq!((under(&store, "x").len(), store.indices[0].entries.len()), (0, 2));
    }
}
