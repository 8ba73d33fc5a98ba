//! The node's network as its agent uses it.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::ledger::{Entry, Ledger, take_up};
use crate::links::{Links, Pair, mac};
use crate::namespace::{self, Made, Wanted};
use crate::nft::Backend;
use crate::open::{self, bring_up};
use crate::peers::{Probing, TUNNEL_OVERHEAD, Told, mtu_at};
use crate::plugins::{Plugins, Way};
use crate::shares::{End, Share};
use crate::state::{self, PodState};
use crate::wasm::WasmSpace;
use crate::{
    Bandwidth, Family, HostPort, NetworkConfig, NetworkError, PeerBackend, PodNetwork, PodRequest, Subnet, bandwidth, firewall,
    machine, nft, teardown,
};

/// A pod's interface, as everywhere.
pub(crate) const INTERFACE: &str = "eth0";

/// The network of one node. Calls for different pods run at the same time, calls for one pod one after the other.
pub struct Network {
    pub(crate) config: NetworkConfig,
    pub(crate) subnet: Subnet,
    /// Of IPv6, where pods have two addresses.
    pub(crate) second: Option<Subnet>,
    /// The node's own address of the second family.
    second_address: Option<IpAddr>,
    pub(crate) bridge: u32,
    service_cidr: Option<Subnet>,
    /// Of the link by which other machines are reached.
    link_mtu: u32,
    pub(crate) links: Links,
    /// Held by whoever lists what the kernel has, too: a netlink socket does that once at a time.
    pub(crate) peers: AsyncMutex<Told>,
    pub(crate) probing: AsyncMutex<Probing>,
    /// Whether some node is reached by VXLAN.
    pub(crate) tunnelled: AtomicBool,
    pub(crate) ledger: Mutex<Ledger>,
    turns: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
    wasm: WasmSpace,
    pub(crate) plugins: Plugins,
    bridge_up: AtomicBool,
    /// Held by whoever changes the table's elements.
    pub(crate) changing_rules: AsyncMutex<()>,
    /// The ranges of services that there were ways to.
    pub(crate) service_routes: AsyncMutex<BTreeSet<Subnet>>,
}

impl Network {
    /// Brings up the bridge, forwarding and the nftables table, and takes up what an earlier process left; repeatable.
    ///
    /// # Errors
    /// When the kernel refuses (not root, no nftables), or no free range is left.
    pub async fn open(config: NetworkConfig) -> Result<Self, NetworkError> {
        config.check()?;
        let links = Links::connect()?;
        let base = bring_up(&config, &links).await?;
        let ledger = take_up(&config, base.subnet, base.second)?;
        firewall::allow(&config, std::iter::once(base.subnet).chain(base.second), &BTreeSet::new()).await?;
        let second_address = match (base.second, config.node_address) {
            (None, _) => None,
            (Some(range), None) => Some(range.gateway()),
            (Some(_), Some(address)) => links.sibling(address).await?,
        };
        let link_mtu = link_mtu(&config, &links).await?;
        let network = Self {
            subnet: base.subnet,
            second: base.second,
            second_address,
            bridge: base.bridge,
            service_cidr: base.service_cidr,
            link_mtu,
            links,
            peers: AsyncMutex::default(),
            probing: AsyncMutex::default(),
            tunnelled: AtomicBool::new(config.peers.backend == PeerBackend::Vxlan),
            ledger: Mutex::new(ledger),
            turns: Mutex::default(),
            wasm: WasmSpace::default(),
            plugins: Plugins::open(&config)?,
            bridge_up: AtomicBool::new(false),
            changing_rules: AsyncMutex::default(),
            service_routes: AsyncMutex::default(),
            config,
        };
        nft::apply(&network.config.table(), &network.rules()).await?;
        network.look_at_plugins().await;
        let peers = Self::noted_peers(&network.config)?;
        if !peers.is_empty()
            && let Err(error) = network.keep_peers(&peers).await
        {
            tracing::warn!(%error, "the pods of other nodes are not reached yet");
        }
        Ok(network)
    }

    /// A range for a node that has none yet: one that nobody else on this machine uses. Nothing is made.
    ///
    /// # Errors
    /// As for [`Network::open`].
    pub async fn propose_cidr(config: &NetworkConfig) -> Result<Subnet, NetworkError> {
        config.check()?;
        open::propose(config, &Links::connect()?).await
    }

    /// The ranges that an earlier process had, if there was one; the primary one first.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn remembered_cidrs(config: &NetworkConfig) -> Result<Vec<Subnet>, NetworkError> {
        open::remembered(config)
    }

    /// Keeps an address for a pod, and its ports, before it is known which network it needs. The pod gets it with
    /// [`Network::ensure_pod`] or [`Network::ensure_wasm`].
    ///
    /// # Errors
    /// [`NetworkError::AddressesExhausted`], [`NetworkError::HostPortConflict`]. Call again.
    pub async fn keep_address(&self, request: &PodRequest) -> Result<PodNetwork, NetworkError> {
        let _turn = self.turn(&request.uid).await;
        match self.way(request)? {
            Way::Own => {}
            Way::Attached(attached) => return Ok(attached.network(&self.config, request)),
            // Plugins give addresses to namespaces, and there is none yet.
            Way::Attach(_) => return Ok(PodNetwork::default()),
        }
        let wasm = self.noted(&request.uid).is_some_and(|noted| noted.wasm);
        let addresses = self.reserve(request, wasm)?;
        Ok(PodNetwork { addresses: self.or_own(addresses), ..PodNetwork::default() })
    }

    /// Gives a pod its namespaces and address, or answers with what it has. The address survives agent restarts.
    ///
    /// # Errors
    /// [`NetworkError::AddressesExhausted`], [`NetworkError::HostPortConflict`], or what the kernel refused. Call again.
    pub async fn ensure_pod(&self, request: &PodRequest) -> Result<PodNetwork, NetworkError> {
        let _turn = self.turn(&request.uid).await;
        let attached = match self.way(request)? {
            Way::Own => None,
            Way::Attached(attached) => Some(attached),
            Way::Attach(attach) => Some(self.attach(request, attach).await?),
        };
        if let Some(attached) = attached {
            if !attached.maps_ports {
                self.lead_ports(request).await?;
            }
            return Ok(attached.network(&self.config, request));
        }
        let addresses = self.reserve(request, false)?;
        let dir = self.config.pin_dir(&request.uid);
        let (net, ipc, uts) = (dir.join("net"), dir.join("ipc"), dir.join("uts"));
        let wanted = Wanted {
            net: !addresses.is_empty(),
            ipc: !request.host_ipc,
            uts: (!request.host_network).then(|| request.hostname.clone()),
        };
        let pinned = (!wanted.net || namespace::is_pinned(&net))
            && (!wanted.ipc || namespace::is_pinned(&ipc))
            && (wanted.uts.is_none() || namespace::is_pinned(&uts));
        if !pinned {
            let made = namespace::make(&dir, wanted.clone()).await?;
            if wanted.net {
                self.wire(&made, &addresses).await?;
                self.limit(&made, &addresses, request.bandwidth).await?;
            }
            // The network's pin comes last: a pod that has it has everything.
            for (file, path) in [(&made.ipc, &ipc), (&made.uts, &uts), (&made.net, &net)] {
                if let Some(file) = file {
                    namespace::pin(file, path)?;
                }
            }
        }
        self.lead_ports(request).await?;
        Ok(PodNetwork {
            addresses: self.or_own(addresses),
            network_namespace: wanted.net.then_some(net),
            ipc_namespace: wanted.ipc.then_some(ipc),
            uts_namespace: wanted.uts.map(|_| uts),
        })
    }

    /// Gives a Wasm pod an address in the namespace that the node's Wasm pods share. Sockets must be bound to it: an
    /// unbound one gets whichever pod's address the kernel likes.
    ///
    /// # Errors
    /// As for [`Network::ensure_pod`].
    pub async fn ensure_wasm(&self, request: &PodRequest) -> Result<PodNetwork, NetworkError> {
        let _turn = self.turn(&request.uid).await;
        let before = self.ledger.lock().pods.get(&request.uid).map(|entry| entry.state.request.bandwidth).unwrap_or_default();
        let addresses = self.reserve(request, true)?;
        if addresses.is_empty() {
            return Ok(PodNetwork { addresses: self.or_own(addresses), ..PodNetwork::default() });
        }
        let pin = self.wasm.add(self, &addresses).await?;
        let Bandwidth { ingress, egress } = request.bandwidth;
        let rates = [(before.ingress, ingress), (before.egress, egress)];
        for (share, (before, wanted)) in self.shares(&self.config.wasm_veth(), &pin, &addresses).into_iter().zip(rates) {
            // Nobody would know of it any more when the pod goes, and the next one of the address would have it.
            if before.is_some() && wanted.is_none() {
                share.lift().await;
            }
            share.limit(wanted).await?;
        }
        self.lead_ports(request).await?;
        Ok(PodNetwork { addresses, network_namespace: Some(pin), ..PodNetwork::default() })
    }

    /// Takes away what the pod had. No error when there was nothing.
    ///
    /// # Errors
    /// When something could not be removed; call again.
    pub async fn remove_pod(&self, uid: &str) -> Result<(), NetworkError> {
        state::check_uid(uid)?;
        let _turn = self.turn(uid).await;
        let entry = self.ledger.lock().pods.get(uid).cloned();
        let is_own = entry.as_ref().is_none_or(|e| e.state.request.host_network || e.state.is_own());
        if !is_own {
            self.detach(uid).await?;
        }
        // Until nothing knows of the pod any more: the table may be made anew meanwhile.
        let has_rules = !is_own || entry.as_ref().is_some_and(|e| !e.led.is_empty());
        let _rules = if has_rules { Some(self.changing_rules.lock().await) } else { None };
        if let Some(Entry { state, led }) = &entry {
            let table = self.config.table();
            let mut rules: String = Backend::all(state).map(|backend| nft::delete(&table, led, backend)).collect();
            if !is_own {
                rules.extend(state.addresses().map(|address| nft::detached(&table, address)));
            }
            if !rules.is_empty() {
                nft::apply(&table, &rules).await?;
            }
            let addresses: Vec<_> = state.addresses().filter(|_| state.wasm).collect();
            if state.request.bandwidth != Bandwidth::default() {
                let (outside, pin) = (self.config.wasm_veth(), self.config.wasm_pin());
                for share in self.shares(&outside, &pin, &addresses) {
                    share.lift().await;
                }
            }
            for address in addresses {
                self.wasm.remove(&self.config, address).await?;
            }
        }
        // The pair goes with its namespace, which the kernel does for many at once; deleting it by hand costs 40 ms under
        // the lock that making the next pod needs. A process that is still inside keeps both, until somebody is given the
        // address again.
        let dir = self.config.pin_dir(uid);
        for kind in ["net", "ipc", "uts"] {
            namespace::unpin(&dir.join(kind))?;
        }
        teardown::remove_dir(&dir)?;
        state::remove(&self.config.pod_file(uid))?;
        let mut ledger = self.ledger.lock();
        ledger.ports.release(uid);
        if let Some(address) = entry.and_then(|e| e.state.address) {
            ledger.addresses.release(address, uid);
        }
        ledger.pods.remove(uid);
        // A bridge without ports loses its carrier again.
        self.bridge_up.store(false, Ordering::Relaxed);
        // Unless somebody waits: a newcomer must not get a turn beside theirs.
        let mut turns = self.turns.lock();
        if turns.get(uid).is_some_and(|turn| Arc::strong_count(turn) <= 2) {
            turns.remove(uid);
        }
        Ok(())
    }

    /// The uids of all pods that have something here.
    pub fn pods(&self) -> Vec<String> {
        self.ledger.lock().pods.keys().cloned().collect()
    }

    /// The host ports that the table leads to pods now.
    pub(crate) fn led_ports(&self) -> Vec<(Vec<HostPort>, Backend)> {
        let ledger = self.ledger.lock();
        let led = ledger.pods.values().flat_map(|e| Backend::all(&e.state).map(|backend| (e.led.clone(), backend)));
        led.collect()
    }

    pub(crate) fn states(&self) -> Vec<PodState> {
        self.ledger.lock().pods.values().map(|entry| entry.state.clone()).collect()
    }

    /// What a pod's network is.
    pub(crate) fn noted(&self, uid: &str) -> Option<PodState> {
        self.ledger.lock().pods.get(uid).map(|entry| entry.state.clone())
    }

    /// The address pods reach the node by: the one it was opened with, or the bridge's. Pods in the host's network have it
    /// too, as Kubernetes' clients expect them to have their node's.
    pub fn node_address(&self) -> IpAddr {
        self.config.node_address.unwrap_or(self.subnet.gateway())
    }

    /// All of them, that one first: one of each family that pods have, if the machine has one.
    pub fn node_addresses(&self) -> Vec<IpAddr> {
        std::iter::once(self.node_address()).chain(self.second_address).collect()
    }

    /// Of a pod without addresses of its own, the node's.
    fn or_own(&self, addresses: Vec<IpAddr>) -> Vec<IpAddr> {
        if addresses.is_empty() { self.node_addresses() } else { addresses }
    }

    /// Of pods' interfaces, so that their packets need no fragments on their way to other machines.
    pub(crate) fn pod_mtu(&self) -> u32 {
        let overhead = if self.tunnelled.load(Ordering::Relaxed) { TUNNEL_OVERHEAD } else { 0 };
        self.link_mtu.saturating_sub(overhead)
    }

    /// The range that pods' primary addresses are from.
    pub fn pod_cidr(&self) -> Subnet {
        self.subnet
    }

    /// The ranges that pods' addresses are from, one for each family that they have.
    pub fn pod_cidrs(&self) -> impl Iterator<Item = Subnet> + use<> {
        std::iter::once(self.subnet).chain(self.second)
    }

    /// The bridge's address of a family.
    pub(crate) fn gateway(&self, family: Family) -> Option<IpAddr> {
        self.pod_cidrs().find(|range| range.family() == family).map(Subnet::gateway)
    }

    /// Where services have their addresses, as it was decided when this was opened.
    pub fn service_cidr(&self) -> Option<Subnet> {
        self.service_cidr
    }

    /// Whether a pod of this node has the address; those in the machine's network have the node's.
    pub fn has_pod_at(&self, address: IpAddr) -> bool {
        let ledger = self.ledger.lock();
        ledger.pods.values().any(|entry| match &entry.state {
            state if state.request.host_network => self.node_addresses().contains(&address),
            PodState { attached: Some(attached), .. } => attached.addresses.contains(&address),
            state => state.addresses().any(|own| own == address),
        })
    }

    /// A pod's own addresses, and whether it is in the namespace that Wasm pods share; `None` for one that has none here.
    pub fn pod_addresses(&self, uid: &str) -> Option<(Vec<IpAddr>, bool)> {
        let ledger = self.ledger.lock();
        let state = &ledger.pods.get(uid)?.state;
        let addresses: Vec<_> = state.addresses().collect();
        (!addresses.is_empty()).then_some((addresses, state.wasm))
    }

    /// Whether there is a namespace that Wasm pods share.
    pub fn has_wasm_namespace(&self) -> bool {
        namespace::is_pinned(&self.config.wasm_pin())
    }

    /// The addresses in the namespace that Wasm pods share.
    pub fn wasm_addresses(&self) -> BTreeSet<IpAddr> {
        let ledger = self.ledger.lock();
        ledger.pods.values().filter(|entry| entry.state.wasm).flat_map(|entry| entry.state.addresses()).collect()
    }

    /// Removes everything of the cluster: namespaces, links, table, pins, state. Works after a crash.
    ///
    /// # Errors
    /// The first thing that could not be removed, after all others were tried.
    pub async fn teardown(config: &NetworkConfig) -> Result<(), NetworkError> {
        config.check()?;
        teardown::all(config).await
    }

    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    pub(crate) async fn turn(&self, uid: &str) -> OwnedMutexGuard<()> {
        let turn = self.turns.lock().entry(uid.to_owned()).or_default().clone();
        turn.lock_owned().await
    }

    /// Connects a new namespace to the bridge.
    async fn wire(&self, made: &Made, addresses: &[IpAddr]) -> Result<(), NetworkError> {
        let (Some(namespace), Some(inside)) = (&made.net, &made.links) else { return Err(NetworkError::Worker) };
        let &[address, ..] = addresses else { return Err(NetworkError::Worker) };
        let veth = self.config.veth(address);
        let pair = Pair {
            outside: &veth,
            inside: INTERFACE,
            namespace: namespace.as_fd(),
            mac: mac(address),
            mtu: self.pod_mtu(),
            bridge: self.bridge,
        };
        self.links.add_pair(&pair).await?;
        // A pod that calls its own host port, or itself by a service, gets its frame back through the port it came from.
        self.links.hairpin(self.links.index_of(&veth).await?, &veth).await?;
        let index = inside.index_of(INTERFACE).await?;
        inside.loopback_up().await?;
        inside.up(index, INTERFACE).await?;
        for (address, range) in addresses.iter().zip(self.pod_cidrs()) {
            inside.add_address(index, INTERFACE, *address, range.prefix()).await?;
            inside.add_routes(index, INTERFACE, range, false).await?;
        }
        self.carrier(&veth).await
    }

    /// Where a Wasm pod is bounded: on what it receives, and on what it sends.
    fn shares<'a>(&self, outside: &'a str, pin: &'a Path, addresses: &'a [IpAddr]) -> Vec<Share<'a>> {
        let Some(address) = addresses.first() else { return Vec::new() };
        let number = self.subnet.offset(*address);
        let share = |namespace, interface, end| Share { namespace, interface, end, number, addresses };
        vec![share(None, outside, End::Destination), share(Some(pin), INTERFACE, End::Source)]
    }

    /// Bounds what a new pod sends and receives.
    async fn limit(&self, made: &Made, addresses: &[IpAddr], bandwidth: Bandwidth) -> Result<(), NetworkError> {
        let &[address, ..] = addresses else { return Ok(()) };
        bandwidth::limit(None, &self.config.veth(address), bandwidth.ingress).await?;
        let Some(namespace) = &made.net else { return Ok(()) };
        let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
        bandwidth::limit(Some(path.as_ref()), INTERFACE, bandwidth.egress).await
    }

    /// Waits for a port of the bridge and, the first time, for the bridge, which has no carrier without ports.
    pub(crate) async fn carrier(&self, port: &str) -> Result<(), NetworkError> {
        self.links.carrier(port).await?;
        if !self.bridge_up.load(Ordering::Relaxed) {
            self.links.carrier(&self.config.bridge()).await?;
            self.bridge_up.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Makes the tables lead the pod's host ports to it. Touches nftables only when they changed.
    async fn lead_ports(&self, request: &PodRequest) -> Result<(), NetworkError> {
        let Some(Entry { state, led }) = self.ledger.lock().pods.get(&request.uid).cloned() else { return Ok(()) };
        if state.address.is_none() || led == request.host_ports {
            return Ok(());
        }
        let table = self.config.table();
        let gone: Vec<_> = led.into_iter().filter(|p| !request.host_ports.contains(p)).collect();
        let rules: String = Backend::all(&state)
            .map(|backend| nft::delete(&table, &gone, backend) + &nft::add(&table, &request.host_ports, backend))
            .collect();
        let _rules = self.changing_rules.lock().await;
        nft::apply(&table, &rules).await?;
        if let Some(entry) = self.ledger.lock().pods.get_mut(&request.uid) {
            entry.led = request.host_ports.clone();
        }
        Ok(())
    }
}

async fn link_mtu(config: &NetworkConfig, links: &Links) -> Result<u32, NetworkError> {
    let address = config.node_address.unwrap_or_else(machine::primary_address);
    let mtu = mtu_at(links, address).await?;
    Ok(mtu.filter(|mtu| (576..=9000).contains(mtu)).unwrap_or(1500))
}
