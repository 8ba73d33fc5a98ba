//! Terminals: libcontainer makes them inside the container and sends the master end to a socket.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::unistd::{Uid, fchown};

/// Where libcontainer sends the master end.
pub(crate) struct Console {
    listener: UnixListener,
    path: PathBuf,
}

impl Console {
    /// # Errors
    /// When the socket cannot be made.
    pub(crate) fn new(dir: &Path, name: &str) -> io::Result<Self> {
        // The process works in `dir`: the short name fits a socket address, the whole path may not.
        let listener = UnixListener::bind(name)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path: dir.join(name) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the master end, once it was sent.
    ///
    /// # Errors
    /// When the sender did not send one.
    pub(crate) fn receive(&self) -> io::Result<OwnedFd> {
        let (stream, _) = self.listener.accept()?;
        stream.set_nonblocking(false)?;
        let mut name = [0; 64];
        let mut slices = [IoSliceMut::new(&mut name)];
        let mut space = nix::cmsg_space!([i32; 1]);
        let message = recvmsg::<()>(stream.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(fds) = control
                && let Some(fd) = fds.first()
            {
                // SAFETY: the kernel just made this descriptor for us.
                return Ok(unsafe { OwnedFd::from_raw_fd(*fd) });
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "no terminal came over the console socket"))
    }
}

impl AsFd for Console {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // What is left goes with the directory.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// # Errors
/// When `master` is no terminal.
pub(crate) fn resize(master: BorrowedFd<'_>, columns: u16, rows: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open and the structure is what this request reads.
    let result = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &size) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives the terminal to the user of its process, who may want to open it again by its name.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn give(master: BorrowedFd<'_>, uid: u32) -> io::Result<()> {
    // SAFETY: the descriptor is open; the request takes flags and returns a new descriptor.
    let slave = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC) };
    if slave == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor for us.
    let slave = unsafe { OwnedFd::from_raw_fd(slave) };
    fchown(slave, Some(Uid::from_raw(uid)), None)?;
    Ok(())
}
