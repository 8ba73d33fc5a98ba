//! Garbage collection: objects whose owners are gone go too, by the uids in `metadata.ownerReferences`.

mod decide;
mod effects;
mod graph;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mizzen_api::{Head, ObjectRef};
use mizzen_client::{Client, Discovery};
use mizzen_reconcile::{Action, Controller, Error, Reconciler};

use tokio::task::JoinSet;

use crate::context::Context;
use decide::{OwnerState, Step};
use graph::{Graph, Monitor};

const NAME: &str = "generic-garbage-collector";
/// How soon a kind that comes or goes is noticed.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How long the caches may take to fill before garbage is collected without those that have not.
const SYNC: Duration = Duration::from_secs(60);

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let graph = Arc::new(Graph::new(&client, &context.cancel));
    let cancel = context.cancel.clone();
    context.spawn(async move {
        let mut collectors = JoinSet::new();
        loop {
            let added = tokio::select! {
                () = cancel.cancelled() => break,
                served = change(&*client, graph.served()) => graph.follow(served),
            };
            // With half a graph, owners would seem absent and dependents unknown.
            let synced = async {
                for monitor in &added {
                    tokio::select! {
                        () = monitor.cache.synced() => {}
                        () = monitor.cancel.cancelled() => {}
                    }
                }
            };
            tokio::select! {
                () = cancel.cancelled() => break,
                // A custom kind that goes at once never syncs.
                _ = tokio::time::timeout(SYNC, synced) => {}
            }
            for monitor in added {
                graph.observe(&monitor);
                let collector = Collector { client: client.clone(), graph: graph.clone(), monitor: monitor.clone() };
                let controller = Controller::new("garbage-collector", monitor.queue.clone(), Arc::new(collector));
                collectors.spawn(controller.workers(2).run(monitor.cancel.clone()));
            }
            graph.reconsider();
        }
        while collectors.join_next().await.is_some() {}
    });
}

/// What is served, as soon as that is something else than `known`.
async fn change(client: &dyn Client, known: Arc<Discovery>) -> Arc<Discovery> {
    loop {
        match client.discover().await {
            Ok(served) if !Arc::ptr_eq(&served, &known) && *served != *known => return served,
            Ok(_) => {}
            Err(status) => tracing::debug!(%status, "discover what is served, trying again"),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Collects the objects of one resource.
struct Collector {
    client: Arc<dyn Client>,
    graph: Arc<Graph>,
    monitor: Arc<Monitor>,
}

#[async_trait]
impl Reconciler for Collector {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let Some(item) = self.monitor.cache.get(&key) else { return Ok(Action::Done) };
        if item.is_terminating() {
            return self.finish_deletion(&item).await;
        }
        if item.owner_references.is_empty() {
            return Ok(Action::Done);
        }
        let mut owners = Vec::with_capacity(item.owner_references.len());
        for owner in &item.owner_references {
            owners.push((owner.uid.clone(), self.state_of(&item, owner).await?));
        }
        match decide::step(&owners, self.graph.has_dependents(&item.uid), item.has_finalizer(graph::ORPHAN)) {
            Step::Keep => {}
            Step::DropReferences(uids) => self.drop_references(&self.monitor, &item, &uids).await?,
            Step::Delete(propagation) => self.delete(&item, propagation).await?,
        }
        Ok(Action::Done)
    }
}

impl Collector {
    /// Lets an object on its way out go, once its dependents are gone (foreground) or on their own (orphan).
    async fn finish_deletion(&self, item: &Head) -> Result<Action, Error> {
        if item.has_finalizer(graph::ORPHAN) {
            for (monitor, dependent) in self.graph.dependents(&item.uid) {
                self.drop_references(&monitor, &dependent, std::slice::from_ref(&item.uid)).await?;
            }
            self.remove_finalizer(item, graph::ORPHAN).await?;
        } else if item.has_finalizer(graph::FOREGROUND) {
            let dependents = self.graph.dependents(&item.uid);
            // In a circle each waits for the next: what waits for this object in the end does not hold it.
            let holds = |dependent: &Head| {
                let waits = graph::waits_for_dependents(dependent);
                graph::blocks(dependent, &item.uid) && !(waits && self.graph.waits_for(dependent, &item.uid))
            };
            if !dependents.iter().any(|(_, dependent)| holds(dependent)) {
                self.remove_finalizer(item, graph::FOREGROUND).await?;
                return Ok(Action::Done);
            }
            // Each decides for itself, now that its owner waits for it.
            for (monitor, dependent) in dependents.iter().filter(|(_, dependent)| !dependent.is_terminating()) {
                monitor.queue.add(dependent.object_ref());
            }
        }
        Ok(Action::Done)
    }

    async fn state_of(&self, item: &Head, owner: &mizzen_api::OwnerReference) -> Result<OwnerState, Error> {
        if let Some(known) = self.graph.find(&owner.uid) {
            return Ok(if graph::waits_for_dependents(&known) { OwnerState::Waiting } else { OwnerState::Solid });
        }
        self.look_up(item, owner).await
    }
}
