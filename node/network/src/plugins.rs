//! Pods on networks that plugins of others make (CNI): which configuration holds, and what a pod gets by it.
//!
//! The node's own network stays: Wasm pods are on it, names are served at its address, and services lead from it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use mizzen_cni::{Attachment, AttachmentId, Cni, CniError, Dirs, NetworkList, PortMapping, RuntimeConfig, Version, address_of};
use parking_lot::Mutex;
use tokio::sync::RwLock;

use crate::bandwidth;
use crate::hostports::host_address;
use crate::namespace::{self, Wanted};
use crate::network::{INTERFACE, Network};
use crate::nft::{self, protocol};
use crate::state::{self, Attached};
use crate::{NetworkConfig, NetworkError, PodNetwork, PodRequest};

pub(crate) struct Plugins {
    cni: Cni,
    now: Mutex<Now>,
    /// Held alone by whoever collects what is left: nothing may be attached or taken away meanwhile.
    order: RwLock<()>,
}

/// As it was found last.
#[derive(Default)]
struct Now {
    chain: Option<Arc<Chain>>,
    /// Why no pod can be attached.
    problem: Option<String>,
}

/// A configuration that can be used.
struct Chain {
    list: NetworkList,
    version: Version,
}

/// How a pod gets its network.
pub(crate) enum Way {
    /// This node's own.
    Own,
    /// It has it.
    Attached(Attached),
    /// By plugins.
    Attach(Attach),
}

/// What plugins are to do.
pub(crate) struct Attach(Arc<Chain>);

impl Plugins {
    pub(crate) fn open(config: &NetworkConfig) -> Result<Self, NetworkError> {
        let dirs = Dirs { conf: config.cni.conf.clone(), bin: config.cni.bin.clone(), cache: config.cni_dir() };
        std::fs::create_dir_all(&dirs.cache).map_err(state::io("create", &dirs.cache))?;
        // For whoever takes the network away and knows nothing but its folder.
        state::save(&config.cni_file(), &dirs)?;
        Ok(Self { cni: Cni::new(dirs), now: Mutex::default(), order: RwLock::default() })
    }

    async fn find(&self, was: Option<Arc<Chain>>) -> Result<Option<Arc<Chain>>, CniError> {
        let Some(list) = self.cni.configuration()? else { return Ok(None) };
        let chain = match was.filter(|was| was.list == list) {
            Some(same) => same,
            None => {
                let version = self.cni.agree(&list).await?;
                tracing::info!(network = list.name, %version, "pods get their network by CNI plugins");
                Arc::new(Chain { list, version })
            }
        };
        self.cni.status((&chain.list, chain.version)).await?;
        Ok(Some(chain))
    }
}

impl Network {
    /// Reads the configuration of plugins again and asks them whether they are ready.
    pub async fn look_at_plugins(&self) {
        let was = self.plugins.now.lock().chain.clone();
        let found = self.plugins.find(was.clone()).await;
        let is_used = self.attachments().next().is_some();
        let now = match found {
            Ok(None) if is_used => {
                let dir = self.config.cni.conf.as_deref().unwrap_or(Path::new("any folder")).display();
                Now { chain: None, problem: Some(format!("no network config found in {dir}")) }
            }
            Ok(chain) => Now { chain, problem: None },
            // Kept, so that the same configuration need not be agreed on again.
            Err(error) => Now { chain: was, problem: Some(error.to_string()) },
        };
        let mut held = self.plugins.now.lock();
        if let Some(problem) = now.problem.as_ref().filter(|problem| held.problem.as_ref() != Some(problem)) {
            tracing::warn!(problem, "pods get no network");
        }
        *held = now;
    }

    /// Why pods cannot be attached to the network of the plugins that this node is to use.
    pub fn plugins_problem(&self) -> Option<String> {
        self.plugins.now.lock().problem.clone()
    }

    /// Asks the plugins whether pods are attached as they were: the pods that are not, and why.
    pub async fn check_attachments(&self) -> Vec<(PodRequest, String)> {
        let mut wrong = Vec::new();
        let all: Vec<PodRequest> = self.attachments().collect();
        for request in all {
            let _turn = self.turn(&request.uid).await;
            if self.noted(&request.uid).is_none_or(|noted| noted.attached.is_none()) {
                continue;
            }
            if let Err(error) = self.plugins.cni.check(&request.uid).await {
                wrong.push((request, error.to_string()));
            }
        }
        wrong
    }

    /// Has plugins take away what no pod has any more.
    ///
    /// # Errors
    /// The first failure, after all others were tried.
    pub async fn collect_attachments(&self) -> Result<(), NetworkError> {
        let _alone = self.plugins.order.write().await;
        let valid: BTreeSet<AttachmentId> = self.attachments().map(|request| attachment_id(&request.uid)).collect();
        let chain = self.plugins.now.lock().chain.clone();
        let list = chain.as_ref().map(|chain| (&chain.list, chain.version));
        self.plugins.cni.collect(list, &valid).await.map_err(|source| NetworkError::Collect { source })
    }

    /// How the pod gets its network; who has one keeps it.
    pub(crate) fn way(&self, request: &PodRequest) -> Result<Way, NetworkError> {
        let noted = self.noted(&request.uid);
        let is_pinned = namespace::is_pinned(&self.config.pin_dir(&request.uid).join("net"));
        match noted {
            _ if request.host_network => return Ok(Way::Own),
            Some(state) if is_pinned && state.address.is_some() => {
                return Ok(state.attached.map_or(Way::Own, Way::Attached));
            }
            _ => {}
        }
        let now = self.plugins.now.lock();
        match (&now.problem, &now.chain) {
            (Some(problem), _) => Err(NetworkError::PluginsNotReady { problem: problem.clone() }),
            (None, Some(chain)) => Ok(Way::Attach(Attach(chain.clone()))),
            (None, None) => Ok(Way::Own),
        }
    }

    /// Makes the pod's namespaces and has the plugins attach them. The caller has the pod's turn.
    pub(crate) async fn attach(&self, request: &PodRequest, Attach(chain): Attach) -> Result<Attached, NetworkError> {
        let uid = &request.uid;
        let maps_ports = chain.list.has_capability("portMappings");
        let config = runtime_config(request);
        self.note_attaching(request)?;
        let _order = self.plugins.order.read().await;
        let failed = |source| NetworkError::Attach { uid: uid.clone(), source };
        // Of an attempt that was broken off, or of before a reboot.
        self.plugins.cni.delete(uid).await.map_err(failed)?;
        let dir = self.config.pin_dir(uid);
        let (ipc, uts) = (!request.host_ipc, Some(request.hostname.clone()));
        let made = namespace::make(&dir, Wanted { net: true, ipc, uts }).await?;
        if let Some(links) = &made.links {
            links.loopback_up().await?;
        }
        for (file, kind) in [(&made.ipc, "ipc"), (&made.uts, "uts"), (&made.net, "net")] {
            if let Some(file) = file {
                namespace::pin(file, &dir.join(kind))?;
            }
        }
        let attachment = Attachment { id: attachment_id(uid), namespace: dir.join("net"), args: arguments(request) };
        let added = self.plugins.cni.add((&chain.list, chain.version), attachment, &config).await;
        let addresses = added.and_then(|result| {
            let wrong = |why| CniError::Result { network: chain.list.name.clone(), why };
            let mut addresses = address_of(&result, INTERFACE).map_err(wrong)?;
            addresses.sort_by_key(IpAddr::is_ipv6);
            let has_v4 = addresses.first().is_some_and(IpAddr::is_ipv4);
            if has_v4 { Ok(addresses) } else { Err(wrong(format!("{INTERFACE} got no IPv4 address"))) }
        });
        let addresses = match addresses {
            Ok(addresses) => addresses,
            Err(source) => {
                // Without an answer that the node can use, there is no pod: the next attempt begins anew.
                namespace::unpin(&dir.join("net"))?;
                return Err(failed(source));
            }
        };
        let attached = Attached { addresses, maps_ports };
        let noted = self.note_attached(request, attached.clone())?;
        let table = self.config.table();
        let rules: String = noted.addresses().map(|address| nft::attached(&table, address)).collect();
        nft::apply(&table, &rules).await?;
        Ok(attached)
    }

    /// Has the plugins take away what the pod has. The caller has the pod's turn.
    pub(crate) async fn detach(&self, uid: &str) -> Result<(), NetworkError> {
        let _order = self.plugins.order.read().await;
        self.plugins.cni.delete(uid).await.map_err(|source| NetworkError::Detach { uid: uid.to_owned(), source })
    }

    fn attachments(&self) -> impl Iterator<Item = PodRequest> {
        let attached = self.states().into_iter().filter(|state| state.attached.is_some());
        attached.map(|state| state.request)
    }
}

impl Attached {
    /// What the pod is told to have.
    pub(crate) fn network(&self, config: &NetworkConfig, request: &PodRequest) -> PodNetwork {
        let dir = config.pin_dir(&request.uid);
        PodNetwork {
            addresses: self.addresses.clone(),
            network_namespace: Some(dir.join("net")),
            ipc_namespace: (!request.host_ipc).then(|| dir.join("ipc")),
            uts_namespace: Some(dir.join("uts")),
        }
    }
}

/// Takes away all attachments of a network that is taken away. What plugins cannot do is logged: nobody would ask again.
pub(crate) async fn teardown(config: &NetworkConfig) -> Result<(), NetworkError> {
    if let Some(dirs) = state::load::<Dirs>(&config.cni_file())?
        && let Err(error) = Cni::new(dirs).collect(None, &BTreeSet::new()).await
    {
        tracing::warn!(%error, "what a CNI plugin made may be left");
    }
    match std::fs::remove_dir_all(config.cni_dir()) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(state::io("remove", &config.cni_dir())(e)),
        _ => Ok(()),
    }
}

fn attachment_id(uid: &str) -> AttachmentId {
    AttachmentId { container: uid.to_owned(), interface: INTERFACE.to_owned() }
}

/// As other runtimes call the pod's names.
fn arguments(request: &PodRequest) -> Vec<(String, String)> {
    let all = [
        ("IgnoreUnknown", "1"),
        ("K8S_POD_NAMESPACE", &request.namespace),
        ("K8S_POD_NAME", &request.name),
        ("K8S_POD_INFRA_CONTAINER_ID", &request.uid),
        ("K8S_POD_UID", &request.uid),
    ];
    all.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn runtime_config(request: &PodRequest) -> RuntimeConfig {
    let mapped = |port: &crate::HostPort| PortMapping {
        host_port: port.host_port,
        container_port: port.container_port,
        protocol: protocol(port.protocol).to_owned(),
        host_ip: host_address(port).map(|ip| ip.to_string()).unwrap_or_default(),
    };
    let rates = request.bandwidth;
    let limited = mizzen_cni::Bandwidth {
        ingress_rate: rates.ingress,
        ingress_burst: rates.ingress.map(|rate| bandwidth::burst(rate).saturating_mul(8)),
        egress_rate: rates.egress,
        egress_burst: rates.egress.map(|rate| bandwidth::burst(rate).saturating_mul(8)),
    };
    RuntimeConfig {
        port_mappings: request.host_ports.iter().map(mapped).collect(),
        bandwidth: (rates.ingress.is_some() || rates.egress.is_some()).then_some(limited),
        ips: request.ips.clone(),
        mac: request.mac.clone(),
    }
}
