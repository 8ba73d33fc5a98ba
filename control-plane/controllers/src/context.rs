//! What every controller is started with.

use std::net::SocketAddr;
use std::sync::Arc;

use mizzen_api::registry::Registry;
use mizzen_api::{ServiceAddresses, ServiceRange};
use mizzen_client::Client;
use mizzen_reconcile::{Clock, Controller, Queues};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ClientFor;
use crate::caches::Caches;
use crate::certificates::Certification;
use crate::cluster_authentication::FrontProxyTrust;
use crate::load_balancers::AddressPool;

pub(crate) struct Context {
    pub(crate) client_for: ClientFor,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) registry: Registry,
    pub(crate) root_ca_pem: String,
    pub(crate) front_proxy: Option<FrontProxyTrust>,
    pub(crate) services: ServiceAddresses,
    pub(crate) second_pod_range: Option<ServiceRange>,
    pub(crate) balancer_addresses: AddressPool,
    pub(crate) api_server: Option<SocketAddr>,
    pub(crate) certification: Certification,
    pub(crate) cancel: CancellationToken,
    pub(crate) caches: Caches,
    pub(crate) queues: Queues,
    pub(crate) tasks: Mutex<JoinSet<()>>,
}

impl Context {
    /// The API as seen by a controller's service account.
    pub(crate) fn client(&self, account: &str) -> Arc<dyn Client> {
        (self.client_for)(account)
    }

    pub(crate) fn run(&self, controller: Controller) {
        let (name, queue) = controller.known_as();
        self.queues.add(name, queue);
        self.spawn(controller.run(self.cancel.clone()));
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().spawn(task);
    }
}
