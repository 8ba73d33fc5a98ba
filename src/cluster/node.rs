//! The node of one machine: network, images, runtimes and the agent that drives them.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use mizzen_agent::{Agent, AgentConfig, Runtimes};
use mizzen_apiserver::auth::Identity;
use mizzen_images::{ImageStore, Settings};
use mizzen_network::{Network, NetworkConfig};
use mizzen_runtime::oci::{OciConfig, OciRuntime};
use mizzen_runtime::wasm::{WasmConfig, WasmRuntime};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::control_plane::ControlPlane;
use super::data_dir::DataDir;
use super::executables;
use crate::config::Config;

/// The kubelet's usual port; another one when it is taken.
const NODE_PORT: u16 = 10250;

/// # Errors
/// When the machine refuses (see [`Network::open`]).
pub async fn open_network(data: &DataDir) -> anyhow::Result<Arc<Network>> {
    Ok(Arc::new(Network::open(network_config(data)).await.context("set up the pod network")?))
}

/// What the cluster's network is called, also to remove it.
pub fn network_config(data: &DataDir) -> NetworkConfig {
    NetworkConfig { cluster: data.cluster().to_owned(), run_dir: data.network(), pod_cidr: None }
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
    let config = WasmConfig { root: data.wasm(), executable: executables::beside("mizzen-wasm")? };
    WasmRuntime::new(config).context("open the Wasm runtime")
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
        config: &Config,
        data: &DataDir,
        network: Arc<Network>,
        control_plane: &ControlPlane,
        cancel: CancellationToken,
    ) -> anyhow::Result<Self> {
        let address = network.node_address();
        let listener = match TcpListener::bind(SocketAddr::new(address, NODE_PORT)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind(SocketAddr::new(address, 0)).await.with_context(|| format!("listen on {address}"))?,
        };
        let identity = Identity::component(&format!("system:node:{}", config.node_name), &["system:nodes"]);
        let images = Settings { layer_bytes: config.node.image_layer, ..Settings::default() };
        let agent = Agent::start(
            AgentConfig {
                node_name: config.node_name.clone(),
                client: control_plane.client(identity),
                runtimes: Runtimes { container: container_runtime(data)?, wasm: Some(wasm_runtime(data)?) },
                images: ImageStore::open_with(data.images(), images).context("open the image store")?,
                network,
                data_dir: data.node(),
                cluster: data.cluster().to_owned(),
                node_address: address,
                listener,
                tls: control_plane.pki.node(&config.node_name, &[address], control_plane.clock.now())?,
                clock: control_plane.clock.clone(),
                log_limits: config.node.log,
                image_gc: config.node.image_gc,
            },
            cancel,
        )
        .await?;
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
