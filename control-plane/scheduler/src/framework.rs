//! The scheduling framework: the extension points of Kubernetes' scheduler as one trait, over batches of nodes.
//!
//! A plugin is called once for a pod and a batch of nodes, never once for a node, so that a plugin behind a border
//! (a Wasm component) pays for crossing it once.

use std::any::Any;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

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
}

pub const ALL_EVENTS: &[ClusterEvent] =
    &[ClusterEvent::NodeAdded, ClusterEvent::NodeChanged, ClusterEvent::PodPlaced, ClusterEvent::PodLeft];

/// Why a pod does not go to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// In Kubernetes' words, such as `Insufficient cpu`.
    pub reasons: Vec<Cow<'static, str>>,
    /// Evicting other pods would not help.
    pub unresolvable: bool,
}

impl Rejection {
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reasons: vec![reason.into()], unresolvable: false }
    }

    pub fn unresolvable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reasons: vec![reason.into()], unresolvable: true }
    }
}

/// What a plugin works out once per pod and keeps for its later extension points.
#[derive(Default)]
pub struct CycleState(HashMap<&'static str, Box<dyn Any + Send + Sync>>);

impl CycleState {
    pub fn set<T: Send + Sync + 'static>(&mut self, plugin: &'static str, value: T) {
        self.0.insert(plugin, Box::new(value));
    }

    pub fn get<T: 'static>(&self, plugin: &'static str) -> Option<&T> {
        self.0.get(plugin)?.downcast_ref()
    }
}

/// The nodes of one batch that no plugin has rejected yet.
pub struct Candidates<'a> {
    nodes: &'a [Arc<NodeInfo>],
    rejections: Vec<Option<(&'static str, Rejection)>>,
    plugin: &'static str,
}

impl<'a> Candidates<'a> {
    pub fn new(nodes: &'a [Arc<NodeInfo>]) -> Self {
        Self { nodes, rejections: vec![None; nodes.len()], plugin: "" }
    }

    pub(crate) fn asking(&mut self, plugin: &'static str) {
        self.plugin = plugin;
    }

    /// Asks about every node that is left.
    pub fn check(&mut self, mut verdict: impl FnMut(&NodeInfo) -> Result<(), Rejection>) {
        for (node, rejection) in self.nodes.iter().zip(&mut self.rejections) {
            if rejection.is_none()
                && let Err(why) = verdict(node)
            {
                *rejection = Some((self.plugin, why));
            }
        }
    }

    /// Every node with the plugin that rejected it and why, or `None` where it is feasible.
    pub fn into_verdicts(self) -> impl Iterator<Item = (&'a Arc<NodeInfo>, Option<(&'static str, Rejection)>)> {
        self.nodes.iter().zip(self.rejections)
    }
}

/// A failure at or after reserving: the pod is tried again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PluginError(pub String);

/// One concern of scheduling. Every extension point has a default that does nothing.
#[async_trait]
pub trait Plugin: Send + Sync + 'static {
    /// As Kubernetes names it, where it has it.
    fn name(&self) -> &'static str;

    /// Weight of its scores.
    fn weight(&self) -> i64 {
        1
    }

    /// The events after which a pod that this plugin rejected is worth another try.
    fn wakes_on(&self) -> &'static [ClusterEvent] {
        ALL_EVENTS
    }

    /// Prepares for the pod, or rejects it for every node.
    ///
    /// # Errors
    /// Why no node will do.
    fn pre_filter(&self, _pod: &PodInfo, _snapshot: &Snapshot, _state: &mut CycleState) -> Result<(), Rejection> {
        Ok(())
    }

    /// Rejects nodes the pod cannot go to.
    fn filter(&self, _pod: &PodInfo, _candidates: &mut Candidates<'_>, _state: &CycleState) {}

    /// Called when no node is feasible; may make room (preemption). Answers a note for the event, or nothing.
    fn post_filter(&self, _pod: &PodInfo, _snapshot: &Snapshot, _state: &CycleState) -> Option<String> {
        None
    }

    fn pre_score(&self, _pod: &PodInfo, _feasible: &[Arc<NodeInfo>], _snapshot: &Snapshot, _state: &mut CycleState) {}

    /// One raw score per node; `None` when the plugin has no opinion on this pod.
    fn score(&self, _pod: &PodInfo, _nodes: &[Arc<NodeInfo>], _state: &CycleState) -> Option<Vec<i64>> {
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
}

/// Scales raw scores so that the highest becomes [`MAX_SCORE`]; `reverse` makes the highest raw score the worst.
pub fn normalize_by_maximum(scores: &mut [i64], reverse: bool) {
    let highest = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        let scaled = if highest == 0 { 0 } else { score.saturating_mul(MAX_SCORE) / highest };
        *score = if reverse { MAX_SCORE - scaled } else { scaled };
    }
}
