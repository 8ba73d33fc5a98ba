//! What the proxy knows of the cluster, and what of it has changed since it last looked.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use mizzen_api::ingress::OwnClasses;
use mizzen_api::{Object, ObjectRef};
use mizzen_client::Client;
use mizzen_reconcile::typed::{gvr, view};
use mizzen_reconcile::{WatchCache, WatchSpec};
use mizzen_services::slice::SliceView;
use parking_lot::Mutex;
use rustls::sign::CertifiedKey;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::announce::NodeView;
use crate::certificates::certified;
use crate::resolve::ServiceView;

const BY_SERVICE: &str = "service";

/// A certificate, or what is wrong with it.
pub(crate) type Shown = Result<Arc<CertifiedKey>, String>;

pub(crate) struct Caches {
    ingresses: Arc<WatchCache<Object>>,
    classes: Arc<WatchCache<Object>>,
    pub(crate) services: Arc<WatchCache<ServiceView>>,
    slices: Arc<WatchCache<SliceView>>,
    pub(crate) secrets: Arc<WatchCache<Shown>>,
    pub(crate) nodes: Arc<WatchCache<NodeView>>,
}

/// What has to be looked at again.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Rules or certificates.
    pub(crate) rules: bool,
    /// Services whose endpoints may be others.
    pub(crate) services: BTreeSet<ObjectRef>,
    /// The endpoints of all services.
    pub(crate) place: bool,
}

#[derive(Default)]
pub(crate) struct Dirty {
    changes: Mutex<Changes>,
    wake: Notify,
}

impl Dirty {
    fn note(&self, note: impl FnOnce(&mut Changes)) {
        note(&mut self.changes.lock());
        self.wake.notify_one();
    }

    /// Waits until there is something.
    pub(crate) async fn noted(&self) {
        self.wake.notified().await;
    }

    pub(crate) fn take(&self) -> Changes {
        std::mem::take(&mut *self.changes.lock())
    }
}

impl Caches {
    pub(crate) fn start(client: &Arc<dyn Client>, nodes: Arc<WatchCache<NodeView>>, cancel: &CancellationToken) -> Self {
        let services = WatchCache::projected(WatchSpec::all(gvr::<Service>()), |object: &Arc<Object>| {
            Some(ServiceView::of(&*view::<Service>(object).ok()?))
        });
        let slices = WatchCache::projected(WatchSpec::all(gvr::<EndpointSlice>()), |object: &Arc<Object>| {
            SliceView::of(&*view::<EndpointSlice>(object).ok()?)
        });
        // No others are read, as nobody else's secrets are the proxy's business.
        let tls = WatchSpec::all(gvr::<Secret>()).fields("type=kubernetes.io/tls");
        let secrets = WatchCache::projected(tls, |object: &Arc<Object>| {
            Some(object.decode::<Secret>().map_err(|error| error.to_string()).and_then(|secret| certified(&secret)))
        });
        let start = |spec| WatchCache::objects(spec).start(client.clone(), cancel.clone());
        Self {
            ingresses: start(WatchSpec::all(gvr::<Ingress>())),
            classes: start(WatchSpec::all(gvr::<IngressClass>())),
            services: services.start(client.clone(), cancel.clone()),
            slices: slices
                .index(BY_SERVICE, |slice: &SliceView| vec![slice.service.to_string()])
                .start(client.clone(), cancel.clone()),
            secrets: secrets.start(client.clone(), cancel.clone()),
            nodes,
        }
    }

    /// Waits until all has been read once. The Node may come later.
    pub(crate) async fn synced(&self) {
        self.ingresses.synced().await;
        self.classes.synced().await;
        self.services.synced().await;
        self.slices.synced().await;
        self.secrets.synced().await;
    }

    /// Notes every change from now on.
    pub(crate) fn follow(&self, dirty: &Arc<Dirty>) {
        let noted = |note: fn(&mut Changes)| {
            let dirty = dirty.clone();
            move || dirty.note(note)
        };
        let rules = noted(|changes| changes.rules = true);
        let again = rules.clone();
        self.ingresses.on_change(move |_| again());
        let again = rules.clone();
        self.classes.on_change(move |_| again());
        self.secrets.on_change(move |_| rules());
        let place = noted(|changes| changes.place = true);
        self.nodes.on_change(move |change| {
            if change.old.map(|node| &node.place) != change.new.map(|node| &node.place) {
                place();
            }
        });
        let noted = dirty.clone();
        self.services.on_change(move |change| noted.note(|changes| changes.services.extend([change.key.clone()])));
        let noted = dirty.clone();
        self.slices.on_change(move |change| {
            let services = change.old.into_iter().chain(change.new).map(|slice| slice.service.clone());
            noted.note(|changes| changes.services.extend(services));
        });
    }

    /// The ingresses of the cluster's own classes.
    pub(crate) fn own_ingresses(&self) -> Vec<Arc<Ingress>> {
        let classes: Vec<Arc<IngressClass>> = self.classes.list().iter().filter_map(|class| view(class).ok()).collect();
        let own = OwnClasses::of(classes.iter().map(|class| &**class));
        let ingresses = self.ingresses.list();
        ingresses.iter().filter_map(|ingress| view::<Ingress>(ingress).ok()).filter(|ingress| own.serve(ingress)).collect()
    }

    pub(crate) fn ingress(&self, key: &ObjectRef) -> Option<Arc<Ingress>> {
        view(&*self.ingresses.get(key)?).ok()
    }

    pub(crate) fn slices_of(&self, service: &ObjectRef) -> Vec<Arc<SliceView>> {
        self.slices.by(BY_SERVICE, &service.to_string())
    }
}
