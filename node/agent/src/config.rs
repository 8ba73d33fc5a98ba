//! What an agent is started with.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Taint;
use mizzen_client::Client;
use mizzen_images::ImageStore;
use mizzen_network::Network;
use mizzen_reconcile::Clock;
use mizzen_runtime::{LogLimits, Runtime};
use tokio::net::TcpListener;

use crate::node::image_gc::Thresholds;
use crate::node::pressure::EvictionHard;
use crate::tunnel::Tunnel;

pub struct AgentConfig {
    pub node_name: String,
    /// As `system:node:<node_name>`.
    pub client: Arc<dyn Client>,
    pub runtimes: Runtimes,
    pub images: Arc<ImageStore>,
    pub network: Arc<Network>,
    /// Absolute. Logs are below `pods/`, volumes and files of pods below `sandboxes/`.
    pub data_dir: PathBuf,
    /// Eight lower-case hexadecimal digits.
    pub cluster: String,
    /// Where the node API (logs, exec) is served, at the network's `node_address`; its port goes into the Node's status.
    pub listener: TcpListener,
    /// Client certificates are of the API server's authority.
    pub tls: Arc<rustls::ServerConfig>,
    /// By which the API server asks the node; without one, it dials `listener`.
    pub tunnel: Option<Tunnel>,
    pub registration: Registration,
    pub clock: Arc<dyn Clock>,
    pub dns: mizzen_dns::Settings,
    /// Whom pods ask for names instead of this node.
    pub cluster_dns: Vec<IpAddr>,
    pub log_limits: LogLimits,
    pub image_gc: Thresholds,
    pub eviction: EvictionHard,
}

/// What a Node has from its first moment. One that is there keeps what it has: others may have changed it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registration {
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
}

/// Which runtime runs what.
#[derive(Clone)]
pub struct Runtimes {
    pub container: Arc<dyn Runtime>,
    pub wasm: Option<Arc<dyn Runtime>>,
}

impl Runtimes {
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<dyn Runtime>> {
        std::iter::once(&self.container).chain(&self.wasm)
    }
}
