//! The state as readers share it: reads, watches, and the one writer that applies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mizzen_api::Object;
use parking_lot::{Mutex, RwLock};

use crate::archive::Archive;
use crate::state::{Changes, Saved, State, weight};
use crate::topics::Topics;
use crate::watcher::Watcher;
use crate::{Range, RangeOptions, StoreError, Txn, TxnOutcome, Watch};

/// A state with its readers. Writers call [`Served::apply`] one at a time; anyone reads.
pub struct Served {
    state: RwLock<State>,
    /// The state's revision, for those who need no more of it: watchers do not queue up before the state for it.
    newest: AtomicU64,
    topics: Mutex<Topics>,
    archive: Option<Arc<dyn Archive>>,
    /// Changes after this revision must stay in memory: the archive does not have them yet.
    archived: AtomicU64,
    history_bytes: usize,
    history_written: AtomicU64,
    closed: AtomicBool,
}

impl Served {
    /// Serves a state. Without an archive, history beyond `history_bytes` counts as compacted.
    pub fn new(saved: Saved, history_bytes: usize, archive: Option<Arc<dyn Archive>>) -> Arc<Self> {
        let archived = if archive.is_some() { saved.revision } else { u64::MAX };
        Arc::new(Self {
            newest: AtomicU64::new(saved.revision),
            state: RwLock::new(State::restore(saved)),
            topics: Mutex::default(),
            archive,
            archived: AtomicU64::new(archived),
            history_bytes,
            history_written: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        })
    }

    /// Applies transactions in order, visible to readers all at once, and tells the watchers.
    pub fn apply(&self, txns: &[Txn]) -> Vec<(TxnOutcome, Option<Changes>)> {
        let mut woken = Vec::new();
        let results: Vec<_> = {
            let mut state = self.state.write();
            let topics = self.topics.lock();
            let results = txns.iter().map(|txn| state.apply(txn)).collect::<Vec<_>>();
            for changes in results.iter().filter_map(|(_, changes)| changes.as_ref()) {
                topics.publish(changes, &mut woken);
                self.history_written.fetch_add(weight(changes) as u64, Ordering::Relaxed);
            }
            let floor = state.floor();
            state.trim(self.history_bytes, self.archived.load(Ordering::Acquire));
            if state.floor() != floor {
                topics.trim(&state);
            }
            // Once everything up to it is published, and before anyone can read it in the state.
            self.newest.store(state.revision(), Ordering::Release);
            results
        };
        for topic in woken {
            topic.tell();
        }
        results
    }

    /// Forgets changes up to a revision. The archive, if there is one, is told by its owner.
    pub fn compact(&self, revision: u64) {
        let mut state = self.state.write();
        state.compact(revision);
        self.topics.lock().trim(&state);
    }

    /// The archive has everything up to `revision`, which memory may now forget.
    pub fn archived(&self, revision: u64) {
        self.archived.fetch_max(revision, Ordering::AcqRel);
    }

    /// Replaces everything (a snapshot came from the leader). Watchers that are behind it must list again.
    pub fn replace(&self, saved: Saved) {
        let mut state = self.state.write();
        self.archived.store(saved.revision, Ordering::Release);
        *state = State::restore(saved);
        // Older positions go to the archive, which has the leader's history.
        self.topics.lock().reset(state.revision());
        self.newest.store(state.revision(), Ordering::Release);
    }

    /// Ends all watches with [`StoreError::Unavailable`].
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.topics.lock().wake_all();
    }

    /// Whether [`Served::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// As [`crate::Store::get`].
    pub fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.state.read().get(key).cloned()
    }

    /// As [`crate::Store::revision`].
    pub fn revision(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    /// The oldest revision that reads may name.
    pub fn compacted(&self) -> u64 {
        self.state.read().compacted()
    }

    /// Bytes of history applied since this was opened.
    pub fn history_written(&self) -> u64 {
        self.history_written.load(Ordering::Relaxed)
    }

    /// As [`crate::Store::range`].
    ///
    /// # Errors
    /// As [`crate::Store::range`], and [`StoreError::Io`] when the archive cannot be read.
    pub fn range(&self, prefix: &str, options: &RangeOptions) -> Result<Range, StoreError> {
        let floor = {
            let state = self.state.read();
            match state.range(prefix, options)? {
                Some(range) => return Ok(range),
                None => state.floor(),
            }
        };
        let asked = options.revision.unwrap_or_default();
        match &self.archive {
            Some(archive) => archive.range(prefix, options, asked),
            None => Err(StoreError::Compacted { asked, oldest: floor }),
        }
    }

    /// As [`crate::Store::watch`].
    ///
    /// # Errors
    /// As [`crate::Store::watch`].
    pub fn watch(self: &Arc<Self>, prefix: &str, after: u64) -> Result<Box<dyn Watch>, StoreError> {
        let state = self.state.read();
        let oldest = if self.archive.is_some() { state.compacted() } else { state.floor() };
        if after < oldest {
            return Err(StoreError::Compacted { asked: after, oldest });
        }
        let topic = self.topics.lock().open(prefix, &state);
        drop(state);
        Ok(Box::new(Watcher::new(self.clone(), topic, after, self.archive.clone())))
    }
}
