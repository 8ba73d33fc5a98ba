//! A node as the scheduler sees it, with what its pods take.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use k8s_openapi::api::core::v1::{Node, Taint};
use mizzen_api::Object;

use crate::pod::PodInfo;
use crate::resources::{self, Amounts};

/// Every change of any node takes the next one.
static GENERATIONS: AtomicU64 = AtomicU64::new(1);

/// Cloned whenever a pod comes or goes while a cycle looks at it, so that what is large is shared.
#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    pub name: String,
    /// Two nodes of the same name and generation are the same.
    pub generation: u64,
    pub labels: Arc<BTreeMap<String, String>>,
    pub taints: Arc<Vec<Taint>>,
    pub unschedulable: bool,
    pub allocatable: Amounts,
    pub allowed_pods: usize,
    /// Size in bytes of each image the node holds, by every name.
    pub images: Arc<HashMap<String, i64>>,
    /// Sum of the requests of [`NodeInfo::pods`].
    pub requested: Amounts,
    /// Sum of [`PodInfo::scoring`].
    pub scoring: (i64, i64),
    /// Pods bound or assumed to be here that are not finished.
    pub pods: Vec<Arc<PodInfo>>,
    /// Those of [`NodeInfo::pods`] that state inter-pod affinity: most clusters have few.
    pub social: Vec<Arc<PodInfo>>,
    /// How many of [`NodeInfo::pods`] each controller has here, by its uid; those on their way out do not count.
    pub by_owner: HashMap<Arc<str>, usize>,
    /// The whole object, for plugins that look at what is not here.
    pub object: Option<Arc<Object>>,
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
            generation: next_generation(),
            labels: object.head().labels.clone(),
            taints: spec.taints.unwrap_or_default().into(),
            unschedulable: spec.unschedulable.unwrap_or(false),
            allowed_pods: allocatable.get("pods").map_or(0, |pods| usize::try_from(pods.value()).unwrap_or(0)),
            allocatable: Amounts::of(&allocatable),
            images: Arc::new(images.collect()),
            object: Some(object.clone()),
            ..Self::default()
        })
    }

    /// Adds a pod, in place of an earlier version of it.
    pub fn add_pod(&mut self, pod: Arc<PodInfo>) {
        self.remove_pod(&pod.uid);
        self.generation = next_generation();
        self.requested.add(&pod.requests);
        self.scoring.0 = self.scoring.0.saturating_add(pod.scoring.0);
        self.scoring.1 = self.scoring.1.saturating_add(pod.scoring.1);
        if counts_for_owner(&pod) {
            *self.by_owner.entry(pod.owner.clone()).or_default() += 1;
        }
        if pod.is_social() {
            self.social.push(pod.clone());
        }
        self.pods.push(pod);
    }

    pub fn remove_pod(&mut self, uid: &str) {
        let Some(at) = self.pods.iter().position(|pod| pod.uid == uid) else { return };
        let old = self.pods.swap_remove(at);
        self.generation = next_generation();
        self.requested.subtract(&old.requests);
        self.scoring.0 = self.scoring.0.saturating_sub(old.scoring.0);
        self.scoring.1 = self.scoring.1.saturating_sub(old.scoring.1);
        if old.is_social() {
            self.social.retain(|pod| pod.uid != uid);
        }
        if counts_for_owner(&old)
            && let Some(count) = self.by_owner.get_mut(&old.owner)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_owner.remove(&old.owner);
            }
        }
    }

    /// Takes over the pods of an earlier version of this node.
    pub(crate) fn inherit(&mut self, earlier: &Self) {
        self.generation = next_generation();
        self.requested = earlier.requested.clone();
        self.scoring = earlier.scoring;
        self.pods.clone_from(&earlier.pods);
        self.social.clone_from(&earlier.social);
        self.by_owner.clone_from(&earlier.by_owner);
        if self.images == earlier.images {
            self.images = earlier.images.clone();
        }
    }
}

fn next_generation() -> u64 {
    GENERATIONS.fetch_add(1, Ordering::Relaxed)
}

fn counts_for_owner(pod: &PodInfo) -> bool {
    !pod.owner.is_empty() && !pod.terminating
}
