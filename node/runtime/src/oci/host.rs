//! What this machine and this process allow, read once.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use crate::cgroup::{self, Hierarchies};

/// All capabilities that the kernel has, by their number.
pub const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) hierarchies: Hierarchies,
    /// The mounts of v1 cgroup hierarchies that a container gets.
    pub(super) legacy_cgroups: Vec<PathBuf>,
    /// What this process may hand down.
    pub(super) capabilities: Vec<String>,
    /// The lowest `oom_score_adj` that this process may set.
    pub(super) oom_score_floor: i32,
    /// The highest number of open files that this process may allow.
    pub(super) open_files: u64,
    /// The device nodes that a privileged container gets.
    pub(super) devices: Vec<Device>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) path: PathBuf,
    pub(super) character: bool,
    pub(super) major: i64,
    pub(super) minor: i64,
    pub(super) mode: u32,
}

impl Host {
    /// # Errors
    /// When `/proc` cannot be read or there are no cgroups.
    pub(super) fn read() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let capabilities = capabilities(mask(&status, "CapPrm:") & mask(&status, "CapBnd:"));
        let unbounded = capabilities.iter().any(|name| name == "CAP_SYS_RESOURCE");
        let own = fs::read_to_string("/proc/self/oom_score_adj")?.trim().parse().unwrap_or(0);
        let (_, open_files) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)?;
        Ok(Self {
            hierarchies: Hierarchies::discover()?,
            legacy_cgroups: cgroup::legacy_mounts()?,
            capabilities,
            oom_score_floor: if unbounded { -1000 } else { own },
            open_files,
            devices: devices()?,
        })
    }
}

fn mask(status: &str, key: &str) -> u64 {
    let field = status.lines().find_map(|line| line.strip_prefix(key));
    field.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn capabilities(mask: u64) -> Vec<String> {
    let held = CAPABILITIES.iter().enumerate().filter(|(number, _)| mask >> number & 1 == 1);
    held.map(|(_, name)| (*name).to_owned()).collect()
}

/// The nodes right in `/dev` but those that every container gets anyway.
fn devices() -> io::Result<Vec<Device>> {
    const DEFAULT: [&str; 9] = ["null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "stdin"];
    let mut devices = Vec::new();
    for entry in fs::read_dir("/dev")? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if !(kind.is_char_device() || kind.is_block_device()) || DEFAULT.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let Ok(metadata) = entry.metadata() else { continue };
        let number = metadata.rdev();
        devices.push(Device {
            path: entry.path(),
            character: kind.is_char_device(),
            major: libc::major(number).into(),
            minor: libc::minor(number).into(),
            mode: metadata.mode() & 0o777,
        });
    }
    Ok(devices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_masks_are_read_by_name() {
        let status = "Name:\tx\nCapPrm:\t0000000000000021\nCapBnd:\t000001ffffffffff\n";
        assert_eq!(capabilities(mask(status, "CapPrm:")), ["CAP_CHOWN", "CAP_KILL"]);
        assert_eq!(capabilities(mask(status, "CapBnd:")).len(), CAPABILITIES.len());
    }
}
