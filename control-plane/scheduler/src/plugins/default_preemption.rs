//! DefaultPreemption: makes room for a pod by ending pods of lower priority, as few and as unimportant ones as possible.
//!
//! It decides only; [`crate::preemption`] carries it out.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;

use crate::budget::Budget;
use crate::framework::{Nomination, Plugin, Point, Points, PostFilter, Rejection, Trial, Unplaced};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// `DefaultPreemptionArgs`: so many candidates are enough to choose from, at least this share of the nodes, and this number.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Args {
    min_candidate_nodes_percentage: usize,
    min_candidate_nodes_absolute: usize,
}

impl Default for Args {
    fn default() -> Self {
        Self { min_candidate_nodes_percentage: 10, min_candidate_nodes_absolute: 100 }
    }
}

#[derive(Default)]
pub(super) struct DefaultPreemption(Args);

impl DefaultPreemption {
    /// # Errors
    /// What is wrong with the arguments.
    pub(super) fn new(args: Args) -> Result<Self, String> {
        match args.min_candidate_nodes_percentage {
            0..=100 => Ok(Self(args)),
            percent => Err(format!("args: minCandidateNodesPercentage {percent} is not between 0 and 100")),
        }
    }
}

/// A node with the pods that would have to leave it.
#[derive(Clone, Debug)]
struct Candidate {
    node: String,
    /// The most important one first.
    victims: Vec<Arc<PodInfo>>,
    /// Victims whose disruption budgets do not allow it.
    violations: usize,
}

/// The most important pod first: by priority, then the one that has run longest.
fn importance(pod: &PodInfo) -> (Reverse<i32>, Timestamp) {
    (Reverse(pod.priority), pod.started.unwrap_or(Timestamp::MAX))
}

impl Candidate {
    /// The least is the best: fewest violated budgets, least important victim at the top, least sum of priorities, fewest
    /// victims, and of the most important victims the one that runs longest has begun last.
    fn cost(&self) -> (usize, i32, i64, usize, Reverse<Timestamp>) {
        let highest = self.victims.iter().map(|victim| victim.priority).max().unwrap_or(i32::MIN);
        // From the lowest priority on, so that each victim costs something.
        let sum = self.victims.iter().map(|victim| i64::from(victim.priority) - i64::from(i32::MIN) + 1).sum();
        let top = self.victims.iter().filter(|victim| victim.priority == highest);
        let longest = top.map(|victim| victim.started.unwrap_or(Timestamp::MAX)).min().unwrap_or(Timestamp::MAX);
        (self.violations, highest, sum, self.victims.len(), Reverse(longest))
    }
}

/// Which of the pods their budgets do not allow to go, when they go in this order.
fn violating(pods: &[Arc<PodInfo>], budgets: &[Arc<Budget>]) -> Vec<bool> {
    let mut left: Vec<i64> = budgets.iter().map(|budget| budget.allowed).collect();
    let violates = |pod: &Arc<PodInfo>| {
        let mut violates = false;
        for (_, left) in budgets.iter().zip(&mut left).filter(|(budget, _)| budget.counts(pod)) {
            *left -= 1;
            violates |= *left < 0;
        }
        violates
    };
    pods.iter().map(violates).collect()
}

/// Who would have to leave the node, or why that would not help.
fn select_victims(mut trial: Trial<'_>, pod: &PodInfo, node: &NodeInfo, budgets: &[Arc<Budget>]) -> Result<Candidate, Rejection> {
    let mut lower: Vec<_> = node.pods.iter().filter(|other| other.priority < pod.priority).cloned().collect();
    lower.iter().for_each(|other| trial.remove(other));
    trial.fits()?;
    lower.sort_by_cached_key(|other| (importance(other), other.key.clone()));
    // Those whose budgets speak for them are taken back first.
    let violating = violating(&lower, budgets);
    let (mut first, mut then) = (Vec::new(), Vec::new());
    for (other, violates) in lower.into_iter().zip(violating) {
        if violates { &mut first } else { &mut then }.push(other);
    }
    let mut stays_out = |others: Vec<Arc<PodInfo>>| {
        let leaves = |other: &Arc<PodInfo>| {
            trial.add(other);
            let fits = trial.fits().is_ok();
            if !fits {
                trial.remove(other);
            }
            !fits
        };
        others.into_iter().filter(leaves).collect::<Vec<_>>()
    };
    let mut victims = stays_out(first);
    let violations = victims.len();
    victims.extend(stays_out(then));
    victims.sort_by_key(|victim| importance(victim));
    Ok(Candidate { node: node.name.clone(), victims, violations })
}

/// Why the pod may not make others leave, in Kubernetes' words.
fn ineligible(pod: &PodInfo, unplaced: &Unplaced<'_>) -> Option<&'static str> {
    if !pod.may_preempt {
        return Some("not eligible due to preemptionPolicy=Never.");
    }
    let nominated = &pod.nominated_node;
    if nominated.is_empty() || !unplaced.is_hopeful(nominated) {
        return None;
    }
    let node = unplaced.snapshot.position(nominated).map(|at| &unplaced.snapshot.nodes[at])?;
    let leaves_for_it = |other: &Arc<PodInfo>| other.terminating && other.is_preempted && other.priority < pod.priority;
    node.pods.iter().any(leaves_for_it).then_some("not eligible due to a terminating pod on the nominated node.")
}

/// Candidates, and why the other nodes are none.
fn candidates(args: Args, pod: &PodInfo, unplaced: &Unplaced<'_>) -> (Vec<Candidate>, BTreeMap<String, usize>) {
    let all = unplaced.snapshot.nodes.len();
    let enough = (all * args.min_candidate_nodes_percentage / 100).max(args.min_candidate_nodes_absolute).max(1);
    let (mut found, mut reasons, mut hopeful) = (Vec::<Candidate>::new(), BTreeMap::<String, usize>::new(), 0);
    for node in unplaced.hopeful() {
        hopeful += 1;
        if !node.pods.iter().any(|other| other.priority < pod.priority) {
            *reasons.entry("No preemption victims found for incoming pod".to_owned()).or_default() += 1;
            continue;
        }
        match select_victims(unplaced.trial(node), pod, node, &unplaced.snapshot.budgets) {
            // It fits as it is, which its filters did not say before: there is nobody to make leave.
            Ok(candidate) if candidate.victims.is_empty() => {
                *reasons.entry(format!("expected at least one victim pod on node {:?}", node.name)).or_default() += 1;
            }
            Ok(candidate) => found.push(candidate),
            Err(rejection) => rejection.reasons.iter().for_each(|why| *reasons.entry(why.to_string()).or_default() += 1),
        }
        if found.len() >= enough && found.iter().any(|candidate| candidate.violations == 0) {
            break;
        }
    }
    if hopeful < all {
        reasons.insert("Preemption is not helpful for scheduling".to_owned(), all - hopeful);
    }
    (found, reasons)
}

impl Plugin for DefaultPreemption {
    fn name(&self) -> &'static str {
        "DefaultPreemption"
    }

    fn points(&self) -> Points {
        Points::of(&[Point::PostFilter])
    }

    fn post_filter(&self, pod: &PodInfo, unplaced: &Unplaced<'_>) -> Option<PostFilter> {
        let all = unplaced.snapshot.nodes.len();
        if all == 0 {
            return None;
        }
        if let Some(why) = ineligible(pod, unplaced) {
            return Some(PostFilter { note: Some(format!("preemption: {why}")), ..PostFilter::default() });
        }
        let (found, reasons) = candidates(self.0, pod, unplaced);
        if let Some(best) = found.into_iter().min_by_key(Candidate::cost) {
            let nomination = Some(Nomination { node: best.node, victims: best.victims });
            return Some(PostFilter { nomination, ..PostFilter::default() });
        }
        let mut counts: Vec<String> = reasons.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        counts.sort();
        let note = Some(format!("preemption: 0/{all} nodes are available: {}.", counts.join(", ")));
        Some(PostFilter { note, clear_nomination: true, ..PostFilter::default() })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use mizzen_api::ObjectRef;
    use mizzen_api::selector::LabelSelector;
    use proptest::prelude::*;

    use super::*;
    use crate::framework::PluginState;
    use crate::profile::Profiles;
    use crate::resources::Amounts;
    use crate::snapshot::Snapshot;

    const CPUS: i64 = 10;

    fn pod(name: &str, priority: i32, milli_cpu: i64, started: i64) -> PodInfo {
        PodInfo {
            key: ObjectRef::new("d", name).into(),
            uid: name.to_owned(),
            priority,
            requests: Amounts { milli_cpu, ..Amounts::default() },
            started: Timestamp::from_second(started).ok(),
            may_preempt: true,
            ..PodInfo::default()
        }
    }

    fn node(name: &str, pods: Vec<PodInfo>) -> Arc<NodeInfo> {
        let allocatable = Amounts { milli_cpu: CPUS, ..Amounts::default() };
        let mut node = NodeInfo { name: name.into(), allocatable, allowed_pods: 100, ..NodeInfo::default() };
        pods.into_iter().for_each(|pod| node.add_pod(Arc::new(pod)));
        Arc::new(node)
    }

    fn budget(name: &str, allowed: i64) -> Arc<Budget> {
        let selector = LabelSelector::parse(&format!("app={name}")).expect("parses");
        Arc::new(Budget { namespace: "d".into(), selector, allowed, disrupted: HashSet::new() })
    }

    fn labelled(pod: PodInfo, app: &str) -> PodInfo {
        PodInfo { labels: Arc::new(BTreeMap::from([("app".to_owned(), app.to_owned())])), ..pod }
    }

    fn decide(pod: &PodInfo, nodes: Vec<Arc<NodeInfo>>, budgets: Vec<Arc<Budget>>) -> PostFilter {
        let mut snapshot = Snapshot::of(nodes);
        snapshot.budgets = Arc::new(budgets);
        let profile = Profiles::new(Vec::new()).expect("is valid").get("default-scheduler").expect("is there");
        let plugins = profile.plugins().len();
        let unplaced = Unplaced {
            snapshot: &snapshot,
            profile: &profile,
            pod,
            states: &vec![PluginState::default(); plugins],
            skipped: &vec![false; plugins],
            hopeful: &(0..snapshot.nodes.len()).collect::<Vec<_>>(),
            start: 0,
        };
        DefaultPreemption::default().post_filter(pod, &unplaced).expect("answers")
    }

    fn victims(answer: &PostFilter) -> (&str, Vec<&str>) {
        let nomination = answer.nomination.as_ref().expect("is nominated");
        (&nomination.node, nomination.victims.iter().map(|victim| victim.uid.as_str()).collect())
    }

    #[test]
    fn the_criteria_come_one_after_the_other() {
        let high = pod("high", 100, 10, 0);
        let apart = |a: Vec<PodInfo>, b: Vec<PodInfo>| vec![node("a", a), node("b", b)];
        // Budgets first, whatever the priorities.
        let nodes = apart(vec![labelled(pod("a1", 1, 10, 0), "db")], vec![pod("b1", 99, 10, 0)]);
        assert_eq!(victims(&decide(&high, nodes, vec![budget("db", 0)])), ("b", vec!["b1"]));
        // The least important victim at the top.
        let nodes = apart(vec![pod("a1", 9, 10, 0)], vec![pod("b1", 8, 5, 0), pod("b2", 8, 5, 0)]);
        assert_eq!(victims(&decide(&high, nodes, vec![])).0, "b");
        // The least sum of priorities.
        let nodes = apart(vec![pod("a1", 9, 5, 0), pod("a2", 8, 5, 0)], vec![pod("b1", 9, 5, 0), pod("b2", 7, 5, 0)]);
        assert_eq!(victims(&decide(&high, nodes, vec![])).0, "b");
        // The fewest victims come with the sum: each one counts.
        let nodes = apart(vec![pod("a1", 9, 5, 0), pod("a2", i32::MIN, 5, 0)], vec![pod("b1", 9, 10, 0)]);
        assert_eq!(victims(&decide(&high, nodes, vec![])).0, "b");
        // Those that began last.
        let nodes = apart(vec![pod("a1", 9, 10, 10)], vec![pod("b1", 9, 10, 20)]);
        assert_eq!(victims(&decide(&high, nodes, vec![])).0, "b");
    }

    #[test]
    fn budgets_are_kept_where_other_pods_can_go() {
        let high = pod("high", 100, 5, 0);
        let pods = || vec![labelled(pod("db", 1, 5, 0), "db"), labelled(pod("web", 2, 5, 0), "web")];
        assert_eq!(victims(&decide(&high, vec![node("a", pods())], vec![])), ("a", vec!["db"]));
        assert_eq!(victims(&decide(&high, vec![node("a", pods())], vec![budget("db", 0)])), ("a", vec!["web"]));
        assert_eq!(victims(&decide(&high, vec![node("a", pods())], vec![budget("db", 1)])), ("a", vec!["db"]));
        let both = vec![budget("db", 0), budget("web", 0)];
        assert_eq!(victims(&decide(&high, vec![node("a", pods())], both)), ("a", vec!["db"]), "best effort only");
    }

    #[test]
    fn a_pod_that_may_not_preempt_says_why() {
        let never = PodInfo { may_preempt: false, ..pod("high", 100, 10, 0) };
        let note = decide(&never, vec![node("a", vec![pod("low", 1, 10, 0)])], vec![]).note;
        assert_eq!(note.as_deref(), Some("preemption: not eligible due to preemptionPolicy=Never."));
        let leaving = PodInfo { terminating: true, is_preempted: true, ..pod("low", 1, 10, 0) };
        let nominated = PodInfo { nominated_node: "a".into(), ..pod("high", 100, 10, 0) };
        let note = decide(&nominated, vec![node("a", vec![leaving])], vec![]).note;
        assert_eq!(note.as_deref(), Some("preemption: not eligible due to a terminating pod on the nominated node."));
        let answer = decide(&pod("low", 1, 10, 0), vec![node("a", vec![pod("other", 1, 10, 0)])], vec![]);
        let expected = "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.";
        assert_eq!((answer.note.as_deref(), answer.clear_nomination), (Some(expected), true));
    }

    #[test]
    fn a_node_on_which_nobody_has_to_leave_is_no_candidate() {
        let high = pod("high", 100, 5, 0);
        let roomy = || node("a", vec![pod("low", 1, 5, 0)]);
        assert_eq!(victims(&decide(&high, vec![roomy(), node("b", vec![pod("full", 50, 10, 0)])], vec![])), ("b", vec!["full"]));
        let answer = decide(&high, vec![roomy()], vec![]);
        let expected = "preemption: 0/1 nodes are available: 1 expected at least one victim pod on node \"a\".";
        assert_eq!((answer.note.as_deref(), answer.nomination.is_none()), (Some(expected), true));
    }

    fn any_pods() -> impl Strategy<Value = Vec<(i32, i64, i64, u8)>> {
        prop::collection::vec((0..5_i32, 1..5_i64, 0..4_i64, 0..3_u8), 0..6)
    }

    proptest! {
        #[test]
        fn victims_are_less_important_needed_and_enough(
            nodes in prop::collection::vec(any_pods(), 1..5),
            (priority, wanted) in (0..5_i32, 1..=CPUS),
            allowed in prop::collection::vec(0..3_i64, 3),
        ) {
            let app = |number: u8| ["db", "web", "none"][usize::from(number)];
            let nodes: Vec<_> = nodes.into_iter().enumerate().map(|(at, pods)| {
                let pods = pods.into_iter().enumerate().map(|(number, (priority, cpu, started, labels))| {
                    labelled(pod(&format!("{at}-{number}"), priority, cpu, started), app(labels))
                });
                node(&at.to_string(), pods.collect())
            }).collect();
            let high = pod("high", priority, wanted, 0);
            let budgets = vec![budget("db", allowed[0]), budget("web", allowed[1])];
            let answer = decide(&high, nodes.clone(), budgets.clone());
            let free = |node: &NodeInfo, without: &dyn Fn(&PodInfo) -> bool| {
                CPUS - node.pods.iter().filter(|pod| !without(pod)).map(|pod| pod.requests.milli_cpu).sum::<i64>()
            };
            let helped = |node: &&Arc<NodeInfo>| {
                free(node, &|_| false) < wanted && free(node, &|pod| pod.priority < priority) >= wanted
            };
            let Some(nomination) = answer.nomination else {
                prop_assert!(!nodes.iter().any(|node| helped(&node)), "there was room to be made");
                return Ok(());
            };
            let chosen = nodes.iter().find(|node| node.name == nomination.node).expect("is one of them");
            let names: HashSet<&str> = nomination.victims.iter().map(|victim| victim.uid.as_str()).collect();
            let leaves = |pod: &PodInfo| names.contains(pod.uid.as_str());
            prop_assert!(nomination.victims.iter().all(|victim| victim.priority < priority));
            prop_assert!(free(chosen, &leaves) >= wanted, "they are enough");
            for victim in &nomination.victims {
                let without_it = free(chosen, &|pod| leaves(pod) && pod.uid != victim.uid);
                prop_assert!(without_it < wanted, "{} could have stayed", victim.uid);
            }
            // No other node would have been better.
            let highest = nomination.victims.iter().map(|victim| victim.priority).max();
            let untouched = |node: &&Arc<NodeInfo>| node.pods.iter().all(|pod| pod.labels.get("app").map(String::as_str) == Some("none"));
            if !nomination.victims.iter().all(|victim| victim.labels.get("app").map(String::as_str) == Some("none")) {
                return Ok(());
            }
            for other in nodes.iter().filter(|node| helped(node) && untouched(node)) {
                // With only the lowest leaving, the most important one that has to go decides.
                let least = (0..priority).find(|limit| free(other, &|pod| pod.priority <= *limit) >= wanted);
                prop_assert!(highest <= least, "{} is better", other.name);
            }
        }
    }
}
