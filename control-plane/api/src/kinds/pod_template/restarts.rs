//! When a container is started anew (`core/validation`, `validateContainerRestartPolicy`).

use serde_json::Value;

use super::super::value::{list, text};
use super::containers::Role;
use crate::status::Cause;
use crate::validate::{Path, forbidden, not_supported, required, required_one_of, too_many};

const POLICIES: &[&str] = &["Always", "Never", "OnFailure"];
const MAX_RULES: usize = 20;
const MAX_CODES: usize = 255;

pub(super) fn check_restarts(container: &Value, at: &Path, role: Role, causes: &mut Vec<Cause>) {
    let (policy, rules) = (text(container, "/restartPolicy"), list(container, "/restartPolicyRules"));
    if role == Role::Ephemeral {
        for (field, is_set) in [("restartPolicy", !policy.is_empty()), ("restartPolicyRules", !rules.is_empty())] {
            if is_set {
                causes.push(forbidden(at.field(field), "cannot be set for an Ephemeral Container"));
            }
        }
        return;
    }
    match policy {
        "" if rules.is_empty() => return,
        "" => causes.push(required(at.field("restartPolicy"), "must specify restartPolicy when restart rules are used")),
        "OnFailure" | "Never" if role == Role::Init && rules.is_empty() => {
            causes.push(not_supported(at.field("restartPolicy"), policy, &["Always"]));
        }
        policy if !POLICIES.contains(&policy) => causes.push(not_supported(at.field("restartPolicy"), policy, POLICIES)),
        _ => {}
    }
    let path = at.field("restartPolicyRules");
    if rules.len() > MAX_RULES {
        causes.push(too_many(path, rules.len(), MAX_RULES));
    }
    for (index, rule) in rules.iter().enumerate() {
        check_rule(rule, &path.index(index), causes);
    }
}

fn check_rule(rule: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let action = text(rule, "/action");
    if action != "Restart" {
        causes.push(not_supported(at.field("action"), action, &["Restart"]));
    }
    let at = at.field("exitCodes");
    let Some(codes) = rule.get("exitCodes").filter(|codes| !codes.is_null()) else {
        causes.push(required(at, "must be specified"));
        return;
    };
    causes.extend(required_one_of(at.field("operator"), text(codes, "/operator"), &["In", "NotIn"]));
    let values = list(codes, "/values").len();
    if values > MAX_CODES {
        causes.push(too_many(at.field("values"), values, MAX_CODES));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(container: Value, role: Role) -> Vec<String> {
        let mut causes = Vec::new();
        check_restarts(&container, &Path::root("c"), role, &mut causes);
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn rules_need_a_policy_and_say_for_which_exit_codes() {
        let rule = |codes: Value| json!({"action": "Restart", "exitCodes": codes});
        let right = rule(json!({"operator": "In", "values": [1, 2]}));
        for (container, wrong) in [
            (json!({}), None),
            (json!({"restartPolicy": "OnFailure"}), None),
            (json!({"restartPolicy": "Never", "restartPolicyRules": [right]}), None),
            (
                json!({"restartPolicyRules": [right]}),
                Some("c.restartPolicy: Required value: must specify restartPolicy when restart rules are used"),
            ),
            (
                json!({"restartPolicy": "Often"}),
                Some("c.restartPolicy: Unsupported value: \"Often\": supported values: \"Always\", \"Never\", \"OnFailure\""),
            ),
            (
                json!({"restartPolicy": "Never", "restartPolicyRules": vec![right.clone(); 21]}),
                Some("c.restartPolicyRules: Too many: 21: must have at most 20 items"),
            ),
            (
                json!({"restartPolicy": "Never", "restartPolicyRules": [{"action": "Restart"}]}),
                Some("c.restartPolicyRules[0].exitCodes: Required value: must be specified"),
            ),
            (
                json!({"restartPolicy": "Never", "restartPolicyRules": [rule(json!({"operator": "Is", "values": [1]}))]}),
                Some(
                    "c.restartPolicyRules[0].exitCodes.operator: Unsupported value: \"Is\": supported values: \"In\", \"NotIn\"",
                ),
            ),
            (
                json!({"restartPolicy": "Never", "restartPolicyRules": [{"action": "Stop", "exitCodes": right["exitCodes"]}]}),
                Some("c.restartPolicyRules[0].action: Unsupported value: \"Stop\": supported values: \"Restart\""),
            ),
        ] {
            assert_eq!(
                told(container.clone(), Role::Main),
                wrong.map(str::to_owned).into_iter().collect::<Vec<_>>(),
                "{container}"
            );
        }
        assert_eq!(told(json!({"restartPolicy": "Always"}), Role::Ephemeral).len(), 1);
        assert_eq!(told(json!({"restartPolicy": "Never"}), Role::Init).len(), 1);
        assert_eq!(told(json!({"restartPolicy": "Never", "restartPolicyRules": [right]}), Role::Init), [""; 0]);
    }
}
