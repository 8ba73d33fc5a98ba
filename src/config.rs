//! The cluster's configuration: one YAML file, with flags that go before it (docs/configuration.md).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

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
    /// Where to write a kubeconfig for the cluster's administrator.
    pub kubeconfig: Option<PathBuf>,
    /// The node's name; the host name when left out.
    pub node_name: Option<String>,
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
}

/// What a cluster is run with.
#[derive(Clone, Debug)]
pub struct Config {
    pub data_dir: PathBuf,
    pub api_address: SocketAddr,
    pub kubeconfig: PathBuf,
    pub node_name: String,
}

pub const DEFAULT_DATA_DIR: &str = "/var/lib/mizzen";
const DEFAULT_API_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 6443);

impl Config {
    /// # Errors
    /// Names the file or the field that is wrong.
    pub fn load(flags: Flags) -> Result<Self, ConfigError> {
        let file = match &flags.config {
            Some(path) => read(path)?,
            None => File::default(),
        };
        Self::resolve(flags, file, || nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()))
    }

    fn resolve(flags: Flags, file: File, host_name: impl FnOnce() -> Option<String>) -> Result<Self, ConfigError> {
        let data_dir = flags.data_dir.or(file.data_dir).unwrap_or_else(|| DEFAULT_DATA_DIR.into());
        if !data_dir.is_absolute() {
            let why = format!("{} is not an absolute path", data_dir.display());
            return Err(ConfigError::Invalid { field: "dataDir", why });
        }
        let node_name = flags.node_name.or(file.node_name).or_else(host_name).unwrap_or_else(|| "localhost".to_owned());
        let node_name = node_name.to_ascii_lowercase();
        if !is_dns_name(&node_name) {
            let why = format!("{node_name:?} is no DNS name (lower-case letters, digits, '-' and '.', at most 253 characters)");
            return Err(ConfigError::Invalid { field: "nodeName", why });
        }
        Ok(Self {
            api_address: flags.api_address.or(file.api_address).unwrap_or(DEFAULT_API_ADDRESS),
            kubeconfig: flags.kubeconfig.or(file.kubeconfig).unwrap_or_else(|| data_dir.join("kubeconfig")),
            data_dir,
            node_name,
        })
    }
}

fn read(path: &Path) -> Result<File, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    serde_yaml_ng::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source })
}

/// RFC 1123 subdomain.
fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        edge(label.chars().next()) && edge(label.chars().last()) && label.chars().all(|c| edge(Some(c)) || c == '-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> Flags {
        Flags { config: None, data_dir: None, api_address: None, kubeconfig: None, node_name: None }
    }

    #[test]
    fn flags_go_before_the_file_and_the_file_before_defaults() {
        let file: File = serde_yaml_ng::from_str("dataDir: /a\nnodeName: from-file\n").expect("parses");
        let config = Config::resolve(Flags { data_dir: Some("/b".into()), ..flags() }, file, || None).expect("is valid");
        assert_eq!(config.data_dir, Path::new("/b"));
        assert_eq!(config.node_name, "from-file");
        assert_eq!(config.kubeconfig, Path::new("/b/kubeconfig"));
        assert_eq!(config.api_address, DEFAULT_API_ADDRESS);
    }

    #[test]
    fn a_wrong_field_is_named() {
        let relative = Config::resolve(Flags { data_dir: Some("x".into()), ..flags() }, File::default(), || None);
        assert_eq!(relative.expect_err("is relative").to_string(), "dataDir: x is not an absolute path");
        let name = Config::resolve(Flags { node_name: Some("a_b".into()), ..flags() }, File::default(), || None);
        assert!(name.expect_err("is no name").to_string().starts_with("nodeName: \"a_b\""));
        let unknown = serde_yaml_ng::from_str::<File>("dataDirr: /a\n").expect_err("is unknown").to_string();
        assert!(unknown.contains("dataDirr"), "{unknown}");
    }
}
