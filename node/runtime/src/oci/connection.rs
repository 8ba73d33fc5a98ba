//! Questions to a shim.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use mizzen_shim_protocol::frame::control;
use mizzen_shim_protocol::{Call, Decoder, Frame, PROTOCOL_VERSION, Reply, Request, files};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

pub(super) struct Connection {
    pub(super) stream: UnixStream,
    pub(super) decoder: Decoder,
}

impl Connection {
    pub(super) async fn open(directory: &Path) -> io::Result<Self> {
        // The whole path may be longer than a socket address.
        let handle = File::options().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(directory)?;
        let path = format!("/proc/self/fd/{}/{}", handle.as_raw_fd(), files::SOCKET);
        Ok(Self { stream: UnixStream::connect(path).await?, decoder: Decoder::default() })
    }

    pub(super) async fn send(&mut self, container: &str, call: Call) -> io::Result<()> {
        let request = Request { version: PROTOCOL_VERSION, container: container.to_owned(), call };
        self.stream.write_all(&control(&request).map_err(io::Error::other)?).await
    }

    /// `None` when the shim has closed the connection.
    pub(super) async fn frame(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(io::Error::other)? {
                return Ok(Some(frame));
            }
            let mut chunk = [0; 8192];
            match self.stream.read(&mut chunk).await? {
                0 => return Ok(None),
                count => self.decoder.push(&chunk[..count]),
            }
        }
    }

    pub(super) async fn reply(&mut self) -> io::Result<Option<Reply>> {
        match self.frame().await? {
            Some(frame) => Ok(Some(frame.message().map_err(io::Error::other)?)),
            None => Ok(None),
        }
    }

    /// The process that listens at the other end.
    pub(super) fn peer(&self) -> Option<i32> {
        self.stream.peer_cred().ok()?.pid()
    }
}
