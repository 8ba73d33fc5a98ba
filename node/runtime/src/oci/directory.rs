//! A container's directory: what an agent and a shim leave there for those that come after.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use mizzen_shim_protocol::record::{read, write_atomically};
use mizzen_shim_protocol::{ContainerFile, ExitRecord, RunningRecord, files};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

#[derive(Clone, Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new(containers: &Path, id: &str) -> Self {
        Self(containers.join(id))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the directory with all that a shim needs, and takes the lock that the shim will hold.
    pub(super) fn prepare(&self, file: &ContainerFile, config: &oci_spec::runtime::Spec) -> io::Result<File> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let lock = self.lock()?.ok_or_else(|| io::Error::from(io::ErrorKind::ResourceBusy))?;
        write_atomically(&self.0.join("config.json"), config)?;
        write_atomically(&self.0.join(files::CONTAINER), file)?;
        Ok(lock)
    }

    /// `None` while a shim lives. The lock belongs to the open file, also when another process inherits it, and ends when
    /// the last descriptor is closed.
    fn lock(&self) -> io::Result<Option<File>> {
        let file = File::options().create(true).truncate(false).write(true).open(self.0.join(files::LOCK))?;
        // SAFETY: the descriptor is open. (nix's guard would unlock for the shim too.)
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(Some(file));
        }
        match io::Error::last_os_error() {
            err if err.kind() == io::ErrorKind::WouldBlock => Ok(None),
            err => Err(err),
        }
    }

    pub(super) fn shim_lives(&self) -> bool {
        self.0.join(files::LOCK).exists() && matches!(self.lock(), Ok(None))
    }

    /// `None` where no agent came so far, or a removal was nearly done.
    pub(super) fn container(&self) -> io::Result<Option<ContainerFile>> {
        read(&self.0.join(files::CONTAINER))
    }

    pub(super) fn running(&self) -> io::Result<Option<RunningRecord>> {
        read(&self.0.join(files::RUNNING))
    }

    pub(super) fn exit(&self) -> io::Result<Option<ExitRecord>> {
        read(&self.0.join(files::EXIT))
    }

    pub(super) fn write_exit(&self, record: &ExitRecord) -> io::Result<()> {
        write_atomically(&self.0.join(files::EXIT), record)
    }

    /// What the shim had to complain about.
    pub(super) fn complaints(&self) -> String {
        fs::read_to_string(self.0.join("shim.log")).unwrap_or_default().trim().to_owned()
    }

    /// Takes away mounts and files, the container's own file last, so that an agent that is killed in between finds the
    /// rest of it.
    pub(super) fn remove(&self) -> io::Result<()> {
        match umount2(&self.0.join("rootfs"), MntFlags::MNT_DETACH) {
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(err) => return Err(err.into()),
        }
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(err) => return Err(err),
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_name() == files::CONTAINER {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        fs::remove_dir_all(&self.0)
    }
}
