//! The scheduling framework: the extension points of Kubernetes' scheduler as one trait, over batches of nodes.
//!
//! A plugin is called once for a pod and a batch of nodes, never once for a node, so that a plugin behind a border
//! (a Wasm component) pays for crossing it once. Which plugins are asked, where and with what weight, is said by a
//! [`crate::profile::Profile`]; plugins come and go while the scheduler runs, between two cycles.

mod candidates;
mod points;
mod post_filter;
mod state;

use std::sync::Arc;

use async_trait::async_trait;

pub use candidates::{Candidates, Rejection};
pub use points::{Point, Points};
pub use post_filter::{Nomination, PostFilter, Trial, Unplaced};
pub use state::PluginState;

use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

/// The highest score a plugin gives a node; the lowest is 0.
pub const MAX_SCORE: i64 = 100;

/// Something that may make a waiting pod schedulable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClusterEvent {
    NodeAdded,
    /// Labels, taints or allocatable resources changed.
    NodeChanged,
    /// A pod was bound, or a bound pod's labels changed.
    PodPlaced,
    /// A pod stopped taking resources of its node.
    PodLeft,
    /// A claim, a volume or a storage class came, went or changed.
    VolumesChanged,
    /// A plugin was loaded, swapped or unloaded: wakes every pod.
    PluginsChanged,
}

/// What a plugin may ask to be woken by.
pub const ALL_EVENTS: &[ClusterEvent] = &[
    ClusterEvent::NodeAdded,
    ClusterEvent::NodeChanged,
    ClusterEvent::PodPlaced,
    ClusterEvent::PodLeft,
    ClusterEvent::VolumesChanged,
];

/// What a plugin's filter has to say about a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// It is to be asked about nodes.
    All,
    /// No other nodes can do, by name; it is to be asked about these.
    Nodes(std::collections::BTreeSet<String>),
    /// Nothing: it is not asked in this cycle.
    Skip,
}

/// What would have been different about a pod that got its node, had a plugin taken part that only looks on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Nodes that the others found feasible.
    pub nodes: usize,
    /// Nodes of these that it rejects.
    pub rejected_nodes: usize,
    /// It leaves some, and the best of them is another one.
    pub goes_elsewhere: bool,
    /// It leaves none.
    pub stays_unplaced: bool,
}

/// A failure at or after reserving: the pod is tried again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PluginError(pub String);

/// One concern of scheduling. Every extension point has a default that does nothing; only those that
/// [`Plugin::points`] names are called.
#[async_trait]
pub trait Plugin: Send + Sync + 'static {
    /// As Kubernetes names it, where it has it. Unique among the plugins of a scheduler.
    fn name(&self) -> &str;

    /// The extension points that it has; profiles enable all of them or some.
    fn points(&self) -> Points;

    /// Weight of its scores where the profile states none.
    fn weight(&self) -> i64 {
        1
    }

    /// The events after which a pod that this plugin rejected is worth another try.
    fn wakes_on(&self) -> &[ClusterEvent] {
        ALL_EVENTS
    }

    /// Whether it only looks on: it is asked about pods that were placed without it, and [`Plugin::looked_on`] is told.
    fn is_shadow(&self) -> bool {
        false
    }

    fn looked_on(&self, _difference: Difference) {}

    /// Another one, that can be asked while this one is at work and without changing it; `None` when this one can.
    ///
    /// # Errors
    /// Why there is none.
    fn aside(&self) -> Result<Option<Arc<dyn Plugin>>, PluginError> {
        Ok(None)
    }

    /// Why it had no answer, the last time that it had none.
    fn last_error(&self) -> Option<String> {
        None
    }

    /// Prepares for the pod, or rejects it for every node.
    ///
    /// # Errors
    /// Why no node will do.
    fn pre_filter(&self, _pod: &PodInfo, _snapshot: &Snapshot, _state: &mut PluginState) -> Result<Scope, Rejection> {
        Ok(Scope::All)
    }

    /// In a trial (preemption, nominated pods) `other` is on `node` from now on: brings `state` up to it. `node` is as
    /// before.
    fn pod_added(&self, _pod: &PodInfo, _other: &PodInfo, _node: &NodeInfo, _state: &mut PluginState) {}

    /// As [`Plugin::pod_added`]: `other` has left `node`.
    fn pod_removed(&self, _pod: &PodInfo, _other: &PodInfo, _node: &NodeInfo, _state: &mut PluginState) {}

    /// Rejects nodes the pod cannot go to. In a trial, the candidate is not the snapshot's node of that name, and has a
    /// generation of its own.
    fn filter(&self, _pod: &PodInfo, _snapshot: &Snapshot, _candidates: &mut Candidates<'_>, _state: &mut PluginState) {}

    /// Called when no node is feasible; may make room (preemption). `None` when it has nothing to say.
    fn post_filter(&self, _pod: &PodInfo, _unplaced: &Unplaced<'_>) -> Option<PostFilter> {
        None
    }

    fn pre_score(&self, _pod: &PodInfo, _feasible: &[Arc<NodeInfo>], _snapshot: &Snapshot, _state: &mut PluginState) {}

    /// One raw score per node of a batch of feasible ones; `None` when the plugin has no opinion on this pod.
    fn score(
        &self,
        _pod: &PodInfo,
        _snapshot: &Snapshot,
        _nodes: &[Arc<NodeInfo>],
        _state: &mut PluginState,
    ) -> Option<Vec<i64>> {
        None
    }

    /// Brings the raw scores of all feasible nodes into 0..=[`MAX_SCORE`].
    fn normalize(&self, _scores: &mut [i64]) {}

    /// Takes what the pod needs, once its node is chosen.
    ///
    /// # Errors
    /// Why it cannot be taken.
    fn reserve(&self, _pod: &PodInfo, _node: &str) -> Result<(), PluginError> {
        Ok(())
    }

    /// Gives back what [`Plugin::reserve`] took; must be idempotent.
    fn unreserve(&self, _pod: &PodInfo, _node: &str) {}

    /// Holds the binding back, or refuses it.
    ///
    /// # Errors
    /// Why the pod is not bound.
    async fn permit(&self, _pod: &PodInfo, _node: &str) -> Result<(), PluginError> {
        Ok(())
    }

    /// # Errors
    /// Why the pod is not bound.
    async fn pre_bind(&self, _pod: &PodInfo, _node: &str) -> Result<(), PluginError> {
        Ok(())
    }

    /// Binds the pod itself; `None` leaves it to the next plugin, in the end to the binding subresource.
    async fn bind(&self, _pod: &PodInfo, _node: &str) -> Option<Result<(), PluginError>> {
        None
    }

    /// The attempt is over, the pod bound or not: what was kept for it outside of its state can go.
    fn end(&self, _pod: &PodInfo) {}
}

/// Scales raw scores so that the highest becomes [`MAX_SCORE`]; `reverse` makes the highest raw score the worst.
pub fn normalize_by_maximum(scores: &mut [i64], reverse: bool) {
    let highest = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        let scaled = if highest == 0 { 0 } else { score.saturating_mul(MAX_SCORE) / highest };
        *score = if reverse { MAX_SCORE - scaled } else { scaled };
    }
}
