//! `APIService`: who answers for a group version.

use serde_json::Value;

use super::builder::{Describe, resource};
use super::value::{absent, child, flag, int, list, set, text};
use crate::api_services::{Availability, GROUP, RESOURCE, available, is_local};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{
    NameRule, Path, complaints, dns1035_label, dns1123_subdomain, invalid, invalid_text, not_supported, port_number, required,
};

struct ApiService;

const HIGHEST_GROUP: i64 = 20_000;
const HIGHEST_VERSION: i64 = 1_000;
const DEFAULT_PORT: i64 = 443;
const STATUSES: &[&str] = &["True", "False", "Unknown"];

pub(super) fn descriptor() -> ResourceDescriptor {
    let mut descriptor = resource(GROUP, "APIService", RESOURCE, Scope::Cluster, ApiService).status();
    descriptor.schema = "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService".into();
    descriptor.categories.push("api-extensions".into());
    descriptor
}

const COLUMNS: &[Column] = &[
    Column::text("Service", "The reference to the service that hosts this API endpoint."),
    Column::text("Available", "Whether this service is available."),
    Column::AGE,
];

impl Strategy for ApiService {
    fn updates_unconditionally(&self) -> bool {
        false
    }

    fn default(&self, object: &mut Value) {
        if is_local(object) {
            return;
        }
        if let Some(service) = child(object, "spec").and_then(|spec| child(spec, "service"))
            && absent(service, "/port")
        {
            set(service, "port", DEFAULT_PORT);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", serde_json::json!({}));
        if is_local(object) {
            let now = text(object, "/metadata/creationTimestamp").to_owned();
            Availability::local().write(object, &now);
        }
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let at = Path::root("spec");
        let (group, version) = (text(object, "/spec/group"), text(object, "/spec/version"));
        let mut causes = Vec::new();
        let (name, wanted) = (text(object, "/metadata/name"), crate::api_services::name(group, version));
        if name != wanted {
            let why = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
            causes.push(invalid_text("metadata.name", name, why));
        }
        match group {
            "" if version != "v1" => {
                causes.push(required(at.field("group"), "only v1 may have an empty group and it better be legacy kube"));
            }
            "" => {}
            group => causes.extend(complaints(at.field("group"), group, dns1123_subdomain(group))),
        }
        causes.extend(complaints(at.field("version"), version, dns1035_label(version)));
        for (field, highest) in [("groupPriorityMinimum", HIGHEST_GROUP), ("versionPriority", HIGHEST_VERSION)] {
            let priority = int(object, &format!("/spec/{field}")).unwrap_or(0);
            if priority <= 0 || priority > highest {
                causes.push(invalid(at.field(field), &priority.into(), format!("must be positive and less than {highest}")));
            }
        }
        let (bundle, insecure) = (text(object, "/spec/caBundle"), flag(object, "/spec/insecureSkipTLSVerify"));
        if is_local(object) {
            if !bundle.is_empty() {
                let bytes = crate::validate::base64(bundle).map_or(bundle.len(), |bundle| bundle.len());
                let why = "local APIServices may not have a caBundle";
                causes.push(invalid_text(at.field("caBundle"), &format!("{bytes} bytes"), why));
            }
            if insecure {
                let why = "local APIServices may not have insecureSkipTLSVerify";
                causes.push(invalid(at.field("insecureSkipTLSVerify"), &true.into(), why));
            }
            return causes;
        }
        let service = at.field("service");
        for field in ["namespace", "name"] {
            if text(object, &format!("/spec/service/{field}")).is_empty() {
                causes.push(required(service.field(field), ""));
            }
        }
        let port = int(object, "/spec/service/port").unwrap_or(0);
        let wrong = port_number(port);
        if !wrong.is_empty() {
            let why = format!("port is not valid: {}", wrong.join(", "));
            causes.push(invalid(service.field("port"), &port.into(), why));
        }
        if insecure && !bundle.is_empty() {
            let why = "may not be true if caBundle is present";
            causes.push(invalid(at.field("insecureSkipTLSVerify"), &true.into(), why));
        }
        causes
    }

    fn prepare_subresource_update(&self, subresource: &str, object: &mut Value, old: &Value) {
        if subresource != "status" {
            return;
        }
        let metadata = ["labels", "annotations", "finalizers", "ownerReferences"]
            .map(|field| (field, old.pointer(&format!("/metadata/{field}")).cloned()));
        crate::descriptor::keep_all_but(&["metadata", "status"], object, old);
        let Some(own) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
        for (field, old) in metadata {
            match old {
                Some(old) => own.insert(field.to_owned(), old),
                None => own.remove(field),
            };
        }
    }

    fn validate_subresource_update(&self, _subresource: &str, object: &Value, _old: &Value) -> Vec<Cause> {
        let at = Path::root("status.conditions");
        let conditions = list(object, "/status/conditions").iter().enumerate();
        conditions
            .filter(|(_, condition)| !STATUSES.contains(&text(condition, "/status")))
            .map(|(index, condition)| not_supported(at.index(index).field("status"), text(condition, "/status"), STATUSES))
            .collect()
    }

    /// The core group's is called `v1.`; [`Strategy::validate`] says the rest.
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn has_generation(&self, _object: &Value) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let service = match is_local(object) {
            true => "Local".to_owned(),
            false => format!("{}/{}", text(object, "/spec/service/namespace"), text(object, "/spec/service/name")),
        };
        let available = match available(object) {
            None => "Unknown".to_owned(),
            Some(condition) => match (text(condition, "/status"), text(condition, "/reason")) {
                ("True", _) => "True".to_owned(),
                (status, "") => status.to_owned(),
                (status, reason) => format!("{status} ({reason})"),
            },
        };
        vec![service.into(), available.into(), age(object, context.now).into()]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(spec: Value) -> Value {
        let mut all = json!({"group": "a.example.com", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15,
            "service": {"namespace": "n", "name": "s"}});
        if let (Some(into), Value::Object(spec)) = (all.as_object_mut(), spec) {
            into.extend(spec);
        }
        let mut object =
            json!({"metadata": {"name": "v1.a.example.com", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": all});
        ApiService.default(&mut object);
        object
    }

    #[test]
    fn a_service_answers_at_port_443_unless_it_says_so() {
        let object = service(json!({}));
        assert_eq!(object["spec"]["service"]["port"], 443);
        assert_eq!(ApiService.validate(&object), []);
    }

    #[test]
    fn a_local_one_is_available_from_the_start_and_a_remote_one_is_not() {
        let mut local = service(json!({"service": null}));
        ApiService.prepare_create(&mut local);
        let cells = ApiService.cells(&local, Context { now: jiff::Timestamp::UNIX_EPOCH });
        assert_eq!(cells[..2], ["Local", "True"]);
        assert_eq!(local["status"]["conditions"][0]["lastTransitionTime"], "2026-01-01T00:00:00Z");
        let mut remote = service(json!({}));
        ApiService.prepare_create(&mut remote);
        assert_eq!(ApiService.cells(&remote, Context { now: jiff::Timestamp::UNIX_EPOCH })[..2], ["n/s", "Unknown"]);
        Availability::missing("ServiceNotFound", String::new()).write(&mut remote, "2026-01-01T00:00:00Z");
        assert_eq!(ApiService.cells(&remote, Context { now: jiff::Timestamp::UNIX_EPOCH })[1], "False (ServiceNotFound)");
    }

    #[test]
    fn wrong_fields_are_named() {
        for (spec, fields) in [
            (json!({"version": "v2"}), &["metadata.name"][..]),
            (json!({"group": ""}), &["metadata.name"][..]),
            (json!({"group": "", "version": "v2"}), &["metadata.name", "spec.group"][..]),
            (
                json!({"groupPriorityMinimum": 20_001, "versionPriority": 0}),
                &["spec.groupPriorityMinimum", "spec.versionPriority"][..],
            ),
            (json!({"service": {"port": 0}}), &["spec.service.namespace", "spec.service.name", "spec.service.port"][..]),
            (json!({"insecureSkipTLSVerify": true, "caBundle": "YQ=="}), &["spec.insecureSkipTLSVerify"][..]),
            (
                json!({"service": null, "insecureSkipTLSVerify": true, "caBundle": "YQ=="}),
                &["spec.caBundle", "spec.insecureSkipTLSVerify"][..],
            ),
        ] {
            let causes = ApiService.validate(&service(spec.clone()));
            assert_eq!(causes.iter().map(|cause| cause.field.as_str()).collect::<Vec<_>>(), fields, "{spec}");
        }
    }

    #[test]
    fn who_writes_the_status_changes_nothing_else() {
        let old = service(json!({}));
        let mut new = old.clone();
        new["spec"]["versionPriority"] = json!(1);
        new["metadata"]["labels"] = json!({"a": "b"});
        new["status"] = json!({"conditions": [{"type": "Available", "status": "Maybe"}]});
        ApiService.prepare_subresource_update("status", &mut new, &old);
        assert_eq!((&new["spec"], &new["metadata"]), (&old["spec"], &old["metadata"]));
        let causes = ApiService.validate_subresource_update("status", &new, &old);
        assert_eq!(causes[0].field, "status.conditions[0].status");
    }
}
