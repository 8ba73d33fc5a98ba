//! The class `mizzen`: made, as the default one, when a node has a proxy and no class leads to it.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::networking::v1::IngressClass;
use mizzen_api::ingress::{CONTROLLER, IS_DEFAULT_CLASS};
use mizzen_api::{Object, ObjectRef, Reason};
use mizzen_client::{ApiRequest, Client};
use mizzen_reconcile::{Action, Controller, Error, Queue, Reconciler, WatchCache, typed};
use serde_json::json;

use super::{ACCOUNT, own_classes, status};
use crate::context::Context;

const NAME: &str = "mizzen";

pub(super) fn start(context: &Context, classes: &Arc<WatchCache<Object>>) {
    let queue = Queue::default();
    let key = ObjectRef::cluster(NAME);
    let (again, class) = (queue.clone(), key.clone());
    classes.on_change(move |_| again.add(class.clone()));
    let again = queue.clone();
    status::on_moves(&context.caches.nodes, move || again.add(key.clone()));
    let (client, nodes) = (context.client(ACCOUNT), context.caches.nodes.clone());
    let reconciler = Class { client, nodes, classes: classes.clone() };
    context.run(Controller::new("ingress-class", queue, Arc::new(reconciler)));
}

struct Class {
    client: Arc<dyn Client>,
    nodes: Arc<WatchCache<Object>>,
    classes: Arc<WatchCache<Object>>,
}

#[async_trait]
impl Reconciler for Class {
    async fn reconcile(&self, _key: ObjectRef) -> Result<Action, Error> {
        self.classes.synced().await;
        let nobody_serves = status::points(&self.nodes.list()).is_empty();
        if nobody_serves || !own_classes(&self.classes).is_empty() {
            return Ok(Action::Done);
        }
        let metadata = json!({"name": NAME, "annotations": {IS_DEFAULT_CLASS: "true"}});
        let class = json!({"metadata": metadata, "spec": {"controller": CONTROLLER}});
        match self.client.write(ApiRequest::create(&typed::gvr::<IngressClass>(), "", class)).await {
            Ok(_) => Ok(Action::Done),
            // Somebody's own, of another controller: it stays.
            Err(status) if status.is(Reason::AlreadyExists) => Ok(Action::Done),
            Err(status) => Err(Error::api(format!("create ingressclasses {NAME}"), status)),
        }
    }
}
