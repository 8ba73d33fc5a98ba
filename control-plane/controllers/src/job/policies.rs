//! What a job makes of a pod that failed (`spec.podFailurePolicy`) and of the indexes that are complete
//! (`spec.successPolicy`).

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{PodFailurePolicyOnExitCodesRequirement, SuccessPolicyRule};

use super::indexes;
use super::view::JobView;
use crate::pod_view::{JobPod, PodView};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Count,
    Ignore,
    FailIndex,
    /// With what the job's condition says.
    FailJob(String),
}

/// The first rule that matches decides; a pod that is only on its way out has not failed for any reason yet.
pub(super) fn verdict(job: &JobView, pod: &PodView, of_job: &JobPod) -> Verdict {
    let rules = job.spec.pod_failure_policy.iter().flat_map(|policy| &policy.rules);
    if pod.phase != "Failed" {
        return Verdict::Count;
    }
    for (number, rule) in rules.enumerate() {
        let exit = rule.on_exit_codes.as_ref().and_then(|codes| matching_exit(codes, of_job));
        let condition = rule.on_pod_conditions.iter().flatten().find(|wanted| {
            let status = wanted.status.as_deref().unwrap_or("True");
            of_job.conditions.iter().any(|(kind, is)| *kind == wanted.type_ && is == status)
        });
        let place = format!("pod {}/{}", pod.key.namespace, pod.key.name);
        let why = match (exit, condition) {
            (Some((container, code)), _) => format!("Container {container} for {place} failed with exit code {code}"),
            (None, Some(condition)) => format!("{} has condition {}", capitalized(&place), condition.type_),
            (None, None) => continue,
        };
        return match rule.action.as_str() {
            "Ignore" => Verdict::Ignore,
            "FailIndex" => Verdict::FailIndex,
            "FailJob" => Verdict::FailJob(format!("{why} matching FailJob rule at index {number}")),
            _ => Verdict::Count,
        };
    }
    Verdict::Count
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The first container that failed with a code that the rule means.
fn matching_exit<'a>(rule: &PodFailurePolicyOnExitCodesRequirement, pod: &'a JobPod) -> Option<(&'a str, i32)> {
    let named = |container: &str| rule.container_name.as_deref().is_none_or(|name| name == container);
    let failed = pod.exits.iter().filter(|(container, code)| *code != 0 && named(container));
    let mut meant = failed.filter(|(_, code)| rule.values.contains(code) == (rule.operator == "In"));
    meant.next().map(|(container, code)| (container.as_str(), *code))
}

/// The first rule of the success policy that the complete indexes satisfy.
pub(super) fn satisfied(rules: &[SuccessPolicyRule], completed: &BTreeSet<i32>, end: i32) -> Option<usize> {
    rules.iter().position(|rule| {
        let wanted = rule.succeeded_indexes.as_deref().map(|text| indexes::parse(text, end));
        let done = wanted.as_ref().map_or(completed.len(), |wanted| wanted.intersection(completed).count());
        let enough = rule.succeeded_count.and_then(|count| usize::try_from(count).ok());
        match (enough, wanted) {
            (Some(enough), _) => done >= enough,
            (None, Some(wanted)) => done == wanted.len(),
            (None, None) => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mizzen_api::{Object, ObjectRef};
    use serde_json::{Value, json};

    use super::*;

    fn judged(rules: &Value, pod: &JobPod) -> Verdict {
        let document = json!({"metadata": {"name": "j", "namespace": "default", "uid": "u"},
            "spec": {"podFailurePolicy": {"rules": rules}, "selector": {}, "template": {}}});
        let job = JobView::of(&Arc::new(Object::new(document.to_string().into_bytes(), 1))).expect("decodes");
        let view = PodView { key: ObjectRef::new("default", "j-x").into(), phase: "Failed".to_owned(), ..PodView::default() };
        verdict(&job, &view, pod)
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let pod = JobPod {
            exits: vec![("main".to_owned(), 42), ("side".to_owned(), 0)],
            conditions: vec![("DisruptionTarget".to_owned(), "True".to_owned())],
            ..JobPod::default()
        };
        let codes = |action: &str, operator: &str, values: &[i32]| json!({"action": action, "onExitCodes": {"operator": operator, "values": values}});
        let disrupted = json!({"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]});
        let fails = "Container main for pod default/j-x failed with exit code 42 matching FailJob rule at index 0";
        for (rules, expected) in [
            (json!([codes("FailJob", "In", &[42])]), Verdict::FailJob(fails.to_owned())),
            (json!([codes("FailJob", "NotIn", &[42])]), Verdict::Count),
            (json!([codes("FailIndex", "NotIn", &[1]), codes("FailJob", "In", &[42])]), Verdict::FailIndex),
            (json!([codes("FailJob", "In", &[1]), disrupted]), Verdict::Ignore),
            (
                json!([{"action": "FailJob", "onExitCodes": {"containerName": "side", "operator": "NotIn", "values": [1]}}]),
                Verdict::Count,
            ),
        ] {
            assert_eq!(judged(&rules, &pod), expected, "{rules}");
        }
    }

    #[test]
    fn a_success_policy_asks_for_indexes_for_a_number_or_for_a_number_of_indexes() {
        let rules = |rules: Value| serde_json::from_value::<Vec<SuccessPolicyRule>>(rules).expect("rules");
        let done = BTreeSet::from([0, 2]);
        for (asked, met) in [
            (json!([{"succeededIndexes": "0,2"}]), Some(0)),
            (json!([{"succeededIndexes": "0-1"}]), None),
            (json!([{"succeededIndexes": "0-1", "succeededCount": 1}]), Some(0)),
            (json!([{"succeededCount": 3}, {"succeededCount": 2}]), Some(1)),
        ] {
            assert_eq!(satisfied(&rules(asked.clone()), &done, 5), met, "{asked}");
        }
    }
}
