//! Writes the files of a volume so that readers see all old or all new ones: the files lie in a hidden directory, `..data`
//! links to it, each visible name links into `..data`, and an update renames a new `..data` over the old.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

use crate::VolumeError;
use crate::ownership::{Access, hand_over};
use crate::payload::{File, Payload};

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";

/// Brings `dir` to `payload`; answers whether anything changed. `group` may read the files where it is given.
pub(crate) fn write(dir: &Path, payload: &Payload, group: Option<u32>) -> Result<bool, VolumeError> {
    let current = fs::read_link(dir.join(DATA)).ok();
    if current.as_ref().is_some_and(|current| holds(&dir.join(current), payload)) {
        return Ok(false);
    }
    let version = (0u64..).map(|n| format!("..v{n}")).find(|name| !dir.join(name).exists()).unwrap_or_default();
    let root = dir.join(&version);
    for (path, file) in payload {
        write_file(&root, path, file)?;
    }
    fs::create_dir_all(&root).map_err(VolumeError::io("create", &root))?;
    // Before anybody sees the new files.
    hand_over(dir, group, Access::ReadOnly)?;

    let temporary = dir.join(NEW_DATA);
    let _ = fs::remove_file(&temporary);
    symlink(&version, &temporary).map_err(VolumeError::io("link", &temporary))?;
    fs::rename(&temporary, dir.join(DATA)).map_err(VolumeError::io("rename", &temporary))?;

    let visible: BTreeSet<&str> = payload.keys().filter_map(|path| path.split('/').next()).collect();
    for name in &visible {
        let link = dir.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link).map_err(VolumeError::io("link", &link))?;
        }
    }
    sweep(dir, &version, &visible)?;
    Ok(true)
}

fn write_file(root: &Path, path: &str, file: &File) -> Result<(), VolumeError> {
    let target = root.join(path);
    let parent = target.parent().unwrap_or(root);
    fs::create_dir_all(parent).map_err(VolumeError::io("create", parent))?;
    let mut out = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&target)
        .map_err(VolumeError::io("create", &target))?;
    out.write_all(&file.bytes).map_err(VolumeError::io("write", &target))?;
    // The mode is set by itself, since the umask cuts what open is given.
    fs::set_permissions(&target, fs::Permissions::from_mode(file.mode)).map_err(VolumeError::io("set the mode of", &target))?;
    match file.owner {
        None => Ok(()),
        Some(_) => std::os::unix::fs::lchown(&target, file.owner, None).map_err(VolumeError::io("change the owner of", &target)),
    }
}

/// Whether the directory has exactly these files (modes aside: a group may have been given access).
fn holds(root: &Path, payload: &Payload) -> bool {
    let owned = |path: &Path, owner: u32| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.uid() == owner);
    let same = |(path, file): (&String, &File)| {
        let path = root.join(path);
        file.owner.is_none_or(|owner| owned(&path, owner)) && fs::read(path).is_ok_and(|bytes| bytes == file.bytes)
    };
    payload.iter().all(same) && count(root) == payload.len()
}

fn count(dir: &Path) -> usize {
    let Ok(entries) = fs::read_dir(dir) else { return usize::MAX };
    entries.flatten().map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
}

/// Removes old versions and names that are gone.
fn sweep(dir: &Path, version: &str, visible: &BTreeSet<&str>) -> Result<(), VolumeError> {
    for entry in fs::read_dir(dir).map_err(VolumeError::io("read", dir))?.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name == DATA || name == version || visible.contains(name) {
            continue;
        }
        let path = entry.path();
        let removed = if name.starts_with("..v") {
            fs::remove_dir_all(&path)
        } else if fs::symlink_metadata(&path).is_ok_and(|m| m.is_symlink()) {
            fs::remove_file(&path)
        } else {
            continue;
        };
        removed.map_err(VolumeError::io("remove", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(files: &[(&str, &str, u32)]) -> Payload {
        files.iter().map(|(path, text, mode)| ((*path).to_owned(), File::new(text.as_bytes().to_vec(), *mode))).collect()
    }

    #[test]
    fn an_update_replaces_all_files_at_once_and_removes_what_is_gone() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let at = |name: &str| fs::read_to_string(dir.path().join(name));
        assert!(write(dir.path(), &payload(&[("a", "1", 0o644), ("x/b", "2", 0o400)]), None).expect("writes"));
        assert_eq!((at("a").expect("reads"), at("x/b").expect("reads")), ("1".into(), "2".into()));
        let mode = fs::metadata(dir.path().join("x/b")).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o400);

        let before = fs::read_link(dir.path().join(DATA)).expect("links");
        assert!(!write(dir.path(), &payload(&[("a", "1", 0o644), ("x/b", "2", 0o400)]), None).expect("writes"));
        assert_eq!(fs::read_link(dir.path().join(DATA)).expect("links"), before);

        assert!(write(dir.path(), &payload(&[("a", "3", 0o644)]), None).expect("writes"));
        assert_eq!(at("a").expect("reads"), "3");
        assert!(at("x/b").is_err());
        let names = fs::read_dir(dir.path()).expect("reads").flatten().count();
        assert_eq!(names, 3, "..data, one version, a");
    }

    #[test]
    fn an_empty_volume_is_a_directory_too() {
        let dir = tempfile::tempdir().expect("makes a directory");
        assert!(write(dir.path(), &Payload::new(), None).expect("writes"));
        assert!(!write(dir.path(), &Payload::new(), None).expect("writes"));
    }
}
