//! The cluster's configuration: one YAML file, with flags that go before it (docs/configuration.md).

pub mod agent;
mod audit;
mod cni;
mod dns;
mod eviction;
mod ingress;
mod node_limits;
mod plugins;
mod pod_network;
mod registration;
mod scheduler;
mod services;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Taint;
use mizzen_agent::Registration;
use mizzen_api::ServiceAddresses;
use mizzen_controllers::AddressPool;
use mizzen_network::{PeersConfig, PluginDirs};
use mizzen_plugin_loader::Trust;
use serde::Deserialize;

pub use audit::Audit;
pub use dns::Dns;
pub use ingress::Ingress;
pub use node_limits::NodeLimits;
use pod_network::Ipv6;
pub use pod_network::SecondFamily;
pub use scheduler::Scheduler;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{}: {source}", path.display())]
    Parse {
        path: PathBuf,
        #[source]
        source: serde_yaml_ng::Error,
    },
    #[error("{field}: {why}")]
    Invalid { field: &'static str, why: String },
}

/// The file. Every field may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct File {
    /// Where everything is kept.
    pub data_dir: Option<PathBuf>,
    /// Where the API server listens, `IP:PORT`.
    pub api_address: Option<SocketAddr>,
    /// DNS names and IP addresses by which the API server is reached beside those that it knows of.
    pub api_server_names: Vec<String>,
    /// Where to write a kubeconfig for the cluster's administrator.
    pub kubeconfig: Option<PathBuf>,
    /// The node's name; the host name when left out.
    pub node_name: Option<String>,
    /// A quantity of bytes.
    #[serde(rename = "containerLogMaxSize")]
    pub log_max_size: Option<String>,
    #[serde(rename = "containerLogMaxFiles")]
    pub log_max_files: Option<u32>,
    #[serde(rename = "imageGCHighThresholdPercent")]
    pub image_gc_high: Option<u8>,
    #[serde(rename = "imageGCLowThresholdPercent")]
    pub image_gc_low: Option<u8>,
    pub eviction_hard: eviction::Fields,
    /// A quantity of bytes.
    pub max_image_layer_size: Option<String>,
    /// Where the node's own API listens, `IP:PORT`.
    pub node_api_address: Option<SocketAddr>,
    /// As the flags of kube-apiserver, down to the last field.
    pub audit_policy_file: Option<PathBuf>,
    pub audit_log_path: Option<PathBuf>,
    /// Mebibytes.
    pub audit_log_max_size: Option<u64>,
    pub audit_log_max_backups: Option<usize>,
    /// A kubeconfig.
    pub audit_webhook_config_file: Option<PathBuf>,
    pub audit_webhook_batch_buffer_size: Option<usize>,
    pub audit_webhook_batch_max_size: Option<usize>,
    /// Durations, such as `30s`.
    pub audit_webhook_batch_max_wait: Option<String>,
    pub audit_webhook_initial_backoff: Option<String>,
    pub encryption_provider_config: Option<PathBuf>,
    pub max_requests_inflight: Option<u32>,
    pub max_mutating_requests_inflight: Option<u32>,
    /// Where the addresses of services come from.
    #[serde(rename = "serviceCIDR")]
    pub service_cidr: Option<String>,
    /// What services of type LoadBalancer get: addresses, ranges and networks of the nodes' link.
    pub load_balancer_addresses: Vec<String>,
    /// Which ports of the nodes services may have, `FIRST-LAST`.
    pub service_node_port_range: Option<String>,
    pub scheduler: Scheduler,
    /// A duration, such as `10m`.
    pub policy_audit_interval: Option<String>,
    plugins: plugins::Plugins,
    /// The zone of the cluster's names.
    pub cluster_domain: Option<String>,
    /// Whom pods ask for names instead of their node.
    #[serde(rename = "clusterDNS")]
    pub cluster_dns: Vec<IpAddr>,
    /// The machine's resolv.conf(5).
    pub resolv_conf: Option<PathBuf>,
    pub dns: dns::Fields,
    pub ingress: ingress::Fields,
    pub pod_network: pod_network::Fields,
    pub cni: cni::Fields,
    /// What the node's Node has when it is made.
    pub node_labels: BTreeMap<String, String>,
    pub register_with_taints: Vec<Taint>,
    /// A duration, such as `8760h`.
    pub cluster_signing_duration: Option<String>,
    /// Where an agent's server is, `https://HOST[:PORT]`.
    pub server: Option<String>,
    /// A file with the token by which an agent joins.
    pub token_file: Option<PathBuf>,
}

/// The flags of `mizzen up`, each before its field in the file.
#[derive(Clone, Debug, clap::Args)]
pub struct Flags {
    /// Configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where everything of the cluster is kept [default: /var/lib/mizzen]
    #[arg(long, value_name = "DIR", env = "MIZZEN_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where the API server listens [default: 127.0.0.1:6443]
    #[arg(long, value_name = "IP:PORT")]
    pub api_address: Option<SocketAddr>,
    /// Where to write the administrator's kubeconfig [default: DATA_DIR/kubeconfig]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The node's name [default: the host name]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// Where the node's own API (logs, exec) listens [default: port 10250 of the bridge, or any other]
    #[arg(long, value_name = "IP:PORT")]
    pub node_api_address: Option<SocketAddr>,
    #[command(flatten)]
    pub registration: registration::Flags,
}

/// What a cluster is run with.
#[derive(Clone, Debug)]
pub struct Config {
    pub data_dir: PathBuf,
    pub api_address: SocketAddr,
    /// DNS names and IP addresses.
    pub api_server_names: Vec<String>,
    pub kubeconfig: PathBuf,
    pub node_name: String,
    pub node_api_address: Option<SocketAddr>,
    pub node: NodeLimits,
    /// Requests that the API server runs at once, of all priority levels together.
    pub concurrency: u32,
    pub audit: Option<Audit>,
    /// The file that says what is encrypted at rest.
    pub encryption: Option<PathBuf>,
    pub services: ServiceAddresses,
    /// What services of type LoadBalancer get.
    pub balancer_addresses: AddressPool,
    /// Whether the file says where services have their addresses.
    pub service_range_is_given: bool,
    pub dns: Dns,
    pub ingress: Ingress,
    /// How pods of other nodes are reached.
    pub peers: PeersConfig,
    /// Of which addresses of IPv6 pods and services have one each, besides that of IPv4.
    ipv6: Option<Ipv6>,
    /// The same, once it is known which cluster it is ([`Config::settle_families`]).
    pub second: Option<SecondFamily>,
    /// Where networks of plugins are described.
    pub cni: PluginDirs,
    pub scheduler: Scheduler,
    /// After so long, admission policies are asked again about what is stored.
    pub policy_audit_interval: Duration,
    /// Whose plugins are put to work.
    pub trust: Trust,
    pub registration: Registration,
    /// How long certificates are valid that are given by request.
    pub cluster_signing_duration: SignedDuration,
}

pub const DEFAULT_DATA_DIR: &str = "/var/lib/mizzen";
/// As kube-controller-manager has it: a year.
const CLUSTER_SIGNING_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);
const POLICY_AUDIT_INTERVAL: Duration = Duration::from_secs(600);
const MAX_REQUESTS_INFLIGHT: u32 = 400;
const MAX_MUTATING_REQUESTS_INFLIGHT: u32 = 200;
const DEFAULT_API_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 6443);

impl Config {
    /// # Errors
    /// Names the file or the field that is wrong.
    pub fn load(flags: Flags) -> Result<Self, ConfigError> {
        let file = match &flags.config {
            Some(path) => read(path)?,
            None => File::default(),
        };
        Self::resolve(flags, file, crate::cluster::machine::host_name)
    }

    fn resolve(flags: Flags, file: File, host_name: impl FnOnce() -> Option<String>) -> Result<Self, ConfigError> {
        let (node, services, dns) = (NodeLimits::resolve(&file)?, services::resolve(&file)?, Dns::resolve(&file)?);
        if file.server.is_some() || file.token_file.is_some() {
            let why = "an agent's: `mizzen up` and `mizzen server` join nobody".to_owned();
            return Err(ConfigError::Invalid { field: "server", why });
        }
        let registration = flags.registration.resolve(&file)?;
        let (audit, peers) = (audit::resolve(&file)?, pod_network::resolve(&file)?);
        let ipv6 = pod_network::ipv6(&file)?;
        if services.second.is_some() && ipv6.is_none() {
            let why = "services have IPv6 addresses only where pods have: podNetwork.ipv6 is missing".to_owned();
            return Err(ConfigError::Invalid { field: "serviceCIDR", why });
        }
        let (ingress, cni) = (Ingress::resolve(&file, true)?, cni::resolve(&file)?);
        let data_dir = data_dir(flags.data_dir.or(file.data_dir))?;
        let node_name = flags.node_name.or(file.node_name).or_else(host_name).unwrap_or_else(|| "localhost".to_owned());
        let node_name = node_name.to_ascii_lowercase();
        check_node_name(&node_name)?;
        if let Some(name) = file.api_server_names.iter().find(|name| !is_dns_name(name) && name.parse::<IpAddr>().is_err()) {
            let why = format!("{name:?} is neither a DNS name in lower case nor an IP address");
            return Err(ConfigError::Invalid { field: "apiServerNames", why });
        }
        Ok(Self {
            node,
            audit,
            encryption: file.encryption_provider_config,
            concurrency: concurrency(file.max_requests_inflight, file.max_mutating_requests_inflight)?,
            services,
            balancer_addresses: services::balancer_addresses(&file.load_balancer_addresses)?,
            service_range_is_given: file.service_cidr.is_some(),
            dns,
            ingress,
            peers,
            ipv6,
            second: None,
            cni,
            scheduler: file.scheduler.checked()?,
            policy_audit_interval: policy_audit_interval(file.policy_audit_interval.as_deref())?,
            trust: file.plugins.trust()?,
            registration,
            cluster_signing_duration: cluster_signing_duration(file.cluster_signing_duration.as_deref())?,
            api_server_names: file.api_server_names,
            api_address: flags.api_address.or(file.api_address).unwrap_or(DEFAULT_API_ADDRESS),
            kubeconfig: flags.kubeconfig.or(file.kubeconfig).unwrap_or_else(|| data_dir.join("kubeconfig")),
            data_dir,
            node_name,
            node_api_address: flags.node_api_address.or(file.node_api_address),
        })
    }

    /// Works out the addresses of IPv6, which may depend on the cluster's id.
    pub fn settle_families(&mut self, cluster: &str) {
        self.second = self.ipv6.map(|ipv6| ipv6.of(cluster));
        self.services.second = self.services.second.or(self.second.and_then(|second| second.services()));
    }
}

fn cluster_signing_duration(text: Option<&str>) -> Result<SignedDuration, ConfigError> {
    let field = "clusterSigningDuration";
    let duration = duration(field, text, CLUSTER_SIGNING_DURATION)?;
    let signed = SignedDuration::try_from(duration).ok().filter(|duration| duration.is_positive());
    signed.ok_or_else(|| ConfigError::Invalid { field, why: "a certificate has to last for a while".to_owned() })
}

fn policy_audit_interval(text: Option<&str>) -> Result<Duration, ConfigError> {
    let field = "policyAuditInterval";
    let interval = duration(field, text, POLICY_AUDIT_INTERVAL)?;
    match interval.is_zero() {
        true => Err(ConfigError::Invalid { field, why: "0 would leave no time for anything else".to_owned() }),
        false => Ok(interval),
    }
}

/// A duration such as `30s` or `500ms`.
fn duration(field: &'static str, text: Option<&str>, otherwise: Duration) -> Result<Duration, ConfigError> {
    let Some(text) = text else { return Ok(otherwise) };
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    parsed.ok_or_else(|| ConfigError::Invalid { field, why: format!("{text:?} is no duration such as 30s") })
}

/// The sum of both, as in Kubernetes.
fn concurrency(reading: Option<u32>, mutating: Option<u32>) -> Result<u32, ConfigError> {
    let sum = reading.unwrap_or(MAX_REQUESTS_INFLIGHT).saturating_add(mutating.unwrap_or(MAX_MUTATING_REQUESTS_INFLIGHT));
    if sum == 0 {
        let why = "with maxMutatingRequestsInflight, 0 would let no request run".to_owned();
        return Err(ConfigError::Invalid { field: "maxRequestsInflight", why });
    }
    Ok(sum)
}

fn data_dir(given: Option<PathBuf>) -> Result<PathBuf, ConfigError> {
    let data_dir = given.unwrap_or_else(|| DEFAULT_DATA_DIR.into());
    if !data_dir.is_absolute() {
        let why = format!("{} is not an absolute path", data_dir.display());
        return Err(ConfigError::Invalid { field: "dataDir", why });
    }
    Ok(data_dir)
}

/// # Errors
/// Says what a node's name has to be.
pub fn check_node_name(name: &str) -> Result<(), ConfigError> {
    if is_dns_name(name) {
        return Ok(());
    }
    let why = format!("{name:?} is no DNS name (lower-case letters, digits, '-' and '.', at most 253 characters)");
    Err(ConfigError::Invalid { field: "nodeName", why })
}

fn read(path: &Path) -> Result<File, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    serde_yaml_ng::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source })
}

/// RFC 1123 subdomain.
pub fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        edge(label.chars().next()) && edge(label.chars().last()) && label.chars().all(|c| edge(Some(c)) || c == '-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests;
