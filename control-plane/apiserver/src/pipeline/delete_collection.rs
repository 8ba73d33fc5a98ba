//! `deletecollection`: a list, and a delete for each of its items.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use mizzen_api::{Object, Reason, Scope, Status};
use mizzen_client::{ApiRequest, DeleteOptions};
use serde_json::json;

use super::target::Target;
use super::{Listed, Pipeline, Written};
use crate::auth::Identity;

/// How many objects are deleted at a time; their writes share fsyncs.
const CONCURRENCY: usize = 16;

impl Pipeline {
    pub(super) async fn delete_collection(
        &self,
        user: &Arc<Identity>,
        target: &Target,
        request: &ApiRequest,
    ) -> Result<Written, Status> {
        let listed = self.collect(target, &request.list).await?;
        let answer = answer(&listed)?;
        let mut running = FuturesUnordered::new();
        for object in listed.items {
            running.push(self.delete_listed(user, target, object, &request.delete));
            if running.len() == CONCURRENCY {
                running.next().await.transpose()?;
            }
        }
        while running.next().await.transpose()?.is_some() {}
        Ok(Written { code: 200, object: Arc::new(answer), warnings: Vec::new(), deleted: false })
    }

    /// Deletes one object that a list showed; that it is gone already is as good.
    async fn delete_listed(
        &self,
        user: &Arc<Identity>,
        target: &Target,
        object: Arc<Object>,
        options: &DeleteOptions,
    ) -> Result<(), Status> {
        let mut one = target.clone();
        one.name.clone_from(&object.head().name);
        if one.descriptor.scope == Scope::Namespaced {
            one.namespace.clone_from(&object.head().namespace);
        }
        match self.delete(user, &one, options).await {
            Err(status) if status.is(Reason::NotFound) => Ok(()),
            done => done.map(drop),
        }
    }
}

/// The list of what was there to delete, as it was.
fn answer(listed: &Listed) -> Result<Object, Status> {
    let head = json!({
        "kind": format!("{}List", listed.target.descriptor.kind), "apiVersion": listed.target.api_version(),
        "metadata": {"resourceVersion": listed.revision.to_string()},
    });
    // The items are put in before the closing brace.
    let mut bytes = head.to_string().into_bytes();
    bytes.pop();
    bytes.extend_from_slice(b",\"items\":[");
    for (index, item) in listed.items.iter().enumerate() {
        if index > 0 {
            bytes.push(b',');
        }
        bytes.extend_from_slice(listed.target.shown(item.clone())?.bytes());
    }
    bytes.extend_from_slice(b"]}");
    Ok(Object::new(bytes, 0))
}
