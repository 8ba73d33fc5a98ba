//! What work queues do, for metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::Queue;

/// Upper bounds of what a [`Spread`] counts, in seconds: those of Kubernetes' work queues.
pub const BOUNDS: [f64; 12] = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0];

/// How often something took how long.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spread {
    /// Within each of [`BOUNDS`] and not within the one before; the last ones are beyond all of them.
    pub counts: [u64; BOUNDS.len() + 1],
    pub sum: Duration,
}

impl Spread {
    pub(crate) fn note(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let place = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.counts[place] += 1;
        self.sum += took;
    }
}

/// What a queue did since it was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vitals {
    /// Keys that are ready now.
    pub depth: usize,
    pub adds: u64,
    pub retries: u64,
    /// From when a key was added until work on it began.
    pub waited: Spread,
    pub worked: Spread,
    /// How long the keys that are worked on now have been, all together and the longest.
    pub unfinished: Duration,
    pub longest: Duration,
}

/// The queues of running controllers, by name.
#[derive(Clone, Default)]
pub struct Queues(Arc<Mutex<BTreeMap<&'static str, Queue>>>);

impl Queues {
    pub fn add(&self, name: &'static str, queue: Queue) {
        self.0.lock().insert(name, queue);
    }

    pub fn vitals(&self) -> Vec<(&'static str, Vitals)> {
        self.0.lock().iter().map(|(name, queue)| (*name, queue.vitals())).collect()
    }
}
