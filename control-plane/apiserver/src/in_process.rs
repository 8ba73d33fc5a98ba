//! The API for components of the same process: the pipeline without sockets, TLS or encoding.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use mizzen_api::{GroupVersionResource, Object, Status};
use mizzen_client::{ApiRequest, ApiResponse, Client, ListOptions, ObjectList, WatchOptions, WatchStream};
use tokio_util::sync::CancellationToken;

use crate::auth::Identity;
use crate::pipeline::Pipeline;

pub(crate) struct InProcess {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) identity: Arc<Identity>,
    /// Ends all watches.
    pub(crate) shutdown: CancellationToken,
}

#[async_trait]
impl Client for InProcess {
    async fn get(&self, resource: &GroupVersionResource, namespace: &str, name: &str) -> Result<Arc<Object>, Status> {
        self.pipeline.get(&self.identity, resource, namespace, name, "", "").await
    }

    async fn list(&self, resource: &GroupVersionResource, namespace: &str, options: &ListOptions) -> Result<ObjectList, Status> {
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
        let written = self.pipeline.write(&self.identity, request).await?;
        Ok(ApiResponse { code: written.code, object: written.object, warnings: written.warnings })
    }
}
