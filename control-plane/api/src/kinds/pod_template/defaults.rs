//! What Kubernetes fills in (`core/v1/defaults.go`) beyond the schema's constants.

use serde_json::{Value, json};

use super::super::value::{child, fill, flag, list_mut, text};

use crate::Pointed as _;

const FILE_MODE: i64 = 0o644;

/// Defaults of a pod itself: those of its spec, and what templates do not get.
pub(in super::super) fn default_pod(pod: &mut Value) {
    let Some(spec) = child(pod, "spec") else { return };
    fill(spec, "enableServiceLinks", true);
    let host_network = flag(spec, "/hostNetwork");
    for field in ["/containers", "/initContainers"] {
        for container in list_mut(spec, field) {
            requests_from_limits(container);
            if host_network {
                for port in list_mut(container, "/ports") {
                    if let Some(number) = port.get("containerPort").cloned()
                        && port.get("hostPort").and_then(Value::as_i64).unwrap_or(0) == 0
                    {
                        fill_number(port, "hostPort", number);
                    }
                }
            }
        }
    }
    if spec.get("resources").is_some() {
        requests_from_limits(spec);
    }
    default_spec(spec);
}

/// Defaults of a workload's `template`.
pub(in super::super) fn default_template(template: &mut Value) {
    if let Some(spec) = child(template, "spec") {
        default_spec(spec);
    }
}

fn default_spec(spec: &mut Value) {
    fill(spec, "dnsPolicy", "ClusterFirst");
    fill(spec, "restartPolicy", "Always");
    fill(spec, "schedulerName", "default-scheduler");
    fill(spec, "terminationGracePeriodSeconds", 30);
    fill(spec, "securityContext", json!({}));
    // The old name of the field still mirrors the new one.
    let account = match text(spec, "/serviceAccountName") {
        "" => text(spec, "/serviceAccount").to_owned(),
        name => name.to_owned(),
    };
    if !account.is_empty() {
        spec["serviceAccountName"] = account.clone().into();
        spec["serviceAccount"] = account.into();
    }
    list_mut(spec, "/volumes").for_each(default_volume);
    for field in ["/containers", "/initContainers", "/ephemeralContainers"] {
        list_mut(spec, field).for_each(default_container);
    }
}

fn fill_number(value: &mut Value, key: &str, number: Value) {
    if let Some(object) = value.as_object_mut() {
        object.insert(key.to_owned(), number);
    }
}

fn requests_from_limits(holder: &mut Value) {
    let Some(limits) = holder.at("/resources/limits").and_then(Value::as_object).cloned() else { return };
    let Some(requests) = holder.get_mut("resources").and_then(|resources| child(resources, "requests")) else { return };
    for (name, limit) in limits {
        fill(requests, &name, limit);
    }
}

fn default_container(container: &mut Value) {
    if container.as_object().is_none() {
        return;
    }
    let policy = pull_policy(text(container, "/image"));
    fill(container, "imagePullPolicy", policy);
    fill(container, "terminationMessagePath", "/dev/termination-log");
    fill(container, "terminationMessagePolicy", "File");
    fill(container, "resources", json!({}));
    for port in list_mut(container, "/ports") {
        fill(port, "protocol", "TCP");
    }
    for variable in list_mut(container, "/env") {
        if let Some(source) = variable.get_mut("valueFrom") {
            default_field_reference(source);
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe).filter(|probe| probe.is_object()) {
            default_probe(probe);
        }
    }
    for hook in ["/lifecycle/postStart/httpGet", "/lifecycle/preStop/httpGet"] {
        if let Some(get) = container.pointer_mut(hook) {
            default_http_get(get);
        }
    }
}

/// `latest` (or no tag) changes under its name, so it is pulled each time.
fn pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.split_once(':') {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

fn default_probe(probe: &mut Value) {
    for (field, default) in [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)] {
        // Zero is Go's word for absent.
        if probe.get(field).and_then(Value::as_i64).unwrap_or(0) == 0 {
            fill_number(probe, field, default.into());
        }
    }
    if let Some(get) = probe.get_mut("httpGet") {
        default_http_get(get);
    }
    if let Some(grpc) = probe.get_mut("grpc")
        && grpc.get("service").is_none()
    {
        fill_number(grpc, "service", "".into());
    }
}

fn default_http_get(get: &mut Value) {
    fill(get, "path", "/");
    fill(get, "scheme", "HTTP");
}

/// `fieldRef` and `resourceFieldRef`, in environment variables and downward API files.
fn default_field_reference(source: &mut Value) {
    if let Some(field) = source.get_mut("fieldRef") {
        fill(field, "apiVersion", "v1");
    }
    if let Some(resource) = source.get_mut("resourceFieldRef") {
        fill(resource, "divisor", "0");
    }
}

fn default_volume(volume: &mut Value) {
    let Some(object) = volume.as_object_mut() else { return };
    if object.keys().all(|key| key == "name") {
        object.insert("emptyDir".to_owned(), json!({}));
    }
    for (source, value) in object.iter_mut() {
        match source.as_str() {
            "secret" | "configMap" => fill(value, "defaultMode", FILE_MODE),
            "downwardAPI" => {
                fill(value, "defaultMode", FILE_MODE);
                list_mut(value, "/items").for_each(default_field_reference);
            }
            "projected" => {
                fill(value, "defaultMode", FILE_MODE);
                for source in list_mut(value, "/sources") {
                    list_mut(source, "/downwardAPI/items").for_each(default_field_reference);
                    if let Some(token) = source.get_mut("serviceAccountToken") {
                        fill(token, "expirationSeconds", 3600);
                    }
                }
            }
            "hostPath" if value.get("type").is_none() => {
                fill_number(value, "type", "".into());
            }
            "ephemeral" => {
                if let Some(spec) = value.pointer_mut("/volumeClaimTemplate/spec") {
                    fill(spec, "volumeMode", "Filesystem");
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minimal_pod_gets_the_defaults_of_kubernetes() {
        let mut pod = json!({"spec": {"containers": [{
            "name": "a", "image": "nginx", "ports": [{"containerPort": 80}],
            "livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 0},
            "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "resources": {"limits": {"cpu": "1"}, "requests": {"memory": "1Mi"}}, "unknown": 1,
        }], "volumes": [{"name": "v"}, {"name": "c", "configMap": {"name": "c"}}, {"name": "h", "hostPath": {"path": "/x"}}]}});
        default_pod(&mut pod);
        let expected = json!({"spec": {
            "containers": [{
                "name": "a", "image": "nginx", "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "livenessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
                    "successThreshold": 1, "failureThreshold": 3},
                "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP", "apiVersion": "v1"}}}],
                "resources": {"limits": {"cpu": "1"}, "requests": {"memory": "1Mi", "cpu": "1"}}, "unknown": 1,
                "imagePullPolicy": "Always", "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
            "volumes": [{"name": "v", "emptyDir": {}}, {"name": "c", "configMap": {"name": "c", "defaultMode": 420}},
                {"name": "h", "hostPath": {"path": "/x", "type": ""}}],
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
            "terminationGracePeriodSeconds": 30, "securityContext": {}, "enableServiceLinks": true,
        }});
        assert_eq!(pod, expected);
        let once = pod.clone();
        default_pod(&mut pod);
        assert_eq!(pod, once, "defaulting twice changes nothing");
    }

    #[test]
    fn a_template_does_not_get_what_only_pods_get() {
        let mut template = json!({"spec": {"serviceAccountName": "sa", "containers": [{"resources": {"limits": {"cpu": "1"}}}]}});
        default_template(&mut template);
        assert!(template["spec"].get("enableServiceLinks").is_none());
        assert!(template["spec"]["containers"][0]["resources"].get("requests").is_none());
        assert_eq!(template["spec"]["serviceAccount"], "sa");
    }

    #[test]
    fn host_network_gives_ports_their_host_port() {
        let mut pod = json!({"spec": {"hostNetwork": true, "containers": [{"ports": [{"containerPort": 80}]}]}});
        default_pod(&mut pod);
        assert_eq!(pod["spec"]["containers"][0]["ports"][0]["hostPort"], 80);
    }

    #[test]
    fn the_pull_policy_follows_from_the_tag() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.2", "IfNotPresent"),
            ("localhost:5000/nginx", "Always"),
            ("localhost:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:00", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }

    #[test]
    fn documents_of_wrong_types_are_left_for_the_checks() {
        for mut pod in [
            json!(1),
            json!({"spec": []}),
            json!({"spec": {"containers": {}, "volumes": [1, null]}}),
            json!({"spec": {"containers": ["x"]}}),
        ] {
            default_pod(&mut pod);
        }
    }
}
