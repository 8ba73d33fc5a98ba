//! `hostPath`: a path of the node, checked or made as its `type` says.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Volume;

use super::{Kind, Setup};
use crate::VolumeError;

pub(crate) struct HostPaths;

#[async_trait]
impl Kind for HostPaths {
    fn handles(&self, volume: &Volume) -> bool {
        volume.host_path.is_some()
    }

    async fn setup(&self, setup: &Setup<'_>) -> Result<PathBuf, VolumeError> {
        let source = setup.volume.host_path.clone().unwrap_or_default();
        let path = PathBuf::from(source.path);
        tokio::task::spawn_blocking(move || {
            check(&path, source.type_.as_deref().unwrap_or_default())?;
            Ok(path)
        })
        .await
        .map_err(|_| VolumeError::Worker)?
    }
}

pub(super) fn check(path: &Path, kind: &str) -> Result<(), VolumeError> {
    match kind {
        "DirectoryOrCreate" if !path.exists() => {
            fs::create_dir_all(path).map_err(VolumeError::io("create", path))?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(VolumeError::io("set the mode of", path))?;
        }
        "FileOrCreate" if !path.exists() => {
            fs::OpenOptions::new().create(true).append(true).open(path).map_err(VolumeError::io("create", path))?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).map_err(VolumeError::io("set the mode of", path))?;
        }
        _ => {}
    }
    let is = |test: fn(&fs::FileType) -> bool| fs::metadata(path).is_ok_and(|metadata| test(&metadata.file_type()));
    let (ok, wanted) = match kind {
        "" => return Ok(()),
        "Directory" | "DirectoryOrCreate" => (is(fs::FileType::is_dir), "directory"),
        "File" | "FileOrCreate" => (is(fs::FileType::is_file), "file"),
        "Socket" => (is(FileTypeExt::is_socket), "socket"),
        "CharDevice" => (is(FileTypeExt::is_char_device), "character device"),
        "BlockDevice" => (is(FileTypeExt::is_block_device), "block device"),
        _ => (false, "known hostPath type"),
    };
    if ok { Ok(()) } else { Err(VolumeError::HostPath { path: path.to_owned(), wanted }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_checked_and_missing_paths_are_made_only_where_asked() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let (missing, file) = (dir.path().join("d"), dir.path().join("f"));
        assert!(check(&missing, "").is_ok());
        assert!(check(&missing, "Directory").is_err());
        assert!(check(&missing, "DirectoryOrCreate").is_ok() && missing.is_dir());
        assert!(check(&file, "FileOrCreate").is_ok() && file.is_file());
        let error = check(&file, "Directory").expect_err("is a file").to_string();
        assert!(error.ends_with("is not a directory"), "{error}");
        assert!(check(Path::new("/dev/null"), "CharDevice").is_ok());
    }
}
