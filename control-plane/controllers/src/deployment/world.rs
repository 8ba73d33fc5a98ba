//! What a decision about a Deployment is made from.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::view::DeploymentView;
use crate::replicaset::RsView;
use crate::template::normalized;

/// Which revision of the Deployment a ReplicaSet is, or which one is rolled out.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// Earlier revisions with the same template, comma-separated.
pub(super) const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// `spec.replicas` of the Deployment when the ReplicaSet was last scaled; tells a change of it from a rollout.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// The most pods the Deployment allowed when the ReplicaSet was last scaled, for proportional scaling.
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";

pub(super) struct World<'a> {
    pub(super) deployment: &'a DeploymentView,
    /// The ReplicaSet of the present template.
    pub(super) new: Option<Arc<RsView>>,
    /// All others, oldest first.
    pub(super) old: Vec<Arc<RsView>>,
    /// The normalized present template.
    pub(super) template: Value,
    /// Unfinished pods by the uid of their ReplicaSet.
    running: HashMap<String, usize>,
    pub(super) now: Timestamp,
}

impl<'a> World<'a> {
    pub(super) fn new(
        deployment: &'a DeploymentView,
        mut sets: Vec<Arc<RsView>>,
        running: HashMap<String, usize>,
        now: Timestamp,
    ) -> Self {
        let template = normalized(&deployment.template);
        sets.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.owner.key.name.cmp(&b.owner.key.name)));
        let new = sets.iter().position(|set| normalized(&set.owner.template) == template).map(|at| sets.remove(at));
        Self { deployment, new, old: sets, template, running, now }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<RsView>> {
        self.old.iter().chain(&self.new)
    }

    pub(super) fn old_pods_run(&self) -> bool {
        self.old.iter().any(|set| self.running.get(&set.owner.uid).copied().unwrap_or(0) > 0)
    }
}

pub(super) fn replicas<'a>(sets: impl IntoIterator<Item = &'a Arc<RsView>>) -> i32 {
    sets.into_iter().map(|set| set.replicas).sum()
}

pub(super) fn available<'a>(sets: impl IntoIterator<Item = &'a Arc<RsView>>) -> i32 {
    sets.into_iter().map(|set| set.available()).sum()
}

pub(super) fn revision(set: &RsView) -> i64 {
    set.annotations.get(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}
