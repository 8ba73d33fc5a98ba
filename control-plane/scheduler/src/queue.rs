//! Which pod is next: ready ones by priority and age, failed ones after a wait, unschedulable ones when something
//! happened that may have made room.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use mizzen_api::ObjectRef;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use mizzen_reconcile::Backoff;

use crate::framework::ClusterEvent;

const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
/// An unschedulable pod is tried again after so long, whatever happened or did not.
const STALE: Duration = Duration::from_secs(300);

/// Priority first, then age, then name.
type Order = (Reverse<i32>, Option<Timestamp>, ObjectRef);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Active(Order),
    Backoff,
    Unschedulable {
        wakes_on: HashSet<ClusterEvent>,
    },
    /// Popped; `again` when it changed meanwhile.
    InFlight {
        since_event: u64,
        again: bool,
    },
}

struct Entry {
    priority: i32,
    created: Option<Timestamp>,
    attempts: u32,
    /// When backoff ends, or an unschedulable pod gets stale.
    due: Instant,
    place: Place,
}

#[derive(Default)]
struct State {
    entries: HashMap<ObjectRef, Entry>,
    active: BTreeSet<Order>,
    /// Backoff and unschedulable pods by when they are due.
    waiting: BTreeSet<(Instant, ObjectRef)>,
    /// Unschedulable pods by what they wake on.
    hoping: HashMap<ClusterEvent, BTreeSet<ObjectRef>>,
    /// Counts events; the number of the last one of each kind.
    events: u64,
    last: HashMap<ClusterEvent, u64>,
}

#[derive(Default)]
pub(crate) struct SchedulingQueue {
    state: Mutex<State>,
    wake: Notify,
}

impl SchedulingQueue {
    /// Makes a pod ready, or again ready after it changed.
    pub(crate) fn add(&self, key: &ObjectRef, priority: i32, created: Option<Timestamp>) {
        let mut state = self.state.lock();
        let mut is_new = false;
        let entry = state.entries.entry(key.clone()).or_insert_with(|| {
            is_new = true;
            Entry { priority, created, attempts: 0, due: Instant::now(), place: Place::Backoff }
        });
        entry.priority = priority;
        match &mut entry.place {
            Place::InFlight { again, .. } => *again = true,
            Place::Unschedulable { .. } => state.activate(key),
            Place::Backoff if is_new => state.activate(key),
            Place::Active(_) | Place::Backoff => {}
        }
        drop(state);
        self.wake.notify_one();
    }

    /// The pod is gone or placed.
    pub(crate) fn remove(&self, key: &ObjectRef) {
        let mut state = self.state.lock();
        state.unlist(key);
        state.entries.remove(key);
    }

    pub(crate) async fn next(&self) -> ObjectRef {
        loop {
            let notified = self.wake.notified();
            let due = {
                let mut state = self.state.lock();
                state.flush(Instant::now());
                if let Some(key) = state.pop() {
                    return key;
                }
                state.waiting.first().map(|(due, _)| *due)
            };
            match due {
                Some(due) => tokio::select! {
                    () = notified => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                None => notified.await,
            }
        }
    }

    /// The pod fits nowhere; one of `wakes_on` may change that.
    pub(crate) fn unschedulable(&self, key: &ObjectRef, wakes_on: HashSet<ClusterEvent>) {
        let mut state = self.state.lock();
        let Some(entry) = state.entries.get(key) else { return };
        let Place::InFlight { since_event, again } = entry.place else { return };
        let missed = wakes_on.iter().any(|event| state.last.get(event).is_some_and(|number| *number > since_event));
        if again || missed {
            state.back_off(key);
        } else {
            state.wait(key, Instant::now() + STALE, Place::Unschedulable { wakes_on });
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Something failed that has nothing to do with room: try again after a wait.
    pub(crate) fn failed(&self, key: &ObjectRef) {
        self.state.lock().back_off(key);
        self.wake.notify_one();
    }

    /// Wakes the pods that wait for such an event; what is left of their backoff still counts.
    pub(crate) fn on_event(&self, event: ClusterEvent) {
        let mut state = self.state.lock();
        state.events += 1;
        let number = state.events;
        state.last.insert(event, number);
        let hopes = |key: &ObjectRef| {
            let entry = state.entries.get(key)?;
            let failed_at = entry.due.checked_sub(STALE)?;
            Some((key.clone(), failed_at + BACKOFF.delay(entry.attempts.saturating_sub(1))))
        };
        let woken: Vec<_> = state.hoping.get(&event).into_iter().flatten().filter_map(hopes).collect();
        let any = !woken.is_empty();
        for (key, due) in woken {
            state.wait(&key, due, Place::Backoff);
        }
        drop(state);
        if any {
            self.wake.notify_one();
        }
    }
}

impl State {
    /// Takes a key out of the list that its place says it is in.
    fn unlist(&mut self, key: &ObjectRef) {
        let Some(entry) = self.entries.get(key) else { return };
        match &entry.place {
            Place::Active(order) => self.active.remove(order),
            Place::Backoff => self.waiting.remove(&(entry.due, key.clone())),
            Place::Unschedulable { wakes_on } => {
                for event in wakes_on {
                    if let Some(keys) = self.hoping.get_mut(event) {
                        keys.remove(key);
                    }
                }
                self.waiting.remove(&(entry.due, key.clone()))
            }
            Place::InFlight { .. } => false,
        };
    }

    fn activate(&mut self, key: &ObjectRef) {
        self.unlist(key);
        if let Some(entry) = self.entries.get_mut(key) {
            let order = (Reverse(entry.priority), entry.created, key.clone());
            entry.place = Place::Active(order.clone());
            self.active.insert(order);
        }
    }

    fn wait(&mut self, key: &ObjectRef, due: Instant, place: Place) {
        self.unlist(key);
        if let Some(entry) = self.entries.get_mut(key) {
            if let Place::Unschedulable { wakes_on } = &place {
                wakes_on.iter().for_each(|event| {
                    self.hoping.entry(*event).or_default().insert(key.clone());
                });
            }
            entry.due = due;
            entry.place = place;
            self.waiting.insert((due, key.clone()));
        }
    }

    fn back_off(&mut self, key: &ObjectRef) {
        if let Some(entry) = self.entries.get(key) {
            let due = Instant::now() + BACKOFF.delay(entry.attempts.saturating_sub(1));
            self.wait(key, due, Place::Backoff);
        }
    }

    fn pop(&mut self) -> Option<ObjectRef> {
        let (_, _, key) = self.active.pop_first()?;
        let since_event = self.events;
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.attempts = entry.attempts.saturating_add(1);
            entry.place = Place::InFlight { since_event, again: false };
        }
        Some(key)
    }

    fn flush(&mut self, now: Instant) {
        while let Some((_, key)) = self.waiting.first().filter(|(due, _)| *due <= now).cloned() {
            self.activate(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectRef {
        ObjectRef::new("default", name)
    }

    fn at(second: i64) -> Option<Timestamp> {
        Timestamp::from_second(second).ok()
    }

    async fn soon(queue: &SchedulingQueue, seconds: u64) -> Option<String> {
        tokio::time::timeout(Duration::from_secs(seconds), queue.next()).await.ok().map(|key| key.name)
    }

    #[tokio::test(start_paused = true)]
    async fn priority_goes_first_and_then_age() {
        let queue = SchedulingQueue::default();
        queue.add(&key("young"), 0, at(20));
        queue.add(&key("old"), 0, at(10));
        queue.add(&key("important"), 100, at(30));
        let order = [queue.next().await.name, queue.next().await.name, queue.next().await.name];
        assert_eq!(order, ["important", "old", "young"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unschedulable_pod_wakes_on_its_events_only() {
        let queue = SchedulingQueue::default();
        queue.add(&key("a"), 0, at(1));
        queue.next().await;
        queue.unschedulable(&key("a"), HashSet::from([ClusterEvent::PodLeft]));
        queue.on_event(ClusterEvent::NodeChanged);
        assert_eq!(soon(&queue, 60).await, None);
        queue.on_event(ClusterEvent::PodLeft);
        assert_eq!(soon(&queue, 1).await.as_deref(), Some("a"));
        queue.unschedulable(&key("a"), HashSet::from([ClusterEvent::PodLeft]));
        assert_eq!(soon(&queue, 299).await, None);
        assert_eq!(soon(&queue, 2).await.as_deref(), Some("a"), "in the end it is tried anyway");
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_during_the_attempt_is_not_lost() {
        let queue = SchedulingQueue::default();
        queue.add(&key("a"), 0, at(1));
        queue.next().await;
        queue.on_event(ClusterEvent::NodeAdded);
        queue.unschedulable(&key("a"), HashSet::from([ClusterEvent::NodeAdded]));
        assert_eq!(soon(&queue, 2).await.as_deref(), Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_from_one_second_to_ten() {
        let queue = SchedulingQueue::default();
        queue.add(&key("a"), 0, at(1));
        let mut waits = Vec::new();
        queue.next().await;
        for _ in 0..6 {
            let start = Instant::now();
            queue.failed(&key("a"));
            queue.next().await;
            waits.push(start.elapsed().as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        queue.remove(&key("a"));
        queue.failed(&key("a"));
        assert_eq!(soon(&queue, 60).await, None, "a pod that is gone does not come back");
    }
}
