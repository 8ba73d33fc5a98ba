//! The API for components of the same process: the pipeline without sockets, TLS or encoding.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use mizzen_api::{GroupVersionResource, Object, Status};
use mizzen_client::{ApiRequest, ApiResponse, Client, ListOptions, ObjectList, WatchOptions, WatchStream};
use tokio_util::sync::CancellationToken;

use crate::aggregation::{Aggregation, Relayed};
use crate::audit::{About, Audit, Trail};
use crate::auth::{Action, Identity};
use crate::discovery::Discovery;
use crate::fairness::Fairness;
use crate::pipeline::Pipeline;

pub(crate) struct InProcess {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) fairness: Arc<Fairness>,
    pub(crate) audit: Option<Arc<Audit>>,
    pub(crate) aggregation: Arc<Aggregation>,
    pub(crate) discovery: Arc<Discovery>,
    /// Ends all watches.
    pub(crate) shutdown: CancellationToken,
}

/// What a component asks for, as policies see it.
#[derive(Clone, Copy)]
struct Asks<'a> {
    verb: &'a str,
    resource: &'a GroupVersionResource,
    /// Namespace, name and subresource.
    place: (&'a str, &'a str, &'a str),
    seats: u32,
}

impl<'a> Asks<'a> {
    fn action(self) -> Action<'a> {
        let Asks { verb, resource, place: (namespace, name, subresource), .. } = self;
        Action::Resource { verb, group: &resource.group, resource: &resource.resource, subresource, namespace, name }
    }
}

impl InProcess {
    /// The server that answers for a resource, where it is another one.
    fn relayed(&self, resource: &GroupVersionResource) -> Option<Relayed> {
        self.aggregation.remote(&resource.group, &resource.version).map(|remote| Relayed {
            aggregation: self.aggregation.clone(),
            remote,
            identity: self.identity.clone(),
        })
    }

    /// What another server is asked: this one authorizes it first, as every request.
    async fn elsewhere<T>(&self, asks: Asks<'_>, request: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        self.pipeline.authorize(&self.identity, &asks.action())?;
        request.await
    }

    /// Components take their turn and are noted like everybody.
    async fn run<T>(
        &self,
        asks: Asks<'_>,
        body: Option<&mizzen_client::Body>,
        request: impl Future<Output = Result<T, Status>>,
        shown: impl FnOnce(&T) -> (u16, Option<&Object>),
    ) -> Result<T, Status> {
        let (action, seats) = (asks.action(), asks.seats);
        let Some(trail) = self.trail(&action, &asks.resource.version, body) else {
            let _seat = self.fairness.begin(&self.identity, &action, seats).await?;
            return request.await;
        };
        let answered = match self.fairness.begin(&self.identity, &action, seats).await {
            Ok(_seat) => Box::pin(trail.over(request)).await,
            Err(refused) => Err(refused.into()),
        };
        match &answered {
            Ok(answer) => {
                let (code, object) = shown(answer);
                trail.ended(code, None, object);
            }
            Err(status) => trail.ended(status.code, Some(status), None),
        }
        answered
    }

    fn trail(&self, action: &Action<'_>, version: &str, body: Option<&mizzen_client::Body>) -> Option<Trail> {
        let audit = self.audit.as_ref()?;
        let about = About {
            audit_id: &crate::uid::new(),
            uri: &path(action, version),
            action,
            version,
            user_agent: "mizzen",
            sources: Vec::new(),
            is_stream: false,
        };
        let trail = audit.begin(&self.identity, &about)?;
        if let Some(body) = body {
            trail.sends(body);
        }
        Some(trail)
    }
}

/// Where the same request would go over HTTPS.
fn path(action: &Action<'_>, version: &str) -> String {
    let Action::Resource { group, resource, subresource, namespace, name, .. } = action else { return String::new() };
    let mut path = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    if !namespace.is_empty() {
        path.push_str("/namespaces/");
        path.push_str(namespace);
    }
    for part in [resource, name, subresource].into_iter().filter(|part| !part.is_empty()) {
        path.push('/');
        path.push_str(part);
    }
    path
}

#[async_trait]
impl Client for InProcess {
    async fn get(&self, resource: &GroupVersionResource, namespace: &str, name: &str) -> Result<Arc<Object>, Status> {
        let asks = Asks { verb: "get", resource, place: (namespace, name, ""), seats: 1 };
        if let Some(relayed) = self.relayed(resource) {
            let got = Box::pin(self.elsewhere(asks, relayed.get(resource, namespace, name)));
            return self.run(asks, None, got, |object| (200, Some(object))).await;
        }
        let got = Box::pin(self.pipeline.get(&self.identity, resource, namespace, name, "", ""));
        self.run(asks, None, got, |object| (200, Some(object))).await
    }

    async fn list(&self, resource: &GroupVersionResource, namespace: &str, options: &ListOptions) -> Result<ObjectList, Status> {
        let seats = self.fairness.seats_of_list(&resource.resource, options.limit);
        let asks = Asks { verb: "list", resource, place: (namespace, "", ""), seats };
        if let Some(relayed) = self.relayed(resource) {
            let listed = Box::pin(self.elsewhere(asks, relayed.list(resource, namespace, options)));
            return self.run(asks, None, listed, |_| (200, None)).await;
        }
        let listed = Box::pin(self.pipeline.list(&self.identity, resource, namespace, options));
        let listed = self.run(asks, None, listed, |_| (200, None)).await?;
        Ok(ObjectList {
            items: listed.items,
            revision: listed.revision,
            continue_token: listed.continue_token,
            remaining: listed.remaining,
        })
    }

    async fn watch(
        &self,
        resource: &GroupVersionResource,
        namespace: &str,
        options: &WatchOptions,
    ) -> Result<WatchStream, Status> {
        let asks = Asks { verb: "watch", resource, place: (namespace, "", ""), seats: 1 };
        if let Some(relayed) = self.relayed(resource) {
            let watching = Box::pin(self.elsewhere(asks, relayed.watch(resource, namespace, options)));
            return self.run(asks, None, watching, |_| (200, None)).await;
        }
        let watching = Box::pin(self.pipeline.watch(&self.identity, resource, namespace, options));
        let watching = self.run(asks, None, watching, |_| (200, None)).await?;
        let batches = watching.stream(self.shutdown.clone());
        Ok(batches
            .flat_map(|batch| match batch {
                Ok(next) => stream::iter(next.into_events().into_iter().map(Ok).collect::<Vec<_>>()),
                Err(status) => stream::iter(vec![Err(status)]),
            })
            .boxed())
    }

    async fn write(&self, mut request: ApiRequest) -> Result<ApiResponse, Status> {
        if request.write.field_manager.is_empty() {
            request.write.field_manager.clone_from(&self.identity.username);
        }
        let (resource, verb) = (request.resource.clone(), request.verb);
        let (namespace, name, subresource) = (request.namespace.clone(), request.name.clone(), request.subresource.clone());
        let body = self.audit.is_some().then(|| request.body.clone());
        let asks = Asks { verb: verb.as_str(), resource: &resource, place: (&namespace, &name, &subresource), seats: 1 };
        if let Some(relayed) = self.relayed(&resource) {
            let written = Box::pin(self.elsewhere(asks, relayed.write(request)));
            return self.run(asks, body.as_ref(), written, |written| (written.code, Some(&*written.object))).await;
        }
        let written = Box::pin(self.pipeline.write(&self.identity, request));
        let written = self.run(asks, body.as_ref(), written, |written| (written.code, Some(&*written.object))).await?;
        Ok(ApiResponse { code: written.code, object: written.object, warnings: written.warnings })
    }

    async fn discover(&self) -> Result<Arc<mizzen_client::Discovery>, Status> {
        Ok(self.discovery.served())
    }
}
