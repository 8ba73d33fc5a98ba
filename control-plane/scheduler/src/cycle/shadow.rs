//! A decision, and what it would have come to with plugins that only look on. Those are asked once it is made, so that it takes
//! no longer to be found than without them; nodes that nobody looked at are not looked at for them either.

use std::sync::Arc;

use super::{BATCH, scores};
use crate::framework::{Candidates, Difference, Plugin, PluginState, Point, Points, Scope};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::profile::Profile;
use crate::snapshot::Snapshot;

/// The feasible nodes as they were, their totals, and which one it fell upon.
#[derive(Debug)]
pub struct Decision {
    pub(super) feasible: Vec<Arc<NodeInfo>>,
    pub(super) totals: Vec<i64>,
    pub(super) chosen: usize,
}

impl Decision {
    /// The node's name.
    pub fn node(&self) -> &str {
        &self.feasible[self.chosen].name
    }

    /// Asks the plugins that only look on. The snapshot may be a later one.
    pub fn show(&self, profile: &Profile, pod: &PodInfo, snapshot: &Snapshot) {
        let made = Made { pod, snapshot, feasible: &self.feasible, totals: &self.totals, chosen: self.chosen };
        for (slot, plugin, points) in profile.shadows() {
            plugin.looked_on(made.difference(plugin.as_ref(), points, profile.plugins()[slot].weight));
            plugin.end(pod);
        }
    }
}

struct Made<'a> {
    pod: &'a PodInfo,
    snapshot: &'a Snapshot,
    feasible: &'a [Arc<NodeInfo>],
    totals: &'a [i64],
    chosen: usize,
}

impl Made<'_> {
    fn difference(&self, plugin: &dyn Plugin, points: Points, weight: i64) -> Difference {
        let mut state = PluginState::default();
        let left = self.left(plugin, points, &mut state);
        let nodes = self.feasible.len();
        let difference = Difference { nodes, rejected_nodes: nodes - left.len(), ..Difference::default() };
        if left.is_empty() {
            return Difference { stays_unplaced: true, ..difference };
        }
        let Some(place) = left.iter().position(|at| *at == self.chosen) else {
            return Difference { goes_elsewhere: true, ..difference };
        };
        let mut totals: Vec<i64> = left.iter().map(|at| self.totals[*at]).collect();
        let remaining: Vec<Arc<NodeInfo>> = left.iter().map(|at| self.feasible[*at].clone()).collect();
        if points.contains(Point::PreScore) {
            plugin.pre_score(self.pod, &remaining, self.snapshot, &mut state);
        }
        if points.contains(Point::Score)
            && let Some(scores) = scores(plugin, self.pod, self.snapshot, &remaining, &mut state)
        {
            totals.iter_mut().zip(scores).for_each(|(total, score)| *total = total.saturating_add(score.saturating_mul(weight)));
        }
        // Among equals any would have done.
        let goes_elsewhere = totals.iter().any(|total| *total > totals[place]);
        Difference { goes_elsewhere, ..difference }
    }

    /// The places of feasible nodes that the plugin does not reject.
    fn left(&self, plugin: &dyn Plugin, points: Points, state: &mut PluginState) -> Vec<usize> {
        let scope = match points.contains(Point::PreFilter) {
            true => plugin.pre_filter(self.pod, self.snapshot, state),
            false => Ok(Scope::All),
        };
        let Ok(scope) = scope else { return Vec::new() };
        let is_among = |node: &NodeInfo| match &scope {
            Scope::All | Scope::Skip => true,
            Scope::Nodes(names) => names.contains(&node.name),
        };
        let mut left = Vec::with_capacity(self.feasible.len());
        for (number, batch) in self.feasible.chunks(BATCH).enumerate() {
            let mut candidates = Candidates::new(batch);
            if points.contains(Point::Filter) && scope != Scope::Skip {
                plugin.filter(self.pod, self.snapshot, &mut candidates, state);
            }
            let verdicts = candidates.into_verdicts().enumerate();
            let passed = verdicts.filter(|(_, (node, rejection))| rejection.is_none() && is_among(node));
            left.extend(passed.map(|(at, _)| number * BATCH + at));
        }
        left
    }
}
