//! A work queue: each key at most once, never processed by two workers at a time, with delays and per-key backoff.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use mizzen_api::ObjectRef;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::{Backoff, Vitals};

/// A shared handle; clones see the same queue. Keys carry no payload: what is to be done is read from state.
pub struct Queue<K = ObjectRef> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

struct Shared<K> {
    state: Mutex<State<K>>,
    wake: Notify,
    backoff: Backoff,
}

struct State<K> {
    ready: VecDeque<K>,
    /// Keys in `ready`, and keys in `active` that were added again meanwhile, and since when they are.
    dirty: HashMap<K, Instant>,
    /// And since when they are worked on.
    active: HashMap<K, Instant>,
    delayed: BinaryHeap<Reverse<(Instant, K)>>,
    /// The earliest time each delayed key is due; heap entries that say another time are stale.
    due: HashMap<K, Instant>,
    failures: HashMap<K, u32>,
    closed: bool,
    vitals: Vitals,
}

impl<K: Clone + Eq + Hash + Ord + Send> Default for Queue<K> {
    fn default() -> Self {
        Self::new(Backoff::default())
    }
}

impl<K: Clone + Eq + Hash + Ord + Send> Queue<K> {
    pub fn new(backoff: Backoff) -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashMap::new(),
            active: HashMap::new(),
            delayed: BinaryHeap::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            closed: false,
            vitals: Vitals::default(),
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), wake: Notify::new(), backoff }) }
    }

    /// Makes a key ready now. A key being processed becomes ready again when it is done.
    pub fn add(&self, key: K) {
        self.shared.state.lock().push(key);
        self.shared.wake.notify_one();
    }

    /// Makes a key ready after a delay; of several delays the shortest counts.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let at = Instant::now() + delay;
        let mut state = self.shared.state.lock();
        if state.due.get(&key).is_none_or(|due| at < *due) {
            state.due.insert(key.clone(), at);
            state.delayed.push(Reverse((at, key)));
        }
        drop(state);
        self.shared.wake.notify_one();
    }

    /// Makes a key ready after a wait that doubles each time until [`Queue::forget`].
    pub fn retry(&self, key: K) {
        let failures = {
            let mut state = self.shared.state.lock();
            state.vitals.retries += 1;
            let count = state.failures.entry(key.clone()).or_insert(0);
            let failures = *count;
            *count = count.saturating_add(1);
            failures
        };
        self.add_after(key, self.shared.backoff.delay(failures));
    }

    /// Resets a key's backoff.
    pub fn forget(&self, key: &K) {
        self.shared.state.lock().failures.remove(key);
    }

    /// The next key, kept from other workers until [`Queue::done`]; `None` once the queue is closed.
    pub async fn next(&self) -> Option<K> {
        loop {
            let notified = self.shared.wake.notified();
            let deadline = {
                let mut state = self.shared.state.lock();
                if state.closed {
                    return None;
                }
                state.move_due(Instant::now());
                if let Some(key) = state.pop() {
                    let more = !state.ready.is_empty() || !state.due.is_empty();
                    drop(state);
                    if more {
                        // This worker no longer watches the timers: another one has to.
                        self.shared.wake.notify_one();
                    }
                    return Some(key);
                }
                state.delayed.peek().map(|Reverse((at, _))| *at)
            };
            match deadline {
                Some(at) => tokio::select! {
                    () = notified => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => notified.await,
            }
        }
    }

    /// Ends the processing of a key; it becomes ready at once if it was added meanwhile.
    pub fn done(&self, key: &K) {
        let mut state = self.shared.state.lock();
        if let Some(began) = state.active.remove(key) {
            state.vitals.worked.note(began.elapsed());
        }
        if state.dirty.contains_key(key) {
            state.ready.push_back(key.clone());
            drop(state);
            self.shared.wake.notify_one();
        }
    }

    /// Ends all waiting and future [`Queue::next`] calls.
    pub fn close(&self) {
        self.shared.state.lock().closed = true;
        self.shared.wake.notify_waiters();
        self.shared.wake.notify_one();
    }

    /// Keys ready now, delayed ones not counted.
    pub fn len(&self) -> usize {
        self.shared.state.lock().ready.len()
    }

    /// What it did, and does now.
    pub fn vitals(&self) -> Vitals {
        let state = self.shared.state.lock();
        let under_way = || state.active.values().map(Instant::elapsed);
        Vitals {
            depth: state.ready.len(),
            unfinished: under_way().sum(),
            longest: under_way().max().unwrap_or_default(),
            ..state.vitals.clone()
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Clone + Eq + Hash + Ord> State<K> {
    fn push(&mut self, key: K) {
        if self.closed || self.dirty.contains_key(&key) {
            return;
        }
        self.dirty.insert(key.clone(), Instant::now());
        self.vitals.adds += 1;
        if !self.active.contains_key(&key) {
            self.ready.push_back(key);
        }
    }

    fn pop(&mut self) -> Option<K> {
        let key = self.ready.pop_front()?;
        let now = Instant::now();
        if let Some(added) = self.dirty.remove(&key) {
            self.vitals.waited.note(now - added);
        }
        self.active.insert(key.clone(), now);
        Some(key)
    }

    fn move_due(&mut self, now: Instant) {
        while let Some(Reverse((at, _))) = self.delayed.peek() {
            if *at > now {
                break;
            }
            let Some(Reverse((at, key))) = self.delayed.pop() else { break };
            if self.due.get(&key) == Some(&at) {
                self.due.remove(&key);
                self.push(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue<&'static str> {
        Queue::new(Backoff::new(Duration::from_secs(1), Duration::from_secs(4)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_added_twice_is_processed_once() {
        let queue = queue();
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!(queue.next().await, Some("a"));
        queue.done(&"a");
        assert_eq!(queue.next().await, Some("b"));
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_being_processed_waits_until_it_is_done() {
        let queue = queue();
        queue.add("a");
        assert_eq!(queue.next().await, Some("a"));
        queue.add("a");
        assert!(tokio::time::timeout(Duration::from_secs(60), queue.next()).await.is_err());
        queue.done(&"a");
        assert_eq!(queue.next().await, Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_queue_does_is_counted() {
        let queue = queue();
        queue.add("a");
        queue.add("a");
        tokio::time::advance(Duration::from_secs(5)).await;
        queue.add("b");
        assert_eq!(queue.next().await, Some("a"));
        tokio::time::advance(Duration::from_millis(50)).await;
        let vitals = queue.vitals();
        assert_eq!((vitals.depth, vitals.adds, vitals.retries), (1, 2, 0));
        assert_eq!((vitals.unfinished, vitals.longest), (Duration::from_millis(50), Duration::from_millis(50)));
        queue.retry("a");
        queue.done(&"a");
        let vitals = queue.vitals();
        assert_eq!((vitals.adds, vitals.retries, vitals.unfinished), (2, 1, Duration::ZERO));
        assert_eq!((vitals.waited.counts[9], vitals.waited.sum), (1, Duration::from_secs(5)));
        assert_eq!((vitals.worked.counts[7], vitals.worked.sum), (1, Duration::from_millis(50)));
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_delays_the_shorter_counts_and_fires_once() {
        let queue = queue();
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(30));
        queue.add_after("a", Duration::from_secs(10));
        assert_eq!(queue.next().await, Some("a"));
        assert_eq!(start.elapsed().as_secs(), 10);
        queue.done(&"a");
        assert!(tokio::time::timeout(Duration::from_secs(60), queue.next()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn retries_back_off_to_the_cap_until_forgotten() {
        let queue = queue();
        let mut waits = Vec::new();
        for round in 0..5 {
            if round == 4 {
                queue.forget(&"a");
            }
            let start = Instant::now();
            queue.retry("a");
            queue.next().await;
            queue.done(&"a");
            waits.push(start.elapsed().as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 4, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_worker_takes_over_the_timers_of_a_busy_one() {
        let queue = queue();
        let other = queue.clone();
        let second = tokio::spawn(async move { other.next().await });
        tokio::task::yield_now().await;
        queue.add_after("late", Duration::from_secs(5));
        queue.add("busy");
        let first = queue.next().await;
        let second = tokio::time::timeout(Duration::from_secs(30), second).await.expect("the delayed key fires").expect("runs");
        let mut both = [first, second];
        both.sort();
        assert_eq!(both, [Some("busy"), Some("late")]);
    }

    #[tokio::test(start_paused = true)]
    async fn closing_ends_the_waiting_workers() {
        let queue = queue();
        let workers: Vec<_> = (0..3)
            .map(|_| {
                tokio::spawn({
                    let queue = queue.clone();
                    async move { queue.next().await }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        queue.close();
        for worker in workers {
            assert_eq!(worker.await.expect("runs"), None);
        }
    }
}
