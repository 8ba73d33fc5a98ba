//! The loop that keeps the table as Services and EndpointSlices say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mizzen_api::ObjectRef;
use mizzen_network::Protocol;
use mizzen_reconcile::Backoff;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use crate::apply::{Apply, ApplyError};
use crate::cache::ServiceCaches;
use crate::compile::{Node, Seats, compile, ranges};
use crate::endpoints::Backend;
use crate::forget::{Forget, Forgetter, Stale, Strays};
use crate::model::{Changes, Model, Part, difference};

/// How often to look whether somebody has taken rules away.
const LOOK: Duration = Duration::from_secs(2);
/// At every how many looks the whole table is compared: five minutes, as reading it costs seconds where services are many.
const THOROUGH: u32 = 150;
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));

type OnHealth = Box<dyn Fn(&ObjectRef, Option<(u16, usize)>) + Send + Sync>;

pub struct ProxyConfig {
    pub caches: Arc<ServiceCaches>,
    pub apply: Arc<dyn Apply>,
    /// What of the node counts now.
    pub node: Box<dyn Fn(&ServiceCaches) -> Node + Send + Sync>,
    /// Is told a service's `healthCheckNodePort`, if it has one, with the number of endpoints on this node.
    pub on_health: OnHealth,
    /// Asked once the table leads as it should, and does not to endpoints that have left services over UDP.
    pub forget: Forget,
    /// Is told in words what was put back after somebody else had changed it.
    pub on_repair: Box<dyn Fn(String) + Send + Sync>,
}

/// The services that have changed since they were last compiled.
#[derive(Default)]
struct Dirty {
    services: Mutex<BTreeSet<ObjectRef>>,
    wake: Notify,
}

impl Dirty {
    fn add(&self, services: impl IntoIterator<Item = ObjectRef>) {
        self.services.lock().extend(services);
        self.wake.notify_one();
    }

    fn take(&self) -> BTreeSet<ObjectRef> {
        std::mem::take(&mut *self.services.lock())
    }
}

pub struct Proxy {
    config: ProxyConfig,
    dirty: Arc<Dirty>,
    model: Model,
    seats: BTreeMap<ObjectRef, Seats>,
    /// Endpoints of UDP that are to be forgotten when the table is as it should be.
    gone: BTreeSet<Backend>,
    forgetter: Arc<Forgetter>,
}

/// In whose name the table has the ranges of services. Services are of namespaces.
fn ranges_holder() -> ObjectRef {
    ObjectRef::cluster("ranges")
}

fn udp(seats: &Seats) -> BTreeSet<Backend> {
    seats.iter().filter(|((protocol, ..), _)| *protocol == Protocol::Udp).flat_map(|(_, seats)| seats.iter().copied()).collect()
}

impl Proxy {
    pub fn new(config: ProxyConfig) -> Self {
        let forgetter = Arc::new(Forgetter::new(config.forget.clone()));
        Self { config, dirty: Arc::default(), model: Model::default(), seats: BTreeMap::new(), gone: BTreeSet::new(), forgetter }
    }

    /// Runs for ever. What an earlier process left in the table stays as it is until services have been read; then only what
    /// differs is changed.
    pub async fn run(self) {
        let forgetter = self.forgetter.clone();
        tokio::join!(self.keep(), forgetter.run());
    }

    async fn keep(mut self) {
        self.follow();
        self.config.caches.synced().await;
        let (mut known, mut failures, mut looks, mut begun) = (false, 0, 0_u32, false);
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let changes = self.decide();
            let acted = match known {
                true if changes.is_empty() => Ok(()),
                true => self.config.apply.change(&changes).await,
                false => self.settle().await.map(|_| ()),
            };
            known = acted.is_ok();
            if let Err(error) = acted {
                tracing::warn!(%error, "the rules of services are not as they should be; this is tried again");
                tokio::time::sleep(RETRY.delay(failures)).await;
                failures = failures.saturating_add(1);
                continue;
            }
            failures = 0;
            if !begun {
                begun = true;
                self.forgetter.add(Stale { strays: Some(self.strays()), ..Stale::default() });
            }
            if !self.gone.is_empty() {
                self.forgetter.add(Stale { gone: std::mem::take(&mut self.gone), strays: None });
            }
            tokio::select! {
                () = self.dirty.wake.notified() => {}
                _ = ticks.tick() => {
                    looks = looks.wrapping_add(1);
                    known = self.look(looks.is_multiple_of(THOROUGH)).await;
                }
            }
        }
    }

    fn strays(&self) -> Strays {
        let addresses = self.model.elements().into_keys().filter(|(part, _)| *part == Part::ClusterIps);
        Strays {
            services: addresses.filter_map(|(_, address)| address.parse().ok()).collect(),
            endpoints: self.seats.values().flat_map(udp).collect(),
            ranges: (self.config.node)(&self.config.caches).service_ranges,
        }
    }

    /// Has changes of objects noted.
    fn follow(&self) {
        let caches = &self.config.caches;
        self.dirty.add([ranges_holder()]);
        let dirty = self.dirty.clone();
        caches.ranges.on_change(move |_| dirty.add([ranges_holder()]));
        let dirty = self.dirty.clone();
        caches.services.on_change(move |change| dirty.add([change.key.clone()]));
        let dirty = self.dirty.clone();
        caches.slices.on_change(move |change| {
            dirty.add(change.old.into_iter().chain(change.new).map(|slice| slice.service.clone()));
        });
        let (dirty, services) = (self.dirty.clone(), caches.services.clone());
        caches.places.on_change(move |change| {
            if change.old != change.new {
                dirty.add(services.keys());
            }
        });
    }

    /// Compiles what has changed; answers what that changes in the table.
    fn decide(&mut self) -> Changes {
        let mut changes = Changes::new();
        let dirty = self.dirty.take();
        if dirty.is_empty() {
            return changes;
        }
        let caches = &self.config.caches;
        let node = (self.config.node)(caches);
        for key in dirty {
            if key == ranges_holder() {
                self.model.put(&key, ranges(&node.service_ranges, node.pods.family()), &mut changes);
                continue;
            }
            let before = self.seats.remove(&key).unwrap_or_default();
            let service = caches.services.get(&key);
            let primary = service.as_ref().and_then(|service| service.primary());
            let health = service.as_ref().and_then(|service| service.health_check_port);
            let compiled = service.map(|service| compile(&service, &caches.slices_of(&key), &node, &before)).unwrap_or_default();
            // One listener answers, for the family that the service has first.
            if primary.is_none_or(|primary| primary == node.pods.family()) {
                (self.config.on_health)(&key, health.map(|port| (port, compiled.local)));
            }
            let (had, has) = (udp(&before), udp(&compiled.seats));
            self.gone.extend(had.difference(&has));
            self.model.put(&key, compiled.elements, &mut changes);
            if !compiled.seats.is_empty() {
                self.seats.insert(key, compiled.seats);
            }
        }
        changes
    }

    /// Makes of the table, whatever it is, what it should be. Answers how many elements were not right, or `None` when the table
    /// was not there.
    async fn settle(&self) -> Result<Option<usize>, ApplyError> {
        let (apply, wanted) = (&self.config.apply, self.model.elements());
        let Some(is) = apply.read(&wanted).await? else {
            return apply.rebuild(&wanted).await.map(|()| None);
        };
        let changes = difference(&is, &wanted);
        let wrong = changes.len();
        if wrong > 0
            && let Err(error) = apply.change(&changes).await
        {
            tracing::warn!(%error, "the rules of services cannot be mended and are made anew");
            apply.rebuild(&wanted).await?;
        }
        Ok(Some(wrong))
    }

    /// Looks whether the table is still as it was made, and puts back what is not; false when that failed.
    async fn look(&self, thorough: bool) -> bool {
        if !thorough && self.config.apply.is_whole().await {
            return true;
        }
        match self.settle().await {
            Ok(Some(0)) => {}
            Ok(Some(wrong)) => (self.config.on_repair)(format!("{wrong} rules of services had been changed by somebody else")),
            Ok(None) => {
                (self.config.on_repair)("The rules of services had been removed by somebody else".into());
                self.forgetter.add(Stale { strays: Some(self.strays()), ..Stale::default() });
            }
            Err(error) => {
                tracing::warn!(%error, "the rules of services are gone, or cannot be read");
                return false;
            }
        }
        true
    }
}
