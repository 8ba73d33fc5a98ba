//! The container's root file system: its layers and a writable one, stacked by overlayfs.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Component, Path};

use libcontainer::oci_spec::runtime::Spec;
use mizzen_shim_protocol::ContainerFile;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount as mount_at};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, mkdirat};

/// Mounts below `dir`, which is the working directory, and makes the process's own directory in it.
///
/// The mount is made in a mount namespace of this child, from which the container's is copied: the host never sees it,
/// and it goes with the container's last process.
pub(super) fn mount(dir: &Path, info: &ContainerFile, spec: &Spec) -> io::Result<()> {
    if info.layers.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the image has no layers"));
    }
    if !info.shared_mounts {
        unshare(CloneFlags::CLONE_NEWNS)?;
        // Mounts of the host still arrive, for volumes that want them.
        mount_at(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)?;
    }
    for name in ["rootfs", "upper", "work", "l"] {
        fs::create_dir_all(name)?;
    }
    // Short links keep many layers within the one page that mount options have, and free of `:` and `,`.
    let mut lower = String::new();
    for (number, layer) in info.layers.iter().enumerate().rev() {
        let link = format!("l/{number}");
        match symlink(layer, &link) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => return Err(err),
            _ => {}
        }
        if !lower.is_empty() {
            lower.push(':');
        }
        lower.push_str(&link);
    }
    let options = format!("lowerdir={lower},upperdir=upper,workdir=work");
    // Volatile: what a container writes to its own layer does not outlive it, so nothing waits for the disk.
    let volatile = format!("{options},volatile");
    let overlay = |options: &str| mount_at(Some("overlay"), "rootfs", Some("overlay"), MsFlags::empty(), Some(options));
    match overlay(&volatile) {
        Err(Errno::EINVAL) => overlay(&options)?,
        result => result?,
    }
    if let Some(process) = spec.process() {
        make_working_directory(dir, spec, process.cwd())?;
    }
    Ok(())
}

/// Makes `cwd` in the image, or in the volume that is mounted over it.
fn make_working_directory(dir: &Path, spec: &Spec, cwd: &Path) -> io::Result<()> {
    let volume = spec
        .mounts()
        .iter()
        .flatten()
        .filter(|mount| mount.typ().as_deref() == Some("bind") && cwd.starts_with(mount.destination()))
        .max_by_key(|mount| mount.destination().components().count());
    match volume.and_then(|mount| Some((mount.source().as_ref()?, mount.destination()))) {
        Some((source, destination)) if source.is_dir() => {
            let rest = cwd.strip_prefix(destination).unwrap_or(Path::new(""));
            // A read-only volume that lacks it fails at the chdir, with the path in the message.
            let _ = make_directories(source, rest);
            Ok(())
        }
        Some(_) => Ok(()),
        None => make_directories(&dir.join("rootfs"), cwd),
    }
}

/// `mkdir -p` below `root`, following no symbolic link out of it.
fn make_directories(root: &Path, path: &Path) -> io::Result<()> {
    let root = open(root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut walked = std::path::PathBuf::new();
    let mut parent = open_within(root.as_fd(), Path::new("."))?;
    for part in path.components() {
        let Component::Normal(name) = part else { continue };
        walked.push(name);
        let next = match open_within(root.as_fd(), &walked) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                mkdirat(parent.as_fd(), name, Mode::from_bits_truncate(0o755))?;
                open_within(root.as_fd(), &walked)?
            }
            result => result?,
        };
        parent = next;
    }
    Ok(())
}

/// Opens a directory as if `root` were the root directory.
fn open_within(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    // SAFETY: the structure is plain numbers, of which zero is a valid value.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT;
    // SAFETY: pointers and size describe living values of this frame.
    let fd = unsafe { libc::syscall(libc::SYS_openat2, root.as_raw_fd(), path.as_ptr(), &how, size_of_val(&how)) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor for us; descriptors fit an int.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_made_below_the_root_even_through_links_that_point_out_of_it() {
        let base = std::env::temp_dir().join(format!("mizzen-shim-rootfs-{}", std::process::id()));
        let root = base.join("root");
        fs::create_dir_all(root.join("data")).unwrap();
        symlink("/data", root.join("link")).unwrap();
        symlink("../../data", root.join("up")).unwrap();
        make_directories(&root, Path::new("/link/a/b")).unwrap();
        make_directories(&root, Path::new("/up/c")).unwrap();
        let made = (root.join("data/a/b").is_dir(), root.join("data/c").is_dir());
        fs::remove_dir_all(&base).unwrap();
        assert_eq!(made, (true, true));
    }
}
