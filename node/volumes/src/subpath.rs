//! `subPath`: a part of a volume. The pod may write to the volume, so a path in it is never trusted: it is resolved
//! beneath the volume by the kernel and bind-mounted by its descriptor.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, fstat, mkdirat};

use crate::{VolumeError, mounts, payload};

/// Bind-mounts `path` of the volume at `root` on `target`; a missing directory is made.
pub(crate) fn bind(volume: &str, root: &Path, path: &str, target: &Path) -> Result<(), VolumeError> {
    let failed = |source: std::io::Error| VolumeError::SubPath { volume: volume.to_owned(), path: path.to_owned(), source };
    payload::check_path(path)?;
    // What is mounted from an earlier attempt may be a file that the volume has long replaced.
    mounts::unmount_below(target)?;
    let source = resolve(root, path).map_err(|errno| failed(errno.into()))?;
    let is_dir = fstat(&source).map_err(|errno| failed(errno.into()))?.st_mode & libc_mode::S_IFMT == libc_mode::S_IFDIR;
    let parent = target.parent().unwrap_or(target);
    fs::create_dir_all(parent).map_err(VolumeError::io("create", parent))?;
    if is_dir {
        fs::create_dir_all(target).map_err(VolumeError::io("create", target))?;
    } else {
        fs::OpenOptions::new().create(true).append(true).open(target).map_err(VolumeError::io("create", target))?;
    }
    let by_descriptor = format!("/proc/self/fd/{}", source.as_raw_fd());
    mount(Some(by_descriptor.as_str()), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .map_err(VolumeError::nix("bind a subPath on", target))
}

mod libc_mode {
    pub(super) const S_IFMT: u32 = 0o170_000;
    pub(super) const S_IFDIR: u32 = 0o040_000;
}

fn resolve(root: &Path, path: &str) -> Result<OwnedFd, Errno> {
    let root = open(root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    match openat2(root.as_fd(), path, how) {
        Err(Errno::ENOENT) => {}
        found => return found,
    }
    let mut at = root;
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match mkdirat(at.as_fd(), part, Mode::from_bits_truncate(0o777)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
        let step = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_SYMLINKS);
        at = openat2(at.as_fd(), part, step)?;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_directory_is_made_and_a_link_out_of_the_volume_is_refused() {
        let dir = tempfile::tempdir().expect("makes a directory");
        resolve(dir.path(), "a/b").expect("makes");
        assert!(dir.path().join("a/b").is_dir());
        for link in ["/etc", "../.."] {
            std::os::unix::fs::symlink(link, dir.path().join("out")).expect("links");
            assert_eq!(resolve(dir.path(), "out").expect_err("is refused"), Errno::EXDEV, "{link}");
            fs::remove_file(dir.path().join("out")).expect("removes");
        }
    }
}
