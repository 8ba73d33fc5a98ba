//! Namespace deletion: empties a namespace that is on its way out, then lets it go.

mod conditions;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Namespace;
use mizzen_api::{Object, ObjectRef, Reason, Scope, Status, Verb};
use mizzen_client::{ApiRequest, Client, DeleteOptions, ListOptions, Propagation, ServedResource};
use mizzen_reconcile::{Action, Clock, Controller, Error, Queue, Reconciler, WatchCache, typed};
use serde_json::json;

use crate::context::Context;
use conditions::Remaining;

const NAME: &str = "namespace-controller";
const FINALIZER: &str = "kubernetes";
/// How soon to look again for content that takes its time.
const AGAIN: Duration = Duration::from_secs(1);

pub(crate) fn start(context: &Context) {
    let queue = Queue::default();
    let namespaces = context.caches.namespaces.clone();
    namespaces.enqueue(&queue);
    wake_by_leaving_pods(context, &queue);
    let reconciler = Namespaces { client: context.client(NAME), clock: context.clock.clone(), namespaces };
    context.run(Controller::new("namespace", queue, Arc::new(reconciler)).workers(5));
}

/// Pods are what takes longest to go.
fn wake_by_leaving_pods(context: &Context, queue: &Queue) {
    let (namespaces, queue) = (context.caches.namespaces.clone(), queue.clone());
    context.caches.pods.on_change(move |change| {
        let namespace = ObjectRef::cluster(change.key.namespace.clone());
        if change.new.is_none() && namespaces.get(&namespace).is_some_and(|namespace| namespace.head().is_terminating()) {
            queue.add(namespace);
        }
    });
}

struct Namespaces {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    namespaces: Arc<WatchCache>,
}

#[async_trait]
impl Reconciler for Namespaces {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let Some(namespace) = self.namespaces.get(&key).filter(|namespace| namespace.head().is_terminating()) else {
            return Ok(Action::Done);
        };
        let view = typed::view::<Namespace>(&namespace)?;
        let finalizers = view.spec.as_ref().and_then(|spec| spec.finalizers.clone()).unwrap_or_default();
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            return Ok(Action::Done);
        }
        let remaining = self.empty(&key.name).await;
        if !remaining.is_nothing() {
            self.tell(&namespace, &remaining).await?;
            return Ok(Action::RequeueAfter(AGAIN));
        }
        let left: Vec<_> = finalizers.into_iter().filter(|finalizer| finalizer != FINALIZER).collect();
        let done = typed::update_at::<Namespace>(self.client.as_ref(), &namespace, "finalize", |document| {
            document["spec"]["finalizers"] = json!(left);
        });
        match done.await {
            Ok(_) => Ok(Action::Done),
            Err(error) if error.is(Reason::NotFound) => Ok(Action::Done),
            Err(error) => Err(error),
        }
    }
}

impl Namespaces {
    /// Deletes everything in the namespace; answers what is left. The pods go first: as long as one runs, what it relies on
    /// (its configuration, network policies, service account) stays.
    async fn empty(&self, namespace: &str) -> Remaining {
        let mut remaining = Remaining::default();
        let discovery = match self.client.discover().await {
            Ok(discovery) => discovery,
            Err(status) => {
                remaining.undiscovered = Some(status.message);
                return remaining;
            }
        };
        // Who does not answer may have something in the namespace; what others have goes nevertheless.
        remaining.undiscovered = conditions::undiscovered(&discovery.failed);
        let (pods, others): (Vec<_>, Vec<_>) =
            discovery.preferred().filter(|served| holds_content(served)).partition(|served| is_pods(served));
        for resources in [pods, others] {
            for served in resources {
                if let Err(error) = self.empty_of(namespace, served, &mut remaining).await {
                    remaining.failures.push(error.to_string());
                }
            }
            if remaining.has_content() {
                break;
            }
        }
        remaining
    }

    async fn empty_of(&self, namespace: &str, served: &ServedResource, remaining: &mut Remaining) -> Result<(), Error> {
        let resource = &served.resource;
        let failed = |verb: &str, status| Error::api(format!("{verb} {} in {namespace}", resource.group_resource()), status);
        let list = || async {
            match self.client.list(resource, namespace, &ListOptions::default()).await {
                Ok(listed) => Ok(listed.items),
                // A custom kind that went meanwhile took its objects along.
                Err(status) if status.is(Reason::NotFound) => Ok(Vec::new()),
                Err(status) => Err(failed("list", status)),
            }
        };
        let present = list().await?;
        if present.is_empty() {
            return Ok(());
        }
        self.delete(namespace, served, &present).await.map_err(|status| failed("delete", status))?;
        let left = list().await?;
        remaining.add(resource, &left);
        Ok(())
    }

    /// Deletes everything of a resource: at once, or one after the other where its server knows nothing else.
    async fn delete(&self, namespace: &str, served: &ServedResource, present: &[Arc<Object>]) -> Result<(), Status> {
        let options = DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
        if served.takes(&[Verb::DeleteCollection]) {
            let request = ApiRequest::new(Verb::DeleteCollection, &served.resource, namespace, "");
            return self.client.write(ApiRequest { delete: options, ..request }).await.map(drop);
        }
        for object in present {
            let request = ApiRequest::delete(&served.resource, namespace, &object.head().name, options.clone());
            match self.client.write(request).await {
                Err(status) if !status.is(Reason::NotFound) => return Err(status),
                _ => {}
            }
        }
        Ok(())
    }

    async fn tell(&self, namespace: &Object, remaining: &Remaining) -> Result<(), Error> {
        let status = typed::view::<Namespace>(namespace)?.status.clone().unwrap_or_default();
        let told = conditions::with(&status, remaining, self.clock.now());
        if told == status {
            return Ok(());
        }
        typed::update_status::<Namespace>(self.client.as_ref(), namespace, &told).await.map(drop)
    }
}

fn is_pods(served: &ServedResource) -> bool {
    served.resource.group.is_empty() && &*served.resource.resource == "pods"
}

fn holds_content(served: &ServedResource) -> bool {
    served.scope == Scope::Namespaced && served.takes(&[Verb::List, Verb::Delete])
}
