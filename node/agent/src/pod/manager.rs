//! All pods of the node: a worker for each, fed by the API's watch and the runtimes' lists.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use mizzen_api::ObjectRef;
use mizzen_reconcile::typed::{gvr, view};
use mizzen_reconcile::{WatchCache, WatchSpec};
use mizzen_runtime::ContainerStatus;
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::handle::{Desired, Handle};
use super::labels;
use super::worker::Worker;
use crate::cgroups;
use crate::hooks::{admit, teardown};
use crate::shared::Shared;

/// How often what nobody owns is looked for.
const SWEEP: Duration = Duration::from_secs(60);
/// How often the runtimes are listed though they have told of no change.
const RELIST: Duration = Duration::from_secs(10);

/// The pods of this node by uid.
#[derive(Default)]
pub(crate) struct Pods {
    handles: RwLock<HashMap<String, Arc<Handle>>>,
    known: watch::Sender<bool>,
}

impl Pods {
    /// Returns when every pod is among these that the API had when the agent began.
    pub(crate) async fn known(&self) {
        // The sender lives as long as this.
        let _ = self.known.subscribe().wait_for(|known| *known).await;
    }

    pub(crate) fn all(&self) -> Vec<Arc<Handle>> {
        self.handles.read().values().cloned().collect()
    }

    /// The pod of that name; where one of them is ending, the newer. Whoever asks before the agent knows its pods waits for
    /// that: the API has the node as Ready already.
    pub(crate) async fn named(&self, namespace: &str, name: &str) -> Option<Arc<Handle>> {
        self.known().await;
        let is_named =
            |pod: &Pod| pod.metadata.namespace.as_deref() == Some(namespace) && pod.metadata.name.as_deref() == Some(name);
        let handles = self.handles.read();
        let mut found: Vec<_> = handles.values().filter(|handle| is_named(&handle.desired.borrow().pod)).cloned().collect();
        found.sort_by_key(|handle| !handle.desired.borrow().gone);
        found.pop()
    }
}

/// Runs until cancelled; containers stay as they are then.
pub(crate) async fn run(shared: Arc<Shared>, pods: Arc<Pods>, cancel: CancellationToken) {
    let spec = WatchSpec::all(gvr::<Pod>()).fields(&format!("spec.nodeName={}", shared.node_name));
    let cache = WatchCache::objects(spec).start(shared.client.clone(), cancel.clone());
    cache.synced().await;
    let mut keys = cache.subscribe();
    let mut sweep = tokio::time::interval(SWEEP);
    let mut relist = tokio::time::interval(RELIST);
    let mut changes: Vec<_> = shared.runtimes.all().map(|runtime| runtime.changes()).collect();
    let mut listed = list(&shared).await;
    let mut first = true;
    loop {
        // Everything that has come is taken in before anything is swept.
        while let Ok(key) = keys.try_recv() {
            take_in(&shared, &pods, &cache, &key, &listed, &cancel);
        }
        if std::mem::take(&mut first) {
            pods.known.send_replace(true);
            sweep.reset_immediately();
        }
        let changed = futures::future::select_all(changes.iter_mut().map(|changes| Box::pin(changes.changed())));
        tokio::select! {
            () = cancel.cancelled() => return,
            key = keys.recv() => match key {
                Some(key) => {
                    take_in(&shared, &pods, &cache, &key, &listed, &cancel);
                    continue;
                }
                None => return,
            },
            _ = changed => {}
            _ = relist.tick() => {}
            _ = sweep.tick() => self::sweep(&shared, &pods).await,
        }
        listed = list(&shared).await;
        distribute(&pods, &listed);
    }
}

async fn list(shared: &Shared) -> HashMap<String, Vec<ContainerStatus>> {
    let mut by_pod: HashMap<String, Vec<ContainerStatus>> = HashMap::new();
    for runtime in shared.runtimes.all() {
        match runtime.list().await {
            Ok(listed) => {
                listed.into_iter().for_each(|status| by_pod.entry(labels::pod_uid(&status).to_owned()).or_default().push(status))
            }
            Err(error) => tracing::warn!(%error, "containers not listed"),
        }
    }
    by_pod
}

fn distribute(pods: &Pods, listed: &HashMap<String, Vec<ContainerStatus>>) {
    for (uid, handle) in pods.handles.read().iter() {
        let present = listed.get(uid).cloned().unwrap_or_default();
        handle.observed.send_if_modified(|known| {
            let changed = *known != present;
            *known = present;
            changed
        });
    }
}

fn take_in(
    shared: &Arc<Shared>,
    pods: &Arc<Pods>,
    cache: &WatchCache,
    key: &ObjectRef,
    listed: &HashMap<String, Vec<ContainerStatus>>,
    cancel: &CancellationToken,
) {
    let present = cache.get(key).and_then(|object| match view::<Pod>(&object) {
        Ok(pod) => Some(pod),
        Err(error) => {
            tracing::warn!(pod = %key, %error, "pod cannot be read");
            None
        }
    });
    let uid = present.as_ref().and_then(|pod| pod.metadata.uid.clone());
    let mut handles = pods.handles.write();
    // An earlier pod of the same name is gone from the API.
    for (known, handle) in handles.iter() {
        let is_same_name = {
            let desired = handle.desired.borrow();
            let metadata = &desired.pod.metadata;
            metadata.namespace.as_deref() == Some(&key.namespace) && metadata.name.as_deref() == Some(&key.name)
        };
        if is_same_name && Some(known) != uid.as_ref() {
            handle.desired.send_if_modified(|desired| !std::mem::replace(&mut desired.gone, true));
        }
    }
    let (Some(pod), Some(uid)) = (present, uid) else { return };
    if let Some(handle) = handles.get(&uid) {
        handle.desired.send_replace(Desired { pod, gone: false });
        return;
    }
    let handle = Handle::new(pod.clone(), listed.get(&uid).cloned().unwrap_or_default());
    let rejected = admit::admit(&pod, &shared.room, &shared.capacity);
    if let Some((reason, message)) = &rejected {
        shared.recorder.warning(&crate::shared::about(&pod, None), reason, message.clone());
    }
    handles.insert(uid.clone(), handle.clone());
    drop(handles);
    let (shared, pods, cancel) = (shared.clone(), pods.clone(), cancel.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = Worker::run(shared.clone(), handle, rejected) => {
                pods.handles.write().remove(&uid);
                shared.room.leave(&uid);
            }
        }
    });
}

/// Removes what belongs to pods that nobody knows (any more): they were deleted while no agent ran.
async fn sweep(shared: &Shared, pods: &Pods) {
    let containers = list(shared).await;
    let cgroups = cgroups::pods(&shared.cluster);
    let mut uids: BTreeSet<String> = containers.keys().cloned().collect();
    uids.extend(shared.network.pods());
    uids.extend(shared.volumes.pods());
    uids.extend(cgroups.iter().map(|(uid, _)| uid.clone()));
    // What exists was read before who is known: a pod that has just come owns nothing yet that is in the list.
    uids.retain(|uid| !pods.handles.read().contains_key(uid));
    for uid in uids {
        tracing::info!(uid, "removing what is left of a pod that is gone");
        for status in containers.get(&uid).into_iter().flatten() {
            if let Some(runtime) = shared.runtime(labels::is_wasm(status))
                && let Err(error) = runtime.remove(&status.id).await
            {
                tracing::warn!(id = status.id, %error, "left-over container not removed");
            }
        }
        if let Err(error) = teardown::release(shared, &uid).await {
            tracing::warn!(uid, %error, "left-over network or volumes not removed");
        }
        for (_, path) in cgroups.iter().filter(|(owner, _)| *owner == uid) {
            if let Err(error) = teardown::remove_cgroup(path.clone()).await {
                tracing::warn!(uid, %error, "left-over cgroup not removed");
            }
        }
        teardown::remove_logs_of(shared, &uid).await;
    }
}
