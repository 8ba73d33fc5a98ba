use serde_json::{Value, json};

use super::*;

fn said(level: Level, minor: Option<u32>, pod: &Value) -> String {
    in_detail(&violations(Standard { level, minor }, &Pod::of(pod)))
}

fn baseline(pod: &Value) -> String {
    said(Level::Baseline, None, pod)
}

fn restricted(pod: &Value) -> String {
    said(Level::Restricted, None, pod)
}

/// A pod of one container `a`, with these fields of the container and of the pod.
fn pod(container: Value, spec: Value) -> Value {
    let mut pod = json!({"metadata": {}, "spec": spec});
    pod["spec"]["containers"] = json!([container]);
    pod["spec"]["containers"][0]["name"] = json!("a");
    pod
}

fn with(security: Value) -> Value {
    pod(json!({"securityContext": security}), json!({}))
}

fn good() -> Value {
    let own = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    pod(
        json!({"securityContext": own}),
        json!({"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}}),
    )
}

#[test]
fn what_is_plain_passes_baseline_and_names_what_restricted_asks_for() {
    let plain = pod(json!({}), json!({}));
    assert_eq!(baseline(&plain), "");
    assert_eq!(
        restricted(&plain),
        "allowPrivilegeEscalation != false (container \"a\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"]), \
         runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true), \
         seccompProfile (pod or container \"a\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
    assert_eq!(restricted(&good()), "");
    assert_eq!(said(Level::Privileged, None, &with(json!({"privileged": true}))), "");
}

#[test]
fn baseline_shuts_known_ways_to_more_privileges() {
    for (pod, why) in [
        (with(json!({"privileged": true})), "privileged (container \"a\" must not set securityContext.privileged=true)"),
        (
            with(json!({"capabilities": {"add": ["SYS_ADMIN", "NET_RAW", "CHOWN"]}})),
            "non-default capabilities (container \"a\" must not include \"NET_RAW\", \"SYS_ADMIN\" in securityContext.capabilities.add)",
        ),
        (pod(json!({}), json!({"hostNetwork": true, "hostIPC": true})), "host namespaces (hostNetwork=true, hostIPC=true)"),
        (pod(json!({}), json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]})), "hostPath volumes (volume \"v\")"),
        (
            pod(json!({"ports": [{"hostPort": 80}, {"hostPort": 443}]}), json!({})),
            "hostPort (container \"a\" uses hostPorts 443, 80)",
        ),
        (
            pod(json!({"livenessProbe": {"httpGet": {"host": "10.0.0.1"}}}), json!({})),
            "probe or lifecycle host (container \"a\" uses probe or lifecycle host \"10.0.0.1\")",
        ),
        (
            with(json!({"appArmorProfile": {"type": "Unconfined"}})),
            "forbidden AppArmor profile (container \"a\" must not set AppArmor profile type to \"Unconfined\")",
        ),
        (
            with(json!({"procMount": "Unmasked"})),
            "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            pod(json!({}), json!({"securityContext": {"seLinuxOptions": {"type": "spc_t", "user": "u"}}})),
            "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"spc_t\"; user may not be set)",
        ),
        (
            with(json!({"seccompProfile": {"type": "Unconfined"}})),
            "seccompProfile (container \"a\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            pod(json!({}), json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax"}, {"name": "net.ipv4.tcp_rmem"}]}})),
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            pod(json!({}), json!({"securityContext": {"windowsOptions": {"hostProcess": true}}})),
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
    ] {
        assert_eq!(baseline(&pod), why);
    }
}

#[test]
fn restricted_holds_init_and_ephemeral_containers_to_it_too() {
    let mut both = good();
    both["spec"]["initContainers"] = json!([{"name": "i"}]);
    both["spec"]["ephemeralContainers"] = json!([{"name": "e"}]);
    let said = restricted(&both);
    assert!(said.starts_with("allowPrivilegeEscalation != false (containers \"i\", \"e\" must set"), "{said}");
    assert!(!said.contains("runAsNonRoot") && !said.contains("seccompProfile"), "the pod says those: {said}");
}

#[test]
fn restricted_names_volumes_users_and_added_capabilities() {
    let mut pod = good();
    pod["spec"]["volumes"] =
        json!([{"name": "n", "nfs": {}}, {"name": "h", "hostPath": {"path": "/"}}, {"name": "e", "emptyDir": {}}, {"name": "x"}]);
    assert_eq!(
        restricted(&pod),
        "restricted volume types (volumes \"n\", \"h\", \"x\" use restricted volume types \"hostPath\", \"nfs\", \"unknown\")"
    );
    let mut pod = good();
    pod["spec"]["securityContext"]["runAsUser"] = json!(0);
    pod["spec"]["containers"][0]["securityContext"]["runAsUser"] = json!(0);
    pod["spec"]["containers"][0]["securityContext"]["capabilities"]["add"] = json!(["NET_BIND_SERVICE", "CHOWN"]);
    pod["spec"]["containers"][0]["securityContext"]["runAsNonRoot"] = json!(false);
    assert_eq!(
        restricted(&pod),
        "unrestricted capabilities (container \"a\" must not include \"CHOWN\" in securityContext.capabilities.add), \
         runAsNonRoot != true (container \"a\" must not set securityContext.runAsNonRoot=false), \
         runAsUser=0 (pod and container \"a\" must not set runAsUser=0)"
    );
}

#[test]
fn a_version_asks_what_it_asked_then() {
    let plain = pod(json!({}), json!({}));
    assert_eq!(said(Level::Restricted, Some(7), &plain).matches("must set").count(), 1, "only to run as somebody");
    assert_eq!(said(Level::Restricted, Some(18), &plain).matches("must set").count(), 2);
    assert_eq!(said(Level::Restricted, Some(22), &plain).matches("must set").count(), 4);
    assert_eq!(said(Level::Restricted, Some(99), &plain), restricted(&plain), "a version to come is the latest");
    let probe = pod(json!({"startupProbe": {"tcpSocket": {"host": "h"}}}), json!({}));
    assert_eq!(said(Level::Baseline, Some(33), &probe), "");
    let sysctl = pod(json!({}), json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}}));
    assert_eq!(said(Level::Baseline, Some(31), &sysctl), "forbidden sysctls (net.ipv4.tcp_rmem)");
    let mut annotated = plain.clone();
    annotated["metadata"]["annotations"] = json!({"seccomp.security.alpha.kubernetes.io/pod": "unconfined"});
    let why = "seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")";
    assert_eq!(said(Level::Baseline, Some(18), &annotated), why);
    assert_eq!(said(Level::Baseline, Some(19), &annotated), "");
}

#[test]
fn pods_for_windows_and_in_user_namespaces_are_held_to_less() {
    let windows = pod(json!({}), json!({"os": {"name": "windows"}, "securityContext": {"runAsNonRoot": true}}));
    assert_eq!(restricted(&windows), "");
    assert_ne!(said(Level::Restricted, Some(24), &windows), "");
    let mut own_users = good();
    own_users["spec"]["hostUsers"] = json!(false);
    own_users["spec"]["securityContext"] = json!({"runAsUser": 0, "seccompProfile": {"type": "Localhost"}});
    assert_eq!(restricted(&own_users), "");
    assert_ne!(said(Level::Restricted, Some(34), &own_users), "");
}
