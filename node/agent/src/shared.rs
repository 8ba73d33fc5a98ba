//! What every part of the agent uses.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use mizzen_client::Client;
use mizzen_images::ImageStore;
use mizzen_network::Network;
use mizzen_policy::Policies;
use mizzen_reconcile::{Clock, Recorder};
use mizzen_runtime::wasm::HOST_USER;
use mizzen_runtime::{LogLimits, Runtime};
use mizzen_services::ServiceCaches;
use mizzen_volumes::{PodContext, VolumeManager};

use crate::config::{Registration, Runtimes};
use crate::logs::watch::Watches;
use crate::node::capacity::Capacity;
use crate::node::image_gc::Thresholds;
use crate::node::peers::Unreached;
use crate::node::pressure::EvictionHard;
use crate::node::room::Room;
use crate::pod::sources::Sources;
use crate::pulled::Pulled;

/// How pods find names.
pub(crate) struct Names {
    /// The cluster's zone.
    pub(crate) domain: String,
    /// Whom pods ask.
    pub(crate) servers: Vec<IpAddr>,
    /// The machine's resolv.conf(5).
    pub(crate) resolv_conf: PathBuf,
}

pub(crate) struct Shared {
    pub(crate) node_name: String,
    pub(crate) cluster: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) host_addresses: Vec<IpAddr>,
    pub(crate) client: Arc<dyn Client>,
    pub(crate) runtimes: Runtimes,
    pub(crate) images: Arc<ImageStore>,
    pub(crate) pulled: Arc<Pulled>,
    pub(crate) network: Arc<Network>,
    pub(crate) volumes: VolumeManager,
    pub(crate) sources: Arc<Sources>,
    pub(crate) services: Arc<ServiceCaches>,
    pub(crate) policies: Arc<Policies>,
    pub(crate) recorder: Recorder,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) names: Names,
    pub(crate) capacity: Capacity,
    pub(crate) room: Room,
    pub(crate) unreached: parking_lot::Mutex<Unreached>,
    pub(crate) log_limits: LogLimits,
    pub(crate) image_gc: Thresholds,
    pub(crate) eviction: EvictionHard,
    pub(crate) registration: Registration,
    pub(crate) log_watches: Watches,
    /// Held while a pod's pause container is started.
    pub(crate) pauses: tokio::sync::Mutex<()>,
}

impl Shared {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// `wasm` where it is known that the pod is nothing but Wasm.
    pub(crate) fn context<'a>(&'a self, pod: &'a Pod, pod_ips: &'a [IpAddr], wasm: bool) -> PodContext<'a> {
        PodContext {
            pod,
            node_name: &self.node_name,
            host_ips: &self.host_addresses,
            pod_ips,
            allocatable_cpu: self.capacity.cpu_milli,
            allocatable_memory: self.capacity.memory,
            reader: wasm.then_some(HOST_USER),
        }
    }

    /// Which runtime has the container; a container whose runtime this node lacks is nobody's.
    pub(crate) fn runtime(&self, wasm: bool) -> Option<&Arc<dyn Runtime>> {
        if wasm { self.runtimes.wasm.as_ref() } else { Some(&self.runtimes.container) }
    }

    /// Where volumes are that are folders of this node.
    pub(crate) fn volumes_dir(&self) -> PathBuf {
        self.data_dir.join("volumes")
    }

    /// `<data_dir>/pods/<namespace>_<name>_<uid>`.
    pub(crate) fn log_dir(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.data_dir.join("pods").join(format!("{namespace}_{name}_{uid}"))
    }
}

/// What events of a pod, or of one of its containers, are about.
pub(crate) fn about(pod: &Pod, container: Option<&str>) -> ObjectReference {
    let mut about = mizzen_reconcile::reference(pod);
    about.field_path = container.map(|name| {
        let spec = pod.spec.as_ref();
        let is_init = spec.is_some_and(|spec| spec.init_containers.iter().flatten().any(|c| c.name == name));
        let is_ephemeral = spec.is_some_and(|spec| spec.ephemeral_containers.iter().flatten().any(|c| c.name == name));
        let list = match (is_init, is_ephemeral) {
            (true, _) => "initContainers",
            (false, true) => "ephemeralContainers",
            (false, false) => "containers",
        };
        format!("spec.{list}{{{name}}}")
    });
    about
}
