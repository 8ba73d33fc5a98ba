//! The provisioner of `mizzen.dev/local-path`: a claim gets a folder of the node where it is used. The node makes it and, when the
//! claim is gone, removes it.

mod class;
mod provision;
#[cfg(test)]
mod provision_tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use mizzen_api::storage::class_of;
use mizzen_api::{ObjectRef, Reason};
use mizzen_client::{ApiRequest, Client};
use mizzen_reconcile::{Action, Controller, Error, Queue, Reconciler, Recorder, WatchCache, reference, typed};

use crate::context::Context;
use provision::{asked_for, volume};

const NAME: &str = "local-path-provisioner";
/// A node that is not there, or does not say where it keeps volumes, may do so later.
const NODE_RETRY: Duration = Duration::from_secs(10);

pub(super) fn start(context: &Context, claims: &WatchCache, classes: &Arc<WatchCache>) {
    class::start(context, classes);
    let queue = Queue::default();
    claims.enqueue(&queue);
    let client = context.client(NAME);
    let recorder = Recorder::start(client.clone(), context.clock.clone(), NAME, "");
    let (nodes, classes) = (context.caches.nodes.clone(), classes.clone());
    context.run(Controller::new(NAME, queue, Arc::new(Provisioner { client, nodes, classes, recorder })));
}

struct Provisioner {
    client: Arc<dyn Client>,
    nodes: Arc<WatchCache>,
    classes: Arc<WatchCache>,
    recorder: Recorder,
}

#[async_trait]
impl Reconciler for Provisioner {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let claim = typed::get::<PersistentVolumeClaim>(self.client.as_ref(), &key.namespace, &key.name).await?;
        let Some((claim, node)) = claim.as_deref().and_then(|claim| Some((claim, asked_for(claim)?))) else {
            return Ok(Action::Done);
        };
        let named = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.clone());
        let name = class_of(claim.metadata.annotations.as_ref(), named);
        let (Some(class), Some(node)) = (self.classes.get(&ObjectRef::cluster(name)), self.nodes.get(&ObjectRef::cluster(node)))
        else {
            return Ok(Action::RequeueAfter(NODE_RETRY));
        };
        let (class, node) = (typed::view::<StorageClass>(&class)?, typed::view::<Node>(&node)?);
        let volume = match volume(claim, &class, &node) {
            Ok(volume) => volume,
            Err(refusal) => {
                self.recorder.warning(&reference(claim), "ProvisioningFailed", refusal.to_string());
                return Ok(if refusal.may_pass() { Action::RequeueAfter(NODE_RETRY) } else { Action::Done });
            }
        };
        match self.client.write(ApiRequest::create(&typed::gvr::<PersistentVolume>(), "", volume)).await {
            Ok(made) => {
                let message = format!("Successfully provisioned volume {}", made.object.head().name);
                self.recorder.normal(&reference(claim), "ProvisioningSucceeded", message);
                Ok(Action::Done)
            }
            Err(status) if status.is(Reason::AlreadyExists) => Ok(Action::Done),
            Err(status) => Err(Error::api(format!("create a persistent volume for {}/{}", key.namespace, key.name), status)),
        }
    }
}
