//! The whole objects behind rows and cycles, which guests ask for while they are called.

use std::collections::HashMap;
use std::sync::Arc;

use mizzen_api::Object;
use mizzen_plugins_host::scheduler::Cluster;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::columns::Columns;
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// What a guest may ask for; changed between its calls.
#[derive(Default)]
pub(super) struct View {
    nodes: Mutex<Vec<Option<Arc<NodeInfo>>>>,
    pods: Mutex<HashMap<u64, Arc<Object>>>,
}

impl View {
    /// The guest was told of these rows.
    pub(super) fn changed(&self, rows: impl IntoIterator<Item = u32>, columns: &Columns) {
        let mut nodes = self.nodes.lock();
        for row in rows {
            let at = row as usize;
            if nodes.len() <= at {
                nodes.resize(at + 1, None);
            }
            nodes[at] = columns.node(row).cloned();
        }
    }

    pub(super) fn begin(&self, cycle: u64, pod: &PodInfo) {
        if let Some(object) = &pod.object {
            self.pods.lock().insert(cycle, object.clone());
        }
    }

    pub(super) fn end(&self, cycle: u64) {
        self.pods.lock().remove(&cycle);
    }

    fn at(&self, row: u32) -> Option<Arc<NodeInfo>> {
        self.nodes.lock().get(row as usize)?.clone()
    }
}

fn text(object: &Object) -> String {
    String::from_utf8_lossy(object.bytes()).into_owned()
}

impl Cluster for View {
    fn node(&self, row: u32) -> Option<String> {
        Some(text(self.at(row)?.object.as_deref()?))
    }

    fn pod(&self, cycle: u64) -> Option<String> {
        Some(text(self.pods.lock().get(&cycle)?))
    }

    fn pods_on(&self, row: u32, most: usize) -> Vec<String> {
        let Some(node) = self.at(row) else { return Vec::new() };
        node.pods.iter().take(most).map(|pod| document(pod, &node.name).to_string()).collect()
    }
}

/// What the scheduler remembers of a pod that has its node.
fn document(pod: &PodInfo, node: &str) -> Value {
    let images = pod.images.iter().map(|image| json!({"image": image}));
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": pod.key.namespace, "name": pod.key.name, "uid": pod.uid, "labels": *pod.labels},
        "spec": {
            "nodeName": node,
            "schedulerName": pod.scheduler,
            "priority": pod.priority,
            "nodeSelector": pod.node_selector,
            "tolerations": *pod.tolerations,
            "affinity": pod.affinity,
            "containers": images.collect::<Vec<_>>(),
        },
    })
}
