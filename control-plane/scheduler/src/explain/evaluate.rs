//! One decision with every plugin's answer about every node. Pure, as a cycle is.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::answer::{Explanation, NodeAnswer, PluginAnswer, PluginOnNode};
use crate::cycle::{BATCH, scores};
use crate::diagnosis::Diagnosis;
use crate::framework::{Candidates, Plugin, PluginState, Point, Rejection, Scope, Trial};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::profile::Profile;
use crate::snapshot::Snapshot;

const NOT_SELECTED: &str = "node(s) didn't match Pod's node affinity/selector";

/// The decision about a pod that has no node in the snapshot. Components are asked by copies, which are made here.
pub fn evaluate(profile: &Profile, pod: &PodInfo, snapshot: &Snapshot) -> Explanation {
    let (profile, troubles) = profile.aside();
    let plugins = profile.plugins().iter().map(|_| Asked::default()).collect();
    let mut evaluation = Evaluation { profile: &profile, pod, snapshot, plugins, totals: HashMap::new() };
    for (slot, error) in troubles {
        evaluation.plugins[slot].failure = Some(error.to_string());
    }
    evaluation.pre_filter();
    evaluation.filter();
    evaluation.keep_promises();
    let feasible = evaluation.feasible();
    evaluation.score(&feasible);
    evaluation.told(&feasible)
}

/// What is known of one plugin.
#[derive(Default)]
struct Asked {
    state: PluginState,
    /// It could not be asked.
    failure: Option<String>,
    is_skipped: bool,
    /// Why it rejects the pod for every node.
    whole: Option<Rejection>,
    /// By node, once it is asked about them.
    rejections: Option<Vec<Option<Rejection>>>,
    /// By feasible node, in their order.
    scores: Option<Vec<i64>>,
}

struct Evaluation<'a> {
    profile: &'a Profile,
    pod: &'a PodInfo,
    snapshot: &'a Snapshot,
    plugins: Vec<Asked>,
    /// By a feasible node's place.
    totals: HashMap<usize, i64>,
}

impl<'a> Evaluation<'a> {
    /// The places of all plugins that are enabled at a point, those that only look on behind the others.
    fn at(&self, point: Point) -> Vec<(usize, &'a Arc<dyn Plugin>)> {
        let profile: &'a Profile = self.profile;
        let shadows = profile.shadows().filter(|(_, _, points)| points.contains(point));
        let all = profile.at(point).chain(shadows.map(|(slot, plugin, _)| (slot, plugin)));
        all.filter(|(slot, _)| self.plugins[*slot].failure.is_none()).collect()
    }

    fn counts(&self, slot: usize) -> bool {
        !self.profile.plugins()[slot].is_shadow
    }

    fn pre_filter(&mut self) {
        for (slot, plugin) in self.at(Point::PreFilter) {
            let asked = &mut self.plugins[slot];
            match plugin.pre_filter(self.pod, self.snapshot, &mut asked.state) {
                Ok(Scope::All) => {}
                Ok(Scope::Skip) => asked.is_skipped = true,
                Ok(Scope::Nodes(names)) => asked.rejections = Some(outside(&names, &self.snapshot.nodes)),
                Err(rejection) => asked.whole = Some(rejection),
            }
        }
    }

    fn filter(&mut self) {
        for (slot, plugin) in self.at(Point::Filter) {
            let asked = &mut self.plugins[slot];
            if asked.is_skipped || asked.whole.is_some() {
                continue;
            }
            let mut rejections = Vec::with_capacity(self.snapshot.nodes.len());
            for batch in self.snapshot.nodes.chunks(BATCH) {
                let mut candidates = Candidates::new(batch);
                plugin.filter(self.pod, self.snapshot, &mut candidates, &mut asked.state);
                rejections.extend(candidates.into_verdicts().map(|(_, rejection)| rejection.map(|(_, why)| why)));
            }
            let before = asked.rejections.take().unwrap_or_default().into_iter().chain(std::iter::repeat(None));
            asked.rejections = Some(rejections.into_iter().zip(before).map(|(now, before)| now.or(before)).collect());
        }
    }

    /// Nodes that would do may be left to pods that are nominated for them.
    fn keep_promises(&mut self) {
        if self.snapshot.nominated.is_empty() {
            return;
        }
        let skipped: Vec<bool> = self.plugins.iter().map(|asked| asked.is_skipped || asked.failure.is_some()).collect();
        let states: Vec<PluginState> = self.plugins.iter().map(|asked| asked.state.clone()).collect();
        for at in self.feasible() {
            let node = &self.snapshot.nodes[at];
            if self.snapshot.nominated_before(self.pod, &node.name).next().is_none() {
                continue;
            }
            let Self { profile, pod, snapshot, .. } = *self;
            let mut trial = Trial { profile, pod, snapshot, skipped: &skipped, node: node.clone(), states: states.clone() };
            if let Err((slot, rejection)) = trial.fits_with_nominated() {
                let nodes = self.snapshot.nodes.len();
                let rejections = self.plugins[slot].rejections.get_or_insert_with(|| vec![None; nodes]);
                rejections[at] = Some(rejection);
            }
        }
    }

    fn is_rejected_whole(&self) -> bool {
        let mut counted = self.plugins.iter().enumerate().filter(|(slot, _)| self.counts(*slot));
        !self.profile.missing().is_empty() || counted.any(|(_, asked)| asked.whole.is_some())
    }

    /// The first rejection of a node by a plugin that counts, in the order in which a decision asks.
    fn rejection(&self, at: usize) -> Option<(usize, &Rejection)> {
        let of = |slot: usize| Some((slot, self.plugins[slot].rejections.as_ref()?.get(at)?.as_ref()?));
        let in_order = self.profile.at(Point::Filter).chain(self.profile.at(Point::PreFilter));
        in_order.map(|(slot, _)| slot).find_map(of)
    }

    /// The places of the nodes that would do.
    fn feasible(&self) -> Vec<usize> {
        if self.is_rejected_whole() {
            return Vec::new();
        }
        (0..self.snapshot.nodes.len()).filter(|at| self.rejection(*at).is_none()).collect()
    }

    fn score(&mut self, feasible: &[usize]) {
        let nodes: Vec<Arc<NodeInfo>> = feasible.iter().map(|at| self.snapshot.nodes[*at].clone()).collect();
        if nodes.is_empty() {
            return;
        }
        for (slot, plugin) in self.at(Point::PreScore) {
            plugin.pre_score(self.pod, &nodes, self.snapshot, &mut self.plugins[slot].state);
        }
        self.totals = feasible.iter().map(|at| (*at, 0)).collect();
        for (slot, plugin) in self.at(Point::Score) {
            let state = &mut self.plugins[slot].state;
            let Some(scores) = scores(plugin.as_ref(), self.pod, self.snapshot, &nodes, state) else { continue };
            if self.counts(slot) {
                let weight = self.profile.plugins()[slot].weight;
                for (at, score) in feasible.iter().zip(&scores) {
                    let total = self.totals.entry(*at).or_default();
                    *total = total.saturating_add(score.saturating_mul(weight));
                }
            }
            self.plugins[slot].scores = Some(scores);
        }
    }

    fn told(&self, feasible: &[usize]) -> Explanation {
        let highest = self.totals.values().copied().max();
        let is_best = |at: &&usize| self.totals.get(*at).copied() == highest;
        let best = feasible.iter().filter(is_best).map(|at| self.snapshot.nodes[*at].name.clone());
        let place_of: HashMap<usize, usize> = feasible.iter().enumerate().map(|(place, at)| (*at, place)).collect();
        Explanation {
            scheduler_name: self.profile.scheduler_name().to_owned(),
            node: String::new(),
            best: best.collect(),
            message: if feasible.is_empty() { self.message() } else { String::new() },
            plugins: (0..self.plugins.len()).map(|slot| self.plugin(slot)).collect(),
            nodes: (0..self.snapshot.nodes.len()).map(|at| self.node(at, place_of.get(&at).copied())).collect(),
        }
    }

    fn message(&self) -> String {
        let mut diagnosis = Diagnosis::of(self.snapshot.nodes.len());
        if !self.profile.missing().is_empty() {
            diagnosis.reject_for_missing(self.profile.missing());
            return diagnosis.message();
        }
        let whole = self.profile.at(Point::PreFilter).find_map(|(slot, _)| Some((slot, self.plugins[slot].whole.as_ref()?)));
        if let Some((slot, rejection)) = whole {
            diagnosis.reject_whole(&self.profile.plugins()[slot], rejection);
            return diagnosis.message();
        }
        for at in 0..self.snapshot.nodes.len() {
            if let Some((slot, rejection)) = self.rejection(at) {
                diagnosis.reject(&self.profile.plugins()[slot], rejection.clone());
            }
        }
        diagnosis.message()
    }

    fn plugin(&self, slot: usize) -> PluginAnswer {
        let (enabled, asked) = (&self.profile.plugins()[slot], &self.plugins[slot]);
        let points = Point::ALL.into_iter().filter(|point| {
            let is_at = self.profile.at(*point).any(|(at, _)| at == slot);
            is_at || self.profile.shadows().any(|(at, _, points)| at == slot && points.contains(*point))
        });
        let failure = asked.failure.clone().or_else(|| enabled.plugin.last_error());
        let (verdict, reasons) = match (&asked.whole, failure) {
            (Some(rejection), None) => ("Rejected", said(rejection)),
            (_, Some(failure)) => ("Failed", vec![failure]),
            (None, None) if asked.is_skipped && asked.scores.is_none() => ("Skipped", Vec::new()),
            (None, None) => ("Considered", Vec::new()),
        };
        PluginAnswer {
            name: enabled.plugin.name().to_owned(),
            kind: if enabled.is_native { "native" } else { "wasm" },
            mode: if enabled.is_shadow { "shadow" } else { "enforce" },
            extension_points: points.map(Point::as_str).collect(),
            weight: enabled.weight,
            verdict,
            reasons,
        }
    }

    fn node(&self, at: usize, place: Option<usize>) -> NodeAnswer {
        let on_node = |(slot, asked): (usize, &Asked)| {
            let rejection = asked.rejections.as_ref().map(|rejections| rejections[at].as_ref());
            let score = place.and_then(|place| asked.scores.as_ref()?.get(place).copied());
            (rejection.is_some() || score.is_some()).then(|| PluginOnNode {
                name: self.profile.plugins()[slot].plugin.name().to_owned(),
                verdict: rejection.map(|rejection| if rejection.is_some() { "Rejected" } else { "Passed" }),
                reasons: rejection.flatten().map(said).unwrap_or_default(),
                score,
            })
        };
        NodeAnswer {
            name: self.snapshot.nodes[at].name.clone(),
            feasible: place.is_some(),
            total: place.and_then(|_| self.totals.get(&at).copied()),
            plugins: self.plugins.iter().enumerate().filter_map(on_node).collect(),
        }
    }
}

fn outside(names: &BTreeSet<String>, nodes: &[Arc<NodeInfo>]) -> Vec<Option<Rejection>> {
    let verdict = |node: &Arc<NodeInfo>| (!names.contains(&node.name)).then(|| Rejection::unresolvable(NOT_SELECTED));
    nodes.iter().map(verdict).collect()
}

fn said(rejection: &Rejection) -> Vec<String> {
    rejection.reasons.iter().map(|reason| reason.clone().into_owned()).collect()
}
