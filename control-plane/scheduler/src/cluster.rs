//! The mirror of nodes and pods that snapshots are taken from.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use mizzen_api::ObjectRef;

use crate::framework::ClusterEvent;
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

#[derive(Default)]
pub(crate) struct Cluster {
    nodes: BTreeMap<String, Arc<NodeInfo>>,
    /// Pods that take something of a node, also of one not seen yet; `node` says which.
    placed: HashMap<ObjectRef, Arc<PodInfo>>,
    /// Uids of placed pods whose binding the cache has not shown yet.
    assumed: HashSet<String>,
    snapshot: Option<Arc<Snapshot>>,
}

impl Cluster {
    pub(crate) fn snapshot(&mut self) -> Arc<Snapshot> {
        let nodes = &self.nodes;
        self.snapshot.get_or_insert_with(|| Arc::new(Snapshot { nodes: nodes.values().cloned().collect() })).clone()
    }

    /// Takes over a node's new state; answers what it may mean for waiting pods.
    pub(crate) fn set_node(&mut self, name: &str, node: Option<&Arc<NodeInfo>>) -> Option<ClusterEvent> {
        self.snapshot = None;
        let Some(node) = node else {
            self.nodes.remove(name);
            return None;
        };
        let mut fresh = NodeInfo::clone(node);
        match self.nodes.remove(name) {
            None => {
                for pod in self.placed.values().filter(|pod| pod.node == name) {
                    fresh.add_pod(pod.clone());
                }
                self.nodes.insert(name.to_owned(), Arc::new(fresh));
                Some(ClusterEvent::NodeAdded)
            }
            Some(old) => {
                fresh.inherit(NodeInfo::clone(&old));
                self.nodes.insert(name.to_owned(), Arc::new(fresh));
                let changed = old.labels != node.labels
                    || old.taints != node.taints
                    || old.unschedulable != node.unschedulable
                    || old.allocatable != node.allocatable
                    || old.allowed_pods != node.allowed_pods;
                changed.then_some(ClusterEvent::NodeChanged)
            }
        }
    }

    /// Takes over a pod's new state from the cache; answers what it may mean for waiting pods.
    pub(crate) fn set_pod(&mut self, key: &ObjectRef, pod: Option<&Arc<PodInfo>>) -> Option<ClusterEvent> {
        match pod.filter(|pod| !pod.finished) {
            Some(pod) if pod.node.is_empty() => {
                // An assumed pod stays where it is assumed, unless it is another one of the same name.
                if self.placed.get(key).is_some_and(|placed| placed.uid != pod.uid) {
                    self.unplace(key);
                    return Some(ClusterEvent::PodLeft);
                }
                None
            }
            Some(pod) => {
                self.assumed.remove(&pod.uid);
                let known = self.placed.get(key).is_some_and(|placed| placed.uid == pod.uid && placed.labels == pod.labels);
                self.place(pod.clone());
                (!known).then_some(ClusterEvent::PodPlaced)
            }
            None => self.unplace(key).then_some(ClusterEvent::PodLeft),
        }
    }

    /// Counts a pod as bound, before the API has confirmed it.
    pub(crate) fn assume(&mut self, pod: &PodInfo, node: &str) {
        let mut placed = pod.clone();
        node.clone_into(&mut placed.node);
        self.assumed.insert(pod.uid.clone());
        self.place(Arc::new(placed));
    }

    /// Takes an assumption back, unless the cache has confirmed it meanwhile.
    pub(crate) fn forget(&mut self, pod: &PodInfo) {
        if self.assumed.remove(&pod.uid) && self.placed.get(&pod.key).is_some_and(|placed| placed.uid == pod.uid) {
            self.unplace(&pod.key);
        }
    }

    pub(crate) fn is_placed(&self, pod: &PodInfo) -> bool {
        self.placed.get(&pod.key).is_some_and(|placed| placed.uid == pod.uid)
    }

    fn place(&mut self, pod: Arc<PodInfo>) {
        let before = self.placed.insert(pod.key.clone(), pod.clone());
        if let Some(before) = before.filter(|before| before.node != pod.node || before.uid != pod.uid) {
            self.assumed.remove(if before.uid == pod.uid { "" } else { &before.uid });
            self.change_node(&before.node, |node| node.remove_pod(&before.uid));
        }
        let name = pod.node.clone();
        self.change_node(&name, |node| node.add_pod(pod));
    }

    fn unplace(&mut self, key: &ObjectRef) -> bool {
        let Some(pod) = self.placed.remove(key) else { return false };
        self.assumed.remove(&pod.uid);
        self.change_node(&pod.node, |node| node.remove_pod(&pod.uid));
        true
    }

    fn change_node(&mut self, name: &str, change: impl FnOnce(&mut NodeInfo)) {
        if let Some(node) = self.nodes.get_mut(name) {
            self.snapshot = None;
            change(Arc::make_mut(node));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Amounts;

    fn pod(name: &str, uid: &str, node: &str, milli_cpu: i64) -> PodInfo {
        let requests = Amounts { milli_cpu, ..Amounts::default() };
        PodInfo { key: ObjectRef::new("d", name), uid: uid.into(), node: node.into(), requests, ..PodInfo::default() }
    }

    fn requested(cluster: &mut Cluster, node: &str) -> i64 {
        let snapshot = cluster.snapshot();
        snapshot.nodes.iter().find(|n| n.name == node).expect("is there").requested.milli_cpu
    }

    fn node(name: &str) -> Arc<NodeInfo> {
        Arc::new(NodeInfo { name: name.into(), ..NodeInfo::default() })
    }

    #[test]
    fn an_assumed_pod_counts_until_it_is_confirmed_forgotten_or_deleted() {
        let mut cluster = Cluster::default();
        cluster.set_node("n1", Some(&node("n1")));
        let waiting = pod("a", "u1", "", 300);
        cluster.assume(&waiting, "n1");
        assert_eq!(requested(&mut cluster, "n1"), 300);
        // The cache still shows it unbound.
        cluster.set_pod(&waiting.key, Some(&Arc::new(waiting.clone())));
        assert_eq!(requested(&mut cluster, "n1"), 300);
        cluster.set_pod(&waiting.key, Some(&Arc::new(pod("a", "u1", "n1", 300))));
        cluster.forget(&waiting);
        assert_eq!(requested(&mut cluster, "n1"), 300, "confirmed: forgetting comes too late");
        assert_eq!(cluster.set_pod(&waiting.key, None), Some(ClusterEvent::PodLeft));
        assert_eq!(requested(&mut cluster, "n1"), 0);
        cluster.assume(&waiting, "n1");
        cluster.forget(&waiting);
        assert_eq!(requested(&mut cluster, "n1"), 0);
    }

    #[test]
    fn a_node_that_comes_after_its_pods_counts_them() {
        let mut cluster = Cluster::default();
        cluster.set_pod(&ObjectRef::new("d", "a"), Some(&Arc::new(pod("a", "u1", "n1", 200))));
        assert_eq!(cluster.set_node("n1", Some(&node("n1"))), Some(ClusterEvent::NodeAdded));
        assert_eq!(requested(&mut cluster, "n1"), 200);
        assert_eq!(cluster.set_node("n1", Some(&node("n1"))), None, "nothing that matters changed");
        let mut done = pod("a", "u1", "n1", 200);
        done.finished = true;
        cluster.set_pod(&done.key.clone(), Some(&Arc::new(done)));
        assert_eq!(requested(&mut cluster, "n1"), 0);
    }
}
