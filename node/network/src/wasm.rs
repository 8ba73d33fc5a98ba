//! The network namespace that the node's Wasm pods share, with an address for each.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::links::{Links, Pair};
use crate::namespace::{self, Wanted};
use crate::network::{INTERFACE, Network};
use crate::{Family, NetworkConfig, NetworkError, state};

/// Made, or found again, when the first Wasm pod comes.
#[derive(Default)]
pub(crate) struct WasmSpace {
    open: Mutex<Option<Arc<Open>>>,
}

struct Open {
    links: Links,
    interface: u32,
}

impl WasmSpace {
    /// Adds a pod's addresses; answers where the namespace is pinned.
    pub(crate) async fn add(&self, network: &Network, addresses: &[IpAddr]) -> Result<PathBuf, NetworkError> {
        let open = self.open(network).await?;
        for address in addresses {
            let bits = Family::of(*address).bits();
            open.links.add_address(open.interface, INTERFACE, *address, bits).await?;
        }
        // Each time: the kernel drops an interface's routes with its last address.
        for range in network.pod_cidrs() {
            open.links.add_routes(open.interface, INTERFACE, range, true).await?;
        }
        Ok(network.config.wasm_pin())
    }

    pub(crate) async fn remove(&self, config: &NetworkConfig, address: IpAddr) -> Result<(), NetworkError> {
        let pin = config.wasm_pin();
        if !namespace::is_pinned(&pin) {
            return Ok(());
        }
        match self.open.lock().await.clone() {
            Some(open) => open.links.delete_address(INTERFACE, address).await,
            None => namespace::connect(&pin).await?.delete_address(INTERFACE, address).await,
        }
    }

    async fn open(&self, network: &Network) -> Result<Arc<Open>, NetworkError> {
        let mut slot = self.open.lock().await;
        let pin = network.config.wasm_pin();
        if let Some(open) = slot.as_ref()
            && namespace::is_pinned(&pin)
        {
            return Ok(open.clone());
        }
        let (file, links) = if namespace::is_pinned(&pin) {
            let file = File::open(&pin).map_err(state::io("open", &pin))?;
            (file, namespace::connect(&pin).await?)
        } else {
            let made = namespace::make(&pin, Wanted { net: true, ipc: false, uts: None }).await?;
            let (Some(file), Some(links)) = (made.net, made.links) else { return Err(NetworkError::Worker) };
            (file, links)
        };
        if links.index(INTERFACE).await?.is_none() {
            let veth = network.config.wasm_veth();
            let pair = Pair {
                outside: &veth,
                inside: INTERFACE,
                namespace: file.as_fd(),
                mac: network.config.wasm_mac(),
                mtu: network.pod_mtu(),
                bridge: network.bridge,
            };
            network.links.add_pair(&pair).await?;
            network.links.hairpin(network.links.index_of(&veth).await?, &veth).await?;
        }
        // Also when an agent was killed between making the pair and this.
        let interface = links.index_of(INTERFACE).await?;
        links.loopback_up().await?;
        links.up(interface, INTERFACE).await?;
        network.carrier(&network.config.wasm_veth()).await?;
        if !namespace::is_pinned(&pin) {
            namespace::pin(&file, &pin)?;
        }
        Ok(slot.insert(Arc::new(Open { links, interface })).clone())
    }
}
