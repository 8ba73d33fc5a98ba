//! A recorded cluster: nodes with their pods.

use std::collections::BTreeMap;

use mizzen_plugins_host::scheduler;
use parking_lot::Mutex;
use serde_json::Value;

use super::text;

pub(crate) struct Cluster {
    /// In the order of their rows.
    pub(super) nodes: Vec<Node>,
    /// Cycles under way.
    cycles: Mutex<BTreeMap<u64, String>>,
}

pub(crate) struct Node {
    pub name: String,
    pub object: Value,
    pub pods: Vec<Value>,
}

impl Cluster {
    /// Of Nodes, and Pods that name their node; other kinds are passed over.
    pub fn new(objects: Vec<Value>) -> Self {
        let (nodes, others): (Vec<_>, Vec<_>) = objects.into_iter().partition(|object| text(object, "/kind") == "Node");
        let node = |object: Value| Node { name: text(&object, "/metadata/name").to_owned(), object, pods: Vec::new() };
        let mut nodes: Vec<Node> = nodes.into_iter().map(node).collect();
        for pod in others.into_iter().filter(|object| text(object, "/kind") == "Pod") {
            let ended = matches!(text(&pod, "/status/phase"), "Succeeded" | "Failed");
            if let Some(node) = nodes.iter_mut().find(|node| !ended && node.name == text(&pod, "/spec/nodeName")) {
                node.pods.push(pod);
            }
        }
        Self { nodes, cycles: Mutex::default() }
    }

    /// The same nodes again and again until there are so many, named apart.
    pub fn grown(mut self, to: usize) -> Self {
        let kinds = self.nodes.len();
        // Without any there is nothing to be like.
        let to = if kinds == 0 { 0 } else { to };
        for n in kinds..to.max(kinds) {
            let like = &self.nodes[n % kinds];
            let name = format!("{}-{n}", like.name);
            let mut object = like.object.clone();
            object["metadata"]["name"] = name.clone().into();
            let pods = like.pods.clone();
            self.nodes.push(Node { name, object, pods });
        }
        self
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|node| node.name.as_str())
    }

    pub fn rows(&self) -> Vec<u32> {
        (0..).take(self.nodes.len()).collect()
    }

    pub fn begin(&self, cycle: u64, pod: &Value) {
        self.cycles.lock().insert(cycle, pod.to_string());
    }

    pub fn end(&self, cycle: u64) {
        self.cycles.lock().remove(&cycle);
    }
}

impl scheduler::Cluster for Cluster {
    fn node(&self, row: u32) -> Option<String> {
        Some(self.nodes.get(row as usize)?.object.to_string())
    }

    fn pod(&self, cycle: u64) -> Option<String> {
        self.cycles.lock().get(&cycle).cloned()
    }

    fn pods_on(&self, row: u32, most: usize) -> Vec<String> {
        let pods = self.nodes.get(row as usize).map_or(&[][..], |node| &node.pods);
        pods.iter().take(most).map(Value::to_string).collect()
    }
}
