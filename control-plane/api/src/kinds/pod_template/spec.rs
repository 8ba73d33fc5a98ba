//! `PodSpec` as a whole (`core/validation.ValidatePodSpec`).

use serde_json::Value;

use super::super::value::{entries, flag, int, list, text};
use super::containers::check_containers;
use super::os::check_os;
use super::resources::check_requests;
use super::scheduling::{check_affinity, check_node_labels, check_spreading, check_tolerations};
use super::volumes::check_volumes;
use crate::status::Cause;
use crate::validate::{
    NameRule, Path, check_quantity, complaints, dns1123_label, dns1123_subdomain, duplicate, forbidden, invalid, ip_address,
    one_of, qualified_name, required,
};

/// Whether the spec is a pod's own or a template's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum SpecContext {
    Pod,
    Template,
}

/// The longest name of a sysctl.
const MAX_SYSCTL: usize = 253;

/// Every wrong field of a pod spec that has its defaults.
pub(in super::super) fn check_spec(spec: &Value, path: &Path, context: SpecContext) -> Vec<Cause> {
    let mut causes = Vec::new();
    let volumes = check_volumes(spec, path, &mut causes);
    check_containers(spec, path, context, &volumes, &mut causes);
    if context == SpecContext::Template && !list(spec, "/ephemeralContainers").is_empty() {
        causes.push(forbidden(path.field("ephemeralContainers"), "ephemeral containers not allowed in pod template"));
    }
    causes.extend(one_of(path.field("restartPolicy"), text(spec, "/restartPolicy"), &["Always", "OnFailure", "Never"]));
    check_dns(spec, path, &mut causes);
    check_requests(spec.get("resources"), &path.field("resources"), &mut causes);
    check_host_users(spec, path, &mut causes);
    if let Some(seconds) = spec.get("activeDeadlineSeconds").filter(|seconds| !seconds.is_null())
        && !seconds.as_i64().is_some_and(|seconds| (1..=i64::from(i32::MAX)).contains(&seconds))
    {
        causes.push(invalid(path.field("activeDeadlineSeconds"), seconds, "must be between 1 and 2147483647, inclusive"));
    }
    causes.extend(one_of(path.field("preemptionPolicy"), text(spec, "/preemptionPolicy"), &["Never", "PreemptLowerPriority"]));
    check_os(spec, path, &mut causes);
    check_names(spec, path, &mut causes);
    check_security(spec, path, &mut causes);
    check_node_labels(spec.get("nodeSelector"), &path.field("nodeSelector"), &mut causes);
    check_affinity(spec.get("affinity"), &path.field("affinity"), &mut causes);
    check_tolerations(list(spec, "/tolerations"), &path.field("tolerations"), &mut causes);
    check_spreading(spec, &path.field("topologySpreadConstraints"), &mut causes);
    let gates = path.field("schedulingGates");
    for (index, gate) in list(spec, "/schedulingGates").iter().enumerate() {
        let at = gates.index(index);
        let name = text(gate, "/name");
        causes.extend(complaints(at.field("name"), name, qualified_name(name)));
        if list(spec, "/schedulingGates")[..index].iter().any(|other| text(other, "/name") == name) {
            causes.push(duplicate(at, &name.into()));
        }
    }
    if context == SpecContext::Pod && !text(spec, "/nodeName").is_empty() && !list(spec, "/schedulingGates").is_empty() {
        causes.push(forbidden(path.field("nodeName"), "cannot be set until all schedulingGates have been cleared"));
    }
    causes
}

fn check_dns(spec: &Value, path: &Path, causes: &mut Vec<Cause>) {
    let policy = text(spec, "/dnsPolicy");
    let policies = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    causes.extend(one_of(path.field("dnsPolicy"), policy, &policies));
    let config = path.field("dnsConfig");
    let servers = config.field("nameservers");
    let given = list(spec, "/dnsConfig/nameservers");
    if policy == "None" && spec.get("dnsConfig").is_none_or(Value::is_null) {
        causes.push(required(config, "must provide `dnsConfig` when `dnsPolicy` is None"));
    } else if policy == "None" && given.is_empty() {
        causes.push(required(servers, "must provide at least one DNS nameserver when `dnsPolicy` is None"));
    }
    if given.len() > 3 {
        causes.push(invalid(servers, &Value::Array(given.to_vec()), "must not have more than 3 nameservers"));
    }
    for (index, server) in given.iter().enumerate() {
        let server = server.as_str().unwrap_or("");
        causes.extend(complaints(servers.index(index), server, ip_address(server)));
    }
    check_searches(spec, &config, causes);
    for (index, option) in list(spec, "/dnsConfig/options").iter().enumerate() {
        if text(option, "/name").is_empty() {
            causes.push(required(config.field("options").index(index), "must not be empty"));
        }
    }
}

fn check_searches(spec: &Value, config: &Path, causes: &mut Vec<Cause>) {
    const MAX_PATHS: usize = 32;
    const MAX_CHARACTERS: usize = 2048;
    let at = config.field("searches");
    let all: Vec<&str> = list(spec, "/dnsConfig/searches").iter().filter_map(Value::as_str).collect();
    if all.len() > MAX_PATHS {
        causes.push(invalid(at, &all.clone().into(), format!("must not have more than {MAX_PATHS} search paths")));
    }
    if all.join(" ").len() > MAX_CHARACTERS {
        let why = format!("must not have more than {MAX_CHARACTERS} characters (including spaces) in the search list");
        causes.push(invalid(at, &all.clone().into(), why));
    }
    for (index, search) in all.into_iter().enumerate().filter(|(_, search)| *search != ".") {
        let domain = search.strip_suffix('.').unwrap_or(search);
        // Underscores are let pass, as resolvers take them.
        causes.extend(complaints(at.index(index), domain, dns1123_subdomain(&domain.replace('_', "-"))));
    }
}

fn check_names(spec: &Value, path: &Path, causes: &mut Vec<Cause>) {
    type Check = fn(&str) -> Vec<String>;
    let checks: [(&str, Check); 7] = [
        ("serviceAccountName", dns1123_subdomain),
        ("nodeName", dns1123_subdomain),
        ("hostname", dns1123_label),
        ("subdomain", dns1123_label),
        ("priorityClassName", dns1123_subdomain),
        ("runtimeClassName", dns1123_subdomain),
        ("schedulerName", qualified_name),
    ];
    for (field, check) in checks {
        if let Some(name) = spec.get(field).and_then(Value::as_str).filter(|name| !name.is_empty()) {
            causes.extend(complaints(path.field(field), name, check(name)));
        }
    }
    let aliases = path.field("hostAliases");
    for (index, alias) in list(spec, "/hostAliases").iter().enumerate() {
        let at = aliases.index(index);
        causes.extend(complaints(at.field("ip"), text(alias, "/ip"), ip_address(text(alias, "/ip"))));
        for (number, hostname) in list(alias, "/hostnames").iter().enumerate() {
            let hostname = hostname.as_str().unwrap_or("");
            causes.extend(complaints(at.field("hostnames").index(number), hostname, NameRule::default().check(hostname)));
        }
    }
    let gates = path.field("readinessGates");
    for (index, gate) in list(spec, "/readinessGates").iter().enumerate() {
        let name = text(gate, "/conditionType");
        causes.extend(complaints(gates.index(index).field("conditionType"), name, qualified_name(name)));
    }
}

fn check_sysctls(spec: &Value, path: &Path, causes: &mut Vec<Cause>) {
    let mut seen = std::collections::HashSet::new();
    for (index, sysctl) in list(spec, "/securityContext/sysctls").iter().enumerate() {
        let (entry, name) = (path.index(index), text(sysctl, "/name"));
        let at = entry.field("name");
        if name.is_empty() {
            causes.push(required(at, ""));
        } else if !is_sysctl(name) {
            let why = format!(
                "must have at most {MAX_SYSCTL} characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*\
                 [a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
            );
            causes.push(invalid(at, &name.into(), why));
        } else if !seen.insert(name) {
            causes.push(duplicate(at, &name.into()));
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let alphanumeric = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit());
    let inner = |letter: char| alphanumeric(Some(letter)) || matches!(letter, '-' | '_');
    let segment = |segment: &str| {
        alphanumeric(segment.chars().next()) && alphanumeric(segment.chars().next_back()) && segment.chars().all(inner)
    };
    name.len() <= MAX_SYSCTL && name.split(['.', '/']).all(segment)
}

fn check_security(spec: &Value, path: &Path, causes: &mut Vec<Cause>) {
    let at = path.field("securityContext");
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        if let Some(id) = int(spec, &format!("/securityContext/{field}"))
            && !(0..=i64::from(i32::MAX)).contains(&id)
        {
            causes.push(invalid(at.field(field), &id.into(), "must be between 0 and 2147483647, inclusive"));
        }
    }
    let policies = ["OnRootMismatch", "Always"];
    causes.extend(one_of(at.field("fsGroupChangePolicy"), text(spec, "/securityContext/fsGroupChangePolicy"), &policies));
    check_profiles(spec.get("securityContext"), &at, causes);
    check_sysctls(spec, &at.field("sysctls"), causes);
    if flag(spec, "/shareProcessNamespace") && flag(spec, "/hostPID") {
        causes.push(invalid(
            path.field("shareProcessNamespace"),
            &true.into(),
            "ShareProcessNamespace and HostPID cannot both be enabled",
        ));
    }
    let overhead = path.field("overhead");
    for (name, amount) in entries(spec, "/overhead") {
        check_quantity(amount, &overhead.key(name), causes);
    }
}

/// A pod with users of its own shares no namespace with the node.
fn check_host_users(spec: &Value, path: &Path, causes: &mut Vec<Cause>) {
    if spec.get("hostUsers") != Some(&Value::Bool(false)) {
        return;
    }
    for field in ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|field| flag(spec, &format!("/{field}"))) {
        causes.push(forbidden(path.field(field), "when `hostUsers` is false"));
    }
}

/// What confines a pod or a container: its seccomp and its AppArmor profile.
pub(super) fn check_profiles(context: Option<&Value>, path: &Path, causes: &mut Vec<Cause>) {
    check_seccomp(context, path, causes);
    let Some(profile) = context.and_then(|context| context.get("appArmorProfile")).filter(|profile| !profile.is_null()) else {
        return;
    };
    let at = path.field("appArmorProfile");
    let local = text(profile, "/localhostProfile");
    match text(profile, "/type") {
        "" => causes.push(required(at.field("type"), "type is required when appArmorProfile is set")),
        "Localhost" if local.trim().is_empty() => {
            causes.push(required(at.field("localhostProfile"), "must be set when AppArmor type is Localhost"));
        }
        "Localhost" => {}
        kind => {
            causes.extend(one_of(at.field("type"), kind, &["Localhost", "RuntimeDefault", "Unconfined"]));
            if !local.is_empty() {
                let why = "can only be set when AppArmor type is Localhost";
                causes.push(invalid(at.field("localhostProfile"), &local.into(), why));
            }
        }
    }
}

fn check_seccomp(context: Option<&Value>, path: &Path, causes: &mut Vec<Cause>) {
    let Some(profile) = context.and_then(|context| context.get("seccompProfile")).filter(|profile| !profile.is_null()) else {
        return;
    };
    let at = path.field("seccompProfile");
    let local = text(profile, "/localhostProfile");
    match text(profile, "/type") {
        "" => causes.push(required(at.field("type"), "")),
        "Localhost" if local.is_empty() => {
            causes.push(required(at.field("localhostProfile"), "must be set when seccomp type is Localhost"));
        }
        "Localhost" => {}
        kind => {
            causes.extend(one_of(at.field("type"), kind, &["Localhost", "RuntimeDefault", "Unconfined"]));
            if !local.is_empty() {
                causes.push(invalid(
                    at.field("localhostProfile"),
                    &local.into(),
                    "can only be set when seccomp type is Localhost",
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::default_pod;
    use super::*;

    /// The complaints about a pod with one right container and the given changes of its spec and container.
    fn wrong(spec: Value, container: Value) -> Vec<String> {
        let mut pod = json!({"spec": {"containers": [{"name": "a", "image": "b"}]}});
        let merge = |target: &mut Value, changes: Value| {
            if let (Some(target), Value::Object(changes)) = (target.as_object_mut(), changes) {
                target.extend(changes);
            }
        };
        merge(&mut pod["spec"]["containers"][0], container);
        merge(&mut pod["spec"], spec);
        default_pod(&mut pod);
        let causes = check_spec(&pod["spec"], &Path::root("spec"), SpecContext::Pod);
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn a_pod_that_uses_everything_rightly_passes() {
        let spec = json!({
            "volumes": [{"name": "v"}, {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}},
                {"configMap": {"name": "c", "items": [{"key": "k", "path": "p"}]}},
                {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}]}}],
            "initContainers": [{"name": "i", "image": "x"}, {"name": "s", "image": "x", "restartPolicy": "Always",
                "startupProbe": {"exec": {"command": ["true"]}}}],
            "tolerations": [{"operator": "Exists"}, {"key": "a", "effect": "NoExecute", "tolerationSeconds": 1}],
            "nodeSelector": {"a": "b"}, "hostname": "h", "securityContext": {"runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}},
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "n", "operator": "Gt", "values": ["1"]}], "matchFields": [
                    {"key": "metadata.name", "operator": "In", "values": ["x"]}]}]}}},
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
        });
        let container = json!({
            "ports": [{"name": "http", "containerPort": 80, "hostPort": 8080}], "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "env": [{"name": "A", "value": "b"}, {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a.b/c']"}}}],
            "envFrom": [{"secretRef": {"name": "s"}}], "readinessProbe": {"httpGet": {"port": "http"}, "successThreshold": 2},
            "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1000m", "example.com/gpu": 1}},
            "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
        });
        assert_eq!(wrong(spec, container), Vec::<String>::new());
    }

    #[test]
    fn wrong_containers_are_named_in_the_words_of_kubernetes() {
        for (container, complaint) in [
            (json!({"name": ""}), "spec.containers[0].name: Required value"),
            (json!({"name": "A"}), "spec.containers[0].name: Invalid value: \"A\": a lowercase RFC 1123 label must consist"),
            (json!({"image": ""}), "spec.containers[0].image: Required value"),
            (
                json!({"imagePullPolicy": "Often"}),
                "spec.containers[0].imagePullPolicy: Unsupported value: \"Often\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
            ),
            (json!({"ports": [{}]}), "spec.containers[0].ports[0].containerPort: Required value"),
            (
                json!({"ports": [{"containerPort": 70000}]}),
                "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ),
            (json!({"env": [{"name": "A=B"}]}), "spec.containers[0].env[0].name: Invalid value: \"A=B\": a valid environment"),
            (
                json!({"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
                "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
            ),
            (
                json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]}),
                "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"spec.x\": supported values: \"metadata.name\"",
            ),
            (
                json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}),
                "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
            ),
            (
                json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}),
                "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
            ),
            (
                json!({"resources": {"claims": [{"name": "x"}]}}),
                "spec.containers[0].resources.claims[0]: Not found: \"x\": must be one of the names in pod.spec.resourceClaims",
            ),
            (json!({"livenessProbe": {}}), "spec.containers[0].livenessProbe: Required value: must specify a handler type"),
            (
                json!({"livenessProbe": {"exec": {"command": ["x"]}, "successThreshold": 2}}),
                "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
            ),
            (
                json!({"readinessProbe": {"tcpSocket": {"port": 1}, "exec": {"command": ["x"]}}}),
                "spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
            ),
            (
                json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": false}}),
                "spec.containers[0].securityContext: Invalid value: {\"allowPrivilegeEscalation\":false,\"privileged\":true}: cannot set",
            ),
            (
                json!({"securityContext": {"capabilities": {"add": ["SYS_ADMIN", "CAP_SYS_ADMIN"]}, "allowPrivilegeEscalation": false}}),
                "spec.containers[0].securityContext: Invalid value:",
            ),
        ] {
            let complaints = wrong(json!({}), container.clone());
            assert!(complaints.len() == 1 && complaints[0].starts_with(complaint), "{container}: {complaints:?}");
        }
    }

    #[test]
    fn wrong_specs_are_named_in_the_words_of_kubernetes() {
        for (spec, complaint) in [
            (json!({"containers": []}), "spec.containers: Required value"),
            (
                json!({"securityContext": {"sysctls": [{"name": "kernel.shmmax", "value": "1"}, {"name": "net/a-b.c", "value": "1"},
                    {"name": "bar..", "value": "1"}]}}),
                "spec.securityContext.sysctls[2].name: Invalid value: \"bar..\": must have at most 253 characters and match",
            ),
            (
                json!({"restartPolicy": "Sometimes"}),
                "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"",
            ),
            (json!({"initContainers": [{"name": "a", "image": "x"}]}), "spec.initContainers[0].name: Duplicate value: \"a\""),
            (
                json!({"initContainers": [{"name": "i", "image": "x", "livenessProbe": {"exec": {"command": ["x"]}}}]}),
                "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
            ),
            (json!({"volumes": [{"name": "v", "secret": {}}]}), "spec.volumes[0].secret.secretName: Required value"),
            (
                json!({"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]}),
                "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
            ),
            (
                json!({"volumes": [{"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "../x"}]}}]}),
                "spec.volumes[0].configMap.items[0].path: Invalid value: \"../x\": must not contain '..'",
            ),
            (
                json!({"tolerations": [{"key": "a", "operator": "Near"}]}),
                "spec.tolerations[0].operator: Unsupported value: \"Near\"",
            ),
            (json!({"nodeSelector": {"a": "-"}}), "spec.nodeSelector: Invalid value: \"-\": a valid label must"),
            (json!({"hostUsers": false, "hostNetwork": true}), "spec.hostNetwork: Forbidden: when `hostUsers` is false"),
            (
                json!({"securityContext": {"appArmorProfile": {"type": "X"}}}),
                "spec.securityContext.appArmorProfile.type: Unsupported value: \"X\": supported values: \"Localhost\"",
            ),
            (
                json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}),
                "spec.resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
            ),
            (json!({"dnsPolicy": "None"}), "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"),
            (
                json!({"activeDeadlineSeconds": 0}),
                "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647",
            ),
            (
                json!({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway"}]}),
                "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
            ),
        ] {
            let complaints = wrong(spec.clone(), json!({}));
            assert!(complaints.len() == 1 && complaints[0].starts_with(complaint), "{spec}: {complaints:?}");
        }
    }

    #[test]
    fn a_template_may_leave_host_ports_to_the_pods_defaults() {
        let spec = |host: u16| {
            json!({"hostNetwork": true, "containers": [{"name": "a", "image": "b", "ports": [
            {"containerPort": 80, "hostPort": host, "protocol": "TCP"}]}]})
        };
        let count = |host, context| check_spec(&spec(host), &Path::root("spec"), context).len();
        assert_eq!(
            (count(0, SpecContext::Template), count(80, SpecContext::Template), count(81, SpecContext::Template)),
            (0, 0, 1)
        );
        assert_eq!((count(0, SpecContext::Pod), count(80, SpecContext::Pod)), (1, 0));
    }

    #[test]
    fn wrong_types_do_not_panic() {
        for spec in [
            json!(null),
            json!([]),
            json!({"containers": 1, "volumes": {}, "tolerations": "x", "affinity": 1}),
            json!({"containers": [1, null]}),
        ] {
            check_spec(&spec, &Path::root("spec"), SpecContext::Template);
        }
    }
}
