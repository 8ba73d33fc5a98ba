//! What volumes and environment variables may be made from.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, Pod};

/// A pod on its node.
#[derive(Clone, Copy)]
pub struct PodContext<'a> {
    pub pod: &'a Pod,
    pub node_name: &'a str,
    pub host_ips: &'a [IpAddr],
    /// Empty before the pod has its addresses.
    pub pod_ips: &'a [IpAddr],
    /// Millicores and bytes of the node: what a container without limits may use.
    pub allocatable_cpu: i64,
    pub allocatable_memory: i64,
    /// As whom all of the pod's programs read its files, where that is not what its manifest says: those of Wasm pods.
    pub reader: Option<u32>,
}

impl PodContext<'_> {
    pub fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    pub fn name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    pub fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    pub fn service_account(&self) -> &str {
        self.pod
            .spec
            .as_ref()
            .and_then(|spec| spec.service_account_name.as_deref())
            .filter(|n| !n.is_empty())
            .unwrap_or("default")
    }

    /// The one user as whom all of the pod's containers run, as far as that is known.
    pub(crate) fn user(&self) -> Option<u32> {
        if self.reader.is_some() {
            return self.reader;
        }
        let spec = self.pod.spec.as_ref()?;
        let all = spec.security_context.as_ref().and_then(|context| context.run_as_user);
        let own = |container: &Container| container.security_context.as_ref().and_then(|context| context.run_as_user);
        let mut users = spec.init_containers.iter().flatten().chain(&spec.containers).map(|container| own(container).or(all));
        let first = users.next()??;
        users.all(|user| user == Some(first)).then(|| u32::try_from(first).ok())?
    }

    /// `securityContext.fsGroup`.
    pub fn fs_group(&self) -> Option<u32> {
        let group = self.pod.spec.as_ref()?.security_context.as_ref()?.fs_group?;
        u32::try_from(group).ok()
    }
}
