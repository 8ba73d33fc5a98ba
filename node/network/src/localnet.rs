//! Links by which packets that come from the machine's loopback may leave: a node's port on 127.0.0.1 leads to pods of other nodes
//! as well. The kernel lets a link do so by a sysctl (`route_localnet`), which also has it take packets for 127.0.0.1 that come from outside:
//! it is set only once the table's guard drops those.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::machine::sysctl;
use crate::{Family, NetworkConfig, NetworkError, nft, state};

/// Of the table: without it, no link is changed.
pub(crate) const GUARD: &str = "guard";

fn setting(link: &str) -> String {
    format!("net/ipv4/conf/{link}/route_localnet")
}

fn path(link: &str) -> PathBuf {
    Path::new("/proc/sys").join(setting(link))
}

fn is_set(link: &str) -> bool {
    std::fs::read_to_string(path(link)).is_ok_and(|now| now.trim() == "1")
}

/// Lets these links, and none of those that an earlier call changed; others that may already stay so.
pub(crate) async fn keep(config: &NetworkConfig, wanted: &BTreeSet<String>) -> Result<(), NetworkError> {
    let file = config.localnet_file();
    let before: BTreeSet<String> = state::load(&file)?.unwrap_or_default();
    let missing: BTreeSet<_> = wanted.iter().filter(|link| !is_set(link)).cloned().collect();
    let gone: BTreeSet<_> = before.difference(wanted).cloned().collect();
    if missing.is_empty() && gone.is_empty() {
        return Ok(());
    }
    let is_guarded = nft::count_rules_in(None, Family::V4, &config.table(), GUARD).await.is_ok_and(|rules| rules > 0);
    let new = if is_guarded { missing } else { BTreeSet::new() };
    // Noted first: whoever takes all away finds more rather than less.
    state::save(&file, &before.union(&new).collect::<BTreeSet<_>>())?;
    unset(&gone)?;
    for link in &new {
        sysctl(&setting(link), "1")?;
    }
    let kept: BTreeSet<_> = before.union(&new).filter(|link| !gone.contains(*link)).collect();
    state::save(&file, &kept)
}

/// As the links were; while the guard is there.
pub(crate) fn withdraw(config: &NetworkConfig) -> Result<(), NetworkError> {
    let file = config.localnet_file();
    unset(&state::load(&file)?.unwrap_or_default())?;
    state::remove(&file)
}

fn unset(links: &BTreeSet<String>) -> Result<(), NetworkError> {
    links.iter().filter(|link| path(link).exists()).try_for_each(|link| sysctl(&setting(link), "0"))
}
