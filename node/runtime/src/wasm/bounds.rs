//! The cgroup of a host process: what its pods may take together. Each pod is bounded by the host itself; this bounds the
//! host.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;
use cgroups_rs::fs::{Cgroup, MaxValue, hierarchies};
use mizzen_shim_protocol::CgroupDirectory;
use serde::{Deserialize, Serialize};

use crate::cgroup::{self, Hierarchies};
use crate::cpu_shares;

/// Threads of a host: those that run guests, those that wait for files, the clock.
const THREADS: i64 = 1024;

/// Bytes of the host itself: its code, and what it needs for whoever is there.
const HOST: u64 = 128 << 20;

/// Bytes that the host needs for a pod beside its memories: buffers, stacks, names, connections.
const POD: u64 = 16 << 20;

const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// What one pod adds to its host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Needs {
    /// Bytes; without one the pod may take what the machine has.
    pub(super) memory: Option<u64>,
    /// Bytes of the compiled program.
    pub(super) program: u64,
    pub(super) shares: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    /// Bytes.
    memory: u64,
    shares: u64,
}

impl Bounds {
    /// The sum of all pods' limits where all have one, otherwise all of the machine's memory (bytes).
    fn of<'a>(pods: impl Iterator<Item = &'a Needs>, machine: u64) -> Self {
        let mut sum = Self { memory: HOST, shares: 0 };
        let mut unbounded = false;
        for pod in pods {
            // A program is read and then mapped, which is for a moment twice its size.
            let room = POD.saturating_add(pod.program.saturating_mul(2));
            sum.memory = sum.memory.saturating_add(pod.memory.unwrap_or(0)).saturating_add(room);
            sum.shares = sum.shares.saturating_add(pod.shares);
            unbounded |= pod.memory.is_none();
        }
        let memory = if unbounded { machine } else { sum.memory.min(machine) };
        Self { memory, shares: sum.shares.max(cpu_shares::LEAST) }
    }
}

/// Where the cgroups of hosts are made.
#[derive(Clone, Debug)]
pub(super) struct Parent {
    /// Relative to each hierarchy's root.
    path: String,
    hierarchies: Hierarchies,
    /// Bytes of the machine's memory.
    memory: u64,
}

impl Parent {
    /// # Errors
    /// When the machine has no cgroups.
    pub(super) fn open(path: &str) -> io::Result<Self> {
        let memory = nix::sys::sysinfo::sysinfo()?.ram_total();
        Ok(Self { path: path.trim_matches('/').to_owned(), hierarchies: Hierarchies::discover()?, memory })
    }

    pub(super) fn of(&self, host: &str) -> HostCgroup {
        let path = format!("{}/{host}", self.path);
        let directories = self.directories(&path);
        HostCgroup { directories, path, memory: self.memory, bounds: None, pods: HashMap::new(), added: 0 }
    }

    fn directories(&self, path: &str) -> Vec<CgroupDirectory> {
        let ours = |directory: &CgroupDirectory| {
            // The unified hierarchy lists none.
            directory.controllers.is_empty() || directory.controllers.iter().any(|name| CONTROLLERS.contains(&name.as_str()))
        };
        self.hierarchies.directories(path).into_iter().filter(ours).collect()
    }

    /// The hosts that have one.
    pub(super) fn hosts(&self) -> BTreeSet<String> {
        let entries =
            self.directories(&self.path).into_iter().flat_map(|directory| fs::read_dir(directory.path).into_iter().flatten());
        let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// Ends every process in them and takes them away.
    ///
    /// # Errors
    /// When a process does not end.
    pub(super) async fn remove(&self) -> io::Result<()> {
        cgroup::remove(&self.directories(&self.path)).await
    }
}

pub(super) struct HostCgroup {
    path: String,
    directories: Vec<CgroupDirectory>,
    memory: u64,
    /// As the kernel has them.
    bounds: Option<Bounds>,
    pods: HashMap<String, Needs>,
    added: u64,
}

impl HostCgroup {
    /// Counts a pod that an earlier agent started; [`HostCgroup::take_up`] is to follow when all are counted.
    pub(super) fn adopt(&mut self, pod: &str, needs: Needs) {
        self.pods.insert(pod.to_owned(), needs);
    }

    /// Bounds a host that an earlier agent started by the pods that were adopted.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn take_up(&mut self) -> io::Result<()> {
        let wanted = Bounds::of(self.pods.values(), self.memory);
        if self.exists() { self.apply(self.within_use(wanted)) } else { Ok(()) }
    }

    /// Makes room for a pod.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn add(&mut self, pod: &str, needs: Needs) -> io::Result<()> {
        self.pods.insert(pod.to_owned(), needs);
        self.added += 1;
        let wanted = Bounds::of(self.pods.values(), self.memory);
        // Before the first pod's host comes up there is nothing to bound; after a restart of the agent there may be.
        match self.bounds {
            Some(bounds) if bounds == wanted => Ok(()),
            None if !self.exists() => Ok(()),
            // One that was wider than it had to be must not become too tight for what is there.
            _ => self.apply(self.within_use(wanted)),
        }
    }

    /// Takes a pod's room away; answers as [`HostCgroup::idle`].
    pub(super) fn remove(&mut self, pod: &str) -> Option<u64> {
        self.pods.remove(pod);
        let wanted = Bounds::of(self.pods.values(), self.memory);
        if !self.pods.is_empty() && self.bounds.is_some_and(|bounds| bounds != wanted) {
            // A bound that stays too wide for a while does no harm.
            if let Err(err) = self.apply(self.within_use(wanted)) {
                tracing::debug!(cgroup = self.path, %err, "its bounds stay as they are");
            }
        }
        self.idle()
    }

    /// While there is no pod: how many there have been.
    pub(super) fn idle(&self) -> Option<u64> {
        self.pods.is_empty().then_some(self.added)
    }

    fn exists(&self) -> bool {
        self.directories.iter().any(|directory| directory.path.exists())
    }

    /// Makes the cgroup, bounds it, and answers what a process writes `0` to for joining it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn make(&mut self) -> io::Result<Vec<File>> {
        self.apply(Bounds::of(self.pods.values(), self.memory))?;
        let open = |directory: &CgroupDirectory| {
            let path = directory.path.join("cgroup.procs");
            let named = |err: io::Error| io::Error::new(err.kind(), format!("{}: {err}", path.display()));
            File::options().write(true).open(&path).map_err(named)
        };
        self.directories.iter().map(open).collect()
    }

    /// The directories to take away; none when there are pods, or were some since [`HostCgroup::idle`] answered this.
    pub(super) fn close(&mut self, idle: u64) -> Option<Vec<CgroupDirectory>> {
        if self.idle() != Some(idle) {
            return None;
        }
        self.bounds = None;
        Some(self.directories.clone())
    }

    /// The bounds, or what the kernel has instead of a bound on memory that is too tight for what is used now: it kills
    /// under such a one.
    fn within_use(&self, wanted: Bounds) -> Bounds {
        let cgroup = Cgroup::load(hierarchies::auto(), PathBuf::from(&self.path));
        let Some(memory) = cgroup.controller_of::<MemController>().map(MemController::memory_stat) else { return wanted };
        let now = u64::try_from(memory.limit_in_bytes).map_or(self.memory, |limit| limit.min(self.memory));
        Bounds { memory: not_below(wanted.memory, memory.usage_in_bytes, now), ..wanted }
    }

    fn apply(&mut self, bounds: Bounds) -> io::Result<()> {
        let failed = |operation| move |err: cgroups_rs::fs::error::Error| io::Error::other(format!("{operation}: {err}"));
        let controllers = CONTROLLERS.iter().map(|name| (*name).to_owned()).collect();
        let path = PathBuf::from(&self.path);
        let cgroup = Cgroup::new_with_specified_controllers(hierarchies::auto(), path, Some(controllers))
            .map_err(failed("make the cgroup"))?;
        cpu_shares::weigh(&cgroup, bounds.shares).map_err(failed("set the CPU shares"))?;
        if let Some(hosts) = Path::new(&self.path).parent().filter(|hosts| hosts.file_name().is_some()) {
            let hosts = Cgroup::load(hierarchies::auto(), hosts);
            cpu_shares::weigh_as_those_below(&hosts).map_err(failed("set the CPU shares of all hosts"))?;
        }
        if let Some(pids) = cgroup.controller_of::<PidController>() {
            pids.set_pid_max(MaxValue::Value(THREADS)).map_err(failed("set the process limit"))?;
        }
        if let Some(memory) = cgroup.controller_of::<MemController>() {
            let limit = i64::try_from(bounds.memory).unwrap_or(i64::MAX);
            memory.set_limit(limit).map_err(failed("set the memory limit"))?;
        }
        self.bounds = Some(bounds);
        Ok(())
    }
}

/// The wanted limit if it leaves some room above what is used, otherwise no less than there is now. All in bytes.
fn not_below(wanted: u64, used: u64, now: u64) -> u64 {
    if used < wanted / 4 * 3 { wanted } else { wanted.max(now) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: u64 = 8 << 30;

    fn bounds(pods: &[Needs]) -> Bounds {
        Bounds::of(pods.iter(), MACHINE)
    }

    #[test]
    fn a_host_is_bounded_by_what_its_pods_may_take() {
        let pod = |memory| Needs { memory, program: 1 << 20, shares: 100 };
        let two = bounds(&[pod(Some(32 << 20)), pod(Some(64 << 20))]);
        assert_eq!(two, Bounds { memory: HOST + 2 * POD + (96 << 20) + (4 << 20), shares: 200 });
        assert_eq!(bounds(&[pod(None), pod(Some(64 << 20))]).memory, MACHINE);
        assert_eq!(bounds(&[pod(Some(64 << 20)), pod(None)]).memory, MACHINE);
        assert_eq!(bounds(&[pod(Some(u64::MAX))]).memory, MACHINE);
        assert_eq!(bounds(&[]), Bounds { memory: HOST, shares: cpu_shares::LEAST });
    }

    #[test]
    fn a_limit_becomes_tighter_only_where_what_is_used_leaves_room() {
        assert_eq!(not_below(100, 50, 1000), 100);
        assert_eq!(not_below(100, 80, 1000), 1000, "it would be too tight");
        assert_eq!(not_below(100, 80, 90), 100, "a wider one does no harm");
    }
}
