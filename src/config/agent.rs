//! The agent's part of the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use mizzen_agent::Registration;
use mizzen_network::{PeersConfig, PluginDirs};

use super::{ConfigError, Dns, File, Ingress, NodeLimits, check_node_name, read, registration};
use crate::cluster::joining::token::JoinToken;
use crate::cluster::node_credentials::is_server;

/// The flags of `mizzen agent`, each before its field in the file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// Configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The server to join, https://HOST[:PORT]; a machine that has joined knows it
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// What `mizzen token create` printed on the server; a machine that has joined needs none
    #[arg(long, value_name = "TOKEN", env = "MIZZEN_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// A file with the token
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
    /// The node's kubeconfig, as `mizzen kubeconfig --node NAME` prints it on the server, instead of a token
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Where everything of the node is kept [default: /var/lib/mizzen]
    #[arg(long, value_name = "DIR", env = "MIZZEN_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// The node's name [default: the host name, or the one that its kubeconfig is for]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// Where the node's own API (logs, exec) listens [default: port 10250, or any other, of the address that faces the server]
    #[arg(long, value_name = "IP:PORT")]
    pub node_api_address: Option<SocketAddr>,
    #[command(flatten)]
    pub registration: registration::Flags,
}

/// By what an agent is a node.
#[derive(Clone, Debug)]
pub enum Access {
    /// What an administrator made for it.
    Kubeconfig(PathBuf),
    /// What it was given when it joined, or is given by the token now.
    Joined { server: Option<String>, token: Option<JoinToken> },
}

/// What an agent is run with.
#[derive(Clone, Debug)]
pub struct Config {
    pub data_dir: PathBuf,
    pub access: Access,
    pub node_name: Option<String>,
    pub node_api_address: Option<SocketAddr>,
    pub node: NodeLimits,
    pub dns: Dns,
    pub ingress: Ingress,
    /// How pods of other nodes are reached.
    pub peers: PeersConfig,
    /// Where networks of plugins are described.
    pub cni: PluginDirs,
    pub registration: Registration,
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
        if file.api_address.is_some() {
            return Err(invalid("apiAddress", "an agent serves no API: its server does"));
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
        if file.cluster_signing_duration.is_some() {
            return Err(invalid("clusterSigningDuration", "an agent signs no certificates: the server does"));
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
        let cni = super::cni::resolve(&file)?;
        // Port 80 of a machine is nobody's to take unasked, and its node may not read the secrets yet.
        let ingress = Ingress::resolve(&file, false)?;
        let registration = flags.registration.resolve(&file)?;
        let node_name = flags.node_name.or(file.node_name);
        node_name.as_deref().map_or(Ok(()), check_node_name)?;
        let token = match flags.token_file.or(file.token_file).filter(|_| flags.token.is_none()) {
            Some(path) => {
                let text = std::fs::read_to_string(&path);
                Some(text.map_err(|error| invalid("tokenFile", &format!("read {}: {error}", path.display())))?)
            }
            None => flags.token,
        };
        let token =
            token.map(|text| text.parse().map_err(|error| ConfigError::Invalid { field: "token", why: format!("{error}") }));
        Ok(Self {
            node,
            dns,
            ingress,
            peers,
            cni,
            registration,
            data_dir: super::data_dir(flags.data_dir.or(file.data_dir))?,
            access: access(flags.kubeconfig.or(file.kubeconfig), flags.server.or(file.server), token.transpose()?)?,
            node_name,
            node_api_address: flags.node_api_address.or(file.node_api_address),
        })
    }
}

fn access(kubeconfig: Option<PathBuf>, server: Option<String>, token: Option<JoinToken>) -> Result<Access, ConfigError> {
    let server = server.map(|server| server.trim_end_matches('/').to_owned());
    if let Some(wrong) = server.iter().find(|server| !is_server(server)) {
        return Err(invalid("server", &format!("{wrong:?} is no server's URL: it has to be https://HOST[:PORT]")));
    }
    match kubeconfig {
        Some(_) if server.is_some() || token.is_some() => {
            Err(invalid("kubeconfig", "it says who the node is and where its server: no token or server goes with it"))
        }
        Some(path) => Ok(Access::Kubeconfig(path)),
        None => Ok(Access::Joined { server, token }),
    }
}

fn invalid(field: &'static str, why: &str) -> ConfigError {
    ConfigError::Invalid { field, why: why.to_owned() }
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
        assert!(matches!(config.access, Access::Kubeconfig(path) if path == std::path::Path::new("/k")));
        assert_eq!(config.node_name.as_deref(), Some("a"));
        assert_eq!(config.node_api_address, Some(([192, 0, 2, 1], 10250).into()));
        let joining = resolve("server: https://192.0.2.1:6443/\n").expect("is valid");
        assert!(
            matches!(joining.access, Access::Joined { server: Some(server), token: None } if server == "https://192.0.2.1:6443")
        );
    }

    #[test]
    fn what_an_agent_lacks_or_has_too_much_is_named() {
        assert!(resolve("kubeconfig: /k\nserver: https://h\n").expect_err("is refused").starts_with("kubeconfig: it says"));
        assert!(resolve("server: http://h\n").expect_err("is refused").starts_with("server: \"http://h\" is no server's"));
        assert!(resolve("kubeconfig: /k\napiAddress: 127.0.0.1:1\n").expect_err("is refused").starts_with("apiAddress: "));
        assert!(resolve("kubeconfig: /k\ndataDir: d\n").expect_err("is refused").starts_with("dataDir: "));
        assert!(resolve("clusterSigningDuration: 1h\n").expect_err("is refused").starts_with("clusterSigningDuration: "));
        assert!(resolve("tokenFile: /no/such\n").expect_err("is refused").starts_with("tokenFile: read /no/such: "));
    }
}
