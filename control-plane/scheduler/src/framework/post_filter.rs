//! What a post-filter plugin sees of a pod that fits nowhere, and what it may answer.

use std::sync::Arc;

use super::{Candidates, Plugin, PluginState, Point, Rejection};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::profile::Profile;
use crate::snapshot::Snapshot;

/// What a post-filter plugin answers.
#[derive(Clone, Debug, Default)]
pub struct PostFilter {
    /// Room is made for the pod there; the next post-filter plugins are not asked.
    pub nomination: Option<Nomination>,
    /// For the message about the pod, as `preemption: …`.
    pub note: Option<String>,
    /// A node that the pod is nominated for does it no good any more.
    pub clear_nomination: bool,
}

/// A node on which a pod gets room, once these pods have left.
#[derive(Clone, Debug)]
pub struct Nomination {
    pub node: String,
    pub victims: Vec<Arc<PodInfo>>,
}

/// A pod that fits nowhere, with all that its cycle has found out.
pub struct Unplaced<'a> {
    pub snapshot: &'a Snapshot,
    pub(crate) profile: &'a Profile,
    pub(crate) pod: &'a PodInfo,
    pub(crate) states: &'a [PluginState],
    /// By place in the profile: has nothing to say about this pod.
    pub(crate) skipped: &'a [bool],
    /// Places in the snapshot of nodes that were rejected for something that other pods' leaving may mend.
    pub(crate) hopeful: &'a [usize],
    /// A random number, so that not always the same nodes are looked at first.
    pub(crate) start: usize,
}

impl<'a> Unplaced<'a> {
    /// The nodes where making room may help, from a random one on.
    pub fn hopeful(&self) -> impl Iterator<Item = &'a Arc<NodeInfo>> + '_ {
        let start = if self.hopeful.is_empty() { 0 } else { self.start % self.hopeful.len() };
        let (behind, ahead) = self.hopeful.split_at(start);
        ahead.iter().chain(behind).filter_map(|at| self.snapshot.nodes.get(*at))
    }

    /// Whether making room on the node may help.
    pub fn is_hopeful(&self, node: &str) -> bool {
        self.snapshot.position(node).is_some_and(|at| self.hopeful.contains(&at))
    }

    /// Begins to try things out on a copy of the node.
    pub fn trial(&self, node: &Arc<NodeInfo>) -> Trial<'a> {
        let Self { snapshot, profile, pod, skipped, .. } = *self;
        Trial { snapshot, profile, pod, skipped, node: node.clone(), states: self.states.to_vec() }
    }
}

/// Whether the pod would fit on a node with other pods on it.
#[derive(Clone)]
pub struct Trial<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) profile: &'a Profile,
    pub(crate) pod: &'a PodInfo,
    pub(crate) skipped: &'a [bool],
    pub(crate) node: Arc<NodeInfo>,
    pub(crate) states: Vec<PluginState>,
}

impl Trial<'_> {
    pub fn add(&mut self, other: &Arc<PodInfo>) {
        for (slot, plugin) in self.profile.at(Point::PreFilter) {
            plugin.pod_added(self.pod, other, &self.node, &mut self.states[slot]);
        }
        Arc::make_mut(&mut self.node).add_pod(other.clone());
    }

    pub fn remove(&mut self, other: &PodInfo) {
        for (slot, plugin) in self.profile.at(Point::PreFilter) {
            plugin.pod_removed(self.pod, other, &self.node, &mut self.states[slot]);
        }
        Arc::make_mut(&mut self.node).remove_pod(&other.uid);
    }

    /// Asks the filters, with and without the pods of the same or a higher priority that are nominated for the node.
    ///
    /// # Errors
    /// The first rejection.
    pub fn fits(&mut self) -> Result<(), Rejection> {
        self.fits_with_nominated().map_err(|(_, why)| why)
    }

    /// As [`Trial::fits`]; names the rejecting plugin by its place in the profile.
    pub(crate) fn fits_with_nominated(&mut self) -> Result<(), (usize, Rejection)> {
        let nominated: Vec<_> = self.snapshot.nominated_before(self.pod, &self.node.name).cloned().collect();
        if !nominated.is_empty() {
            let mut joined = self.clone();
            nominated.iter().for_each(|other| joined.add(other));
            joined.passes()?;
        }
        self.passes()
    }

    fn passes(&mut self) -> Result<(), (usize, Rejection)> {
        let mut candidates = Candidates::new(std::slice::from_ref(&self.node));
        for (slot, plugin) in self.profile.at(Point::Filter).filter(|(slot, _)| !self.skipped[*slot]) {
            candidates.asking(slot);
            let plugin: &dyn Plugin = plugin.as_ref();
            plugin.filter(self.pod, self.snapshot, &mut candidates, &mut self.states[slot]);
        }
        candidates.into_verdicts().find_map(|(_, rejection)| rejection).map_or(Ok(()), Err)
    }
}
