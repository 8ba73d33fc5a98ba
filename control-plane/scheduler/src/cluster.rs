//! The mirror of nodes and pods that snapshots are taken from.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use mizzen_api::ObjectRef;

use crate::budget::Budget;
use crate::framework::ClusterEvent;
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;
use crate::volumes::Volumes;

#[derive(Default)]
pub(crate) struct Cluster {
    nodes: BTreeMap<String, Arc<NodeInfo>>,
    /// Pods that take something of a node, also of one not seen yet; `node` says which.
    placed: HashMap<Arc<ObjectRef>, Arc<PodInfo>>,
    /// Uids of placed pods whose binding the cache has not shown yet.
    assumed: HashSet<String>,
    /// Waiting pods that room is made for, by uid; `nominated_node` says where.
    nominated: HashMap<String, Arc<PodInfo>>,
    budgets: BTreeMap<ObjectRef, Arc<Budget>>,
    volumes: Volumes,
    /// What each snapshot does not have yet, by its follower.
    stale: Vec<Stale>,
}

/// Of one snapshot that is brought up to date now and then.
pub(crate) struct Follower(usize);

#[derive(Clone, Default)]
struct Stale {
    /// Names of nodes that changed.
    nodes: HashSet<String>,
    /// Nodes came or went.
    members: bool,
    nominated: bool,
    budgets: bool,
}

impl Stale {
    fn mark(&mut self, node: &str) {
        if !self.members && !self.nodes.contains(node) {
            self.nodes.insert(node.to_owned());
        }
    }
}

/// The cluster at one moment, for who is not in step with the scheduler.
pub(crate) struct View {
    nodes: Vec<Arc<NodeInfo>>,
    nominated: Vec<Arc<PodInfo>>,
    budgets: Vec<Arc<Budget>>,
    volumes: Volumes,
}

impl View {
    /// As if the pod had no node and no room were kept for it.
    pub(crate) fn without(self, pod: &PodInfo) -> Snapshot {
        let mut nodes = self.nodes;
        for node in nodes.iter_mut().filter(|node| node.pods.iter().any(|other| other.uid == pod.uid)) {
            Arc::make_mut(node).remove_pod(&pod.uid);
        }
        let mut snapshot = Snapshot::of(nodes);
        snapshot.nominated = by_node(self.nominated.iter().filter(|other| other.uid != pod.uid));
        snapshot.budgets = Arc::new(self.budgets);
        snapshot.volumes = self.volumes;
        snapshot
    }
}

fn by_node<'a>(nominated: impl Iterator<Item = &'a Arc<PodInfo>>) -> HashMap<String, Vec<Arc<PodInfo>>> {
    let mut by_node: HashMap<String, Vec<Arc<PodInfo>>> = HashMap::new();
    for pod in nominated {
        by_node.entry(pod.nominated_node.clone()).or_default().push(pod.clone());
    }
    by_node
}

impl Cluster {
    pub(crate) fn view(&self) -> View {
        View {
            nodes: self.nodes.values().cloned().collect(),
            nominated: self.nominated.values().cloned().collect(),
            budgets: self.budgets.values().cloned().collect(),
            volumes: self.volumes.clone(),
        }
    }

    pub(crate) fn volumes(&self) -> &Volumes {
        &self.volumes
    }

    /// Begins to note what a snapshot does not have, which is everything.
    pub(crate) fn follow(&mut self) -> Follower {
        self.stale.push(Stale { members: true, nominated: true, budgets: true, ..Stale::default() });
        Follower(self.stale.len() - 1)
    }

    fn outdate(&mut self, mark: impl Fn(&mut Stale)) {
        self.stale.iter_mut().for_each(mark);
    }

    /// Brings a follower's snapshot up to date, always the same one.
    pub(crate) fn refresh(&mut self, follower: &Follower, snapshot: &mut Snapshot) {
        let Some(stale) = self.stale.get_mut(follower.0).map(std::mem::take) else { return };
        if stale.members {
            snapshot.reset(self.nodes.values().cloned().collect());
        } else {
            snapshot.update(stale.nodes.iter().filter_map(|name| self.nodes.get(name).cloned()));
        }
        if stale.nominated {
            snapshot.nominated = by_node(self.nominated.values());
        }
        if stale.budgets {
            snapshot.budgets = Arc::new(self.budgets.values().cloned().collect());
        }
        snapshot.volumes.clone_from(&self.volumes);
    }

    /// Takes over a node's new state; answers what it may mean for waiting pods.
    pub(crate) fn set_node(&mut self, name: &str, node: Option<&Arc<NodeInfo>>) -> Option<ClusterEvent> {
        let Some(node) = node else {
            self.outdate(|stale| stale.members = true);
            self.nodes.remove(name);
            return None;
        };
        let mut fresh = NodeInfo::clone(node);
        match self.nodes.remove(name) {
            None => {
                self.outdate(|stale| stale.members = true);
                for pod in self.placed.values().filter(|pod| pod.node == name) {
                    fresh.add_pod(pod.clone());
                }
                self.nodes.insert(name.to_owned(), Arc::new(fresh));
                Some(ClusterEvent::NodeAdded)
            }
            Some(old) => {
                let changed = old.labels != node.labels
                    || old.taints != node.taints
                    || old.unschedulable != node.unschedulable
                    || old.allocatable != node.allocatable
                    || old.allowed_pods != node.allowed_pods;
                fresh.inherit(&old);
                self.nodes.insert(name.to_owned(), Arc::new(fresh));
                self.outdate(|stale| stale.mark(name));
                changed.then_some(ClusterEvent::NodeChanged)
            }
        }
    }

    /// Takes over a pod's new state from the cache; answers what it may mean for waiting pods.
    pub(crate) fn set_pod(
        &mut self,
        key: &ObjectRef,
        old: Option<&Arc<PodInfo>>,
        pod: Option<&Arc<PodInfo>>,
    ) -> Vec<ClusterEvent> {
        let is_freed = self.follow_nomination(old, pod);
        let event = self.follow_placement(key, pod);
        let left = (is_freed && event != Some(ClusterEvent::PodLeft)).then_some(ClusterEvent::PodLeft);
        event.into_iter().chain(left).collect()
    }

    /// Answers whether room that was kept for a pod is free now.
    fn follow_nomination(&mut self, old: Option<&Arc<PodInfo>>, pod: Option<&Arc<PodInfo>>) -> bool {
        let replaced = old.filter(|old| pod.is_none_or(|pod| pod.uid != old.uid));
        let mut is_freed = replaced.is_some_and(|old| self.set_nominated(&old.uid, None));
        let Some(pod) = pod else { return is_freed };
        if !pod.node.is_empty() || pod.terminating || pod.finished {
            let elsewhere = self.nominated.get(&pod.uid).is_some_and(|kept| kept.nominated_node != pod.node);
            self.set_nominated(&pod.uid, None);
            is_freed |= elsewhere;
        } else if !self.assumed.contains(&pod.uid)
            // One that was nominated here is not shown at once.
            && (!pod.nominated_node.is_empty() || old.is_some_and(|old| !old.nominated_node.is_empty()))
        {
            is_freed |= self.set_nominated(&pod.uid, Some(pod));
        }
        is_freed
    }

    fn follow_placement(&mut self, key: &ObjectRef, pod: Option<&Arc<PodInfo>>) -> Option<ClusterEvent> {
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
                let before = self.placed.get(key).filter(|placed| placed.uid == pod.uid && placed.node == pod.node);
                match before.cloned() {
                    Some(before) => {
                        let known = before.labels == pod.labels;
                        let left = before.requests != pod.requests;
                        if !is_same_on_node(&before, pod) {
                            self.place(pod.clone());
                        }
                        match (left, known) {
                            (true, _) => Some(ClusterEvent::PodLeft),
                            (_, false) => Some(ClusterEvent::PodPlaced),
                            _ => None,
                        }
                    }
                    None => {
                        self.place(pod.clone());
                        Some(ClusterEvent::PodPlaced)
                    }
                }
            }
            None => self.unplace(key).then_some(ClusterEvent::PodLeft),
        }
    }

    pub(crate) fn set_budget(&mut self, key: &ObjectRef, budget: Option<&Arc<Budget>>) {
        self.outdate(|stale| stale.budgets = true);
        match budget {
            Some(budget) => self.budgets.insert(key.clone(), budget.clone()),
            None => self.budgets.remove(key),
        };
    }

    /// Keeps room on a node for a waiting pod, before the API has confirmed it; answers whether room elsewhere is free now.
    pub(crate) fn nominate(&mut self, pod: &PodInfo, node: &str) -> bool {
        let mut nominated = pod.clone();
        node.clone_into(&mut nominated.nominated_node);
        self.set_nominated(&pod.uid, Some(&Arc::new(nominated)))
    }

    /// Gives up the room that is kept for a pod; answers whether there was any.
    pub(crate) fn forget_nomination(&mut self, pod: &PodInfo) -> bool {
        self.set_nominated(&pod.uid, None)
    }

    /// Where room is kept for a pod.
    pub(crate) fn nomination(&self, uid: &str) -> Option<&Arc<PodInfo>> {
        self.nominated.get(uid)
    }

    /// Pods of a lower priority that are nominated for a node.
    pub(crate) fn nominated_after(&self, pod: &PodInfo, node: &str) -> Vec<Arc<PodInfo>> {
        let after = |other: &&Arc<PodInfo>| other.nominated_node == node && other.priority < pod.priority;
        self.nominated.values().filter(after).cloned().collect()
    }

    /// Answers whether room that was kept is free now: the nomination ended, or moved to another node.
    fn set_nominated(&mut self, uid: &str, pod: Option<&Arc<PodInfo>>) -> bool {
        let pod = pod.filter(|pod| !pod.nominated_node.is_empty());
        let before = match pod {
            Some(pod) => self.nominated.insert(uid.to_owned(), pod.clone()),
            None => self.nominated.remove(uid),
        };
        if before.is_some() || pod.is_some() {
            self.outdate(|stale| stale.nominated = true);
        }
        before.is_some_and(|before| pod.is_none_or(|pod| pod.nominated_node != before.nominated_node))
    }

    /// Counts a pod as bound, before the API has confirmed it; answers whether room that was kept for it elsewhere is free
    /// now.
    pub(crate) fn assume(&mut self, pod: &PodInfo, node: &str) -> bool {
        let mut placed = pod.clone();
        node.clone_into(&mut placed.node);
        placed.object = None;
        let elsewhere = self.nominated.get(&pod.uid).is_some_and(|kept| kept.nominated_node != node);
        self.set_nominated(&pod.uid, None);
        self.assumed.insert(pod.uid.clone());
        self.place(Arc::new(placed));
        elsewhere
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
            change(Arc::make_mut(node));
            self.outdate(|stale| stale.mark(name));
        }
    }
}

/// Whether nothing changed that plugins look at on a node.
fn is_same_on_node(a: &PodInfo, b: &PodInfo) -> bool {
    a.labels == b.labels
        && a.requests == b.requests
        && a.terminating == b.terminating
        && a.is_preempted == b.is_preempted
        && a.started == b.started
        && a.owner == b.owner
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Amounts;

    fn pod(name: &str, uid: &str, node: &str, milli_cpu: i64) -> PodInfo {
        let requests = Amounts { milli_cpu, ..Amounts::default() };
        PodInfo { key: ObjectRef::new("d", name).into(), uid: uid.into(), node: node.into(), requests, ..PodInfo::default() }
    }

    fn requested(cluster: &mut Cluster, node: &str) -> i64 {
        let mut snapshot = Snapshot::default();
        let follower = cluster.follow();
        cluster.refresh(&follower, &mut snapshot);
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
        cluster.set_pod(&waiting.key, None, Some(&Arc::new(waiting.clone())));
        assert_eq!(requested(&mut cluster, "n1"), 300);
        cluster.set_pod(&waiting.key, None, Some(&Arc::new(pod("a", "u1", "n1", 300))));
        cluster.forget(&waiting);
        assert_eq!(requested(&mut cluster, "n1"), 300, "confirmed: forgetting comes too late");
        assert_eq!(cluster.set_pod(&waiting.key, None, None), [ClusterEvent::PodLeft]);
        assert_eq!(requested(&mut cluster, "n1"), 0);
        cluster.assume(&waiting, "n1");
        cluster.forget(&waiting);
        assert_eq!(requested(&mut cluster, "n1"), 0);
    }

    #[test]
    fn a_node_that_comes_after_its_pods_counts_them() {
        let mut cluster = Cluster::default();
        cluster.set_pod(&ObjectRef::new("d", "a"), None, Some(&Arc::new(pod("a", "u1", "n1", 200))));
        assert_eq!(cluster.set_node("n1", Some(&node("n1"))), Some(ClusterEvent::NodeAdded));
        assert_eq!(requested(&mut cluster, "n1"), 200);
        assert_eq!(cluster.set_node("n1", Some(&node("n1"))), None, "nothing that matters changed");
        let mut done = pod("a", "u1", "n1", 200);
        done.finished = true;
        cluster.set_pod(&done.key.clone(), None, Some(&Arc::new(done)));
        assert_eq!(requested(&mut cluster, "n1"), 0);
    }

    #[test]
    fn room_that_is_kept_for_a_pod_is_free_when_it_goes_elsewhere_ends_or_is_gone() {
        let left = [ClusterEvent::PodLeft];
        let shown =
            |node: &str, nominated: &str| Arc::new(PodInfo { nominated_node: nominated.into(), ..pod("a", "u1", node, 100) });
        let (waiting, nominated) = (shown("", ""), shown("", "n1"));
        let key = waiting.key.clone();
        let kept = || {
            let mut cluster = Cluster::default();
            assert!(!cluster.nominate(&waiting, "n1"), "there was none");
            assert!(cluster.set_pod(&key, Some(&waiting), Some(&nominated)).is_empty(), "the API shows it");
            cluster
        };
        assert_eq!(kept().set_pod(&key, Some(&nominated), Some(&shown("", "n2"))), left, "moved");
        assert_eq!(kept().set_pod(&key, Some(&nominated), Some(&waiting)), left, "taken back");
        assert_eq!(kept().set_pod(&key, Some(&nominated), None), left, "gone");
        assert_eq!(kept().set_pod(&key, Some(&nominated), Some(&shown("n1", ""))), [ClusterEvent::PodPlaced], "it is used");
        let elsewhere = [ClusterEvent::PodPlaced, ClusterEvent::PodLeft];
        assert_eq!(kept().set_pod(&key, Some(&nominated), Some(&shown("n2", ""))), elsewhere);
        let ending = Arc::new(PodInfo { terminating: true, ..PodInfo::clone(&nominated) });
        assert_eq!(kept().set_pod(&key, Some(&nominated), Some(&ending)), left, "it will not come");
        assert!(kept().nominate(&waiting, "n2") && kept().forget_nomination(&waiting));
        assert!(kept().assume(&waiting, "n2") && !kept().assume(&waiting, "n1"));
        let mut cluster = kept();
        cluster.assume(&waiting, "n1");
        assert!(cluster.set_pod(&key, Some(&nominated), Some(&nominated)).is_empty());
        assert!(cluster.nomination("u1").is_none(), "it has its place already");
    }
}
