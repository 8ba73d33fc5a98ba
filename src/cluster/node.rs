//! The node of one machine: network, images, runtimes and the agent that drives them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mizzen_agent::{Agent, AgentConfig, Registration, Runtimes, Tunnel};
use mizzen_apiserver::auth::certificates::{NODE_GROUP, NODE_USER};
use mizzen_apiserver::auth::{Identity, authenticator};
use mizzen_client::Client;
use mizzen_images::ImageStore;
use mizzen_network::{Machines, Network, NetworkConfig, PeersConfig, PluginDirs, ServiceRange};
use mizzen_reconcile::Clock;
use mizzen_runtime::oci::{OciConfig, OciRuntime};
use mizzen_runtime::wasm::{WasmConfig, WasmRuntime};
use tokio::net::TcpListener;

use super::control_plane::ControlPlane;
use super::data_dir::DataDir;
use super::end::End;
use super::joining::live::Live;
use super::node_credentials::CredentialsError;
use super::{executables, join, machine};
use crate::config::{Config, Dns, Ingress, NodeLimits};

/// The kubelet's usual port; another one when it is taken.
const NODE_PORT: u16 = 10250;

/// A namespace whose Wasm pods come and go, Jobs say, keeps its host between them.
const WASM_HOST_STAYS: Duration = Duration::from_secs(30);
/// As the kubelet looks at logs.
const LOOK_AT_WASM_LOGS: Duration = Duration::from_secs(10);

/// The network of a node of a server that runs elsewhere, whose pods have the addresses that the cluster gives it. `address` is
/// the node's; without one, it is the bridge's.
///
/// # Errors
/// When the machine refuses (see [`Network::open`]), or the server.
pub async fn open_joined_network(
    data: &DataDir,
    address: Option<IpAddr>,
    (peers, cni): (PeersConfig, PluginDirs),
    client: &dyn Client,
    (node_name, registration): (&str, &Registration),
) -> anyhow::Result<Arc<Network>> {
    let config = NetworkConfig { node_address: address, peers, cni, ..network_config(data) };
    // Its own, as long as it lives: they are the same while the server is away.
    let mut own = Network::remembered_cidrs(&config)?;
    if own.is_empty() {
        let wished = Network::propose_cidr(&config).await.context("find addresses for pods")?;
        own = join::pod_cidrs(client, node_name, wished, registration).await?;
    }
    let config = NetworkConfig { pod_cidr: own.first().copied(), second_pod_cidr: own.get(1).copied(), ..config };
    let network = Network::open(config).await.context("set up the pod network")?;
    Ok(Arc::new(network))
}

/// Opens the network of a node that is beside its control plane, and settles where services have their addresses.
///
/// # Errors
/// When the machine refuses (see [`Network::open`]), or the choice cannot be kept.
pub async fn open_own_network(data: &DataDir, config: &mut Config, address: Option<IpAddr>) -> anyhow::Result<Arc<Network>> {
    let parsed = |text: &str| text.parse().with_context(|| format!("the range of services {text:?}"));
    let services = match data.service_range() {
        _ if config.service_range_is_given => ServiceRange::Fixed(parsed(&config.services.range.to_string())?),
        Some(kept) => ServiceRange::Fixed(parsed(&kept)?),
        None if data.is_new() => ServiceRange::Free,
        // Of before ranges were chosen, or made by `mizzen server`.
        None => ServiceRange::Fixed(parsed(&config.services.range.to_string())?),
    };
    // Other machines that reach the server reach the node as well, and not by its bridge's address.
    let address = address.or_else(|| machine::reached_at(config.api_address.ip()));
    let second_pod_cidr = config.second.map(|second| second.first_node());
    let (peers, cni) = (config.peers, config.cni.clone());
    let network = NetworkConfig { node_address: address, second_pod_cidr, services, peers, cni, ..network_config(data) };
    let network = Arc::new(Network::open(network).await.context("set up the pod network")?);
    if let Some(range) = network.service_cidr().map(|range| range.to_string()) {
        config.services.range = range.parse().with_context(|| format!("the range of services {range}"))?;
        if !config.service_range_is_given {
            data.keep_service_range(&range)?;
        }
    }
    Ok(network)
}

/// What the cluster's network is called, also to remove it.
pub fn network_config(data: &DataDir) -> NetworkConfig {
    NetworkConfig {
        cluster: data.cluster().to_owned(),
        run_dir: data.network(),
        pod_cidr: None,
        second_pod_cidr: None,
        node_address: None,
        services: ServiceRange::Unknown,
        peers: PeersConfig::default(),
        cni: PluginDirs::default(),
    }
}

/// Takes away what was made for a new cluster that could not start. A cluster that was there before stays as it is.
pub async fn unmake(data: &DataDir) {
    if !data.is_new() {
        return;
    }
    // There is a network if its folder is there.
    if data.network().exists()
        && let Err(error) = Network::teardown(&network_config(data)).await
    {
        tracing::warn!("remove the pod network of {}: {error}", data.root().display());
    }
    if let Err(error) = Machines::teardown(&network_config(data)).await {
        tracing::warn!("remove the machines of further nodes of {}: {error}", data.root().display());
    }
    if let Err(error) = data.unmake() {
        tracing::warn!("{error}");
    }
}

/// # Errors
/// When the shim is missing or the folder cannot be used.
pub fn container_runtime(data: &DataDir) -> anyhow::Result<Arc<OciRuntime>> {
    let config = OciConfig { root: data.containers(), shim: executables::beside("mizzen-shim")? };
    OciRuntime::new(config).context("open the container runtime")
}

/// # Errors
/// When the host's executable is missing or the folder cannot be used.
pub fn wasm_runtime(data: &DataDir) -> anyhow::Result<Arc<WasmRuntime>> {
    let cgroup = mizzen_agent::cgroups::wasm_hosts(data.cluster());
    let executable = executables::beside("mizzen-wasm")?;
    let config = WasmConfig {
        root: data.wasm(),
        executable,
        cgroup: Some(cgroup),
        stay: WASM_HOST_STAYS,
        look_at_logs: LOOK_AT_WASM_LOGS,
    };
    WasmRuntime::new(config).context("open the Wasm runtime")
}

/// Where the node API was asked to listen: taken before anything is made, so that a port that is taken leaves no trace.
#[derive(Default)]
pub struct Asked {
    listener: Option<TcpListener>,
    address: Option<IpAddr>,
}

impl Asked {
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn listen(at: Option<SocketAddr>) -> anyhow::Result<Self> {
        let Some(at) = at else { return Ok(Self::default()) };
        let listener = TcpListener::bind(at).await.with_context(|| format!("listen on {at}"))?;
        Ok(Self { listener: Some(listener), address: Some(at.ip()).filter(|ip| !ip.is_unspecified()) })
    }

    /// The node's address, when the one to listen on says it.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }
}

/// A node's place in its cluster.
pub struct Membership {
    pub node_name: String,
    client: Arc<dyn Client>,
    /// What the proxy of ingresses reads the cluster by.
    ingress_client: Arc<dyn Client>,
    tls: Arc<rustls::ServerConfig>,
    tunnel: Option<Tunnel>,
    clock: Arc<dyn Clock>,
}

impl Membership {
    /// In the same process as the control plane.
    ///
    /// # Errors
    /// When the node's certificate cannot be made.
    pub fn in_process(node_name: &str, control_plane: &ControlPlane) -> anyhow::Result<Self> {
        let clock = control_plane.clock.clone();
        Ok(Self {
            client: control_plane.client(Identity::component(&format!("{NODE_USER}{node_name}"), &[NODE_GROUP])),
            ingress_client: control_plane.client(authenticator::service_account("kube-system", "ingress-proxy", "")),
            tls: control_plane.pki.node_api(node_name, clock.now())?,
            tunnel: None,
            node_name: node_name.to_owned(),
            clock,
        })
    }

    /// On a machine of its own; `client` is the API as the node.
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub fn over_https(live: &Live, client: Arc<dyn Client>, clock: Arc<dyn Clock>) -> Result<Self, CredentialsError> {
        let (node_name, tunnel) = (live.node_name().to_owned(), Some(live.tunnel()));
        Ok(Self { node_name, ingress_client: client.clone(), client, tls: live.node_api()?, tunnel, clock })
    }
}

/// What a node is told by its configuration.
pub struct Settings {
    pub limits: NodeLimits,
    pub dns: Dns,
    pub ingress: Ingress,
    pub registration: Registration,
}

pub struct Node {
    agent: Agent,
}

impl Node {
    /// Starts the agent.
    ///
    /// # Errors
    /// When images or runtimes cannot be opened.
    pub async fn start(
        data: &DataDir,
        network: Arc<Network>,
        asked: Asked,
        member: Membership,
        Settings { limits, dns, ingress, registration }: Settings,
        end: &End,
    ) -> anyhow::Result<Self> {
        let address = network.node_address();
        let listener = match asked.listener {
            Some(listener) => listener,
            None => match TcpListener::bind(SocketAddr::new(address, NODE_PORT)).await {
                Ok(listener) => listener,
                Err(_) => TcpListener::bind(SocketAddr::new(address, 0)).await.with_context(|| format!("listen on {address}"))?,
            },
        };
        let images = mizzen_images::Settings { layer_bytes: limits.image_layer, ..mizzen_images::Settings::default() };
        let ingress = mizzen_ingress::Config {
            settings: ingress.at(&network.node_addresses()),
            node_name: member.node_name.clone(),
            node_client: member.client.clone(),
            client: member.ingress_client,
            clock: member.clock.clone(),
        };
        let agent = Agent::start(
            AgentConfig {
                node_name: member.node_name,
                client: member.client,
                runtimes: Runtimes { container: container_runtime(data)?, wasm: Some(wasm_runtime(data)?) },
                images: ImageStore::open_with(data.images(), images).context("open the image store")?,
                network,
                data_dir: data.node(),
                cluster: data.cluster().to_owned(),
                listener,
                tls: member.tls,
                tunnel: member.tunnel,
                registration,
                clock: member.clock,
                dns: dns.settings,
                cluster_dns: dns.cluster_dns,
                log_limits: limits.log,
                image_gc: limits.image_gc,
                eviction: limits.eviction,
            },
            end.cancel.clone(),
        )
        .await?;
        let cancel = end.cancel.clone();
        end.spawn(async move {
            if let Err(error) = mizzen_ingress::run(ingress, cancel).await {
                tracing::error!(%error, "ingresses are not served");
            }
        });
        Ok(Self { agent })
    }

    /// Returns when the Node is Ready.
    ///
    /// # Errors
    /// When the agent ended before.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        self.agent.ready().await.context("the node did not become ready")
    }

    /// Returns when the agent ends.
    ///
    /// # Errors
    /// What ended it.
    pub async fn ended(self) -> anyhow::Result<()> {
        self.agent.ended().await.context("the node agent ended")
    }
}
