//! `Job`.

mod failure_policy;
mod validate;

use serde_json::{Value, json};

use super::builder::{Describe, resource};
use super::pod_template::default_template;
use super::value::{absent, child, entries, fill, flag, int, list, list_mut, set, text};
use super::workload::{CONTAINERS, IMAGES, SELECTOR, template_cells};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::{age, human_duration};
use crate::status::Cause;

pub(super) use validate::check_job_spec;

struct Job;

pub(super) const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
const JOB_NAME: &str = "batch.kubernetes.io/job-name";
/// What the two labels were called before.
const OLD_CONTROLLER_UID: &str = "controller-uid";
const OLD_JOB_NAME: &str = "job-name";

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("batch", "Job", "jobs", Scope::Namespaced, Job).in_all().status()
}

const COLUMNS: &[Column] = &[
    Column::text("Status", "Whether the job runs, is complete or failed."),
    Column::text("Completions", "How many pods succeeded, of how many there should be."),
    Column::text("Duration", "How long the job has run, or ran."),
    Column::AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

/// Defaults of a job's spec.
fn default_spec(spec: &mut Value) {
    if absent(spec, "/completions") && absent(spec, "/parallelism") {
        set(spec, "completions", 1);
    }
    fill(spec, "parallelism", 1);
    let tries = if absent(spec, "/backoffLimitPerIndex") { 6 } else { i64::from(i32::MAX) };
    fill(spec, "backoffLimit", tries);
    fill(spec, "completionMode", "NonIndexed");
    fill(spec, "suspend", false);
    fill(spec, "manualSelector", false);
    let replaced = if absent(spec, "/podFailurePolicy") { "TerminatingOrFailed" } else { "Failed" };
    fill(spec, "podReplacementPolicy", replaced);
    for rule in list_mut(spec, "/podFailurePolicy/rules") {
        list_mut(rule, "/onPodConditions").for_each(|pattern| fill(pattern, "status", "True"));
    }
}

impl Strategy for Job {
    fn default(&self, object: &mut Value) {
        if let Some(labels) = object.pointer("/spec/template/metadata/labels").filter(|labels| labels.is_object()).cloned()
            && entries(object, "/metadata/labels").next().is_none()
            && let Some(metadata) = child(object, "metadata")
        {
            set(metadata, "labels", labels);
        }
        let Some(spec) = child(object, "spec") else { return };
        default_spec(spec);
        if let Some(template) = child(spec, "template") {
            default_template(template);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({}));
        if !flag(object, "/spec/manualSelector") {
            generate_selector(object);
        }
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        validate::validate(object)
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        validate::validate_update(object, old)
    }

    fn validate_subresource_update(&self, _subresource: &str, object: &Value, old: &Value) -> Vec<Cause> {
        validate::validate_status(object, old)
    }

    fn orphans_by_default(&self) -> bool {
        true
    }

    fn selectable(&self, object: &Value, path: &str) -> Option<String> {
        (path == "status.successful").then(|| int(object, "/status/succeeded").unwrap_or(0).to_string())
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["status.successful"]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let succeeded = int(object, "/status/succeeded").unwrap_or(0);
        let parallelism = int(object, "/spec/parallelism").unwrap_or(0);
        let completions = match int(object, "/spec/completions") {
            Some(wanted) => format!("{succeeded}/{wanted}"),
            None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
            None => format!("{succeeded}/1"),
        };
        let cells = [summary(object).to_owned(), completions, duration(object, context.now), age(object, context.now)];
        cells.into_iter().map(Value::String).chain(template_cells(object)).collect()
    }
}

fn holds(object: &Value, kind: &str) -> bool {
    list(object, "/status/conditions").iter().any(|c| text(c, "/type") == kind && text(c, "/status") == "True")
}

fn summary(object: &Value) -> &'static str {
    match () {
        () if holds(object, "Complete") => "Complete",
        () if holds(object, "Failed") => "Failed",
        () if !absent(object, "/metadata/deletionTimestamp") => "Terminating",
        () if holds(object, "Suspended") => "Suspended",
        () if holds(object, "FailureTarget") => "FailureTarget",
        () if holds(object, "SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn duration(object: &Value, now: jiff::Timestamp) -> String {
    let time = |pointer: &str| text(object, pointer).parse::<jiff::Timestamp>().ok();
    match (time("/status/startTime"), time("/status/completionTime")) {
        (None, _) => String::new(),
        (Some(start), end) => human_duration(end.unwrap_or(now).as_second() - start.as_second()),
    }
}

/// A job's pods are told apart by its uid, unless the user selects them.
fn generate_selector(object: &mut Value) {
    let (name, uid) = (text(object, "/metadata/name").to_owned(), text(object, "/metadata/uid").to_owned());
    let Some(spec) = child(object, "spec") else { return };
    if let Some(labels) = child(spec, "template").and_then(|t| child(t, "metadata")).and_then(|m| child(m, "labels"))
        && let Some(labels) = labels.as_object_mut()
    {
        for (key, value) in [(OLD_JOB_NAME, &name), (JOB_NAME, &name), (OLD_CONTROLLER_UID, &uid), (CONTROLLER_UID, &uid)] {
            labels.entry(key).or_insert_with(|| value.clone().into());
        }
    }
    if let Some(labels) = child(spec, "selector").and_then(|selector| child(selector, "matchLabels"))
        && let Some(labels) = labels.as_object_mut()
    {
        labels.entry(CONTROLLER_UID).or_insert_with(|| uid.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn job(spec: Value) -> Value {
        let mut object = json!({"metadata": {"name": "pi", "uid": "u1"}, "spec": {
            "template": {"metadata": {"labels": {"app": "pi"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
        if let (Some(into), Value::Object(spec)) = (object["spec"].as_object_mut(), spec) {
            into.extend(spec);
        }
        Job.default(&mut object);
        Job.prepare_create(&mut object);
        object
    }

    #[test]
    fn a_job_runs_once_with_a_selector_of_its_own() {
        let object = job(json!({}));
        let spec = &object["spec"];
        assert_eq!([&spec["completions"], &spec["parallelism"], &spec["backoffLimit"]], [&json!(1), &json!(1), &json!(6)]);
        assert_eq!(spec["selector"], json!({"matchLabels": {CONTROLLER_UID: "u1"}}));
        assert_eq!(spec["template"]["metadata"]["labels"][JOB_NAME], "pi");
        assert_eq!(object["metadata"]["labels"], json!({"app": "pi"}));
        assert_eq!(Job.validate(&object), []);
        assert!(job(json!({"parallelism": 2}))["spec"].get("completions").is_none());
    }

    #[test]
    fn a_job_shows_how_far_it_is() {
        let mut object = job(json!({"completions": 3}));
        object["status"] = json!({"succeeded": 2, "startTime": "2026-01-01T00:00:00Z"});
        let now = "2026-01-01T00:00:07Z".parse().expect("a timestamp");
        assert_eq!(Job.cells(&object, Context { now })[..3], ["Running", "2/3", "7s"].map(Value::from));
        object["status"] = json!({"succeeded": 3, "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:05Z",
            "conditions": [{"type": "Complete", "status": "True"}]});
        assert_eq!(Job.cells(&object, Context { now })[..3], ["Complete", "3/3", "5s"].map(Value::from));
    }
}
