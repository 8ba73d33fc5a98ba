//! TaintToleration: keeps pods off nodes whose taints they do not tolerate.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Taint, Toleration};

use crate::framework::{Candidates, ClusterEvent, Plugin, PluginState, Point, Points, Rejection, normalize_by_maximum};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

pub(super) struct TaintToleration;

/// Some feasible node has a taint that would rather keep pods off. Decided over all of them: nodes are scored in batches.
#[derive(Clone)]
struct Matters;

fn text(part: &Option<String>) -> &str {
    part.as_deref().unwrap_or_default()
}

/// Whether one of the tolerations covers the taint (`core/v1.Toleration`).
pub(super) fn tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| {
        let (effect, key) = (text(&toleration.effect), text(&toleration.key));
        let exists = toleration.operator.as_deref() == Some("Exists");
        (effect.is_empty() || effect == taint.effect)
            && (key.is_empty() && exists || key == taint.key)
            && (exists || text(&toleration.value) == text(&taint.value))
    })
}

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn points(&self) -> Points {
        Points::of(&[Point::Filter, Point::PreScore, Point::Score])
    }

    fn weight(&self) -> i64 {
        3
    }

    fn wakes_on(&self) -> &'static [ClusterEvent] {
        &[ClusterEvent::NodeAdded, ClusterEvent::NodeChanged]
    }

    fn filter(&self, pod: &PodInfo, snapshot: &Snapshot, candidates: &mut Candidates<'_>, _state: &mut PluginState) {
        if !snapshot.has_tainted() {
            return;
        }
        candidates.check(|node| {
            let keeps_off = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
            match node.taints.iter().filter(keeps_off).find(|taint| !tolerates(&pod.tolerations, taint)) {
                None => Ok(()),
                Some(taint) => {
                    let value = taint.value.as_deref().unwrap_or_default();
                    Err(Rejection::unresolvable(format!("node(s) had untolerated taint {{{}: {value}}}", taint.key)))
                }
            }
        });
    }

    fn pre_score(&self, _pod: &PodInfo, feasible: &[Arc<NodeInfo>], snapshot: &Snapshot, state: &mut PluginState) {
        *state = PluginState::default();
        if !snapshot.has_tainted() {
            return;
        }
        if feasible.iter().any(|node| node.taints.iter().any(|taint| taint.effect == "PreferNoSchedule")) {
            state.set(Matters);
        }
    }

    fn score(&self, pod: &PodInfo, _snapshot: &Snapshot, nodes: &[Arc<NodeInfo>], state: &mut PluginState) -> Option<Vec<i64>> {
        let Matters = state.get()?;
        let unwelcome = |taint: &&Taint| taint.effect == "PreferNoSchedule" && !tolerates(&pod.tolerations, taint);
        let count = |node: &Arc<NodeInfo>| i64::try_from(node.taints.iter().filter(unwelcome).count()).unwrap_or(i64::MAX);
        Some(nodes.iter().map(count).collect())
    }

    fn normalize(&self, scores: &mut [i64]) {
        normalize_by_maximum(scores, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_without_taints_has_scores_beside_one_with_them() {
        let taint = Taint { key: "old".into(), effect: "PreferNoSchedule".into(), ..Taint::default() };
        let tainted = NodeInfo { taints: Arc::new([taint].into_iter().collect()), ..NodeInfo::default() };
        let nodes = [Arc::new(tainted), Arc::new(NodeInfo::default())];
        let (pod, snapshot) = (PodInfo::default(), Snapshot::of(nodes.to_vec()));
        let scores = |feasible: &[Arc<NodeInfo>]| {
            let mut state = PluginState::default();
            TaintToleration.pre_score(&pod, feasible, &snapshot, &mut state);
            feasible
                .iter()
                .map(|node| TaintToleration.score(&pod, &snapshot, std::slice::from_ref(node), &mut state))
                .collect::<Vec<_>>()
        };
        assert_eq!(scores(&nodes), [Some(vec![1]), Some(vec![0])]);
        assert_eq!(scores(&nodes[1..]), [None], "where nothing differs there is no opinion");
    }

    #[test]
    fn tolerations_match_by_key_operator_value_and_effect() {
        let taint = |key: &str, value: &str, effect: &str| Taint {
            key: key.into(),
            value: Some(value.into()).filter(|v: &String| !v.is_empty()),
            effect: effect.into(),
            ..Taint::default()
        };
        let toleration = |key: &str, operator: &str, value: &str, effect: &str| {
            let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            Toleration {
                key: some(key),
                operator: some(operator),
                value: some(value),
                effect: some(effect),
                ..Toleration::default()
            }
        };
        let gpu = taint("gpu", "yes", "NoSchedule");
        for (toleration, expected) in [
            (toleration("gpu", "Equal", "yes", "NoSchedule"), true),
            (toleration("gpu", "", "yes", ""), true),
            (toleration("gpu", "Equal", "no", ""), false),
            (toleration("gpu", "Exists", "", ""), true),
            (toleration("gpu", "Exists", "", "NoExecute"), false),
            (toleration("", "Exists", "", ""), true),
            (toleration("", "", "yes", ""), false),
            (toleration("cpu", "Exists", "", ""), false),
        ] {
            assert_eq!(tolerates(std::slice::from_ref(&toleration), &gpu), expected, "{toleration:?}");
        }
    }
}
