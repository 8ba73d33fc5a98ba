//! Why a pod goes where it goes: a whole decision over all nodes, made for whoever asks and carried out by nobody.
//!
//! Each plugin is asked about every node, also about those that another one has rejected. Plugins that remember pods under way
//! are asked by copies of them, so that neither is the scheduler kept waiting nor do they take the pod for one to be placed.

mod answer;
mod evaluate;

use std::sync::{Arc, OnceLock, Weak};

use k8s_openapi::api::core::v1::Pod;
use mizzen_reconcile::typed;
use tokio::sync::Semaphore;

pub use answer::{Explanation, NodeAnswer, PluginAnswer, PluginOnNode};
pub use evaluate::evaluate;

use crate::pod::PodInfo;
use crate::scheduler::Scheduler;

/// Each takes a processor, instances of components and memory for its answer.
const AT_ONCE: usize = 2;

#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error("the scheduler has not seen the cluster yet")]
    NotRunning,
    #[error(transparent)]
    Api(#[from] mizzen_reconcile::Error),
    #[error("there is no such pod")]
    NotFound,
    #[error("no profile is for pods of the scheduler {0:?}")]
    NotOurs(String),
    #[error("{AT_ONCE} decisions are being explained already: try again")]
    Busy,
    #[error("the decision could not be made: {0}")]
    Failed(String),
}

/// Answers for a scheduler of this process, from when it runs until it ends.
#[derive(Clone)]
pub struct Explainer {
    scheduler: Arc<OnceLock<Weak<Scheduler>>>,
    free: Arc<Semaphore>,
}

impl Default for Explainer {
    fn default() -> Self {
        Self { scheduler: Arc::default(), free: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Explainer {
    pub(crate) fn answer_for(&self, scheduler: &Arc<Scheduler>) {
        // A second scheduler that was given the same would be a mistake of who puts the parts together.
        let _ = self.scheduler.set(Arc::downgrade(scheduler));
    }

    /// The decision about a pod, as if it had no node yet.
    ///
    /// # Errors
    /// When there is no such pod, it is another scheduler's, ours does not run, or too many ask at once.
    pub async fn explain(&self, namespace: &str, name: &str) -> Result<Explanation, ExplainError> {
        let scheduler = self.scheduler.get().and_then(Weak::upgrade).ok_or(ExplainError::NotRunning)?;
        let found = typed::get_object::<Pod>(scheduler.binder.client.as_ref(), namespace, name).await?;
        let object = found.ok_or(ExplainError::NotFound)?;
        let pod = PodInfo::without_node(&object).ok_or(ExplainError::NotFound)?;
        let profile = scheduler.profiles.get(&pod.scheduler).ok_or_else(|| ExplainError::NotOurs(pod.scheduler.clone()))?;
        let node = PodInfo::of(&object).map(|pod| pod.node).unwrap_or_default();
        let free = self.free.clone().try_acquire_owned().map_err(|_| ExplainError::Busy)?;
        // Guests run for as long as they may, and nodes are many. It goes on when nobody waits for it any more.
        let evaluated = tokio::task::spawn_blocking(move || {
            let _free = free;
            let snapshot = scheduler.without(&pod);
            let mut explanation = evaluate(&profile, &pod, &snapshot);
            explanation.node = node;
            explanation
        });
        evaluated.await.map_err(|error| ExplainError::Failed(error.to_string()))
    }
}
