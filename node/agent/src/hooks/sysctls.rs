//! Which sysctls a pod may set: those that belong to its own namespaces and cannot hurt others (Kubernetes' safe set).

use k8s_openapi::api::core::v1::Pod;

/// Of the network namespace.
const NETWORK: [&str; 11] = [
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];
/// Of the IPC namespace.
const IPC: [&str; 1] = ["kernel.shm_rmid_forced"];

/// The reason and message of a refusal.
pub(crate) fn refuse(pod: &Pod) -> Option<(String, String)> {
    let spec = pod.spec.as_ref()?;
    let asked = spec.security_context.as_ref()?.sysctls.iter().flatten();
    let why = |name: &str| {
        // Slashes are dots.
        let dotted = name.replace('/', ".");
        if NETWORK.contains(&dotted.as_str()) {
            return (spec.host_network == Some(true)).then_some("not allowed with host net enabled");
        }
        if IPC.contains(&dotted.as_str()) {
            return (spec.host_ipc == Some(true)).then_some("not allowed with host ipc enabled");
        }
        Some("not allowlisted")
    };
    let (name, why) = asked.into_iter().find_map(|sysctl| Some((&sysctl.name, why(&sysctl.name)?)))?;
    Some(("SysctlForbidden".to_owned(), format!("forbidden sysctl: {name:?} {why}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_safe_sysctls_of_the_pods_own_namespaces_may_be_set() {
        let refused = |name: &str, host_network: bool| {
            let spec = json!({"containers": [], "hostNetwork": host_network,
                "securityContext": {"sysctls": [{"name": name, "value": "1"}]}});
            refuse(&serde_json::from_value(json!({"spec": spec})).expect("is a pod")).map(|(_, message)| message)
        };
        assert_eq!(refused("net.ipv4.tcp_syncookies", false), None);
        assert_eq!(refused("kernel/shm_rmid_forced", true), None);
        assert_eq!(refused("kernel.msgmax", false).as_deref(), Some("forbidden sysctl: \"kernel.msgmax\" not allowlisted"));
        let shared = refused("net.ipv4.tcp_syncookies", true);
        assert_eq!(shared.as_deref(), Some("forbidden sysctl: \"net.ipv4.tcp_syncookies\" not allowed with host net enabled"));
    }
}
