//! The agent's part of the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use mizzen_network::PeersConfig;

use super::{ConfigError, Dns, File, Ingress, NodeLimits, read};

/// The flags of `mizzen agent`, each before its field in the file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// Configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The node's kubeconfig, as `mizzen kubeconfig --node NAME` prints it on the server
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Where everything of the node is kept [default: /var/lib/mizzen]
    #[arg(long, value_name = "DIR", env = "MIZZEN_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// The node's name, which its kubeconfig has to be for [default: the one that it is for]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// Where the node's own API (logs, exec) listens [default: port 10250, or any other, of the address that faces the server]
    #[arg(long, value_name = "IP:PORT")]
    pub node_api_address: Option<SocketAddr>,
}

/// What an agent is run with.
#[derive(Clone, Debug)]
pub struct Config {
    pub data_dir: PathBuf,
    pub kubeconfig: PathBuf,
    pub node_name: Option<String>,
    pub node_api_address: Option<SocketAddr>,
    pub node: NodeLimits,
    pub dns: Dns,
    pub ingress: Ingress,
    /// How pods of other nodes are reached.
    pub peers: PeersConfig,
}

impl Config {
    /// # Errors
    /// Names the file or the field that is wrong.
    pub fn load(flags: Flags) -> Result<Self, ConfigError> {
        let file = match &flags.config {
            Some(path) => read(path)?,
            None => File::default(),
        };
        Self::resolve(flags, file)
    }

    fn resolve(flags: Flags, file: File) -> Result<Self, ConfigError> {
        let invalid = |field, why: &str| ConfigError::Invalid { field, why: why.to_owned() };
        if file.api_address.is_some() {
            return Err(invalid("apiAddress", "an agent serves no API: its kubeconfig says where the server is"));
        }
        if !file.api_server_names.is_empty() {
            return Err(invalid("apiServerNames", "an agent serves no API"));
        }
        if file.encryption_provider_config.is_some() {
            return Err(invalid("encryptionProviderConfig", "an agent stores no objects"));
        }
        if super::audit::resolve(&file)?.is_some() {
            return Err(invalid("auditPolicyFile", "an agent serves no API"));
        }
        if file.max_requests_inflight.is_some() || file.max_mutating_requests_inflight.is_some() {
            return Err(invalid("maxRequestsInflight", "an agent serves no API"));
        }
        if file.plugins != super::plugins::Plugins::default() {
            return Err(invalid("plugins", "an agent loads no plugins: the server does"));
        }
        for (field, value) in [("serviceCIDR", &file.service_cidr), ("serviceNodePortRange", &file.service_node_port_range)] {
            if value.is_some() {
                return Err(invalid(field, "an agent gives services no addresses: the server does"));
            }
        }
        if !file.load_balancer_addresses.is_empty() {
            return Err(invalid("loadBalancerAddresses", "an agent gives services no addresses: the server does"));
        }
        let node = NodeLimits::resolve(&file)?;
        let (dns, peers) = (Dns::resolve(&file)?, super::pod_network::resolve(&file)?);
        // Port 80 of a machine is nobody's to take unasked, and its node may not read the secrets yet.
        let ingress = Ingress::resolve(&file, false)?;
        let kubeconfig = flags.kubeconfig.or(file.kubeconfig);
        Ok(Self {
            node,
            dns,
            ingress,
            peers,
            data_dir: super::data_dir(flags.data_dir.or(file.data_dir))?,
            kubeconfig: kubeconfig.ok_or_else(|| {
                invalid("kubeconfig", "an agent needs its node's (`mizzen kubeconfig --node NAME` prints it on the server)")
            })?,
            node_name: flags.node_name.or(file.node_name),
            node_api_address: flags.node_api_address.or(file.node_api_address),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(file: &str) -> Result<Config, String> {
        let file: File = serde_yaml_ng::from_str(file).expect("parses");
        Config::resolve(Flags { node_name: Some("a".into()), ..Flags::default() }, file).map_err(|error| error.to_string())
    }

    #[test]
    fn an_agent_is_configured_by_the_same_file() {
        let config = resolve("kubeconfig: /k\nnodeName: b\nnodeApiAddress: 192.0.2.1:10250\n").expect("is valid");
        assert_eq!((config.kubeconfig, config.node_name.as_deref()), ("/k".into(), Some("a")));
        assert_eq!(config.node_api_address, Some(([192, 0, 2, 1], 10250).into()));
    }

    #[test]
    fn what_an_agent_lacks_or_has_too_much_is_named() {
        assert!(resolve("dataDir: /d\n").expect_err("is refused").starts_with("kubeconfig: an agent needs"));
        assert!(resolve("kubeconfig: /k\napiAddress: 127.0.0.1:1\n").expect_err("is refused").starts_with("apiAddress: "));
        assert!(resolve("kubeconfig: /k\ndataDir: d\n").expect_err("is refused").starts_with("dataDir: "));
    }
}
