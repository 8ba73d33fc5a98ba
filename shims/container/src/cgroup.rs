//! What the container's cgroup tells, under v1 hierarchies and under v2.

use std::fs;
use std::path::{Path, PathBuf};

use mizzen_shim_protocol::CgroupDirectory;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) struct Cgroup<'a>(pub(crate) &'a [CgroupDirectory]);

impl Cgroup<'_> {
    fn controller(&self, name: &str) -> Option<&Path> {
        self.0.iter().find(|dir| dir.controllers.iter().any(|controller| controller == name)).map(|dir| dir.path.as_path())
    }

    fn unified(&self) -> Option<&Path> {
        self.0.iter().find(|dir| dir.controllers.is_empty()).map(|dir| dir.path.as_path())
    }

    /// Whether the kernel killed a process of the container for its memory limit.
    pub(crate) fn oom_killed(&self) -> bool {
        let file = match self.controller("memory") {
            Some(dir) => dir.join("memory.oom_control"),
            None => match self.unified() {
                Some(dir) => dir.join("memory.events"),
                None => return false,
            },
        };
        keyed(&file, "oom_kill").is_some_and(|count| count > 0)
    }

    /// Bytes in use that could not be given back at once.
    pub(crate) fn memory(&self) -> u64 {
        let (usage, statistics, inactive) = match (self.controller("memory"), self.unified()) {
            (Some(dir), _) => (dir.join("memory.usage_in_bytes"), dir.join("memory.stat"), "total_inactive_file"),
            (None, Some(dir)) => (dir.join("memory.current"), dir.join("memory.stat"), "inactive_file"),
            (None, None) => return 0,
        };
        number(&usage).unwrap_or(0).saturating_sub(keyed(&statistics, inactive).unwrap_or(0))
    }

    /// Nanoseconds.
    pub(crate) fn cpu(&self) -> u64 {
        match (self.controller("cpuacct"), self.unified()) {
            (Some(dir), _) => number(&dir.join("cpuacct.usage")).unwrap_or(0),
            (None, Some(dir)) => keyed(&dir.join("cpu.stat"), "usage_usec").unwrap_or(0) * 1000,
            (None, None) => 0,
        }
    }

    /// Sends `SIGKILL` to every process of the container, also where it has no process namespace of its own.
    pub(crate) fn kill(&self) {
        let dir: Option<PathBuf> =
            self.controller("pids").or_else(|| self.controller("memory")).or_else(|| self.unified()).map(Path::to_path_buf);
        let Some(dir) = dir else { return };
        for pid in fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default().lines().filter_map(|pid| pid.parse().ok()) {
            // A process that has ended meanwhile is what was wanted.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn keyed(path: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_matched_whole() {
        let path = std::env::temp_dir().join(format!("mizzen-shim-keyed-{}", std::process::id()));
        fs::write(&path, "oom_kill_disable 1\nunder_oom 0\noom_kill 2\n").unwrap();
        let seen = keyed(&path, "oom_kill");
        fs::remove_file(&path).unwrap();
        assert_eq!(seen, Some(2));
    }
}
