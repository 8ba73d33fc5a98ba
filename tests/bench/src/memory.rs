//! Memory of processes, as their proportional share (Pss): what would come free if all of them ended.

use std::path::Path;

use crate::machine::field;

/// Bytes; `None` when the process is gone.
pub(crate) fn of(pid: u32) -> Option<u64> {
    let kb: u64 = field(&format!("/proc/{pid}/smaps_rollup"), "Pss:")?.parse().ok()?;
    Some(kb * 1024)
}

/// Processes whose executable lies under a folder.
pub(crate) fn running_from(folder: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.starts_with(folder))).collect()
}

pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
