//! All nodes at one moment, assumed pods included.

mod index;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use self::index::Index;
use crate::budget::Budget;
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::volumes::Volumes;

/// Every snapshot takes the next one.
static LINEAGES: AtomicU64 = AtomicU64::new(1);

/// Which snapshot it is: generations of one mean nothing to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lineage(u64);

impl Default for Lineage {
    fn default() -> Self {
        Self(LINEAGES.fetch_add(1, Ordering::Relaxed))
    }
}

/// The scheduler's own copy of the cluster, brought up to date between two cycles by what changed.
#[derive(Default)]
pub struct Snapshot {
    pub(crate) lineage: Lineage,
    /// Counts up whenever a node changed.
    pub generation: u64,
    /// In the order of their names.
    pub nodes: Vec<Arc<NodeInfo>>,
    /// Pods that wait for room on a node that is made for them, by the node's name.
    pub nominated: HashMap<String, Vec<Arc<PodInfo>>>,
    pub budgets: Arc<Vec<Arc<Budget>>>,
    pub volumes: Volumes,
    index: Index,
    /// Where each node is, by its name.
    places: HashMap<String, usize>,
    /// Which node (its place) changed at which generation, oldest first.
    changes: VecDeque<(u64, usize)>,
    /// Changes up to this generation are forgotten.
    forgotten: u64,
}

/// What is different since an earlier generation of the snapshot.
#[derive(Debug, PartialEq, Eq)]
pub enum Changes {
    /// Nodes came or went, or it is too long ago.
    All,
    /// The nodes at these places.
    Nodes(Vec<usize>),
}

impl Snapshot {
    pub fn of(nodes: Vec<Arc<NodeInfo>>) -> Self {
        let mut snapshot = Self::default();
        snapshot.reset(nodes);
        snapshot
    }

    /// Where a node is among [`Snapshot::nodes`].
    pub fn position(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// What changed after `generation`, for those that keep a copy of their own.
    pub fn changed_since(&self, generation: u64) -> Changes {
        if generation < self.forgotten || generation > self.generation {
            return Changes::All;
        }
        let recent = self.changes.iter().rev().take_while(|(at, _)| *at > generation);
        let nodes: HashSet<usize> = recent.map(|(_, place)| *place).collect();
        Changes::Nodes(nodes.into_iter().collect())
    }

    /// Pods nominated for the node that `pod` has to leave room for: of the same or a higher priority.
    pub fn nominated_before(&self, pod: &PodInfo, node: &str) -> impl Iterator<Item = &Arc<PodInfo>> {
        let there = if self.nominated.is_empty() { None } else { self.nominated.get(node) };
        there.into_iter().flatten().filter(|other| other.priority >= pod.priority && other.uid != pod.uid)
    }

    /// The nodes with pods that state inter-pod affinity.
    pub(crate) fn social(&self) -> impl Iterator<Item = &Arc<NodeInfo>> {
        self.index.social.iter().filter_map(|place| self.nodes.get(*place))
    }

    /// Whether some node is cordoned.
    pub(crate) fn has_unschedulable(&self) -> bool {
        self.index.unschedulable > 0
    }

    /// Whether some node has a taint, of whatever effect.
    pub(crate) fn has_tainted(&self) -> bool {
        self.index.tainted > 0
    }

    /// How many nodes hold an image.
    pub(crate) fn holding(&self, image: &str) -> usize {
        self.index.images.get(image).copied().unwrap_or(0)
    }

    /// How many nodes each zone has.
    pub(crate) fn zones(&self) -> &HashMap<String, usize> {
        &self.index.zones
    }

    /// How many pods of a controller each zone has; zones without any are left out.
    pub(crate) fn zones_of(&self, owner: &str) -> Option<&HashMap<String, usize>> {
        self.index.owners.get(owner)
    }

    /// Takes another set of nodes, in the order of their names.
    pub(crate) fn reset(&mut self, nodes: Vec<Arc<NodeInfo>>) {
        self.generation += 1;
        self.forgotten = self.generation;
        self.changes.clear();
        self.index = Index::of(&nodes);
        self.places = nodes.iter().enumerate().map(|(place, node)| (node.name.clone(), place)).collect();
        self.nodes = nodes;
    }

    /// Takes over changed nodes; those that the snapshot does not have are left out.
    pub fn update(&mut self, changed: impl IntoIterator<Item = Arc<NodeInfo>>) {
        let mut any = false;
        for node in changed {
            let Some(place) = self.position(&node.name) else { continue };
            if !any {
                self.generation += 1;
                any = true;
            }
            self.index.change(place, &self.nodes[place], &node);
            self.nodes[place] = node;
            self.changes.push_back((self.generation, place));
        }
        while self.changes.len() > self.nodes.len() {
            if let Some((generation, _)) = self.changes.pop_front() {
                self.forgotten = generation;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Arc<NodeInfo> {
        Arc::new(NodeInfo { name: name.into(), ..NodeInfo::default() })
    }

    #[test]
    fn what_changed_since_is_known_while_it_is_recent() {
        let mut snapshot = Snapshot::of(vec![node("a"), node("b"), node("c")]);
        let start = snapshot.generation;
        assert_eq!(snapshot.changed_since(start), Changes::Nodes(vec![]));
        assert_eq!(snapshot.changed_since(start - 1), Changes::All, "before all that is known");
        snapshot.update([node("b")]);
        let then = snapshot.generation;
        snapshot.update([node("b"), node("none")]);
        assert_eq!(snapshot.changed_since(start), Changes::Nodes(vec![1]));
        snapshot.update([node("a"), node("c")]);
        let mut since = match snapshot.changed_since(then) {
            Changes::Nodes(nodes) => nodes,
            Changes::All => panic!("it is recent"),
        };
        since.sort_unstable();
        assert_eq!(since, [0, 1, 2]);
        assert_eq!(snapshot.changed_since(start), Changes::All, "too long ago");
        snapshot.reset(vec![node("a")]);
        assert_eq!(snapshot.changed_since(then), Changes::All);
    }
}
