//! What a table should have: the elements of all that want some, and what changes. Pure.

use std::collections::BTreeMap;

/// What is said of each element: a map's value, nothing for a set's, a chain's rules.
pub type Elements<K> = BTreeMap<K, String>;
/// What was and what is to be; never both alike.
pub type Changes<K> = BTreeMap<K, (Option<String>, Option<String>)>;

/// The elements that holders want. Where two want the same one, the first has it, and the second once the first wants it no
/// more.
#[derive(Debug)]
pub struct Model<K, H> {
    wanted: BTreeMap<K, BTreeMap<H, String>>,
    holders: BTreeMap<H, Elements<K>>,
}

impl<K, H> Default for Model<K, H> {
    fn default() -> Self {
        Self { wanted: BTreeMap::new(), holders: BTreeMap::new() }
    }
}

impl<K: Ord + Clone, H: Ord + Clone> Model<K, H> {
    /// What a holder wants from now on; empty when it is gone.
    pub fn put(&mut self, holder: &H, elements: Elements<K>, changes: &mut Changes<K>) {
        let before = self.holders.remove(holder).unwrap_or_default();
        for (key, _) in before.iter().filter(|(key, _)| !elements.contains_key(key)) {
            self.touch(key, changes, |holders| drop(holders.remove(holder)));
        }
        for (key, value) in elements.iter().filter(|(key, value)| before.get(key) != Some(value)) {
            self.touch(key, changes, |holders| drop(holders.insert(holder.clone(), value.clone())));
        }
        if !elements.is_empty() {
            self.holders.insert(holder.clone(), elements);
        }
    }

    /// All that the table should have.
    pub fn elements(&self) -> Elements<K> {
        self.wanted.iter().filter_map(|(key, holders)| Some((key.clone(), holders.values().next()?.clone()))).collect()
    }

    /// Those that want something.
    pub fn holders(&self) -> impl Iterator<Item = &H> {
        self.holders.keys()
    }

    fn touch(&mut self, key: &K, changes: &mut Changes<K>, change: impl FnOnce(&mut BTreeMap<H, String>)) {
        let holders = self.wanted.entry(key.clone()).or_default();
        let before = holders.values().next().cloned();
        change(holders);
        let after = holders.values().next().cloned();
        if holders.is_empty() {
            self.wanted.remove(key);
        }
        note(changes, key, before, after);
    }
}

/// Several changes of one element are one.
fn note<K: Ord + Clone>(changes: &mut Changes<K>, key: &K, before: Option<String>, after: Option<String>) {
    let first = changes.remove(key).map_or(before, |(first, _)| first);
    if first != after {
        changes.insert(key.clone(), (first, after));
    }
}

/// What makes `wanted` of what `is`.
pub fn difference<K: Ord + Clone>(is: &Elements<K>, wanted: &Elements<K>) -> Changes<K> {
    let gone = is.iter().filter(|(key, _)| !wanted.contains_key(key)).map(|(key, was)| (key.clone(), (Some(was.clone()), None)));
    let new = wanted.iter().filter_map(|(key, value)| {
        let was = is.get(key);
        (was != Some(value)).then(|| (key.clone(), (was.cloned(), Some(value.clone()))))
    });
    gone.chain(new).collect()
}
