//! A batch of nodes on its way through the filters.

use std::borrow::Cow;
use std::sync::Arc;

use crate::node::NodeInfo;

/// Why a pod does not go to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// In Kubernetes' words, such as `Insufficient cpu`.
    pub reasons: Vec<Cow<'static, str>>,
    /// Evicting other pods would not help.
    pub unresolvable: bool,
    /// The plugin has no answer: the pod is tried again after a while, whatever happens in the cluster.
    pub is_failure: bool,
}

impl Rejection {
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reasons: vec![reason.into()], unresolvable: false, is_failure: false }
    }

    pub fn unresolvable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { unresolvable: true, ..Self::new(reason) }
    }

    /// Nobody leaves for a pod because a plugin has no answer.
    pub fn failure(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { is_failure: true, ..Self::unresolvable(reason) }
    }
}

/// The nodes of one batch, and which of them no plugin has rejected yet.
pub struct Candidates<'a> {
    nodes: &'a [Arc<NodeInfo>],
    /// By whom (the plugin's place in the profile), and why.
    rejections: Vec<Option<(usize, Rejection)>>,
    plugin: usize,
}

impl<'a> Candidates<'a> {
    pub fn new(nodes: &'a [Arc<NodeInfo>]) -> Self {
        Self { nodes, rejections: vec![None; nodes.len()], plugin: 0 }
    }

    pub(crate) fn asking(&mut self, plugin: usize) {
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

    /// The places in the batch of the nodes that are left, and these nodes: for plugins that decide on all of them at once.
    pub fn left(&self) -> (Vec<usize>, Vec<&'a Arc<NodeInfo>>) {
        // Most are left most of the time: lists that grow step by step cost more than the question.
        let (mut places, mut nodes) = (Vec::with_capacity(self.nodes.len()), Vec::with_capacity(self.nodes.len()));
        for (place, (node, _)) in self.nodes.iter().zip(&self.rejections).enumerate().filter(|(_, (_, why))| why.is_none()) {
            places.push(place);
            nodes.push(node);
        }
        (places, nodes)
    }

    /// Rejects the node at a place that [`Candidates::left`] gave; another place is left alone.
    pub fn reject(&mut self, at: usize, why: Rejection) {
        if let Some(rejection @ None) = self.rejections.get_mut(at) {
            *rejection = Some((self.plugin, why));
        }
    }

    /// Every node with the plugin that rejected it and why, or `None` where it is feasible.
    pub fn into_verdicts(self) -> impl Iterator<Item = (&'a Arc<NodeInfo>, Option<(usize, Rejection)>)> {
        self.nodes.iter().zip(self.rejections)
    }
}
