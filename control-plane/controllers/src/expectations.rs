//! What a controller has asked for and not yet seen in its cache, so that a stale cache never makes it ask again.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use mizzen_api::ObjectRef;
use parking_lot::Mutex;
use tokio::time::Instant;

/// An expectation that was not met for so long is given up: the event that would have met it got lost.
const EXPIRY: Duration = Duration::from_secs(300);

#[derive(Default)]
pub(crate) struct Expectations {
    expected: Mutex<HashMap<ObjectRef, Expected>>,
}

struct Expected {
    creations: usize,
    /// Uids of objects whose deletion was asked for.
    deletions: HashSet<String>,
    since: Instant,
}

impl Expectations {
    /// Whether everything asked for on behalf of `owner` has shown up.
    pub(crate) fn are_met(&self, owner: &ObjectRef) -> bool {
        let mut expected = self.expected.lock();
        let met = expected.get(owner).is_none_or(|e| (e.creations == 0 && e.deletions.is_empty()) || e.since.elapsed() > EXPIRY);
        if met {
            expected.remove(owner);
        }
        met
    }

    pub(crate) fn expect_creations(&self, owner: &ObjectRef, count: usize) {
        self.with(owner, |expected| expected.creations += count);
    }

    pub(crate) fn expect_deletions(&self, owner: &ObjectRef, uids: impl IntoIterator<Item = String>) {
        self.with(owner, |expected| expected.deletions.extend(uids));
    }

    /// Creations that showed up, or will not.
    pub(crate) fn creations_settled(&self, owner: &ObjectRef, count: usize) {
        if let Some(expected) = self.expected.lock().get_mut(owner) {
            expected.creations = expected.creations.saturating_sub(count);
        }
    }

    /// A deletion that showed up, or will not.
    pub(crate) fn deletion_settled(&self, owner: &ObjectRef, uid: &str) {
        if let Some(expected) = self.expected.lock().get_mut(owner) {
            expected.deletions.remove(uid);
        }
    }

    pub(crate) fn forget(&self, owner: &ObjectRef) {
        self.expected.lock().remove(owner);
    }

    fn with(&self, owner: &ObjectRef, change: impl FnOnce(&mut Expected)) {
        let mut all = self.expected.lock();
        let fresh = || Expected { creations: 0, deletions: HashSet::new(), since: Instant::now() };
        let expected = all.entry(owner.clone()).or_insert_with(fresh);
        expected.since = Instant::now();
        change(expected);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn expectations_are_met_by_what_shows_up_or_by_time() {
        let (expectations, owner) = (Expectations::default(), ObjectRef::new("default", "web"));
        assert!(expectations.are_met(&owner));
        expectations.expect_creations(&owner, 2);
        expectations.expect_deletions(&owner, ["u1".to_owned()]);
        expectations.creations_settled(&owner, 2);
        assert!(!expectations.are_met(&owner));
        expectations.deletion_settled(&owner, "other");
        assert!(!expectations.are_met(&owner));
        expectations.deletion_settled(&owner, "u1");
        assert!(expectations.are_met(&owner));
        expectations.expect_creations(&owner, 1);
        tokio::time::advance(EXPIRY + Duration::from_secs(1)).await;
        assert!(expectations.are_met(&owner));
    }
}
