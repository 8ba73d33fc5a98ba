//! What is wrong with a job (`batch/validation`).

use serde_json::Value;

use super::super::pod_template::check_pod_template;
use super::super::value::{absent, flag, int, text};
use super::failure_policy::{check_failure_policy, check_success_policy};
use super::{CONTROLLER_UID, JOB_NAME, OLD_CONTROLLER_UID, OLD_JOB_NAME};
use crate::Pointed as _;
use crate::selector::LabelSelector;
use crate::status::Cause;
use crate::validate::{
    Path, complaints, domain_prefixed_path, forbidden, immutable, invalid, invalid_text, non_negative, not_supported, one_of,
    required, too_long, validate_label_selector,
};

const MAX_INDEXED_PARALLELISM: i64 = 100_000;
const MAX_MANAGER: usize = 63;

pub(super) fn validate(object: &Value) -> Vec<Cause> {
    let at = Path::root("spec");
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let mut causes = Vec::new();
    if !flag(spec, "/manualSelector") {
        check_generated(object, &mut causes);
    }
    let selector = spec.get("selector").filter(|selector| !selector.is_null());
    match selector {
        None => causes.push(required(at.field("selector"), "")),
        Some(document) => {
            causes.extend(validate_label_selector(Some(document), &at.field("selector")));
            let labels = spec.at("/template/metadata/labels");
            if LabelSelector::from_document(selector).is_ok_and(|selector| !selector.matches_value(labels)) {
                let why = "`selector` does not match template `labels`";
                causes.push(invalid("spec.template.metadata.labels", labels.unwrap_or(&Value::Null), why));
            }
        }
    }
    check_job_spec(spec, &at, &mut causes);
    causes
}

/// The labels by which the job tells its pods apart, where the user left that to it.
fn check_generated(object: &Value, causes: &mut Vec<Cause>) {
    let (name, uid) = (text(object, "/metadata/name"), text(object, "/metadata/uid"));
    let labels = object.at("/spec/template/metadata/labels");
    let at = Path::root("spec.template.metadata.labels");
    for (key, expected) in [(OLD_CONTROLLER_UID, uid), (CONTROLLER_UID, uid), (OLD_JOB_NAME, name), (JOB_NAME, name)] {
        match labels.and_then(|labels| labels.get(key)).and_then(Value::as_str) {
            None => causes.push(required(at.key(key), &format!("must be '{expected}'"))),
            Some(given) if given != expected => {
                causes.push(invalid(at.key(key), labels.unwrap_or(&Value::Null), format!("must be '{expected}'")));
            }
            Some(_) => {}
        }
    }
    let selector = object.at("/spec/selector").unwrap_or(&Value::Null);
    let selected = selector.get("matchLabels").and_then(|labels| labels.get(CONTROLLER_UID)).and_then(Value::as_str);
    let old = selector.get("matchLabels").and_then(|labels| labels.get(OLD_CONTROLLER_UID)).and_then(Value::as_str);
    if selected.or(old) != Some(uid) {
        causes.push(invalid("spec.selector", selector, "`selector` not auto-generated"));
    }
}

/// Checks all of a job's spec but its selector, which a cron job leaves out.
pub(in super::super) fn check_job_spec(spec: &Value, at: &Path, causes: &mut Vec<Cause>) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        causes.extend(non_negative(at.field(field), spec.get(field)));
    }
    let manager = text(spec, "/managedBy");
    if !manager.is_empty() {
        causes.extend(complaints(at.field("managedBy"), manager, domain_prefixed_path(manager)));
        if manager.len() > MAX_MANAGER {
            causes.push(too_long(at.field("managedBy"), MAX_MANAGER));
        }
    }
    let replaced = ["Failed", "TerminatingOrFailed"];
    let replacement = text(spec, "/podReplacementPolicy");
    causes.extend(one_of(at.field("podReplacementPolicy"), replacement, &replaced));
    if !absent(spec, "/podFailurePolicy") && replacement == "TerminatingOrFailed" {
        causes.push(not_supported(at.field("podReplacementPolicy"), replacement, &["Failed"]));
    }
    check_mode(spec, at, causes);
    check_failure_policy(spec, at, causes);
    check_success_policy(spec, at, causes);
    let path = at.field("template");
    let template = spec.get("template").unwrap_or(&Value::Null);
    causes.extend(check_pod_template(template, &path));
    let pod = path.field("spec");
    let policy = text(template, "/spec/restartPolicy");
    if !matches!(policy, "OnFailure" | "Never") {
        causes.push(required(pod.field("restartPolicy"), "valid values: \"OnFailure\", \"Never\""));
    } else if policy != "Never" {
        for field in ["podFailurePolicy", "backoffLimitPerIndex"] {
            if !absent(spec, &format!("/{field}")) {
                let why = format!("only \"Never\" is supported when {field} is specified");
                causes.push(invalid_text(pod.field("restartPolicy"), policy, why));
            }
        }
    }
}

fn check_mode(spec: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let mode = text(spec, "/completionMode");
    let completions = int(spec, "/completions");
    causes.extend(one_of(at.field("completionMode"), mode, &["Indexed", "NonIndexed"]));
    if mode != "Indexed" {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if !absent(spec, &format!("/{field}")) {
                causes.push(forbidden(at.field(field), "requires indexed completion mode"));
            }
        }
        return;
    }
    if completions.is_none() {
        causes.push(required(at.field("completions"), "when completion mode is Indexed"));
    }
    if let Some(parallelism) = int(spec, "/parallelism").filter(|count| *count > MAX_INDEXED_PARALLELISM) {
        let why = format!("must be less than or equal to {MAX_INDEXED_PARALLELISM} when completion mode is Indexed");
        causes.push(invalid(at.field("parallelism"), &parallelism.into(), why));
    }
    if let (Some(most), Some(completions)) = (int(spec, "/maxFailedIndexes"), completions)
        && most > completions
    {
        causes.push(invalid(at.field("maxFailedIndexes"), &most.into(), "must be less than or equal to completions"));
    }
    if !absent(spec, "/maxFailedIndexes") && absent(spec, "/backoffLimitPerIndex") {
        causes.push(required(at.field("backoffLimitPerIndex"), "when maxFailedIndexes is specified"));
    }
}

pub(super) fn validate_update(object: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let get = |object: &Value, field: &str| object.at(&format!("/spec/{field}")).cloned();
    // An indexed job may grow and shrink as long as all its pods run at once.
    let elastic = text(object, "/spec/completionMode") == "Indexed"
        && get(object, "completions").is_some()
        && get(object, "completions") == get(object, "parallelism");
    if elastic {
        causes.extend(non_negative("spec.completions", object.at("/spec/completions")));
    } else {
        causes.extend(immutable("spec.completions", object.at("/spec/completions"), old.at("/spec/completions")));
    }
    let template = |object: &Value, free: bool| {
        let mut template = get(object, "template").unwrap_or_default();
        if free {
            loosen(&mut template);
        }
        template
    };
    let free = flag(old, "/spec/suspend") && absent(old, "/status/startTime");
    let (new, before) = (template(object, free), template(old, free));
    causes.extend(immutable("spec.selector", object.at("/spec/selector"), old.at("/spec/selector")));
    if new != before {
        causes.push(invalid("spec.template", &get(object, "template").unwrap_or_default(), "field is immutable"));
    }
    for field in ["completionMode", "podFailurePolicy", "successPolicy", "backoffLimitPerIndex", "managedBy"] {
        let pointer = format!("/spec/{field}");
        causes.extend(immutable(format!("spec.{field}"), object.at(&pointer), old.at(&pointer)));
    }
    causes
}

/// Takes out what says where the pods of a job go that has not begun: that may change.
fn loosen(template: &mut Value) {
    for (part, fields) in [
        ("metadata", &["labels", "annotations"][..]),
        ("spec", &["nodeSelector", "affinity", "tolerations", "schedulingGates"][..]),
    ] {
        if let Some(part) = template.get_mut(part).and_then(Value::as_object_mut) {
            part.retain(|field, _| !fields.contains(&field.as_str()));
        }
    }
}

pub(super) fn validate_status(object: &Value, _old: &Value) -> Vec<Cause> {
    let fields = ["active", "succeeded", "failed", "ready", "terminating"].iter();
    fields.filter_map(|field| non_negative(format!("status.{field}"), object.at(&format!("/status/{field}")))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::job;
    use super::*;

    #[test]
    fn wrong_jobs_are_named_in_the_words_of_kubernetes() {
        for (spec, complaint) in [
            (json!({"parallelism": -1}), "spec.parallelism: Invalid value: -1: must be greater than or equal to 0"),
            (
                json!({"completionMode": "Indexed", "parallelism": 1}),
                "spec.completions: Required value: when completion mode is Indexed",
            ),
            (
                json!({"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}),
                "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
            ),
            (
                json!({"selector": {"matchLabels": {CONTROLLER_UID: "other"}}}),
                "spec.selector: Invalid value: {\"matchLabels\":{\"batch.kubernetes.io/controller-uid\":\"other\"}}: `selector` not auto-generated",
            ),
            (
                json!({"podFailurePolicy": {"rules": [{"action": "Ignore"}]}}),
                "spec.podFailurePolicy.rules[0]: Invalid value: {\"action\":\"Ignore\"}: specifying one of OnExitCodes and OnPodConditions is required",
            ),
        ] {
            let causes = validate(&job(spec));
            let found: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
            assert_eq!(found.first().map(String::as_str), Some(complaint));
        }
    }

    #[test]
    fn a_template_changes_only_in_its_place_and_before_it_runs() {
        let (running, suspended) = (job(json!({})), job(json!({"suspend": true})));
        let moved = |job: &Value| {
            let mut job = job.clone();
            job["spec"]["template"]["spec"]["nodeSelector"] = json!({"zone": "a"});
            job
        };
        assert_eq!(validate_update(&moved(&suspended), &suspended), []);
        assert_eq!(validate_update(&moved(&running), &running)[0].field, "spec.template");
        let more = job(json!({"completions": 2}));
        assert_eq!(validate_update(&more, &running)[0].field, "spec.completions");
    }
}
