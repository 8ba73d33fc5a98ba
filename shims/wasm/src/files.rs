//! The folders a guest finds open, and looking into them as the guest would.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use mizzen_shim_protocol::Preopen;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

/// No file that the host reads for a guest is larger: the bundles of the great browsers have less than a megabyte.
const MOST: u64 = 4 << 20;

pub(crate) struct Files(Vec<(Preopen, File)>);

impl Files {
    pub(crate) fn new(preopens: &[Preopen], directories: Vec<File>) -> Self {
        Self(preopens.iter().cloned().zip(directories).collect())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&Preopen, &File)> {
        self.0.iter().map(|(preopen, directory)| (preopen, directory))
    }

    /// A file by the guest's path; no link leads out of the guest's folders.
    ///
    /// # Errors
    /// When there is none, or a folder is asked for.
    pub(crate) fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(path)?.0.take(MOST).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// When the file was last written.
    ///
    /// # Errors
    /// As for [`Files::read`].
    pub(crate) fn modified(&self, path: &str) -> io::Result<SystemTime> {
        self.open(path)?.1.modified()
    }

    fn open(&self, path: &str) -> io::Result<(File, Metadata)> {
        let (directory, rest) = self.holder(path).ok_or(io::ErrorKind::NotFound)?;
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let file = File::from(openat2(directory.as_fd(), &rest, how)?);
        match file.metadata()? {
            found if found.is_file() => Ok((file, found)),
            _ => Err(io::Error::other("not a file")),
        }
    }

    /// The innermost folder that holds `path`, and the path from there.
    fn holder(&self, path: &str) -> Option<(&File, PathBuf)> {
        let found = self.0.iter().filter_map(|(preopen, directory)| {
            let rest = Path::new(path).strip_prefix(&preopen.target).ok()?;
            Some((preopen.target.len(), directory, rest.to_owned()))
        });
        let (_, directory, rest) = found.max_by_key(|(length, ..)| *length)?;
        (!rest.as_os_str().is_empty()).then_some((directory, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_in_the_innermost_folder_and_never_outside() {
        let (outer, inner) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outer.path().join("a"), "outer").unwrap();
        std::fs::write(inner.path().join("a"), "inner").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", inner.path().join("out")).unwrap();
        let preopen = |target: &str| Preopen { target: target.into(), readonly: true };
        let directories = vec![File::open(outer.path()).unwrap(), File::open(inner.path()).unwrap()];
        let files = Files::new(&[preopen("/data"), preopen("/data/in")], directories);
        assert_eq!(files.read("/data/a").unwrap(), b"outer");
        assert_eq!(files.read("/data/in/a").unwrap(), b"inner");
        for path in ["/data/in/out", "/data/in/../../etc/passwd", "/etc/passwd", "/data/in", "/database"] {
            assert!(files.read(path).is_err(), "{path}");
        }
    }
}
