//! How much history is kept: which revision to compact to, decided from samples a caller takes now and then.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// History is forgotten once either bound is passed. What is forgotten is whole samples, so somewhat more is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub age: Duration,
    pub bytes: u64,
}

impl Default for Retention {
    /// Five minutes, as Kubernetes' API server keeps, and at most 256 MiB.
    fn default() -> Self {
        Self { age: Duration::from_mins(5), bytes: 256 << 20 }
    }
}

struct Sample {
    at: Instant,
    revision: u64,
    written: u64,
}

/// Watches a store grow. Pure: the caller brings the time.
pub struct AutoCompaction {
    retention: Retention,
    samples: VecDeque<Sample>,
    newest: Option<u64>,
}

impl AutoCompaction {
    pub fn new(retention: Retention) -> Self {
        Self { retention, samples: VecDeque::new(), newest: None }
    }

    /// Takes note of the store's `revision` and of the bytes of history `written` until then; returns the revision to
    /// compact to, if there is something to forget. To be called a few times within [`Retention::age`].
    pub fn sample(&mut self, now: Instant, revision: u64, written: u64) -> Option<u64> {
        // A store that stands still has nothing new to forget.
        if self.newest < Some(revision) {
            self.newest = Some(revision);
            self.samples.push_back(Sample { at: now, revision, written });
        }
        let mut forget = None;
        while let Some(oldest) = self.samples.front()
            && (now.duration_since(oldest.at) >= self.retention.age || written - oldest.written > self.retention.bytes)
        {
            forget = Some(oldest.revision);
            self.samples.pop_front();
        }
        forget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compaction() -> AutoCompaction {
        AutoCompaction::new(Retention { age: Duration::from_secs(60), bytes: 1000 })
    }

    #[test]
    fn history_is_kept_until_it_is_old() {
        let (mut compaction, start) = (compaction(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(compaction.sample(at(0), 10, 0), None);
        assert_eq!(compaction.sample(at(30), 20, 0), None);
        assert_eq!(compaction.sample(at(59), 30, 0), None);
        assert_eq!(compaction.sample(at(60), 40, 0), Some(10));
        assert_eq!(compaction.sample(at(61), 40, 0), None);
        assert_eq!(compaction.sample(at(300), 40, 0), Some(40));
        assert_eq!(compaction.sample(at(900), 40, 0), None);
    }

    #[test]
    fn much_history_is_forgotten_before_it_is_old() {
        let (mut compaction, now) = (compaction(), Instant::now());
        assert_eq!(compaction.sample(now, 10, 100), None);
        assert_eq!(compaction.sample(now, 20, 1100), None);
        assert_eq!(compaction.sample(now, 30, 2101), Some(20));
    }
}
