//! `status.loadBalancer` of ingresses: where the proxies of Ready nodes are reached.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::networking::v1::Ingress;
use mizzen_api::ingress::ADDRESSES;
use mizzen_api::{Object, ObjectRef};
use mizzen_client::{Client, PatchKind};
use mizzen_reconcile::typed::{self, gvr};
use mizzen_reconcile::{Action, Controller, Error, Queue, Reconciler, WatchCache, WatchSpec};
use serde_json::{Value, json};

use super::{ACCOUNT, own_classes};
use crate::context::Context;

pub(super) fn start(context: &Context, classes: Arc<WatchCache<Object>>) {
    let client = context.client(ACCOUNT);
    let queue = Queue::default();
    let ingresses = WatchCache::objects(WatchSpec::all(gvr::<Ingress>())).start(client.clone(), context.cancel.clone());
    ingresses.enqueue(&queue);
    let (again, all) = (queue.clone(), ingresses.clone());
    classes.on_change(move |_| all.keys().into_iter().for_each(|key| again.add(key)));
    let (again, all) = (queue.clone(), ingresses.clone());
    on_moves(&context.caches.nodes, move || all.keys().into_iter().for_each(|key| again.add(key)));
    let reconciler = Status { client, ingresses, classes, nodes: context.caches.nodes.clone() };
    context.run(Controller::new("ingress-status", queue, Arc::new(reconciler)));
}

/// Calls `moved` when a proxy comes, goes or moves. A node tells how it is every few seconds: that is none of it.
pub(super) fn on_moves(nodes: &WatchCache<Object>, moved: impl Fn() + Send + Sync + 'static) {
    nodes.on_change(move |change| {
        if change.old.and_then(|node| addresses(node)) != change.new.and_then(|node| addresses(node)) {
            moved();
        }
    });
}

struct Status {
    client: Arc<dyn Client>,
    ingresses: Arc<WatchCache<Object>>,
    classes: Arc<WatchCache<Object>>,
    nodes: Arc<WatchCache<Object>>,
}

#[async_trait]
impl Reconciler for Status {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        self.classes.synced().await;
        let Some(object) = self.ingresses.get(&key) else { return Ok(Action::Done) };
        let ingress = typed::view::<Ingress>(&object)?;
        let leaving = ingress.metadata.deletion_timestamp.is_some();
        if leaving || !own_classes(&self.classes).serve(&ingress) {
            return Ok(Action::Done);
        }
        let wanted = points(&self.nodes.list());
        let present = object.value().map_err(|source| Error::Decode { operation: format!("decode ingresses {key}"), source })?;
        let present = present.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
        if present.map(Vec::as_slice).unwrap_or_default() == wanted {
            return Ok(Action::Done);
        }
        let status = json!({"status": {"loadBalancer": {"ingress": wanted}}});
        typed::patch::<Ingress>(&*self.client, &key.namespace, &key.name, "status", PatchKind::Merge, status).await?;
        Ok(Action::Done)
    }
}

/// What the status says: each address once, in order.
pub(super) fn points(nodes: &[Arc<Object>]) -> Vec<Value> {
    let all: BTreeSet<String> = nodes.iter().filter_map(|node| addresses(node)).flatten().collect();
    let point = |address: &String| match address.parse::<IpAddr>() {
        Ok(ip) => json!({"ip": ip}),
        Err(_) => json!({"hostname": address}),
    };
    all.iter().map(point).collect()
}

/// Where a node's proxy is reached; `None` without one, or when the node is not Ready.
fn addresses(node: &Object) -> Option<Vec<String>> {
    let node = typed::view::<Node>(node).ok()?;
    let told = node.metadata.annotations.as_ref()?.get(ADDRESSES)?;
    let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is_ready = conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let told: Vec<String> = told.split(',').map(|address| address.trim().to_owned()).filter(|text| !text.is_empty()).collect();
    Some(told).filter(|told| is_ready && !told.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, addresses: &str, ready: &str) -> Arc<Object> {
        let node = json!({"metadata": {"name": name, "resourceVersion": "1", "annotations": {ADDRESSES: addresses}},
            "status": {"conditions": [{"type": "Ready", "status": ready}]}});
        Arc::new(Object::new(node.to_string().into_bytes(), 1))
    }

    #[test]
    fn the_status_has_the_addresses_of_ready_nodes_each_once() {
        let nodes = [
            node("a", "192.0.2.2, edge.example", "True"),
            node("b", "192.0.2.1,192.0.2.2", "True"),
            node("c", "192.0.2.3", "Unknown"),
            node("d", "", "True"),
        ];
        assert_eq!(points(&nodes), [json!({"ip": "192.0.2.1"}), json!({"ip": "192.0.2.2"}), json!({"hostname": "edge.example"})]);
    }
}
