//! `fsGroup`: a group that may use a volume's files.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::VolumeError;

/// What owner and group may do with a volume's files at least, as the kubelet has it.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    ReadWrite = 0o660,
    /// Files that come from the API.
    ReadOnly = 0o440,
}

/// Gives everything at or below `root` to `group`, with this access; new files in directories inherit the group. Symbolic
/// links are not followed.
pub(crate) fn hand_over(root: &Path, group: Option<u32>, access: Access) -> Result<(), VolumeError> {
    let Some(group) = group else { return Ok(()) };
    let metadata = fs::symlink_metadata(root).map_err(VolumeError::io("read", root))?;
    if metadata.is_symlink() {
        return Ok(());
    }
    if metadata.gid() != group {
        std::os::unix::fs::lchown(root, None, Some(group)).map_err(VolumeError::io("change the group of", root))?;
    }
    let mode = metadata.permissions().mode();
    let wanted = mode | access as u32 | if metadata.is_dir() { 0o2110 } else { 0 };
    if wanted != mode {
        fs::set_permissions(root, fs::Permissions::from_mode(wanted)).map_err(VolumeError::io("set the mode of", root))?;
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(root).map_err(VolumeError::io("read", root))?.flatten() {
            hand_over(&entry.path(), Some(group), access)?;
        }
    }
    Ok(())
}
