//! One scheduling cycle: filter, score, choose. Pure but for the random choice among equals, whose source is given.

mod shadow;

use std::collections::BTreeSet;
use std::sync::Arc;

use rand::Rng;

pub use self::shadow::Decision;
use crate::diagnosis::Diagnosis;
use crate::framework::{Candidates, Plugin, PluginState, Point, Rejection, Scope, Trial, Unplaced};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::profile::Profile;
use crate::snapshot::Snapshot;

/// Nodes asked about at a time, at most.
pub(crate) const BATCH: usize = 512;
/// At least so many while there are: for the last few feasible ones it is not asked one by one.
const FEW: usize = 64;
/// With at most so many nodes, all of them are looked at.
const ALWAYS_ALL: usize = 100;

/// Chooses nodes; remembers where it stopped to look.
#[derive(Default)]
pub struct Cycle {
    /// Where the next cycle begins to look, so that large clusters fill evenly.
    start: usize,
    /// How many feasible nodes of a hundred are enough to choose from where the profile does not say; 0 for a share by the
    /// size of the cluster.
    percentage: usize,
}

/// What is known about one pod in its cycle.
struct Attempt<'a> {
    profile: &'a Profile,
    pod: &'a PodInfo,
    snapshot: &'a Snapshot,
    states: Vec<PluginState>,
    /// By place in the profile: has nothing to say about this pod.
    skipped: Vec<bool>,
    diagnosis: Diagnosis,
    /// Places of nodes whose rejection other pods' leaving may mend.
    hopeful: Vec<usize>,
}

impl Cycle {
    /// `percentage`: how many feasible nodes of a hundred are enough to choose from; 0 for a share by the size of the cluster.
    pub fn new(percentage: u8) -> Self {
        Self { start: 0, percentage: percentage.into() }
    }

    /// The node for the pod.
    ///
    /// # Errors
    /// Why there is none.
    pub fn run(
        &mut self,
        profile: &Profile,
        pod: &PodInfo,
        snapshot: &Snapshot,
        random: &mut impl Rng,
    ) -> Result<Decision, Box<Diagnosis>> {
        let mut attempt = Attempt {
            profile,
            pod,
            snapshot,
            states: vec![PluginState::default(); profile.plugins().len()],
            skipped: vec![false; profile.plugins().len()],
            diagnosis: Diagnosis::of(snapshot.nodes.len()),
            hopeful: Vec::new(),
        };
        if !profile.missing().is_empty() {
            attempt.diagnosis.reject_for_missing(profile.missing());
            return Err(Box::new(attempt.diagnosis));
        }
        let feasible = match attempt.pre_filter() {
            Ok(only) => self.feasible(&mut attempt, only.as_ref()),
            Err((slot, rejection)) => {
                // A trial asks filters only, so that it could not tell whether other pods' leaving helps.
                attempt.diagnosis.reject_whole(&profile.plugins()[slot], &rejection);
                Vec::new()
            }
        };
        let (totals, chosen) = match feasible.as_slice() {
            [] => return Err(attempt.post_filter(random.random_range(0..snapshot.nodes.len().max(1)))),
            [_] => (vec![0], 0),
            _ => attempt.best(&feasible, random),
        };
        Ok(Decision { feasible, totals, chosen })
    }

    fn feasible(&mut self, attempt: &mut Attempt<'_>, only: Option<&BTreeSet<String>>) -> Vec<Arc<NodeInfo>> {
        let snapshot = attempt.snapshot;
        let nodes = &snapshot.nodes;
        let mut feasible = Vec::new();
        // Room was made for it there.
        let nominated = &attempt.pod.nominated_node;
        if !nominated.is_empty() && only.is_none_or(|only| only.contains(nominated)) {
            if let Some(at) = snapshot.position(nominated) {
                attempt.filter(&nodes[at..=at], at, &mut feasible);
            }
            if !feasible.is_empty() {
                return feasible;
            }
            attempt.forget_rejections();
        }
        if let Some(only) = only {
            let places: Vec<usize> = only.iter().filter_map(|name| snapshot.position(name)).collect();
            // The others are not looked at, and nobody's leaving would make them do.
            attempt.diagnosis.leave_out(nodes.len() - places.len());
            for at in places {
                attempt.filter(&nodes[at..=at], at, &mut feasible);
            }
            return feasible;
        }
        let enough = enough(nodes.len(), attempt.profile.percentage().map_or(self.percentage, usize::from));
        feasible.reserve_exact((enough + FEW).min(nodes.len()));
        let start = if nodes.is_empty() { 0 } else { self.start % nodes.len() };
        let (behind, ahead) = nodes.split_at(start);
        let mut seen = 0;
        for (mut offset, mut left) in [(start, ahead), (0, behind)] {
            while feasible.len() < enough && !left.is_empty() {
                let size = (enough - feasible.len()).clamp(FEW, BATCH).min(left.len());
                let (batch, rest) = left.split_at(size);
                attempt.filter(batch, offset, &mut feasible);
                (offset, left) = (offset + size, rest);
                seen += size;
            }
        }
        if enough < nodes.len() {
            self.start = start + seen;
        }
        feasible
    }
}

impl Attempt<'_> {
    /// The nodes that alone can do, where a plugin knows.
    fn pre_filter(&mut self) -> Result<Option<BTreeSet<String>>, (usize, Rejection)> {
        let mut only: Option<BTreeSet<String>> = None;
        for (slot, plugin) in self.profile.at(Point::PreFilter) {
            match plugin.pre_filter(self.pod, self.snapshot, &mut self.states[slot]).map_err(|why| (slot, why))? {
                Scope::All => {}
                Scope::Skip => self.skipped[slot] = true,
                Scope::Nodes(names) => {
                    only = Some(match only {
                        Some(only) => only.intersection(&names).cloned().collect(),
                        None => names,
                    });
                }
            }
        }
        Ok(only)
    }

    /// Asks the filters about a batch of nodes, the first of which is at `offset` in the snapshot.
    fn filter(&mut self, batch: &[Arc<NodeInfo>], offset: usize, feasible: &mut Vec<Arc<NodeInfo>>) {
        let mut candidates = Candidates::new(batch);
        for (slot, plugin) in self.profile.at(Point::Filter) {
            if !self.skipped[slot] {
                candidates.asking(slot);
                plugin.filter(self.pod, self.snapshot, &mut candidates, &mut self.states[slot]);
            }
        }
        for (number, (node, rejection)) in candidates.into_verdicts().enumerate() {
            let rejection = rejection.or_else(|| self.room_is_promised(node));
            match rejection {
                Some((slot, rejection)) => {
                    if !rejection.unresolvable {
                        self.hopeful.push(offset + number);
                    }
                    self.diagnosis.reject(&self.profile.plugins()[slot], rejection);
                }
                None => feasible.push(node.clone()),
            }
        }
    }

    /// Why a node that would do is left to the pods that are nominated for it.
    fn room_is_promised(&self, node: &Arc<NodeInfo>) -> Option<(usize, Rejection)> {
        self.snapshot.nominated_before(self.pod, &node.name).next()?;
        let Self { profile, pod, snapshot, skipped, .. } = self;
        let mut trial = Trial { profile, pod, snapshot, skipped, node: node.clone(), states: self.states.clone() };
        trial.fits_with_nominated().err()
    }

    fn forget_rejections(&mut self) {
        self.diagnosis.forget_rejections();
        self.hopeful.clear();
    }

    fn post_filter(mut self, start: usize) -> Box<Diagnosis> {
        let unplaced = Unplaced {
            snapshot: self.snapshot,
            profile: self.profile,
            pod: self.pod,
            states: &self.states,
            skipped: &self.skipped,
            hopeful: &self.hopeful,
            start,
        };
        for (_, plugin) in self.profile.at(Point::PostFilter) {
            let Some(answer) = plugin.post_filter(self.pod, &unplaced) else { continue };
            self.diagnosis.notes.extend(answer.note);
            self.diagnosis.clears_nomination |= answer.clear_nomination;
            if answer.nomination.is_some() {
                self.diagnosis.nomination = answer.nomination;
                break;
            }
        }
        Box::new(self.diagnosis)
    }

    /// What all nodes come to, and the place of the one that is chosen.
    fn best(&mut self, feasible: &[Arc<NodeInfo>], random: &mut impl Rng) -> (Vec<i64>, usize) {
        for (slot, plugin) in self.profile.at(Point::PreScore) {
            plugin.pre_score(self.pod, feasible, self.snapshot, &mut self.states[slot]);
        }
        let mut totals = vec![0_i64; feasible.len()];
        for (slot, plugin) in self.profile.at(Point::Score) {
            let weight = self.profile.plugins()[slot].weight;
            if let Some(scores) = scores(plugin.as_ref(), self.pod, self.snapshot, feasible, &mut self.states[slot]) {
                totals.iter_mut().zip(scores).for_each(|(total, score)| {
                    *total = total.saturating_add(score.saturating_mul(weight));
                });
            }
        }
        let highest = totals.iter().copied().max().unwrap_or(0);
        let best = || (0..totals.len()).filter(|at| totals[*at] == highest);
        let chosen = best().nth(random.random_range(0..best().count().max(1))).unwrap_or(0);
        (totals, chosen)
    }
}

/// A plugin's scores of all feasible nodes, without its weight; `None` when it has no opinion.
pub(crate) fn scores(
    plugin: &dyn Plugin,
    pod: &PodInfo,
    snapshot: &Snapshot,
    feasible: &[Arc<NodeInfo>],
    state: &mut PluginState,
) -> Option<Vec<i64>> {
    let mut scores = Vec::with_capacity(feasible.len());
    for batch in feasible.chunks(BATCH) {
        let of_batch = plugin.score(pod, snapshot, batch, state).filter(|scores| scores.len() == batch.len())?;
        scores.extend(of_batch);
    }
    plugin.normalize(&mut scores);
    Some(scores)
}

/// How many feasible nodes are enough to choose from: in large clusters looking at all of them is not worth it.
fn enough(nodes: usize, percentage: usize) -> usize {
    if nodes <= ALWAYS_ALL || percentage >= 100 {
        return nodes;
    }
    let percent = if percentage == 0 { 50_usize.saturating_sub(nodes / 125).max(5) } else { percentage };
    (nodes * percent / 100).max(ALWAYS_ALL)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::profile::Profiles;

    fn cluster(nodes: usize, is_cordoned: impl Fn(usize) -> bool) -> Snapshot {
        let node = |number| NodeInfo {
            name: format!("{number:04}"),
            allowed_pods: 10,
            unschedulable: is_cordoned(number),
            ..NodeInfo::default()
        };
        Snapshot::of((0..nodes).map(|number| Arc::new(node(number))).collect())
    }

    /// The numbers of the nodes that each of some pods could have gone to.
    fn looked_at(snapshot: &Snapshot, pods: usize) -> Vec<Vec<usize>> {
        let profile = Profiles::new(Vec::new()).expect("is valid").get("default-scheduler").expect("is there");
        let (mut cycle, mut random) = (Cycle::new(0), StdRng::seed_from_u64(1));
        let mut feasible = || {
            let decision = cycle.run(&profile, &PodInfo::default(), snapshot, &mut random).expect("there is room");
            decision.feasible.iter().map(|node| node.name.parse().expect("is a number")).collect()
        };
        (0..pods).map(|_| feasible()).collect()
    }

    #[test]
    fn enough_nodes_are_looked_at_and_the_next_pod_begins_behind_them() {
        let all: Vec<usize> = (0..600).cycle().take(900).collect();
        // 46 of a hundred.
        assert_eq!(looked_at(&cluster(600, |_| false), 3), [&all[..276], &all[276..552], &all[552..828]]);
        assert_eq!(looked_at(&cluster(100, |_| false), 2), [&all[..100], &all[..100]], "of a small cluster all");
    }

    #[test]
    fn all_nodes_are_looked_at_where_few_will_do() {
        let few: Vec<usize> = (0..1500).filter(|number| number % 10 == 0).collect();
        let found = looked_at(&cluster(1500, |number| number % 10 != 0), 2);
        assert_eq!(found, [few.clone(), few]);
    }

    #[test]
    fn cordoned_nodes_in_between_are_passed_over() {
        let found = looked_at(&cluster(1000, |number| number % 2 == 1), 1);
        assert!((420..420 + FEW).contains(&found[0].len()), "{}", found[0].len());
        assert!(found[0].iter().all(|number| number % 2 == 0));
    }
}
