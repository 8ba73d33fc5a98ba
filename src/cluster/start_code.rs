//! Gives back the pages of the executable that only starting needed.
//!
//! Each first use of code maps 64 kB around it, and starting uses a little of almost everything. The kernel keeps what is
//! mapped among the last it would reclaim. Given back, the pages are ordinary page cache again, and what is used still is
//! mapped again at its next use, without being read from disk.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long after start: most is needed no longer once the node is ready, the rest when caches have filled and bootstrap's
/// writes are done.
const SETTLED: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// Gives the pages back, twice, unless the process ends before.
pub async fn give_back(cancel: CancellationToken) {
    let start = Instant::now();
    for settled in SETTLED {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep_until(start + settled) => {}
        }
        match now() {
            Ok(bytes) => tracing::debug!(bytes, "gave back what only starting needed of the executable"),
            Err(error) => tracing::warn!(%error, "what only starting needed of the executable stays mapped"),
        }
    }
}

/// How many bytes were mapped and are no longer.
fn now() -> std::io::Result<u64> {
    let executable = std::env::current_exe()?;
    let maps = std::fs::read_to_string("/proc/self/smaps")?;
    let mut given = 0;
    for mapping in clean_mappings(&maps, &executable) {
        // SAFETY: the mapping is of a file, not writable and without pages of its own: the next access to any of its pages
        // maps the same bytes of the file again.
        if unsafe { libc::madvise(mapping.start as *mut libc::c_void, mapping.length, libc::MADV_DONTNEED) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
        given += mapping.resident;
    }
    Ok(given)
}

/// A range of this process' addresses.
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    start: usize,
    length: usize,
    /// Bytes.
    resident: u64,
}

/// The mappings of `file`, as `/proc/PID/smaps` tells of them, that the process cannot write to and has not changed. What the
/// loader relocated has been changed, whatever its permissions are now.
fn clean_mappings(smaps: &str, file: &Path) -> Vec<Mapping> {
    let mut found: Vec<Mapping> = Vec::new();
    let mut is_ours = false;
    for line in smaps.lines() {
        if let Some((mapping, permissions, path)) = header(line) {
            is_ours = permissions.ends_with('p') && !permissions.contains('w') && Path::new(path) == file;
            if is_ours {
                found.push(mapping);
            }
        } else if is_ours && let Some(mapping) = found.last_mut() {
            match amount(line) {
                Some(("Rss", bytes)) => mapping.resident = bytes,
                Some(("Anonymous", bytes)) if bytes > 0 => {
                    found.pop();
                    is_ours = false;
                }
                _ => {}
            }
        }
    }
    found
}

/// `START-END PERMISSIONS OFFSET DEVICE INODE PATH`, the path with blanks if it has any.
fn header(line: &str) -> Option<(Mapping, &str, &str)> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    let permissions = fields.next()?;
    let path = fields.nth(3).unwrap_or_default().trim_start();
    Some((Mapping { start, length: end.checked_sub(start)?, resident: 0 }, permissions, path))
}

/// `NAME: NUMBER kB`, in bytes.
fn amount(line: &str) -> Option<(&str, u64)> {
    let (name, amount) = line.split_once(':')?;
    let kilobytes: u64 = amount.trim().strip_suffix(" kB")?.parse().ok()?;
    Some((name, kilobytes * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55d0-65d0 r--p 00000000 fe:01 27 /opt/my own/mizzen
Rss:                   4 kB
Anonymous:             0 kB
VmFlags: rd mr
65d0-95d0 r-xp 00001000 fe:01 27                         /opt/my own/mizzen
Rss:                   8 kB
Anonymous:             0 kB
95d0-a5d0 r--p 00004000 fe:01 27                         /opt/my own/mizzen
Rss:                   4 kB
Anonymous:             4 kB
Locked:                0 kB
a5d0-b5d0 rw-p 00005000 fe:01 27                         /opt/my own/mizzen
Rss:                   4 kB
Anonymous:             0 kB
b5d0-c5d0 r-xp 00000000 fe:01 28                         /usr/lib/libc.so.6
Rss:                   4 kB
Anonymous:             0 kB
c5d0-d5d0 rw-p 00000000 00:00 0
Rss:                   4 kB
Anonymous:             0 kB
";

    #[test]
    fn only_what_is_as_in_the_executable_is_given_back() {
        let clean = clean_mappings(SMAPS, Path::new("/opt/my own/mizzen"));
        let headers = Mapping { start: 0x55d0, length: 0x1000, resident: 4096 };
        let code = Mapping { start: 0x65d0, length: 0x3000, resident: 8192 };
        assert_eq!(clean, [headers, code]);
        assert!(clean_mappings(SMAPS, Path::new("/opt/mizzen")).is_empty());
    }

    /// The code that says so is mapped anew.
    #[test]
    fn this_process_goes_on_with_less_mapped() {
        let executable = std::env::current_exe().expect("has one");
        let resident = || -> u64 {
            let smaps = std::fs::read_to_string("/proc/self/smaps").expect("can be read");
            clean_mappings(&smaps, &executable).iter().map(|mapping| mapping.resident).sum()
        };
        let given = now().expect("gives back");
        let left = resident();
        assert!(left < given, "{given} bytes were mapped, {left} are");
    }
}
