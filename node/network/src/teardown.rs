//! Taking a cluster's network away, knowing only its name and its directory.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::links::Links;
use crate::{NetworkConfig, NetworkError, firewall, localnet, namespace, nft, plugins, state};

pub(crate) async fn all(config: &NetworkConfig) -> Result<(), NetworkError> {
    let mut first = Ok(());
    let mut note = |result: Result<(), NetworkError>| {
        if first.is_ok() {
            first = result;
        }
    };
    // While the pods' namespaces are there, and the rules.
    note(plugins::teardown(config).await);
    note(localnet::withdraw(config));
    for table in [config.table(), config.services_table(), config.policies_table()] {
        note(nft::delete_tables(&table).await);
    }
    note(firewall::withdraw(config).await);
    note(pins(config));
    note(links(config).await);
    note(remove_tree(&config.pins_dir()));
    note(remove_tree(&config.pods_dir()));
    note(state::remove(&config.peers_file()));
    note(state::remove(&config.state_file()));
    first
}

async fn links(config: &NetworkConfig) -> Result<(), NetworkError> {
    let links = Links::connect()?;
    let pairs = links.with_prefix(&config.veth_prefix()).await?;
    let deleted = futures::future::join_all(pairs.iter().map(|(name, _)| links.delete(name))).await;
    // The routes to other nodes' pods go with the address that they have packets come from.
    links.delete(&config.tunnel()).await?;
    links.delete(&config.bridge()).await?;
    deleted.into_iter().collect()
}

fn pins(config: &NetworkConfig) -> Result<(), NetworkError> {
    let mut found = Vec::new();
    for pod in entries(&config.pins_dir())? {
        if pod.is_dir() {
            found.extend(entries(&pod)?);
        }
    }
    found.iter().try_for_each(|pin| namespace::unpin(pin))
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, NetworkError> {
    let read = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(state::io("read", dir))?,
    };
    read.map(|entry| Ok(entry.map_err(state::io("read", dir))?.path())).collect()
}

/// An empty directory, or none.
pub(crate) fn remove_dir(dir: &Path) -> Result<(), NetworkError> {
    match std::fs::remove_dir(dir) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(state::io("remove", dir)(e)),
        _ => Ok(()),
    }
}

fn remove_tree(dir: &Path) -> Result<(), NetworkError> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(state::io("remove", dir)(e)),
        _ => Ok(()),
    }
}
