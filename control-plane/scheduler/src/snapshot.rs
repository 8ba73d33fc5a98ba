//! All nodes at one moment, assumed pods included.

use std::sync::Arc;

use crate::node::NodeInfo;

/// Immutable; a new one shares the nodes that did not change.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// In the order of their names.
    pub nodes: Vec<Arc<NodeInfo>>,
}
