//! Pods on nodes that use claims.

use mizzen_reconcile::{Queue, WatchCache};

use crate::pod_view::PodView;

/// A pod that comes to its node, or goes, is news for its claims.
pub(super) fn wake_claims(pods: &WatchCache<PodView>, queue: &Queue) {
    let queue = queue.clone();
    pods.on_change(move |change| {
        let claims = |pod: Option<&PodView>| pod.map(|pod| pod.claims.clone()).unwrap_or_default();
        let (before, now) = (claims(change.old.map(AsRef::as_ref)), claims(change.new.map(AsRef::as_ref)));
        if before != now {
            before.iter().chain(&now).for_each(|claim| queue.add(claim.clone()));
        }
    });
}
