//! The API for components of the same process: the pipeline without sockets, TLS or encoding.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use mizzen_api::{GroupVersionResource, Object, Status};
use mizzen_client::{ApiRequest, ApiResponse, Client, ListOptions, ObjectList, WatchOptions, WatchStream};
use tokio_util::sync::CancellationToken;

use crate::auth::{Action, Identity};
use crate::fairness::{Fairness, Seat};
use crate::pipeline::Pipeline;

pub(crate) struct InProcess {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) fairness: Arc<Fairness>,
    /// Ends all watches.
    pub(crate) shutdown: CancellationToken,
}

impl InProcess {
    /// Components take their turn like everybody.
    async fn turn(
        &self,
        verb: &str,
        GroupVersionResource { group, resource, .. }: &GroupVersionResource,
        (namespace, name, subresource): (&str, &str, &str),
        seats: u32,
    ) -> Result<Seat, Status> {
        let action = Action::Resource { verb, group, resource, subresource, namespace, name };
        Ok(self.fairness.begin(&self.identity, &action, seats).await?)
    }
}

#[async_trait]
impl Client for InProcess {
    async fn get(&self, resource: &GroupVersionResource, namespace: &str, name: &str) -> Result<Arc<Object>, Status> {
        let _seat = self.turn("get", resource, (namespace, name, ""), 1).await?;
        self.pipeline.get(&self.identity, resource, namespace, name, "", "").await
    }

    async fn list(&self, resource: &GroupVersionResource, namespace: &str, options: &ListOptions) -> Result<ObjectList, Status> {
        let seats = self.fairness.seats_of_list(&resource.resource, options.limit);
        let _seat = self.turn("list", resource, (namespace, "", ""), seats).await?;
        let listed = self.pipeline.list(&self.identity, resource, namespace, options).await?;
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
        let _until_begun = self.turn("watch", resource, (namespace, "", ""), 1).await?;
        let watching = self.pipeline.watch(&self.identity, resource, namespace, options).await?;
        let batches = watching.stream(self.shutdown.clone());
        Ok(batches
            .flat_map(|batch| match batch {
                Ok(events) => stream::iter(events.into_iter().map(Ok).collect::<Vec<_>>()),
                Err(status) => stream::iter(vec![Err(status)]),
            })
            .boxed())
    }

    async fn write(&self, mut request: ApiRequest) -> Result<ApiResponse, Status> {
        if request.write.field_manager.is_empty() {
            request.write.field_manager.clone_from(&self.identity.username);
        }
        let target = (request.namespace.as_str(), request.name.as_str(), request.subresource.as_str());
        let _seat = self.turn(request.verb.as_str(), &request.resource, target, 1).await?;
        let written = self.pipeline.write(&self.identity, request).await?;
        Ok(ApiResponse { code: written.code, object: written.object, warnings: written.warnings })
    }
}
