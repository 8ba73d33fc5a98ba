//! What a controller of pods learns from the pod cache: what it expected has come, and who is to look again.

use std::sync::Arc;

use mizzen_api::ObjectRef;
use mizzen_reconcile::{Queue, WatchCache};

use crate::expectations::Expectations;
use crate::pod_owner::OwnsPods;
use crate::pod_view::PodView;

/// Settles expectations by what the pod cache sees, and wakes those concerned: a pod's owner of `kind`, or whoever selects a
/// pod without one.
pub(crate) fn observe_pods<S: OwnsPods>(
    kind: &'static str,
    pods: &WatchCache<PodView>,
    sets: &Arc<WatchCache<S>>,
    queue: &Queue,
    expectations: &Arc<Expectations>,
) {
    let (sets, queue, expectations) = (sets.clone(), queue.clone(), expectations.clone());
    pods.on_change(move |change| {
        let namespace = change.key.namespace.as_str();
        let owner = |pod: &PodView| {
            let owner = pod.owner.as_ref().filter(|owner| owner.kind == kind)?;
            Some(ObjectRef::new(namespace, owner.name.clone()))
        };
        if let Some(pod) = change.new
            && change.old.is_none_or(|old| old.uid != pod.uid)
            && let Some(owner) = owner(pod)
        {
            expectations.creations_settled(&owner, 1);
        }
        if let Some(old) = change.old
            && change.new.is_none_or(|new| new.uid != old.uid || new.terminating)
            && let Some(owner) = owner(old)
        {
            expectations.deletion_settled(&owner, &old.uid);
        }
        for pod in change.old.into_iter().chain(change.new) {
            match owner(pod) {
                Some(owner) => queue.add(owner),
                None if pod.owner.is_none() => sets
                    .in_namespace(namespace)
                    .iter()
                    .filter(|set| set.owner().selector.matches(&pod.labels))
                    .for_each(|set| queue.add(set.owner().key.clone())),
                None => {}
            }
        }
    });
}
