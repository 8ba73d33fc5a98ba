//! The class `local-path`: made when a node keeps volumes and no class leads to them; the default one where there is no other.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::storage::v1::StorageClass;
use mizzen_api::local_path::{FOLDER, PROVISIONER};
use mizzen_api::{Object, ObjectRef, Reason};
use mizzen_client::{ApiRequest, Client};
use mizzen_reconcile::{Action, Controller, Error, Queue, Reconciler, WatchCache, typed};
use serde_json::json;

use super::NAME as ACCOUNT;
use crate::context::Context;

const NAME: &str = "local-path";
/// Annotation of a class (well-known): claims that name none get it.
const IS_DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

pub(super) fn start(context: &Context, classes: &Arc<WatchCache>) {
    let queue = Queue::default();
    let key = ObjectRef::cluster(NAME);
    let (again, class) = (queue.clone(), key.clone());
    classes.on_change(move |_| again.add(class.clone()));
    let again = queue.clone();
    context.caches.nodes.on_change(move |change| {
        if change.new.is_some_and(|node| keeps_volumes(node)) && !change.old.is_some_and(|node| keeps_volumes(node)) {
            again.add(key.clone());
        }
    });
    let (client, nodes) = (context.client(ACCOUNT), context.caches.nodes.clone());
    context.run(Controller::new("local-path-class", queue, Arc::new(Class { client, nodes, classes: classes.clone() })));
}

fn keeps_volumes(node: &Object) -> bool {
    let annotations = typed::view::<Node>(node).ok().and_then(|node| node.metadata.annotations.clone());
    annotations.is_some_and(|all| all.contains_key(FOLDER))
}

struct Class {
    client: Arc<dyn Client>,
    nodes: Arc<WatchCache>,
    classes: Arc<WatchCache>,
}

#[async_trait]
impl Reconciler for Class {
    async fn reconcile(&self, _key: ObjectRef) -> Result<Action, Error> {
        self.classes.synced().await;
        let classes = self.classes.list();
        let classes: Vec<_> = classes.iter().filter_map(|class| typed::view::<StorageClass>(class).ok()).collect();
        let nobody_keeps = !self.nodes.list().iter().any(|node| keeps_volumes(node));
        if nobody_keeps || classes.iter().any(|class| class.provisioner == PROVISIONER) {
            return Ok(Action::Done);
        }
        let marked = |class: &Arc<StorageClass>| {
            class.metadata.annotations.as_ref().is_some_and(|all| all.get(IS_DEFAULT).is_some_and(|value| value == "true"))
        };
        let is_default = (!classes.iter().any(marked)).to_string();
        let class = json!({"metadata": {"name": NAME, "annotations": {IS_DEFAULT: is_default}}, "provisioner": PROVISIONER,
            "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer"});
        match self.client.write(ApiRequest::create(&typed::gvr::<StorageClass>(), "", class)).await {
            Ok(_) => Ok(Action::Done),
            // Somebody's own, of another provisioner: it stays.
            Err(status) if status.is(Reason::AlreadyExists) => Ok(Action::Done),
            Err(status) => Err(Error::api(format!("create storageclasses {NAME}"), status)),
        }
    }
}
