//! Who waits for which keys: one topic for each watched prefix, holding the recent changes under it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Batch;
use crate::pace::{Pace, Told};
use crate::state::{Changes, State, under};

/// Recent changes under one prefix, shared by all watchers of it.
pub(crate) struct Topic {
    pub(crate) prefix: String,
    pub(crate) changed: Notify,
    log: Mutex<Log>,
}

struct Log {
    changes: VecDeque<Changes>,
    /// Every change under the prefix after this revision is in `changes`.
    floor: u64,
    /// Changes after this revision are not told yet.
    told: u64,
    pace: Pace,
    watchers: usize,
    /// About how many of them have still to take what was told last.
    behind: usize,
    /// What a watcher got of late, and how many may still want the same.
    shared: Option<(Arc<Batch>, usize)>,
}

impl Log {
    fn new(changes: VecDeque<Changes>, floor: u64) -> Self {
        let told = changes.back().map_or(floor, |changes| revision_of(changes));
        Self { changes, floor, told, pace: Pace::default(), watchers: 0, behind: 0, shared: None }
    }

    /// Watchers may have all changes that are there.
    fn tell(&mut self) {
        self.told = self.changes.back().map_or(self.told, |changes| revision_of(changes));
        self.behind = self.watchers;
    }

    /// Where the changes after a revision begin; `None` when they are not all there.
    fn start(&self, revision: u64) -> Option<usize> {
        let start = || self.changes.partition_point(|changes| revision_of(changes) <= revision);
        (revision >= self.floor).then(start)
    }

    /// These changes, in a batch that all watchers of them share.
    fn batch(&mut self, from: usize, until: usize) -> Arc<Batch> {
        let revision = |changes: Option<&Changes>| changes.map_or(0, |changes| revision_of(changes));
        let span = (revision(self.changes.get(from)), revision(self.changes.get(until.saturating_sub(1))));
        if let Some((batch, left)) = self.shared.as_mut().filter(|(batch, _)| batch.span() == span) {
            let batch = batch.clone();
            *left -= 1;
            if *left == 0 {
                self.shared = None;
            }
            return batch;
        }
        let batch = Batch::new(self.changes.range(from..until));
        self.shared = (self.watchers > 1).then(|| (batch.clone(), self.watchers - 1));
        batch
    }
}

/// What a topic has for a watcher.
pub(crate) enum Next {
    Changes(Arc<Batch>),
    Nothing,
    /// Changes that are told in a moment.
    Held,
    /// The position is older than what the topic holds, which starts after this revision.
    Behind(u64),
}

impl Topic {
    /// Changes after a revision; several revisions at once when the watcher is late.
    pub(crate) fn after(&self, revision: u64) -> Next {
        const AT_ONCE: usize = 256;
        let mut log = self.log.lock();
        let Some(start) = log.start(revision) else { return Next::Behind(log.floor) };
        if start == log.changes.len() {
            return Next::Nothing;
        }
        let told = log.changes.partition_point(|changes| revision_of(changes) <= log.told);
        if start >= told {
            return Next::Held;
        }
        let until = told.min(start + AT_ONCE);
        if until == told {
            log.behind = log.behind.saturating_sub(1);
        }
        Next::Changes(log.batch(start, until))
    }

    /// Lets watchers have what was published: now, or in a moment if they are many and were woken just now.
    pub(crate) fn tell(self: &Arc<Self>) {
        let (told, executor) = {
            let mut log = self.log.lock();
            let (watchers, executor) = (log.watchers, Handle::try_current().ok());
            // Without an executor there is nobody to see to it later.
            let told = executor.as_ref().map_or(Told::Now, |_| log.pace.changed(watchers, Instant::now));
            if told == Told::Now {
                log.tell();
            }
            (told, executor)
        };
        match (told, executor) {
            (Told::Now, _) => self.changed.notify_waiters(),
            (Told::At(when), Some(executor)) => {
                let topic = self.clone();
                executor.spawn(async move {
                    let mut rests_until = Some(when);
                    while let Some(until) = rests_until {
                        tokio::time::sleep_until(until).await;
                        rests_until = topic.tell_unless_behind();
                    }
                    topic.changed.notify_waiters();
                });
            }
            (Told::At(_) | Told::WithOthers, _) => {}
        }
    }

    /// Lets watchers have what was published, unless they rest on until a time.
    fn tell_unless_behind(&self) -> Option<Instant> {
        let (mut log, now) = (self.log.lock(), Instant::now());
        let wait = log.changes.len() - log.changes.partition_point(|changes| revision_of(changes) <= log.told);
        let rests_until = log.pace.rests_on(wait, log.behind, log.watchers, now);
        if rests_until.is_none() {
            log.tell();
            log.pace.told(now);
        }
        rests_until
    }

    /// Whether there is nothing after a revision.
    pub(crate) fn is_quiet_after(&self, revision: u64) -> bool {
        let log = self.log.lock();
        log.start(revision) == Some(log.changes.len())
    }

    /// One watcher more, or one less.
    pub(crate) fn joined(&self) {
        self.log.lock().watchers += 1;
    }

    pub(crate) fn left(&self) {
        let mut log = self.log.lock();
        log.watchers -= 1;
        if log.watchers == 0 {
            log.shared = None;
        }
    }

    fn trim(&self, floor: u64) {
        let mut log = self.log.lock();
        while log.changes.front().is_some_and(|changes| revision_of(changes) <= floor) {
            log.floor = log.changes.pop_front().map_or(log.floor, |changes| revision_of(&changes));
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
            log: Mutex::new(Log::new(state.changes_after(prefix, state.floor()).collect(), state.floor())),
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
                    topic.log.lock().changes.push_back(changes);
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
            let mut log = topic.log.lock();
            let pace = std::mem::take(&mut log.pace);
            *log = Log { watchers: log.watchers, pace, ..Log::new(VecDeque::new(), floor) };
        }
        self.wake_all();
    }

    fn all(&self) -> impl Iterator<Item = Arc<Topic>> {
        self.by_length.values().flat_map(|topics| topics.values()).filter_map(Weak::upgrade)
    }
}
