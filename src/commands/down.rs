//! `mizzen down`: takes everything of a cluster off the machine, also after a crash.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use mizzen_network::{Machines, Network};
use mizzen_runtime::Runtime;
use nix::mount::{MntFlags, umount2};

use crate::cluster::data_dir::{DataDir, DataDirError};
use crate::cluster::{further_nodes, machine, node};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, value_name = "DIR", default_value = crate::config::DEFAULT_DATA_DIR, env = "MIZZEN_DATA_DIR")]
    data_dir: PathBuf,
    /// Delete the data folder as well
    #[arg(long)]
    delete_data: bool,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    let data = match DataDir::open(&args.data_dir) {
        Err(DataDirError::NotACluster { .. }) if matches!(args.data_dir.try_exists(), Ok(false)) => {
            println!("{} does not exist: there is no cluster to take down", args.data_dir.display());
            return Ok(());
        }
        Err(DataDirError::Io { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {
            return Err(machine::require_root("mizzen down", "removes").err().unwrap_or(source.into()));
        }
        opened => opened?,
    };
    machine::require_root("mizzen down", "removes")?;
    let _lock = data.take_over().await?;
    for folder in further_nodes::folders(&data)? {
        let node = DataDir::open(&folder)?;
        let _lock = node.take_over().await?;
        remove(&node).await.with_context(|| format!("take down the node in {}", folder.display()))?;
    }
    remove(&data).await?;
    Machines::teardown(&node::network_config(&data)).await.context("remove the machines of further nodes")?;
    if args.delete_data {
        std::fs::remove_dir_all(data.root()).with_context(|| format!("delete {}", data.root().display()))?;
    }
    Ok(())
}

/// Removes all of a node but its data.
async fn remove(data: &DataDir) -> anyhow::Result<()> {
    let wasm = node::wasm_runtime(data)?;
    let runtimes: [Arc<dyn Runtime>; 2] = [node::container_runtime(data)?, wasm.clone()];
    for runtime in runtimes {
        for container in runtime.list().await? {
            runtime.remove(&container.id).await.with_context(|| format!("remove container {}", container.id))?;
        }
    }
    wasm.end_hosts().await.context("end the hosts of Wasm pods")?;
    Network::teardown(&node::network_config(data)).await.context("remove the pod network")?;
    unmount_below(data.root())?;
    mizzen_agent::cgroups::remove_all(data.cluster()).context("remove the cgroups")
}

/// Unmounts whatever is still mounted below the data folder, the innermost first.
fn unmount_below(root: &Path) -> anyhow::Result<()> {
    let mut targets = mounted_below(root)?;
    targets.sort_by_key(|target| std::cmp::Reverse(target.components().count()));
    for target in targets {
        umount2(&target, MntFlags::MNT_DETACH).with_context(|| format!("unmount {}", target.display()))?;
    }
    // Whoever deletes the folder next must not reach through a mount into what is somebody else's.
    match mounted_below(root)?.first() {
        Some(left) => bail!("{} is still mounted", left.display()),
        None => Ok(()),
    }
}

fn mounted_below(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").context("read /proc/self/mountinfo")?;
    Ok(mounts.lines().filter_map(mount_point).filter(|target| target.starts_with(root) && target != root).collect())
}

/// The fifth field of a line of mountinfo (proc(5)), where octal escapes stand for white space and backslashes.
fn mount_point(line: &str) -> Option<PathBuf> {
    let field = line.split(' ').nth(4)?;
    Some(
        ["\\040", "\\011", "\\012", "\\134"]
            .iter()
            .zip([" ", "\t", "\n", "\\"])
            .fold(field.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_read_with_its_escapes() {
        let line = r"36 35 98:0 / /mnt/a\040b rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(mount_point(line), Some(PathBuf::from("/mnt/a b")));
    }
}
