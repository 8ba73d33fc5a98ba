//! The loop over the real API, with a table in memory.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use mizzen_api::{GroupVersionResource, Registry, Status};
use mizzen_apiserver::auth::Identity;
use mizzen_apiserver::auth::bootstrap;
use mizzen_apiserver::auth::rbac::Rbac;
use mizzen_apiserver::{ApiServer, Authenticate, Peer, ServerConfig};
use mizzen_client::{ApiRequest, Client, DeleteOptions, PatchKind};
use mizzen_reconcile::typed::gvr;
use mizzen_reconcile::{Clock as _, Feed, SystemClock, WatchSpec};
use mizzen_store::{HISTORY_BYTES, MemoryStore, Store};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cache::ServiceCaches;
use crate::compile::Node;
use crate::endpoints::Backend;
use crate::fake::Fake;
use crate::forget::{Stale, Strays};
use crate::model::{Elements, Part};
use crate::proxy::{Proxy, ProxyConfig};

struct Nobody;

impl Authenticate for Nobody {
    fn authenticate(&self, _: Option<&Peer>, _: &HeaderMap) -> Result<Option<Arc<Identity>>, Status> {
        Ok(None)
    }
}

struct World {
    client: Arc<dyn Client>,
    table: Arc<Fake>,
    repairs: Arc<Mutex<Vec<String>>>,
    forgotten: Arc<Mutex<Vec<Stale>>>,
    proxy: Option<(DropGuard, JoinHandle<()>)>,
    _server: DropGuard,
}

impl World {
    async fn start() -> Self {
        let cancel = CancellationToken::new();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(HISTORY_BYTES));
        let server = ApiServer::new(ServerConfig {
            authorizer: Rbac::start(store.clone(), cancel.clone()).unwrap(),
            store,
            registry: Arc::new(Registry::builtin()),
            authenticator: Arc::new(Nobody),
            clock: Arc::new(|| SystemClock.now()),
            virtuals: Default::default(),
            connect: None,
        });
        let client = server.client(Identity::component("admin", &["system:masters"]));
        bootstrap::ensure(client.as_ref()).await.unwrap();
        let range = json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/16"]}});
        let mut world = Self {
            client,
            table: Arc::default(),
            repairs: Arc::default(),
            forgotten: Arc::default(),
            proxy: None,
            _server: cancel.drop_guard(),
        };
        world.create("networking.k8s.io", "servicecidrs", "", range).await;
        world.start_proxy();
        world
    }

    fn start_proxy(&mut self) {
        let cancel = CancellationToken::new();
        let (repairs, told) = (self.repairs.clone(), self.forgotten.clone());
        let (mut services, mut slices) =
            (Feed::new(WatchSpec::all(gvr::<Service>())), Feed::new(WatchSpec::all(gvr::<EndpointSlice>())));
        let caches = ServiceCaches::start((&mut services, &mut slices), &self.client, "here", &cancel);
        for feed in [services, slices] {
            feed.start(self.client.clone(), cancel.clone());
        }
        let proxy = Proxy::new(ProxyConfig {
            caches,
            apply: self.table.clone(),
            node: Box::new(|caches| Node {
                place: caches.place(),
                bridge: "mzx".into(),
                pods: "10.64.3.0/24".parse().unwrap(),
                wasm: BTreeSet::new(),
                service_ranges: caches.ranges().collect(),
            }),
            on_health: Box::new(|_, _| {}),
            forget: Arc::new(move |stale| {
                let mut told = told.lock();
                told.push(stale.clone());
                // The first time it cannot be done.
                if told.len() == 1 { Err(std::io::ErrorKind::Interrupted.into()) } else { Ok(0) }
            }),
            on_repair: Box::new(move |what| repairs.lock().push(what)),
        });
        let ended = cancel.clone();
        let running = tokio::spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = proxy.run() => {}
            }
        });
        self.proxy = Some((cancel.drop_guard(), running));
    }

    /// What comes after this is nothing to the one that there was.
    async fn kill_proxy(&mut self) {
        if let Some((alive, running)) = self.proxy.take() {
            drop(alive);
            running.await.expect("ends");
        }
    }

    async fn create(&self, group: &str, resource: &str, namespace: &str, object: Value) {
        let request = ApiRequest::create(&GroupVersionResource::new(group, "v1", resource), namespace, object);
        self.client.write(request).await.unwrap_or_else(|status| panic!("{resource}: {status}"));
    }

    async fn service(&self, name: &str, ip: &str) {
        self.service_over("TCP", name, ip).await;
    }

    async fn service_over(&self, protocol: &str, name: &str, ip: &str) {
        let spec = json!({"clusterIP": ip, "selector": {"app": name}, "ports": [{"port": 80, "protocol": protocol}]});
        self.create("", "services", "default", json!({"metadata": {"name": name}, "spec": spec})).await;
        let slice = json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}}, "addressType": "IPv4",
            "endpoints": [], "ports": [{"name": "", "port": 8080, "protocol": protocol}],
        });
        self.create("discovery.k8s.io", "endpointslices", "default", slice).await;
    }

    async fn endpoints(&self, name: &str, addresses: &[&str]) {
        let endpoints: Vec<_> = addresses.iter().map(|address| json!({"addresses": [address]})).collect();
        let slices = GroupVersionResource::new("discovery.k8s.io", "v1", "endpointslices");
        let patch = ApiRequest::patch(&slices, "default", name, PatchKind::Merge, json!({"endpoints": endpoints}));
        self.client.write(patch).await.unwrap();
    }

    /// Waits until the table leads to these, whatever their numbers are.
    async fn leads_to(&self, expected: &[&str]) {
        let expected: BTreeSet<&str> = expected.iter().copied().collect();
        let wait = async {
            loop {
                let table = self.table.table().unwrap_or_default();
                if backends(&table) == expected {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(60), wait).await;
        done.unwrap_or_else(|_| panic!("not in time: {expected:?} in {:?}", self.table.table()));
    }

    /// Waits until the kernel was asked to forget so often; answers what, the last time.
    async fn forgets(&self, times: usize) -> Stale {
        let wait = async {
            loop {
                if let Some(last) = self.forgotten.lock().get(times - 1) {
                    return last.clone();
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("is asked to forget")
    }
}

fn of(address: &str) -> Backend {
    (address.parse().unwrap(), 8080)
}

fn backends(table: &Elements) -> BTreeSet<&str> {
    table.iter().filter(|((part, _), _)| *part == Part::Endpoints).map(|(_, backend)| backend.as_str()).collect()
}

#[tokio::test]
async fn the_table_follows_services_and_their_endpoints() {
    let world = World::start().await;
    world.service("a", "10.96.0.7").await;
    world.service("b", "10.96.0.8").await;
    world.endpoints("a", &["10.64.3.4", "10.64.3.5"]).await;
    world.endpoints("b", &["10.64.3.9"]).await;
    world.leads_to(&["10.64.3.4 . 8080", "10.64.3.5 . 8080", "10.64.3.9 . 8080"]).await;
    world.endpoints("a", &["10.64.3.5"]).await;
    world.leads_to(&["10.64.3.5 . 8080", "10.64.3.9 . 8080"]).await;
    let (services, name) = (GroupVersionResource::new("", "v1", "services"), "b");
    world.client.write(ApiRequest::delete(&services, "default", name, DeleteOptions::default())).await.unwrap();
    world.leads_to(&["10.64.3.5 . 8080"]).await;
    assert!(world.repairs.lock().is_empty());
}

#[tokio::test]
async fn what_somebody_takes_away_is_put_back_and_said() {
    let world = World::start().await;
    world.service("a", "10.96.0.7").await;
    world.endpoints("a", &["10.64.3.4"]).await;
    world.leads_to(&["10.64.3.4 . 8080"]).await;
    world.table.meddle(|table| *table = None);
    world.leads_to(&["10.64.3.4 . 8080"]).await;
    let said = async {
        while world.repairs.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), said).await.unwrap();
    assert_eq!(*world.repairs.lock(), ["The rules of services had been removed by somebody else"]);
    // A change that meets a table that is not as it was left mends it all.
    world.table.meddle(|table| {
        table.as_mut().unwrap().remove(&(Part::ClusterIps, "10.96.0.7".into())).unwrap();
    });
    let services = GroupVersionResource::new("", "v1", "services");
    world.client.write(ApiRequest::delete(&services, "default", "a", DeleteOptions::default())).await.unwrap();
    world.leads_to(&[]).await;
    let ranges = Elements::from([((Part::ServiceRanges, "10.96.0.0/16".to_owned()), String::new())]);
    assert_eq!(world.table.table(), Some(ranges));
}

#[tokio::test]
async fn udp_that_leads_to_who_has_left_is_forgotten_though_the_kernel_fails_once_or_the_agent_was_away() {
    let mut world = World::start().await;
    world.service_over("UDP", "names", "10.96.0.9").await;
    world.endpoints("names", &["10.64.3.4", "10.64.3.5"]).await;
    world.leads_to(&["10.64.3.4 . 8080", "10.64.3.5 . 8080"]).await;
    assert_eq!(world.forgets(2).await.gone, BTreeSet::new(), "nobody has left");
    world.endpoints("names", &["10.64.3.5"]).await;
    assert_eq!(world.forgets(3).await, Stale { gone: BTreeSet::from([of("10.64.3.4")]), strays: None });
    world.kill_proxy().await;
    world.endpoints("names", &["10.64.3.6"]).await;
    world.start_proxy();
    let strays = world.forgets(4).await.strays.expect("nobody knows who has left");
    let services = BTreeSet::from(["10.96.0.9".parse().unwrap()]);
    let ranges = vec!["10.96.0.0/16".parse().unwrap()];
    assert_eq!(strays, Strays { services, endpoints: BTreeSet::from([of("10.64.3.6")]), ranges });
}

#[tokio::test]
async fn a_restarted_agent_takes_over_what_is_there_and_changes_only_what_differs() {
    let mut world = World::start().await;
    world.service("a", "10.96.0.7").await;
    world.endpoints("a", &["10.64.3.4"]).await;
    world.leads_to(&["10.64.3.4 . 8080"]).await;
    world.kill_proxy().await;
    world.endpoints("a", &["10.64.3.4", "10.64.3.5"]).await;
    let before = world.table.transactions();
    world.start_proxy();
    world.leads_to(&["10.64.3.4 . 8080", "10.64.3.5 . 8080"]).await;
    assert_eq!(world.table.transactions(), before + 1);
    let key = (Part::ServiceIps, "10.96.0.7 . tcp . 80".to_owned());
    assert_eq!(world.table.table().unwrap()[&key], "goto a1_2");
    assert!(world.repairs.lock().is_empty());
}
