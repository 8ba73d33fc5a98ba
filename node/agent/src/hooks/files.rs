//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a pod, shared by its containers.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use tokio::io::AsyncReadExt as _;

use super::resolv_conf::{self, Cluster};
use crate::error::HookError;
use crate::shared::{Shared, about};

/// `utsname.nodename`.
const LONGEST_HOSTNAME: usize = 64;

/// `spec.hostname`, or the pod's name; no longer than the kernel takes.
pub(crate) fn hostname(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let own = spec.and_then(|spec| spec.hostname.as_deref()).filter(|name| !name.is_empty());
    let name = own.or(pod.metadata.name.as_deref()).unwrap_or_default();
    let cut: String = name.chars().take(63).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

/// `<hostname>.<subdomain>.<namespace>.svc.<cluster domain>` of a pod with a subdomain.
fn fqdn(pod: &Pod, domain: &str) -> Option<String> {
    let subdomain = pod.spec.as_ref()?.subdomain.as_deref().filter(|name| !name.is_empty())?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    Some(format!("{}.{subdomain}.{namespace}.svc.{domain}", hostname(pod)))
}

/// What the kernel calls the pod: its host name, or with `setHostnameAsFQDN` all of its name in the cluster's `domain`.
///
/// # Errors
/// When that is longer than the kernel takes.
pub(crate) fn kernel_hostname(pod: &Pod, domain: &str) -> Result<String, HookError> {
    let whole = pod.spec.as_ref().is_some_and(|spec| spec.set_hostname_as_fqdn == Some(true));
    match fqdn(pod, domain).filter(|_| whole) {
        Some(fqdn) if fqdn.len() > LONGEST_HOSTNAME => Err(HookError::Config(format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {fqdn} is too long \
             ({LONGEST_HOSTNAME} characters is the max, {} characters requested)",
            fqdn.len()
        ))),
        Some(fqdn) => Ok(fqdn),
        None => Ok(hostname(pod)),
    }
}

pub(crate) fn dir(shared: &Shared, pod: &Pod) -> PathBuf {
    shared.volumes.pod_dir(pod.metadata.uid.as_deref().unwrap_or_default()).join("etc")
}

pub(crate) async fn write(shared: &Shared, pod: &Pod, addresses: &[IpAddr]) -> Result<(), HookError> {
    let dir = dir(shared, pod);
    tokio::fs::create_dir_all(&dir).await.map_err(HookError::io("create", &dir))?;
    let names = &shared.names;
    let host_network = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false);
    let host_hosts = if host_network { tokio::fs::read_to_string("/etc/hosts").await.ok() } else { None };
    let host_resolv = tokio::fs::read_to_string(&names.resolv_conf).await.unwrap_or_default();
    let cluster = Cluster { servers: &names.servers, domain: &names.domain };
    let resolv = resolv_conf::compose(pod, &cluster, &host_resolv);
    for (name, text) in [
        ("hosts", hosts(pod, &names.domain, addresses, host_hosts.as_deref())),
        ("hostname", format!("{}\n", kernel_hostname(pod, &names.domain)?)),
        ("resolv.conf", resolv.text),
    ] {
        let path = dir.join(name);
        // In place: containers have the file itself mounted, which a rename would not reach.
        if holds(&path, &text).await {
            continue;
        }
        tokio::fs::write(&path, text).await.map_err(HookError::io("write", &path))?;
        if name == "resolv.conf" {
            for omitted in &resolv.omitted {
                shared.recorder.warning(&about(pod, None), "DNSConfigForming", omitted);
            }
        }
    }
    Ok(())
}

/// Whether the file has this text and nothing else. Containers write to it what they like, so no more of it is read than that.
async fn holds(path: &Path, text: &str) -> bool {
    let Ok(file) = tokio::fs::File::open(path).await else { return false };
    let mut present = Vec::with_capacity(text.len() + 1);
    let read = file.take(text.len() as u64 + 1).read_to_end(&mut present).await;
    read.is_ok() && present == text.as_bytes()
}

fn hosts(pod: &Pod, domain: &str, addresses: &[IpAddr], of_host: Option<&str>) -> String {
    let mut text = match of_host {
        Some(text) => text.to_owned(),
        None => "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
            fe00::\tip6-localnet\nfe00::\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
            .to_owned(),
    };
    if of_host.is_none() {
        for address in addresses {
            // Writing into a String cannot fail.
            let whole = fqdn(pod, domain).map(|fqdn| format!("{fqdn}\t")).unwrap_or_default();
            let _ = writeln!(text, "{address}\t{whole}{}", hostname(pod));
        }
    }
    let aliases = pod.spec.as_ref().and_then(|spec| spec.host_aliases.as_deref()).unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in aliases {
        let _ = writeln!(
            text,
            "{}\t{}",
            alias.ip,
            alias.hostnames.iter().flatten().map(String::as_str).collect::<Vec<_>>().join("\t")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "web-0"}, "spec": spec})).expect("is a pod")
    }

    const DOMAIN: &str = "cluster.local";

    #[test]
    fn a_pod_with_a_subdomain_has_a_whole_name_which_is_the_hosts_if_that_is_asked_for() {
        let named = |namespace: &str, whole: bool| -> Pod {
            let spec = json!({"containers": [], "hostname": "db", "subdomain": "sql", "setHostnameAsFQDN": whole});
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": namespace}, "spec": spec})).expect("is a pod")
        };
        assert_eq!(kernel_hostname(&named("n", false), DOMAIN).expect("fits"), "db");
        assert_eq!(kernel_hostname(&named("n", true), DOMAIN).expect("fits"), "db.sql.n.svc.cluster.local");
        let address = ["10.1.2.3".parse().expect("is an address")];
        assert!(hosts(&named("n", false), DOMAIN, &address, None).ends_with("10.1.2.3\tdb.sql.n.svc.cluster.local\tdb\n"));
        let error = kernel_hostname(&named(&"n".repeat(50), true), DOMAIN).expect_err("is too long").to_string();
        assert!(error.contains("is too long (64 characters is the max, 75 characters requested)"), "{error}");
    }

    #[tokio::test]
    async fn a_file_that_a_container_has_made_long_is_known_to_be_another() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let path = dir.path().join("hosts");
        assert!(!holds(&path, "").await, "there is none");
        std::fs::write(&path, "text").expect("writes");
        assert!(holds(&path, "text").await && !holds(&path, "tex").await && !holds(&path, "texts").await);
        // More than any machine has memory for.
        std::fs::File::options().write(true).open(&path).and_then(|file| file.set_len(1 << 42)).expect("grows");
        assert!(!holds(&path, "text").await);
    }

    #[test]
    fn hosts_has_the_pod_and_its_aliases() {
        let pod = pod(json!({"containers": [], "hostAliases": [{"ip": "192.0.2.7", "hostnames": ["a", "b"]}]}));
        let text = hosts(&pod, DOMAIN, &["10.1.2.3".parse().expect("is an address")], None);
        assert!(
            text.contains("127.0.0.1\tlocalhost\n") && text.contains("10.1.2.3\tweb-0\n") && text.ends_with("192.0.2.7\ta\tb\n"),
            "{text}"
        );
    }
}
