//! What plugins would otherwise look through all nodes for, kept up to date node by node.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::node::NodeInfo;

const ZONE: &str = "topology.kubernetes.io/zone";

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    /// Places of nodes with pods that state inter-pod affinity.
    pub(super) social: BTreeSet<usize>,
    /// Nodes that are cordoned.
    pub(super) unschedulable: usize,
    /// Nodes with taints.
    pub(super) tainted: usize,
    /// Nodes that hold an image.
    pub(super) images: HashMap<String, usize>,
    /// Nodes of a zone.
    pub(super) zones: HashMap<String, usize>,
    /// Pods by controller and zone.
    pub(super) owners: HashMap<Arc<str>, HashMap<String, usize>>,
}

impl Index {
    pub(super) fn of(nodes: &[Arc<NodeInfo>]) -> Self {
        let mut index = Self::default();
        for (place, node) in nodes.iter().enumerate() {
            index.images(node, 1);
            index.zone(node, 1);
            index.unschedulable += usize::from(node.unschedulable);
            index.tainted += usize::from(!node.taints.is_empty());
            if let Some(zone) = node.labels.get(ZONE) {
                node.by_owner.iter().for_each(|(owner, pods)| index.owner(owner, zone, 0, *pods));
            }
            if !node.social.is_empty() {
                index.social.insert(place);
            }
        }
        index
    }

    /// The node at a place is another one now.
    pub(super) fn change(&mut self, place: usize, old: &NodeInfo, new: &NodeInfo) {
        if !Arc::ptr_eq(&old.images, &new.images) {
            self.images(old, -1);
            self.images(new, 1);
        }
        let (was, is) = (old.labels.get(ZONE), new.labels.get(ZONE));
        if was != is {
            self.zone(old, -1);
            self.zone(new, 1);
        }
        self.unschedulable = self.unschedulable + usize::from(new.unschedulable) - usize::from(old.unschedulable);
        self.tainted = self.tainted + usize::from(!new.taints.is_empty()) - usize::from(!old.taints.is_empty());
        self.owners(old, new);
        if new.social.is_empty() {
            self.social.remove(&place);
        } else {
            self.social.insert(place);
        }
    }

    fn owners(&mut self, old: &NodeInfo, new: &NodeInfo) {
        let (was, is) = (old.labels.get(ZONE), new.labels.get(ZONE));
        if was == is {
            let Some(zone) = is else { return };
            for (owner, pods) in &old.by_owner {
                let now = new.by_owner.get(owner).copied().unwrap_or(0);
                self.owner(owner, zone, *pods, now);
            }
            for (owner, pods) in new.by_owner.iter().filter(|(owner, _)| !old.by_owner.contains_key(*owner)) {
                self.owner(owner, zone, 0, *pods);
            }
            return;
        }
        if let Some(zone) = was {
            old.by_owner.iter().for_each(|(owner, pods)| self.owner(owner, zone, *pods, 0));
        }
        if let Some(zone) = is {
            new.by_owner.iter().for_each(|(owner, pods)| self.owner(owner, zone, 0, *pods));
        }
    }

    fn images(&mut self, node: &NodeInfo, by: isize) {
        node.images.keys().for_each(|image| count(&mut self.images, image, by));
    }

    fn zone(&mut self, node: &NodeInfo, by: isize) {
        if let Some(zone) = node.labels.get(ZONE) {
            count(&mut self.zones, zone, by);
        }
    }

    fn owner(&mut self, owner: &Arc<str>, zone: &str, was: usize, is: usize) {
        if was == is {
            return;
        }
        let zones = self.owners.entry(owner.clone()).or_default();
        count(zones, zone, is.cast_signed() - was.cast_signed());
        if zones.is_empty() {
            self.owners.remove(owner);
        }
    }
}

/// Counts by a name; a name that counts nothing is left out.
fn count(counts: &mut HashMap<String, usize>, name: &str, by: isize) {
    let present = counts.get(name).copied().unwrap_or(0);
    match present.saturating_add_signed(by) {
        0 => {
            counts.remove(name);
        }
        now => match counts.get_mut(name) {
            Some(count) => *count = now,
            None => {
                counts.insert(name.to_owned(), now);
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::core::v1::Taint;
    use proptest::prelude::*;

    use super::*;
    use crate::pod::PodInfo;

    /// A node by its zone (0 for none), image (0 on cordoned ones, 1 on tainted ones) and the owners of its pods.
    fn node((zone, image, owners): (u8, u8, Vec<u8>)) -> Arc<NodeInfo> {
        let labels = (zone > 0).then(|| (ZONE.to_owned(), zone.to_string()));
        let taints = vec![Taint::default(); usize::from(image == 1)];
        let mut node = NodeInfo {
            labels: Arc::new(labels.into_iter().collect::<BTreeMap<_, _>>()),
            images: Arc::new(HashMap::from([(image.to_string(), 1)])),
            unschedulable: image == 0,
            taints: Arc::new(taints),
            ..NodeInfo::default()
        };
        for (number, owner) in owners.into_iter().enumerate() {
            let pod = PodInfo { uid: number.to_string(), owner: owner.to_string().into(), ..PodInfo::default() };
            node.add_pod(Arc::new(pod));
        }
        Arc::new(node)
    }

    proptest! {
        #[test]
        fn changing_node_by_node_comes_to_the_same_as_counting_anew(
            before in prop::collection::vec((0..3_u8, 0..3_u8, prop::collection::vec(0..3_u8, 0..4)), 1..5),
            changes in prop::collection::vec((0..5_usize, (0..3_u8, 0..3_u8, prop::collection::vec(0..3_u8, 0..4))), 0..8),
        ) {
            let mut nodes: Vec<_> = before.into_iter().map(node).collect();
            let mut index = Index::of(&nodes);
            for (place, new) in changes {
                let (place, new) = (place % nodes.len(), node(new));
                index.change(place, &nodes[place], &new);
                nodes[place] = new;
            }
            prop_assert_eq!(index, Index::of(&nodes));
        }
    }
}
