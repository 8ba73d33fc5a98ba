//! Removes bootstrap tokens that have expired.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use mizzen_api::ObjectRef;
use mizzen_client::{Client, DeleteOptions};
use mizzen_reconcile::{Action, Clock, Controller, Error, Queue, Reconciler, WatchCache, WatchSpec, typed};

use crate::context::Context;

const NAME: &str = "token-cleaner";
const NAMESPACE: &str = "kube-system";

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let queue = Queue::default();
    let spec = WatchSpec::all(typed::gvr::<Secret>()).namespace(NAMESPACE).fields("type=bootstrap.kubernetes.io/token");
    let tokens = WatchCache::objects(spec).start(client.clone(), context.cancel.clone());
    tokens.enqueue(&queue);
    let clock = context.clock.clone();
    context.run(Controller::new("token-cleaner", queue, Arc::new(TokenCleaner { client, tokens, clock })));
}

struct TokenCleaner {
    client: Arc<dyn Client>,
    tokens: Arc<WatchCache>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Reconciler for TokenCleaner {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let Some(stored) = self.tokens.get(&key) else { return Ok(Action::Done) };
        let Some(until) = expiration(typed::view::<Secret>(&stored)?.as_ref()) else { return Ok(Action::Done) };
        let left = self.clock.now().duration_until(until);
        if left > SignedDuration::ZERO {
            return Ok(std::time::Duration::try_from(left).map_or(Action::Done, Action::RequeueAfter));
        }
        let options = DeleteOptions { uid: Some(stored.head().uid.clone()), ..DeleteOptions::default() };
        typed::delete::<Secret>(self.client.as_ref(), NAMESPACE, &key.name, options).await?;
        Ok(Action::Done)
    }
}

/// `None` for a token without an end; one that nobody can read has passed.
fn expiration(secret: &Secret) -> Option<Timestamp> {
    let text = secret.data.as_ref()?.get("expiration")?;
    let read = std::str::from_utf8(&text.0).ok().and_then(|text| text.parse().ok());
    Some(read.unwrap_or(Timestamp::MIN))
}
