//! What the native `TaintToleration` does: pods go to no node with a taint that they do not tolerate, and rather to those with
//! few that are only not preferred.

use mizzen_scheduler_sdk::{Column, Columns, Cycle, Node, Plugin, Points, Rejection, Toleration, Wakes, plugin};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

struct TaintToleration {
    taints: Column<[String]>,
}

struct Taint<'a> {
    key: &'a str,
    value: &'a str,
    effect: &'a str,
}

impl<'a> Taint<'a> {
    /// From `key=value:Effect`.
    fn of(text: &'a str) -> Self {
        let (pair, effect) = text.rsplit_once(':').unwrap_or((text, ""));
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Self { key, value, effect }
    }

    fn is_tolerated(&self, tolerations: &[Toleration]) -> bool {
        tolerations.iter().any(|toleration| {
            let exists = toleration.operator == "Exists";
            (toleration.effect.is_empty() || toleration.effect == self.effect)
                && (toleration.key.is_empty() && exists || toleration.key == self.key)
                && (exists || toleration.value == self.value)
        })
    }
}

impl TaintToleration {
    /// How many of the node's taints would rather keep the pod off, and whether it has any of the kind.
    fn unwelcome(&self, cycle: &Cycle, node: Node) -> (i64, bool) {
        let texts = node.get(self.taints).unwrap_or_default();
        let soft = texts.into_iter().map(Taint::of).filter(|taint| taint.effect == "PreferNoSchedule");
        soft.fold((0, false), |(count, _), taint| (count + i64::from(!taint.is_tolerated(&cycle.pod.tolerations)), true))
    }
}

impl Plugin for TaintToleration {
    type Settings = Settings;
    const POINTS: Points = Points::FILTER.union(Points::PRE_SCORE).union(Points::SCORE);
    const WAKES: Wakes = Wakes::NODE_ADDED.union(Wakes::NODE_CHANGED);

    fn new(_: Settings, columns: &mut Columns) -> Result<Self, String> {
        Ok(Self { taints: columns.texts("taints") })
    }

    fn filter(&mut self, cycle: &Cycle, node: Node) -> Result<(), Rejection> {
        let texts = node.get(self.taints).unwrap_or_default();
        let mut hard = texts.into_iter().map(Taint::of).filter(|taint| matches!(taint.effect, "NoSchedule" | "NoExecute"));
        match hard.find(|taint| !taint.is_tolerated(&cycle.pod.tolerations)) {
            None => Ok(()),
            Some(Taint { key, value, .. }) => Err(Rejection::never(format!("node(s) had untolerated taint {{{key}: {value}}}"))),
        }
    }

    /// Answers the most unwelcome taints of any node, or nothing when there are none of the kind.
    fn pre_score(&mut self, cycle: &Cycle, feasible: &[u32]) -> Vec<u8> {
        let all = feasible.iter().map(|row| self.unwelcome(cycle, cycle.cluster.node(*row)));
        let (most, any) = all.fold((0, false), |(most, any), (count, has)| (most.max(count), any | has));
        if any { most.to_le_bytes().to_vec() } else { Vec::new() }
    }

    fn scores(&mut self, cycle: &Cycle) -> bool {
        !cycle.state.is_empty()
    }

    fn score(&mut self, cycle: &Cycle, node: Node) -> i64 {
        let most = cycle.state.try_into().map_or(0, i64::from_le_bytes);
        if most == 0 { 100 } else { 100 - self.unwelcome(cycle, node).0 * 100 / most }
    }
}

plugin!(TaintToleration);
