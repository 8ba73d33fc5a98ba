//! What the node remembers of its network: one file for the range, one per pod.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{NetworkConfig, NetworkError, PodRequest, Subnet};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterState {
    pub(crate) pod_cidr: Subnet,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) second: Option<Subnet>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PodState {
    pub(crate) request: PodRequest,
    /// `None` on the machine's network, and while plugins have yet to give one.
    pub(crate) address: Option<IpAddr>,
    /// Of the other family; `None` as well for one from before there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) second: Option<IpAddr>,
    /// In the namespace that the Wasm pods share.
    pub(crate) wasm: bool,
    /// What plugins gave it, `address` among them; `None` on the node's own network.
    #[serde(default)]
    pub(crate) attached: Option<Attached>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attached {
    /// An IPv4 address first.
    pub(crate) addresses: Vec<IpAddr>,
    /// A plugin leads the pod's host ports.
    pub(crate) maps_ports: bool,
}

impl PodState {
    /// Whether its address is of the node's own network.
    pub(crate) fn is_own(&self) -> bool {
        self.attached.is_none() && self.address.is_some()
    }

    /// The primary one first.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.address.into_iter().chain(self.second)
    }
}

pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> NetworkError {
    let path = path.to_owned();
    move |source| NetworkError::Io { operation, path, source }
}

/// Written aside and renamed, so that a reader finds all of it or nothing. Not synced: after a power cut the namespaces
/// are gone as well, and a new address is as good.
pub(crate) fn save<T: Serialize>(path: &Path, value: &T) -> Result<(), NetworkError> {
    let text = serde_json::to_vec(value).map_err(|source| NetworkError::State { path: path.to_owned(), source })?;
    let aside = path.with_extension("tmp");
    std::fs::write(&aside, text).map_err(io("write", &aside))?;
    std::fs::rename(&aside, path).map_err(io("replace", path))
}

/// `None` when there is no file, or one that a power cut left unreadable.
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, NetworkError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io("read", path)(e)),
    };
    match serde_json::from_slice(&text) {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "network state file is unreadable and is ignored");
            Ok(None)
        }
    }
}

pub(crate) fn remove(path: &Path) -> Result<(), NetworkError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(io("remove", path)(e)),
        _ => Ok(()),
    }
}

pub(crate) fn load_pods(config: &NetworkConfig) -> Result<Vec<PodState>, NetworkError> {
    let dir = config.pods_dir();
    let mut pods = Vec::new();
    for entry in std::fs::read_dir(&dir).map_err(io("read", &dir))? {
        let path = entry.map_err(io("read", &dir))?.path();
        if path.extension().is_some_and(|e| e == "json")
            && let Some(pod) = load::<PodState>(&path)?
        {
            pods.push(pod);
        }
    }
    Ok(pods)
}

/// A uid names files and links, so it must be plain.
pub(crate) fn check_uid(uid: &str) -> Result<(), NetworkError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if uid.is_empty() || uid.len() > 63 || !uid.chars().all(plain) {
        return Err(NetworkError::PodUid { uid: uid.to_owned() });
    }
    Ok(())
}
