//! Network policies of a node: rules while there are any policies, and pods that wait for theirs.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use mizzen_api::ObjectRef;
use mizzen_client::Client;
use mizzen_network::{Family, Protocol};
use mizzen_reconcile::{Backoff, WatchCache};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::apply::Apply;
use crate::facts::{self, Facts, Ledger};
use crate::frame::Side;
use crate::group;
use crate::keeper::{Desk, Keeper};
use crate::pod::{NamedPort, PodView};
use crate::view::PolicyView;
use crate::world::World;

/// How long a pod waits for its rules before that is told; it is tried again.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long peers are followed after the last policy has gone.
const LINGER: Duration = Duration::from_secs(60);
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));

pub struct PoliciesConfig {
    pub client: Arc<dyn Client>,
    pub node: String,
    pub ledger: Ledger,
    /// Where the node answers for names: to policies it is a pod as every cluster has them, labelled `k8s-app: kube-dns` in
    /// `kube-system`.
    pub names: Vec<IpAddr>,
    pub tables: Vec<(Side, Family, Arc<dyn Apply>)>,
    /// Is told in words what was put back after somebody else had changed it.
    pub on_repair: Arc<dyn Fn(String) + Send + Sync>,
}

/// Why a pod cannot have its network yet.
#[derive(Debug, thiserror::Error)]
#[error("the network policies of this node are not in place: {why}")]
pub struct NotInPlace {
    why: &'static str,
}

#[derive(Clone)]
enum State {
    /// Nobody knows yet whether there are policies.
    Unknown,
    /// There are none.
    Idle,
    Enforced(Arc<[Arc<Desk>]>),
}

pub struct Policies {
    config: PoliciesConfig,
    policies: Arc<WatchCache<PolicyView>>,
    made: Arc<Mutex<BTreeMap<ObjectRef, Arc<PodView>>>>,
    state: watch::Sender<State>,
    count: watch::Receiver<usize>,
}

impl Policies {
    /// Starts to mirror policies until `cancel`; [`Policies::run`] enforces them.
    pub fn start(config: PoliciesConfig, cancel: &CancellationToken) -> Arc<Self> {
        let policies = facts::policies(&config.client, cancel);
        let (counted, count) = watch::channel(0);
        policies.on_change(move |change| {
            counted.send_modify(|count| {
                *count = (*count + usize::from(change.new.is_some())).saturating_sub(usize::from(change.old.is_some()));
            });
        });
        Arc::new(Self { config, policies, made: Arc::default(), state: watch::Sender::new(State::Unknown), count })
    }

    /// Returns when the rules for a pod that has its address are in place: before that it must not run.
    ///
    /// # Errors
    /// When they are not in time; ask again.
    pub async fn admit(&self, pod: &Pod) -> Result<(), NotInPlace> {
        let Some(view) = PodView::of(pod) else { return Ok(()) };
        let key = view.key.clone();
        self.made.lock().insert(key.clone(), Arc::new(view));
        let in_time = tokio::time::timeout(PATIENCE, self.settled(&key)).await;
        let why = |known| match known {
            true => "nftables does not take them, or the API server has not told of pods and namespaces yet",
            false => "the API server has not told of them yet",
        };
        in_time.map_err(|_| NotInPlace { why: why(self.policies.is_synced()) })
    }

    async fn settled(&self, pod: &ObjectRef) {
        let mut state = self.state.subscribe();
        loop {
            let ready = state.wait_for(|state| match state {
                State::Unknown => false,
                State::Idle => *self.count.borrow() == 0,
                State::Enforced(_) => true,
            });
            // The sender lives in self, so the channel cannot close while this waits.
            let Ok(State::Enforced(desks)) = ready.await.map(|state| state.clone()) else { return };
            let all = async {
                for desk in &*desks {
                    desk.tell_pod(pod);
                    desk.settled().await;
                }
            };
            tokio::select! {
                () = all => return,
                // Those who keep the tables may have ended with the last policy.
                _ = state.changed() => {}
            }
        }
    }

    /// Takes note that a pod has no network any more.
    pub fn release(&self, uid: &str) {
        let gone = {
            let mut made = self.made.lock();
            let gone = made.iter().find(|(_, pod)| pod.uid == uid).map(|(key, _)| key.clone());
            gone.inspect(|key| drop(made.remove(key)))
        };
        if let (Some(key), State::Enforced(desks)) = (gone, self.state.borrow().clone()) {
            desks.iter().for_each(|desk| desk.tell_pod(&key));
        }
    }

    /// Runs for ever. The rules stay when this ends.
    pub async fn run(&self) {
        self.policies.synced().await;
        let mut count = self.count.clone();
        loop {
            if *count.borrow_and_update() == 0 {
                self.clear().await;
                self.state.send_replace(State::Idle);
            }
            // The sender is the cache's listener, which lives as long as self.
            if count.wait_for(|count| *count > 0).await.is_err() {
                return;
            }
            let peers = CancellationToken::new();
            let _ends = peers.clone().drop_guard();
            tokio::select! {
                () = self.enforce(&peers) => {}
                () = none_for(count.clone(), LINGER) => {}
            }
        }
    }

    async fn enforce(&self, peers: &CancellationToken) {
        let client = &self.config.client;
        let facts = Arc::new(Facts {
            node: self.config.node.clone(),
            policies: self.policies.clone(),
            pods: facts::pods(client, peers),
            namespaces: facts::namespaces(client, peers),
            made: self.made.clone(),
            ledger: self.config.ledger.clone(),
        });
        let mut keepers = Vec::new();
        let mut desks = Vec::new();
        for (side, family, apply) in &self.config.tables {
            let desk = Arc::<Desk>::default();
            let mut world = World::new(*family);
            if let (Side::Machine, Some(address)) = (side, world.own(&self.config.names)) {
                let names = names(address);
                world.put_pod(&names.view.key.clone(), Some(names));
            }
            desks.push(desk.clone());
            let (facts, on_repair) = (facts.clone(), self.config.on_repair.clone());
            keepers.push(Keeper { side: *side, apply: apply.clone(), facts, desk, on_repair, world }.run());
        }
        self.state.send_replace(State::Enforced(desks.into()));
        join_all(keepers).await;
    }

    /// Takes away what is there though there are no policies.
    async fn clear(&self) {
        for (_, _, apply) in &self.config.tables {
            let mut failures = 0;
            while let Err(error) = apply.remove().await {
                tracing::warn!(%error, "rules of network policies that are gone cannot be taken away; this is tried again");
                tokio::time::sleep(RETRY.delay(failures)).await;
                failures = failures.saturating_add(1);
            }
        }
    }
}

/// Runs all until all have ended, which they never do.
async fn join_all(all: Vec<impl Future<Output = ()> + Send + 'static>) {
    let mut running: tokio::task::JoinSet<()> = all.into_iter().collect();
    while running.join_next().await.is_some() {}
}

/// Returns when there have been none for so long.
async fn none_for(mut count: watch::Receiver<usize>, long: Duration) {
    loop {
        if count.wait_for(|count| *count == 0).await.is_err() {
            return std::future::pending().await;
        }
        let again = count.wait_for(|count| *count > 0);
        if tokio::time::timeout(long, again).await.is_err() {
            return;
        }
    }
}

/// The node's own server of names, as a pod. No pod can have its name.
fn names(address: IpAddr) -> group::Pod {
    let port = |name: &str, protocol| NamedPort { name: name.to_owned(), protocol, number: 53 };
    let view = PodView {
        key: ObjectRef::new("kube-system", "names of this node"),
        labels: BTreeMap::from([("k8s-app".to_owned(), "kube-dns".to_owned())]),
        addresses: vec![address],
        ports: vec![port("dns", Protocol::Udp), port("dns-tcp", Protocol::Tcp)],
        ..PodView::default()
    };
    group::Pod { view: Arc::new(view), address, local: false }
}
