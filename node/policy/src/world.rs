//! All that is known of pods, namespaces and policies, and what of it the table should have. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mizzen_api::ObjectRef;
use mizzen_network::Family;
use mizzen_network::elements::Model;

use crate::compile::{Compiled, isolate};
use crate::group::{Group, Labels, Pod};
use crate::key::{Changes, Elements, Key};
use crate::view::PolicyView;

/// A set that rules of this node's pods ask for.
struct Asked {
    group: Group,
    /// How many of this node's pods ask.
    users: usize,
    /// Those that have put something into it.
    pods: BTreeSet<ObjectRef>,
}

/// Of one family: pods by their addresses of it.
pub struct World {
    family: Family,
    pods: BTreeMap<ObjectRef, Pod>,
    namespaces: BTreeMap<String, Labels>,
    policies: BTreeMap<ObjectRef, Compiled>,
    /// What this node's pods want: chains, sets, and the ways from their addresses to those.
    isolation: Model<Key, ObjectRef>,
    /// What sets contain, by set and pod.
    members: Model<Key, (String, ObjectRef)>,
    asked: BTreeMap<String, Asked>,
    /// The sets that each of this node's pods asks for.
    asking: BTreeMap<ObjectRef, BTreeSet<String>>,
    /// Pods whose policies, or what they are to others, may be different.
    stale: BTreeSet<ObjectRef>,
    moved: BTreeSet<ObjectRef>,
}

impl World {
    pub fn new(family: Family) -> Self {
        Self {
            family,
            pods: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            policies: BTreeMap::new(),
            isolation: Model::default(),
            members: Model::default(),
            asked: BTreeMap::new(),
            asking: BTreeMap::new(),
            stale: BTreeSet::new(),
            moved: BTreeSet::new(),
        }
    }

    /// Which of a pod's addresses is of the world's family.
    pub fn own(&self, addresses: &[IpAddr]) -> Option<IpAddr> {
        addresses.iter().copied().find(|address| Family::of(*address) == self.family)
    }

    /// What a pod is now; `None` for one that is gone, or has no address.
    pub fn put_pod(&mut self, key: &ObjectRef, pod: Option<Pod>) {
        if self.pods.get(key) == pod.as_ref() {
            return;
        }
        match pod {
            Some(pod) => drop(self.pods.insert(key.clone(), pod)),
            None => drop(self.pods.remove(key)),
        }
        self.stale.insert(key.clone());
        self.moved.insert(key.clone());
    }

    pub fn put_namespace(&mut self, name: &str, labels: Option<Labels>) {
        if self.namespaces.get(name) == labels.as_ref() {
            return;
        }
        match labels {
            Some(labels) => drop(self.namespaces.insert(name.to_owned(), labels)),
            None => drop(self.namespaces.remove(name)),
        }
        let there: Vec<_> = self.inside(name).map(|(key, _)| key.clone()).collect();
        self.moved.extend(there);
    }

    pub fn put_policy(&mut self, key: &ObjectRef, policy: Option<PolicyView>) {
        if self.policies.get(key).map(|known| &known.policy) == policy.as_ref() {
            return;
        }
        match policy {
            Some(policy) => drop(self.policies.insert(key.clone(), Compiled::of(policy, self.family))),
            None => drop(self.policies.remove(key)),
        }
        let there: Vec<_> = self.inside(&key.namespace).filter(|(_, pod)| pod.local).map(|(key, _)| key.clone()).collect();
        self.stale.extend(there);
    }

    /// What has become different since it was last asked.
    pub fn settle(&mut self) -> Changes {
        let mut changes = Changes::new();
        let mut new = BTreeSet::new();
        for key in std::mem::take(&mut self.stale) {
            let (elements, groups) = self.isolated(&key);
            let names: BTreeSet<String> = groups.keys().cloned().collect();
            let before = self.asking.remove(&key).unwrap_or_default();
            for (name, group) in groups.into_iter().filter(|(name, _)| !before.contains(name)) {
                let asked = self.asked.entry(name.clone()).or_insert_with(|| {
                    new.insert(name);
                    Asked { group, users: 0, pods: BTreeSet::new() }
                });
                asked.users += 1;
            }
            for name in before.difference(&names) {
                if let Some(asked) = self.asked.get_mut(name) {
                    asked.users -= 1;
                }
            }
            if !names.is_empty() {
                self.asking.insert(key.clone(), names);
            }
            self.isolation.put(&key, elements, &mut changes);
        }
        let moved = std::mem::take(&mut self.moved);
        self.asked.retain(|name, asked| {
            if asked.users == 0 {
                for pod in &asked.pods {
                    self.members.put(&(name.clone(), pod.clone()), Elements::new(), &mut changes);
                }
                return false;
            }
            // A set that nobody asked for before takes everybody in; others only those of whom there is news.
            let all = new.contains(name).then(|| self.pods.keys()).into_iter().flatten();
            let some = (!new.contains(name)).then_some(&moved).into_iter().flatten();
            for key in all.chain(some) {
                let pod = self.pods.get(key);
                let elements = pod.map(|pod| asked.group.elements(pod, &self.namespaces)).unwrap_or_default();
                let is_member = !elements.is_empty();
                let was_member = if is_member { !asked.pods.insert(key.clone()) } else { asked.pods.remove(key) };
                if is_member || was_member {
                    let elements = elements.into_iter().map(|element| (Key::Element(name.clone(), element), String::new()));
                    self.members.put(&(name.clone(), key.clone()), elements.collect(), &mut changes);
                }
            }
            true
        });
        changes
    }

    /// All that the table should have.
    pub fn elements(&self) -> Elements {
        let mut elements = self.isolation.elements();
        elements.extend(self.members.elements());
        elements
    }

    /// What policies make of a pod, and the sets that takes.
    fn isolated(&self, key: &ObjectRef) -> (Elements, BTreeMap<String, Group>) {
        let Some(pod) = self.pods.get(key).filter(|pod| pod.local) else { return Default::default() };
        let first = ObjectRef::new(key.namespace.clone(), "");
        let there = self.policies.range(first..).take_while(|(policy, _)| policy.namespace == key.namespace);
        let about: Vec<&Compiled> =
            there.map(|(_, policy)| policy).filter(|policy| policy.policy.pods.matches(&pod.view.labels)).collect();
        let (elements, groups) = isolate(pod.address, &about);
        (elements, groups.into_iter().map(|group| (group.name(), group.clone())).collect())
    }

    fn inside<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = (&'a ObjectRef, &'a Pod)> {
        self.pods.range(ObjectRef::new(namespace, "")..).take_while(move |(key, _)| key.namespace == namespace)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::pod::PodView;

    fn pod(namespace: &str, name: &str, app: &str, last: u8, local: bool) -> (ObjectRef, Pod) {
        let key = ObjectRef::new(namespace, name);
        let labels = BTreeMap::from([("app".to_owned(), app.to_owned())]);
        let view = PodView { key: key.clone(), labels, ..PodView::default() };
        (key, Pod { view: Arc::new(view), address: [10, 0, 0, last].into(), local })
    }

    fn put(world: &mut World, (key, pod): (ObjectRef, Pod)) {
        world.put_pod(&key, Some(pod));
    }

    fn policy(world: &mut World, name: &str, spec: Value) {
        let policy = json!({"metadata": {"name": name, "namespace": "n"}, "spec": spec});
        world.put_policy(&ObjectRef::new("n", name), Some(PolicyView::of(&policy).expect("is a policy")));
    }

    fn from_clients() -> Value {
        json!({"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}]})
    }

    /// The keys of what has changed, with chains and sets as their kind only.
    fn changed(changes: &Changes) -> Vec<String> {
        let of = |key: &Key| match key {
            Key::Chain(name) => format!("chain {}", name.split('_').next().unwrap_or_default()),
            Key::Set(name) => format!("set {}", name.split('_').next().unwrap_or_default()),
            Key::Element(set, element) => format!("{}: {element}", set.split('_').next().unwrap_or_default()),
        };
        changes.keys().map(of).collect()
    }

    #[test]
    fn a_pod_that_comes_is_an_element_and_no_chain() {
        let mut world = World::new(Family::V4);
        policy(&mut world, "p", from_clients());
        put(&mut world, pod("n", "web-1", "web", 1, true));
        put(&mut world, pod("n", "client-1", "client", 2, false));
        let first =
            ["chain ingress", "chain policy", "set pods", "ingress: 10.0.0.1", "itself: 10.0.0.1 . 10.0.0.1", "pods: 10.0.0.2"];
        assert_eq!(changed(&world.settle()), first);
        put(&mut world, pod("n", "client-2", "client", 3, false));
        assert_eq!(changed(&world.settle()), ["pods: 10.0.0.3"]);
        put(&mut world, pod("n", "web-2", "web", 4, true));
        assert_eq!(changed(&world.settle()), ["ingress: 10.0.0.4", "itself: 10.0.0.4 . 10.0.0.4"]);
        put(&mut world, pod("n", "client-2", "other", 3, false));
        assert_eq!(changed(&world.settle()), ["pods: 10.0.0.3"], "it has another label now");
        put(&mut world, pod("n", "web-3", "web", 5, false));
        put(&mut world, pod("m", "client-3", "client", 6, true));
        assert_eq!(world.settle(), Changes::new(), "one of another node, and a client of another namespace");
    }

    #[test]
    fn what_nobody_asks_for_any_more_goes() {
        let mut world = World::new(Family::V4);
        policy(&mut world, "p", from_clients());
        put(&mut world, pod("n", "web-1", "web", 1, true));
        put(&mut world, pod("n", "client-1", "client", 2, false));
        let all = world.settle().len();
        world.put_pod(&ObjectRef::new("n", "web-1"), None);
        assert_eq!(world.settle().len(), all);
        assert_eq!(world.elements(), Elements::new());
        put(&mut world, pod("n", "web-1", "web", 1, true));
        assert_eq!(world.settle().len(), all);
        world.put_policy(&ObjectRef::new("n", "p"), None);
        world.settle();
        assert_eq!(world.elements(), Elements::new());
    }

    #[test]
    fn an_address_that_two_pods_have_for_a_while_stays_until_both_are_gone() {
        let mut world = World::new(Family::V4);
        policy(&mut world, "p", from_clients());
        put(&mut world, pod("n", "web-1", "web", 1, true));
        put(&mut world, pod("n", "old", "client", 2, false));
        world.settle();
        put(&mut world, pod("n", "new", "client", 2, false));
        world.put_pod(&ObjectRef::new("n", "old"), None);
        assert_eq!(world.settle(), Changes::new());
        world.put_pod(&ObjectRef::new("n", "new"), None);
        assert_eq!(changed(&world.settle()), ["pods: 10.0.0.2"]);
    }

    #[test]
    fn labels_of_a_namespace_count_for_all_of_its_pods() {
        let mut world = World::new(Family::V4);
        policy(&mut world, "p", json!({"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "a"}}}]}]}));
        put(&mut world, pod("n", "web-1", "web", 1, true));
        put(&mut world, pod("m", "a", "x", 2, false));
        put(&mut world, pod("m", "b", "y", 3, false));
        world.settle();
        world.put_namespace("m", Some(Labels::from([("team".to_owned(), "a".to_owned())])));
        assert_eq!(changed(&world.settle()), ["pods: 10.0.0.2", "pods: 10.0.0.3"]);
        world.put_namespace("m", Some(Labels::new()));
        assert_eq!(changed(&world.settle()), ["pods: 10.0.0.2", "pods: 10.0.0.3"]);
    }
}
