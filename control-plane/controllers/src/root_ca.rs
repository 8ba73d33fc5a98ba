//! The ConfigMap `kube-root-ca.crt` in every namespace: how pods know the API server.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mizzen_api::{ObjectRef, Reason};
use mizzen_client::Client;
use mizzen_reconcile::{Action, Controller, Error, Queue, Reconciler, WatchCache, WatchSpec, typed};
use serde_json::json;

use crate::context::Context;
use crate::namespaces::is_active;

const ACCOUNT: &str = "root-ca-cert-publisher";
const NAME: &str = "kube-root-ca.crt";
const KEY: &str = "ca.crt";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints \
                           such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
                           distributions of Kubernetes clusters.";

pub(crate) fn start(context: &Context) {
    let client = context.client(ACCOUNT);
    let queue = Queue::default();
    let published = WatchCache::objects(WatchSpec::all(typed::gvr::<ConfigMap>()).fields("metadata.name=kube-root-ca.crt"))
        .start(client.clone(), context.cancel.clone());
    context.caches.namespaces.enqueue(&queue);
    published.enqueue_mapped(&queue, |map| vec![ObjectRef::cluster(map.head().namespace.clone())]);
    let namespaces = context.caches.namespaces.clone();
    let pem = context.root_ca_pem.clone();
    context.run(Controller::new("root-ca", queue, Arc::new(RootCa { client, namespaces, published, pem })));
}

struct RootCa {
    client: Arc<dyn Client>,
    namespaces: Arc<WatchCache>,
    published: Arc<WatchCache>,
    pem: String,
}

#[async_trait]
impl Reconciler for RootCa {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        self.published.synced().await;
        if !is_active(&self.namespaces, &key) {
            return Ok(Action::Done);
        }
        let wanted = BTreeMap::from([(KEY.to_owned(), self.pem.clone())]);
        let outcome = match self.published.get(&ObjectRef::new(key.name.clone(), NAME)) {
            Some(present) if typed::view::<ConfigMap>(&present)?.data.as_ref() == Some(&wanted) => return Ok(Action::Done),
            Some(present) => {
                typed::update::<ConfigMap>(self.client.as_ref(), &present, |document| document["data"] = json!(wanted)).await
            }
            None => {
                let metadata = ObjectMeta {
                    name: Some(NAME.to_owned()),
                    namespace: Some(key.name.clone()),
                    annotations: Some(BTreeMap::from([("kubernetes.io/description".to_owned(), DESCRIPTION.to_owned())])),
                    ..ObjectMeta::default()
                };
                let map = ConfigMap { metadata, data: Some(wanted), ..ConfigMap::default() };
                typed::create(self.client.as_ref(), &key.name, &map).await
            }
        };
        match outcome {
            Ok(_) => Ok(Action::Done),
            Err(error) if error.is(Reason::AlreadyExists) || error.is(Reason::NotFound) => Ok(Action::Done),
            Err(error) => Err(error),
        }
    }
}
