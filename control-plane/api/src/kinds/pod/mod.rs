//! `Pod`.

mod columns;
mod gated;
mod resize;
mod update;

use serde_json::{Value, json};

use super::builder::{Describe, resource};
use super::pod_template::{SpecContext, check_spec, default_pod};
use super::value::{flag, int, list, text};
use crate::Pointed as _;
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy, Verb, keep_all_but};
use crate::qos::qos_class;
use crate::status::Cause;
use crate::validate::{Path, forbidden};

struct Pod;

const CONNECT: &[Verb] = &[Verb::Create, Verb::Get];

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("", "Pod", "pods", Scope::Namespaced, Pod)
        .short("po")
        .in_all()
        .subresource("attach", Some(("", "PodAttachOptions")), CONNECT)
        .subresource("binding", Some(("", "Binding")), &[Verb::Create])
        .subresource("ephemeralcontainers", None, &[Verb::Get, Verb::Patch, Verb::Update])
        .subresource("eviction", Some(("policy", "Eviction")), &[Verb::Create])
        .subresource("exec", Some(("", "PodExecOptions")), CONNECT)
        .subresource("log", None, &[Verb::Get])
        .subresource("portforward", Some(("", "PodPortForwardOptions")), CONNECT)
        .proxy("PodProxyOptions")
        .subresource("resize", None, &[Verb::Get, Verb::Patch, Verb::Update])
        .status()
}

impl Strategy for Pod {
    fn default(&self, object: &mut Value) {
        default_pod(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        let qos = qos_class(object.get("spec").unwrap_or(&Value::Null)).as_str();
        if let Some(object) = object.as_object_mut() {
            object.insert("status".to_owned(), json!({"phase": "Pending", "qosClass": qos}));
        }
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        check_spec(object.get("spec").unwrap_or(&Value::Null), &Path::root("spec"), SpecContext::Pod)
    }

    fn validate_new(&self, object: &Value) -> Vec<Cause> {
        let mut causes = self.validate(object);
        // They come later, through their subresource.
        if !list(object, "/spec/ephemeralContainers").is_empty() {
            causes.push(forbidden(Path::root("spec").field("ephemeralContainers"), "cannot be set on create"));
        }
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        update::validate_update(object, old)
    }

    fn prepare_subresource_update(&self, subresource: &str, object: &mut Value, old: &Value) {
        match subresource {
            "ephemeralcontainers" => {
                let containers = object.pointer_mut("/spec/ephemeralContainers").map(Value::take);
                keep_all_but(&["metadata"], object, old);
                if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
                    match containers {
                        Some(containers) => spec.insert("ephemeralContainers".to_owned(), containers),
                        None => spec.remove("ephemeralContainers"),
                    };
                }
            }
            "resize" => resize::keep_all_but_resources(object, old),
            "status" => {
                keep_all_but(&["metadata", "status"], object, old);
                // The class is the API server's to say, whatever an agent reports.
                if let (Some(class), Some(status)) =
                    (old.at("/status/qosClass"), object.get_mut("status").and_then(Value::as_object_mut))
                {
                    status.insert("qosClass".to_owned(), class.clone());
                }
            }
            _ => {}
        }
    }

    fn validate_subresource_update(&self, subresource: &str, object: &Value, old: &Value) -> Vec<Cause> {
        match subresource {
            "ephemeralcontainers" => update::validate_ephemeral_containers(object, old),
            "resize" => resize::validate(object, old),
            "status" => update::validate_status(object, old),
            _ => Vec::new(),
        }
    }

    fn selectable(&self, object: &Value, path: &str) -> Option<String> {
        Some(match path {
            "spec.hostNetwork" => flag(object, "/spec/hostNetwork").to_string(),
            "status.podIPs" => list(object, "/status/podIPs").iter().map(|ip| text(ip, "/ip")).collect::<Vec<_>>().join(","),
            path if SELECTABLE.contains(&path) => text(object, &format!("/{}", path.replace('.', "/"))).to_owned(),
            _ => return None,
        })
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        SELECTABLE
    }

    fn columns(&self) -> &'static [Column] {
        columns::COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        columns::cells(object, context.now)
    }

    fn default_grace_seconds(&self, object: &Value) -> i64 {
        // A pod that no node has, or that is done, has nothing to wait for.
        if text(object, "/spec/nodeName").is_empty() || matches!(text(object, "/status/phase"), "Failed" | "Succeeded") {
            return 0;
        }
        match int(object, "/spec/terminationGracePeriodSeconds").unwrap_or(30) {
            // Accepted, and the shortest there is.
            seconds if seconds < 0 => 1,
            seconds => seconds,
        }
    }
}

const SELECTABLE: &[&str] = &[
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.podIPs",
    "status.nominatedNodeName",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ephemeral_containers_come_after_the_pod() {
        let mut pod =
            json!({"spec": {"containers": [{"name": "a", "image": "b"}], "ephemeralContainers": [{"name": "c", "image": "b"}]}});
        Pod.default(&mut pod);
        Pod.prepare_create(&mut pod);
        let causes = Pod.validate_new(&pod);
        assert_eq!(causes.len(), 1, "{causes:?}");
        assert_eq!(
            (causes[0].field.as_str(), causes[0].message.as_str()),
            ("spec.ephemeralContainers", "Forbidden: cannot be set on create")
        );
        assert_eq!(Pod.validate(&pod), [], "when it is bound");
    }
}
