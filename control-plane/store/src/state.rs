//! The state machine in memory: present documents, and the changes that led to them. Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, VecDeque};
use std::convert::identity;
use std::ops::Bound;
use std::sync::Arc;

use mizzen_api::Object;

use crate::{Event, Range, RangeOptions, StoreError, Txn, TxnOutcome};

/// The net changes of one revision, at most one event for a key.
pub type Changes = Arc<[Event]>;

/// What an event costs beyond its key and document: the event, its share of the deque, the object's own fields.
const EVENT_OVERHEAD: usize = 256;

/// Documents by key at the newest revision, and as much history as fits the caller's bound.
#[derive(Default)]
pub struct State {
    present: BTreeMap<Arc<str>, Arc<Object>>,
    revision: u64,
    compacted: u64,
    history: VecDeque<Changes>,
    history_bytes: usize,
    /// Every change after this revision is in `history`.
    floor: u64,
}

/// A state as it was saved.
#[derive(Default)]
pub struct Saved {
    pub present: Vec<(Arc<str>, Arc<Object>)>,
    pub revision: u64,
    pub compacted: u64,
    /// Oldest first: every change after `floor`.
    pub history: Vec<Changes>,
    pub floor: u64,
}

impl State {
    pub fn restore(saved: Saved) -> Self {
        let history_bytes = saved.history.iter().map(|changes| weight(changes)).sum();
        Self {
            present: saved.present.into_iter().collect(),
            revision: saved.revision,
            compacted: saved.compacted,
            history: saved.history.into(),
            history_bytes,
            floor: saved.floor.max(saved.compacted),
        }
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The oldest revision that reads may name.
    pub fn compacted(&self) -> u64 {
        self.compacted
    }

    /// Every change after this revision is in memory.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    pub fn len(&self) -> usize {
        self.present.len()
    }

    pub fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    pub fn get(&self, key: &str) -> Option<&Arc<Object>> {
        self.present.get(key)
    }

    /// Applies a transaction. Depends on nothing but this state and `txn`, so that every server comes to the same result.
    ///
    /// Puts count before deletes, and a later put of a key replaces an earlier one. A transaction that changes nothing
    /// takes no revision.
    pub fn apply(&mut self, txn: &Txn) -> (TxnOutcome, Option<Changes>) {
        for compare in &txn.compares {
            let current = self.present.get(compare.key.as_str());
            if current.map_or(0, |object| object.revision()) != compare.revision {
                return (TxnOutcome::Conflict { key: compare.key.clone(), current: current.cloned() }, None);
            }
        }
        let revision = self.revision + 1;
        let mut events: Vec<Event> = Vec::with_capacity(txn.puts.len() + txn.deletes.len());
        let mut objects = Vec::with_capacity(txn.puts.len());
        for (key, encoded) in &txn.puts {
            let object = Arc::new(Object::new(encoded.at_revision(revision), revision));
            objects.push(object.clone());
            self.change(&mut events, revision, key, Some(object));
        }
        for key in &txn.deletes {
            self.change(&mut events, revision, key, None);
        }
        // What was created and deleted by the same transaction was never there.
        events.retain(|event| event.object.is_some() || event.previous.is_some());
        if events.is_empty() {
            return (TxnOutcome::Applied { revision: self.revision, objects }, None);
        }
        self.revision = revision;
        let changes: Changes = events.into();
        self.history_bytes += weight(&changes);
        self.history.push_back(changes.clone());
        (TxnOutcome::Applied { revision, objects }, Some(changes))
    }

    fn change(&mut self, events: &mut Vec<Event>, revision: u64, key: &str, object: Option<Arc<Object>>) {
        if let Some(event) = events.iter_mut().find(|event| &*event.key == key) {
            match &object {
                Some(object) => self.present.insert(event.key.clone(), object.clone()),
                None => self.present.remove(key),
            };
            event.object = object;
            return;
        }
        let known = self.present.get_key_value(key).map(|(key, previous)| (key.clone(), previous.clone()));
        let (key, previous) = match known {
            Some((key, previous)) => (key, Some(previous)),
            None if object.is_none() => return,
            None => (Arc::from(key), None),
        };
        match &object {
            Some(object) => self.present.insert(key.clone(), object.clone()),
            None => self.present.remove(&key),
        };
        events.push(Event { key, revision, object, previous });
    }

    /// Forgets changes up to `revision` (bounded by the present one).
    pub fn compact(&mut self, revision: u64) {
        let revision = revision.min(self.revision);
        self.compacted = self.compacted.max(revision);
        self.forget_while(|state| state.next_revision().is_some_and(|next| next <= revision));
        self.floor = self.floor.max(self.compacted);
    }

    /// Drops the oldest changes while history is larger than `bytes`, but none after `kept_elsewhere`.
    pub fn trim(&mut self, bytes: usize, kept_elsewhere: u64) {
        self.forget_while(|state| {
            state.history_bytes > bytes && state.next_revision().is_some_and(|next| next <= kept_elsewhere)
        });
    }

    fn next_revision(&self) -> Option<u64> {
        self.history.front().and_then(|changes| changes.first()).map(|event| event.revision)
    }

    fn forget_while(&mut self, condition: impl Fn(&Self) -> bool) {
        while condition(self) {
            let Some(changes) = self.history.pop_front() else { return };
            self.history_bytes = self.history_bytes.saturating_sub(weight(&changes));
            self.floor = self.floor.max(changes.first().map_or(0, |event| event.revision));
        }
    }

    /// The changes after `after` under `prefix`, one batch for each revision that has any.
    pub fn changes_after(&self, prefix: &str, after: u64) -> impl Iterator<Item = Changes> {
        let start = self.history.partition_point(|changes| changes.first().is_some_and(|event| event.revision <= after));
        self.history.range(start..).filter_map(move |changes| under(prefix, changes))
    }

    /// Keys under a prefix, now or at a revision whose later changes are all in memory; `Ok(None)` when they are not.
    ///
    /// # Errors
    /// As [`crate::Store::range`].
    pub fn range(&self, prefix: &str, options: &RangeOptions) -> Result<Option<Range>, StoreError> {
        let revision = options.revision.unwrap_or(self.revision);
        if revision > self.revision {
            return Err(StoreError::Future { asked: revision, newest: self.revision });
        }
        if revision < self.compacted {
            return Err(StoreError::Compacted { asked: revision, oldest: self.compacted });
        }
        if revision < self.floor {
            return Ok(None);
        }
        let present = self.under(prefix, options.start_after.as_deref());
        let shared = |(key, object): (&Arc<str>, &Arc<Object>)| (key.clone(), object.clone());
        if revision == self.revision {
            return Ok(Some(page(present, shared, options.limit, revision)));
        }
        // Undoing the later changes, newest first, leads back to the documents of the revision.
        let mut past: BTreeMap<Arc<str>, Arc<Object>> = present.map(shared).collect();
        let newer = self.history.iter().rev().take_while(|c| c.first().is_some_and(|e| e.revision > revision));
        for event in newer.flat_map(|changes| changes.iter()) {
            let asked = event.key.starts_with(prefix) && options.start_after.as_deref().is_none_or(|key| &*event.key > key);
            match (&event.previous, asked) {
                (_, false) => None,
                (Some(previous), true) => past.insert(event.key.clone(), previous.clone()),
                (None, true) => past.remove(&event.key),
            };
        }
        Ok(Some(page(past.into_iter(), identity, options.limit, revision)))
    }

    fn under(&self, prefix: &str, after: Option<&str>) -> impl Iterator<Item = (&Arc<str>, &Arc<Object>)> {
        let end = after_all(prefix);
        let bounds = match (after, end.as_deref()) {
            // Nothing is left.
            (Some(key), Some(end)) if key >= end => (Bound::Included(end), Bound::Excluded(end)),
            (Some(key), end) if key >= prefix => (Bound::Excluded(key), end.map_or(Bound::Unbounded, Bound::Excluded)),
            (_, end) => (Bound::Included(prefix), end.map_or(Bound::Unbounded, Bound::Excluded)),
        };
        self.present.range::<str, _>(bounds)
    }
}

/// The first key after all that have a prefix; `None` when there is no such key. With it as a bound, counting the keys of a
/// collection looks at none of them.
fn after_all(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        if let Some(next) = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

/// The first `limit` items (0: all), and how many more there are; only the first are made the answer's `own`.
pub(crate) fn page<T>(
    mut items: impl Iterator<Item = T>,
    own: impl FnMut(T) -> (Arc<str>, Arc<Object>),
    limit: usize,
    revision: u64,
) -> Range {
    let limit = if limit == 0 { usize::MAX } else { limit };
    let first: Vec<_> = items.by_ref().take(limit).map(own).collect();
    Range { items: first, revision, remaining: items.count() }
}

/// The events of `changes` under a prefix; shares the slice when they all are.
pub(crate) fn under(prefix: &str, changes: &Changes) -> Option<Changes> {
    let matching = changes.iter().filter(|event| event.key.starts_with(prefix)).count();
    match matching {
        0 => None,
        all if all == changes.len() => Some(changes.clone()),
        _ => Some(changes.iter().filter(|event| event.key.starts_with(prefix)).cloned().collect()),
    }
}

pub(crate) fn weight(changes: &[Event]) -> usize {
    changes
        .iter()
        .map(|event| event.key.len() + EVENT_OVERHEAD + event.object.as_ref().map_or(0, |object| object.bytes().len()))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(state: &State, prefix: &str, after: Option<&str>) -> Vec<String> {
        state.under(prefix, after).map(|(key, _)| key.to_string()).collect()
    }

    #[test]
    fn a_prefix_finds_its_keys_and_no_others() {
        let mut state = State::default();
        for key in ["/a", "/a/1", "/a/2", "/a/\u{d7ff}", "/a/\u{10ffff}x", "/a0", "/b/1"] {
            state.present.insert(key.into(), Arc::new(Object::new("{}", 1)));
        }
        assert_eq!(keys(&state, "/a/", None), ["/a/1", "/a/2", "/a/\u{d7ff}", "/a/\u{10ffff}x"]);
        assert_eq!(keys(&state, "/a/", Some("/a/2")), ["/a/\u{d7ff}", "/a/\u{10ffff}x"]);
        assert_eq!(keys(&state, "/a/\u{d7ff}", None), ["/a/\u{d7ff}"]);
        assert_eq!(keys(&state, "/a/\u{10ffff}", None), ["/a/\u{10ffff}x"]);
        // A key from elsewhere: before, between or after.
        assert_eq!(keys(&state, "/a/", Some("/")).len(), 4);
        assert!(keys(&state, "/a/", Some("/a0")).is_empty());
        assert!(keys(&state, "/a/", Some("/b/1")).is_empty());
        assert_eq!(keys(&state, "", None).len(), 7);
        assert_eq!(keys(&state, "", Some("/a0")), ["/b/1"]);
    }
}
