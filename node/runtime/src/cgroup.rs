//! The cgroup hierarchies of this machine, and taking a cgroup away.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mizzen_shim_protocol::CgroupDirectory;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How often to look again at a cgroup whose last process is on its way out, and how long in between.
const ATTEMPTS: u32 = 500;
const PAUSE: Duration = Duration::from_millis(10);

/// Where containers see the cgroup hierarchies.
pub(crate) const MOUNT: &str = "/sys/fs/cgroup";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchies(Vec<CgroupDirectory>);

impl Hierarchies {
    /// The mounted v1 hierarchies with a controller, or the v2 one where there are none.
    ///
    /// # Errors
    /// When there are none at all.
    pub fn discover() -> io::Result<Self> {
        let found = Self::parse(&fs::read_to_string("/proc/self/mountinfo")?);
        if found.0.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no cgroup hierarchy is mounted"));
        }
        Ok(found)
    }

    fn parse(mountinfo: &str) -> Self {
        let mut legacy: Vec<CgroupDirectory> = Vec::new();
        let mut unified = None;
        for line in mountinfo.lines() {
            let Some((mount, source)) = line.split_once(" - ") else { continue };
            let Some(path) = mount.split(' ').nth(4).map(PathBuf::from) else { continue };
            let mut source = source.split(' ');
            match (source.next(), source.nth(1)) {
                (Some("cgroup"), Some(options)) => {
                    let controllers: Vec<String> =
                        options.split(',').filter(|name| !["rw", "ro"].contains(name)).map(str::to_owned).collect();
                    let named = controllers.iter().any(|name| name.starts_with("name="));
                    // The same hierarchy may be mounted more than once.
                    if !named && !legacy.iter().any(|known| known.controllers == controllers) {
                        legacy.push(CgroupDirectory { controllers, path });
                    }
                }
                (Some("cgroup2"), _) if unified.is_none() => {
                    unified = Some(CgroupDirectory { controllers: Vec::new(), path });
                }
                _ => {}
            }
        }
        Self(if legacy.is_empty() { unified.into_iter().collect() } else { legacy })
    }

    /// Where `cgroup` (absolute, below each hierarchy's root) is.
    pub fn directories(&self, cgroup: &str) -> Vec<CgroupDirectory> {
        let relative = cgroup.trim_start_matches('/');
        self.0
            .iter()
            .map(|root| CgroupDirectory { controllers: root.controllers.clone(), path: root.path.join(relative) })
            .collect()
    }
}

/// The mounts of v1 hierarchies, named ones too, below [`MOUNT`]: containers get one of each.
///
/// # Errors
/// When `/proc` cannot be read.
pub(crate) fn legacy_mounts() -> io::Result<Vec<PathBuf>> {
    Ok(parse_legacy(&fs::read_to_string("/proc/self/mountinfo")?))
}

fn parse_legacy(mountinfo: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in mountinfo.lines() {
        let Some((mount, source)) = line.split_once(" - ") else { continue };
        let Some(path) = mount.split(' ').nth(4).map(PathBuf::from) else { continue };
        if source.split(' ').next() == Some("cgroup") && path.starts_with(MOUNT) && !found.contains(&path) {
            found.push(path);
        }
    }
    found
}

/// Kills every process of the cgroup and takes its directories away, its children's too.
///
/// # Errors
/// When a process does not die within seconds.
pub(crate) async fn remove(directories: &[CgroupDirectory]) -> io::Result<()> {
    for attempt in 1.. {
        let mut failure = None;
        for directory in directories {
            if let Err(err) = remove_tree(&directory.path) {
                failure = Some(io::Error::new(err.kind(), format!("cgroup {}: {err}", directory.path.display())));
            }
        }
        match failure {
            None => return Ok(()),
            Some(err) if attempt == ATTEMPTS => return Err(err),
            // The kernel tells nobody when a v1 cgroup becomes empty.
            Some(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    Ok(())
}

/// Sends `SIGKILL` to what is in these cgroups.
pub(crate) fn kill_all(directories: &[CgroupDirectory]) {
    for directory in directories {
        kill_processes(&directory.path);
    }
}

fn kill_processes(path: &Path) {
    let processes = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid > 0) {
        // One that has ended meanwhile is what was wanted.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn remove_tree(path: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(err),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    kill_processes(path);
    match fs::remove_dir(path) {
        Err(err) if err.raw_os_error() != Some(Errno::ENOENT as i32) => Err(err),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "25 20 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
26 25 0:23 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
27 25 0:24 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
28 25 0:25 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
29 25 0:26 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn the_controllers_of_a_hybrid_machine_are_the_legacy_ones() {
        let directories = Hierarchies::parse(HYBRID).directories("/mizzen/pod/a");
        let seen: Vec<_> = directories.iter().map(|dir| (dir.controllers.join(","), dir.path.display().to_string())).collect();
        assert_eq!(
            seen,
            [
                ("cpu,cpuacct".to_owned(), "/sys/fs/cgroup/cpu,cpuacct/mizzen/pod/a".to_owned()),
                ("memory".to_owned(), "/sys/fs/cgroup/memory/mizzen/pod/a".to_owned())
            ]
        );
    }

    #[test]
    fn the_legacy_mounts_are_those_with_a_name_too_and_no_unified_one() {
        let seen = parse_legacy(&format!("{HYBRID}30 25 0:27 / /mnt/cpu rw - cgroup cgroup rw,cpu\n"));
        let wanted = ["cpu,cpuacct", "memory", "systemd"].map(|name| Path::new(MOUNT).join(name));
        assert_eq!(seen, wanted);
    }

    #[test]
    fn a_machine_with_the_unified_hierarchy_alone_has_one_directory() {
        let directories =
            Hierarchies::parse("30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n").directories("/a");
        assert_eq!(directories, [CgroupDirectory { controllers: Vec::new(), path: "/sys/fs/cgroup/a".into() }]);
    }
}
