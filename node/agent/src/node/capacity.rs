//! What the machine has.

use std::path::Path;

/// As it is given to pods; nothing is kept back yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) cpu_milli: i64,
    /// Bytes.
    pub(crate) memory: i64,
    pub(crate) pods: i64,
    /// Bytes of the file system that images and pods are on.
    pub(crate) storage: i64,
}

/// As the kubelet's default has it; Wasm pods are no lighter to the API.
const PODS: i64 = 250;

pub(crate) fn read(data_dir: &Path) -> Capacity {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Capacity {
        cpu_milli: i64::try_from(cpus).unwrap_or(1) * 1000,
        memory: meminfo("MemTotal:").unwrap_or(0),
        pods: PODS,
        storage: storage(data_dir).map_or(0, |(total, _)| total),
    }
}

/// Bytes of a line of /proc/meminfo.
pub(crate) fn meminfo(name: &str) -> Option<i64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse::<i64>().ok()?.checked_mul(1024)
}

/// Total and free bytes of a file system.
pub(crate) fn storage(path: &Path) -> Option<(i64, i64)> {
    let stat = nix::sys::statvfs::statvfs(path).ok()?;
    let block = i64::try_from(stat.fragment_size()).ok()?;
    Some((
        i64::try_from(stat.blocks()).ok()?.saturating_mul(block),
        i64::try_from(stat.blocks_available()).ok()?.saturating_mul(block),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_something() {
        let capacity = read(Path::new("/"));
        assert!(capacity.cpu_milli >= 1000 && capacity.memory > 64 << 20 && capacity.storage > 0, "{capacity:?}");
    }
}
