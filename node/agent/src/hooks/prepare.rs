//! Cgroup, network and volumes of a pod.

use k8s_openapi::api::core::v1::Pod;
use mizzen_network::{HostPort, PodNetwork, PodRequest, Protocol};
use mizzen_volumes::{Mounted, VolumeError};

use super::wishes::Wishes;
use super::{files, pull, runtime_class};
use crate::cgroups;
use crate::error::HookError;
use crate::shared::Shared;
use crate::spec::resources;

/// What a pod's containers share, ready to be used.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ready {
    pub(crate) network: PodNetwork,
    pub(crate) mounted: Mounted,
    /// The pod's, relative to each hierarchy's root.
    pub(crate) cgroup: String,
    /// There was nothing but Wasm programs, so the cgroup is not there yet: their hosts have cgroups of their own. `None`
    /// while no image says what the pod is: it has its volumes, and an address that is kept for it, but no network yet.
    pub(crate) wasm: Option<bool>,
}

pub(crate) async fn prepare(shared: &Shared, pod: &Pod, wasm: Option<bool>) -> Result<Ready, HookError> {
    runtime_class::check(shared, pod, wasm).await?;
    // Volumes show nothing of the network: what the downward API tells of it is for environments only.
    let volumes = async {
        stack_images(shared, pod).await?;
        let made = shared.volumes.setup(&shared.context(pod, &[], wasm == Some(true))).await;
        made.map_err(|(volume, source)| HookError::Volume { volume, source })
    };
    let bounded = async { if wasm == Some(false) { make_cgroup(shared, pod).await } else { Ok(()) } };
    let (bounded, network, mounted) = tokio::join!(bounded, join_network(shared, pod, wasm), volumes);
    let (network, mounted) = (bounded.and(network)?, mounted?);
    files::write(shared, pod, &network.addresses).await?;
    Ok(Ready { network, mounted, cgroup: cgroup_of(shared, pod), wasm })
}

/// Gets the images that volumes are made of.
async fn stack_images(shared: &Shared, pod: &Pod) -> Result<(), HookError> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        let Some(source) = &volume.image else { continue };
        let failed = |source| HookError::Volume { volume: volume.name.clone(), source };
        let layers = pull::pull_volume(shared, pod, source).await;
        let layers = layers.map_err(|error| failed(VolumeError::Image { name: volume.name.clone(), why: error.message }))?;
        shared.volumes.stack(uid, &volume.name, layers).await.map_err(failed)?;
    }
    Ok(())
}

fn cgroup_of(shared: &Shared, pod: &Pod) -> String {
    cgroups::pod_path(&shared.cluster, resources::qos(pod), pod.metadata.uid.as_deref().unwrap_or_default())
}

/// The pod's cgroup; no error when it is there already.
pub(crate) async fn make_cgroup(shared: &Shared, pod: &Pod) -> Result<(), HookError> {
    let path = cgroup_of(shared, pod);
    let bounds = resources::of_pod(pod);
    let made = path.clone();
    tokio::task::spawn_blocking(move || cgroups::ensure(&made, &bounds))
        .await
        .map_err(|_| HookError::Worker)?
        .map_err(|error| HookError::Cgroup { path, why: error.to_string() })
}

async fn join_network(shared: &Shared, pod: &Pod, wasm: Option<bool>) -> Result<PodNetwork, HookError> {
    let request = request(pod, &shared.names.domain)?;
    let network = match wasm {
        None => return Ok(shared.network.keep_address(&request).await?),
        Some(true) if !request.host_network => shared.network.ensure_wasm(&request).await?,
        Some(_) => shared.network.ensure_pod(&request).await?,
    };
    // Nothing runs, and so nothing is sent or answered, before the pod's policies hold.
    shared.policies.admit(pod).await?;
    Ok(network)
}

fn request(pod: &Pod, domain: &str) -> Result<PodRequest, HookError> {
    let spec = pod.spec.as_ref();
    let ports = spec.into_iter().flat_map(|s| &s.containers).flat_map(|container| container.ports.iter().flatten());
    let host_ports = ports.filter_map(|port| {
        let number = |port: Option<i32>| port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
        Some(HostPort {
            host_ip: port.host_ip.as_deref().and_then(|ip| ip.parse().ok()),
            host_port: number(port.host_port)?,
            container_port: number(Some(port.container_port))?,
            protocol: match port.protocol.as_deref() {
                Some("UDP") => Protocol::Udp,
                Some("SCTP") => Protocol::Sctp,
                _ => Protocol::Tcp,
            },
        })
    });
    let Wishes { bandwidth, ips, mac } = Wishes::of(pod)?;
    Ok(PodRequest {
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        hostname: files::kernel_hostname(pod, domain)?,
        host_network: spec.and_then(|spec| spec.host_network).unwrap_or(false),
        host_ipc: spec.and_then(|spec| spec.host_ipc).unwrap_or(false),
        host_ports: host_ports.collect(),
        bandwidth,
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        ips,
        mac,
    })
}
