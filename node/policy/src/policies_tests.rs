//! The loop over the real API, with tables in memory.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use k8s_openapi::api::core::v1::Pod;
use mizzen_api::{GroupVersionResource, Registry, Status};
use mizzen_apiserver::auth::Identity;
use mizzen_apiserver::auth::bootstrap;
use mizzen_apiserver::auth::rbac::Rbac;
use mizzen_apiserver::{ApiServer, Authenticate, Peer, ServerConfig};
use mizzen_client::{ApiRequest, Client, DeleteOptions};
use mizzen_network::Family;
use mizzen_reconcile::{Clock as _, SystemClock};
use mizzen_store::{HISTORY_BYTES, MemoryStore, Store};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::fake::Fake;
use crate::frame::Side;
use crate::key::{Elements, Key};
use crate::policies::{Policies, PoliciesConfig};

struct Nobody;

impl Authenticate for Nobody {
    fn authenticate(&self, _: Option<&Peer>, _: &HeaderMap) -> Result<Option<Arc<Identity>>, Status> {
        Ok(None)
    }
}

/// Those of each pod, and whether it is in the namespace of Wasm pods.
type Addresses = BTreeMap<String, (Vec<IpAddr>, bool)>;

struct World {
    client: Arc<dyn Client>,
    tables: [Arc<Fake>; 2],
    addresses: Arc<Mutex<Addresses>>,
    repairs: Arc<Mutex<Vec<String>>>,
    policies: Arc<Policies>,
    _ends: DropGuard,
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
        let tables: [Arc<Fake>; 2] = Default::default();
        let addresses: Arc<Mutex<Addresses>> = Arc::default();
        let repairs: Arc<Mutex<Vec<String>>> = Arc::default();
        let (ledger, told) = (addresses.clone(), repairs.clone());
        let config = PoliciesConfig {
            client: client.clone(),
            node: "here".into(),
            ledger: Arc::new(move |uid| ledger.lock().get(uid).cloned()),
            names: vec![[10, 64, 3, 1].into()],
            tables: vec![(Side::Machine, Family::V4, tables[0].clone()), (Side::Wasm, Family::V4, tables[1].clone())],
            on_repair: Arc::new(move |what| told.lock().push(what)),
        };
        let policies = Policies::start(config, &cancel);
        let (running, ended) = (policies.clone(), cancel.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = running.run() => {}
            }
        });
        let world = Self { client, tables, addresses, repairs, policies, _ends: cancel.drop_guard() };
        // Pods run as it.
        world.create("", "serviceaccounts", json!({"metadata": {"name": "default"}})).await;
        world
    }

    async fn create(&self, group: &str, resource: &str, object: Value) -> Value {
        let request = ApiRequest::create(&GroupVersionResource::new(group, "v1", resource), "default", object);
        let made = self.client.write(request).await.unwrap_or_else(|status| panic!("{resource}: {status}"));
        made.object.value().unwrap()
    }

    /// A pod of this node that has its address, as a node sees it when it makes the pod.
    async fn pod(&self, name: &str, address: [u8; 4], wasm: bool) -> Pod {
        let spec = json!({"nodeName": "here", "containers": [{"name": "main", "image": "x"}]});
        let pod = json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": spec});
        let pod: Pod = serde_json::from_value(self.create("", "pods", pod).await).unwrap();
        self.addresses.lock().insert(pod.metadata.uid.clone().unwrap(), (vec![address.into()], wasm));
        pod
    }

    async fn policy(&self, name: &str, spec: Value) {
        self.create("networking.k8s.io", "networkpolicies", json!({"metadata": {"name": name}, "spec": spec})).await;
    }

    fn table(&self, side: usize) -> Elements {
        self.tables[side].table().unwrap_or_default()
    }

    async fn eventually(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let wait = async {
            while !is(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(60), wait).await;
        done.unwrap_or_else(|_| panic!("not in time: {what}: {:?} {:?}", self.table(0), self.table(1)));
    }
}

fn isolated(table: &Elements, address: &str) -> bool {
    table.contains_key(&Key::Element("ingress".into(), address.into()))
}

#[tokio::test]
async fn a_pod_is_admitted_when_its_rules_are_in_place_and_at_once_where_there_are_no_policies() {
    let world = World::start().await;
    let first = world.pod("first", [10, 64, 3, 2], false).await;
    world.policies.admit(&first).await.unwrap();
    assert_eq!(world.table(0), Elements::new());

    world.policy("deny", json!({"podSelector": {}})).await;
    world.eventually("who is there already is isolated", |world| isolated(&world.table(0), "10.64.3.2")).await;
    for (number, wasm) in [(3, false), (4, true)] {
        let address = format!("10.64.3.{number}");
        let pod = world.pod(&format!("pod-{number}"), [10, 64, 3, number], wasm).await;
        world.policies.admit(&pod).await.unwrap();
        assert!(isolated(&world.table(0), &address));
        assert_eq!(isolated(&world.table(1), &address), wasm, "only Wasm pods share a namespace");
    }
    let transactions = world.tables[0].transactions();
    let again = world.pod("again", [10, 64, 3, 5], false).await;
    world.policies.admit(&again).await.unwrap();
    world.policies.admit(&again).await.unwrap();
    assert_eq!(world.tables[0].transactions(), transactions + 1, "one pod is one transaction");

    let uid = again.metadata.uid.unwrap();
    world.addresses.lock().remove(&uid);
    world.policies.release(&uid);
    world.eventually("it has no network any more", |world| !isolated(&world.table(0), "10.64.3.5")).await;
}

#[tokio::test]
async fn rules_that_somebody_takes_away_come_back_and_those_of_policies_that_are_gone_go() {
    let world = World::start().await;
    let pod = world.pod("pod", [10, 64, 3, 2], false).await;
    let dns = json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}});
    world.create_namespace("kube-system").await;
    world.policy("names", json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [dns]}]})).await;
    world.policies.admit(&pod).await.unwrap();
    let knows_names = |world: &World| {
        let elements = world.table(0);
        elements.keys().any(|key| matches!(key, Key::Element(set, element) if set.starts_with("pods_") && element == "10.64.3.1"))
    };
    world.eventually("the node's names are a pod's", knows_names).await;
    world.tables[0].meddle(|table| *table = None);
    world.eventually("the rules are back", knows_names).await;
    world.eventually("it is told", |world| world.repairs.lock().len() == 1).await;

    let policies = GroupVersionResource::new("networking.k8s.io", "v1", "networkpolicies");
    let gone = ApiRequest::delete(&policies, "default", "names", DeleteOptions::default());
    world.client.write(gone).await.unwrap();
    world.eventually("the rules are gone", |world| world.table(0).is_empty()).await;
}

impl World {
    /// No error when it is there.
    async fn create_namespace(&self, name: &str) {
        let namespaces = GroupVersionResource::new("", "v1", "namespaces");
        let request = ApiRequest::create(&namespaces, "", json!({"metadata": {"name": name}}));
        let _ = self.client.write(request).await;
    }
}
