//! What a plugin is.

use serde::de::DeserializeOwned;

use crate::{Cluster, Columns, Node, Permission, Pod, Points, Wakes};

/// Why a node, or the pod as a whole, is turned down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rejection {
    /// In the words that `kubectl describe pod` shows.
    pub reasons: Vec<String>,
    /// Removing other pods from the node would not help.
    pub unresolvable: bool,
}

impl Rejection {
    /// Preemption may help.
    pub fn because(reason: impl Into<String>) -> Self {
        Self { reasons: vec![reason.into()], unresolvable: false }
    }

    /// Preemption does not help.
    pub fn never(reason: impl Into<String>) -> Self {
        Self { unresolvable: true, ..Self::because(reason) }
    }
}

/// The placing of one pod.
pub struct Cycle<'a> {
    pub pod: &'a Pod,
    /// What `pre_filter` or `pre_score` answered: kept by the host, and copied for the dry runs of preemption.
    pub state: &'a [u8],
    pub cluster: &'a Cluster,
}

/// A plugin: what [`Plugin::POINTS`] names is called, the rest is as it stands here.
#[allow(unused_variables)]
pub trait Plugin: Sized + 'static {
    type Settings: DeserializeOwned;

    /// The extension points that do something. `pre_filter` and `end` are called in every cycle.
    const POINTS: Points;

    /// Something after which a pod that was turned down is worth another try; none means all.
    const WAKES: Wakes = Wakes::empty();

    /// # Errors
    /// What is wrong with the settings: it keeps the plugin from being loaded.
    fn new(settings: Self::Settings, columns: &mut Columns) -> Result<Self, String>;

    /// A cycle begins. Answers its state.
    ///
    /// # Errors
    /// Why no node will do.
    fn pre_filter(&mut self, pod: &Pod, cluster: &Cluster) -> Result<Vec<u8>, Rejection> {
        Ok(Vec::new())
    }

    /// # Errors
    /// Why not this node.
    fn filter(&mut self, cycle: &Cycle, node: Node) -> Result<(), Rejection> {
        Ok(())
    }

    /// No node is left. Answers a note for the pod's event.
    fn post_filter(&mut self, cycle: &Cycle) -> Option<String> {
        None
    }

    /// All nodes that passed. Answers the cycle's new state.
    fn pre_score(&mut self, cycle: &Cycle, feasible: &[u32]) -> Vec<u8> {
        cycle.state.to_vec()
    }

    /// From 0 to 100, the best.
    fn score(&mut self, cycle: &Cycle, node: Node) -> i64 {
        0
    }

    /// Whether the plugin has an opinion on this pod at all; without one no score is asked.
    fn scores(&mut self, cycle: &Cycle) -> bool {
        true
    }

    /// The node is chosen: take what the pod needs outside of it.
    ///
    /// # Errors
    /// Why it cannot be had.
    fn reserve(&mut self, cycle: &Cycle, node: Node) -> Result<(), String> {
        Ok(())
    }

    /// Give it back; also called for what was never reserved.
    fn unreserve(&mut self, cycle: &Cycle, node: Node) {}

    /// Holds the binding back, or refuses it; asked again after a wait.
    fn permit(&mut self, cycle: &Cycle, node: Node) -> Permission {
        Permission::Allow
    }

    /// # Errors
    /// Why the pod must not be bound.
    fn pre_bind(&mut self, cycle: &Cycle, node: Node) -> Result<(), String> {
        Ok(())
    }

    /// The cycle is over, the pod bound or not.
    fn end(&mut self, pod: &Pod) {}
}
