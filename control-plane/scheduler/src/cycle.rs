//! One scheduling cycle: filter, score, choose. Pure but for the random choice among equals, whose source is given.

use std::sync::Arc;

use rand::Rng;

use crate::diagnosis::Diagnosis;
use crate::framework::{Candidates, CycleState, Plugin};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

/// Nodes asked about at a time.
const BATCH: usize = 256;
/// With at most so many nodes, all of them are looked at.
const ALWAYS_ALL: usize = 100;

pub(crate) struct Cycle {
    plugins: Vec<Arc<dyn Plugin>>,
    /// Where the next cycle begins to look, so that large clusters fill evenly.
    start: usize,
}

impl Cycle {
    pub(crate) fn new(plugins: Vec<Arc<dyn Plugin>>) -> Self {
        Self { plugins, start: 0 }
    }

    pub(crate) fn plugins(&self) -> &[Arc<dyn Plugin>] {
        &self.plugins
    }

    /// The name of the node for the pod.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn run(&mut self, pod: &PodInfo, snapshot: &Snapshot, random: &mut impl Rng) -> Result<String, Box<Diagnosis>> {
        let mut state = CycleState::default();
        let mut diagnosis = Diagnosis::of(snapshot.nodes.len());
        for plugin in &self.plugins {
            if let Err(rejection) = plugin.pre_filter(pod, snapshot, &mut state) {
                diagnosis.reject_whole(plugin.name(), &rejection);
                return Err(Box::new(diagnosis));
            }
        }
        let feasible = self.filter(pod, snapshot, &state, &mut diagnosis);
        match feasible.as_slice() {
            [] => {
                diagnosis.notes = self.plugins.iter().filter_map(|p| p.post_filter(pod, snapshot, &state)).collect();
                Err(Box::new(diagnosis))
            }
            [only] => Ok(only.name.clone()),
            _ => Ok(self.best(pod, snapshot, &feasible, &mut state, random)),
        }
    }

    fn filter(
        &mut self,
        pod: &PodInfo,
        snapshot: &Snapshot,
        state: &CycleState,
        diagnosis: &mut Diagnosis,
    ) -> Vec<Arc<NodeInfo>> {
        let nodes = &snapshot.nodes;
        let enough = enough(nodes.len());
        let start = if nodes.is_empty() { 0 } else { self.start % nodes.len() };
        let (behind, ahead) = nodes.split_at(start);
        let mut feasible = Vec::new();
        let mut seen = 0;
        for batch in ahead.chunks(BATCH).chain(behind.chunks(BATCH)) {
            let mut candidates = Candidates::new(batch);
            for plugin in &self.plugins {
                candidates.asking(plugin.name());
                plugin.filter(pod, &mut candidates, state);
            }
            for (node, rejection) in candidates.into_verdicts() {
                match rejection {
                    Some((plugin, rejection)) => diagnosis.reject(plugin, rejection),
                    None => feasible.push(node.clone()),
                }
            }
            seen += batch.len();
            if feasible.len() >= enough {
                break;
            }
        }
        if enough < nodes.len() {
            self.start = start + seen;
        }
        feasible
    }

    fn best(
        &self,
        pod: &PodInfo,
        snapshot: &Snapshot,
        feasible: &[Arc<NodeInfo>],
        state: &mut CycleState,
        random: &mut impl Rng,
    ) -> String {
        let mut totals = vec![0_i64; feasible.len()];
        for plugin in &self.plugins {
            plugin.pre_score(pod, feasible, snapshot, state);
            let mut scores = Vec::with_capacity(feasible.len());
            for batch in feasible.chunks(BATCH) {
                let Some(batch_scores) = plugin.score(pod, batch, state).filter(|scores| scores.len() == batch.len()) else {
                    break;
                };
                scores.extend(batch_scores);
            }
            if scores.len() == feasible.len() {
                plugin.normalize(&mut scores);
                totals.iter_mut().zip(scores).for_each(|(total, score)| *total += score.saturating_mul(plugin.weight()));
            }
        }
        let highest = totals.iter().copied().max().unwrap_or(0);
        let best: Vec<_> = feasible.iter().zip(&totals).filter(|(_, total)| **total == highest).map(|(node, _)| node).collect();
        best.get(random.random_range(0..best.len().max(1))).map(|node| node.name.clone()).unwrap_or_default()
    }
}

/// How many feasible nodes are enough to choose from: in large clusters looking at all of them is not worth it.
fn enough(nodes: usize) -> usize {
    if nodes <= ALWAYS_ALL {
        return nodes;
    }
    let percent = 50_usize.saturating_sub(nodes / 125).max(5);
    (nodes * percent / 100).max(ALWAYS_ALL)
}
