//! `fsGroup`: a group that may read and write a volume's files.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::VolumeError;

/// Gives everything below `root` to `group`: readable by it, writable where the owner may write, and new files inherit it.
/// Symbolic links are not followed.
pub(crate) fn hand_over(root: &Path, group: Option<u32>) -> Result<(), VolumeError> {
    let Some(group) = group else { return Ok(()) };
    let metadata = fs::symlink_metadata(root).map_err(VolumeError::io("read", root))?;
    if metadata.is_symlink() {
        return Ok(());
    }
    if metadata.gid() != group {
        std::os::unix::fs::lchown(root, None, Some(group)).map_err(VolumeError::io("change the group of", root))?;
    }
    let mode = metadata.permissions().mode();
    let owner = (mode >> 6) & 0o6;
    let wanted = mode | 0o040 | (owner << 3) | if metadata.is_dir() { 0o2070 } else { 0 };
    if wanted != mode {
        fs::set_permissions(root, fs::Permissions::from_mode(wanted)).map_err(VolumeError::io("set the mode of", root))?;
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(root).map_err(VolumeError::io("read", root))?.flatten() {
            hand_over(&entry.path(), Some(group))?;
        }
    }
    Ok(())
}
