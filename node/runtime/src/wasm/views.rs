//! A pod's mounts as the folders that a guest finds open: WASI knows no single file.
//!
//! Files that are mounted one by one are brought together by the folder they stand in: the guest is given a folder of the
//! container's own directory in which each of them is, as a hard link where that is the same, otherwise as a bind mount.
//! Where that folder is part of a volume, the volume's folder is bound there first, so that nothing of it is hidden.
//!
//! Pods may write to a volume while this reads it, so no path in one is trusted: the kernel resolves it beneath the volume
//! (openat2(2)), and what was found is mounted by its descriptor. Links that stay in the volume are followed, as those of
//! a ConfigMap's files have to be.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use mizzen_shim_protocol::Preopen;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;

use crate::spec::Mount;

pub(super) const HOSTS: &str = "/etc/hosts";
pub(super) const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What every container finds, and what gives way to a read-only volume at its place.
const GIVEN: [&str; 3] = [HOSTS, RESOLV_CONF, "/etc/hostname"];

/// Folders, each with how the guest sees it.
#[derive(Default)]
pub(super) struct Views {
    pub(super) preopens: Vec<Preopen>,
    pub(super) directories: Vec<File>,
}

impl Views {
    fn add(&mut self, target: &Path, readonly: bool, directory: File) {
        self.preopens.push(Preopen { target: target.to_string_lossy().into_owned(), readonly });
        self.directories.push(directory);
    }
}

/// Opens the folders, and makes those for single files below `place`.
///
/// # Errors
/// In words that name the mount.
pub(super) fn open(mounts: &[Mount], place: &Path) -> Result<Views, String> {
    let mut views = Views::default();
    let mut files: BTreeMap<PathBuf, Vec<&Mount>> = BTreeMap::new();
    let mut folders = Vec::new();
    for mount in mounts {
        let kind = fs::metadata(&mount.source).map_err(|err| refused(mount, &err))?;
        if kind.is_dir() {
            views.add(&mount.target, mount.readonly, File::open(&mount.source).map_err(|err| refused(mount, &err))?);
            folders.push(mount);
        } else if kind.is_file() {
            files.entry(mount.target.parent().unwrap_or(Path::new("/")).to_owned()).or_default().push(mount);
        } else {
            return Err(refused(mount, &"a Wasm pod can be given folders and files, and this is neither"));
        }
    }
    for (number, (target, files)) in files.into_iter().enumerate() {
        let volume = folders
            .iter()
            .filter(|folder| target.starts_with(&folder.target))
            .max_by_key(|folder| folder.target.as_os_str().len());
        let beneath = match volume {
            Some(volume) => {
                let inside = target.strip_prefix(&volume.target).unwrap_or(&target);
                folder_in(volume, inside)?.map(|folder| (folder, volume.readonly))
            }
            None => None,
        };
        let readonly = files.iter().all(|mount| mount.readonly) && beneath.as_ref().is_none_or(|(_, readonly)| *readonly);
        let made = match beneath {
            Some((folder, sealed)) => {
                // The guest's folder, then, and not one of ours.
                views.preopens.iter().position(|known| Path::new(&known.target) == target).into_iter().for_each(|same| {
                    views.preopens.remove(same);
                    views.directories.remove(same);
                });
                above_volume(&place.join(format!("{BOUND}{number}")), &folder, sealed, &files)
            }
            None => alone(&place.join(number.to_string()), readonly, &files),
        };
        views.add(&target, readonly, made?);
    }
    Ok(views)
}

/// Takes away what [`open`] made, in the order that leaves volumes alone. No error when there is nothing.
///
/// # Errors
/// When something stays.
pub(super) fn close(place: &Path) -> io::Result<()> {
    let views = match fs::read_dir(place) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        views => views?,
    };
    for view in views {
        let view = view?;
        if view.file_name().to_string_lossy().starts_with(BOUND) {
            // With the files on top of it. An agent that was killed may have bound it not yet, or twice.
            while unmount(&view.path())? {}
        } else {
            for file in fs::read_dir(view.path())? {
                let file = file?.path();
                while unmount(&file)? {}
                fs::remove_file(file)?;
            }
        }
        // Never more than an empty folder: a volume may still be there.
        fs::remove_dir(view.path())?;
    }
    fs::remove_dir(place)
}

/// Begins the names of folders that a volume's folder is bound to.
const BOUND: &str = "volume-";

fn refused(mount: &Mount, why: &dyn std::fmt::Display) -> String {
    format!("cannot mount {} on {}: {why}", mount.source.display(), mount.target.display())
}

/// A folder with these files and no others.
fn alone(view: &Path, readonly: bool, files: &[&Mount]) -> Result<File, String> {
    for file in files {
        let made = || {
            DirBuilder::new().recursive(true).mode(0o755).create(view)?;
            let target = view.join(file.target.file_name().ok_or(io::ErrorKind::InvalidInput)?);
            // A link would be as writable as the rest of the folder.
            let may_link = readonly || !file.readonly;
            if may_link && fs::hard_link(file.source.canonicalize()?, &target).is_ok() {
                return Ok(());
            }
            File::create(&target)?;
            bind(&file.source, &target)?;
            if file.readonly { make_readonly(&target) } else { Ok(()) }
        };
        made().map_err(|err: io::Error| refused(file, &err))?;
    }
    let first = files.first().ok_or("no file to mount")?;
    File::open(view).map_err(|err| refused(first, &err))
}

/// A folder of the volume; `None` when there is none.
fn folder_in(volume: &Mount, inside: &Path) -> Result<Option<OwnedFd>, String> {
    let root = File::open(&volume.source).map_err(|err| refused(volume, &err))?;
    // An empty path names nothing.
    let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
    match beneath(&root, inside, OFlag::O_PATH | OFlag::O_DIRECTORY) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(refused(volume, &format!("{} in it: {}", inside.display(), io::Error::from(errno)))),
    }
}

/// Opens what stands at `path` below the folder; never what lies outside.
fn beneath(folder: &impl AsFd, path: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
    let mode = if flags.contains(OFlag::O_CREAT) { Mode::from_bits_truncate(0o644) } else { Mode::empty() };
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    openat2(folder.as_fd(), path, OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(mode).resolve(resolve))
}

/// A volume's folder with these files on top.
fn above_volume(view: &Path, folder: &OwnedFd, sealed: bool, files: &[&Mount]) -> Result<File, String> {
    let first = files.first().ok_or("no file to mount")?;
    let made = || {
        DirBuilder::new().recursive(true).mode(0o755).create(view)?;
        bind(&by_descriptor(folder), view)?;
        // Else the files would appear in the volume itself wherever the machine's mounts are shared.
        mount(NONE, view, NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
        File::open(view)
    };
    let opened = made().map_err(|err: io::Error| refused(first, &err))?;
    for file in files {
        let Some(name) = file.target.file_name().map(Path::new) else {
            return Err(refused(file, &"the path names no file"));
        };
        let place = match beneath(&opened, name, OFlag::O_PATH) {
            Err(Errno::ENOENT) if sealed && GIVEN.iter().any(|given| file.target == Path::new(given)) => continue,
            Err(Errno::ENOENT) if sealed => {
                return Err(refused(file, &"it would lie in a read-only volume that has no such file"));
            }
            // As container runtimes make a place for a mount.
            Err(Errno::ENOENT) => beneath(&opened, name, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW),
            found => found,
        };
        let mounted = || {
            let place = File::from(place?);
            if !place.metadata()?.is_file() {
                return Err(io::Error::other("what the volume has there is no file"));
            }
            bind(&file.source, &by_descriptor(&place))?;
            match file.readonly {
                // The descriptor is of what the mount covers.
                true => make_readonly(&by_descriptor(&beneath(&opened, name, OFlag::O_PATH)?)),
                false => Ok(()),
            }
        };
        mounted().map_err(|err| refused(file, &err))?;
    }
    Ok(opened)
}

const NONE: Option<&str> = None;

/// A path that leads to an open file, whatever its name is by now.
fn by_descriptor(file: &impl AsRawFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn bind(source: &Path, target: &Path) -> io::Result<()> {
    Ok(mount(Some(source), target, NONE, MsFlags::MS_BIND, NONE)?)
}

/// The mount, and no other of the same files.
fn make_readonly(target: &Path) -> io::Result<()> {
    Ok(mount(NONE, target, NONE, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, NONE)?)
}

/// Whether something was mounted there.
fn unmount(path: &Path) -> io::Result<bool> {
    match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => Ok(true),
        Err(nix::Error::EINVAL | nix::Error::ENOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::*;

    struct Place {
        dir: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap() }
        }

        fn file(&self, name: &str, text: &str) -> PathBuf {
            let path = self.dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        }

        fn views(&self) -> PathBuf {
            self.dir.path().join("views")
        }

        /// The guest's folders, and the files in each.
        fn open(&self, mounts: &[Mount]) -> Result<BTreeMap<String, Vec<(String, String)>>, String> {
            let Views { preopens, directories } = open(mounts, &self.views())?;
            let list = |directory: &File| {
                let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(directory));
                let mut files: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
                files.sort();
                let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
                files.iter().filter(|path| path.is_file()).map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
            };
            Ok(preopens.iter().zip(&directories).map(|(preopen, directory)| (preopen.target.clone(), list(directory))).collect())
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            close(&self.views()).expect("nothing stays mounted");
        }
    }

    fn mount(source: &Path, target: &str, readonly: bool) -> Mount {
        Mount { source: source.to_owned(), target: target.into(), readonly, propagation: "private".into() }
    }

    fn files(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn single_files_stand_in_the_folders_they_are_mounted_in() {
        let place = Place::new();
        let (hosts, key) = (place.file("hosts", "h"), place.file("key", "k"));
        let seen = place.open(&[mount(&hosts, HOSTS, false), mount(&key, "/etc/ssl/key", true)]).unwrap();
        assert_eq!(seen["/etc"], files(&[("hosts", "h")]));
        assert_eq!(seen["/etc/ssl"], files(&[("key", "k")]));
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o644, "the source stays as it was");
        close(&place.views()).unwrap();
        assert!(!place.views().exists() && hosts.exists() && key.exists());
    }

    #[test]
    fn a_read_only_file_beside_others_cannot_be_written() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let place = Place::new();
        let (open_file, sealed) = (place.file("open", "o"), place.file("sealed", "s"));
        let Views { directories, .. } =
            super::open(&[mount(&open_file, "/data/open", false), mount(&sealed, "/data/sealed", true)], &place.views()).unwrap();
        let inside = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&directories[0])));
        fs::write(inside.join("open"), "written").unwrap();
        assert_eq!(fs::write(inside.join("sealed"), "written").unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
        assert_eq!(fs::read_to_string(&open_file).unwrap(), "written");
    }

    #[test]
    fn a_file_in_a_volume_hides_nothing_of_it_but_what_it_replaces() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let place = Place::new();
        let volume = place.file("volume/a", "a").parent().unwrap().to_owned();
        let single = place.file("single", "s");
        let seen = place.open(&[mount(&volume, "/data", false), mount(&single, "/data/b", false)]).unwrap();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen["/data"], files(&[("a", "a"), ("b", "s")]));
        close(&place.views()).unwrap();
        assert_eq!(fs::read_to_string(volume.join("a")).unwrap(), "a", "the volume is left alone");

        let refused = place.open(&[mount(&volume, "/data", true), mount(&single, "/data/c", false)]).unwrap_err();
        assert!(refused.contains("on /data/c: it would lie in a read-only volume"), "{refused}");
        close(&place.views()).unwrap();
        let seen = place.open(&[mount(&volume, "/etc", true), mount(&single, HOSTS, false)]).unwrap();
        assert_eq!(seen["/etc"], files(&[("a", "a"), ("b", "")]), "a volume may take the place of the node's own files");
    }

    #[test]
    fn links_that_a_pod_planted_in_its_volume_lead_nowhere_else() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let place = Place::new();
        let volume = place.file("volume/a", "a").parent().unwrap().to_owned();
        let (single, other) = (place.file("single", "s"), place.file("host/b", "the node's"));
        let host = other.parent().unwrap();
        let mounts = |target: &str| [mount(&volume, "/data", false), mount(&single, target, false)];
        for (link, leads_to) in [("x", host), ("up", Path::new("../host"))] {
            std::os::unix::fs::symlink(leads_to, volume.join(link)).unwrap();
            let refused = place.open(&mounts(&format!("/data/{link}/b"))).unwrap_err();
            assert!(refused.contains("cross-device"), "{refused}");
            close(&place.views()).unwrap();
        }
        for (link, leads_to) in [("b", other.as_path()), ("c", Path::new("../host/b")), ("d", Path::new("../host/new"))] {
            std::os::unix::fs::symlink(leads_to, volume.join(link)).unwrap();
            let refused = place.open(&mounts(&format!("/data/{link}"))).unwrap_err();
            assert!(refused.contains(&format!("on /data/{link}: ")), "{refused}");
            close(&place.views()).unwrap();
        }
        let mut left: Vec<_> = fs::read_dir(host).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!((left.pop().unwrap(), left.len()), ("b".into(), 0), "nothing is made outside the volume");
        assert_eq!(fs::read_to_string(&other).unwrap(), "the node's");
        fs::create_dir(volume.join("folder")).unwrap();
        let refused = place.open(&mounts("/data/folder")).unwrap_err();
        assert!(refused.contains("what the volume has there is no file"), "{refused}");
    }

    #[test]
    fn links_within_a_volume_are_followed_as_those_of_a_configmap() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let place = Place::new();
        let volume = place.file("volume/..1/key", "old").parent().unwrap().parent().unwrap().to_owned();
        std::os::unix::fs::symlink("..1", volume.join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/key", volume.join("key")).unwrap();
        let single = place.file("single", "s");
        let Views { directories, .. } =
            super::open(&[mount(&volume, "/etc/app", true), mount(&single, "/etc/app/key", true)], &place.views()).unwrap();
        let inside = by_descriptor(&directories[0]);
        assert_eq!(fs::read_to_string(inside.join("key")).unwrap(), "s");
        assert_eq!(fs::write(inside.join("key"), "x").unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
        assert_eq!(fs::read_to_string(volume.join("key")).unwrap(), "old", "the volume itself is as it was");
    }

    #[test]
    fn what_is_neither_folder_nor_file_is_refused_by_name() {
        let place = Place::new();
        let socket = place.dir.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        let refused = place.open(&[mount(&socket, "/run/socket", false)]).unwrap_err();
        assert!(refused.contains("on /run/socket: a Wasm pod can be given folders and files"), "{refused}");
        let refused = place.open(&[mount(&place.dir.path().join("none"), "/x", false)]).unwrap_err();
        assert!(refused.contains("on /x: No such file"), "{refused}");
    }
}
