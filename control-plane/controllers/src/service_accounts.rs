//! The service account `default` in every namespace.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mizzen_api::{ObjectRef, Reason};
use mizzen_client::Client;
use mizzen_reconcile::{Action, Controller, Error, Queue, Reconciler, WatchCache, WatchSpec, typed};

use crate::context::Context;
use crate::namespaces::is_active;

const NAME: &str = "service-account-controller";
const DEFAULT: &str = "default";

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let queue = Queue::default();
    let accounts = WatchCache::objects(WatchSpec::all(typed::gvr::<ServiceAccount>()).fields("metadata.name=default"))
        .start(client.clone(), context.cancel.clone());
    context.caches.namespaces.enqueue(&queue);
    accounts.enqueue_mapped(&queue, |account| vec![ObjectRef::cluster(account.head().namespace.clone())]);
    let namespaces = context.caches.namespaces.clone();
    context.run(Controller::new("serviceaccount", queue, Arc::new(ServiceAccounts { client, namespaces, accounts })));
}

struct ServiceAccounts {
    client: Arc<dyn Client>,
    namespaces: Arc<WatchCache>,
    accounts: Arc<WatchCache>,
}

#[async_trait]
impl Reconciler for ServiceAccounts {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        self.accounts.synced().await;
        let exists = self.accounts.get(&ObjectRef::new(key.name.clone(), DEFAULT)).is_some();
        if exists || !is_active(&self.namespaces, &key) {
            return Ok(Action::Done);
        }
        let metadata = ObjectMeta { name: Some(DEFAULT.to_owned()), namespace: Some(key.name.clone()), ..ObjectMeta::default() };
        let account = ServiceAccount { metadata, ..ServiceAccount::default() };
        match typed::create(self.client.as_ref(), &key.name, &account).await {
            Ok(_) => Ok(Action::Done),
            Err(error) if error.is(Reason::AlreadyExists) || error.is(Reason::NotFound) => Ok(Action::Done),
            Err(error) => Err(error),
        }
    }
}
