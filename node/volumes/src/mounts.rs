//! Mounts below a pod's directory.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::VolumeError;

/// Mounts a tmpfs unless there is one. `size` in bytes.
pub(crate) fn tmpfs(path: &Path, size: Option<i64>, mode: u32) -> Result<(), VolumeError> {
    fs::create_dir_all(path).map_err(VolumeError::io("create", path))?;
    if is_mounted(path)? {
        return Ok(());
    }
    let size = size.filter(|size| *size > 0).map(|size| format!(",size={size}")).unwrap_or_default();
    let data = format!("mode={mode:o}{size}");
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(data.as_str()))
        .map_err(VolumeError::nix("mount tmpfs on", path))
}

/// Mounts directories one above the other, the lowest first, unless something is mounted there already. Nobody writes or runs
/// what is there.
pub(crate) fn stack(layers: &[PathBuf], path: &Path) -> Result<(), VolumeError> {
    fs::create_dir_all(path).map_err(VolumeError::io("create", path))?;
    if is_mounted(path)? {
        return Ok(());
    }
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let failed = |error| VolumeError::nix("mount image on", path)(error);
    let none: Option<&str> = None;
    match layers {
        [] => mount(Some("tmpfs"), path, Some("tmpfs"), flags, none).map_err(failed),
        // An overlay needs two.
        [only] => {
            mount(Some(only), path, none, MsFlags::MS_BIND, none).map_err(failed)?;
            let again = mount(none, path, none, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags, none);
            again.map_err(|error| {
                let _ = umount2(path, MntFlags::MNT_DETACH);
                failed(error)
            })
        }
        layers => {
            let mut data = OsString::from("lowerdir=");
            for (index, layer) in layers.iter().rev().enumerate() {
                data.push(if index == 0 { "" } else { ":" });
                data.push(layer);
            }
            mount(Some("overlay"), path, Some("overlay"), flags, Some(data.as_os_str())).map_err(failed)
        }
    }
}

pub(crate) fn is_mounted(path: &Path) -> Result<bool, VolumeError> {
    Ok(below(path)?.iter().any(|mounted| mounted == path))
}

/// Mount points at or below `root`, the deepest last.
pub(crate) fn below(root: &Path) -> Result<Vec<PathBuf>, VolumeError> {
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(VolumeError::io("read", "/proc/self/mountinfo"))?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(|field| PathBuf::from(unescape(field)));
    Ok(points.filter(|point| point.starts_with(root)).collect())
}

/// Unmounts everything at or below `root`; lazily, since a process that is being killed may still hold a file open.
pub(crate) fn unmount_below(root: &Path) -> Result<(), VolumeError> {
    for point in below(root)?.iter().rev() {
        match umount2(point, MntFlags::MNT_DETACH) {
            Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
            Err(error) => return Err(VolumeError::nix("unmount", point)(error)),
        }
    }
    Ok(())
}

/// mountinfo writes blanks and the like as `\040`.
fn unescape(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        match rest.get(at + 1..at + 4).and_then(|octal| u8::from_str_radix(octal, 8).ok()) {
            Some(byte) => {
                text.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            None => {
                text.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_with_blanks_are_read() {
        assert_eq!(unescape(r"/a\040b"), "/a b");
        assert_eq!(unescape(r"/a\b"), r"/a\b");
    }
}
