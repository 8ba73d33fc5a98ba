//! `podFailurePolicy` and `successPolicy`.

use std::collections::HashSet;

use serde_json::Value;

use super::super::value::{absent, int, list, text};
use crate::status::Cause;
use crate::validate::{Path, complaints, duplicate, invalid, not_found, qualified_name, required, required_one_of, too_many};

const MAX_RULES: usize = 20;
const MAX_CODES: usize = 255;

pub(super) fn check_failure_policy(spec: &Value, at: &Path, causes: &mut Vec<Cause>) {
    if absent(spec, "/podFailurePolicy") {
        return;
    }
    let at = at.field("podFailurePolicy");
    let containers: HashSet<&str> = ["/template/spec/containers", "/template/spec/initContainers"]
        .iter()
        .flat_map(|pointer| list(spec, pointer))
        .map(|container| text(container, "/name"))
        .collect();
    let rules = list(spec, "/podFailurePolicy/rules");
    let path = at.field("rules");
    if rules.len() > MAX_RULES {
        causes.push(too_many(path, rules.len(), MAX_RULES));
    }
    for (index, rule) in rules.iter().enumerate() {
        let at = path.index(index);
        let actions = ["Count", "FailIndex", "FailJob", "Ignore"];
        causes.extend(required_one_of(at.field("action"), text(rule, "/action"), &actions));
        if text(rule, "/action") == "FailIndex" && absent(spec, "/backoffLimitPerIndex") {
            causes.push(invalid(at.field("action"), &"FailIndex".into(), "requires the backoffLimitPerIndex to be set"));
        }
        let conditions = list(rule, "/onPodConditions");
        match (absent(rule, "/onExitCodes"), conditions.is_empty()) {
            (true, true) => causes.push(invalid(at, rule, "specifying one of OnExitCodes and OnPodConditions is required")),
            (false, false) => {
                causes.push(invalid(at, rule, "specifying both OnExitCodes and OnPodConditions is not supported"));
            }
            (false, true) => check_exit_codes(&rule["onExitCodes"], &containers, &at.field("onExitCodes"), causes),
            (true, false) => {
                let path = at.field("onPodConditions");
                for (index, condition) in conditions.iter().enumerate() {
                    let (at, kind) = (path.index(index), text(condition, "/type"));
                    causes.extend(complaints(at.field("type"), kind, qualified_name(kind)));
                    let states = ["False", "True", "Unknown"];
                    causes.extend(required_one_of(at.field("status"), text(condition, "/status"), &states));
                }
            }
        }
    }
}

fn check_exit_codes(codes: &Value, containers: &HashSet<&str>, at: &Path, causes: &mut Vec<Cause>) {
    let operator = text(codes, "/operator");
    causes.extend(required_one_of(at.field("operator"), operator, &["In", "NotIn"]));
    let container = text(codes, "/containerName");
    if !container.is_empty() && !containers.contains(container) {
        causes.push(not_found(at.field("containerName"), container));
    }
    let path = at.field("values");
    let values = list(codes, "/values");
    if values.is_empty() {
        causes.push(invalid(path, &values.into(), "at least one value is required"));
    } else if values.len() > MAX_CODES {
        causes.push(too_many(path, values.len(), MAX_CODES));
    }
    let mut seen = HashSet::new();
    let mut last = None;
    for (index, value) in values.iter().filter_map(Value::as_i64).enumerate() {
        if value == 0 && operator == "In" {
            causes.push(invalid(path.index(index), &0.into(), "must not be 0 for the In operator"));
        }
        if !seen.insert(value) {
            causes.push(duplicate(path.index(index), &value.into()));
        } else if last.is_some_and(|last| last > value) {
            causes.push(invalid(path, &values.into(), "must be ordered"));
        }
        last = Some(value);
    }
}

pub(super) fn check_success_policy(spec: &Value, at: &Path, causes: &mut Vec<Cause>) {
    if absent(spec, "/successPolicy") {
        return;
    }
    let at = at.field("successPolicy");
    if text(spec, "/completionMode") != "Indexed" {
        causes.push(invalid(at, &spec["successPolicy"], "requires indexed completion mode"));
        return;
    }
    let rules = list(spec, "/successPolicy/rules");
    let path = at.field("rules");
    if rules.is_empty() {
        causes.push(required(path, "at least one rules must be specified when the successPolicy is specified"));
    } else if rules.len() > MAX_RULES {
        causes.push(too_many(path, rules.len(), MAX_RULES));
    }
    for (index, rule) in rules.iter().enumerate() {
        let at = path.index(index);
        if absent(rule, "/succeededCount") && absent(rule, "/succeededIndexes") {
            causes.push(required(at, "at least one of succeededCount or succeededIndexes must be specified"));
        }
        if let Some(count) = int(rule, "/succeededCount")
            && (count <= 0 || int(spec, "/completions").is_some_and(|completions| count > completions))
        {
            let completions = int(spec, "/completions").unwrap_or(0);
            let why = if count <= 0 {
                "must be greater than or equal to 0".to_owned()
            } else {
                format!("must be less than or equal to {completions} (the number of specified completions)")
            };
            causes.push(invalid(at.field("succeededCount"), &count.into(), why));
        }
    }
}
