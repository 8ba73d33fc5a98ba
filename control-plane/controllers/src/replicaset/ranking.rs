//! Which pods go first when there are too many (the order Kubernetes documents for ReplicaSet scale-down).

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::pod_view::PodView;

/// How many pods of the same application share each pod's node, in the order of `pods`.
pub(super) fn ranks(pods: &[Arc<PodView>], per_node: &BTreeMap<String, usize>) -> Vec<usize> {
    pods.iter().map(|pod| per_node.get(&pod.node).copied().unwrap_or(0)).collect()
}

/// The `count` pods that go first.
pub(super) fn first_to_go(pods: &[Arc<PodView>], ranks: &[usize], count: usize, now: Timestamp) -> Vec<Arc<PodView>> {
    let mut ranked: Vec<_> = pods.iter().zip(ranks.iter().copied()).collect();
    ranked.sort_by(|(a, rank_a), (b, rank_b)| order(a, *rank_a, b, *rank_b, now));
    ranked.into_iter().take(count).map(|(pod, _)| pod.clone()).collect()
}

/// `Less`: `a` goes before `b`.
fn order(a: &PodView, rank_a: usize, b: &PodView, rank_b: usize, now: Timestamp) -> Ordering {
    let phase = |pod: &PodView| match pod.phase.as_str() {
        "Pending" | "" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let assigned = |pod: &PodView| !pod.node.is_empty();
    assigned(a)
        .cmp(&assigned(b))
        .then(phase(a).cmp(&phase(b)))
        .then(a.ready.cmp(&b.ready))
        .then(a.deletion_cost.cmp(&b.deletion_cost))
        .then(rank_b.cmp(&rank_a))
        .then_with(|| if a.ready { younger_first(a.ready_since, b.ready_since, now) } else { Ordering::Equal })
        .then(b.restarts.cmp(&a.restarts))
        .then_with(|| younger_first(a.created, b.created, now))
        .then_with(|| a.uid.cmp(&b.uid))
}

/// Ages are compared by their order of magnitude, so that it is not always the newest zone that empties.
fn younger_first(a: Option<Timestamp>, b: Option<Timestamp>, now: Timestamp) -> Ordering {
    let magnitude = |at: Option<Timestamp>| {
        at.map(|at| now.as_second().saturating_sub(at.as_second()).max(1))
            .map_or(Reverse(None), |age| Reverse(Some(Reverse(age.ilog2()))))
    };
    // Without a time, a pod counts as the youngest.
    match (magnitude(a), magnitude(b)) {
        (Reverse(Some(Reverse(a))), Reverse(Some(Reverse(b)))) => a.cmp(&b),
        (Reverse(None), Reverse(None)) => Ordering::Equal,
        (Reverse(None), _) => Ordering::Less,
        (_, Reverse(None)) => Ordering::Greater,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_given_up_in_the_documented_order() {
        let now = Timestamp::from_second(1_000_000).expect("in range");
        let ago = |seconds: i64| Timestamp::from_second(1_000_000 - seconds).ok();
        let running = |name: &str| PodView {
            uid: name.into(),
            node: "n".into(),
            phase: "Running".into(),
            ready: true,
            ready_since: ago(1000),
            created: ago(1000),
            ..PodView::default()
        };
        let mut pods = vec![
            (PodView { node: String::new(), ready: false, phase: "Pending".into(), ..running("1 unassigned") }, 0),
            (PodView { ready: false, phase: "Pending".into(), ..running("2 pending") }, 0),
            (PodView { ready: false, ..running("3 not ready") }, 0),
            (PodView { deletion_cost: -5, ..running("4 cheap") }, 0),
            (running("5 crowded node"), 3),
            (PodView { ready_since: ago(10), ..running("6 ready a short time") }, 0),
            (PodView { restarts: 4, ..running("7 restarted often") }, 0),
            (PodView { created: ago(10), ..running("8 young") }, 0),
            (running("9 old"), 0),
            (PodView { deletion_cost: 100, ..running("A dear") }, 0),
        ];
        pods.reverse();
        let (pods, ranks): (Vec<_>, Vec<_>) = pods.into_iter().map(|(pod, rank)| (Arc::new(pod), rank)).unzip();
        let order: Vec<_> = first_to_go(&pods, &ranks, 10, now).iter().map(|pod| pod.uid.clone()).collect();
        let mut sorted = order.clone();
        sorted.sort();
        assert_eq!(order, sorted);
    }
}
