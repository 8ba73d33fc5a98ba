//! What APIService objects (`apiregistration.k8s.io/v1`) say, for all who write and read them.

use serde_json::{Value, json};

use crate::names::GroupVersionResource;

pub const GROUP: &str = "apiregistration.k8s.io";
pub const RESOURCE: &str = "apiservices";

/// Marks what a server keeps itself: [`ON_START`] for built-in versions, [`ALWAYS`] for those of custom kinds.
pub const MANAGED_LABEL: &str = "kube-aggregator.kubernetes.io/automanaged";
pub const ON_START: &str = "onstart";
pub const ALWAYS: &str = "true";

/// Where a group version stands among the others; the greater number comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// `spec.groupPriorityMinimum`.
    pub group: i64,
    /// `spec.versionPriority`.
    pub version: i64,
}

impl Priority {
    /// What every version of a custom kind has.
    pub const CUSTOM: Self = Self { group: 1000, version: 100 };
}

/// The order of Kubernetes' own groups, and ours behind them.
const BUILTIN: &[(&str, &str, i64, i64)] = &[
    ("", "v1", 18_000, 1),
    ("apps", "v1", 17_800, 15),
    ("events.k8s.io", "v1", 17_750, 15),
    ("authentication.k8s.io", "v1", 17_700, 15),
    ("authorization.k8s.io", "v1", 17_600, 15),
    ("autoscaling", "v2", 17_500, 30),
    ("autoscaling", "v1", 17_500, 15),
    ("batch", "v1", 17_400, 15),
    ("certificates.k8s.io", "v1", 17_300, 15),
    ("networking.k8s.io", "v1", 17_200, 15),
    ("policy", "v1", 17_100, 15),
    ("rbac.authorization.k8s.io", "v1", 17_000, 15),
    ("storage.k8s.io", "v1", 16_800, 15),
    ("admissionregistration.k8s.io", "v1", 16_700, 15),
    ("apiextensions.k8s.io", "v1", 16_700, 15),
    ("scheduling.k8s.io", "v1", 16_600, 15),
    ("coordination.k8s.io", "v1", 16_500, 15),
    ("node.k8s.io", "v1", 16_300, 15),
    ("discovery.k8s.io", "v1", 16_200, 15),
    ("resource.k8s.io", "v1", 16_200, 20),
    ("flowcontrol.apiserver.k8s.io", "v1", 16_100, 21),
    ("mizzen.dev", "v1alpha1", 15_000, 1),
];

/// The built-in group versions that have an APIService, and their places. The group of APIServices itself has none, and
/// comes before all others.
pub fn builtin() -> impl Iterator<Item = (&'static str, &'static str, Priority)> {
    BUILTIN.iter().map(|&(group, version, group_priority, version_priority)| {
        (group, version, Priority { group: group_priority, version: version_priority })
    })
}

/// The place of a group version that this server answers for itself.
pub fn priority(group: &str, version: &str) -> Priority {
    if group == GROUP {
        return Priority { group: 20_000, version: 1 };
    }
    let found = builtin().find(|(known, served, _)| *known == group && *served == version);
    found.map_or(Priority::CUSTOM, |(_, _, priority)| priority)
}

pub fn resource() -> GroupVersionResource {
    GroupVersionResource::new(GROUP, "v1", RESOURCE)
}

/// The only name that an APIService may have.
pub fn name(group: &str, version: &str) -> String {
    format!("{version}.{group}")
}

/// Whether the version is answered by the server itself.
pub fn is_local(service: &Value) -> bool {
    service.pointer("/spec/service").is_none_or(Value::is_null)
}

/// The condition `Available`, without its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Availability {
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    pub reason: &'static str,
    pub message: String,
}

impl Availability {
    pub fn local() -> Self {
        Self { status: "True", reason: "Local", message: "Local APIServices are always available".to_owned() }
    }

    pub fn passed() -> Self {
        Self { status: "True", reason: "Passed", message: "all checks passed".to_owned() }
    }

    pub fn missing(reason: &'static str, message: String) -> Self {
        Self { status: "False", reason, message }
    }

    /// Writes the condition into the object's status. Its time changes with its status only; `now` is RFC 3339.
    pub fn write(&self, service: &mut Value, now: &str) {
        let Some(service) = service.as_object_mut() else { return };
        let status = service.entry("status").or_insert_with(|| json!({}));
        if !status.is_object() {
            *status = json!({});
        }
        let Some(status) = status.as_object_mut() else { return };
        let conditions = status.entry("conditions").or_insert_with(|| json!([]));
        if !conditions.is_array() {
            *conditions = json!([]);
        }
        let Some(conditions) = conditions.as_array_mut() else { return };
        match conditions.iter_mut().find(|condition| condition["type"] == "Available") {
            Some(condition) => {
                if condition["status"] != self.status {
                    condition["status"] = self.status.into();
                    condition["lastTransitionTime"] = now.into();
                }
                condition["reason"] = self.reason.into();
                condition["message"] = self.message.as_str().into();
            }
            None => conditions.push(json!({
                "type": "Available", "status": self.status, "lastTransitionTime": now, "reason": self.reason,
                "message": self.message,
            })),
        }
    }
}

/// The condition `Available` of an object, if it has one.
pub fn available(service: &Value) -> Option<&Value> {
    let conditions = service.pointer("/status/conditions").and_then(Value::as_array)?;
    conditions.iter().find(|condition| condition["type"] == "Available")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_time_while_only_the_reason_changes() {
        let mut service = json!({"spec": {}});
        Availability::missing("ServiceNotFound", "a".to_owned()).write(&mut service, "2026-01-01T00:00:00Z");
        Availability::missing("MissingEndpoints", "b".to_owned()).write(&mut service, "2026-01-01T00:00:01Z");
        let condition = available(&service).expect("is there").clone();
        assert_eq!(
            (&condition["reason"], &condition["lastTransitionTime"]),
            (&json!("MissingEndpoints"), &json!("2026-01-01T00:00:00Z"))
        );
        Availability::passed().write(&mut service, "2026-01-01T00:00:02Z");
        let condition = available(&service).expect("is there");
        assert_eq!((&condition["status"], &condition["lastTransitionTime"]), (&json!("True"), &json!("2026-01-01T00:00:02Z")));
        assert_eq!(service["status"]["conditions"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn the_core_and_every_builtin_group_have_their_place() {
        for descriptor in crate::Registry::builtin().iter().filter(|descriptor| &*descriptor.group != GROUP) {
            for version in &descriptor.versions {
                assert_ne!(priority(&descriptor.group, version), Priority::CUSTOM, "{}/{version}", descriptor.group);
            }
        }
        assert_eq!(priority("stable.example.com", "v1"), Priority::CUSTOM);
    }
}
