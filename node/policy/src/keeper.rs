//! The loop that keeps one table as policies say.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mizzen_api::ObjectRef;
use mizzen_network::elements::difference;
use mizzen_reconcile::Backoff;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::apply::{Apply, ApplyError};
use crate::facts::Facts;
use crate::frame::Side;
use crate::group::Pod;
use crate::key::Changes;
use crate::pod::PodView;
use crate::world::World;

/// How often to look whether somebody has taken rules away.
const LOOK: Duration = Duration::from_secs(2);
/// At every how many looks the whole table is compared: five minutes.
const THOROUGH: u32 = 150;
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));

/// What has changed since it was last looked at.
#[derive(Default)]
struct News {
    pods: BTreeSet<ObjectRef>,
    namespaces: BTreeSet<String>,
    policies: BTreeSet<ObjectRef>,
}

/// Where a keeper is told what to look at, and asked whether it has.
#[derive(Default)]
pub(crate) struct Desk {
    news: Mutex<News>,
    wake: Notify,
    asked: AtomicU64,
    done: watch::Sender<u64>,
}

impl Desk {
    fn tell(&self, add: impl FnOnce(&mut News) -> bool) {
        if add(&mut self.news.lock()) {
            self.wake.notify_one();
        }
    }

    pub(crate) fn tell_pod(&self, key: &ObjectRef) {
        self.tell(|news| news.pods.insert(key.clone()));
    }

    /// Returns when all that was told before is in the table.
    pub(crate) async fn settled(&self) {
        let ticket = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.wake.notify_one();
        // The sender lives in self, so the channel cannot close while this waits.
        let _ = self.done.subscribe().wait_for(|done| *done >= ticket).await;
    }
}

pub(crate) struct Keeper {
    pub(crate) side: Side,
    pub(crate) apply: Arc<dyn Apply>,
    pub(crate) facts: Arc<Facts>,
    pub(crate) desk: Arc<Desk>,
    /// Is told in words what was put back after somebody else had changed it.
    pub(crate) on_repair: Arc<dyn Fn(String) + Send + Sync>,
    pub(crate) world: World,
}

impl Keeper {
    /// Runs for ever. What an earlier process left in the table stays as it is until the facts are known; then only what differs
    /// is changed.
    pub(crate) async fn run(mut self) {
        self.follow();
        self.facts.synced().await;
        let (mut known, mut failures, mut looks) = (false, 0, 0_u32);
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Before the news: whoever asks has told them before.
            let asked = self.desk.asked.load(Ordering::SeqCst);
            let changes = self.decide();
            let acted = match known {
                true if changes.is_empty() => Ok(()),
                true => self.apply.change(&changes).await,
                false => self.settle().await.map(|_| ()),
            };
            known = acted.is_ok();
            if let Err(error) = acted {
                tracing::warn!(%error, "the rules of network policies are not as they should be; this is tried again");
                tokio::time::sleep(RETRY.delay(failures)).await;
                failures = failures.saturating_add(1);
                continue;
            }
            failures = 0;
            if *self.desk.done.borrow() < asked {
                // A namespace may be new, and its table not made.
                known = self.look(false).await;
                if !known {
                    continue;
                }
                self.desk.done.send_replace(asked);
            }
            tokio::select! {
                () = self.desk.wake.notified() => {}
                _ = ticks.tick() => {
                    looks = looks.wrapping_add(1);
                    known = self.look(looks.is_multiple_of(THOROUGH)).await;
                }
            }
        }
    }

    /// Has changes of objects noted.
    fn follow(&self) {
        // Policies are followed for longer than this runs.
        let desk = Arc::downgrade(&self.desk);
        self.facts.policies.on_change(move |change| {
            if let Some(desk) = desk.upgrade() {
                desk.tell(|news| news.policies.insert(change.key.clone()));
            }
        });
        let desk = self.desk.clone();
        self.facts.pods.on_change(move |change| desk.tell_pod(change.key));
        let desk = self.desk.clone();
        self.facts.namespaces.on_change(move |change| desk.tell(|news| news.namespaces.insert(change.key.name.clone())));
        let made: Vec<_> = self.facts.made.lock().keys().cloned().collect();
        made.iter().for_each(|key| self.desk.tell_pod(key));
    }

    /// Takes in what is new; answers what that changes in the table.
    fn decide(&mut self) -> Changes {
        let news = std::mem::take(&mut *self.desk.news.lock());
        for name in news.namespaces {
            let labels = self.facts.namespaces.get(&ObjectRef::cluster(&name));
            self.world.put_namespace(&name, labels.map(|labels| (*labels).clone()));
        }
        for key in news.policies {
            let policy = self.facts.policies.get(&key);
            self.world.put_policy(&key, policy.map(|policy| (*policy).clone()));
        }
        for key in news.pods {
            let pod = self.facts.pod(&key).and_then(|view| self.place(view));
            self.world.put_pod(&key, pod);
        }
        self.world.settle()
    }

    /// Where a pod is: a pod of this node is where its network is, whatever its status says.
    fn place(&self, view: Arc<PodView>) -> Option<Pod> {
        if view.node != self.facts.node {
            let address = self.world.own(&view.addresses).filter(|_| self.side == Side::Machine)?;
            return Some(Pod { view, address, local: false });
        }
        let (addresses, wasm) = (self.facts.ledger)(&view.uid)?;
        let address = self.world.own(&addresses)?;
        (wasm || self.side == Side::Machine).then_some(Pod { view, address, local: true })
    }

    /// Makes of the table, whatever it is, what it should be. Answers how many elements were not right, or `None` when the table
    /// was not there.
    async fn settle(&self) -> Result<Option<usize>, ApplyError> {
        let (apply, wanted) = (&self.apply, self.world.elements());
        let Some(is) = apply.read(&wanted).await? else {
            return apply.rebuild(&wanted).await.map(|()| None);
        };
        let changes = difference(&is, &wanted);
        if !changes.is_empty()
            && let Err(error) = apply.change(&changes).await
        {
            tracing::warn!(%error, "the rules of network policies cannot be mended and are made anew");
            apply.rebuild(&wanted).await?;
        }
        Ok(Some(changes.len()))
    }

    /// Looks whether the table is still as it was made, and puts back what is not; false when that failed.
    async fn look(&self, thorough: bool) -> bool {
        if !thorough && self.apply.is_whole().await {
            return true;
        }
        match self.settle().await {
            Ok(Some(0)) => {}
            Ok(Some(wrong)) => (self.on_repair)(format!("{wrong} rules of network policies had been changed by somebody else")),
            // The namespace of Wasm pods is made with the first of them.
            Ok(None) if self.side == Side::Wasm => tracing::info!("network policies hold among Wasm pods"),
            Ok(None) => (self.on_repair)("The rules of network policies had been removed by somebody else".into()),
            Err(error) => {
                tracing::warn!(%error, "the rules of network policies are gone, or cannot be read");
                return false;
            }
        }
        true
    }
}
