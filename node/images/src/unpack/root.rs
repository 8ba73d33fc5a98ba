//! A directory that nothing done through it can leave.
//!
//! The kernel resolves every path with `RESOLVE_BENEATH`: `..`, absolute paths and symbolic links that lead out fail, also
//! when they are exchanged meanwhile; relative links inside the layer work.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};

/// Why a path cannot be used.
#[derive(Debug)]
pub(crate) enum PathError {
    Escape(String),
    TooLong { what: &'static str, limit: usize },
    Io(std::io::Error),
}

impl From<Errno> for PathError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

pub(crate) struct Root {
    dir: OwnedFd,
    /// Directories between this one and the deepest entry: to remove a tree takes an open directory for each.
    depth: usize,
}

/// An open directory and a name in it.
pub(crate) struct Place {
    pub(crate) dir: OwnedFd,
    pub(crate) name: OsString,
}

impl Place {
    /// For calls that take paths only; the descriptor keeps it inside.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.dir.as_raw_fd())).join(&self.name)
    }
}

/// The names of a path; those of archives are relative to the root also when they start with a slash.
pub(crate) fn names(path: &[u8]) -> Result<Vec<OsString>, PathError> {
    let mut names = Vec::new();
    if path.contains(&0) {
        return Err(PathError::Io(Errno::EINVAL.into()));
    }
    for component in Path::new(OsStr::from_bytes(path)).components() {
        match component {
            Component::Normal(name) => names.push(name.to_owned()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            Component::ParentDir => return Err(PathError::Escape("it has `..` in its path".into())),
        }
    }
    Ok(names)
}

fn beneath(flags: OFlag) -> OpenHow {
    OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_XDEV)
}

impl Root {
    /// `depth` bounds how many directories are between this one and an entry.
    pub(crate) fn open(path: &Path, depth: usize) -> std::io::Result<Self> {
        Ok(Self { dir: File::open(path)?.into(), depth })
    }

    /// The directory of these names; missing ones are made when `create`.
    pub(crate) fn directory(&self, names: &[OsString], create: bool) -> Result<OwnedFd, PathError> {
        let path: PathBuf = std::iter::once(OsStr::new(".")).chain(names.iter().map(OsString::as_os_str)).collect();
        match openat2(self.dir.as_fd(), &path, beneath(OFlag::O_RDONLY | OFlag::O_DIRECTORY)) {
            Ok(dir) => Ok(dir),
            Err(Errno::EXDEV) => Err(PathError::Escape("a symbolic link on its way leads out".into())),
            Err(Errno::ELOOP) => Err(PathError::Escape("the symbolic links on its way lead nowhere".into())),
            Err(Errno::ENOENT) if create => {
                let Some((last, before)) = names.split_last() else { return Err(Errno::ENOENT.into()) };
                let parent = self.directory(before, true)?;
                match mkdirat(&parent, last.as_os_str(), Mode::from_bits_truncate(0o755)) {
                    Ok(()) => self.directory(names, false),
                    // A symbolic link to nothing: to make its target would be to follow it.
                    Err(Errno::EEXIST) => Err(PathError::Escape("a symbolic link on its way leads to nothing".into())),
                    Err(e) => Err(e.into()),
                }
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Where an entry of this path goes; `None` is the root itself.
    pub(crate) fn place(&self, path: &[u8], create: bool) -> Result<Option<Place>, PathError> {
        let longest = libc::PATH_MAX as usize;
        if path.len() >= longest {
            return Err(PathError::TooLong { what: "a path", limit: longest });
        }
        let names = names(path)?;
        let Some((name, parents)) = names.split_last() else { return Ok(None) };
        let too_deep = PathError::TooLong { what: "at a depth", limit: self.depth };
        if parents.len() > self.depth {
            return Err(too_deep);
        }
        let dir = self.directory(parents, create)?;
        // Symbolic links make the way shorter than the place is deep.
        if create && self.depth_of(&dir)? > self.depth {
            return Err(too_deep);
        }
        Ok(Some(Place { dir, name: name.clone() }))
    }

    fn depth_of(&self, dir: &OwnedFd) -> Result<usize, PathError> {
        let path = |fd: &OwnedFd| std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).map_err(PathError::Io);
        let components = |path: PathBuf| path.components().count();
        Ok(components(path(dir)?).saturating_sub(components(path(&self.dir)?)))
    }
}

/// Opens a regular file as a container with this root would see it: absolute links start at the root.
pub(crate) fn open_file_in(root: &Path, path: &Path) -> std::io::Result<File> {
    let dir = File::open(root)?;
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file = File::from(openat2(dir.as_fd(), path, how)?);
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("is not a regular file"));
    }
    Ok(file)
}
