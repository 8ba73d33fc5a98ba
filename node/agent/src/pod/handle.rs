//! What passes between a pod's loop and the rest of the node.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use mizzen_runtime::ContainerStatus;
use tokio::sync::watch;

use super::labels;

/// What the API wants of the pod.
#[derive(Clone)]
pub(crate) struct Desired {
    pub(crate) pod: Arc<Pod>,
    pub(crate) gone: bool,
}

/// What others may ask of a pod on this node.
pub(crate) struct Handle {
    pub(crate) desired: watch::Sender<Desired>,
    /// What the runtimes list of it.
    pub(crate) observed: watch::Sender<Vec<ContainerStatus>>,
    /// The latest attempt of each container that has begun.
    pub(crate) latest: watch::Sender<BTreeMap<String, ContainerStatus>>,
}

impl Handle {
    pub(crate) fn new(pod: Arc<Pod>, observed: Vec<ContainerStatus>) -> Arc<Self> {
        Arc::new(Self {
            desired: watch::Sender::new(Desired { pod, gone: false }),
            latest: watch::Sender::new(owned(&latest(&observed))),
            observed: watch::Sender::new(observed),
        })
    }

    /// Tells of the latest of all these attempts, where it is news.
    pub(super) fn share<'a>(&self, attempts: impl IntoIterator<Item = &'a ContainerStatus>) {
        let latest = latest(attempts);
        self.latest.send_if_modified(|known| {
            let changed = !known
                .iter()
                .map(|(name, status)| (name.as_str(), status))
                .eq(latest.iter().map(|(name, status)| (*name, *status)));
            if changed {
                *known = owned(&latest);
            }
            changed
        });
    }
}

/// The latest attempt of each container.
fn latest<'a>(attempts: impl IntoIterator<Item = &'a ContainerStatus>) -> BTreeMap<&'a str, &'a ContainerStatus> {
    let mut latest: BTreeMap<&str, &ContainerStatus> = BTreeMap::new();
    for status in attempts {
        let name = labels::get(&status.labels, labels::CONTAINER);
        if latest.get(name).is_none_or(|known| labels::attempt(known) < labels::attempt(status)) {
            latest.insert(name, status);
        }
    }
    latest
}

fn owned(latest: &BTreeMap<&str, &ContainerStatus>) -> BTreeMap<String, ContainerStatus> {
    latest.iter().map(|(name, status)| ((*name).to_owned(), (*status).clone())).collect()
}
