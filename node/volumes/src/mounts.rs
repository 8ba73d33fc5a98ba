//! Mounts below a pod's directory.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::VolumeError;

/// Mounts a tmpfs unless there is one. `size` in bytes; the folder is of `group` where that is given.
pub(crate) fn tmpfs(path: &Path, size: Option<i64>, mode: u32, group: Option<u32>) -> Result<(), VolumeError> {
    fs::create_dir_all(path).map_err(VolumeError::io("create", path))?;
    if is_mounted(path)? {
        return Ok(());
    }
    let size = size.filter(|size| *size > 0).map(|size| format!(",size={size}")).unwrap_or_default();
    let group = group.map(|group| format!(",gid={group}")).unwrap_or_default();
    let data = format!("mode={mode:o}{size}{group}");
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
            // Names by descriptors keep many layers within the one page that mount options have, and free of `:` and `,`.
            let open = |layer: &PathBuf| fs::File::open(layer).map_err(VolumeError::io("open", layer));
            let opened = layers.iter().rev().map(open).collect::<Result<Vec<_>, _>>()?;
            let names: Vec<String> = opened.iter().map(|layer| format!("/proc/self/fd/{}", layer.as_raw_fd())).collect();
            let data = format!("lowerdir={}", names.join(":"));
            mount(Some("overlay"), path, Some("overlay"), flags, Some(data.as_str())).map_err(failed)
        }
    }
}

pub(crate) fn is_mounted(path: &Path) -> Result<bool, VolumeError> {
    Ok(below(path)?.iter().any(|mounted| mounted == path))
}

/// Mount points at or below `root`, the deepest last.
pub(crate) fn below(root: &Path) -> Result<Vec<PathBuf>, VolumeError> {
    let table = fs::read("/proc/self/mountinfo").map_err(VolumeError::io("read", "/proc/self/mountinfo"))?;
    // Other mount points of the machine may have any bytes in their names.
    let table = String::from_utf8_lossy(&table);
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
    fn as_many_layers_as_an_image_may_have_are_stacked() {
        let dir = tempfile::tempdir().expect("makes a directory");
        // More than a page of names, as the layers of a store have them.
        let layers: Vec<PathBuf> = (0..120).map(|n| dir.path().join(format!("a,b:{n:0>64}"))).collect();
        for (number, layer) in layers.iter().enumerate() {
            fs::create_dir(layer).expect("makes");
            fs::write(layer.join("last"), number.to_string()).expect("writes");
            fs::write(layer.join(number.to_string()), "").expect("writes");
        }
        let target = dir.path().join("stacked");
        stack(&layers, &target).expect("mounts");
        stack(&layers, &target).expect("is mounted");
        let seen = (fs::read_to_string(target.join("last")), fs::read_dir(&target).map(Iterator::count));
        let written = fs::write(target.join("new"), "").map_err(|error| error.kind());
        unmount_below(&target).expect("unmounts");
        assert_eq!((seen.0.expect("reads"), seen.1.expect("lists")), ("119".to_owned(), 121));
        assert_eq!(written, Err(std::io::ErrorKind::ReadOnlyFilesystem));
    }

    #[test]
    fn mount_points_with_blanks_are_read() {
        assert_eq!(unescape(r"/a\040b"), "/a b");
        assert_eq!(unescape(r"/a\b"), r"/a\b");
    }
}
