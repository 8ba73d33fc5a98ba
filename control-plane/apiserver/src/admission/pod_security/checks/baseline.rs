//! `baseline`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Check, Fields, Pod, Violation, containers, is_true, plural, quoted, setters, violation};

pub(super) const CHECKS: &[Check] = &[
    Check { id: "appArmorProfile", overrides: "", versions: &[(0, app_armor)] },
    Check { id: "capabilities_baseline", overrides: "", versions: &[(0, capabilities)] },
    Check { id: "hostNamespaces", overrides: "", versions: &[(0, host_namespaces)] },
    Check { id: "hostPathVolumes", overrides: "", versions: &[(0, host_paths)] },
    Check { id: "hostPorts", overrides: "", versions: &[(0, host_ports)] },
    Check { id: "hostProbesAndHostLifecycle", overrides: "", versions: &[(34, hosts)] },
    Check { id: "privileged", overrides: "", versions: &[(0, privileged)] },
    Check { id: "procMount", overrides: "", versions: &[(0, proc_mount), (35, proc_mount_35)] },
    Check { id: "seLinuxOptions", overrides: "", versions: &[(0, se_linux), (31, se_linux_31)] },
    Check { id: "seccompProfile_baseline", overrides: "", versions: &[(0, seccomp_annotations), (19, seccomp)] },
    Check { id: "sysctls", overrides: "", versions: &[(0, sysctls), (27, sysctls_27), (29, sysctls_29), (32, sysctls_32)] },
    Check { id: "windowsHostProcess", overrides: "", versions: &[(0, windows_host_process)] },
];

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

const CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The sysctls that count for one pod only, with the minor version that came to know it.
const SYSCTLS: &[(u32, &str)] = &[
    (0, "kernel.shm_rmid_forced"),
    (0, "net.ipv4.ip_local_port_range"),
    (0, "net.ipv4.ip_unprivileged_port_start"),
    (0, "net.ipv4.ping_group_range"),
    (0, "net.ipv4.tcp_syncookies"),
    (27, "net.ipv4.ip_local_reserved_ports"),
    (29, "net.ipv4.tcp_fin_timeout"),
    (29, "net.ipv4.tcp_keepalive_intvl"),
    (29, "net.ipv4.tcp_keepalive_probes"),
    (29, "net.ipv4.tcp_keepalive_time"),
    (32, "net.ipv4.tcp_rmem"),
    (32, "net.ipv4.tcp_wmem"),
];

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Types of profiles that are as good as none, or better.
pub(super) fn is_profile(value: &Value) -> bool {
    matches!(text(value), "RuntimeDefault" | "Localhost")
}

fn app_armor(pod: &Pod<'_>) -> Option<Violation> {
    let fields = Fields::of(pod, "/appArmorProfile/type", |kind| !is_profile(kind));
    let allowed = |value: &str| value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
    let annotated = pod.annotations().filter(|(key, value)| key.starts_with(APP_ARMOR) && !allowed(value));
    let annotated: BTreeSet<String> = annotated.map(|(key, value)| format!("{key}={value:?}")).collect();
    let mut setters: Vec<String> = fields.found().then(|| fields.setters()).into_iter().collect();
    if !annotated.is_empty() {
        setters.push(plural("annotation", "annotations", annotated.len()).to_owned());
    }
    if setters.is_empty() {
        return None;
    }
    let values: Vec<String> = fields.values.into_iter().chain(annotated).collect();
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len());
    violation(reason, format!("{} must not set AppArmor profile type to {}", setters.join(" and "), quoted(&values)))
}

fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    let (names, added) = added_capabilities(pod, CAPABILITIES);
    let detail = || format!("{} must not include {} in securityContext.capabilities.add", containers(&names), quoted(&added));
    (!names.is_empty()).then(|| violation("non-default capabilities", detail())).flatten()
}

/// The containers that add others than the allowed ones, and which those are.
pub(super) fn added_capabilities<'a>(pod: &Pod<'a>, allowed: &[&str]) -> (Vec<&'a str>, BTreeSet<&'a str>) {
    let mut added = BTreeSet::new();
    let mut names = Vec::new();
    for container in pod.containers() {
        let list = container.security("/capabilities/add").and_then(Value::as_array).into_iter().flatten();
        let other: Vec<&str> = list.map(text).filter(|capability| !allowed.contains(capability)).collect();
        if !other.is_empty() {
            names.push(container.name());
        }
        added.extend(other);
    }
    (names, added)
}

fn host_namespaces(pod: &Pod<'_>) -> Option<Violation> {
    let shared: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .iter()
        .filter(|field| pod.flag(field))
        .map(|field| format!("{field}=true"))
        .collect();
    (!shared.is_empty()).then(|| violation("host namespaces", shared.join(", "))).flatten()
}

fn host_paths(pod: &Pod<'_>) -> Option<Violation> {
    let named = |volume: &Value| volume.get("name").map(text).unwrap_or_default().to_owned();
    let names: Vec<String> =
        pod.volumes().filter(|volume| volume.get("hostPath").is_some_and(|path| !path.is_null())).map(named).collect();
    let detail = || format!("{} {}", plural("volume", "volumes", names.len()), quoted(&names));
    (!names.is_empty()).then(|| violation("hostPath volumes", detail())).flatten()
}

fn host_ports(pod: &Pod<'_>) -> Option<Violation> {
    let mut ports = BTreeSet::new();
    let mut names = Vec::new();
    for container in pod.containers() {
        let host_port = |port: &Value| port.get("hostPort").and_then(Value::as_i64).filter(|port| *port != 0);
        let own: Vec<String> = container.list("ports").filter_map(host_port).map(|port| port.to_string()).collect();
        if !own.is_empty() {
            names.push(container.name());
        }
        ports.extend(own);
    }
    if names.is_empty() {
        return None;
    }
    let (uses, what) = (plural("uses", "use", names.len()), plural("hostPort", "hostPorts", ports.len()));
    let ports: Vec<String> = ports.into_iter().collect();
    violation("hostPort", format!("{} {uses} {what} {}", containers(&names), ports.join(", ")))
}

fn hosts(pod: &Pod<'_>) -> Option<Violation> {
    const HANDLERS: &[&str] =
        &["/livenessProbe", "/readinessProbe", "/startupProbe", "/lifecycle/postStart", "/lifecycle/preStop"];
    let (mut found, mut names) = (BTreeSet::new(), BTreeSet::new());
    for container in pod.containers() {
        let ways = HANDLERS.iter().flat_map(|handler| ["httpGet", "tcpSocket"].map(|way| format!("{handler}/{way}/host")));
        let own = ways.filter_map(|at| container.0.pointer(&at)).map(text).filter(|host| !host.is_empty());
        for host in own {
            found.insert(host);
            names.insert(container.name());
        }
    }
    if names.is_empty() {
        return None;
    }
    let names: Vec<&str> = names.into_iter().collect();
    let uses = plural("uses", "use", names.len());
    let what = plural("probe or lifecycle host", "probe or lifecycle hosts", found.len());
    violation("probe or lifecycle host", format!("{} {uses} {what} {}", containers(&names), quoted(&found)))
}

fn privileged(pod: &Pod<'_>) -> Option<Violation> {
    let sets = pod.containers().filter(|container| container.security("/privileged").is_some_and(is_true));
    let names: Vec<&str> = sets.map(|container| container.name()).collect();
    let detail = || format!("{} must not set securityContext.privileged=true", containers(&names));
    (!names.is_empty()).then(|| violation("privileged", detail())).flatten()
}

pub(super) fn proc_mount(pod: &Pod<'_>) -> Option<Violation> {
    let mut kinds = BTreeSet::new();
    let mut names = Vec::new();
    for container in pod.containers() {
        if let Some(kind) = container.security("/procMount").map(text).filter(|kind| *kind != "Default") {
            kinds.insert(kind);
            names.push(container.name());
        }
    }
    let detail = || format!("{} must not set securityContext.procMount to {}", containers(&names), quoted(&kinds));
    (!names.is_empty()).then(|| violation("procMount", detail())).flatten()
}

fn proc_mount_35(pod: &Pod<'_>) -> Option<Violation> {
    if pod.has_own_users() { None } else { proc_mount(pod) }
}

fn se_linux(pod: &Pod<'_>) -> Option<Violation> {
    se_linux_of(pod, &["", "container_t", "container_init_t", "container_kvm_t"])
}

fn se_linux_31(pod: &Pod<'_>) -> Option<Violation> {
    se_linux_of(pod, &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"])
}

fn se_linux_of(pod: &Pod<'_>, allowed: &[&str]) -> Option<Violation> {
    let mut types = BTreeSet::new();
    let (mut user, mut role) = (false, false);
    let mut is_wrong = |options: Option<&Value>| {
        let field = |name: &str| options.and_then(|options| options.get(name)).map(text).unwrap_or_default().to_owned();
        let kind = field("type");
        let (sets_user, sets_role, bad) =
            (!field("user").is_empty(), !field("role").is_empty(), !allowed.contains(&kind.as_str()));
        user |= sets_user;
        role |= sets_role;
        types.extend(bad.then_some(kind));
        sets_user || sets_role || bad
    };
    let by_pod = is_wrong(pod.security("/seLinuxOptions"));
    let wrong = pod.containers().filter(|container| is_wrong(container.security("/seLinuxOptions")));
    let names: Vec<&str> = wrong.map(|container| container.name()).collect();
    if !by_pod && names.is_empty() {
        return None;
    }
    let mut what = Vec::new();
    if !types.is_empty() {
        what.push(format!("{} {}", plural("type", "types", types.len()), quoted(&types)));
    }
    what.extend(user.then(|| "user may not be set".to_owned()));
    what.extend(role.then(|| "role may not be set".to_owned()));
    let detail = format!("{} set forbidden securityContext.seLinuxOptions: {}", setters(by_pod, &names), what.join("; "));
    violation("seLinuxOptions", detail)
}

fn seccomp_annotations(pod: &Pod<'_>) -> Option<Violation> {
    let allowed = |value: &str| matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/");
    let names: Vec<&str> = pod.containers().map(|container| container.name()).collect();
    let counts = |key: &str| key == SECCOMP_POD || key.strip_prefix(SECCOMP_CONTAINER).is_some_and(|name| names.contains(&name));
    let wrong = pod.annotations().filter(|(key, value)| counts(key) && !allowed(value));
    let wrong: BTreeSet<String> = wrong.map(|(key, value)| format!("{key}={value:?}")).collect();
    if wrong.is_empty() {
        return None;
    }
    let listed: Vec<String> = wrong.into_iter().collect();
    violation("seccompProfile", format!("forbidden {} {}", plural("annotation", "annotations", listed.len()), listed.join(", ")))
}

pub(super) fn seccomp(pod: &Pod<'_>) -> Option<Violation> {
    let fields = Fields::of(pod, "/seccompProfile/type", |kind| !is_profile(kind));
    let detail =
        || format!("{} must not set securityContext.seccompProfile.type to {}", fields.setters(), quoted(&fields.values));
    fields.found().then(|| violation("seccompProfile", detail())).flatten()
}

fn sysctls(pod: &Pod<'_>) -> Option<Violation> {
    sysctls_of(pod, 0)
}

fn sysctls_27(pod: &Pod<'_>) -> Option<Violation> {
    sysctls_of(pod, 27)
}

fn sysctls_29(pod: &Pod<'_>) -> Option<Violation> {
    sysctls_of(pod, 29)
}

fn sysctls_32(pod: &Pod<'_>) -> Option<Violation> {
    sysctls_of(pod, 32)
}

fn sysctls_of(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    let set = pod.security("/sysctls").and_then(Value::as_array).into_iter().flatten();
    let names = set.filter_map(|sysctl| sysctl.get("name")).map(text);
    let known = |name: &str| SYSCTLS.iter().any(|(since, known)| *since <= minor && *known == name);
    let forbidden: Vec<&str> = names.filter(|name| !known(name)).collect();
    (!forbidden.is_empty()).then(|| violation("forbidden sysctls", forbidden.join(", "))).flatten()
}

fn windows_host_process(pod: &Pod<'_>) -> Option<Violation> {
    let fields = Fields::of(pod, "/windowsOptions/hostProcess", is_true);
    let detail = || format!("{} must not set securityContext.windowsOptions.hostProcess=true", fields.setters());
    fields.found().then(|| violation("hostProcess", detail())).flatten()
}
