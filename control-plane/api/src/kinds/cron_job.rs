//! `CronJob`.

use serde_json::{Value, json};

use super::builder::{Describe, resource};
use super::job::check_job_spec;
use super::pod_template::default_template;
use super::value::{absent, child, fill, flag, list, list_mut, set, text};
use super::workload::{CONTAINERS, IMAGES, SELECTOR, container_cells};
use crate::cron::Schedule;
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::{age, or_none, since};
use crate::selector::LabelSelector;
use crate::status::Cause;
use crate::validate::{Path, invalid, invalid_text, non_negative, not_supported, required, required_one_of, validate_labels};

struct CronJob;

/// A job's name is the cron job's with eleven more characters, and still a label.
const MAX_NAME: usize = 52;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("batch", "CronJob", "cronjobs", Scope::Namespaced, CronJob).short("cj").in_all().status()
}

const COLUMNS: &[Column] = &[
    Column::text("Schedule", "When jobs are made, in cron's form."),
    Column::text("Timezone", "The time zone of the schedule."),
    Column::flag("Suspend", "Whether no jobs are made."),
    Column::number("Active", "How many of its jobs run."),
    Column::text("Last Schedule", "How long ago the last job was made."),
    Column::AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

impl Strategy for CronJob {
    fn default(&self, object: &mut Value) {
        let Some(spec) = child(object, "spec") else { return };
        fill(spec, "concurrencyPolicy", "Allow");
        fill(spec, "suspend", false);
        fill(spec, "successfulJobsHistoryLimit", 3);
        fill(spec, "failedJobsHistoryLimit", 1);
        if let Some(job) = child(spec, "jobTemplate").and_then(|template| child(template, "spec")) {
            for rule in list_mut(job, "/podFailurePolicy/rules") {
                list_mut(rule, "/onPodConditions").for_each(|pattern| fill(pattern, "status", "True"));
            }
            if let Some(template) = child(job, "template") {
                default_template(template);
            }
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({}));
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let spec = Path::root("spec");
        let name = text(object, "/metadata/name");
        if name.len() > MAX_NAME {
            causes.push(invalid_text("metadata.name", name, format!("must be no more than {MAX_NAME} characters")));
        }
        check_schedule(object, &spec, &mut causes);
        for field in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
            causes.extend(non_negative(spec.field(field), object.pointer(&format!("/spec/{field}"))));
        }
        let policies = ["Allow", "Forbid", "Replace"];
        causes.extend(required_one_of(spec.field("concurrencyPolicy"), text(object, "/spec/concurrencyPolicy"), &policies));
        let (template, at) = (object.pointer("/spec/jobTemplate").unwrap_or(&Value::Null), spec.field("jobTemplate"));
        causes.extend(validate_labels("spec.jobTemplate.metadata.labels", template.pointer("/metadata/labels")));
        let job = at.field("spec");
        check_job_spec(template.get("spec").unwrap_or(&Value::Null), &job, &mut causes);
        if flag(template, "/spec/manualSelector") {
            causes.push(not_supported(job.field("manualSelector"), "true", &["nil", "false"]));
        }
        causes
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let last = match text(object, "/status/lastScheduleTime") {
            "" => "<none>".to_owned(),
            time => since(time, context.now),
        };
        let suspend = match object.pointer("/spec/suspend").and_then(Value::as_bool) {
            None => "<unset>",
            Some(true) => "True",
            Some(false) => "False",
        };
        let [containers, images] = container_cells(object, "/spec/jobTemplate/spec/template/spec/containers");
        let selector = LabelSelector::from_document(object.pointer("/spec/jobTemplate/spec/selector"));
        vec![
            text(object, "/spec/schedule").into(),
            or_none(text(object, "/spec/timeZone")).into(),
            suspend.into(),
            list(object, "/status/active").len().into(),
            last.into(),
            age(object, context.now).into(),
            containers,
            images,
            or_none(&selector.map(|selector| selector.to_string()).unwrap_or_default()).into(),
        ]
    }
}

fn check_schedule(object: &Value, spec: &Path, causes: &mut Vec<Cause>) {
    let at = spec.field("schedule");
    match text(object, "/spec/schedule") {
        "" => causes.push(required(at, "")),
        text if text.contains("TZ") => {
            let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            causes.push(invalid_text(at, text, why));
        }
        text => {
            if let Err(why) = Schedule::parse(text) {
                causes.push(invalid_text(at, text, why));
            }
        }
    }
    if absent(object, "/spec/timeZone") {
        return;
    }
    let at = spec.field("timeZone");
    match text(object, "/spec/timeZone") {
        "" => causes.push(invalid(at, &"".into(), "timeZone must be nil or non-empty string")),
        "Local" => causes.push(invalid_text(
            at,
            "Local",
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        )),
        zone => {
            if jiff::tz::TimeZone::get(zone).is_err() {
                causes.push(invalid_text(at, zone, format!("unknown time zone {zone}")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron_job(spec: Value) -> Value {
        let mut object = json!({"metadata": {"name": "tick"}, "spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {
            "template": {"spec": {"restartPolicy": "OnFailure", "containers": [{"name": "c", "image": "i"}]}}}}}});
        if let (Some(into), Value::Object(spec)) = (object["spec"].as_object_mut(), spec) {
            into.extend(spec);
        }
        CronJob.default(&mut object);
        object
    }

    #[test]
    fn a_cron_job_shows_when_it_ran() {
        let mut object = cron_job(json!({}));
        assert_eq!(CronJob.validate(&object), []);
        assert_eq!(object["spec"]["successfulJobsHistoryLimit"], 3);
        object["status"] = json!({"active": [{}], "lastScheduleTime": "2026-01-01T00:00:00Z"});
        let now = "2026-01-01T00:00:30Z".parse().expect("a timestamp");
        let cells = CronJob.cells(&object, Context { now });
        assert_eq!(cells[..5], [json!("*/5 * * * *"), json!("<none>"), json!("False"), json!(1), json!("30s")]);
    }

    #[test]
    fn wrong_schedules_are_refused() {
        for (spec, field) in [
            (json!({"schedule": "* * * *"}), "spec.schedule"),
            (json!({"schedule": "TZ=UTC * * * * *"}), "spec.schedule"),
            (json!({"timeZone": "Local"}), "spec.timeZone"),
            (json!({"concurrencyPolicy": "Maybe"}), "spec.concurrencyPolicy"),
            (json!({"startingDeadlineSeconds": -1}), "spec.startingDeadlineSeconds"),
        ] {
            let causes = CronJob.validate(&cron_job(spec));
            assert_eq!(causes.iter().map(|cause| cause.field.as_str()).collect::<Vec<_>>(), [field]);
        }
    }
}
