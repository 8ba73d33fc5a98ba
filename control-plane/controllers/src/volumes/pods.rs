//! Pods on nodes that use claims.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use mizzen_api::ObjectRef;
use mizzen_reconcile::{Queue, WatchCache, WatchSpec, typed};

use crate::context::Context;

/// Index of pods: the claims that they use.
pub(super) const BY_CLAIM: &str = "claim";

#[derive(Default)]
pub(super) struct Using {
    pub(super) node: String,
    pub(super) claims: Vec<ObjectRef>,
}

impl Using {
    /// What a pod uses, which is nothing before it is on a node.
    pub(super) fn of(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        let of = |name: &Option<String>| name.clone().unwrap_or_default();
        let (namespace, name, node) = (of(&pod.metadata.namespace), of(&pod.metadata.name), of(&spec.node_name));
        if node.is_empty() {
            return Self::default();
        }
        let named = spec.volumes.iter().flatten().filter_map(|volume| {
            // A claim of the pod's own bears its name.
            let own = volume.ephemeral.as_ref().map(|_| format!("{name}-{}", volume.name));
            volume.persistent_volume_claim.as_ref().map(|source| source.claim_name.clone()).or(own)
        });
        Self { node, claims: named.map(|claim| ObjectRef::new(namespace.as_str(), claim)).collect() }
    }
}

/// Only pods that use claims are kept.
pub(super) fn cache(context: &Context) -> Arc<WatchCache<Using>> {
    let using = |pod: &Arc<mizzen_api::Object>| {
        let using = Using::of(typed::view::<Pod>(pod).ok()?.as_ref());
        (!using.claims.is_empty()).then_some(using)
    };
    WatchCache::projected(WatchSpec::all(typed::gvr::<Pod>()), using)
        .index(BY_CLAIM, |using: &Using| using.claims.iter().map(ToString::to_string).collect())
        .start(context.client("pvc-protection-controller"), context.cancel.clone())
}

/// A pod that comes to its node, or goes, is news for its claims.
pub(super) fn wake_claims(pods: &WatchCache<Using>, queue: &Queue) {
    let queue = queue.clone();
    pods.on_change(move |change| {
        if change.old.is_none() || change.new.is_none() {
            let claims = change.old.into_iter().chain(change.new).flat_map(|using| &using.claims);
            claims.for_each(|claim| queue.add(claim.clone()));
        }
    });
}
