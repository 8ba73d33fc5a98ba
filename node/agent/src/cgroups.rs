//! The cgroups of pods: `/mizzen-<cluster>/pod<uid>` for guaranteed pods, one level deeper in `burstable` and `besteffort`
//! for the others, and `wasm` for the processes that host Wasm pods. What is below belongs to the runtimes.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::{Cgroup, hierarchies};
use mizzen_api::qos::Qos;
use mizzen_runtime::{Resources, cpu_shares};

#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    #[error("{operation} cgroup {path}: {source}")]
    Control {
        operation: &'static str,
        path: String,
        #[source]
        source: cgroups_rs::fs::error::Error,
    },
    #[error("{operation} {}: {source}", path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

const BURSTABLE: &str = "burstable";
const BEST_EFFORT: &str = "besteffort";

fn root(cluster: &str) -> String {
    format!("mizzen-{cluster}")
}

fn parent(cluster: &str, qos: Qos) -> String {
    match qos {
        Qos::Guaranteed => root(cluster),
        Qos::Burstable => format!("{}/{BURSTABLE}", root(cluster)),
        Qos::BestEffort => format!("{}/{BEST_EFFORT}", root(cluster)),
    }
}

/// A pod's cgroup, relative to each hierarchy's root, with a leading slash.
pub(crate) fn pod_path(cluster: &str, qos: Qos, uid: &str) -> String {
    format!("/{}/pod{uid}", parent(cluster, qos))
}

/// Below which the hosts of Wasm pods have their cgroups, relative to each hierarchy's root, with a leading slash.
pub fn wasm_hosts(cluster: &str) -> String {
    format!("/{}/wasm", root(cluster))
}

/// Makes a pod's cgroup in every hierarchy and bounds it. Blocks.
pub(crate) fn ensure(path: &str, resources: &Resources) -> Result<(), CgroupError> {
    let relative = path.trim_start_matches('/');
    let failed = |operation| move |source| CgroupError::Control { operation, path: path.to_owned(), source };
    let cgroup = Cgroup::new(hierarchies::auto(), relative).map_err(failed("create"))?;
    if let Some(shares) = resources.cpu_shares {
        cpu_shares::weigh(&cgroup, shares).map_err(failed("set the CPU shares of"))?;
        weigh_class(relative).map_err(failed("set the CPU shares of the class of"))?;
    }
    if let (Some(cpu), Some(quota), Some(period)) =
        (cgroup.controller_of::<CpuController>(), resources.cpu_quota, resources.cpu_period)
    {
        cpu.set_cfs_quota_and_period(Some(quota), Some(period)).map_err(failed("set the CPU quota of"))?;
    }
    if let (Some(memory), Some(limit)) = (cgroup.controller_of::<MemController>(), resources.memory_limit) {
        memory.set_limit(limit).map_err(failed("set the memory limit of"))?;
    }
    Ok(())
}

/// Beside guaranteed pods, burstable ones weigh what they ask for together, and those of best effort the least there is.
fn weigh_class(pod: &str) -> Result<(), cgroups_rs::fs::error::Error> {
    let Some(class) = Path::new(pod).parent() else { return Ok(()) };
    let cgroup = || Cgroup::load(hierarchies::auto(), class);
    match class.file_name().and_then(OsStr::to_str) {
        Some(BURSTABLE) => cpu_shares::weigh_as_those_below(&cgroup()),
        Some(BEST_EFFORT) => cpu_shares::weigh(&cgroup(), cpu_shares::LEAST),
        _ => Ok(()),
    }
}

/// Bytes that the processes of a cgroup use now; `None` where that cannot be read. Blocks.
pub(crate) fn memory_usage(path: &str) -> Option<u64> {
    let cgroup = Cgroup::load(hierarchies::auto(), path.trim_start_matches('/'));
    let memory = cgroup.controller_of::<MemController>()?.memory_stat();
    // Reading fails as zero.
    Some(memory.usage_in_bytes).filter(|used| *used > 0)
}

/// What each pod's processes have spent of processor time since its cgroup was made, in nanoseconds, by the pod's uid. Blocks.
pub(crate) fn processor_times(cluster: &str) -> HashMap<String, u64> {
    let roots = hierarchy_roots();
    pods(cluster).into_iter().filter_map(|(uid, path)| Some((uid, processor_time(&roots, &path)?))).collect()
}

fn processor_time(roots: &[PathBuf], path: &str) -> Option<u64> {
    let path = path.trim_start_matches('/');
    let read = |file: &str| roots.iter().find_map(|root| std::fs::read_to_string(root.join(path).join(file)).ok());
    // Version 1 of cgroups has a controller for it; version 2 always counts.
    match read("cpuacct.usage") {
        Some(nanoseconds) => nanoseconds.trim().parse().ok(),
        None => {
            read("cpu.stat")?.lines().find_map(|line| line.strip_prefix("usage_usec "))?.parse::<u64>().ok()?.checked_mul(1000)
        }
    }
}

/// Removes a cgroup and those below it. Blocks. No error when there is none.
///
/// # Errors
/// When a process is still in one of them.
pub(crate) fn remove(path: &str) -> Result<(), CgroupError> {
    let relative = path.trim_start_matches('/');
    for hierarchy in hierarchy_roots() {
        remove_tree(&hierarchy.join(relative))?;
    }
    if let Err(error) = weigh_class(relative) {
        // The next pod of its class weighs it again.
        tracing::debug!(path, %error, "class not weighed");
    }
    Ok(())
}

/// Removes all of a cluster's cgroups; blocks.
///
/// # Errors
/// When a process is still in one of them.
pub fn remove_all(cluster: &str) -> Result<(), CgroupError> {
    remove(&root(cluster))
}

/// The uids of all pods that have a cgroup.
pub(crate) fn pods(cluster: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for qos in [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort] {
        for hierarchy in hierarchy_roots() {
            let entries = std::fs::read_dir(hierarchy.join(parent(cluster, qos))).into_iter().flatten().flatten();
            for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
                if let Some(uid) = name.strip_prefix("pod") {
                    found.push((uid.to_owned(), pod_path(cluster, qos, uid)));
                }
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Where the kernel's cgroup hierarchies are mounted.
fn hierarchy_roots() -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let is_cgroup = |line: &&str| line.split(" - ").nth(1).is_some_and(|end| end.starts_with("cgroup"));
    table.lines().filter(is_cgroup).filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from).collect()
}

fn remove_tree(path: &Path) -> Result<(), CgroupError> {
    let Ok(entries) = std::fs::read_dir(path) else { return Ok(()) };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_tree(&entry.path())?;
    }
    match std::fs::remove_dir(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(CgroupError::Io { operation: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_of_service_chooses_the_parent() {
        assert_eq!(pod_path("0a1b2c3d", Qos::Guaranteed, "u"), "/mizzen-0a1b2c3d/podu");
        assert_eq!(pod_path("0a1b2c3d", Qos::Burstable, "u"), "/mizzen-0a1b2c3d/burstable/podu");
        assert_eq!(pod_path("0a1b2c3d", Qos::BestEffort, "u"), "/mizzen-0a1b2c3d/besteffort/podu");
    }

    /// Or weights, of which 512 shares are 59.
    fn class_shares(pod: &str) -> u64 {
        let class = Path::new(pod.trim_start_matches('/')).parent().expect("a class");
        let cgroup = Cgroup::load(hierarchies::auto(), class);
        let shares = cgroup.controller_of::<CpuController>().expect("a controller").shares().expect("reads");
        if cgroup.v2() { shares / 59 * 512 } else { shares }
    }

    #[test]
    fn processor_time_is_read_of_both_versions() {
        let folder = tempfile::tempdir().expect("a folder");
        for (pod, file, text) in [("p1", "cpuacct.usage", "1500\n"), ("p2", "cpu.stat", "usage_usec 3\nuser_usec 2\n")] {
            std::fs::create_dir(folder.path().join(pod)).expect("makes");
            std::fs::write(folder.path().join(pod).join(file), text).expect("writes");
        }
        let roots = [folder.path().join("none"), folder.path().to_owned()];
        let found = ["/p1", "/p2", "/p3"].map(|path| processor_time(&roots, path));
        assert_eq!(found, [Some(1500), Some(3000), None]);
    }

    #[test]
    fn a_pods_cgroup_is_made_bounded_found_and_removed() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let cluster = format!("{:08x}", std::process::id());
        let path = pod_path(&cluster, Qos::Burstable, "u1");
        let resources = Resources { cpu_shares: Some(512), memory_limit: Some(64 << 20), ..Resources::default() };
        let made = ensure(&path, &resources).and_then(|()| ensure(&path, &resources));
        let found = pods(&cluster);
        let times = processor_times(&cluster);
        let other = pod_path(&cluster, Qos::Burstable, "u2");
        let beside = ensure(&other, &resources).map(|()| class_shares(&other));
        let alone = remove(&other).map(|()| class_shares(&path));
        let removed = remove(&path).and_then(|()| remove_all(&cluster));
        made.expect("is made, twice");
        assert_eq!(found, [("u1".to_owned(), path)]);
        assert_eq!(times, HashMap::from([("u1".to_owned(), 0)]), "nothing has run in it");
        assert_eq!((beside.expect("is made"), alone.expect("is removed")), (1024, 512));
        removed.expect("is removed");
        assert!(pods(&cluster).is_empty());
    }
}
