//! A node as the scheduler sees it, with what its pods take.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Taint};
use mizzen_api::Object;

use crate::pod::PodInfo;
use crate::resources::{self, Amounts};

#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
    pub allocatable: Amounts,
    pub allowed_pods: usize,
    /// Size in bytes of each image the node holds, by every name.
    pub images: HashMap<String, i64>,
    /// Sum of the requests of [`NodeInfo::pods`].
    pub requested: Amounts,
    /// Sum of [`PodInfo::scoring`].
    pub scoring: (i64, i64),
    /// Pods bound or assumed to be here that are not finished, by uid.
    pub pods: HashMap<String, Arc<PodInfo>>,
    /// Those of [`NodeInfo::pods`] that state inter-pod affinity: most clusters have few.
    pub social: HashMap<String, Arc<PodInfo>>,
    /// How many of [`NodeInfo::pods`] each controller has here, by its uid; those on their way out do not count.
    pub by_owner: HashMap<String, usize>,
}

impl NodeInfo {
    /// A node without its pods; `None` when the document is no node, which the API never stores.
    pub fn of(object: &Arc<Object>) -> Option<Self> {
        let node: Node = object.decode().ok()?;
        let document = object.value().ok()?;
        let allocatable = resources::list(document.pointer("/status/allocatable"));
        let status = node.status.unwrap_or_default();
        let spec = node.spec.unwrap_or_default();
        let images = status.images.into_iter().flatten().flat_map(|image| {
            let size = image.size_bytes.unwrap_or(0);
            image.names.into_iter().flatten().map(move |name| (name, size))
        });
        Some(Self {
            name: object.head().name.clone(),
            labels: BTreeMap::clone(&object.head().labels),
            taints: spec.taints.unwrap_or_default(),
            unschedulable: spec.unschedulable.unwrap_or(false),
            allowed_pods: allocatable.get("pods").map_or(0, |pods| usize::try_from(pods.value()).unwrap_or(0)),
            allocatable: Amounts::of(&allocatable),
            images: images.collect(),
            ..Self::default()
        })
    }

    pub fn add_pod(&mut self, pod: Arc<PodInfo>) {
        if let Some(old) = self.pods.insert(pod.uid.clone(), pod.clone()) {
            self.release(&old);
        }
        self.requested.add(&pod.requests);
        self.scoring.0 = self.scoring.0.saturating_add(pod.scoring.0);
        self.scoring.1 = self.scoring.1.saturating_add(pod.scoring.1);
        if counts_for_owner(&pod) {
            *self.by_owner.entry(pod.owner.clone()).or_default() += 1;
        }
        if pod.is_social() {
            self.social.insert(pod.uid.clone(), pod);
        }
    }

    pub fn remove_pod(&mut self, uid: &str) {
        if let Some(old) = self.pods.remove(uid) {
            self.release(&old);
        }
    }

    fn release(&mut self, pod: &PodInfo) {
        self.requested.subtract(&pod.requests);
        self.scoring.0 = self.scoring.0.saturating_sub(pod.scoring.0);
        self.scoring.1 = self.scoring.1.saturating_sub(pod.scoring.1);
        self.social.remove(&pod.uid);
        if counts_for_owner(pod)
            && let Some(count) = self.by_owner.get_mut(&pod.owner)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_owner.remove(&pod.owner);
            }
        }
    }

    /// Takes over the pods of an earlier version of this node.
    pub(crate) fn inherit(&mut self, earlier: Self) {
        self.requested = earlier.requested;
        self.scoring = earlier.scoring;
        self.pods = earlier.pods;
        self.social = earlier.social;
        self.by_owner = earlier.by_owner;
    }
}

fn counts_for_owner(pod: &PodInfo) -> bool {
    !pod.owner.is_empty() && !pod.terminating
}
