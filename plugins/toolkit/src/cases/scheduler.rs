//! A scheduler plugin's cases: one cycle, as the scheduler runs it, with this plugin alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use mizzen_plugins_host::scheduler::{Permission, Pod, Points, Session};
use mizzen_plugins_host::{Artifact, CallError, PluginOptions, SchedulerPlugin};
use serde::Deserialize;
use serde_json::Value;

use super::{Case, Table, loaded};
use crate::error::ToolkitError;
use crate::recorded::{Cluster, pod};

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Expect {
    /// A part of why the pod is turned down for every node.
    rejected_pod: Option<String>,
    /// The nodes that are turned down, and a part of why. None but these may be.
    rejected: Option<BTreeMap<String, String>>,
    /// Of the nodes that passed; others may have any. An empty map: the plugin has no opinion.
    scores: Option<BTreeMap<String, i64>>,
    /// The node with the highest score.
    best: Option<String>,
    /// What is said to binding the pod to the best node: `allow`, `wait`, or a part of why it is denied.
    permit: Option<String>,
    /// A part of what is said of the settings.
    settings_error: Option<String>,
}

/// What a plugin said in one cycle.
#[derive(Default)]
pub(crate) struct Said {
    rejected_pod: Option<String>,
    rejected: BTreeMap<String, String>,
    scores: BTreeMap<String, i64>,
    best: Option<String>,
    permit: Option<String>,
}

pub(super) fn run(artifact: &Artifact, table: &Table, case: &Case) -> Result<Option<String>, ToolkitError> {
    let expect: Expect = table.expectation(case)?;
    if expect == Expect::default() {
        return Err(table.wrong(format!("{}: expect: nothing is expected, so nothing can be wrong", case.name)));
    }
    let plugin = match loaded(SchedulerPlugin::load(artifact, table.options(case)), expect.settings_error.as_deref()) {
        Ok(Some(plugin)) => plugin,
        Ok(None) => return Ok(None),
        Err(failure) => return Ok(Some(failure)),
    };
    let (cluster, object) = scene(table, case)?;
    let cluster = Arc::new(cluster);
    plugin.follow(Arc::clone(&cluster) as _);
    let ask = || {
        let mut session = plugin.session();
        session.update(&cluster.delta(&plugin.description().columns))?;
        let mut said = Said::default();
        for (cycle, pod_object) in (1..).zip(case.before.iter().chain([&object])) {
            cluster.begin(cycle, pod_object);
            said = self::cycle(&mut session, plugin.description().points, &cluster, &pod(cycle, pod_object))?;
        }
        Ok::<_, CallError>(said)
    };
    Ok(match ask() {
        Ok(said) => wrong(&expect, &said),
        Err(error) => Some(error.to_string()),
    })
}

/// Every pod of a table with its cluster and the plugin that it is put to; for measuring.
pub(crate) fn scenes(table: &Table) -> Result<Vec<(PluginOptions, Cluster, Value)>, ToolkitError> {
    let asks = table.cases.iter().filter(|case| case.pod.is_some());
    let each = |case: &Case| scene(table, case).map(|(cluster, pod)| (table.options(case), cluster, pod));
    asks.map(each).collect()
}

fn scene(table: &Table, case: &Case) -> Result<(Cluster, Value), ToolkitError> {
    let Some(pod) = &case.pod else { return Err(table.wrong(format!("{}: there is no pod", case.name))) };
    Ok((Cluster::new(table.objects(case.cluster.as_ref(), table.cluster.as_ref())?), pod.clone()))
}

/// One cycle up to permit; it stays under way.
pub(crate) fn cycle(session: &mut Session<'_>, points: Points, cluster: &Cluster, pod: &Pod) -> Result<Said, CallError> {
    let mut said = Said::default();
    let mut state = match session.pre_filter(pod)? {
        Ok(state) => state,
        Err(rejection) => {
            said.rejected_pod = Some(rejection.reasons.join(", "));
            return Ok(said);
        }
    };
    let names: Vec<&str> = cluster.names().collect();
    let mut feasible = cluster.rows();
    if points.contains(Points::FILTER) {
        let verdicts = session.filter(pod.cycle, &state, &feasible)?;
        let verdict = |row: u32| verdicts.nodes.get(row as usize).copied().unwrap_or(0) as usize;
        for row in feasible.iter().filter(|row| verdict(**row) > 0) {
            let reasons = &verdicts.rejections[verdict(*row) - 1].reasons;
            said.rejected.insert(names[*row as usize].to_owned(), reasons.join(", "));
        }
        feasible.retain(|row| verdict(*row) == 0);
    }
    if feasible.is_empty() {
        if points.contains(Points::POST_FILTER) {
            session.post_filter(pod.cycle, &state)?;
        }
        return Ok(said);
    }
    if points.contains(Points::PRE_SCORE) {
        state = session.pre_score(pod.cycle, &state, &feasible)?;
    }
    let mut best = feasible[0];
    if points.contains(Points::SCORE)
        && let Some(scores) = session.score(pod.cycle, &state, &feasible)?
    {
        // The first of the highest.
        let highest = feasible.iter().zip(&scores).rev().max_by_key(|(_, score)| **score);
        best = highest.map_or(best, |(row, _)| *row);
        let scores = feasible.iter().zip(scores).map(|(row, score)| (names[*row as usize].to_owned(), score));
        said.scores = scores.collect();
        said.best = Some(names[best as usize].to_owned());
    }
    if points.contains(Points::RESERVE)
        && let Err(why) = session.reserve(pod.cycle, &state, best)?
    {
        said.permit = Some(why);
        return Ok(said);
    }
    if points.contains(Points::PERMIT) {
        said.permit = Some(match session.permit(pod.cycle, &state, best)? {
            Permission::Allow => "allow".to_owned(),
            Permission::Wait(_) => "wait".to_owned(),
            Permission::Deny(why) => why,
        });
    }
    Ok(said)
}

fn wrong(expect: &Expect, said: &Said) -> Option<String> {
    match (&said.rejected_pod, &expect.rejected_pod) {
        (Some(why), Some(part)) if why.contains(part) => {}
        (Some(why), _) => return Some(format!("the pod is turned down: {why}")),
        (None, Some(_)) => return Some("the pod is not turned down".to_owned()),
        (None, None) => {}
    }
    if let Some(wanted) = &expect.rejected {
        if said.rejected.keys().ne(wanted.keys()) {
            return Some(format!("turned down are {:?} and should be {:?}", said.rejected, wanted));
        }
        let other = said.rejected.iter().find(|(name, why)| !why.contains(&wanted[*name]));
        if let Some((name, why)) = other {
            return Some(format!("{name} is turned down for {why:?}, which should contain {:?}", wanted[name]));
        }
    }
    if expect.scores.as_ref().is_some_and(BTreeMap::is_empty) && !said.scores.is_empty() {
        return Some(format!("the scores are {:?} and there should be none", said.scores));
    }
    for (name, wanted) in expect.scores.iter().flatten() {
        match said.scores.get(name) {
            Some(score) if score == wanted => {}
            Some(score) => return Some(format!("the score of {name} is {score} and should be {wanted}")),
            None => return Some(format!("{name} has no score and should have {wanted}")),
        }
    }
    if expect.best.is_some() && said.best != expect.best {
        let best = said.best.as_deref().unwrap_or("none");
        return Some(format!("the best node is {best} and should be {}", expect.best.as_deref().unwrap_or_default()));
    }
    match (&said.permit, &expect.permit) {
        (_, None) => None,
        (Some(said), Some(wanted)) if said.contains(wanted) => None,
        (said, Some(wanted)) => Some(format!("permit says {:?} and should say {wanted:?}", said.as_deref().unwrap_or("nothing"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_opinion_is_expected_by_an_empty_map() {
        let expect = Expect { scores: Some(BTreeMap::new()), ..Expect::default() };
        assert_eq!(wrong(&expect, &Said::default()), None);
        let said = Said { scores: BTreeMap::from([("a".to_owned(), 7)]), ..Said::default() };
        assert_eq!(wrong(&expect, &said).unwrap(), "the scores are {\"a\": 7} and there should be none");
        assert_eq!(wrong(&Expect { scores: None, best: None, ..expect }, &said), None);
    }
}
