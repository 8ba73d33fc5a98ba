//! What more of a pod may change while scheduling gates hold it back: where it may run, ever more narrowly
//! (`core/validation.ValidatePodUpdate`, for controllers that queue pods and choose nodes for them).

use serde_json::{Map, Value};

use super::super::value::{entries, list};
use crate::Pointed as _;
use crate::status::Cause;
use crate::validate::{Path, invalid};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

pub(super) fn is_gated(pod: &Value) -> bool {
    !list(pod, "/spec/schedulingGates").is_empty()
}

/// Complaints about what is wider in `object` than in `old`.
pub(super) fn check(object: &Value, old: &Value, spec: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let selector = object.at("/spec/nodeSelector").unwrap_or(&Value::Null);
    if entries(old, "/spec/nodeSelector").any(|(key, value)| selector.get(key) != Some(value)) {
        let why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        causes.push(invalid(spec.field("nodeSelector"), selector, why));
    }
    let terms = format!("/spec/affinity/nodeAffinity/{REQUIRED}/nodeSelectorTerms");
    let affinity = spec.field("affinity");
    let affinity = affinity.field("nodeAffinity");
    let required = affinity.field(REQUIRED);
    let at = required.field("nodeSelectorTerms");
    let (new, before) = (list(object, &terms), list(old, &terms));
    if !before.is_empty() && before.len() != new.len() {
        let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        causes.push(invalid(at, &Value::Array(new.to_vec()), why));
        return causes;
    }
    for (index, (new, before)) in new.iter().zip(before).enumerate() {
        if !only_adds(new, before) {
            causes.push(invalid(at.index(index), new, "only additions are allowed (no mutations or deletions)"));
        }
    }
    causes
}

/// A term says what it said, and perhaps more behind it. One that says nothing matches no node, and stays so.
fn only_adds(new: &Value, old: &Value) -> bool {
    const PARTS: [&str; 2] = ["/matchExpressions", "/matchFields"];
    let says_nothing = |term: &Value| PARTS.iter().all(|part| list(term, part).is_empty());
    (!says_nothing(old) || says_nothing(new)) && PARTS.iter().all(|part| list(new, part).starts_with(list(old, part)))
}

/// Takes out of a spec what [`check`] has looked at.
pub(super) fn mask(spec: &mut Map<String, Value>) {
    spec.remove("nodeSelector");
    if let Some(affinity) = spec.get_mut("affinity").and_then(Value::as_object_mut) {
        affinity.remove("nodeAffinity");
        if affinity.is_empty() {
            spec.remove("affinity");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::update::validate_update;
    use super::*;

    fn pod(gates: &[&str], spec: Value) -> Value {
        let gates: Vec<Value> = gates.iter().map(|name| json!({"name": name})).collect();
        let mut pod = json!({"spec": {"containers": [], "schedulingGates": gates}});
        for (field, value) in spec.as_object().expect("fields") {
            pod["spec"][field] = value.clone();
        }
        pod
    }

    fn required(terms: Value) -> Value {
        json!({"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}}})
    }

    #[track_caller]
    fn assert_told(old: &Value, new: &Value, field: Option<&str>) {
        let causes = validate_update(&pod(&[], new.clone()), &pod(&["a/b"], old.clone()));
        assert_eq!(causes.first().map(|cause| cause.field.as_str()), field, "{old} to {new}: {causes:?}");
    }

    #[test]
    fn a_gated_pod_is_told_more_of_where_it_may_run_while_its_gates_go() {
        let (zone, rack) = (json!({"key": "zone", "operator": "Exists"}), json!({"key": "rack", "operator": "Exists"}));
        let one = required(json!([{"matchExpressions": [zone]}]));
        assert_told(&json!({}), &json!({"nodeSelector": {"disk": "ssd"}}), None);
        assert_told(&json!({"nodeSelector": {"disk": "ssd"}}), &json!({"nodeSelector": {"disk": "ssd", "zone": "a"}}), None);
        assert_told(&json!({}), &one, None);
        assert_told(&one, &required(json!([{"matchExpressions": [zone, rack]}])), None);
        let preferred = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}});
        assert_told(&preferred, &json!({}), None);
    }

    #[test]
    fn what_a_gated_pod_was_told_stays() {
        let (zone, rack) = (json!({"key": "zone", "operator": "Exists"}), json!({"key": "rack", "operator": "Exists"}));
        let one = required(json!([{"matchExpressions": [zone]}]));
        let terms = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
        let first = format!("{terms}[0]");
        assert_told(&json!({"nodeSelector": {"a": "b"}}), &json!({"nodeSelector": {"a": "c"}}), Some("spec.nodeSelector"));
        assert_told(&json!({"nodeSelector": {"a": "b"}}), &json!({}), Some("spec.nodeSelector"));
        assert_told(&one, &json!({}), Some(terms));
        assert_told(&one, &required(json!([{"matchExpressions": [zone]}, {"matchExpressions": [rack]}])), Some(terms));
        assert_told(&one, &required(json!([{"matchExpressions": [rack]}])), Some(&first));
        assert_told(&required(json!([{}])), &one, Some(&first));
        let anti = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}}});
        assert_told(&json!({}), &anti, Some("spec"));
    }

    #[test]
    fn a_pod_that_no_gate_holds_stays_where_it_may_run() {
        let pod = |selector: Value| pod(&[], json!({"nodeSelector": selector}));
        let causes = validate_update(&pod(json!({"a": "b"})), &pod(json!({})));
        assert_eq!(causes.first().map(|cause| cause.field.as_str()), Some("spec"));
    }
}
