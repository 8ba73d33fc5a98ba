//! Who waits for which keys: one topic for each watched prefix, holding the recent changes under it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::state::{Changes, State, under};

/// Recent changes under one prefix, shared by all watchers of it.
pub(crate) struct Topic {
    pub(crate) prefix: String,
    pub(crate) changed: Notify,
    log: Mutex<Log>,
}

struct Log {
    batches: VecDeque<Changes>,
    /// Every change under the prefix after this revision is in `batches`.
    floor: u64,
}

/// What a topic has for a watcher.
pub(crate) enum Next {
    Changes(Vec<Changes>),
    Nothing,
    /// The position is older than what the topic holds, which starts after this revision.
    Behind(u64),
}

impl Topic {
    /// Changes after a revision; several revisions at once when the watcher is late.
    pub(crate) fn after(&self, revision: u64) -> Next {
        const AT_ONCE: usize = 256;
        let log = self.log.lock();
        if revision < log.floor {
            return Next::Behind(log.floor);
        }
        let start = log.batches.partition_point(|changes| revision_of(changes) <= revision);
        if start == log.batches.len() {
            return Next::Nothing;
        }
        Next::Changes(log.batches.range(start..).take(AT_ONCE).cloned().collect())
    }

    fn trim(&self, floor: u64) {
        let mut log = self.log.lock();
        while log.batches.front().is_some_and(|changes| revision_of(changes) <= floor) {
            log.floor = log.batches.pop_front().map_or(log.floor, |changes| revision_of(&changes));
        }
    }
}

pub(crate) fn revision_of(changes: &[crate::Event]) -> u64 {
    changes.first().map_or(0, |event| event.revision)
}

/// All topics. Found by prefix length first, so that a change costs one lookup for each length in use and not one for
/// each watcher.
#[derive(Default)]
pub(crate) struct Topics {
    by_length: BTreeMap<usize, HashMap<String, Weak<Topic>>>,
}

impl Topics {
    /// The topic of a prefix, filled from the state's history if it is new. The caller holds the state still.
    pub(crate) fn open(&mut self, prefix: &str, state: &State) -> Arc<Topic> {
        let topics = self.by_length.entry(prefix.len()).or_default();
        if let Some(topic) = topics.get(prefix).and_then(Weak::upgrade) {
            return topic;
        }
        topics.retain(|_, topic| topic.strong_count() > 0);
        let topic = Arc::new(Topic {
            prefix: prefix.to_owned(),
            changed: Notify::new(),
            log: Mutex::new(Log { batches: state.changes_after(prefix, state.floor()).collect(), floor: state.floor() }),
        });
        topics.insert(prefix.to_owned(), Arc::downgrade(&topic));
        topic
    }

    /// Hands changes to the topics they belong to and adds those to `woken`.
    pub(crate) fn publish(&self, changes: &Changes, woken: &mut Vec<Arc<Topic>>) {
        let first = woken.len();
        for event in changes.iter() {
            for (&length, topics) in &self.by_length {
                let Some(prefix) = event.key.get(..length) else { continue };
                let Some(topic) = topics.get(prefix).and_then(Weak::upgrade) else { continue };
                if woken[first..].iter().any(|known| Arc::ptr_eq(known, &topic)) {
                    continue;
                }
                if let Some(changes) = under(prefix, changes) {
                    topic.log.lock().batches.push_back(changes);
                }
                woken.push(topic);
            }
        }
    }

    /// Drops what the state's history no longer holds either.
    pub(crate) fn trim(&self, state: &State) {
        for topic in self.all() {
            topic.trim(state.floor());
        }
    }

    pub(crate) fn wake_all(&self) {
        for topic in self.all() {
            topic.changed.notify_waiters();
        }
    }

    /// Throws every topic's changes away: the whole state was replaced.
    pub(crate) fn reset(&self, floor: u64) {
        for topic in self.all() {
            *topic.log.lock() = Log { batches: VecDeque::new(), floor };
        }
        self.wake_all();
    }

    fn all(&self) -> impl Iterator<Item = Arc<Topic>> {
        self.by_length.values().flat_map(|topics| topics.values()).filter_map(Weak::upgrade)
    }
}
