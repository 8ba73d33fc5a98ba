//! Fields that a pod of the named operating system cannot have (`core/validation`, `validateLinux` and `validateWindows`).

use serde_json::Value;

use super::super::value::{flag, list, text};
use crate::status::Cause;
use crate::validate::{Path, forbidden, one_of, required};

const NOT_ON_WINDOWS: &str = "cannot be set for a windows pod";
/// Of the pod itself; those that are flags count when they are set.
const OF_PODS: &[&str] = &["hostUsers", "shareProcessNamespace"];
const FLAGS_OF_PODS: &[&str] = &["hostPID", "hostIPC"];
const OF_POD_CONTEXTS: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
];
const OF_CONTEXTS: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

pub(super) fn check_os(spec: &Value, path: &Path, causes: &mut Vec<Cause>) {
    let Some(os) = spec.get("os").filter(|os| !os.is_null()) else { return };
    let os_path = path.field("os");
    let at = os_path.field("name");
    match text(os, "/name") {
        "" => causes.push(required(at, "cannot be empty")),
        "linux" => check_linux(spec, path, causes),
        "windows" => check_windows(spec, path, causes),
        other => causes.extend(one_of(at, other, &["linux", "windows"])),
    }
}

fn check_linux(spec: &Value, path: &Path, causes: &mut Vec<Cause>) {
    each_context(spec, path, &mut |context, at, _| {
        if is_set(context, "windowsOptions") {
            causes.push(forbidden(at.field("windowsOptions"), "windows options cannot be set for a linux pod"));
        }
    });
}

fn check_windows(spec: &Value, path: &Path, causes: &mut Vec<Cause>) {
    let set = OF_PODS.iter().filter(|field| is_set(spec, field));
    for field in set.chain(FLAGS_OF_PODS.iter().filter(|field| flag(spec, &format!("/{field}")))) {
        causes.push(forbidden(path.field(field), NOT_ON_WINDOWS));
    }
    each_context(spec, path, &mut |context, at, is_pods| {
        let fields = if is_pods { OF_POD_CONTEXTS } else { OF_CONTEXTS };
        causes
            .extend(fields.iter().filter(|field| is_set(context, field)).map(|field| forbidden(at.field(field), NOT_ON_WINDOWS)));
    });
}

/// The security contexts of the pod (told by the flag) and of its containers.
fn each_context(spec: &Value, path: &Path, look: &mut dyn FnMut(&Value, &Path, bool)) {
    if is_set(spec, "securityContext") {
        look(&spec["securityContext"], &path.field("securityContext"), true);
    }
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        let containers = path.field(field);
        for (index, container) in list(spec, &format!("/{field}")).iter().enumerate() {
            if is_set(container, "securityContext") {
                look(&container["securityContext"], &containers.index(index).field("securityContext"), false);
            }
        }
    }
}

fn is_set(value: &Value, field: &str) -> bool {
    match value.get(field) {
        None | Some(Value::Null) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(spec: Value) -> Vec<String> {
        let mut causes = Vec::new();
        check_os(&spec, &Path::root("spec"), &mut causes);
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn a_pod_has_only_the_fields_of_its_operating_system() {
        let windows = |spec: Value| {
            let mut all = json!({"os": {"name": "windows"}});
            if let (Some(into), Value::Object(spec)) = (all.as_object_mut(), spec) {
                into.extend(spec);
            }
            told(all)
        };
        let options = json!({"windowsOptions": {"runAsUserName": "a"}});
        assert_eq!(windows(json!({"securityContext": options, "hostPID": false, "hostNetwork": true})), [""; 0]);
        for (spec, field) in [
            (json!({"hostPID": true}), "spec.hostPID"),
            (json!({"hostUsers": false}), "spec.hostUsers"),
            (json!({"securityContext": {"runAsUser": 1}}), "spec.securityContext.runAsUser"),
            (
                json!({"containers": [{"securityContext": {"privileged": false}}]}),
                "spec.containers[0].securityContext.privileged",
            ),
            (
                json!({"initContainers": [{"securityContext": {"capabilities": {}}}]}),
                "spec.initContainers[0].securityContext.capabilities",
            ),
        ] {
            assert_eq!(windows(spec), [format!("{field}: Forbidden: cannot be set for a windows pod")]);
        }
        assert_eq!(
            told(json!({"os": {"name": "linux"}, "securityContext": options, "hostPID": true})),
            ["spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod"]
        );
        assert_eq!(told(json!({"securityContext": options})), [""; 0]);
        assert_eq!(told(json!({"os": {}})), ["spec.os.name: Required value: cannot be empty"]);
        assert_eq!(told(json!({"os": {"name": "plan9"}})).len(), 1);
    }
}
