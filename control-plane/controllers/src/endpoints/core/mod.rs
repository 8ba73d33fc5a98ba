//! Endpoints of the pods that a service selects: the older form of its slices.

mod desired;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Endpoints;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mizzen_api::{ObjectRef, Reason};
use mizzen_client::{Client, DeleteOptions};
use mizzen_reconcile::{Action, Controller, Error, Queue, Reconciler, WatchCache, typed};
use serde_json::json;

use super::{ENDPOINTS_MANAGED_BY, HEADLESS, ServiceView, trigger_time, wake};
use crate::context::Context;
use crate::namespaces::is_terminating_error;
use crate::pod_view::PodView;
use desired::Wanted;

const NAME: &str = "endpoint-controller";
/// Annotation of Endpoints that leave addresses out.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

pub(super) fn start(context: &Context) {
    let queue = Queue::default();
    let caches = &context.caches;
    wake::by_services_and_pods(caches, &queue);
    // Not those of others: the key of a service that is gone takes its Endpoints away.
    caches.endpoints.enqueue_mapped(&queue, |endpoints| {
        let head = endpoints.head();
        let mine = head.labels.get(ENDPOINTS_MANAGED_BY).is_some_and(|manager| manager == NAME);
        mine.then(|| head.object_ref()).into_iter().collect()
    });
    let (services, pods) = (caches.services.clone(), caches.pods.clone());
    let reconciler = EndpointsOfPods { client: context.client(NAME), services, pods };
    context.run(Controller::new("endpoint", queue, Arc::new(reconciler)).workers(5));
}

struct EndpointsOfPods {
    client: Arc<dyn Client>,
    services: Arc<WatchCache<ServiceView>>,
    pods: Arc<WatchCache<PodView>>,
}

#[async_trait]
impl Reconciler for EndpointsOfPods {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let client = self.client.as_ref();
        match self.services.get(&key) {
            None => {
                typed::delete::<Endpoints>(client, &key.namespace, &key.name, DeleteOptions::default()).await?;
            }
            Some(service) if service.leads_to_pods() => {
                let mut pods = self.pods.in_namespace(&key.namespace);
                pods.retain(|pod| service.selects(&pod.labels));
                self.keep(&service, &pods).await?;
            }
            Some(_) => {}
        }
        Ok(Action::Done)
    }
}

impl EndpointsOfPods {
    async fn keep(&self, service: &ServiceView, pods: &[Arc<PodView>]) -> Result<(), Error> {
        let (client, key) = (self.client.as_ref(), &service.key);
        let wanted = desired::wanted(service, pods);
        let labels = labels(service);
        let newest = trigger_time::newest(service, pods);
        let outcome = match typed::get_object::<Endpoints>(client, &key.namespace, &key.name).await? {
            None => {
                let metadata = ObjectMeta {
                    name: Some(key.name.clone()),
                    namespace: Some(key.namespace.clone()),
                    labels: Some(labels),
                    annotations: Some(annotations(&wanted, None, newest)),
                    ..ObjectMeta::default()
                };
                typed::create(client, &key.namespace, &Endpoints { metadata, subsets: Some(wanted.subsets) }).await
            }
            Some(present) => {
                let typed = typed::view::<Endpoints>(&present)?;
                let known = typed.metadata.annotations.as_ref();
                let marked = known.and_then(|known| known.get(OVER_CAPACITY)).is_some();
                if typed.subsets.as_deref().unwrap_or_default() == wanted.subsets
                    && *present.head().labels == labels
                    && marked == wanted.truncated
                {
                    return Ok(());
                }
                let annotations = annotations(&wanted, known, newest);
                typed::update::<Endpoints>(client, &present, |document| {
                    document["subsets"] = json!(wanted.subsets);
                    document["metadata"]["labels"] = json!(labels);
                    document["metadata"]["annotations"] = json!(annotations);
                })
                .await
            }
        };
        match outcome {
            Err(Error::Api { status, .. }) if is_terminating_error(&status) || status.is(Reason::NotFound) => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }
}

fn labels(service: &ServiceView) -> BTreeMap<String, String> {
    let mut labels = (*service.labels).clone();
    labels.insert(ENDPOINTS_MANAGED_BY.to_owned(), NAME.to_owned());
    labels.remove(HEADLESS);
    if service.is_headless() {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}

fn annotations(
    wanted: &Wanted,
    known: Option<&BTreeMap<String, String>>,
    newest: Option<jiff::Timestamp>,
) -> BTreeMap<String, String> {
    let mut others = trigger_time::others(known);
    others.remove(OVER_CAPACITY);
    if wanted.truncated {
        others.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    }
    trigger_time::annotate(others, known, newest)
}
